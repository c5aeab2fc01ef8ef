"""What a model takes: judging the body of a generation, and telling back what was understood of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_provider_scenario.sandbox.backend.catalogue import FILE_TYPES
from airflow_provider_scenario.sandbox.backend.refusal import RefusalError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from airflow_provider_scenario.sandbox.backend.assets import Asset

ARRAY_TYPES = ("file_array", "inputs_array", "model_array", "number_array", "string_array")
WORDS = {"boolean": "a boolean", "number": "a number", "string": "a string", "model": "a string", "file": "an asset id"}
IGNORED_IN_BODY = ("dryRun",)


@dataclass
class Understood:
    """A body as the model takes it."""

    given: dict[str, Any] = field(default_factory=dict)
    """The inputs that were given and are used."""
    complete: dict[str, Any] = field(default_factory=dict)
    """The same, with defaults filled in."""
    files: list[tuple[str, Asset]] = field(default_factory=list)
    """The files used, with the input that names each."""


def understand(
    record: Mapping[str, Any], body: Mapping[str, Any], find_asset: Callable[[str, str], Asset]
) -> Understood:
    """Check a body against a model's record, as Scenario does when a job is created.

    ``find_asset`` gives the asset for an id or a data URL and the kind wanted; it refuses what it cannot find.
    A scalar where an array belongs is dropped without a word; everything else that is wrong is refused.
    """
    entries = {entry["name"]: entry for entry in record["inputs"]}
    understood = Understood()
    for name, value in body.items():
        if name in IGNORED_IN_BODY or value is None:
            continue
        if name not in entries:
            raise RefusalError(400, f"Input {name} is not allowed")
        entry = entries[name]
        if entry["type"] in ARRAY_TYPES and not isinstance(value, list):
            continue
        _check_value(entry, value)
        understood.given[name] = value
    for entry in entries.values():
        _check_required(entry, understood.given)
    for name, value in understood.given.items():
        _find_files(entries[name], value, understood, find_asset)
    defaults = {name: entry["default"] for name, entry in entries.items() if "default" in entry}
    understood.complete = {**defaults, **understood.given}
    return understood


def _check_value(entry: Mapping[str, Any], value: Any) -> None:
    """Refuse a value of the wrong type, out of range, or not among the allowed ones."""
    name, kind = entry["name"], entry["type"]
    items = value if kind in ARRAY_TYPES else [value]
    item_type = kind.removesuffix("_array").removesuffix("s")
    if item_type in WORDS and not all(_is(item_type, item) for item in items):
        many = " array items" if kind in ARRAY_TYPES else ""
        raise RefusalError(400, f"Input {name}{many} must be {WORDS[item_type]}")
    allowed = entry.get("allowedValues")
    if allowed and any(item not in allowed for item in items):
        raise RefusalError(400, f"Input {name} must be one of: {', '.join(str(each) for each in allowed)}")
    for item in items if item_type == "number" else ():
        if "min" in entry and item < entry["min"]:
            raise RefusalError(400, f"Input {name} must be at least {entry['min']}")
        if "max" in entry and item > entry["max"]:
            raise RefusalError(400, f"Input {name} must be at most {entry['max']}")
    _check_length(entry, value)


def _check_length(entry: Mapping[str, Any], value: Any) -> None:
    """Refuse a text of too few or too many characters, or an array of too few or too many items."""
    if not isinstance(value, (str, list)) or entry["type"] == "file":
        return
    unit = "items" if isinstance(value, list) else "characters"
    if len(value) < entry.get("minLength", 0):
        raise RefusalError(400, f"Input {entry['name']} must have at least {entry['minLength']} {unit}")
    if len(value) > entry.get("maxLength", len(value)):
        raise RefusalError(400, f"Input {entry['name']} must have at most {entry['maxLength']} {unit}")


def _is(item_type: str, value: Any) -> bool:
    if item_type == "boolean":
        return isinstance(value, bool)
    if item_type == "number":
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    return isinstance(value, str)


def _check_required(entry: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    """Refuse a body without an input that it needs: always, or because of what else it has or lacks."""
    name, rules = entry["name"], entry.get("required") or {}
    if given.get(name) not in (None, "", []):
        return
    if rules.get("always"):
        raise RefusalError(400, f"Input {name} is required")
    for rule, wanted in (("ifDefined", True), ("ifNotDefined", False)):
        for other, details in (rules.get(rule) or {}).items():
            if (other in given) is wanted:
                message = details.get("message") if isinstance(details, dict) else details
                raise RefusalError(400, str(message or f"Input {name} is required"))
    condition = rules.get("conditional") or {}
    values = condition.get("values") or {}
    met = [given.get(other) in (wanted if isinstance(wanted, list) else [wanted]) for other, wanted in values.items()]
    if met and (any(met) if condition.get("operator") == "or" else all(met)):
        raise RefusalError(400, f"Input {name} is required")


def _find_files(
    entry: Mapping[str, Any], value: Any, understood: Understood, find_asset: Callable[[str, str], Asset]
) -> None:
    """Look up the assets that a file input names, and check them against its limits."""
    if entry["type"] not in FILE_TYPES:
        return
    many = entry["type"] == "file_array"
    assets = [find_asset(item, entry["kind"]) for item in (value if many else [value])]
    for asset in assets:
        _check_asset(entry, asset)
        understood.files.append((entry["name"], asset))
    identifiers = [asset.asset_id for asset in assets]
    understood.given[entry["name"]] = identifiers if many else identifiers[0]


def _check_asset(entry: Mapping[str, Any], asset: Asset) -> None:
    name, properties = entry["name"], asset.properties
    if asset.kind != entry["kind"]:
        raise RefusalError(400, f"Input {name} must be an asset of kind {entry['kind']}, got {asset.kind}")
    if properties["size"] > entry.get("maxSize", properties["size"]):
        raise RefusalError(400, f"Input {name} must not be larger than {entry['maxSize']} bytes")
    duration = properties.get("duration")
    if duration is not None and duration < entry.get("minDuration", duration):
        raise RefusalError(400, f"Input {name} must last at least {entry['minDuration']} seconds")
    if duration is not None and duration > entry.get("maxDuration", duration):
        raise RefusalError(400, f"Input {name} must last at most {entry['maxDuration']} seconds")


def echoed(record: Mapping[str, Any], complete: Mapping[str, Any]) -> dict[str, Any]:
    """Give the inputs as ``metadata.input`` tells them back: numbers with a range come back as floats."""
    entries = {entry["name"]: entry for entry in record["inputs"]}
    echo: dict[str, Any] = {"modelId": record["id"]}
    for name, value in complete.items():
        ranged = "min" in entries[name] and "max" in entries[name]
        echo[name] = float(value) if ranged and isinstance(value, (int, float)) else value
    return echo

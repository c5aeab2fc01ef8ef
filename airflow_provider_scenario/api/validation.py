"""Inputs are checked before paying: Scenario drops some mistakes in silence, runs the job all the same and charges.

Pure: a model's record and the author's values go in; what to send, and every fault at once, come out.

A template that comes out empty is no value. Templating makes text of what is not there: an XCom that nobody pushed
comes out as ``None``, a null as ``null``. So a text that is, but for white space, ``None``, ``null`` or nothing counts
as not given, for every type of input: required, it is refused; optional, it is left out. An author can't ask for the
prompt ``None``. A choice that the record itself lists stays one.
"""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_scenario.api.asset import Asset, AssetStatus
from airflow_provider_scenario.api.model import InputType, Model, ModelInput
from airflow_provider_scenario.api.values import (
    CAME_OUT_EMPTY,
    is_empty_text,
    is_no_value,
    parse_literal,
    to_plain,
    whole_number,
)
from airflow_provider_scenario.exceptions import redact

_TRUE_TEXTS = ("true", "1", "yes")
_FALSE_TEXTS = ("false", "0", "no")
_LONGEST_SHOWN = 120
_MOST_BITS = 2048
"""Bits of a whole number beyond which it is a slip: Python writes none of many thousand digits."""

_WEB_SCHEMES = ("http://", "https://")


class _FaultError(ValueError):
    """One value is wrong; the text completes ``<input>: ...``."""


@dataclass(frozen=True)
class CheckedInputs:
    """What became of the author's inputs.

    :param values: What to send, by the API's names: values that templating turned into text are coerced. Not shown in
        the repr: a signed URL may be among them.
    :param faults: One sentence a fault, with the allowed values.
    """

    values: Mapping[str, Any] = field(repr=False)
    faults: tuple[str, ...] = ()


def check_inputs(model: Model, given: Mapping[str, Any]) -> CheckedInputs:
    """Check a job's inputs, by the API's names, against its model's record; return what to send, and every fault."""
    known = {spec.name: spec for spec in model.inputs}
    values: dict[str, Any] = {}
    faults: list[str] = []
    empty: dict[str, Any] = {}
    for name, value in given.items():
        # None, and what templating makes of what is not there, count as not given; in a list they are left out.
        if value is None or (name in known and _is_empty(known[name], value)):
            empty[name] = value
            continue
        if name not in known:
            faults.append(f"{_printable(name)}: {model.name} has no such input.{_suggestion(_printable(name), known)}")
            continue
        try:
            coerced = _coerced(known[name], to_plain(value))
        except (_FaultError, RecursionError) as fault:
            faults.append(f"{name}: {fault if isinstance(fault, _FaultError) else 'is nested too deeply.'}")
            values[name] = value  # It was given, so no second fault says that it is missing.
        else:
            if coerced is None:
                empty[name] = value
            else:
                values[name] = coerced
    missing = [spec for spec in model.inputs if spec.name not in values and spec.is_required_with(values)]
    faults.extend(
        f"{spec.name}: is required{_how_empty(spec, empty)}.{_why_required(spec, values)}" for spec in missing
    )
    return CheckedInputs(values, tuple(faults))


def _how_empty(spec: ModelInput, empty: Mapping[str, Any]) -> str:
    """Return what to add to "is required" if the input was given, but came out empty."""
    value = empty.get(spec.name)
    # None is also how an operator passes an optional argument that the author left out.
    if spec.name not in empty or (value is None and not spec.required.get("always")):
        return ""
    return f", but came out empty ({_shown(value)}), {CAME_OUT_EMPTY}"


def _is_empty(spec: ModelInput, value: Any) -> bool:
    """Return whether a value of an input is none; a choice that the record lists is one, whatever it is called."""
    if isinstance(value, str) and value.strip() in map(str, spec.allowed_values):
        return False
    return is_no_value(value) or (spec.type is InputType.STRING and is_empty_text(value))


def asset_ids(model: Model, values: Mapping[str, Any]) -> dict[str, tuple[ModelInput, str]]:
    """Return which assets inputs name: an input path such as ``refImageUrls[1]`` to its input and asset id."""
    return {input_path: (spec, text) for input_path, spec, text in _files(model, values) if not names_a_file(text)}


def file_paths(model: Model, values: Mapping[str, Any]) -> dict[str, tuple[ModelInput, str]]:
    """Return which files inputs name, which are no assets yet: an input path to its input, and to the path or URI."""
    return {input_path: (spec, text) for input_path, spec, text in _files(model, values) if names_a_file(text)}


def with_assets(model: Model, values: Mapping[str, Any], assets: Mapping[str, str]) -> dict[str, Any]:
    """Return checked inputs in which the paths and URIs of files have become ids of assets."""
    changed = dict(values)
    for spec in model.inputs:
        value = values.get(spec.name)
        if spec.type is InputType.FILE_ARRAY and isinstance(value, list):
            changed[spec.name] = [assets.get(item, item) for item in value]
        elif spec.type is InputType.FILE and isinstance(value, str):
            changed[spec.name] = assets.get(value, value)
    return changed


def names_a_file(text: str) -> bool:
    """Return whether an input's text is an absolute path or a URI, rather than the id of an asset."""
    return text.startswith("/") or "://" in text


def _files(model: Model, values: Mapping[str, Any]) -> Iterator[tuple[str, ModelInput, str]]:
    for spec in model.inputs:
        value = values.get(spec.name)
        if spec.type is InputType.FILE_ARRAY and isinstance(value, list):
            yield from ((f"{spec.name}[{i}]", spec, item) for i, item in enumerate(value) if isinstance(item, str))
        elif spec.type is InputType.FILE and isinstance(value, str) and not value.startswith("data:"):
            yield spec.name, spec, value


def check_asset(input_path: str, spec: ModelInput, asset_id: str, asset: Asset | None) -> Iterator[str]:
    """Yield the faults of an asset that is to be an input."""
    if asset is None:
        yield f"{input_path}: there is no asset {asset_id} in the project this API key belongs to."
        return
    if asset.status is AssetStatus.ERROR:
        yield f"{input_path}: asset {asset_id} is in error at Scenario; upload or make it again."
    yield from check_file(input_path, spec, asset_id, kind=asset.kind, size=asset.size, duration=asset.duration)


def check_file(
    input_path: str, spec: ModelInput, what: str, *, kind: str, size: int | None, duration: float | None
) -> Iterator[str]:
    """Yield the faults of a file, or of the asset it has become, that is to be an input."""
    # The kind is empty, the size (bytes) and the duration (seconds) are None where they aren't known.
    if spec.kind and kind and kind != spec.kind:
        yield f"{input_path}: must be of kind {spec.kind}, but {what} is of kind {kind}."
    if duration is not None:
        if spec.shortest_duration is not None and duration < spec.shortest_duration:
            yield f"{input_path}: must last at least {spec.shortest_duration:g} s, {what} lasts {duration:g} s."
        if spec.longest_duration is not None and duration > spec.longest_duration:
            yield f"{input_path}: must last at most {spec.longest_duration:g} s, {what} lasts {duration:g} s."
    if size is not None and spec.largest_size is not None and size > spec.largest_size:
        yield f"{input_path}: must have at most {spec.largest_size:,} bytes, {what} has {size:,}."


def _suggestion(name: str, known: Mapping[str, ModelInput]) -> str:
    lowered = {known_name.lower(): known_name for known_name in known}
    close = difflib.get_close_matches(name.replace("_", "").lower(), lowered, n=1, cutoff=0.6)
    if close:
        return f" Did you mean {lowered[close[0]]}?"
    return f" It has: {', '.join(known)}." if known else ""


def _why_required(spec: ModelInput, values: Mapping[str, Any]) -> str:
    """Return the record's own words for the rule that asks for the input, else words of ours."""
    if spec.required.get("always"):
        return ""
    for key, absent in (("ifDefined", False), ("ifNotDefined", True)):
        for other, rule in spec.rules(key).items():
            if (other in values) is not absent:
                message = rule.get("message") if isinstance(rule, Mapping) else rule
                ours = f"Give it or {other}." if absent else f"It goes with {other}."
                return f" {message}" if isinstance(message, str) and message else f" {ours}"
    return ""


def _shown(value: Any) -> str:
    """Return a value for a message: without what a signed URL gives away, and not at great length."""
    try:
        shown = redact(repr(value))
    except (ValueError, RecursionError):  # As a whole number of many thousand digits.
        shown = f"a {type(value).__name__} too large to show"
    return shown if len(shown) <= _LONGEST_SHOWN else shown[:_LONGEST_SHOWN] + "…"


def _coerced(spec: ModelInput, value: Any) -> Any:
    """Return the value as Scenario takes it, or ``None`` for a list of which nothing is left."""
    if isinstance(value, str) and spec.type not in (InputType.STRING, InputType.UNKNOWN):
        value = value.strip()
    if not spec.type.is_array:
        return _item(spec, value)
    given = _list(value)
    items = [item for item in given if not _is_empty(spec, item)]
    if given and not items:
        return None
    if not items and spec.required.get("always"):
        raise _FaultError("must not be empty.")
    if spec.shortest is not None and len(items) < spec.shortest:
        raise _FaultError(f"needs at least {spec.shortest} items, got {len(items)}.")
    if spec.longest is not None and len(items) > spec.longest:
        raise _FaultError(f"takes at most {spec.longest} items, got {len(items)}.")
    return [_item(spec, item) for item in items]


def _list(value: Any) -> list[Any]:
    if isinstance(value, str) and value.startswith(("[", "(")):
        value = parse_literal(value)
    if isinstance(value, list | tuple):
        return list(value)
    raise _FaultError(f"takes a list, even of one: [{_shown(value)}] rather than {_shown(value)}.")


def _item(spec: ModelInput, value: Any) -> Any:
    match spec.type.item:
        case InputType.BOOLEAN:
            return _boolean(value)
        case InputType.NUMBER:
            return _number(spec, value)
        case InputType.STRING:
            return _string(spec, value)
        case InputType.FILE | InputType.MODEL:
            return _id(spec, value)
        case _:
            return _plain(_without_empty(value) if spec.type is InputType.INPUTS_ARRAY else value)


def _plain(value: Any) -> Any:
    """Return a value of which only this is known: that it has to travel as JSON."""
    try:
        text = json.dumps(value, allow_nan=False, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        raise _FaultError(f"must be JSON, got {_shown(value)}.") from None
    _check_text(text)
    return value


def _without_empty(value: Any) -> Any:
    """Return an object, at any depth, without the inputs in it that came out empty."""
    if isinstance(value, Mapping):
        return {name: _without_empty(item) for name, item in value.items() if not is_no_value(item)}
    if isinstance(value, list):
        return [_without_empty(item) for item in value if not is_no_value(item)]
    return value


def _check_text(text: str) -> None:
    """Refuse a text that can't be sent: half of a pair of UTF-16, as of a file name that is no Unicode."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise _FaultError(
            f"holds U+{ord(text[error.start]):04X}, half a character, which no JSON can carry: {_shown(text)}. It may "
            "come from a file name that is no Unicode, or from text that was cut."
        ) from None


def _printable(text: Any) -> str:
    return str(text).encode(errors="backslashreplace").decode()


def truth_of(value: object) -> bool | None:
    """Return a truth value, or the one that a text spells; no value is false, and ``None`` stands for anything else."""
    if isinstance(value, bool):
        return value
    text = value.strip().lower() if isinstance(value, str) else ""
    if is_no_value(value) or text in _FALSE_TEXTS:
        return False
    return True if text in _TRUE_TEXTS else None


def _boolean(value: Any) -> bool:
    truth = truth_of(value)
    if truth is not None:
        return truth
    raise _FaultError(f"must be true or false, got {_shown(value)}.")


def _number(spec: ModelInput, value: Any) -> int | float:
    exact = _exact(value)
    if exact is None:
        raise _FaultError(f"must be a number, got {_shown(value)}.")
    if spec.name == "seed" and not isinstance(exact, int):
        raise _FaultError(f"must be a whole number, got {_shown(value)}.")
    _check_allowed(spec, exact)
    if (spec.minimum is not None and exact < spec.minimum) or (spec.maximum is not None and exact > spec.maximum):
        raise _FaultError(f"must be {_range(spec)}, got {_shown(value)}.")
    return exact


def _exact(value: Any) -> int | float | None:
    """Return a number, or the number a text spells, as an int if it is whole; ``None`` for anything else."""
    whole = whole_number(value)
    if whole is not None and whole.bit_length() > _MOST_BITS:
        return None
    if whole is not None or not isinstance(value, float | str):
        return whole
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _range(spec: ModelInput) -> str:
    if spec.minimum is not None and spec.maximum is not None:
        return f"from {spec.minimum:g} to {spec.maximum:g}"
    return f"at least {spec.minimum:g}" if spec.minimum is not None else f"at most {spec.maximum:g}"


def _string(spec: ModelInput, value: Any) -> str:
    is_empty_cell = isinstance(value, float) and not math.isfinite(value)  # As one of a table comes out.
    is_endless = isinstance(value, int) and value.bit_length() > _MOST_BITS
    if isinstance(value, bool) or not isinstance(value, str | int | float) or is_empty_cell or is_endless:
        raise _FaultError(f"must be text, got {_shown(value)}.")
    text = str(value)
    _check_text(text)
    if not spec.type.is_array:
        if spec.shortest is not None and len(text) < spec.shortest:
            raise _FaultError(f"needs at least {spec.shortest} characters, got {len(text)}.")
        if spec.longest is not None and len(text) > spec.longest:
            raise _FaultError(f"takes at most {spec.longest} characters, got {len(text)}.")
    _check_allowed(spec, text)
    return text


def _id(spec: ModelInput, value: Any) -> str:
    if isinstance(value, list | tuple):
        raise _FaultError(f"takes one id, not a list of {len(value)}.")
    if not isinstance(value, str) or not value:
        kind = "asset, a path or a URI" if spec.is_file else "model"
        raise _FaultError(f"must be the id of a Scenario {kind}, got {_shown(value)}.")
    _check_text(value)
    is_inline = value.startswith("data:") and spec.type is InputType.FILE
    is_path = names_a_file(value) and not value.lower().startswith(_WEB_SCHEMES)
    if spec.is_file and not is_inline and not is_path and not value.replace("_", "").replace("-", "").isalnum():
        raise _FaultError(
            f"must be the id of a Scenario asset, an absolute path or a URI such as s3://connection@bucket/key, got "
            f"{_shown(value)}."
        )
    return value


def _check_allowed(spec: ModelInput, value: Any) -> None:
    # A record may list the choices of a number as texts, and the other way round.
    if spec.allowed_values and value not in spec.allowed_values and str(value) not in map(str, spec.allowed_values):
        allowed = ", ".join(str(choice) for choice in spec.allowed_values)
        raise _FaultError(f"must be one of {allowed}, got {_shown(value)}.")

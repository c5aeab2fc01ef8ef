"""A model's record: what it is and which inputs it takes."""

from __future__ import annotations

import enum
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

LARGEST_SEED = 2**31 - 1
"""A seed up to this survives an echo as a float."""

_LARGEST_LIMIT = 1e18
"""What is above limits nothing, as infinity does; NaN is in no range."""


class InputType(enum.StrEnum):
    """The types an input can have in a model's record. Values that Scenario adds later count as :attr:`UNKNOWN`."""

    BOOLEAN = "boolean"
    FILE = "file"
    FILE_ARRAY = "file_array"
    INPUTS_ARRAY = "inputs_array"
    MODEL = "model"
    MODEL_ARRAY = "model_array"
    NUMBER = "number"
    NUMBER_ARRAY = "number_array"
    STRING = "string"
    STRING_ARRAY = "string_array"
    UNKNOWN = "unknown"

    @classmethod
    def _missing_(cls, _value: object) -> InputType:
        return cls.UNKNOWN

    @property
    def is_array(self) -> bool:
        """Whether the input takes a list."""
        return self.value.endswith("_array")

    @property
    def item(self) -> InputType:
        """The type of one item; for an input that takes no list, the type itself."""
        return InputType(self.value.removesuffix("_array")) if self.is_array else self


@dataclass(frozen=True)
class ModelInput:
    """One input of a model, as its record describes it. ``None`` means that the record sets no such limit.

    :param name: Its name in the API, in camelCase.
    :param required: When it must be given: the record's own object, see :meth:`is_required_with`.
    :param allowed_values: The only values it takes; empty if any will do.
    :param shortest: The least characters, or items of a list.
    :param longest: The most characters, or items of a list.
    :param kind: The kind of asset a file input takes: ``video``, ``image``, ``audio``, ...
    :param shortest_duration: Seconds a file must last at least.
    :param longest_duration: Seconds a file may last at most.
    :param largest_size: Bytes a file may have at most.
    """

    name: str
    type: InputType
    required: Mapping[str, Any] = field(default_factory=dict)
    default: Any = None
    allowed_values: tuple[Any, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    shortest: int | None = None
    longest: int | None = None
    kind: str | None = None
    shortest_duration: float | None = None
    longest_duration: float | None = None
    largest_size: int | None = None
    cost_impact: bool = False

    @property
    def is_file(self) -> bool:
        """Whether it takes assets."""
        return self.type.item is InputType.FILE

    def is_required_with(self, given: Mapping[str, Any]) -> bool:
        """Return whether it must be given beside the inputs that are given."""
        # The record's rule is an object: ``always``; ``ifDefined`` and ``ifNotDefined`` keyed by another input's name;
        # ``conditional`` with the values of other inputs, joined by ``and`` or ``or``.
        if self.required.get("always"):
            return True
        if any(other in given for other in self.rules("ifDefined")):
            return True
        alternatives = self.rules("ifNotDefined")
        if alternatives and not any(other in given for other in alternatives):
            return True
        condition = self.rules("conditional")
        values = condition.get("values")
        if not isinstance(values, Mapping) or not values:
            return False
        met = [given.get(name) in (wanted if isinstance(wanted, list) else [wanted]) for name, wanted in values.items()]
        return any(met) if condition.get("operator") == "or" else all(met)

    def rules(self, kind: str) -> Mapping[str, Any]:
        """Return one kind of rule when the input is required, such as ``ifDefined``; empty if there is none."""
        rules = self.required.get(kind)
        return rules if isinstance(rules, Mapping) else {}

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> ModelInput:
        """Read one row of a record's ``inputs``. Only the name must be right: an odd limit is left out."""
        required, allowed, kind = document.get("required"), document.get("allowedValues"), document.get("kind")
        return cls(
            name=_text(document["name"]),
            type=InputType(document.get("type", "unknown")),
            required=required if isinstance(required, Mapping) else {"always": bool(required)},
            default=document.get("default"),
            allowed_values=tuple(allowed) if isinstance(allowed, list) else (),
            minimum=_limit(document.get("min")),
            maximum=_limit(document.get("max")),
            shortest=_whole_limit(document.get("minLength")),
            longest=_whole_limit(document.get("maxLength")),
            kind=kind if isinstance(kind, str) else None,
            shortest_duration=_limit(document.get("minDuration")),
            longest_duration=_limit(document.get("maxDuration")),
            largest_size=_whole_limit(document.get("maxSize")),
            cost_impact=bool(document.get("costImpact")),
        )


@dataclass(frozen=True)
class UsualTimes:
    """How long jobs of a model usually take: medians, as Scenario measured them.

    :param running: Seconds of generating, or ``None`` if the record does not say.
    :param total: Seconds with the queue, or ``None`` if the record does not say.
    """

    running: float | None = None
    total: float | None = None

    @classmethod
    def read(cls, stats: object) -> UsualTimes | None:
        """Read a record's ``performanceStats``: its default variant, else the slowest one; ``None`` without any."""
        if not isinstance(stats, Mapping) or not isinstance(stats.get("variants"), list):
            return None
        rows = [row for row in stats["variants"] if isinstance(row, Mapping)]
        default = [row for row in rows if row.get("variantKey") == stats.get("default")]
        times = [
            cls(_seconds(row.get("inferenceLatencyP50Sec")), _seconds(row.get("totalLatencyP50Sec")))
            for row in default or rows
        ]
        known = [one for one in times if one != cls()]
        return max(known, key=lambda one: max(one.running or 0.0, one.total or 0.0), default=None)


@dataclass(frozen=True)
class Model:
    """One model.

    :param id: Its id.
    :param name: Its name for people.
    :param inputs: What it takes, in the record's order. Empty in lists: only the single record has them.
    :param successor: The id of the model that replaces it, if it is deprecated.
    :param usual: How long its jobs usually take, where its record says.
    """

    id: str
    name: str
    inputs: tuple[ModelInput, ...] = ()
    successor: str | None = None
    usual: UsualTimes | None = None

    @property
    def largest_seed(self) -> int:
        """The largest seed it takes; 0 if it takes none. With a seed each of our jobs differs from any other."""
        for one in self.inputs:
            if one.name == "seed" and one.type is InputType.NUMBER:
                return LARGEST_SEED if one.maximum is None else max(0, min(LARGEST_SEED, int(one.maximum)))
        return 0

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> Model:
        """Read the ``model`` object of a reply.

        :raises KeyError: if it, or one of its inputs, lacks what it is called.
        :raises TypeError: if that is no text, or its inputs are no list.
        """
        name, tags, inputs = document.get("name"), document.get("tags"), document.get("inputs") or []
        texts = [tag for tag in tags if isinstance(tag, str)] if isinstance(tags, list) else []
        deprecations = [tag.partition(":")[2] for tag in texts if tag.startswith("deprecated:")]
        if not isinstance(inputs, list | tuple):
            raise TypeError("inputs is no list")
        return cls(
            id=_text(document["id"]),
            name=name if isinstance(name, str) and name else _text(document["id"]),
            inputs=tuple(map(ModelInput.read, inputs)),
            successor=deprecations[0] if deprecations else None,
            usual=UsualTimes.read(document.get("performanceStats")),
        )


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise TypeError("a name is no text")
    return value


def _limit(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if -_LARGEST_LIMIT <= value <= _LARGEST_LIMIT else None


def _whole_limit(value: object) -> int | None:
    limit = _limit(value)
    return int(limit) if limit is not None else None


def _seconds(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        return None
    return float(value)


def packaged_model(model_id: str) -> Model | None:
    """Return the record that came with this package, for when Scenario can't be asked; ``None`` if there is none."""
    record = resources.files(__package__).joinpath("records", f"{model_id}.json")
    if not record.is_file():
        return None
    return Model.read(json.loads(record.read_text(encoding="utf-8"))["model"])

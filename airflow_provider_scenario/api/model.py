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
    :param type: Its type.
    :param required: When it must be given: the record's own object, see :meth:`is_required_with`.
    :param default: What Scenario takes if it is not given.
    :param allowed_values: The only values it takes; empty if any will do.
    :param minimum: The least number.
    :param maximum: The greatest number.
    :param shortest: The least characters, or items of a list.
    :param longest: The most characters, or items of a list.
    :param kind: The kind of asset a file input takes: ``video``, ``image``, ``audio``, ...
    :param shortest_duration: Seconds a file must last at least.
    :param longest_duration: Seconds a file may last at most.
    :param largest_size: Bytes a file may have at most.
    :param cost_impact: Whether it changes the price.
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
        """Return whether it must be given beside the inputs that are given.

        The record's rule is an object: ``always``; ``ifDefined`` and ``ifNotDefined`` keyed by another input's name;
        ``conditional`` with the values of other inputs, joined by ``and`` or ``or``.
        """
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
        """Read one row of a record's ``inputs``."""
        required = document.get("required")
        return cls(
            name=document["name"],
            type=InputType(document.get("type", "unknown")),
            required=required if isinstance(required, Mapping) else {"always": bool(required)},
            default=document.get("default"),
            allowed_values=tuple(document.get("allowedValues") or ()),
            minimum=document.get("min"),
            maximum=document.get("max"),
            shortest=document.get("minLength"),
            longest=document.get("maxLength"),
            kind=document.get("kind"),
            shortest_duration=document.get("minDuration"),
            longest_duration=document.get("maxDuration"),
            largest_size=document.get("maxSize"),
            cost_impact=bool(document.get("costImpact")),
        )


@dataclass(frozen=True)
class UsualTimes:
    """How long jobs of a model usually take: medians, as Scenario measured them.

    :param running: Seconds of generating, or ``None`` if the record does not tell.
    :param total: Seconds with the queue, or ``None`` if the record does not tell.
    """

    running: float | None = None
    total: float | None = None

    @classmethod
    def read(cls, stats: object) -> UsualTimes | None:
        """Read a record's ``performanceStats``: its default variant, else the slowest one; ``None`` without any."""
        variants = stats.get("variants") if isinstance(stats, Mapping) else None
        rows = [row for row in variants if isinstance(row, Mapping)] if isinstance(variants, list) else []
        default = [row for row in rows if isinstance(stats, Mapping) and row.get("variantKey") == stats.get("default")]
        times = [
            cls(_seconds(row.get("inferenceLatencyP50Sec")), _seconds(row.get("totalLatencyP50Sec")))
            for row in default or rows
        ]
        told = [one for one in times if one != cls()]
        return max(told, key=lambda one: max(one.running or 0.0, one.total or 0.0), default=None)


@dataclass(frozen=True)
class Model:
    """One model.

    :param id: Its id.
    :param name: Its name for people.
    :param inputs: What it takes, in the record's order. Empty in lists: only the single record tells.
    :param successor: The id of the model that replaces it, if it is deprecated.
    :param usual: How long its jobs usually take, where its record tells.
    """

    id: str
    name: str
    inputs: tuple[ModelInput, ...] = ()
    successor: str | None = None
    usual: UsualTimes | None = None

    @property
    def largest_seed(self) -> int:
        """The largest seed it takes; 0 if it takes none. With a seed each of our jobs can be told from any other."""
        for one in self.inputs:
            if one.name == "seed" and one.type is InputType.NUMBER:
                return LARGEST_SEED if one.maximum is None else max(0, min(LARGEST_SEED, int(one.maximum)))
        return 0

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> Model:
        """Read the ``model`` object of a reply."""
        tags = document.get("tags") or ()
        deprecations = [tag.partition(":")[2] for tag in tags if str(tag).startswith("deprecated:")]
        return cls(
            id=document["id"],
            name=document.get("name") or document["id"],
            inputs=tuple(ModelInput.read(row) for row in document.get("inputs") or ()),
            successor=deprecations[0] if deprecations else None,
            usual=UsualTimes.read(document.get("performanceStats")),
        )


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

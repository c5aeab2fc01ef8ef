"""What authors give as values, and what templating and other libraries make of them. Pure, and cheap to import."""

from __future__ import annotations

import ast
import contextlib
import json
import math
import numbers
import operator
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from jinja2 import Undefined

NO_VALUE_TEXTS = ("", "None", "null")
"""What templating makes of a value that is not there."""

INVISIBLE = "\u200b\u200c\u200d\u2060\ufeff"
"""What files and forms leave in and around a text, and no one sees."""

_EMPTY_TEXT = re.compile(rf"(?:[\s{INVISIBLE}\[\](){{}},'\"]|\b(?:None|null|nan|NaN|NaT|undefined|Undefined)\b|<NA>)*")
"""Nothing but words for nothing, alone or in lists."""

_MOST_DIGITS = 400
"""Decimal numbers with more digits before the point are endless for JSON; to write them out may take minutes."""

CAME_OUT_EMPTY = "as of an XCom that is not there, a key that is missing from conf, or a param that is null"
"""Where an empty value may come from, for messages."""


def is_no_value(value: object) -> bool:
    """Return whether a value counts as not given: ``None``, or what templating makes of what is not there."""
    return (
        value is None
        or isinstance(value, Undefined)
        or (isinstance(value, str) and value.strip().strip(INVISIBLE) in NO_VALUE_TEXTS)
    )


def is_empty_text(value: object) -> bool:
    """Return whether nobody can want a text as a prompt: a missing cell of a table, an empty list, ``[None]``."""
    return isinstance(value, str) and _EMPTY_TEXT.fullmatch(value) is not None


def to_plain(value: Any) -> Any:
    """Return a value as what JSON knows: numbers of numpy and ``Decimal`` as Python's own, any sequence as a list."""
    # The same in every process. What JSON doesn't know comes back as it is, for the check to refuse.
    if value is None or isinstance(value, bool | bytes):
        return value
    if isinstance(value, str):
        return str.__str__(value)  # A text of numpy, or a member of an enum, is its text.
    if isinstance(value, numbers.Number):
        return _plain_number(value)
    if isinstance(value, Mapping):
        return {to_plain(name): to_plain(item) for name, item in value.items()}
    if isinstance(value, Sequence):
        return [to_plain(item) for item in value]
    # An array of numpy, or a single truth value of it; no such library is imported for it.
    dimensions, convert = getattr(value, "ndim", None), getattr(value, "tolist", None)
    if isinstance(dimensions, int) and callable(convert):
        inner = convert()
        return value if type(inner) is type(value) else to_plain(inner)
    return value


def _plain_number(value: Any) -> Any:
    """Return a number of any library as an int or a float: whole where it is one, else what it prints as."""
    try:
        if isinstance(value, numbers.Integral):
            return operator.index(value)
        if isinstance(value, float):
            return float(value)
        if isinstance(value, Decimal):
            if not value.is_finite() or value.adjusted() > _MOST_DIGITS:
                return math.nan if value.is_nan() else math.copysign(math.inf, value)
            whole = value.to_integral_value()
            return int(whole) if whole == value else float(value)
        if isinstance(value, numbers.Rational):
            return int(value.numerator) if value.denominator == 1 else float(value)
        return float(str(value))  # A float of 32 bits prints as the author wrote it.
    except (ValueError, TypeError, ArithmeticError):
        return value


def parse_literal(text: str) -> Any:
    """Return the mapping or list that templating turned into text, as JSON or as Python wrote it; else the text."""
    for read in (json.loads, ast.literal_eval):
        with contextlib.suppress(ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            return read(text)
    return text


def name_or_none(value: object) -> str | None:
    """Return the text of an optional argument, such as a name or a project id; ``None`` if it came out empty."""
    return None if is_no_value(value) else str(value).strip()


def whole_number(value: object) -> int | None:
    """Return ``value`` as an int if it is a whole number or the text of one, else ``None``."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if isinstance(value, int):
        return value
    with contextlib.suppress(ValueError, OverflowError):
        if isinstance(value, str) and "." not in value and "e" not in value.lower():
            return int(value)  # Not by way of a float, which would round a long one.
        number = float(value)
        return int(number) if number.is_integer() else None
    return None


def format_units(units: Decimal) -> str:
    """Return creative units as exact text without needless zeros: ``11``, ``7.25``."""
    return f"{units.normalize():f}" if units else "0"


def units_or_none(units: Decimal | None) -> str | None:
    """Return creative units as exact text; ``None`` where they are not known."""
    return None if units is None else format_units(units)


def describe_units(cost: Decimal) -> str:
    """Return creative units in words: ``1 creative unit``, ``7.25 creative units``."""
    return f"{format_units(cost)} creative {'unit' if cost == 1 else 'units'}"

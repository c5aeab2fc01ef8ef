"""What authors give as arguments: waits in seconds, and inputs as plain JSON."""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

from airflow_provider_scenario.api.values import to_plain
from airflow_provider_scenario.exceptions import ScenarioConfigurationError

_DAY = 86400.0
_LONGEST_WAIT = 30 * _DAY
"""A wait beyond it is a mistake, as milliseconds for seconds; Airflow can't even write a time so far ahead."""
_LONGEST_INTERVAL = 3600.0
"""With fewer polls than that, a paid job's end is known too late."""

_LOCAL_FILE = re.compile(r"(?:file|local)://(?:localhost)?(?=/)", re.IGNORECASE)


class GivenInputs(dict[str, Any]):
    """Inputs as the author gave them. The repr shows their names only: a value may be a signed URL."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(str, self))})"


def seconds_of(name: str, given: object, *, or_zero: bool = False) -> float:
    """Return an argument in seconds, before anything is paid.

    :param name: The argument's name. One that ends with ``_interval`` may be an hour at most, any other 30 days.
    :param given: A number, the text of one, or a ``timedelta``; more than 0.
    :param or_zero: Whether 0 is good too, which means to look once. Default ``False``.
    :raises ScenarioConfigurationError: if it is none of these, or out of bounds.
    """
    most = _LONGEST_INTERVAL if name.endswith("_interval") else _LONGEST_WAIT
    try:
        seconds = given.total_seconds() if isinstance(given, datetime.timedelta) else float(str(given))
        shown = repr(given)
    except (ValueError, OverflowError):
        seconds, shown = math.nan, f"that {type(given).__name__}"
    if not 0 <= seconds <= most or (seconds == 0 and not or_zero):
        least = "from 0 to" if or_zero else "above 0 and at most"
        bound = "an hour" if most == _LONGEST_INTERVAL else "30 days"
        raise ScenarioConfigurationError(
            f"{name} must be a number of seconds {least} {most:,.0f} ({bound}), not {shown[:100]}."
        )
    return seconds


def stringify_paths(value: Any) -> Any:
    """Return inputs as plain JSON: what is compared between tries, stored and sent.

    Pure, and the same in every try and process. Each path, at any depth, is its text, and a file of this machine has
    one form: ``/path``, ``file:///path``, ``file://localhost/path``, ``local:///path``, and ``Path`` and
    ``ObjectStoragePath`` of it all give ``/path``. Numbers of numpy and ``Decimal`` are numbers, sequences of any kind
    are lists, and what a template left undefined is ``None``.

    :param value: The author's value, after templating.
    """
    from airflow.sdk import ObjectStoragePath
    from jinja2 import Undefined

    if isinstance(value, Undefined):
        return None
    if isinstance(value, ObjectStoragePath | PurePath):
        value = str(value)
    if isinstance(value, str):
        return _LOCAL_FILE.sub("", to_plain(value), count=1) if _LOCAL_FILE.match(value) else to_plain(value)
    if isinstance(value, Mapping):
        return {stringify_paths(name): stringify_paths(item) for name, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        return [stringify_paths(item) for item in value]
    plain = to_plain(value)
    return plain if plain is value or not isinstance(plain, Mapping | list | str) else stringify_paths(plain)

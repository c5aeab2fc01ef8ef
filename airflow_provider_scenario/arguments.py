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
_MAX_WAIT = 30 * _DAY
"""A wait beyond it is a mistake, as milliseconds for seconds; Airflow can't even write a time so far ahead."""

MAX_INTERVAL = 3600.0
"""With fewer polls than that, a paid job's end is known too late."""

# A file of this machine has one form: file:///path, file://localhost/path and local:///path all give /path.
_LOCAL_FILE = re.compile(r"(?:file|local)://(?:localhost)?(?=/)", re.IGNORECASE)


class GivenInputs(dict[str, Any]):
    """Inputs as the author gave them. The repr shows their names only: a value may be a signed URL."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(str, self))})"


def seconds_of(name: str, given: object, *, most: float = _MAX_WAIT, or_zero: bool = False) -> float:
    """Return an argument (a number, the text of one, or a ``timedelta``) in seconds, before anything is paid."""
    try:
        seconds = given.total_seconds() if isinstance(given, datetime.timedelta) else float(str(given))
        shown = repr(given)
    except (ValueError, OverflowError):
        seconds, shown = math.nan, f"that {type(given).__name__}"
    # Where 0 is good too, it means to look once.
    if not 0 <= seconds <= most or (seconds == 0 and not or_zero):
        least = "from 0 to" if or_zero else "above 0 and at most"
        bound = "an hour" if most == MAX_INTERVAL else "30 days"
        raise ScenarioConfigurationError(
            f"{name} must be a number of seconds {least} {most:,.0f} ({bound}), not {shown[:100]}."
        )
    return seconds


def plain_inputs(value: Any) -> Any:
    """Return inputs as plain JSON, the same in every try and process: what is compared, stored and sent."""
    from airflow.sdk import ObjectStoragePath
    from jinja2 import Undefined

    if isinstance(value, Undefined):
        return None
    if isinstance(value, ObjectStoragePath | PurePath):
        value = str(value)
    if isinstance(value, str):
        return _LOCAL_FILE.sub("", to_plain(value), count=1) if _LOCAL_FILE.match(value) else to_plain(value)
    if isinstance(value, Mapping):
        return {plain_inputs(name): plain_inputs(item) for name, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        return [plain_inputs(item) for item in value]
    plain = to_plain(value)
    return plain if plain is value or not isinstance(plain, Mapping | list | str) else plain_inputs(plain)

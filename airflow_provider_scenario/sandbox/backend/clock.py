"""The server's clock: real time, shifted for its clients."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from email.utils import formatdate

from airflow_provider_scenario.sandbox.backend.refusal import RefusalError


class Clock:
    """Seconds since 1970. Inside the sandbox time is real; ``skew`` seconds are added to all that clients see."""

    def __init__(self) -> None:
        self.skew = 0.0

    def now(self) -> float:
        """Give the real time, in whole milliseconds as all dates are told."""
        return int(time.time() * 1000) / 1000

    def server_now(self) -> float:
        """Give the time as the server claims it to be."""
        return self.now() + self.skew

    def stamp(self, moment: float) -> str:
        """Give a real moment as clients see it, in ISO 8601 with milliseconds."""
        text = datetime.fromtimestamp(moment + self.skew, UTC).isoformat(timespec="milliseconds")
        return text.replace("+00:00", "Z")

    def date_header(self) -> str:
        """Give the value of the Date header, now."""
        return formatdate(self.server_now(), usegmt=True)

    def moment(self, text: str, name: str) -> float:
        """Give a date sent by a client, as a real moment; raises ``RefusalError`` naming the parameter."""
        try:
            parsed = datetime.fromisoformat(text)
        except ValueError:
            raise RefusalError(400, f'"{name}" must be in ISO 8601 date format') from None
        if parsed.tzinfo is None:
            parsed = parsed.replace(tzinfo=UTC)
        return parsed.timestamp() - self.skew

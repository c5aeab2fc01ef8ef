"""What was asked of the sandbox: counts, the last requests, and keys that went where they must not go."""

from __future__ import annotations

import time
from collections import Counter, deque
from dataclasses import asdict, dataclass
from typing import Any

RECENT_LIMIT = 5000
KEYLESS_PREFIXES = ("/cdn/", "/bucket/")


@dataclass
class Visit:
    """One request."""

    time: float
    """Seconds since 1970."""
    method: str
    route: str
    path: str
    status: int | None = None
    """None: no reply was sent."""
    fault: str | None = None


class Traffic:
    """All requests but those to the controls."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.recent: deque[Visit] = deque(maxlen=RECENT_LIMIT)
        self.leaks: list[dict[str, Any]] = []

    def note(self, method: str, route: str, path: str, *, with_key: bool) -> Visit:
        """Count a request as it arrives; ``with_key``: it carries an Authorization header."""
        visit = Visit(time.time(), method, route, path)
        self.counts[f"{method} {route}"] += 1
        self.recent.append(visit)
        if with_key and path.startswith(KEYLESS_PREFIXES):
            self.leaks.append({"time": visit.time, "method": method, "route": route, "path": path})
        return visit

    def as_json(self) -> dict[str, Any]:
        """Give the counts and the recent requests, the oldest first."""
        return {"counts": dict(self.counts), "recent": [asdict(visit) for visit in self.recent]}

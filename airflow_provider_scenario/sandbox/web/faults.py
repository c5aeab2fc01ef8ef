"""Faults on order: which requests they meet, and what they do to them.

A rule is ``{"method", "path", "query", "skip", "times", "action"}``; ``path`` and ``query`` are regular expressions
searched for in the path and in the raw query. The first rule that fits a request and is not used up is applied.

======================  =======================================================================================
``action["type"]``      what happens, and the action's other keys with their defaults
======================  =======================================================================================
``status``              answered before anything is done: ``code`` 500, ``body`` (text or JSON), ``headers`` {}
``drop_before``         connection closed without a reply, nothing done: ``reset`` false (true: TCP reset)
``drop_after``          the request is carried out, then the connection closed without a reply: ``reset`` false
``status_after``        the request is carried out, then answered: ``code`` 502, ``body`` (HTML), ``headers`` {}
``delay``               ``seconds`` 1, ``when`` "before" or "after" the request is carried out
``hang``                no answer until the client gives up: ``when`` "before" or "after" it is carried out
``cut_body``            the reply's head, then ``bytes`` of the body (default: half), then the connection closes
``cut_at``              the same for a download: ``byte``, or a random one drawn with ``seed`` 0
``wrong_length``        Content-Length tells ``by`` 1000 bytes more than come before the connection closes
``short_body``          a whole reply in itself, with a fitting Content-Length, but only ``bytes`` of it (half)
``trickle``             the body comes at ``bytes_per_second`` 1000
======================  =======================================================================================
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

DEFAULTS: dict[str, dict[str, Any]] = {
    "status": {"code": 500, "body": {"reason": "Internal Server Error"}, "headers": {}},
    "drop_before": {"reset": False},
    "drop_after": {"reset": False},
    "status_after": {"code": 502, "body": "<html><body><h1>502 Bad Gateway</h1></body></html>", "headers": {}},
    "delay": {"seconds": 1.0, "when": "before"},
    "hang": {"when": "before"},
    "cut_body": {"bytes": None},
    "cut_at": {"byte": None, "seed": 0},
    "wrong_length": {"by": 1000},
    "short_body": {"bytes": None},
    "trickle": {"bytes_per_second": 1000},
}


_LARGEST_NUMBER = 1 << 53


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _LARGEST_NUMBER


def _is_fit(name: str, value: object) -> bool:
    """Whether a key of an action may have a value."""
    match name:
        case "code":
            return _is_count(value) and value in range(200, 600)
        case "seconds" | "bytes_per_second":
            if isinstance(value, bool) or not isinstance(value, int | float):
                return False
            return 0 <= value <= _LARGEST_NUMBER and (name == "seconds" or value > 0)
        case "bytes" | "byte":
            return value is None or _is_count(value)
        case "by" | "seed":
            return isinstance(value, int) and abs(value) <= _LARGEST_NUMBER
        case "when":
            return value in ("before", "after")
        case "reset":
            return isinstance(value, bool)
        case "headers":
            return isinstance(value, dict)
        case _:
            return True


class FaultError(ValueError):
    """A rule that cannot be understood."""


@dataclass
class FaultRule:
    """One rule, and how often it was met."""

    action: dict[str, Any]
    method: str | None = None
    path: str = ""
    query: str = ""
    skip: int = 0
    """How many fitting requests pass unharmed first."""
    times: int | None = None
    """How many are harmed after those; None: all."""
    matches: int = field(default=0, init=False)
    hits: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        kind = self.action.get("type")
        if not isinstance(kind, str) or kind not in DEFAULTS:
            raise FaultError(f"action.type must be one of {', '.join(DEFAULTS)}, not {kind!r}")
        unknown = set(self.action) - {"type"} - set(DEFAULTS[kind])
        if unknown:
            raise FaultError(f"the action {kind} has no {', '.join(sorted(unknown))}")
        self.action = {**DEFAULTS[kind], **self.action}
        if not all(_is_fit(name, value) for name, value in self.action.items()):
            raise FaultError(f"the action {kind} has a value of the wrong kind or out of range: {self.action}")
        if not (_is_count(self.skip) and (self.times is None or _is_count(self.times))):
            raise FaultError("skip and times must be whole numbers, 0 or more; times may be null")
        if not isinstance(self.method, str | None):
            raise FaultError("method must be text, or null")
        try:
            self._path, self._query = re.compile(self.path), re.compile(self.query)
        except re.error as error:
            raise FaultError(f"not a regular expression: {error}") from None

    def takes(self, method: str, path: str, query: str) -> bool:
        """Whether this rule harms a request; counts it if it fits."""
        fits = self.method in (None, method) and self._path.search(path) and self._query.search(query)
        if not fits or (self.times is not None and self.hits >= self.times):
            return False
        self.matches += 1
        if self.matches <= self.skip:
            return False
        self.hits += 1
        return True

    def as_json(self) -> dict[str, Any]:
        """Give the rule with its counts."""
        names = ("method", "path", "query", "skip", "times", "action", "matches", "hits")
        return {name: getattr(self, name) for name in names}


class FaultBook:
    """All rules, in the order in which they were added."""

    def __init__(self) -> None:
        self.rules: list[FaultRule] = []

    def add(self, content: dict[str, Any]) -> FaultRule:
        """Add a rule; raises ``FaultError``."""
        unknown = set(content) - {"method", "path", "query", "skip", "times", "action"}
        if unknown or not isinstance(content.get("action"), dict):
            raise FaultError(f"a rule needs an action, and has no {', '.join(sorted(unknown)) or 'other keys'}")
        rule = FaultRule(**content)
        self.rules.append(rule)
        return rule

    def find(self, method: str, path: str, query: str) -> dict[str, Any] | None:
        """Give the action for a request, if a rule takes it."""
        for rule in self.rules:
            if rule.takes(method, path, query):
                return rule.action
        return None

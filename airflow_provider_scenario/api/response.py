"""A response as it came, and the error it stands for, if it stands for one."""

from __future__ import annotations

import datetime
import email.utils
import enum
import functools
import json
import math
import re
import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_provider_scenario.api.values import whole_number
from airflow_provider_scenario.exceptions import (
    ErrorDetails,
    ScenarioAuthenticationError,
    ScenarioConcurrencyLimitError,
    ScenarioConfigurationError,
    ScenarioError,
    ScenarioInputError,
    ScenarioInsufficientCreditsError,
    ScenarioModerationError,
    ScenarioNotFoundError,
    ScenarioPermissionError,
    ScenarioRateLimitError,
    ScenarioServerError,
    redact,
)

if TYPE_CHECKING:
    import requests


LARGEST_REPLY = 16 * 2**20
"""Bytes of JSON, unpacked, beyond which a reply is not read: the largest known have less than 1 MiB."""

_MOST_VALUES = 500_000
"""Values in a reply's JSON beyond which it is not read: each takes as much memory as a hundred bytes of the reply."""

ACCEPTED_ENCODING = "gzip"
"""The one encoding that is asked for and unpacked."""

_PIECE = 64 * 2**10


MODERATION_WORDS = ("moderation", "moderated", "nsfw", "sensitive content", "content policy", "safety system")
"""Words by which Scenario's own plugins recognise a blocked prompt."""

# Whole words, and "flagged" not before what was found wrong: an input has "moderate" motion, "flagged inputs: fps".
_MODERATION = re.compile(
    rf"(?im)\b(?:{'|'.join(MODERATION_WORDS)}|moderators?)\b"
    r"|\bflagged\s+(?:as|by|for)\b"
    r"|\bflagged(?=\s*(?:[.,;!)]|$))"
)
_UNITS = re.compile(r"(?i)\b(creative units?|credits?|CUs?)\b")
_LACK = re.compile(r"(?i)\b(not enough|insufficient|out of|no more|ran out|used up|exhausted|lack\w*)\b")
_PLAN = re.compile(r"(?i)\b(plan|subscription|trial)\b")


class UnreadableBodyError(Exception):
    """The body is no use, for the reason given."""


class SlowBodyError(Exception):
    """The body does not come to its end in time."""


def read_body(response: requests.Response, *, seconds: float, largest: int = LARGEST_REPLY) -> bytes:
    """Return the whole body, unpacked, within ``seconds``: at most ``largest`` bytes, packed and unpacked."""
    until = time.monotonic() + seconds
    unpack = _unpacker(response.headers.get("Content-Encoding", ""), largest)
    content = bytearray()
    while piece := response.raw.read1(_PIECE, decode_content=False):
        content += unpack(piece, largest + 1 - len(content))
        if len(content) > largest:
            raise UnreadableBodyError(f"is larger than {largest // 2**20} MiB")
        if time.monotonic() > until:
            raise SlowBodyError(f"its reply did not end within {seconds:g} seconds")
    return bytes(content)


def _unpacker(encoding: str, largest: int) -> Callable[[bytes, int], bytes]:
    """Return what unpacks the next piece, to at most so many bytes."""
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        return lambda piece, _most: piece
    if encoding not in (ACCEPTED_ENCODING, "x-gzip"):
        raise UnreadableBodyError("comes in an encoding that was not asked for")
    gzip = zlib.decompressobj(16 + zlib.MAX_WBITS)
    packed = 0

    def unpack(piece: bytes, most: int) -> bytes:
        nonlocal packed
        packed += len(piece)
        if packed > largest:
            raise UnreadableBodyError(f"is larger than {largest // 2**20} MiB")
        try:
            return gzip.decompress(piece, most)
        except zlib.error:
            trouble = "is not the gzip that it says it is"
        raise UnreadableBodyError(trouble)

    return unpack


_REASON_KEYS = ("reason", "message", "error", "detail")

_TRANSIENT = frozenset({408, 429})

_REFUSALS = frozenset({400, 401, 402, 403, 404, 409, 422, 429})
"""Statuses by which Scenario says that it did not do what was asked."""


def is_transient(status: int) -> bool:
    """Return whether a request that was answered with a status may succeed if it is sent again."""
    return status in _TRANSIENT or status >= 500


@dataclass(frozen=True)
class Response:
    """One HTTP reply.

    :param headers: Headers, names in lower case.
    :param body: The whole body. Not shown in the repr: it may hold signed URLs.
    """

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)

    @property
    def is_success(self) -> bool:
        """Whether the status is a 2xx: Scenario answers a dry run with 269."""
        return 200 <= self.status < 300

    @property
    def server_time(self) -> datetime.datetime | None:
        """Scenario's clock, from the ``Date`` header; ``None`` where there is none."""
        return _http_date(self.headers.get("date"))

    def json(self) -> dict[str, Any]:
        """Return the body as a JSON object; ``ScenarioServerError`` for a cut reply, or a gateway's HTML."""
        document = self._document
        if document is None:
            raise ScenarioServerError(
                f"Scenario's reply (HTTP {self.status}) is not the JSON object it should be: it was cut, or it comes "
                "from a proxy between here and Scenario.",
                details=ErrorDetails(status=self.status),
            )
        return document

    @property
    def is_refusal(self) -> bool:
        """Whether Scenario itself refused: by the status, and in its own JSON, which a gateway does not write."""
        # A reply that names a job is no refusal, whatever its status says: there is a job.
        return self.status in _REFUSALS and self._is_in_scenarios_form() and not self._names_job()

    def _names_job(self) -> bool:
        document = self._document or {}
        return bool(document.get("jobId")) or (isinstance(document.get("job"), dict) and bool(document["job"]))

    def _is_in_scenarios_form(self) -> bool:
        document = self._document or {}
        return (
            any(isinstance(document.get(key), str) and document[key].strip() for key in _REASON_KEYS)
            or isinstance(document.get("details"), dict)
            or _seconds(document.get("remainingSeconds")) is not None
            or isinstance(document.get("requiredPlan"), str)
        )

    def retry_after(self, now: datetime.datetime) -> float | None:
        """Return the seconds Scenario asked to wait, from ``Retry-After`` or ``remainingSeconds``, else ``None``."""
        asked = self.headers.get("retry-after", "").strip()
        seconds = _seconds(asked)
        if seconds is not None:
            return seconds
        date = _http_date(asked)
        if date is not None:
            return max(0.0, (date - now).total_seconds())
        return _seconds((self._document or {}).get("remainingSeconds"))

    def details(self) -> ErrorDetails:
        """Return what the body says of an error."""
        document = self._document or {}
        reasons = (document.get(key) for key in _REASON_KEYS)
        reason = next((text for text in reasons if isinstance(text, str) and text), None)
        trace_id = document.get("trace_id") or document.get("traceId")
        return ErrorDetails(
            status=self.status,
            reason=redact(reason) if reason else None,
            trace_id=redact(trace_id) if trace_id else None,
        )

    @functools.cached_property
    def _document(self) -> dict[str, Any] | None:
        if self.body.count(b",") > _MOST_VALUES:
            return None
        try:
            # As UTF-8 always: in another encoding a reply could quote the key without its being found.
            document = json.loads(self.body.decode("utf-8-sig", "surrogatepass"))
        except (ValueError, RecursionError):
            return None
        return document if isinstance(document, dict) else None


def error_of(reply: Response, action: str, *, now: datetime.datetime, is_purchase: bool = True) -> ScenarioError | None:
    """Return the error a reply stands for, or ``None`` for a 2xx. ``is_refusal`` says whose refusal it is."""
    if reply.is_success:
        return None
    # Of a purchase, where money was at stake, a refusal of Scenario's own says that none was taken.
    error = _error_for(reply, action, now, is_purchase)
    error.is_refusal = reply.is_refusal
    return error


def _error_for(reply: Response, action: str, now: datetime.datetime, is_purchase: bool) -> ScenarioError:
    details = reply.details()
    words = details.reason or f"HTTP {reply.status} without a reason"
    trace = f" (trace id {details.trace_id})" if details.trace_id else ""
    free = " Nothing was charged." if is_purchase and reply.is_refusal else ""
    if reply.status in _REFUSALS and not reply.is_refusal:
        free = " This is not how Scenario refuses: it may come from a proxy or gateway on the way."
    start = f"Scenario refused to {action}: {words.rstrip('.')}{trace}."
    document = reply._document or {}
    refusal_reason = refusal_reason_of(reply.status, words)
    if refusal_reason is not None and (is_purchase or refusal_reason is not RefusalReason.MODERATION):
        return _refusal_of(refusal_reason, f"{start}{free}", details, document)
    match reply.status:
        case 400 | 409 | 422:
            return ScenarioInputError(f"{start}{free}", details=details)
        case 401:
            return ScenarioAuthenticationError(
                f"{start}{free} Check the login (API key) and password (API secret) of the connection.", details=details
            )
        case 403:
            if document.get("requiredPlan"):
                return _refusal_of(RefusalReason.PLAN, f"{start}{free}", details, document)
            return ScenarioPermissionError(
                f"{start}{free} Check project_id of the connection, and that the key's project may use this.",
                details=details,
            )
        case 404:
            return ScenarioNotFoundError(
                f"{start}{free} The id is wrong, or it is not visible in the project this API key belongs to.",
                details=details,
            )
        case 429:
            return _busy(reply, start, details, document, now, free)
        case status if is_transient(status):
            return ScenarioServerError(
                f"Scenario could not {action} just now (HTTP {status}): {words.rstrip('.')}{trace}.",
                details=details,
                retry_after=reply.retry_after(now),
            )
        case status if status < 400:
            return ScenarioConfigurationError(
                f"Scenario did not {action}: the address answers HTTP {status}, which leads elsewhere, and the API key "
                "is not handed on. Check the host of the connection.",
                details=details,
            )
        case _:
            return ScenarioInputError(f"{start} (HTTP {reply.status})", details=details)


def _refusal_of(
    refusal_reason: RefusalReason, start: str, details: ErrorDetails, document: Mapping[str, Any]
) -> ScenarioError:
    """Return the error of a refusal that a person has to do something about."""
    match refusal_reason:
        case RefusalReason.CREDITS:
            return ScenarioInsufficientCreditsError(
                f"{start} A retry can't help: the team needs more creative units. Then clear the task.", details=details
            )
        case RefusalReason.PLAN:
            plan = document.get("requiredPlan")
            needs = f"This needs the plan {plan}" if plan else "The team's plan does not allow this"
            return ScenarioPermissionError(
                f"{start} {needs}: renew or change the plan in Scenario, then clear the task.", details=details
            )
        case RefusalReason.MODERATION:
            return ScenarioModerationError(
                f"{start} The same inputs would be blocked again, so there is no retry: change the prompt or the "
                "media, then clear the task.",
                details=details,
            )


def _busy(
    reply: Response, start: str, details: ErrorDetails, document: Mapping[str, Any], now: datetime.datetime, free: str
) -> ScenarioRateLimitError:
    given = document.get("details")
    limits = given if isinstance(given, dict) else {}
    retry_after = reply.retry_after(now)
    if "actionLimit" in limits or "remainingSeconds" in document:
        limit = limits.get("actionLimit")
        error = ScenarioConcurrencyLimitError(
            f"{start} No slot is free just now.{free}", details=details, retry_after=retry_after
        )
        error.limit = whole_number(limit)
        return error
    return ScenarioRateLimitError(f"{start}{free}", details=details, retry_after=retry_after)


def _seconds(value: object) -> float | None:
    """Return a number of seconds, 0 or more, from a number or the text of one; ``None`` for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        seconds = float(value)
    except (ValueError, OverflowError):
        return None
    return max(0.0, seconds) if math.isfinite(seconds) else None


def _http_date(text: str | None) -> datetime.datetime | None:
    if not text:
        return None
    try:
        date = email.utils.parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return date if date.tzinfo else date.replace(tzinfo=datetime.UTC)


class RefusalReason(enum.Enum):
    """What a refusal is about."""

    CREDITS = "credits"
    """The team has too few creative units."""
    PLAN = "plan"
    """The team's plan has expired, or does not hold this."""
    MODERATION = "moderation"
    """What was asked for is blocked."""


def is_moderation(words: str) -> bool:
    """Return whether words speak of moderation."""
    return _MODERATION.search(words) is not None


def refusal_reason_of(status: int, words: str) -> RefusalReason | None:
    """Return what a refusal is about; ``None`` if its status says all there is."""
    if status not in (400, 402, 403, 409, 422):
        return None
    if _UNITS.search(words) and _LACK.search(words):
        return RefusalReason.CREDITS
    if status in (402, 403) and _PLAN.search(words):
        return RefusalReason.PLAN
    if status == 402:
        return RefusalReason.CREDITS
    return RefusalReason.MODERATION if is_moderation(words) else None

"""What the client does with a call besides carrying it: address it, read the reply, and decide on a retry.

Pure decisions. A paid POST is never sent again here: Scenario has no idempotency key, so sending it twice may buy
it twice. What becomes of such a call is decided where the purchase is recorded.
"""

from __future__ import annotations

import datetime
import json
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_provider_scenario.api.calls import Call
from airflow_provider_scenario.api.config import ClientConfig
from airflow_provider_scenario.api.response import ACCEPTED_ENCODING, Response, error_of
from airflow_provider_scenario.exceptions import (
    ErrorDetails,
    ScenarioInputError,
    ScenarioServerError,
    ScenarioTransientError,
    redact,
)

if TYPE_CHECKING:
    import tenacity


T = TypeVar("T")

USER_AGENT = "airflow-provider-scenario"


class _WithoutSecrets(logging.Filter):
    """Cleans each record of a logger."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = redact(record.getMessage()), ()
        return True


_WITHOUT_SECRETS = _WithoutSecrets()


def keep_secrets_from_log(*names: str) -> None:
    """Keep signed URLs out of a library's own log, which tells of odd headers, and at level DEBUG of each request."""
    # Asking twice changes nothing.
    for name in names:
        logging.getLogger(name).addFilter(_WITHOUT_SECRETS)


def query_of(config: ClientConfig, call: Call[T]) -> dict[str, str]:
    """Return the call's query, with the project if the access names one."""
    return {**call.query, **({"projectId": config.project_id} if config.project_id else {})}


def headers_of(call: Call[T]) -> dict[str, str]:
    """Return the call's headers, but for the credentials."""
    headers = {"Accept": "application/json", "Accept-Encoding": ACCEPTED_ENCODING, "User-Agent": USER_AGENT}
    if call.body is not None:
        headers["Content-Type"] = "application/json"
    return headers


def content_of(call: Call[T]) -> bytes | None:
    """Return the call's body as it goes over the wire: as JSON, which has neither dates nor infinity."""
    if call.body is None:
        return None
    try:
        return json.dumps(call.body, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as unwritable:
        trouble = str(unwritable)
    raise ScenarioInputError(
        f"What is to be sent to {call.action} is not JSON: {trouble}. Nothing was sent.", sent=False
    )


def read_reply(call: Call[T], reply: Response) -> T:
    """Return what the reply says, else raise the error it stands for."""
    now = datetime.datetime.now(datetime.UTC)
    error = error_of(reply, call.action, now=now, is_purchase=not call.repeatable)
    if error is not None:
        raise error
    try:
        return call.read(reply)
    except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError) as unreadable:
        missing = f"{type(unreadable).__name__}: {unreadable}"
    raise ScenarioServerError(
        f"Scenario's reply to '{call.action}' (HTTP {reply.status}) lacks what it should hold ({missing}).",
        details=ErrorDetails(status=reply.status),
    )


_MOST_DOUBLINGS = 60
"""Far beyond any longest wait, and far below what a float can hold."""


@dataclass(frozen=True)
class RetryConfig:
    """How long a client keeps at a call that may be repeated.

    :param attempts: How often to send it at most, 1 or more. Default 5.
    :param first_wait: Seconds before the second attempt; doubles with each further one. Default 0.5.
    :param longest_wait: Seconds between two attempts at most. Where Scenario asks for longer, the call fails at once
        with ``retry_after``, so that the caller can wait without holding a worker. Default 30.
    """

    attempts: int = 5
    first_wait: float = 0.5
    longest_wait: float = 30.0


def wait_before_repeating(
    error: BaseException,
    *,
    attempt: int,
    repeatable: bool,
    retry_config: RetryConfig,
    jitter: Callable[[], float] = random.random,
) -> float | None:
    """Return the seconds to wait after attempt 1, 2, ... before the next one, or ``None`` to give up."""
    if not repeatable or not isinstance(error, ScenarioTransientError) or attempt >= retry_config.attempts:
        return None
    # The jitter, from 0 to below 1, keeps many waiting callers from coming back at once.
    if error.retry_after is not None:
        if error.retry_after > retry_config.longest_wait:
            return None
        return min(retry_config.longest_wait, max(0.0, error.retry_after) + jitter())
    doubled = min(retry_config.longest_wait, retry_config.first_wait * 2.0 ** min(attempt - 1, _MOST_DOUBLINGS))
    return doubled * (0.5 + 0.5 * jitter())


def tenacity_arguments(repeatable: bool, retry_config: RetryConfig) -> dict[str, Any]:
    """Return the arguments that make tenacity's loops, plain and async, follow :func:`wait_before_repeating`."""
    waits: dict[int, float] = {}

    def worth_repeating(state: tenacity.RetryCallState) -> bool:
        error = state.outcome.exception() if state.outcome else None
        if error is None:
            return False
        attempt = state.attempt_number
        seconds = wait_before_repeating(error, attempt=attempt, repeatable=repeatable, retry_config=retry_config)
        if seconds is not None:
            waits[attempt] = seconds
        return seconds is not None

    return {"retry": worth_repeating, "wait": lambda state: waits[state.attempt_number], "reraise": True}

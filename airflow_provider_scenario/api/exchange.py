"""What the client does with a call besides carrying it: address it, and read what came back."""

from __future__ import annotations

import datetime
import json
import logging
from typing import TypeVar

from airflow_provider_scenario.api.access import Access
from airflow_provider_scenario.api.calls import Call
from airflow_provider_scenario.api.reply import Reply, error_of
from airflow_provider_scenario.api.reply_body import ACCEPTED_ENCODING
from airflow_provider_scenario.exceptions import (
    ScenarioInputError,
    ScenarioSaid,
    ScenarioServerError,
    redact,
)

T = TypeVar("T")

USER_AGENT = "airflow-provider-scenario"


class _WithoutSecrets(logging.Filter):
    """Cleans each record of a logger."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = redact(record.getMessage()), ()
        return True


_WITHOUT_SECRETS = _WithoutSecrets()


def keep_secrets_from_log(name: str) -> None:
    """Keep signed URLs out of a library's own log, which at level DEBUG tells of each request.

    :param name: The library's logger. Asking twice changes nothing.
    """
    logging.getLogger(name).addFilter(_WITHOUT_SECRETS)


def query_of(access: Access, call: Call[T]) -> dict[str, str]:
    """Return the call's query, with the project to assert if the access names one."""
    return {**call.query, **({"projectId": access.project_id} if access.project_id else {})}


def headers_of(call: Call[T]) -> dict[str, str]:
    """Return the call's headers, but for the credentials."""
    headers = {"Accept": "application/json", "Accept-Encoding": ACCEPTED_ENCODING, "User-Agent": USER_AGENT}
    if call.body is not None:
        headers["Content-Type"] = "application/json"
    return headers


def content_of(call: Call[T]) -> bytes | None:
    """Return the call's body as it goes over the wire.

    :raises ScenarioInputError: if it can't be written as JSON, which has neither dates nor infinity.
    """
    if call.body is None:
        return None
    try:
        return json.dumps(call.body, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as unwritable:
        trouble = str(unwritable)
    raise ScenarioInputError(
        f"What is to be sent to {call.action} is not JSON: {trouble}. Nothing was sent.", sent=False
    )


def result_of(call: Call[T], reply: Reply) -> T:
    """Return what the reply says.

    :raises ScenarioError: the error it stands for; :class:`ScenarioServerError` if it is not of the expected shape.
    """
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
        said=ScenarioSaid(status=reply.status),
    )

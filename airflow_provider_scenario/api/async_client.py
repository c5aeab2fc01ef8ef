"""Carries calls with httpx: for the triggerer."""

from __future__ import annotations

from typing import TypeVar

import httpx
import tenacity

from airflow_provider_scenario.api.access import CONNECT_TIMEOUT, Access
from airflow_provider_scenario.api.calls import Call
from airflow_provider_scenario.api.exchange import (
    content_of,
    headers_of,
    keep_secrets_from_log,
    query_of,
    result_of,
)
from airflow_provider_scenario.api.reply import Reply
from airflow_provider_scenario.api.retry import Patience, tenacity_arguments
from airflow_provider_scenario.exceptions import ScenarioConnectionError

T = TypeVar("T")

_NEVER_SENT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.InvalidURL,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
)

_OUR_HEADERS_ONLY = httpx.Auth()
"""Keeps httpx from replacing the Authorization header by one of its own."""


class AsyncScenarioClient:
    """An asynchronous client of one Scenario project. Use it as an async context manager.

    :param access: Where, and as whom.
    :param patience: How long to keep at calls that may be repeated.
    """

    def __init__(self, access: Access, patience: Patience | None = None) -> None:
        self.access = access
        self._patience = patience or Patience()
        keep_secrets_from_log("httpcore.http11")
        self._client = httpx.AsyncClient(
            timeout=httpx.Timeout(access.timeout, connect=CONNECT_TIMEOUT), follow_redirects=False
        )

    async def send(self, call: Call[T]) -> T:
        """Send a call and return what its reply says.

        :param call: A value of :mod:`airflow_provider_scenario.api.calls`.
        :raises ScenarioError: the error that the reply, or the lack of one, stands for.
        """
        loop = tenacity.AsyncRetrying(**tenacity_arguments(call.repeatable, self._patience))
        return await loop(self._send_once, call)

    async def _send_once(self, call: Call[T]) -> T:
        access = self.access
        try:
            response = await self._client.request(
                call.method,
                access.url(call.path),
                params=query_of(access, call),
                content=content_of(call),
                headers=headers_of(access, call),
                auth=_OUR_HEADERS_ONLY,
            )
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            trouble, sent = type(error).__name__, not isinstance(error, _NEVER_SENT)
        else:
            return result_of(call, Reply(response.status_code, dict(response.headers), response.content))
        raise ScenarioConnectionError(f"Scenario could not be reached to {call.action} ({trouble}).", sent=sent)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def __aenter__(self) -> AsyncScenarioClient:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()

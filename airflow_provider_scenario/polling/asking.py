"""How a watcher asks: through a client that is passed in, with a bounded patience, and with one family of errors."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Protocol, TypeVar

from airflow_provider_scenario.api.calls import Call
from airflow_provider_scenario.exceptions import ScenarioConnectionError, ScenarioError, ScenarioTransientError

T = TypeVar("T")


class AsyncSender(Protocol):
    """What carries calls: a :class:`~airflow_provider_scenario.api.client_thread.ClientThread`."""

    async def send(self, call: Call[T], /) -> T:
        """Send a call and return what its reply says."""


OpenClient = Callable[[], Awaitable[AbstractAsyncContextManager[AsyncSender]]]


async def ask(client: AsyncSender, call: Call[T], timeout: float) -> T:
    """Send a call and return what its reply says.

    :param client: What carries it.
    :param call: What to ask.
    :param timeout: Seconds to wait for the reply.
    :raises ScenarioError: whatever went wrong.
    """
    try:
        async with asyncio.timeout(timeout):
            return await client.send(call)
    except ScenarioError:
        raise
    except TimeoutError:
        trouble: ScenarioError = ScenarioConnectionError(f"Scenario did not {call.action} within {timeout:g} seconds.")
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the trouble of this one call
        trouble = ScenarioTransientError(f"The attempt to {call.action} stumbled: {error!r}.")
    raise trouble

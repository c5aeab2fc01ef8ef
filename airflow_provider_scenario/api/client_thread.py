"""Lets an event loop ask through the one client, in a thread of its own."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import tenacity

from airflow_provider_scenario.api.access import Access
from airflow_provider_scenario.api.calls import Call
from airflow_provider_scenario.api.client import ScenarioClient
from airflow_provider_scenario.api.retry import Patience, tenacity_arguments

T = TypeVar("T")

_ONCE = Patience(attempts=1)


class ClientThread:
    """Asks Scenario for an event loop. Use it as an async context manager.

    Calls are made one after the other, in a thread that belongs to nobody else: the loop's own threads and asgiref's
    serve others, who must not wait for Scenario. A call that is cancelled amid its request leaves its thread to end by
    itself, and the next call gets a new one.

    :param access: Where, and as whom.
    :param patience: How long to keep at calls that may be repeated.
    """

    def __init__(self, access: Access, patience: Patience | None = None) -> None:
        self.access = access
        self._patience = patience or Patience()
        self._open: tuple[ScenarioClient, ThreadPoolExecutor] | None = None

    async def send(self, call: Call[T]) -> T:
        """Send a call and return what its reply says.

        :param call: A value of :mod:`airflow_provider_scenario.api.calls`.
        :raises ScenarioError: the error that the reply, or the lack of one, stands for.
        """
        # The waits between two attempts are the loop's: a thread that sleeps can't be cancelled.
        loop = tenacity.AsyncRetrying(**tenacity_arguments(call.repeatable, self._patience))
        return await loop(self._send_once, call)

    async def _send_once(self, call: Call[T]) -> T:
        if self._open is None:
            executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="scenario-client")
            self._open = ScenarioClient(self.access, _ONCE), executor
        opened = client, executor = self._open
        future = executor.submit(client.send, call)
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            if not future.cancel() and not future.done() and self._open is opened:
                await self.close()  # The thread still waits for the reply.
            raise

    async def close(self) -> None:
        """Let the thread go: it closes its connections as soon as it is free. Nothing is waited for."""
        if self._open is not None:
            client, executor = self._open
            self._open = None
            executor.submit(client.close)
            executor.shutdown(wait=False)

    async def __aenter__(self) -> ClientThread:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()

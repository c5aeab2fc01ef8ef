"""Triggers of ``benchmarks/polling.py``, run by a real triggerer beside this provider's own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
from airflow.providers.http.triggers.http import HttpSensorTrigger
from airflow.triggers.base import BaseTrigger, TriggerEvent

FINISHED = ("success", "failure", "canceled")


class HttpJobTrigger(HttpSensorTrigger):
    """The http provider's trigger of ``HttpSensor(deferrable=True)``, which also reads the job's status.

    The original takes any answer but 404 for the end of the wait, and Scenario answers 200 for a job that runs. All
    else is as there: a session for each look, and so many seconds between two.
    """

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what Airflow stores of it."""
        return f"{__name__}.HttpJobTrigger", super().serialize()[1]

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield the one event."""
        hook = self._get_async_hook()
        while True:
            async with aiohttp.ClientSession() as session:
                response = await hook.run(
                    session=session,
                    endpoint=self.endpoint,
                    data=self.data,
                    headers=self.headers,
                    extra_options=self.extra_options,
                )
                job = (await response.json())["job"]
            if job["status"] in FINISHED:
                yield TriggerEvent(True)
                return
            await asyncio.sleep(self.poke_interval)


class SleepingTrigger(BaseTrigger):
    """Asks nobody and fires at a moment that is known: what a deferred task and its event cost Airflow itself.

    :param until: The moment, in seconds of the epoch.
    """

    def __init__(self, until: float) -> None:
        super().__init__()
        self.until = until

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what Airflow stores of it."""
        return f"{__name__}.SleepingTrigger", {"until": self.until}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield the one event."""
        await asyncio.sleep(self.until - time.time())
        yield TriggerEvent(True)

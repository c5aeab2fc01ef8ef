"""Waits in the triggerer until a job would surely be listed: no worker waits, and no try is used."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_scenario.polling.wait import MIN_DEFERRAL_SECONDS


class ScenarioSearchTrigger(BaseTrigger):
    """Fires once: when it is time for the last look for a job that this task may have bought. It asks Scenario nothing.

    It counts seconds from its own start, by no clock that can be set: in another triggerer the wait begins anew.

    :param search: Names the search. It is handed back in the event.
    :param seconds: For how long to wait, 0 or more.
    :param since: Handed back in the event: when the task first found no capacity, in seconds of the epoch. Default:
        it has waited for none.
    """

    def __init__(self, *, search: str, seconds: float, since: float | None = None) -> None:
        super().__init__()
        self.search = search
        self.seconds = seconds
        self.since = since

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what Airflow stores of it."""
        arguments = {"search": self.search, "seconds": self.seconds, "since": self.since}
        return f"{type(self).__module__}.{type(self).__qualname__}", arguments

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield the one event, by which the task goes on with the search."""
        await asyncio.sleep(max(MIN_DEFERRAL_SECONDS, self.seconds))
        yield TriggerEvent({"since": self.since, "searched": self.search})

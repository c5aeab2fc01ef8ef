"""Waits in the triggerer for capacity at Scenario: no worker waits, and no try is used."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_scenario.exceptions import MAX_RETRY_AFTER
from airflow_provider_scenario.polling.capacity_queue import CapacityQueue
from airflow_provider_scenario.polling.wait import MIN_DEFERRAL_SECONDS
from airflow_provider_scenario.triggers.job import watcher_of

_MARGIN = 120.0
"""Seconds to read back further than to the last read: the job list lags, and clocks differ."""

_Queues = dict[tuple[str, str | None], CapacityQueue]


class ScenarioCapacityTrigger(BaseTrigger):
    """Fires once: when there may be capacity again, or at its deadline.

    All triggers of one connection in a triggerer stand in one queue, first come, first served.

    :param scenario_conn_id: The Airflow connection.
    :param project_id: The Scenario project to name in each request, or ``None``.
    :param since: When the task first found no capacity, in seconds of the epoch: its place in the queue.
    :param deadline: Seconds of the epoch at which to stop waiting.
    :param limit: How many jobs the plan runs at once, if Scenario said it.
    :param retry_after: Seconds that Scenario asked to wait (a cooldown), if it did. An hour at most.
    :param searched: Handed back in the event: the search for a job that the task has ended, if it has ended one.
    """

    _queues: ClassVar[WeakKeyDictionary[asyncio.AbstractEventLoop, _Queues]] = WeakKeyDictionary()

    def __init__(
        self,
        *,
        scenario_conn_id: str,
        project_id: str | None = None,
        since: float,
        deadline: float,
        limit: int | None = None,
        retry_after: float | None = None,
        searched: str | None = None,
    ) -> None:
        super().__init__()
        self.scenario_conn_id = scenario_conn_id
        self.project_id = project_id
        self.since = since
        self.deadline = deadline
        self.limit = limit
        self.searched = searched
        self.retry_after = None if retry_after is None else min(retry_after, MAX_RETRY_AFTER)

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what Airflow stores of it."""
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "scenario_conn_id": self.scenario_conn_id,
                "project_id": self.project_id,
                "since": self.since,
                "deadline": self.deadline,
                "limit": self.limit,
                "retry_after": self.retry_after,
                "searched": self.searched,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield the one event, which carries the task's place in the queue."""
        try:
            async with asyncio.timeout(max(MIN_DEFERRAL_SECONDS, self.deadline - time.time())):
                await self._wait()
        except TimeoutError:
            pass
        yield TriggerEvent({"since": self.since, "searched": self.searched})

    async def _wait(self) -> None:
        await asyncio.sleep(MIN_DEFERRAL_SECONDS)
        if self.retry_after is not None:
            await asyncio.sleep(max(0.0, self.retry_after - MIN_DEFERRAL_SECONDS) + random.uniform(0.0, 10.0))
            return
        with watcher_of(self.scenario_conn_id, self.project_id).keep_polling(self.since - _MARGIN):
            await self._queue().wait_turn(self.since, self.limit)

    def _queue(self) -> CapacityQueue:
        queues = self._queues.setdefault(asyncio.get_running_loop(), {})
        key = (self.scenario_conn_id, self.project_id)
        if key not in queues:
            # The queue outlives the triggers, and so holds none of them.
            queues[key] = CapacityQueue(lambda since: watcher_of(*key).ended_since(since - _MARGIN))
        return queues[key]

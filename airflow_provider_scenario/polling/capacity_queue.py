"""FIFO of tasks that wait for Scenario's capacity: the first is woken when a job ends.

A plan runs few jobs at once. Instead of every waiting task trying again and again, the tasks of one connection in one
triggerer stand in one queue, and one read of the job list shows how many jobs have ended. Plain asyncio with that read
passed in: nothing here knows Airflow or HTTP.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import logging
import random
import time
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field

from airflow_provider_scenario.polling import POLL_INTERVAL

SHORTEST_INTERVAL = 1.0
"""The shortest poll interval, where jobs end all the time."""

FIRST_PROBE = 60.0
"""Seconds after which the first in the queue tries although no job was seen to end."""

LONGEST_PROBE = 300.0
"""What those seconds grow to while nothing comes free."""


@dataclass(order=True, slots=True)
class _Waiter:
    """One that waits: who first found no capacity ("since", in seconds of the epoch) comes first."""

    since: float
    order: int
    limit: int = field(compare=False)  # How many jobs the plan runs at once, where Scenario said it.
    turn: asyncio.Future[None] = field(compare=False)


EndedSince = Callable[[float], Awaitable[Collection[str]]]
"""Returns the ids of the jobs that have ended since a time, in seconds of the epoch."""


class CapacityQueue:
    """The queue of one connection. It polls only while somebody waits."""

    def __init__(
        self, ended_since: EndedSince, *, poll_interval: float = POLL_INTERVAL, clock: Callable[[], float] = time.time
    ) -> None:
        self._ended_since = ended_since
        self._poll_interval = poll_interval  # Seconds, while no job ends: where jobs end often, it polls more often.
        self._clock = clock
        # A heap. Who has left may still be in it.
        self._waiting: list[_Waiter] = []
        self._here = 0
        self._order = itertools.count()
        self._runner: asyncio.Task[None] | None = None
        self._read_at = 0.0
        self._ended: set[str] = set()
        self._probe_after = FIRST_PROBE
        self._released_at = clock()

    async def wait_turn(self, since: float, limit: int | None) -> None:
        """Wait until it is this caller's turn to try."""
        turn = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, _Waiter(since, next(self._order), limit or 1, turn))
        self._here += 1
        if self._runner is None or self._runner.done():
            self._released_at = self._clock()
            self._runner = asyncio.create_task(self._run(), name="scenario capacity queue")
        try:
            await turn
        finally:
            turn.cancel()
            self._leave()

    def _leave(self) -> None:
        """Forget who has left, lazily: thousands may leave at once, and the event loop must not stand still for it."""
        self._here -= 1
        self._drop_done()
        if len(self._waiting) > 2 * self._here + 64:
            self._waiting = [each for each in self._waiting if not each.turn.done()]
            heapq.heapify(self._waiting)
        if not self._here and self._runner is not None:
            self._runner.cancel()
            self._runner = None

    def _drop_done(self) -> None:
        """See to it that the first in the heap still waits."""
        while self._waiting and self._waiting[0].turn.done():
            heapq.heappop(self._waiting)

    async def _run(self) -> None:
        # A task that was woken in vain is back soon: don't count the job again that woke it.
        self._read_at = max(self._read_at, self._waiting[0].since)
        pause = self._poll_interval
        while self._here:
            now = self._clock()
            free = await self._count_ended()
            self._read_at = now if free is not None else self._read_at
            waited = self._clock() - self._released_at
            if free:
                self._probe_after = FIRST_PROBE
            elif waited >= self._probe_after:
                free, self._probe_after = 1, min(LONGEST_PROBE, self._probe_after * 2)
            self._release(free or 0)
            pause = min(self._poll_interval, max(SHORTEST_INTERVAL, pause / 2) if free else pause * 1.5)
            await asyncio.sleep(pause * random.uniform(0.9, 1.1))

    async def _count_ended(self) -> int | None:
        """Return how many more jobs have ended; ``None`` if the list can't be read just now."""
        try:
            ended = set(await self._ended_since(self._read_at))
        except Exception as error:  # noqa: BLE001 - a read that fails harms nobody: the next one sees it all
            logging.getLogger(__name__).warning("Scenario's job list could not be read: %s", error)
            return None
        new = ended - self._ended
        self._ended = ended  # What is not among them ended too long ago for any later read.
        return len(new)

    def _release(self, free: int) -> None:
        """Wake the first in the queue, no more of them than the plan runs at once."""
        if not free:
            return
        limit = min((each.limit for each in self._waiting if not each.turn.done()), default=0)
        for _ in range(min(free, limit)):
            self._drop_done()
            if not self._waiting:
                return
            heapq.heappop(self._waiting).turn.set_result(None)
            self._released_at = self._clock()

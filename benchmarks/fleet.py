"""What many triggerers on many connections cost Scenario: the real watcher, in virtual time.

Each triggerer has one watcher for each connection, as in Airflow. All tasks wait at once; whenever a job ends, its task
leaves and another one begins to wait, so that their number stays. In the last third of the time one triggerer is
restarted: its tasks go to the others within ten seconds. Nothing is sent: a fake Scenario answers in the same process.

It prints for each size: list requests a second, for one connection and for all; jobs read by themselves; the delay
from a job's end until its task knew it; the CPU time of the watchers alone, without the fake's; and the requests of
the 30 seconds after the restart. It needs about ten minutes and 2 GiB at full size.

Run it with: ``python -m benchmarks.fleet [--waiting 100000] [--minutes 10] [--sizes 1x1,1x100,4x100,20x100]
[--job-seconds 300]``
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_scenario.api.calls import Call
from airflow_provider_scenario.api.job import Job
from airflow_provider_scenario.api.response import Response
from airflow_provider_scenario.polling.watcher import JobWatcher
from tests.fake_scenario import FakeScenario
from tests.virtual_time import START, clock, run

WARM_UP = 60.0
"""Seconds after which all have begun to wait, and measuring begins."""

AFTER_RESTART = 30.0


class TimedScenario(FakeScenario[Callable[[], float]]):
    """A fake Scenario that notes how much CPU time it needs itself."""

    cpu = 0.0

    def answer(self, call: Call[Any], key: str | None = None) -> Response:
        """Answer, and note the time it took."""
        began = time.thread_time()
        try:
            return super().answer(call, key)
        finally:
            self.cpu += time.thread_time() - began


@dataclass
class Fleet:
    """All triggerers, their connections, and who waits.

    :param triggerers: How many triggerers there are.
    :param connections: How many connections they wait on.
    :param waiting: How many tasks wait at any time.
    :param seconds: Virtual seconds to run, more than :data:`WARM_UP`.
    :param job_seconds: Seconds that a job takes on average, more than 10.
    """

    triggerers: int
    connections: int
    waiting: int
    seconds: float
    job_seconds: float
    delays: list[float] = field(default_factory=list)
    chance: random.Random = field(default_factory=lambda: random.Random(1))

    async def measure(self) -> dict[str, float]:
        """Run the fleet and return its figures by name."""
        self.scenarios = [TimedScenario(clock, latency=0.2) for _ in range(self.connections)]
        self.watchers = [
            [JobWatcher(each.open, clock=clock) for each in self.scenarios] for _ in range(self.triggerers)
        ]
        slots = [
            asyncio.create_task(
                self._slot(number, number % self.triggerers, (number // self.triggerers) % self.connections)
            )
            for number in range(self.waiting)
        ]
        await asyncio.sleep(WARM_UP)
        began, cpu = clock(), time.thread_time() - self._fake_cpu()
        restart_at = START + WARM_UP + (self.seconds - WARM_UP) * 2 / 3
        await asyncio.sleep(restart_at - clock())
        ended, cpu = clock(), time.thread_time() - self._fake_cpu() - cpu
        delays = sorted(self.delays)
        await self._restart(slots)
        await asyncio.sleep(AFTER_RESTART)
        after = clock()
        for slot in slots:
            slot.cancel()
        await asyncio.gather(*slots, return_exceptions=True)
        lists, singles = self._requests("list", began, ended), self._requests("job", began, ended)
        return {
            "lists/s": lists / (ended - began),
            "lists/s a connection": lists / (ended - began) / self.connections,
            "single reads/s": singles / (ended - began),
            "ended": len(delays),
            "median delay": statistics.median(delays),
            "p95 delay": delays[int(len(delays) * 0.95)],
            "p99 delay": delays[int(len(delays) * 0.99)],
            "CPU s/min a triggerer": cpu / (ended - began) * 60 / self.triggerers,
            "after restart/s": (self._requests("list", ended, after) + self._requests("job", ended, after))
            / AFTER_RESTART,
        }

    async def _slot(
        self, number: int, triggerer: int, connection: int, job: str | None = None, since: float = 0.0
    ) -> None:
        """Wait for one job after the other, for ever."""
        scenario = self.scenarios[connection]
        if job is None:
            await asyncio.sleep(self.chance.uniform(0, WARM_UP / 2))
        for turn in range(1_000_000):
            if job is None:
                job, since = f"job_{number}_{turn}_{triggerer}", clock()
                end = since + 10 + self.chance.expovariate(1 / (self.job_seconds - 10))
                scenario.add(job, (since, "pending", 0.0), (since + 5, "in-progress", 0.1), (end, "success", 1.0))
            self.known[number] = (connection, job, since)
            await self._ended(self.watchers[triggerer][connection], job, since)
            self.delays.append(clock() - scenario.jobs.pop(job).life[-1][0])
            job = None

    async def _ended(self, watcher: JobWatcher, job_id: str, since: float) -> None:
        async with watcher.subscribe(job_id, since) as subscription:
            while True:
                reading = await subscription.next_update(600.0)
                if isinstance(reading, Job) and reading.is_finished:
                    return

    async def _restart(self, slots: list[asyncio.Task[None]]) -> None:
        """Restart the first triggerer: its tasks go to the others, or to its successor."""
        moved = [number for number in range(self.waiting) if number % self.triggerers == 0]
        for number in moved:
            slots[number].cancel()
        await asyncio.gather(*(slots[number] for number in moved), return_exceptions=True)
        self.watchers[0] = [JobWatcher(each.open, clock=clock) for each in self.scenarios]
        for place, number in enumerate(moved):
            connection, job, since = self.known[number]
            there = place % (self.triggerers - 1) + 1 if self.triggerers > 1 else 0
            if job in self.scenarios[connection].jobs:
                slots[number] = asyncio.create_task(self._slot(number, there, connection, job, since))
            else:
                slots[number] = asyncio.create_task(self._slot(number, there, connection))

    known: dict[int, tuple[int, str, float]] = field(default_factory=dict)
    scenarios: list[TimedScenario] = field(default_factory=list)
    watchers: list[list[JobWatcher]] = field(default_factory=list)

    def _fake_cpu(self) -> float:
        return sum(each.cpu for each in self.scenarios)

    def _requests(self, kind: str, since: float, until: float) -> int:
        return sum(1 for each in self.scenarios for at in each.times(kind) if since <= at < until)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table of all sizes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--waiting", type=int, default=100_000, help="tasks that wait at once")
    parser.add_argument("--minutes", type=float, default=10.0, help="virtual minutes of each size")
    parser.add_argument("--sizes", default="1x1,1x100,4x100,20x100", help="triggerers x connections")
    parser.add_argument("--job-seconds", type=float, default=300.0, help="how long a job takes on average")
    given = parser.parse_args(arguments)
    for number, size in enumerate(given.sizes.split(",")):
        triggerers, connections = (int(part) for part in size.split("x"))
        began = time.monotonic()
        figures = run(Fleet(triggerers, connections, given.waiting, given.minutes * 60, given.job_seconds).measure())
        if number == 0:
            print(f"| triggerers x connections | {' | '.join(figures)} |")
            print("| --- |" + " ---: |" * len(figures), flush=True)
        print(
            f"| {size} | {' | '.join(f'{value:,.2f}'.removesuffix('.00') for value in figures.values())} |", flush=True
        )
        print(f"<!-- {given.waiting} waiting, {time.monotonic() - began:.0f} s -->", flush=True)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()

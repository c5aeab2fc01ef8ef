"""The queue for slots, with looks and a clock made up."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Collection

import pytest

from airflow_provider_scenario.polling import capacity_queue
from airflow_provider_scenario.polling.capacity_queue import FIRST_PROBE, LONGEST_PROBE, CapacityQueue
from tests import virtual_time

TICK = 0.02


class Scenario:
    """Jobs that have ended, told look by look. Its clock stands still unless it is moved."""

    def __init__(self) -> None:
        self.ended: dict[str, float] = {}
        self.looks: list[float] = []
        self.trouble: Exception | None = None
        self.now = 1000.0

    async def look(self, since: float) -> Collection[str]:
        self.looks.append(since)
        if self.trouble is not None:
            raise self.trouble
        return {job for job, at in self.ended.items() if at >= since}

    def end(self, *jobs: str, at: float | None = None) -> None:
        self.ended.update(dict.fromkeys(jobs, self.now if at is None else at))


class Waiters:
    """Who waits in a queue, and who was woken, in order."""

    def __init__(self, queue: CapacityQueue) -> None:
        self.queue = queue
        self.woken: list[str] = []
        self.tasks: dict[str, asyncio.Task[None]] = {}

    def add(self, name: str, since: float, limit: int | None = 1) -> None:
        async def wait() -> None:
            await self.queue.wait_turn(since, limit)
            self.woken.append(name)

        self.tasks[name] = asyncio.create_task(wait(), name=name)

    async def stop(self) -> None:
        for task in self.tasks.values():
            task.cancel()
        for task in self.tasks.values():
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def ticks(number: float) -> None:
    await asyncio.sleep(number * TICK * 1.2)


def queue_of(scenario: Scenario) -> CapacityQueue:
    return CapacityQueue(scenario.look, poll_interval=TICK, clock=lambda: scenario.now)


def runners() -> list[asyncio.Task[object]]:
    return [task for task in asyncio.all_tasks() if task.get_name() == "scenario capacity queue"]


def test_the_earliest_comes_first() -> None:
    async def run() -> list[str]:
        scenario = Scenario()
        waiters = Waiters(queue_of(scenario))
        for name, since in (("third", 30.0), ("first", 10.0), ("fourth", 40.0), ("second", 20.0)):
            waiters.add(name, since)
        await ticks(2)
        assert waiters.woken == []
        for job in "abcd":
            scenario.end(job)
            await ticks(3)
        return waiters.woken

    assert virtual_time.run(run()) == ["first", "second", "third", "fourth"]


def test_equals_come_in_the_order_of_their_arrival() -> None:
    async def run() -> list[str]:
        scenario = Scenario()
        waiters = Waiters(queue_of(scenario))
        for name in "abc":
            waiters.add(name, 10.0, limit=3)
        await ticks(1)
        scenario.end("x", "y", "z")
        await ticks(3)
        return waiters.woken

    assert virtual_time.run(run()) == ["a", "b", "c"]


def test_as_many_are_woken_as_jobs_have_ended() -> None:
    async def run() -> None:
        scenario = Scenario()
        waiters = Waiters(queue_of(scenario))
        for number in range(5):
            waiters.add(str(number), float(number), limit=10)
        await ticks(1)
        scenario.end("a", "b")
        await ticks(4)
        assert waiters.woken == ["0", "1"]  # The same two jobs, seen again, wake nobody.
        scenario.end("c")
        await ticks(4)
        assert waiters.woken == ["0", "1", "2"]
        await waiters.stop()

    virtual_time.run(run())


def test_two_triggerers_try_at_most_twice_for_each_slot_that_comes_free() -> None:
    """Each has a queue of its own: both wake a task, one of which is refused and goes back to its place."""

    async def run() -> tuple[list[int], int]:
        scenario = Scenario()
        queues = [queue_of(scenario), queue_of(scenario)]
        free, tries, started = 0, 0, list[int]()

        async def task(number: int) -> None:
            nonlocal free, tries
            while True:
                await queues[number % 2].wait_turn(float(number), limit=1)
                tries += 1
                if free:
                    free -= 1
                    started.append(number)
                    return

        tasks = [asyncio.create_task(task(number)) for number in range(20)]
        await ticks(1)
        for job in range(20):
            free += 1
            scenario.end(f"job {job}")
            await ticks(4)
        await asyncio.gather(*tasks)
        return started, tries

    started, tries = virtual_time.run(run())
    assert sorted(started) == list(range(20))
    assert tries <= 2 * 20
    for own in (0, 1):
        assert [number for number in started if number % 2 == own] == list(range(own, 20, 2))


def test_no_more_are_woken_in_one_tick_than_the_plan_runs() -> None:
    async def run() -> None:
        scenario = Scenario()
        waiters = Waiters(queue_of(scenario))
        for number in range(6):
            waiters.add(str(number), float(number), limit=2)
        await ticks(1)
        scenario.end("a", "b", "c", "d", "e")
        await ticks(4)
        assert waiters.woken == ["0", "1"]
        await waiters.stop()

    virtual_time.run(run())


def test_an_unknown_limit_wakes_one() -> None:
    async def run() -> None:
        scenario = Scenario()
        waiters = Waiters(queue_of(scenario))
        for number in range(3):
            waiters.add(str(number), float(number), limit=None)
        await ticks(1)
        scenario.end("a", "b")
        await ticks(3)
        assert waiters.woken == ["0"]
        await waiters.stop()

    virtual_time.run(run())


def test_the_first_tries_its_luck_after_a_while() -> None:
    """Jobs that end unseen, of another team mate's or in another triggerer, must not hold up the queue for good."""

    async def run() -> None:
        scenario = Scenario()
        waiters = Waiters(queue_of(scenario))
        for number in range(4):
            waiters.add(str(number), float(number), limit=5)
        await ticks(2)
        scenario.now += FIRST_PROBE - 1
        await ticks(2)
        assert waiters.woken == []
        scenario.now += 1
        await ticks(2)
        assert waiters.woken == ["0"]
        scenario.now += FIRST_PROBE  # The next one waits twice as long.
        await ticks(2)
        assert waiters.woken == ["0"]
        scenario.now += FIRST_PROBE
        await ticks(2)
        assert waiters.woken == ["0", "1"]
        scenario.now += LONGEST_PROBE
        await ticks(2)
        assert waiters.woken == ["0", "1", "2"]
        await waiters.stop()

    virtual_time.run(run())


def test_a_look_that_fails_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        scenario = Scenario()
        scenario.trouble = RuntimeError("Scenario is away")
        waiters = Waiters(queue_of(scenario))
        waiters.add("one", 5.0)
        await ticks(3)
        assert waiters.woken == []
        assert len(runners()) == 1
        asked_from = set(scenario.looks)
        scenario.trouble = None
        scenario.end("a")
        await ticks(3)
        assert waiters.woken == ["one"]
        assert asked_from == {5.0}, "what ended during the trouble must be seen after it"
        assert scenario.looks[-1] == 5.0

    virtual_time.run(run())
    assert "Scenario is away" in caplog.text


def test_each_look_starts_where_the_last_one_ended() -> None:
    async def run() -> None:
        scenario = Scenario()
        waiters = Waiters(queue_of(scenario))
        waiters.add("one", 900.0)
        await ticks(2)
        scenario.now = 1010.0
        await ticks(3)
        assert scenario.looks[0] == 900.0
        assert scenario.looks[1] == 1000.0
        assert scenario.looks[-1] == 1010.0
        await waiters.stop()

    virtual_time.run(run())


def test_no_end_wakes_anybody_twice() -> None:
    """Who was woken in vain queues again with the old place: the same end must not send it round in circles."""

    async def run() -> None:
        scenario = Scenario()
        scenario.end("long ago", at=950.0)
        queue = queue_of(scenario)
        for attempt in range(3):
            waiters = Waiters(queue)
            waiters.add("only one", 900.0)
            await ticks(3)
            assert waiters.woken == (["only one"] if attempt == 0 else []), attempt
            await waiters.stop()
        waiters = Waiters(queue)
        waiters.add("only one", 900.0)
        scenario.end("just now")
        await ticks(3)
        assert waiters.woken == ["only one"]

    virtual_time.run(run())


def test_it_looks_only_while_somebody_waits() -> None:
    async def run() -> None:
        scenario = Scenario()
        queue = queue_of(scenario)
        assert runners() == []
        waiters = Waiters(queue)
        waiters.add("one", 1.0)
        await ticks(1)
        assert len(runners()) == 1
        waiters.add("two", 2.0)
        await ticks(1)
        assert len(runners()) == 1
        scenario.end("a")
        await ticks(2)
        scenario.end("b")
        await ticks(3)
        assert waiters.woken == ["one", "two"]
        assert runners() == []
        looks = len(scenario.looks)
        await ticks(3)
        assert len(scenario.looks) == looks

        waiters.add("three", 3.0)  # A queue that was empty starts anew.
        await ticks(2)
        assert len(runners()) == 1
        await waiters.stop()
        await asyncio.sleep(0)
        assert runners() == []

    virtual_time.run(run())


def test_who_leaves_does_not_disturb_the_others() -> None:
    async def run() -> None:
        scenario = Scenario()
        waiters = Waiters(queue_of(scenario))
        for number in range(3):
            waiters.add(str(number), float(number))
        await ticks(1)
        waiters.tasks["0"].cancel()
        await ticks(1)
        scenario.end("a")
        await ticks(3)
        assert waiters.woken == ["1"], "the one who left must not take a slot with him"
        scenario.end("b")
        await ticks(3)
        assert waiters.woken == ["1", "2"]
        assert runners() == []

    virtual_time.run(run())


def test_ticks_are_not_in_step() -> None:
    """Several triggerers must not ask all at the same time."""
    assert capacity_queue.POLL_INTERVAL >= 5
    pauses: list[float] = []

    async def run(monkeypatch: pytest.MonkeyPatch) -> None:
        sleep = asyncio.sleep

        async def noted(seconds: float) -> None:
            pauses.append(seconds)
            await sleep(0)

        monkeypatch.setattr(capacity_queue.asyncio, "sleep", noted)
        waiters = Waiters(CapacityQueue(Scenario().look, poll_interval=10.0))
        waiters.add("one", 1.0)
        for _ in range(30):
            await sleep(0)
        await waiters.stop()

    with pytest.MonkeyPatch.context() as patch:
        asyncio.run(run(patch))
    assert len(set(pauses)) > 3
    assert all(9 <= pause <= 11 for pause in pauses)


def test_it_looks_more_often_where_jobs_end_often() -> None:
    """Ten seconds of a free slot are a waste where jobs take five, and a look a second where they take minutes."""
    pauses: list[float] = []

    async def run(monkeypatch: pytest.MonkeyPatch) -> None:
        sleep = asyncio.sleep
        scenario = Scenario()

        async def noted(seconds: float) -> None:
            pauses.append(seconds)
            if len(pauses) <= 8:
                scenario.end(f"job {len(pauses)}")
            await sleep(0)

        monkeypatch.setattr(capacity_queue.asyncio, "sleep", noted)
        waiters = Waiters(CapacityQueue(scenario.look, poll_interval=10.0, clock=lambda: scenario.now))
        for number in range(12):
            waiters.add(str(number), float(number))
        while len(pauses) < 30:
            await sleep(0)
        await waiters.stop()

    with pytest.MonkeyPatch.context() as patch:
        asyncio.run(run(patch))
    assert 9 <= pauses[0] <= 11
    assert all(
        0.9 * capacity_queue.SHORTEST_INTERVAL <= pause <= 1.1 * capacity_queue.SHORTEST_INTERVAL
        for pause in pauses[5:9]
    )
    assert all(9 <= pause <= 11 for pause in pauses[20:30])


def test_thousands_that_leave_at_once_do_not_hold_up_the_loop() -> None:
    async def story() -> None:
        scenario = Scenario()
        queue = CapacityQueue(scenario.look, poll_interval=TICK, clock=lambda: scenario.now)
        waiters = Waiters(queue)
        for number in range(10_000):
            waiters.add(f"task_{number}", number)
        await asyncio.sleep(0)
        before = time.thread_time()
        for number in range(9_999, 0, -1):
            waiters.tasks[f"task_{number}"].cancel()
        await asyncio.sleep(0.01)
        assert time.thread_time() - before < 1.5  # It took four times as long for half as many.
        scenario.end("job_1")
        await ticks(3)
        assert waiters.woken == ["task_0"]
        await waiters.stop()

    asyncio.run(story())

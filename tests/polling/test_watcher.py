"""The one poll for everybody: what it costs, what it must not miss, and whom it must not harm. Time is virtual."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import logging
import math
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from airflow_provider_scenario.api.calls import Call
from airflow_provider_scenario.api.job import Job
from airflow_provider_scenario.api.response import Response
from airflow_provider_scenario.exceptions import (
    ScenarioConnectionError,
    ScenarioError,
    ScenarioJobUnreadableError,
)
from airflow_provider_scenario.polling import POLL_INTERVAL, watcher_state
from airflow_provider_scenario.polling import watcher as watcher_module
from airflow_provider_scenario.polling.wait import WaitResult, WaitState
from airflow_provider_scenario.polling.watcher import JobWatcher
from airflow_provider_scenario.polling.watcher_state import Reading
from tests.fake_scenario import FakeScenario, Fault, Moment
from tests.virtual_time import START, VirtualTimeLoop, clock, run

HOUR = 3600.0
TICK = POLL_INTERVAL
LATEST = 2.5 * TICK
"""Seconds after which the end of a job must be known at the latest, where nothing is amiss."""


def life(end: float | None = None, status: str = "success", start: float = 0.0) -> list[Moment]:
    """Give the life of a job that starts and ends so many seconds from the beginning of the test."""
    moments: list[Moment] = [(START + start, "pending", 0.0)]
    return moments if end is None else [*moments, (START + end, status, 1.0)]


def watched() -> tuple[FakeScenario[Callable[[], float]], JobWatcher]:
    scenario = FakeScenario(clock)
    return scenario, JobWatcher(scenario.open, clock=clock)


async def wait(watcher: JobWatcher, job_id: str, since: float | None = 0.0, deadline: float = HOUR) -> WaitResult:
    """Wait for a job as a trigger does."""
    waiting = WaitState(job_id, START + deadline)
    async with watcher.subscribe(job_id, None if since is None else START + since) as subscription:
        while True:
            look = await subscription.next_update(waiting.deadline - clock()) or await watcher.read_now(
                subscription, 30.0
            )
            ending = waiting.on_job(look, clock()) if isinstance(look, Job) else waiting.on_error(look, clock())
            if ending is not None:
                return ending


async def heard_of(watcher: JobWatcher, job_id: str, since: float | None = 0.0) -> float:
    """Give the seconds from the beginning of the test after which the job was known to have succeeded."""
    ending = await wait(watcher, job_id, since)
    assert ending.job is not None
    assert ending.error is None
    assert ending.job.status == "success", ending
    return clock() - START


@contextlib.asynccontextmanager
async def in_the_background(*stories: object) -> AsyncIterator[list[asyncio.Task[object]]]:
    tasks = [asyncio.ensure_future(story) for story in stories]  # type: ignore[arg-type]
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


# What it costs


@pytest.mark.parametrize("number", [1, 1000])
def test_waiting_costs_one_request_a_tick_however_many_wait(number: int) -> None:
    async def story() -> None:
        scenario, watcher = watched()
        for index in range(number):
            scenario.add(f"job_{index}", *life(1 * HOUR))
        waits = [wait(watcher, f"job_{index}") for index in range(number)]
        async with in_the_background(*waits):
            await asyncio.sleep(60)
            before = len(scenario.requests)
            await asyncio.sleep(500)
            assert 47 <= len(scenario.requests) - before <= 54
            assert scenario.opened == 1

    run(story())


@pytest.mark.parametrize("page_size", [100, 1])
def test_tasks_that_come_and_go_cost_no_more_than_tasks_that_stay(page_size: int) -> None:
    """Jobs of a few seconds: again and again nobody waits for a moment. The list is neither forgotten nor hurried.

    Where a job is on the first of several pages, its wait ends before the others are read.
    """

    async def story() -> None:
        scenario, watcher = watched()
        scenario.page_size = page_size
        for index in range(250 if page_size == 100 else 5):  # More than a page of what happened before.
            scenario.add(f"other_{index}", *life(-60, start=-100.0))
        seconds = 0.0
        for index in range(60):
            began = asyncio.get_running_loop().time()
            scenario.add(f"job_{index}", *life(began + 4, start=began))
            ended = await heard_of(watcher, f"job_{index}", began)
            assert began + 4 <= ended <= began + 4 + LATEST
            assert watcher.is_idle
            seconds = asyncio.get_running_loop().time()
            await asyncio.sleep(1)
        lists = scenario.times("list")
        polls = [at for before, at in itertools.pairwise([-math.inf, *lists]) if at - before > 1]
        assert len(polls) <= seconds / TICK + 2
        assert page_size == 1 or len(lists) <= seconds / TICK + 4, "the first poll reads three pages"
        assert not scenario.times("job")

    run(story())


def test_who_waits_again_after_long_reads_the_list_anew() -> None:
    async def story() -> None:
        scenario, watcher = watched()
        scenario.add("first", *life(5))
        await heard_of(watcher, "first", 0.0)
        await asyncio.sleep(1000)
        scenario.add("second", *life(1030, start=1010))
        before = asyncio.get_running_loop().time()
        assert await heard_of(watcher, "second", before) <= 1030 + LATEST

    run(story())


@pytest.mark.parametrize(
    ("others", "seconds_to_register", "changed"), [(0, 0.0, 1.0), (0, 30.0, 0.5), (1000, 0.0, 0.0), (1000, 30.0, 1.0)]
)
def test_a_restart_with_5000_costs_at_most_60_requests(others: int, seconds_to_register: float, changed: float) -> None:
    async def story() -> None:
        scenario, watcher = watched()
        since = {f"job_{index}": -HOUR + 0.5 * index for index in range(5000)}
        for index, (job_id, deferred) in enumerate(since.items()):
            moments = [(START + deferred - 5, "pending", 0.0)]
            if index < changed * 5000:
                moments.append((START + deferred + 20, "in-progress", 0.3))
            scenario.add(job_id, *moments, (START + 300, "success", 1.0))
        for index in range(others):
            scenario.add(f"other_{index}", *life(10 * HOUR, start=-HOUR + index))

        async def register(job_id: str, deferred: float, number: int) -> float:
            await asyncio.sleep(seconds_to_register * number / 5000)
            return await heard_of(watcher, job_id, deferred)

        waits = [register(job_id, deferred, number) for number, (job_id, deferred) in enumerate(since.items())]
        async with in_the_background(*waits) as tasks:
            ticks = 3 + int(seconds_to_register / TICK)
            await asyncio.sleep((ticks - 0.5) * TICK)
            assert len(scenario.requests) <= 60 + ticks
            before = len(scenario.requests)
            await asyncio.sleep(100)
            assert len(scenario.requests) - before <= 12
            for ended in await asyncio.gather(*tasks):
                assert 300 <= ended <= 300 + LATEST  # type: ignore[operator]
            assert len(scenario.times("job")) <= 10

    run(story())


def test_the_shortest_pace_counts_for_all() -> None:
    async def story() -> None:
        scenario, watcher = watched()
        scenario.add("slow", *life(95))
        scenario.add("quick", *life(HOUR))

        async def quick() -> None:
            async with watcher.subscribe("quick", START, poll_interval=1.0) as subscription:
                await subscription.next_update(HOUR)
                await subscription.next_update(HOUR)

        async with in_the_background(quick()):
            assert 95 <= await heard_of(watcher, "slow") <= 98

    run(story())


def test_a_quick_newcomer_does_not_wait_for_the_slow_ones_pause() -> None:
    async def story() -> None:
        scenario, watcher = watched()
        scenario.add("slow", *life())
        scenario.add("quick", *life(35))

        async def follow_slowly() -> None:
            async with watcher.subscribe("slow", START, poll_interval=300.0) as subscription:
                while True:
                    await subscription.next_update(HOUR)

        async def follow_quickly() -> float:
            async with watcher.subscribe("quick", START + 30, poll_interval=5.0) as subscription:
                look = await subscription.next_update(HOUR)
                while not isinstance(look, Job) or not look.is_finished:
                    look = await subscription.next_update(HOUR)
            return clock() - START

        async with in_the_background(follow_slowly()):
            await asyncio.sleep(30)
            assert await follow_quickly() <= 35 + 6

    run(story())


def test_a_follower_is_looked_for_after_the_listeners_have_gone() -> None:
    async def story() -> None:
        scenario, watcher = watched()
        scenario.add("job", *life(30))
        with watcher.keep_polling(START):
            await watcher.ended_since(START)
            waiting = asyncio.create_task(heard_of(watcher, "job"))
            await asyncio.sleep(5)
        assert await waiting <= 30 + LATEST

    run(story())


def test_a_follower_hears_of_changes_only() -> None:
    async def story() -> None:
        scenario, watcher = watched()
        quarters = [(START + 20.0 * step, "in-progress", 0.04 * step) for step in range(1, 20)]
        scenario.add("job", *life(400), *quarters)
        seen: list[tuple[str, int]] = []
        async with watcher.subscribe("job", START) as subscription:
            while not seen or seen[-1][0] != "success":
                look = await subscription.next_update(HOUR)
                assert isinstance(look, Job)
                seen.append((look.status.value, int(look.progress * 10)))
        assert seen == [("pending", 0), *(("in-progress", tenth) for tenth in range(8)), ("success", 10)]

    run(story())


# What it must not miss


@pytest.mark.parametrize("skew", [-90.0, 0.0, 90.0])
@pytest.mark.parametrize("lag", [0.0, 5.0])
@pytest.mark.parametrize("empty", [0, 2])
@pytest.mark.parametrize("tells_time", [True, False])
def test_no_end_is_missed(skew: float, lag: float, empty: int, tells_time: bool) -> None:
    async def story() -> None:
        scenario, watcher = watched()
        scenario.clock_ahead, scenario.list_lag, scenario.empty_pages = skew, lag, empty
        scenario.tells_time = tells_time
        ends = [0.5 + 3.7 * index for index in range(60)]
        for index, end in enumerate(ends):
            scenario.add(f"job_{index}", *life(end))
        heard = await asyncio.gather(*(heard_of(watcher, f"job_{index}") for index in range(len(ends))))
        for end, known in zip(ends, heard, strict=True):
            assert known - end <= LATEST + lag
        assert not scenario.times("job")

    run(story())


@pytest.mark.parametrize("skew", [-HOUR, HOUR])
def test_a_clock_that_is_an_hour_off(skew: float) -> None:
    async def story() -> None:
        scenario, watcher = watched()
        scenario.clock_ahead = skew
        scenario.add("ended", *life(-20, start=-400))
        scenario.add("ends", *life(50, start=-400))
        heard = await asyncio.gather(heard_of(watcher, "ended", -100), heard_of(watcher, "ends", -100))
        assert heard[0] <= LATEST
        assert heard[1] <= 50 + LATEST

    run(story())


def test_a_job_updated_twice_within_a_tick() -> None:
    async def story() -> None:
        scenario, watcher = watched()
        scenario.add("job", *life(52), (START + 51, "in-progress", 0.2))
        assert await heard_of(watcher, "job") <= 52 + LATEST

    run(story())


@pytest.mark.parametrize("others_wait", [True, False])
@pytest.mark.parametrize("since", [95.0, 40.0, -HOUR, None])
@pytest.mark.parametrize("ended", [99.0, 41.0])
def test_a_job_that_ended_before_its_trigger_registered(others_wait: bool, since: float | None, ended: float) -> None:
    async def story() -> None:
        scenario, watcher = watched()
        scenario.add("long", *life(HOUR))
        scenario.add("job", *life(ended, start=-2 * HOUR))
        others = [wait(watcher, "long")] if others_wait else []
        async with in_the_background(*others):
            await asyncio.sleep(100)
            assert await heard_of(watcher, "job", since if since is None else min(since, ended)) <= 100 + LATEST

    run(story())


def test_a_job_that_ended_long_before_anybody_asked() -> None:
    async def story() -> None:
        scenario, watcher = watched()
        scenario.add("job", *life(-5 * HOUR, start=-6 * HOUR))
        assert await heard_of(watcher, "job", None) <= LATEST

    run(story())


def test_another_teams_thousand_jobs() -> None:
    async def story() -> None:
        scenario, watcher = watched()
        for index in range(1000):
            scenario.add(
                f"other_{index}", *((START + step * 4.0 + index * 0.003, "in-progress", 0.1) for step in range(50))
            )
        scenario.add("job", *life(101))
        assert await heard_of(watcher, "job") <= 101 + LATEST
        assert not scenario.times("job")

    run(story())


def test_more_changes_than_are_read_in_a_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watcher_module, "MAX_WINDOW_PAGES", 3)

    async def story() -> None:
        scenario = FakeScenario(clock)
        watcher = JobWatcher(scenario.open, clock=clock)
        for index in range(1000):
            scenario.add(
                f"other_{index}", *((START + step * 4.0 + index * 0.003, "in-progress", 0.1) for step in range(50))
            )
        scenario.add("job", *life(60))
        assert await heard_of(watcher, "job") <= 60 + LATEST
        assert len(scenario.times("list")) <= 3 * 9

    run(story())


def test_what_was_not_read_is_not_taken_for_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watcher_module, "MAX_WINDOW_PAGES", 3)

    async def story() -> None:
        scenario = FakeScenario(clock)
        watcher = JobWatcher(scenario.open, clock=clock)
        scenario.add("long", *life())
        scenario.add("job", *life(24, start=-10))
        for index in range(1000):
            scenario.add(f"other_{index}", *life(25 + index * 0.004, start=25))
        async with in_the_background(wait(watcher, "long")):
            await asyncio.sleep(200)
            assert await heard_of(watcher, "job", 20) <= 200 + LATEST

    run(story())


@pytest.mark.parametrize("kind", [403, 404, 500, 502, "garbage", "dropped", "hang"])
def test_the_list_fails_for_a_minute(kind: int | str, caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        scenario, watcher = watched()
        scenario.faults.append(Fault("list", kind, START + 50, START + 110))
        for index in range(40):
            scenario.add(f"job_{index}", *life(45 + 2 * index))
        for index in range(100):
            scenario.add(f"long_{index}", *life(200))
        names = [*(f"job_{index}" for index in range(40)), *(f"long_{index}" for index in range(100))]
        heard = await asyncio.gather(*(heard_of(watcher, name) for name in names))
        latest = 90 if kind == "hang" else 50
        for index in range(40):
            assert heard[index] - (45 + 2 * index) <= latest
        assert all(known <= 200 + LATEST for known in heard[40:])
        singles = scenario.times("job")
        assert singles
        assert all(later - earlier >= 0.2 for earlier, later in itertools.pairwise(singles))
        assert all(START + 50 <= moment <= START + 135 for moment in singles)
        said = [record.getMessage() for record in caplog.records]
        assert sum("Scenario's job list can't be read" in line for line in said) == 1
        assert sum("at most 5 a second" in line for line in said) == 1
        assert sum("can be read again" in line for line in said) == 1

    with caplog.at_level(logging.INFO, "airflow_provider_scenario.polling.watcher"):
        run(story())


def test_a_page_that_fails_does_not_cost_the_pages_before_it() -> None:
    async def story() -> None:
        scenario, watcher = watched()
        scenario.list_lag = 1.0
        for index in range(1000):
            scenario.add(f"job_{index}", *life(-1, start=-200))
        # A page takes 0.05 s: this hits the sixth.
        scenario.faults.append(Fault("list", 500, START + 1.28, START + 1.33))
        await asyncio.gather(*(heard_of(watcher, f"job_{index}", -100) for index in range(1000)))
        assert len(scenario.times("list")) == 11

    run(story())


def test_a_token_that_is_refused_is_given_up() -> None:
    async def story() -> None:
        scenario, watcher = watched()
        for index in range(300):
            scenario.add(f"job_{index}", *life(-1, start=-200))
        answer = scenario.answer

        def refuse(call: Call[Any], key: str | None = None) -> Response:
            is_stale = "paginationToken" in call.query and clock() < START + 25
            return scenario.reply(400, {"reason": "paginationToken is invalid"}) if is_stale else answer(call, key)

        scenario.answer = refuse  # type: ignore[method-assign]
        heard = await asyncio.gather(*(heard_of(watcher, f"job_{index}", -100) for index in range(300)))
        assert max(heard) <= 60

    run(story())


def test_a_job_the_list_never_names_is_asked_for_singly() -> None:
    async def story() -> None:
        scenario, watcher = watched()
        names = [f"job_{index}" for index in range(20)]
        for name in names:
            scenario.add(name, *life(30))
        scenario.unlisted.update(names)
        scenario.add("seen", *life(HOUR))
        async with in_the_background(wait(watcher, "seen")):
            heard = await asyncio.gather(*(heard_of(watcher, name) for name in names))
        assert max(heard) <= 600 + 60 + 20
        assert len(scenario.times("job")) <= 21

    run(story())


def test_jobs_of_a_kind_that_is_not_listed_are_read_singly() -> None:
    async def story() -> None:
        scenario, watcher = watched()
        names = [f"workflow_{index}" for index in range(20)]
        for index, name in enumerate(names):
            scenario.add(name, *life(100 + 10 * index))
        scenario.unlisted.update(names)
        heard = await asyncio.gather(*(heard_of(watcher, name, None) for name in names))
        for index, known in enumerate(heard):
            assert known <= 100 + 10 * index + LATEST
        singles = scenario.times("job")
        assert all(later - earlier >= 0.2 for earlier, later in itertools.pairwise(singles))

    run(story())


def test_silent_jobs_that_run_on_cost_a_read_a_minute() -> None:
    async def story() -> None:
        scenario, watcher = watched()
        for index in range(500):
            scenario.add(f"job_{index}", *life(2 * HOUR))
        async with in_the_background(*(wait(watcher, f"job_{index}") for index in range(500))):
            await asyncio.sleep(2000)
            assert 20 <= len(scenario.times("job")) <= 25

    run(story())


def test_success_without_assets_is_read_singly() -> None:
    async def story() -> None:
        scenario, watcher = watched()
        scenario.add("job", *life(50), assets_from=START + 75)
        result = await wait(watcher, "job")
        assert result.has_outputs
        assert 75 <= clock() - START <= 75 + LATEST
        assert len(scenario.times("job")) <= 4

    run(story())


def test_a_success_that_stays_without_assets_is_told_as_it_is() -> None:
    async def story() -> None:
        scenario, watcher = watched()
        scenario.add("job", *life(50), assets_from=math.inf)
        result = await wait(watcher, "job")
        assert not result.has_outputs
        assert result.job_or_raise(60.0).asset_ids == ()
        assert 90 <= clock() - START <= 50 + 60 + LATEST
        assert len(scenario.times("job")) <= 7

    run(story())


def test_an_older_row_after_a_newer_read_is_no_news() -> None:
    async def story() -> None:
        scenario, watcher = watched()
        scenario.list_lag = 8.0
        scenario.add("job", *life(90), (START + 20, "in-progress", 0.5))
        seen = []
        async with watcher.subscribe("job", START) as subscription:
            await asyncio.sleep(22)
            newest = await watcher.read_now(subscription, 30)
            assert isinstance(newest, Job)
            assert newest.progress == 0.5
            while not seen or seen[-1] != "success":
                look = await subscription.next_update(HOUR)
                assert isinstance(look, Job)
                seen.append(look.status.value)
        assert seen == ["success"]

    run(story())


# Whom it must not harm


def test_it_runs_while_somebody_waits_and_not_longer() -> None:
    async def story() -> None:
        scenario, watcher = watched()
        assert watcher.is_idle
        for name, end in (("one", 30), ("two", 60), ("three", 1000)):
            scenario.add(name, *life(end))
        await asyncio.gather(heard_of(watcher, "one"), heard_of(watcher, "two"))
        assert watcher.is_idle
        asked = len(scenario.requests)
        assert len(asyncio.all_tasks()) <= 2
        await asyncio.sleep(500)
        assert len(scenario.requests) == asked
        assert scenario.opened == scenario.closed == 1
        await heard_of(watcher, "three")
        await asyncio.sleep(1)
        assert scenario.opened == scenario.closed == 2

    run(story())


def test_who_leaves_leaves_the_others_alone() -> None:
    async def story() -> None:
        scenario, watcher = watched()
        scenario.add("job", *life(100))
        scenario.add("other", *life(HOUR))
        leaving = (wait(watcher, "other"), wait(watcher, "job"))
        async with in_the_background(*leaving, heard_of(watcher, "job")) as (*leave, stays):
            for task in leave:
                await asyncio.sleep(15)
                task.cancel()
            assert await stays <= 100 + LATEST  # type: ignore[operator]
        assert watcher.is_idle

    run(story())


@pytest.mark.parametrize("kind", [302, 400, 401, 403, 404, 500, "garbage", "dropped", "hang", "bug"])
def test_a_job_with_bad_replies_harms_nobody_else(kind: int | str) -> None:
    async def story() -> None:
        scenario, watcher = watched()
        scenario.faults.append(Fault("bad", kind))
        scenario.add("good", *life(100))
        async with in_the_background(wait(watcher, "bad", None)) as (bad,):
            assert await heard_of(watcher, "good") <= 100 + LATEST + 25
            await asyncio.sleep(30)
            assert bad.done() == (kind in (302, 400, 401, 403, 404))

    run(story())


def test_a_lasting_404_ends_the_wait_for_that_job() -> None:
    async def story() -> None:
        _, watcher = watched()
        ending = await wait(watcher, "unknown", None)
        assert "not found" in str(ending.error)
        assert isinstance(ending.error, ScenarioJobUnreadableError)
        assert 60 <= clock() - START <= 60 + 3 * TICK

    run(story())


def test_a_passing_404_does_not() -> None:
    async def story() -> None:
        scenario, watcher = watched()
        scenario.faults += [Fault("job", 404, START, START + 40), Fault("job", 404, START + 100, START + 140)]
        scenario.unlisted.add("job")
        scenario.add("job", *life(50))
        assert await heard_of(watcher, "job", None) <= 50 + LATEST

    run(story())


@pytest.mark.parametrize("kind", [500, "unreachable", "bug", 401])
def test_a_client_that_can_not_be_opened_is_opened_later(kind: int | str) -> None:
    async def story() -> None:
        scenario, watcher = watched()
        scenario.add("job", *life(30))
        scenario.faults.append(Fault("list", kind, START + 25, START + 70))
        scenario.faults.append(Fault("job", kind, START + 25, START + 70))
        scenario.faults.append(Fault("open", "unreachable", START + 25, START + 70))
        assert await heard_of(watcher, "job") <= 70 + LATEST

    run(story())


def test_an_outage_is_told_to_everybody_once(caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        scenario, watcher = watched()
        scenario.add("job", *life(HOUR))
        scenario.faults.append(Fault("list", "unreachable", START + 25, START + 125))
        looks: list[Reading | None] = []
        async with watcher.subscribe("job", START) as subscription:
            for _ in range(3):
                looks.append(await subscription.next_update(200))
        assert [type(look) for look in looks] == [Job, ScenarioConnectionError, Job]
        assert not scenario.times("job")
        assert sum("Scenario can't be asked" in record.getMessage() for record in caplog.records) == 1

    run(story())


def test_being_asked_to_wait_is_heeded() -> None:
    async def story() -> None:
        scenario, watcher = watched()
        scenario.add("job", *life(60))
        scenario.faults.append(Fault("list", 429, START + 25, START + 35, {"retry-after": "50"}))
        assert await heard_of(watcher, "job") <= 95
        assert not scenario.times("job")
        refused = next(moment for moment in scenario.times("list") if START + 25 <= moment < START + 35)
        assert not [moment for moment in scenario.times("list") if refused < moment < refused + 50]

    run(story())


def test_credentials_that_are_replaced() -> None:
    async def story() -> None:
        scenario, watcher = watched()
        names = [f"job_{index}" for index in range(30)]
        for name in names:
            scenario.add(name, *life(100))

        async def replace() -> None:
            await asyncio.sleep(42)
            scenario.key = "second"
            await asyncio.sleep(40)
            scenario.known_key = "second"

        async with in_the_background(replace()):
            heard = await asyncio.gather(*(heard_of(watcher, name) for name in names))
        assert max(heard) <= 100 + LATEST
        await asyncio.sleep(1)
        assert scenario.opened == scenario.closed

    run(story())


def test_a_key_that_is_refused_from_the_start() -> None:
    async def story() -> None:
        scenario, watcher = watched()
        scenario.faults.append(Fault("list", 401))
        ending = await wait(watcher, "job")
        assert isinstance(ending.error, ScenarioJobUnreadableError)
        assert not ending.take_over
        assert 60 <= clock() - START <= 85

    run(story())


@pytest.mark.parametrize("kind", [302, 400, 401, 403, 404])
@pytest.mark.parametrize("seconds", [1.5, 45.0])
def test_a_refusal_of_everything_right_after_the_start_ends_no_wait(kind: int, seconds: float) -> None:
    async def story() -> None:
        scenario, watcher = watched()
        names = [f"job_{index}" for index in range(100)]
        for name in names:
            scenario.add(name, *life(80))
        for requests in ("list", "job"):
            scenario.faults.append(Fault(requests, kind, START, START + seconds))
        for heard in await asyncio.gather(*(heard_of(watcher, name) for name in names)):
            assert heard <= 80 + LATEST + 10

    run(story())


@pytest.mark.parametrize("kind", [302, 400, 401, 403, 404])
def test_a_refusal_of_everything_that_lasts_keeps_everybodys_retries(kind: int) -> None:
    async def story() -> None:
        scenario, watcher = watched()
        names = [f"job_{index}" for index in range(20)]
        for name in names:
            scenario.add(name, *life(HOUR))
        for requests in ("list", "job"):
            scenario.faults.append(Fault(requests, kind, START + 35))
        for result in await asyncio.gather(*(wait(watcher, name) for name in names)):
            assert isinstance(result.error, ScenarioJobUnreadableError)
            assert not result.take_over
            assert "is paid for" in str(result.error)
        assert 95 <= clock() - START <= 95 + 3 * TICK

    run(story())


@pytest.mark.parametrize("kind", [302, 400, 401, 403, 404])
def test_a_job_that_the_list_shows_is_alive_whatever_its_own_address_says(kind: int) -> None:
    async def story() -> None:
        scenario, watcher = watched()
        scenario.faults.append(Fault("job", kind))
        names = [f"job_{index}" for index in range(30)]
        for name in names:
            scenario.add(name, *life(1000))
        heard = await asyncio.gather(*(heard_of(watcher, name, None) for name in names))
        assert max(heard) <= 1000 + LATEST

    run(story())


@pytest.mark.parametrize("kind", [302, 400, 401, 403, 404])
def test_a_job_that_changed_long_ago_is_searched_for_in_the_list(kind: int) -> None:
    async def story() -> None:
        scenario, watcher = watched()
        scenario.add("job", *life(300, start=-5 * HOUR))
        scenario.faults.append(Fault("job", kind))
        scenario.add("other", *life(2 * HOUR))
        async with in_the_background(wait(watcher, "other")):
            assert await heard_of(watcher, "job", None) <= 300 + LATEST
        assert len(scenario.times("list")) <= 36

    run(story())


@pytest.mark.parametrize("kind", [302, 400, 401, 403, 404])
def test_jobs_are_read_singly_where_only_the_list_is_refused(kind: int) -> None:
    async def story() -> None:
        scenario, watcher = watched()
        names = [f"job_{index}" for index in range(10)]
        for name in names:
            scenario.add(name, *life(400))
        scenario.faults.append(Fault("list", kind, START + 25))
        heard = await asyncio.gather(*(heard_of(watcher, name) for name in names))
        assert max(heard) <= 400 + 60 + 3 * LATEST

    run(story())


# Nothing to ask with


@pytest.mark.parametrize("seconds", [5.0, 45.0])
def test_a_connection_that_is_missing_for_a_moment_ends_no_wait(seconds: float) -> None:
    async def story() -> None:
        scenario, watcher = watched()
        for index in range(100):
            scenario.add(f"job_{index}", *life(70))
        scenario.faults.append(Fault("open", "no connection", START, START + seconds))
        heard = await asyncio.gather(*(heard_of(watcher, f"job_{index}") for index in range(100)))
        assert max(heard) <= 70 + LATEST

    run(story())


@pytest.mark.parametrize("kind", ["no connection", "bug", "unreachable"])
def test_a_triggerer_that_has_nothing_to_ask_with_hands_the_waits_over(kind: str) -> None:
    async def story() -> None:
        scenario, watcher = watched()
        scenario.faults.append(Fault("open", kind))
        for result in await asyncio.gather(*(wait(watcher, f"job_{index}") for index in range(100))):
            assert result.take_over
            assert isinstance(result.error, ScenarioJobUnreadableError)
            assert "The triggerer can't read job" in str(result.error)
            assert result.job_id in str(result.error)
        assert 60 <= clock() - START <= 60 + 2 * TICK
        assert not scenario.requests

    run(story())


def test_a_good_key_must_be_refused_for_a_minute() -> None:
    async def story() -> None:
        scenario, watcher = watched()
        scenario.add("job", *life())
        scenario.faults += [Fault("list", 401, START + 100), Fault("job", 401, START + 100)]
        ending = await wait(watcher, "job")
        assert isinstance(ending.error, ScenarioJobUnreadableError)
        assert 160 <= clock() - START <= 185

    run(story())


# The deadline


def test_a_deadline_gets_a_last_look() -> None:
    async def story() -> None:
        scenario, watcher = watched()
        scenario.add("late", *life())
        scenario.add("just", *life(98.5))
        late, just = await asyncio.gather(*(wait(watcher, name, deadline=100) for name in ("late", "just")))
        assert late.timed_out
        assert late.job is not None
        assert just.job is not None
        assert just.job.is_finished
        assert clock() - START <= 101
        assert len(scenario.times("job")) <= 2

    run(story())


def test_last_looks_of_many_are_bounded() -> None:
    async def story() -> None:
        scenario, watcher = watched()
        names = [f"job_{index}" for index in range(1000)]
        for name in names:
            scenario.add(name, *life())
        endings = await asyncio.gather(*(wait(watcher, name, deadline=100) for name in names))
        assert all(ending.timed_out for ending in endings)
        assert clock() - START <= 131
        assert len(scenario.times("job")) <= 5 * 32

    run(story())


# Who wants to know of every job


def test_a_listener_hears_of_every_job_that_ended() -> None:
    async def story() -> None:
        scenario, watcher = watched()
        scenario.add("before", *life(-HOUR, start=-2 * HOUR))
        scenario.add("past", *life(-50, start=-60))
        scenario.add("soon", *life(35, status="failure"))
        scenario.add("runs", *life())
        with watcher.keep_polling(START - 100):
            assert await watcher.ended_since(START - 100) == {"past"}
            await asyncio.sleep(50)
            assert await watcher.ended_since(START - 100) == {"past", "soon"}
            assert await watcher.ended_since(START) == {"soon"}
            scenario.faults.append(Fault("list", 500, clock(), clock() + 10))
            with pytest.raises(ScenarioError):
                await watcher.ended_since(START)
            await asyncio.sleep(20)
            assert await watcher.ended_since(START) == {"soon"}
        assert watcher.is_idle
        assert len(scenario.times("list")) == 5

    run(story())


def test_a_listeners_look_is_everybodys_look() -> None:
    async def story() -> None:
        scenario, watcher = watched()
        scenario.add("job", *life(HOUR))
        async with in_the_background(wait(watcher, "job")):
            with watcher.keep_polling(START):
                await asyncio.sleep(30)
                before = len(scenario.requests)
                for _ in range(50):
                    await watcher.ended_since(START)
                    await asyncio.sleep(10)
                assert 50 <= len(scenario.requests) - before <= 52

    run(story())


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watcher_state, "MAX_JOBS", 50)

    async def story() -> None:
        scenario = FakeScenario(clock)
        watcher = JobWatcher(scenario.open, clock=clock)
        for index in range(1000):
            scenario.add(f"other_{index}", *life(index))
        scenario.add("job", *life(5, start=-10))
        scenario.add("long", *life(1000))
        async with in_the_background(wait(watcher, "long")):
            await asyncio.sleep(500)
            assert len(watcher._list._jobs) <= 50
            assert await heard_of(watcher, "job", 0.0) <= 500 + LATEST

    run(story())


# The event loop


def test_the_event_loop_is_never_blocked_for_long_with_5000_waiters() -> None:
    """What one turn of the loop costs is measured in this thread's own time: others on the machine don't count."""

    async def story() -> None:
        scenario, watcher = watched()
        for index in range(5000):
            scenario.add(f"job_{index}", *life(40))
        waits = [asyncio.create_task(wait(watcher, f"job_{index}", 0.0 if index else None)) for index in range(5000)]
        await asyncio.sleep(0.5)  # All starting in one breath is the test's own doing.
        loop.longest = 0.0
        await asyncio.sleep(25)
        scenario.faults.append(Fault("list", "unreachable", clock(), clock() + 10))
        await asyncio.gather(*waits)
        for one in waits:
            assert one.result().job is not None

    gc.disable()  # How long its sweeps take depends on everything the process holds.
    try:
        with asyncio.Runner(loop_factory=MeasuredLoop) as runner:
            loop = runner.get_loop()
            assert isinstance(loop, MeasuredLoop)
            runner.run(story())
            assert loop.longest < 0.05
    finally:
        gc.enable()


class MeasuredLoop(VirtualTimeLoop):
    """Notes the longest time for which others would have had to wait."""

    longest = 0.0

    def _run_once(self) -> None:
        started = time.thread_time()
        super()._run_once()  # type: ignore[misc]
        self.longest = max(self.longest, time.thread_time() - started)

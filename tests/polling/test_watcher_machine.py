"""Hypothesis against the watcher: whatever Scenario does for a while, everybody hears how the job ended, and soon."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_scenario.api.job import Job
from airflow_provider_scenario.polling.wait import WaitResult, WaitState
from airflow_provider_scenario.polling.watcher import JobWatcher
from tests.fake_scenario import FakeScenario, Fault, Moment
from tests.figures import figure
from tests.virtual_time import START, clock, run

HORIZON = 400.0
LATEST = 25.0
"""Seconds after which an end must be known where the list tells of it."""

LIST_FAULTS = (302, 400, 401, 403, 404, 429, 500, "garbage", "dropped", "hang", "unreachable", "bug")
REFUSALS = (302, 400, 401, 403, 404)
JOB_FAULTS = (*REFUSALS, 429, 500, "garbage", "dropped", "hang", "unreachable", "bug")
OPEN_FAULTS = ("unreachable", "bug", "no connection")


@dataclass(frozen=True)
class Waiter:
    """One job and who waits for it; seconds count from the beginning.

    :param ran_for: How long before its registration the waiter last saw the job run; ``None``: it does not say.
    :param leaves_after: Seconds after which the waiter goes away, or ``None``.
    """

    start: float
    runs_for: float
    changes: tuple[float, ...]
    status: str
    registers: float
    ran_for: float | None
    every: float
    leaves_after: float | None
    is_listed: bool
    bare_for: float = 0.0

    @property
    def end(self) -> float:
        return self.start + self.runs_for

    @property
    def since(self) -> float | None:
        """When the job was last known to run."""
        if self.ran_for is None:
            return None
        return START + max(self.start, min(self.registers - self.ran_for, self.end - 0.01))

    def life(self) -> list[Moment]:
        running: list[Moment] = [(START + self.start, "pending", 0.0)]
        for share in self.changes:
            running.append((START + self.start + share * self.runs_for, "in-progress", share))
        return sorted([*running, (START + self.end, self.status, 1.0)])


@dataclass(frozen=True)
class FaultPlan:
    """How Scenario behaves."""

    skew: float = 0.0
    lag: float = 0.0
    empty_pages: int = 0
    page_size: int = 100
    tells_time: bool = True
    others: int = 0
    faults: tuple[Fault, ...] = ()

    @property
    def last_fault_ends(self) -> float:
        """Seconds from the beginning after which nothing goes wrong any more: what hangs then is let go later."""
        return max((fault.end - START + 21.0 for fault in self.faults), default=0.0)


seconds = st.floats(0.0, HORIZON, allow_nan=False).map(lambda number: round(number, 2))


@st.composite
def waiters(draw: st.DrawFn, *, may_be_unlisted: bool) -> Waiter:
    start = draw(st.floats(-3000.0, HORIZON).map(lambda number: round(number, 2)))
    runs_for = draw(st.floats(0.1, 1000.0).map(lambda number: round(number, 2)))
    return Waiter(
        start=start,
        runs_for=runs_for,
        changes=tuple(draw(st.lists(st.floats(0.01, 0.99), max_size=4))),
        status=draw(st.sampled_from(["success", "success", "failure", "canceled"])),
        registers=max(0.0, start) + draw(seconds),
        ran_for=draw(st.one_of(st.none(), st.floats(0.0, 3000.0))),
        every=draw(st.sampled_from([2.0, 10.0, 10.0, 10.0])),
        leaves_after=draw(st.one_of(st.none(), st.none(), seconds)),
        is_listed=not may_be_unlisted or draw(st.integers(0, 5)) > 0,
        bare_for=draw(st.sampled_from([0.0, 0.0, 0.0, 3.0, 9.0])),
    )


@st.composite
def faults(draw: st.DrawFn) -> Fault:
    requests = draw(st.sampled_from(["list", "list", "job", "open"]))
    kinds = {"list": LIST_FAULTS, "job": JOB_FAULTS, "open": OPEN_FAULTS}[requests]
    kind = draw(st.sampled_from(kinds))
    start = START + draw(seconds)
    # What nobody could be asked about for a minute is given up, as it should be.
    may_end_a_wait = requests == "open" or (kind == 401 if requests == "list" else kind in REFUSALS)
    length = draw(st.floats(0.1, 30.0 if may_end_a_wait else 120.0))
    headers = {"retry-after": str(draw(st.integers(1, 40)))} if kind == 429 else {}
    return Fault(requests, kind, start, start + length, headers)


@st.composite
def fault_plans(draw: st.DrawFn) -> FaultPlan:
    found = draw(st.lists(faults(), max_size=4))
    # Two spells in which jobs are refused could follow one another without a good look between them.
    unknown = [
        fault
        for fault in found
        if (fault.kind in REFUSALS and fault.requests == "job")
        or (fault.kind == 401 and fault.requests == "list")
        or fault.requests == "open"
    ]
    return FaultPlan(
        skew=draw(st.floats(-90.0, 90.0)),
        lag=draw(st.floats(0.0, 5.0)),
        empty_pages=draw(st.integers(0, 2)),
        page_size=draw(st.sampled_from([2, 7, 100])),
        tells_time=draw(st.booleans()),
        others=draw(st.sampled_from([0, 0, 50])),
        faults=tuple(fault for fault in found if fault not in unknown[1:]),
    )


class Watch:
    """One run of it all in virtual time."""

    def __init__(self, plan: FaultPlan, people: list[Waiter]) -> None:
        self.plan = plan
        self.people = people
        self.heard: dict[int, tuple[float, WaitResult]] = {}
        self.scenario = FakeScenario(
            clock,
            clock_ahead=plan.skew,
            list_lag=plan.lag,
            empty_pages=plan.empty_pages,
            page_size=plan.page_size,
            tells_time=plan.tells_time,
            faults=list(plan.faults),
        )
        for number, waiter in enumerate(people):
            assets_from = START + waiter.end + waiter.bare_for
            self.scenario.add(f"job_{number}", *waiter.life(), assets_from=assets_from)
            if not waiter.is_listed:
                self.scenario.unlisted.add(f"job_{number}")
        for number in range(plan.others):
            moments = [(START + number * 0.1 + step * 9.0, "in-progress", 0.1) for step in range(60)]
            self.scenario.add(f"other_{number}", *moments)

    async def run(self) -> None:
        watcher = JobWatcher(self.scenario.open, clock=clock)
        async with asyncio.TaskGroup() as group:
            for number, waiter in enumerate(self.people):
                group.create_task(self._wait(watcher, number, waiter))
        await asyncio.sleep(1.0)
        assert watcher.is_idle
        assert self.scenario.opened == self.scenario.closed

    async def _wait(self, watcher: JobWatcher, number: int, waiter: Waiter) -> None:
        await asyncio.sleep(waiter.registers)
        try:
            async with asyncio.timeout(waiter.leaves_after):
                ending = await self._ending(watcher, f"job_{number}", waiter)
        except TimeoutError:
            return
        self.heard[number] = (clock() - START, ending)

    async def _ending(self, watcher: JobWatcher, job_id: str, waiter: Waiter) -> WaitResult:
        wait = WaitState(job_id, deadline=START + 10_000)
        async with watcher.subscribe(job_id, waiter.since, waiter.every) as subscription:
            while True:
                look = await subscription.next_update(wait.deadline - clock()) or await watcher.read_now(
                    subscription, 30.0
                )
                ending = wait.on_job(look, clock()) if isinstance(look, Job) else wait.on_error(look, clock())
                if ending is not None:
                    return ending

    def latest(self, waiter: Waiter) -> float:
        """When the waiter must know at the latest."""
        known = max(waiter.end, waiter.registers)
        if self.plan.last_fault_ends >= known - LATEST:
            known = max(known, self.plan.last_fault_ends + 40.0)  # and what 429 asked for
        pages = 1 + len(self.people) // self.plan.page_size + self.plan.others // self.plan.page_size
        slow = pages * (1 + self.plan.empty_pages) * 0.05 * 3
        singles = 0.3 * len(self.people)
        silence = 0.0 if waiter.is_listed else 600.0 + 60.0
        return known + LATEST + self.plan.lag + slow + singles + silence + 2 * waiter.bare_for

    def check(self) -> None:
        for number, waiter in enumerate(self.people):
            if number not in self.heard:
                assert waiter.leaves_after is not None
                assert waiter.registers + waiter.leaves_after <= self.latest(waiter)
                continue
            at, ending = self.heard[number]
            assert ending.error is None, ending
            assert ending.job is not None
            assert ending.job.status.value == waiter.status
            assert ending.has_outputs == (waiter.status == "success"), "its outputs came a little later"
            assert at >= waiter.end - 0.001
            assert at <= self.latest(waiter), f"{waiter} heard at {at}, not by {self.latest(waiter)}"
        self.check_singles()

    def check_singles(self) -> None:
        reads = self.scenario.times("job")
        for first, sixth in zip(reads, reads[6:], strict=False):
            assert sixth - first >= 0.99, "more than five single reads a second"


@settings(max_examples=figure(25, 60), suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(fault_plans(), st.lists(waiters(may_be_unlisted=True), min_size=1, max_size=12), st.integers(0, 2**32))
def test_everybody_hears_how_the_job_ended(plan: FaultPlan, people: list[Waiter], seed: int) -> None:
    random.seed(seed)
    watch = Watch(plan, people)
    run(watch.run())
    watch.check()


@settings(max_examples=figure(15, 30), suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(waiters(may_be_unlisted=False), min_size=1, max_size=12),
    st.floats(-90.0, 90.0),
    st.floats(0.0, 5.0),
    st.integers(0, 2),
    st.integers(0, 2**32),
)
def test_without_faults_a_tick_costs_one_read(
    people: list[Waiter], skew: float, lag: float, empty: int, seed: int
) -> None:
    random.seed(seed)
    watch = Watch(FaultPlan(skew=skew, lag=lag, empty_pages=empty), people)
    run(watch.run())
    watch.check()
    quickest = min(waiter.every for waiter in people)
    waited = [(one.registers, watch.heard[number][0]) for number, one in enumerate(people) if number in watch.heard]
    ends = [end for _, end in waited] + [one.registers + (one.leaves_after or 0.0) for one in people]
    ticks = (max(ends) - min(one.registers for one in people)) / (0.95 * quickest) + len(people) + 1
    assert len(watch.scenario.times("list")) <= ticks * (1 + empty)
    reads_each = 1 + (HORIZON + 2000.0) / 600.0
    assert len(watch.scenario.times("job")) <= len(people) * reads_each + 60

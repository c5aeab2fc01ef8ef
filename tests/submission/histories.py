"""Histories of tasks that crash, freeze, retry and are cleared, at a Scenario that lies: every payment is seen.

The truth is kept beside the code under test: for each task instance, which of its paid jobs it still has a right to.
A task instance may buy only if it has no such job. A job ceases to be one when

- it has ended in ``failure`` or ``canceled``, and another try than the one that bought it buys anew;
- it was returned, and the task cleared after that with ``on_clear="regenerate"``. Where the clear takes the record
  away, nobody knows what was returned: there every job that has finished counts as returned;
- a try began with other inputs than the try before it, with ``on_changed_inputs="resubmit"``.

Five worlds: what proves whose a job is, and who remembers it.

- ``SeedAndStore``: a seed of ours, and a store that clears do not touch, as in Airflow 3.3.
- ``SeedOnly``: a seed of ours, and no store, as in Airflow 3.1 and 3.2.
- ``SeedAndClearedStore``: a seed of ours, and a store that each clear empties, as in Airflow 3.4.
- ``StoreOnly``: no seed of ours, since the author gave one or the model takes none, and a store. There a task may take
  a job that looks like its own, and may refuse, naming the jobs. Paying twice never follows.
- ``InputsOnly``: no seed of ours and no store, so that nothing but inputs and time tells. There inputs that changed
  can't be noticed, and a job that was there before a clear is returned again.

What nobody can help, and so is left out:

- a worker that freezes between the fence's last look at the clock and its POST;
- without a store, one that wakes less than three minutes after its retry has bought;
- the job of another Airflow's task with the same names and inputs may be taken for one that was bought before a clear,
  if the clear took the record away and began the run anew. Once it fails, this task's own is looked for again;
- so may one whose seed is, by a chance of twelve bits, one that the task may have sent before a clear;
- without a seed of ours, so may the only job of a sibling or stranger that ran with the same inputs;
- an earlier job of the task may be taken for the last one, if the record is gone, the last one is not listed yet, and
  Scenario's echo does not show that the inputs changed in between.

In the three cases before the last nothing can tell whose a job is. Each that was taken counts apart, as ``untold``, and
is printed.

``python -m tests.submission.histories --histories 50000 --seed 1`` tries many, on two processes.
"""

from __future__ import annotations

import argparse
import collections
import concurrent.futures
import dataclasses
import itertools
import logging
import sys
import time
import unicodedata
from dataclasses import dataclass, field
from typing import Any

import hypothesis.strategies as st
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from airflow_provider_scenario.api.model import LARGEST_SEED
from airflow_provider_scenario.exceptions import ScenarioError, ScenarioSubmissionError
from airflow_provider_scenario.submission.decision import (
    OnChangedInputs,
    OnClear,
    OnLostSubmission,
    Order,
    SubmissionPolicy,
    SubmittedJob,
)
from airflow_provider_scenario.submission.job_reader import SearchDeferred
from airflow_provider_scenario.submission.record import Submitted, Wanted, all_jobs
from airflow_provider_scenario.submission.seed import TaskKey
from airflow_provider_scenario.submission.submitter import Submitter
from tests.fake_scenario import FakeJob, Fault
from tests.submission.worker import (
    ENDS,
    GATEWAYS,
    REFUSALS,
    START,
    Clock,
    Crash,
    End,
    FaultyClient,
    Memory,
    Steps,
    Store,
    WorkerClock,
    fake_scenario,
)

tried: collections.Counter[str] = collections.Counter()
"""How many histories were tried, by world."""

untold: collections.Counter[str] = collections.Counter()
"""How often a task took the job of another, where nothing can tell whose it is, by world."""

CRASHES = [
    f"{when} {what}"
    for what in ("load", "saving intent", "POST", "saving job", "saving not accepted", "GET", "LIST", "saving returned")
    for when in ("before", "after")
]
FREEZES = ["after POST"]
FREEZES += [f"{when} {what}" for what in ("load", "saving intent", "GET", "LIST") for when in ("before", "after")]
PROMPTS = (unicodedata.normalize("NFD", 'a "grey" cat in a café, asleep'), "two dogs run on a beach at night")
TASKS = ("task[0]", "task[1]")
RETRIES = 2

ChargeStatus = tuple[float | None, str, str]


@dataclass(frozen=True)
class Freeze:
    """A worker that is stopped.

    :param place: The step, and which time it is taken.
    :param seconds: For how long at least.
    :param retried: Whether Airflow takes it for dead meanwhile, and the retry runs to its end.
    """

    place: tuple[str, int]
    seconds: float
    retried: bool


@dataclass(frozen=True)
class Trouble:
    """What a try meets.

    :param pause: Seconds before it.
    :param preparing: Seconds that its uploads take.
    :param crash: At which step it dies, and which time that step is taken.
    :param freeze: Where it is stopped.
    :param ends: How its POSTs end.
    :param faults: What its first reads of a job meet.
    :param ahead: Seconds that its wall clock is ahead, one after the other.
    :param list_out: Seconds that the job list is out from its start on.
    :param ending: What becomes of a job that it buys.
    :param lacks: What the row of such a job lacks.
    :param resumed_after: Seconds by which a deferred search goes on late; ``None`` if none is deferred.
    """

    pause: float = 60.0
    preparing: float = 0.0
    crash: tuple[str, int] | None = None
    freeze: Freeze | None = None
    ends: tuple[End, ...] = ()
    faults: tuple[int, ...] = ()
    ahead: tuple[float, ...] = (0.0,)
    list_out: float = 0.0
    ending: ChargeStatus = (30.0, "success", "queued")
    lacks: frozenset[str] = frozenset()
    resumed_after: float | None = None


counts = st.sampled_from([1, 1, 1, 2, 3])
ends = st.builds(
    End,
    st.sampled_from([*ENDS, *ENDS, *REFUSALS, *(f"html {status}" for status in GATEWAYS)]),
    st.sampled_from([None, 0.0, 0.0, 1.0, 25.0, 60.0]),
)
endings = st.tuples(
    st.none() | st.sampled_from([0.0, 1.0, 20.0, 90.0, 300.0]),
    st.sampled_from(["success", "success", "success", "failure", "canceled"]),
    st.sampled_from(["pending", "in-progress", "brand-new-status"]),
)
lacks = st.sampled_from(
    [*[frozenset[str]()] * 6, *map(frozenset, (["seed"], ["input"], ["model"], ["createdAt"], ["seed", "createdAt"]))]
)
troubles = st.builds(
    Trouble,
    pause=st.sampled_from([0.0, 1.0, 15.0, 60.0, 400.0]),
    preparing=st.sampled_from([0.0, 0.0, 5.0, 200.0]),
    crash=st.none() | st.tuples(st.sampled_from(CRASHES), counts),
    freeze=st.none()
    | st.none()
    | st.builds(
        Freeze, st.tuples(st.sampled_from(FREEZES), counts), st.sampled_from([5.0, 12.0, 300.0, 900.0]), st.booleans()
    ),
    ends=st.lists(ends, max_size=3).map(tuple),
    faults=st.sampled_from([(), (), (0,), (302,), (400,), (401,), (403,), (404,), (503,), (200,), (404, 401)]),
    ahead=st.sampled_from([(0.0,), (600.0,), (-600.0,), (0.0, 600.0), (-600.0, 600.0, 0.0)]),
    list_out=st.sampled_from([0.0, 0.0, 8.0, 50.0]),
    ending=endings,
    lacks=lacks,
    resumed_after=st.sampled_from([None, 0.0, 3.0, 900.0]),
)
tasks = st.sampled_from((*TASKS, TASKS[0]))
numbers = st.sampled_from(range(11))  # Of whole numbers Hypothesis draws some from the loaded modules.


@dataclass
class TaskInstance:
    """One task instance as Airflow sees it, and the truth of what it is entitled to."""

    name: str
    memory: Memory = field(default_factory=Memory)
    run_started_at: float = START - 60.0
    max_tries: int = RETRIES
    was_cleared: bool = False
    recalled: bool = False
    tries: int = 0
    waits_for: str | None = None
    succeeded: bool = False
    prompt: str = PROMPTS[0]
    tried_prompt: str | None = None
    shown_job: str | None = None
    returned: list[str] = field(default_factory=list)
    bought_in_try: dict[str, int] = field(default_factory=dict)
    let_go: set[str] = field(default_factory=set)
    cleared_jobs: set[str] = field(default_factory=set)
    unlisted: set[str] = field(default_factory=set)
    starts: list[float] = field(default_factory=lambda: [START - 60.0])

    @property
    def key(self) -> TaskKey:
        return TaskKey(
            "dag", "run", "task", self.name, self.run_started_at, self.tries, self.max_tries, self.was_cleared
        )


class Histories(RuleBasedStateMachine):
    """What holds in all worlds."""

    seed_is_ours = True
    has_store = True
    clear_empties = False
    changes_are_seen = True

    @initialize(
        policy=st.builds(
            SubmissionPolicy,
            st.sampled_from(OnLostSubmission),
            st.sampled_from(OnChangedInputs),
            st.none() | st.sampled_from(OnClear),
        ),
        clock_ahead=st.sampled_from([-600.0, -90.0, 0.0, 90.0, 600.0]),
        list_lag=st.sampled_from([0.0, 5.0, 40.0, 120.0]),
        hidden_for=st.sampled_from([0.0, 3.0, 20.0]),
        bare_for=st.sampled_from([0.0, 0.0, 20.0]),
        page_size=st.sampled_from([1, 3, 100]),
        echo=st.sampled_from(["plain", "plain", "floats", "NFC", "quotes", "asset"]),
        lacks_for_good=st.sampled_from([False, False, False, True]),
        author_gives_seed=st.booleans(),
        small_seeds=st.booleans(),
    )
    def begin(
        self,
        policy: SubmissionPolicy,
        clock_ahead: float,
        list_lag: float,
        hidden_for: float,
        bare_for: float,
        page_size: int,
        echo: str,
        lacks_for_good: bool,
        author_gives_seed: bool,
        small_seeds: bool,
    ) -> None:
        tried[type(self).__name__] += 1
        self.policy = policy
        self.clock = Clock()
        self.echo_as = echo
        self.lacks_for_good = lacks_for_good
        self.author_gives_seed = author_gives_seed and not self.seed_is_ours
        if self.seed_is_ours:
            self.largest_seed = 2**24 if small_seeds else LARGEST_SEED
        else:
            self.largest_seed = 2**10 if small_seeds else 0
        self.trouble = Trouble()
        self.scenario = fake_scenario(
            self.clock,
            clock_ahead=clock_ahead,
            list_lag=list_lag,
            hidden_for=hidden_for,
            bare_for=bare_for,
            page_size=page_size,
            echo=self.echo,
            ending=lambda: self.trouble.ending,
            lacking=self.lacking,
            largest_seed=LARGEST_SEED if self.author_gives_seed else self.largest_seed,
            on_accepted=self.check_payment,
        )
        self.unprovable = False
        self.strangers = 0
        self.tasks = {name: TaskInstance(name) for name in TASKS}

    def echo(self, inputs: dict[str, Any]) -> dict[str, Any]:
        echoed = dict(inputs)
        match self.echo_as:
            case "floats":
                echoed = {name: float(value) if isinstance(value, int) else value for name, value in inputs.items()}
            case "NFC":
                echoed["prompt"] = unicodedata.normalize("NFC", inputs["prompt"])
            case "quotes":
                echoed["prompt"] = inputs["prompt"].replace('"', '\\"')
            case "asset":
                echoed["prompt"] = "asset_of_the_prompt"
        drawn = {} if self.seed_is_ours or self.author_gives_seed else {"seed": 987654.0}
        return {**drawn, "guidanceScale": 5, **echoed}

    def lacking(self) -> tuple[frozenset[str], bool]:
        missing = self.trouble.lacks
        if self.lacks_for_good and missing:
            self.unprovable = True
        return missing, self.lacks_for_good

    def inputs(self, prompt: str) -> dict[str, Any]:
        given = {"seed": 42} if self.author_gives_seed else {}
        return {"prompt": prompt, "numFrames": 81, "strength": 0.5, **given}

    # The truth.

    def entitled_to(self, task: TaskInstance, try_number: int | None = None) -> list[FakeJob]:
        """Return the jobs that the task instance has paid for and has a right to, in the eyes of one of its tries."""
        now = self.clock.now
        return [
            job
            for job in self.scenario.paid_by(task.name)
            if job.id not in task.let_go
            and not (job.ended_badly(now) and task.bought_in_try.get(job.id) != try_number)
            and not (job.id in task.cleared_jobs and job.is_finished(now))
        ]

    def check_payment(self, job: FakeJob, try_number: int) -> None:
        task = self.tasks.get(job.payer)
        if task is None:
            return
        self.judge(task, try_number)
        task.bought_in_try[job.id] = try_number

    def judge(self, task: TaskInstance, try_number: int) -> None:
        held = self.entitled_to(task, try_number)
        assert not held, f"{task.name} pays again although it has {held}"

    # What people and time do.

    @rule(task=tasks, trouble=troubles)
    def go_on(self, task: str, trouble: Trouble) -> None:
        """The next try begins; or the trigger looks at the job that is waited for."""
        ti = self.tasks[task]
        self.clock.now += trouble.pause
        if ti.waits_for is not None:
            self.look(ti, ti.waits_for, trouble.crash)
        elif not ti.succeeded:
            self.run(ti, trouble)

    @rule(task=tasks, trouble=troubles)
    def retry_at_once(self, task: str, trouble: Trouble) -> None:
        """The wait fails, and the retry begins."""
        ti = self.tasks[task]
        if not ti.succeeded:
            ti.waits_for = None
            self.run(ti, trouble)

    @rule(task=tasks, run_had_ended=st.booleans(), trouble=troubles)
    def clear(self, task: str, run_had_ended: bool, trouble: Trouble) -> None:
        ti = self.tasks[task]
        if ti.tries:
            self.clock.now += trouble.pause
            self.clear_only(ti, run_had_ended=run_had_ended)
            self.run(ti, trouble)

    @rule(task=tasks)
    def the_dag_changes(self, task: str) -> None:
        """The next try has other inputs."""
        ti = self.tasks[task]
        ti.prompt = PROMPTS[1 - PROMPTS.index(ti.prompt)]

    @precondition(lambda self: any(job.ends_at is None for job in self.scenario.jobs.values()))
    @rule(number=numbers, outcome=st.sampled_from(["success", "failure", "canceled"]))
    def a_job_ends(self, number: int, outcome: str) -> None:
        running = [job for job in self.scenario.jobs.values() if job.ends_at is None]
        running[number % len(running)].end(outcome, self.clock.now)

    @precondition(lambda self: self.scenario.jobs)
    @rule(number=numbers)
    def a_job_moves_in_the_list(self, number: int) -> None:
        list(self.scenario.jobs.values())[number % len(self.scenario.jobs)].touch(self.clock.now)

    @rule(
        prompt=st.sampled_from(PROMPTS),
        model=st.sampled_from(["model_1", "model_1", "model_2"]),
        ending=endings,
        missing=lacks,
        unreadable=st.sampled_from([False, False, False, True]),
    )
    def a_stranger_buys(
        self, prompt: str, model: str, ending: ChargeStatus, missing: frozenset[str], unreadable: bool
    ) -> None:
        self.strangers += 1
        if unreadable and self.lacks_for_good:
            missing = frozenset(["id"])
        self.trouble = Trouble(ending=ending, lacks=missing)
        inputs = self.inputs(prompt)
        if self.seed_is_ours:
            inputs["seed"] = 1000 + self.strangers
        self.scenario.accept("stranger", model, inputs)

    @precondition(lambda self: self.seed_is_ours)
    @rule(task=tasks, prompt=st.sampled_from(PROMPTS), generation=st.sampled_from([1, 1, 2]), ending=endings)
    def a_twin_buys(self, task: str, prompt: str, generation: int, ending: ChargeStatus) -> None:
        """Another Airflow has a task with the same names, on the same project."""
        self.trouble = Trouble(ending=ending)
        key = dataclasses.replace(self.tasks[task].key, run_started_at=START - 77.0, max_tries=RETRIES)
        inputs = {**self.inputs(prompt), "seed": key.seed(generation, self.largest_seed)}
        self.scenario.accept("twin", "model_1", inputs)

    # One try of a task, as the operator makes it.

    def run(self, ti: TaskInstance, trouble: Trouble) -> ScenarioError | None:
        ti.tries += 1
        try_number = ti.tries
        buys_changed = self.policy.on_changed_inputs is OnChangedInputs.RESUBMIT or not self.changes_are_seen
        if ti.tried_prompt not in (None, ti.prompt) and buys_changed:
            self.let_go(ti)
        ti.tried_prompt = ti.prompt
        ti.shown_job = None
        self.scenario.faults = [Fault("list", "html 503", end=self.clock.now + trouble.list_out)]
        steps = Steps(lambda: self.freeze(ti, trouble))
        steps.die_when = trouble.crash
        steps.freeze_when = trouble.freeze.place if trouble.freeze else None
        client = FaultyClient(self.scenario, ti.name, steps, trouble.ends, trouble.faults, try_number=try_number)
        store = self.store(ti, steps)
        if ti.was_cleared and (not self.has_store or ti.memory.text is None):
            ti.recalled = True  # It has nothing but the job list to go by.
            listed = self.clock.now - self.scenario.list_lag
            ti.unlisted.update(job.id for job in self.scenario.paid_by(ti.name) if job.created_at > listed)
        self.trouble = trouble
        key = ti.key
        searched: str | None = None
        submitted: SubmittedJob | None = None
        try:
            while submitted is None:
                submitter = Submitter(
                    client,
                    store,
                    key,
                    self.policy,
                    searched=searched,
                    may_defer=trouble.resumed_after is not None,
                    log=_SILENT,
                    clock=WorkerClock(self.clock, trouble.ahead),
                    monotonic=self.clock,
                    sleep=self.clock.sleep,
                )
                try:
                    submitted = self.submit(submitter, ti, trouble)
                except SearchDeferred as search:
                    if try_number != ti.tries:
                        return None  # Airflow lets no try defer that it takes for dead.
                    self.clock.sleep(search.seconds + (trouble.resumed_after or 0.0))
                    searched, store = search.search, self.store(ti, steps)
        except Crash:
            return None
        except ScenarioError as error:
            return error
        if try_number == ti.tries:
            ti.shown_job = submitted.job.id
            self.take(ti, self.scenario.jobs[submitted.job.id])
        self.look(ti, submitted.job.id, trouble.crash, store=store, is_zombie=try_number != ti.tries)
        return None

    def take(self, ti: TaskInstance, job: FakeJob) -> None:
        """Move the right to a sibling's job; the sibling gets one to what this task had paid for instead, if anything.

        So a task that pays again must have nothing left, and all of them together never pay more than was asked for.
        """
        if job.payer == ti.name:
            return
        untold[type(self).__name__] += 1
        if job.payer in self.tasks:
            own = next((one for one in self.entitled_to(ti) if one.inputs == job.inputs), None)
            if own is not None:
                own.payer = job.payer
            job.payer = ti.name

    def submit(self, submitter: Submitter, ti: TaskInstance, trouble: Trouble) -> SubmittedJob:
        inputs = self.inputs(ti.prompt)
        wanted = Wanted("model_1", inputs)
        for number in range(10):
            found = submitter.rejoin_or_order(wanted)
            if isinstance(found, Order):
                self.clock.now += trouble.preparing if number == 0 else 0.0  # What was uploaded is kept.
                self.trouble = trouble
                bought = submitter.buy(found, wanted, "model_1", inputs, largest_seed=self.largest_seed)
                if bought is not None:
                    return bought
            else:
                return found
        raise AssertionError("it neither buys nor fails")

    def store(self, ti: TaskInstance, steps: Steps) -> Store:
        memory = ti.memory if self.has_store else Memory()
        return Store(steps, memory, lambda: self.claims_of_others(ti), is_durable=self.has_store)

    def freeze(self, ti: TaskInstance, trouble: Trouble) -> None:
        """Time passes for a stopped worker; its retry may run to its end."""
        assert trouble.freeze is not None
        self.clock.now += trouble.freeze.seconds
        if not trouble.freeze.retried or ti.succeeded:
            return
        for number in range(8):
            if ti.succeeded:
                break
            self.end_jobs()
            if ti.waits_for is not None:
                self.look(ti, ti.waits_for, None)
            else:
                self.run(ti, Trouble(ending=trouble.ending if number == 0 else (30.0, "success", "queued")))
            self.clock.now += 60.0
        if not self.has_store:
            self.clock.now += 180.0
        self.trouble = trouble

    def look(
        self,
        ti: TaskInstance,
        job_id: str,
        crash: tuple[str, int] | None,
        *,
        store: Store | None = None,
        is_zombie: bool = False,
    ) -> None:
        """Defer if the job runs, fail if it has ended badly, else save that it is returned, and return it."""
        steps = Steps()
        steps.die_when = crash
        store = store or self.store(ti, steps)
        document = self.scenario.row(self.scenario.jobs[job_id])
        has_outputs = bool(document["metadata"].get("assetIds")) if "metadata" in document else False
        if document["status"] == "success" and not (has_outputs or "input" in self.scenario.jobs[job_id].lacks):
            document["status"] = "in-progress"
        if document["status"] not in ("success", "failure", "canceled"):
            if not is_zombie:
                ti.waits_for = job_id
            return
        if not is_zombie:
            ti.waits_for = None
        if document["status"] != "success":
            return
        try:
            record = store.load()
            if isinstance(record, Submitted) and record.job_id == job_id and not record.returned:
                store.save(dataclasses.replace(record, returned=True))
        except Crash:
            return
        if is_zombie:
            return
        self.judge_return(ti, self.scenario.jobs[job_id])
        ti.returned.append(job_id)
        ti.succeeded = True

    def let_go(self, ti: TaskInstance) -> None:
        ti.let_go.update(job.id for job in self.scenario.paid_by(ti.name))
        record = ti.memory.record
        if isinstance(record, Submitted):
            ti.let_go.add(record.job_id)

    def clear_only(self, ti: TaskInstance, *, run_had_ended: bool = False) -> None:
        record = ti.memory.record
        if self.clear_empties or not self.has_store:
            if self.policy.on_clear is OnClear.REGENERATE:
                ti.cleared_jobs.update(job.id for job in self.scenario.paid_by(ti.name))
            ti.memory.text = None
        elif isinstance(record, Submitted) and record.returned and self.policy.on_clear is not OnClear.REUSE:
            ti.let_go.add(record.job_id)
        ti.max_tries = ti.tries + RETRIES
        ti.was_cleared = True
        if run_had_ended:
            ti.run_started_at = self.clock.now
            ti.starts.append(ti.run_started_at)
        ti.succeeded, ti.waits_for = False, None

    def claims_of_others(self, ti: TaskInstance) -> list[str]:
        others = [other for other in self.tasks.values() if other is not ti]
        records = (other.memory.record for other in others)
        stored = [
            job_id
            for record in records
            if record is not None
            for job_id in all_jobs(record)
            if job_id not in record.unproven_jobs
        ]
        return [*stored, *(other.shown_job for other in others if other.shown_job is not None)]

    # What always holds.

    @invariant()
    def no_job_belongs_to_two(self) -> None:
        holders: dict[str, str] = {}
        for name, ti in getattr(self, "tasks", {}).items():
            record = ti.memory.record
            for job_id in {*ti.returned, *([record.job_id] if isinstance(record, Submitted) else [])}:
                assert holders.setdefault(job_id, name) == name, f"{job_id} is {holders[job_id]}'s and {name}'s"

    def judge_return(self, ti: TaskInstance, job: FakeJob) -> None:
        assert job.status(self.clock.now) == "success"
        assert job.model_id == "model_1"
        if self.seed_is_ours:
            assert job.payer == ti.name or self.is_indistinct(ti, job), f"{ti.name} returns a job of the {job.payer}"
        if self.seed_is_ours and self.shows_inputs(ti, job):
            assert job.inputs["prompt"] == ti.tried_prompt, "it was made of inputs that were changed since"

    def shows_inputs(self, ti: TaskInstance, job: FakeJob) -> bool:
        """Whether a record or the job's echo shows which inputs it ran with."""
        has_record = self.has_store and not self.clear_empties and not ti.recalled
        return has_record or (self.echo_as != "asset" and not job.lacks)

    def is_indistinct(self, ti: TaskInstance, job: FakeJob) -> bool:
        """Whether nothing tells the job of a twin from one that was bought before a clear."""
        return job.payer == "twin" and ti.was_cleared and (ti.recalled or self.has_its_seed_by_chance(ti, job))

    def has_its_seed_by_chance(self, ti: TaskInstance, job: FakeJob) -> bool:
        """Whether a task may have sent the seed of a twin's job itself: twelve bits may agree by chance."""
        keys = itertools.product(ti.starts, range(ti.max_tries + 1), range(1, ti.tries + 1))
        return any(
            job.inputs.get("seed")
            == dataclasses.replace(ti.key, run_started_at=start, max_tries=tries).seed(generation, self.largest_seed)
            for start, tries, generation in keys
        )

    def end_jobs(self) -> None:
        for job in self.scenario.jobs.values():
            if job.ends_at is None:
                job.end("success", self.clock.now)

    def teardown(self) -> None:
        """Let tries go on without trouble: each gets what it paid for."""
        for ti in getattr(self, "tasks", {}).values():
            if ti.tries:
                self.finish(ti)

    def finish(self, ti: TaskInstance) -> None:
        due = [job for job in self.entitled_to(ti) if not job.ended_badly(self.clock.now)]
        error: ScenarioError | None = None
        cleared = False
        for _ in range(14):
            if ti.succeeded:
                break
            self.clock.now += 60.0
            self.end_jobs()
            if ti.waits_for is not None:
                self.look(ti, ti.waits_for, None)
                continue
            if self.policy.on_changed_inputs is OnChangedInputs.FAIL:
                self.undo_change(ti)
            error = self.run(ti, Trouble())
            if isinstance(error, ScenarioSubmissionError) and not cleared:
                cleared = True  # As its message says, with on_lost_submission="fail".
                self.clear_only(ti)
        self.judge_the_end(ti, due, error)

    def undo_change(self, ti: TaskInstance) -> None:
        record = ti.memory.record
        for prompt in PROMPTS:
            if record is not None and Wanted("model_1", self.inputs(prompt)).digests == record.digests:
                ti.prompt = prompt
                return
        held = self.entitled_to(ti) or self.scenario.paid_by(ti.name)
        if held:
            ti.prompt = held[-1].inputs["prompt"]

    def judge_the_end(self, ti: TaskInstance, due: list[FakeJob], error: ScenarioError | None) -> None:
        if not ti.succeeded and self.unprovable:
            assert isinstance(error, ScenarioSubmissionError), f"{ti.name} ended with {error!r}"
            return
        if (
            not ti.succeeded
            and isinstance(error, ScenarioSubmissionError)
            and self.policy.on_changed_inputs is OnChangedInputs.FAIL
        ):
            named = [job for job in self.scenario.jobs.values() if job.id == error.job_id]
            assert named, f"{ti.name} ended with {error!r}"
            assert self.is_indistinct(ti, named[0]), f"{ti.name} ended with {error!r}"
            return
        assert ti.succeeded, f"{ti.name} never came to its end: {error}"
        still_due = [
            job.id
            for job in due
            if job.id not in ti.let_go and job.id not in ti.cleared_jobs and job.outcome == "success"
        ]
        returned = self.scenario.jobs[ti.returned[-1]]
        was_hidden = ti.unlisted.issuperset(still_due) and not self.shows_inputs(ti, returned)
        is_earlier = returned.payer == ti.name and was_hidden
        if still_due and not is_earlier and not self.is_indistinct(ti, returned):
            assert returned.id in still_due, f"{ti.name} returned {returned.id}, but had paid for {still_due}"


class SeedAndStore(Histories):
    """A seed of ours proves whose a job is, and Airflow keeps the record, over clears too."""


class SeedOnly(Histories):
    """A seed of ours proves whose a job is, and Airflow keeps no record."""

    has_store = False


class SeedAndClearedStore(Histories):
    """A seed of ours proves whose a job is, and Airflow throws the record away at each clear."""

    clear_empties = True


class StoreOnly(Histories):
    """The model takes no seed, or the author gave one: jobs with the same inputs look alike.

    A task instance may then take a sibling's job whose id never reached the sibling's record; the sibling buys another.
    The right to it moves with it: see :meth:`Histories.take`.
    """

    seed_is_ours = False

    def judge_the_end(self, ti: TaskInstance, due: list[FakeJob], error: ScenarioError | None) -> None:
        if not ti.succeeded:
            assert isinstance(error, ScenarioSubmissionError), f"{ti.name} ended with {error!r}"
            if not self.unprovable:
                alike = [job.id for job in self.scenario.jobs.values() if job.id in str(error)]
                assert alike, f"{ti.name} is stuck although nothing can be mistaken: {error}"


class InputsOnly(StoreOnly):
    """No seed of ours, and Airflow keeps no record."""

    has_store = False
    changes_are_seen = False

    @invariant()
    def no_job_belongs_to_two(self) -> None:
        """What was returned before a clear may be another's now: nothing tells whose it was."""
        held = [ti.returned[-1] for ti in getattr(self, "tasks", {}).values() if ti.succeeded]
        assert len(held) == len({*held}), f"two tasks return one job: {held}"

    def judge_return(self, ti: TaskInstance, job: FakeJob) -> None:
        super().judge_return(ti, job)
        if self.echo_as != "asset" and not job.lacks:
            assert job.inputs["prompt"] == ti.tried_prompt, "it was made of other inputs"


WORLDS = (SeedAndStore, SeedOnly, SeedAndClearedStore, StoreOnly, InputsOnly)

_SILENT = logging.getLogger("tests.submission.histories")
_SILENT.setLevel(logging.CRITICAL)


def play(
    world: type[Histories], histories: int, *, start: int | None = None, steps: int = 12, shrink: bool = True
) -> int:
    """Play random histories in a world. Return how many there were.

    :param world: The world.
    :param histories: How many to try.
    :param start: Where randomness starts; ``None`` for always the same histories.
    :param steps: The most steps a history has.
    :param shrink: Whether to look for the shortest history that fails, which takes minutes.
    :raises AssertionError: if one of them pays twice, loses what was paid for, or takes what is another's.
    """
    before = tried[world.__name__]
    chosen = settings(
        derandomize=start is None,
        max_examples=histories,
        stateful_step_count=steps,
        deadline=None,
        database=None,
        print_blob=False,
        phases=[Phase.generate, *([Phase.shrink] if shrink else [])],
        suppress_health_check=list(HealthCheck),
    )
    machine = world if start is None else seed(start)(type(world.__name__, (world,), {}))
    run_state_machine_as_test(machine, settings=chosen)
    return tried[world.__name__] - before


def _play(job: tuple[int, int, int, bool]) -> tuple[str, int, int]:
    number, histories, start, shrink = job
    world = WORLDS[number]
    before = untold[world.__name__]
    try:
        count = play(world, histories, start=start, shrink=shrink)
    except AssertionError as error:
        error.add_note(f"To play it again: play({world.__name__}, {histories}, start={start}).")
        raise
    return world.__name__, count, untold[world.__name__] - before


def main() -> int:
    """Play many histories on a few processes, and print how many were tried."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--histories", type=int, default=50_000, help="how many at least. Default: 50,000")
    parser.add_argument("--seed", type=int, default=1, help="where randomness starts. Default: 1")
    parser.add_argument("--processes", type=int, default=2, help="how many processes. Default: 2")
    parser.add_argument("--world", choices=[one.__name__ for one in WORLDS], help="only this world. Default: all")
    parser.add_argument("--no-shrink", action="store_true", help="show the first history that fails as it is")
    arguments = parser.parse_args()
    numbers_of = [n for n, one in enumerate(WORLDS) if arguments.world in (None, one.__name__)]
    batch = min(500, max(1, arguments.histories // len(numbers_of)))
    rounds = -(-arguments.histories // (batch * len(numbers_of)))
    jobs = [
        (number, batch, arguments.seed * 1_000_003 + a_round, not arguments.no_shrink)
        for a_round, number in itertools.product(range(rounds), numbers_of)
    ]
    started = time.monotonic()
    counted: collections.Counter[str] = collections.Counter()
    with concurrent.futures.ProcessPoolExecutor(arguments.processes) as pool:
        for world, count, of_others in pool.map(_play, jobs):
            counted[world] += count
            untold[world] += of_others
    each = ", ".join(f"{count:,} in {world}" for world, count in counted.items())
    seconds = f"{time.monotonic() - started:.0f} s"
    print(f"{counted.total():,} histories tried in {seconds} from seed {arguments.seed} ({each}): paid once in all.")
    others = ", ".join(f"{count:,} in {world}" for world, count in untold.items() if count)
    print(f"Jobs of another that were taken where nothing can tell whose they are: {others or 'none'}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())

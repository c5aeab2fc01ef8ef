"""Plays task instances that crash, retry and are cleared, against a Scenario that lies, and watches every payment.

The truth is kept beside the code under test: for each task instance, which of its paid jobs it still has a right to.
A task instance may buy if it has no such job. A job ceases to be one when

- it has ended in ``failure`` or ``canceled``, and another try than the one that bought it buys anew;
- it was landed, and the task cleared after that with ``on_clear="regenerate"``;
- a try began with other inputs than the try before it, with ``on_stale="resubmit"``.

How far Scenario and Airflow may lie here, and so what is promised:

- a job is listed at most 30 s after the POST that was cut off (25 s until it is accepted, 5 s of lag); the search
  gives it 40 s;
- a job is unknown at its own address for at most 20 s after its creation; 60 s are given;
- without a seed of ours, claims show every job that a sibling's record holds. In Airflow they are XComs, which a retry
  wipes for the seconds until it announces its job again;
- without a seed of ours, a twin made by somebody else in the same minutes can't be told from our own job. If both are
  seen, the purchase is refused; if our POST was not accepted, the twin is taken. Paying twice never follows from it.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from airflow_provider_scenario.api.job import JobStatus
from airflow_provider_scenario.api.model import LARGEST_SEED
from airflow_provider_scenario.exceptions import ScenarioError, ScenarioSubmissionError
from airflow_provider_scenario.submission.decision import OnClear, OnLostSubmission, OnStale, Request, Rules
from airflow_provider_scenario.submission.submitter import Purchase
from tests.lying_scenario import AMBIGUOUS, Clock, Crash, Line, LyingScenario, PaidJob, Steps, Store

CRASHES = [
    f"{when} {what}"
    for what in ("load", "saving intent", "POST", "saving job", "saving not accepted", "GET", "LIST", "saving landed")
    for when in ("before", "after")
]
ENDS = ["well", "refused connection", "429", "400", *AMBIGUOUS]
PROMPTS = ("a cat", "a dog")
TASKS = ("task[0]", "task[1]")

Fate = tuple[float | None, str, str]

crashes = st.sampled_from(CRASHES)
posts = st.lists(st.sampled_from(ENDS), max_size=3)
landing_crashes = st.sampled_from(["before saving landed", "after saving landed"])
pauses = st.sampled_from([0.0, 0.0, 1.0, 4.0, 15.0, 60.0, 400.0])
fates = st.tuples(
    st.none() | st.sampled_from([0.0, 1.0, 20.0, 90.0, 300.0]),
    st.sampled_from(["success", "success", "failure", "canceled"]),
    st.sampled_from(["pending", "queued", "in-progress", "finalizing", "brand-new-status"]),
)
tasks = st.sampled_from((*TASKS, TASKS[0]))
numbers = st.integers(0, 10)


@dataclass
class TaskInstance:
    """One task instance as Airflow sees it, and the truth of what it is entitled to."""

    name: str
    steps: Steps
    store: Store
    line: Line
    max_tries: int = 2
    tries: int = 0
    waits_for: str | None = None
    succeeded: bool = False
    prompt: str = PROMPTS[0]
    tried_prompt: str | None = None
    landed: list[str] = field(default_factory=list)
    bought_in_try: dict[str, int] = field(default_factory=dict)
    let_go: set[str] = field(default_factory=set)


class Buying(RuleBasedStateMachine):
    """What holds for all models. Subclasses say whether a seed of ours proves whose a job is."""

    seed_proves = True

    @initialize(
        on_lost=st.sampled_from(OnLostSubmission),
        on_stale=st.sampled_from(OnStale),
        on_clear=st.sampled_from(OnClear),
        clock_ahead=st.sampled_from([-90.0, 0.0, 90.0]),
        list_lag=st.sampled_from([0.0, 1.0, 5.0]),
        hidden_for=st.sampled_from([0.0, 3.0, 20.0]),
        page_size=st.sampled_from([1, 3, 100]),
        long_prompts=st.booleans(),
        author_gives_seed=st.booleans(),
    )
    def begin(
        self,
        on_lost: OnLostSubmission,
        on_stale: OnStale,
        on_clear: OnClear,
        clock_ahead: float,
        list_lag: float,
        hidden_for: float,
        page_size: int,
        long_prompts: bool,
        author_gives_seed: bool,
    ) -> None:
        self.rules = Rules(on_lost, on_stale, on_clear)
        self.clock = Clock()
        self.fate: Fate = (None, "success", "in-progress")
        self.long_prompts = long_prompts
        self.author_gives_seed = author_gives_seed and not self.seed_proves
        self.scenario = LyingScenario(
            self.clock,
            clock_ahead=clock_ahead,
            list_lag=list_lag,
            hidden_for=hidden_for,
            page_size=page_size,
            echo=self.echo,
            fate=lambda: self.fate,
            on_accepted=self.check_payment,
        )
        self.strangers = 0
        self.tasks = {name: self.new_task(name) for name in TASKS}

    def new_task(self, name: str) -> TaskInstance:
        steps = Steps()
        return TaskInstance(name, steps, Store(steps, self.clock), Line(self.scenario, name, steps))

    def echo(self, inputs: dict[str, Any]) -> dict[str, Any]:
        echoed = {name: float(value) if isinstance(value, int) else value for name, value in inputs.items()}
        server_seed = {} if self.seed_proves is False and not self.author_gives_seed else {"seed": 987654.0}
        prompt = {"prompt": "asset_of_the_prompt"} if self.long_prompts else {}
        return {**server_seed, "guidanceScale": 5, **echoed, **prompt}

    def request(self, prompt: str) -> Request:
        inputs: dict[str, Any] = {"prompt": prompt, "numFrames": 81, "strength": 0.5}
        if self.author_gives_seed:
            inputs["seed"] = 42
        return Request(
            "model_1",
            inputs,
            scope="https://api",
            largest_seed=LARGEST_SEED if self.seed_proves or self.author_gives_seed else 0,
        )

    # The truth.

    def entitled_to(self, task: TaskInstance) -> list[PaidJob]:
        """Return the jobs that the task instance has paid for and that still are its current take."""
        now = self.clock.now
        return [
            job
            for job in self.scenario.paid_by(task.name)
            if job.id not in task.let_go and not (job.ended_badly(now) and task.bought_in_try.get(job.id) != task.tries)
        ]

    def check_payment(self, job: PaidJob) -> None:
        task = self.tasks.get(job.payer)
        if task is None:
            return
        self.scenario.jobs.remove(job)
        held = self.entitled_to(task)
        self.scenario.jobs.append(job)
        task.bought_in_try[job.id] = task.tries
        self.judge(task, held)

    def judge(self, task: TaskInstance, held: list[PaidJob]) -> None:
        assert not held, f"{task.name} pays again although it has {held}"

    # What people and time do.

    @rule(task=tasks, pause=pauses, fate=fates)
    def go_on(self, task: str, pause: float, fate: Fate) -> None:
        self.step(self.tasks[task], pause, None, [], fate)

    @rule(task=tasks, pause=pauses, crash=crashes, posts=posts, fate=fates)
    def go_on_and_crash(self, task: str, pause: float, crash: str, posts: list[str], fate: Fate) -> None:
        self.step(self.tasks[task], pause, crash, posts, fate)

    @rule(task=tasks, pause=pauses, posts=posts, fate=fates)
    def go_on_with_broken_posts(self, task: str, pause: float, posts: list[str], fate: Fate) -> None:
        self.step(self.tasks[task], pause, None, posts, fate)

    @rule(task=tasks, pause=pauses, crash=landing_crashes)
    def go_on_and_crash_while_landing(self, task: str, pause: float, crash: str) -> None:
        self.step(self.tasks[task], pause, crash, [], (0.0, "success", "queued"))

    @rule(task=tasks, pause=pauses, posts=posts, fate=fates)
    def clear(self, task: str, pause: float, posts: list[str], fate: Fate) -> None:
        if self.tasks[task].tries:
            self.clear_only(self.tasks[task])
            self.step(self.tasks[task], pause, None, posts, fate)

    def step(self, ti: TaskInstance, pause: float, crash: str | None, posts: list[str], fate: Fate) -> None:
        """The next try begins; or the trigger looks at the job that is waited for."""
        self.clock.now += pause
        if ti.waits_for is not None:
            self.look(ti, ti.waits_for, crash)
        elif not ti.succeeded:
            self.run(ti, crash, posts, fate)

    @rule(task=tasks)
    def the_triggerer_loses_it(self, task: str) -> None:
        """The wait fails: the task's next try comes as a retry."""
        self.tasks[task].waits_for = None

    @rule(task=tasks)
    def the_dag_changes(self, task: str) -> None:
        """The next try has other inputs."""
        ti = self.tasks[task]
        ti.prompt = PROMPTS[1 - PROMPTS.index(ti.prompt)]

    @precondition(lambda self: any(job.ends_at is None for job in self.scenario.jobs))
    @rule(number=numbers, outcome=st.sampled_from(["success", "failure", "canceled"]))
    def a_job_ends(self, number: int, outcome: str) -> None:
        running = [job for job in self.scenario.jobs if job.ends_at is None]
        job = running[number % len(running)]
        job.outcome, job.ends_at = outcome, max(self.clock.now, job.created_at)

    @precondition(lambda self: self.scenario.jobs)
    @rule(number=numbers)
    def a_job_moves_in_the_list(self, number: int) -> None:
        job = self.scenario.jobs[number % len(self.scenario.jobs)]
        job.touched_at = self.clock.now

    @rule(prompt=st.sampled_from(PROMPTS), model=st.sampled_from(["model_1", "model_1", "model_2"]), fate=fates)
    def a_stranger_buys(self, prompt: str, model: str, fate: Fate) -> None:
        self.fate = fate
        self.strangers += 1
        inputs = dict(self.request(prompt).inputs)
        if self.seed_proves:
            inputs["seed"] = self.strangers
        self.scenario.accept("stranger", model, inputs)

    # One try of a task, as the operator makes it.

    def run(self, ti: TaskInstance, crash: str | None, posts: list[str], fate: Fate) -> ScenarioError | None:
        ti.tries += 1
        self.fate = fate
        if ti.tried_prompt not in (None, ti.prompt) and self.rules.on_stale is OnStale.RESUBMIT:
            ti.let_go.update(job.id for job in self.scenario.paid_by(ti.name))
        ti.tried_prompt = ti.prompt
        ti.line.replies = list(posts)
        ti.steps.revive()
        ti.steps.die_when = crash
        purchase = Purchase(
            ti.line,
            ti.store,
            self.rules,
            claimed=lambda: self.claims_of_others(ti),
            clock=self.clock,
            sleep=self.clock.sleep,
        )
        try:
            bought = purchase.settle(self.request(ti.prompt), max_tries=ti.max_tries)
        except Crash:
            return None
        except ScenarioError as error:
            return error
        finally:
            ti.steps.revive()
        self.look(ti, bought.job.id, crash, bought.job.status)
        return None

    def look(self, ti: TaskInstance, job_id: str, crash: str | None, status: JobStatus | None = None) -> None:
        """Defer if the job runs, fail if it has ended badly, else land it: save that, and hand on the result."""
        now = self.clock.now
        if status is None:
            status = JobStatus(self.scenario.job(job_id).status(now))
        if not status.is_finished:
            ti.waits_for = job_id
            return
        ti.waits_for = None
        if status is not JobStatus.SUCCESS:
            return
        ti.steps.revive()
        ti.steps.die_when = crash
        try:
            record = ti.store.load()
            assert record is not None
            assert record.job_id == job_id
            if not record.landed:
                ti.store.save(dataclasses.replace(record, landed=True))
        except Crash:
            return
        finally:
            ti.steps.revive()
        self.judge_the_landing(ti, self.scenario.job(job_id))
        ti.landed.append(job_id)
        ti.succeeded = True

    def clear_only(self, ti: TaskInstance) -> None:
        record = ti.store.record
        if record is not None and record.landed and self.rules.on_clear is OnClear.REGENERATE:
            ti.let_go.add(record.job_id or "")
        ti.max_tries += 3
        ti.succeeded, ti.waits_for = False, None

    def claims_of_others(self, ti: TaskInstance) -> list[str]:
        others = (other.store.record for other in self.tasks.values() if other is not ti)
        return [record.job_id for record in others if record is not None and record.job_id is not None]

    # What always holds.

    @invariant()
    def no_job_belongs_to_two(self) -> None:
        holders: dict[str, str] = {}
        for name, ti in getattr(self, "tasks", {}).items():
            record = ti.store.record
            for job_id in {*ti.landed, *([record.job_id] if record and record.job_id else [])}:
                assert holders.setdefault(job_id, name) == name, f"{job_id} is {holders[job_id]}'s and {name}'s"

    def judge_the_landing(self, ti: TaskInstance, job: PaidJob) -> None:
        assert job.status(self.clock.now) == "success"
        assert job.model_id == "model_1"
        if self.seed_proves:
            assert job.payer == ti.name
            assert job.inputs["prompt"] == ti.tried_prompt, "it was made of inputs that were changed since"

    def teardown(self) -> None:
        """Let tries go on without trouble: whoever paid gets what was paid for."""
        if not hasattr(self, "tasks"):
            return
        for ti in self.tasks.values():
            if ti.tries:
                self.finish(ti)

    def finish(self, ti: TaskInstance) -> None:
        due = [job for job in self.entitled_to(ti) if not job.ended_badly(self.clock.now)]
        cleared = False
        for _ in range(12):
            if ti.succeeded:
                break
            self.clock.now += 60.0
            for job in self.scenario.jobs:
                if job.ends_at is None:
                    job.outcome, job.ends_at = "success", max(job.created_at, self.clock.now)
            if ti.waits_for is not None:
                self.look(ti, ti.waits_for, None)
                continue
            record = ti.store.record
            if record is not None and self.rules.on_stale is OnStale.FAIL:
                ti.prompt = next(one for one in PROMPTS if self.request(one).fingerprint == record.fingerprint)
            error = self.run(ti, None, [], (30.0, "success", "queued"))
            if isinstance(error, ScenarioSubmissionError) and not cleared:
                cleared = True  # As its message says, with on_lost_submission="fail".
                self.clear_only(ti)
        self.judge_the_end(ti, due)

    def judge_the_end(self, ti: TaskInstance, due: list[PaidJob]) -> None:
        assert ti.succeeded, f"{ti.name} never came to its end"
        still_due = [job.id for job in due if job.id not in ti.let_go and job.outcome == "success"]
        if still_due:
            assert ti.landed[-1] in still_due, f"{ti.name} landed {ti.landed[-1]}, but had paid for {still_due}"


class BuyingWithProof(Buying):
    """The model takes a seed, and the author gave none."""


class BuyingWithoutProof(Buying):
    """The model takes no seed, or the author gave one: jobs with the same inputs look alike.

    A task instance may then take a sibling's job whose id never reached the sibling's record; the sibling buys another.
    So payments are counted over all siblings with the same inputs: never more than those of them that ever sent one.
    """

    seed_proves = False

    def judge(self, task: TaskInstance, held: list[PaidJob]) -> None:
        buyers = [ti for ti in self.tasks.values() if ti.line.bodies]
        held = [job for ti in self.tasks.values() for job in self.entitled_to(ti)]
        bought_before = len(held) - 1
        assert bought_before < len(buyers), f"{len(buyers)} tasks pay again although they have {held}"

    def judge_the_end(self, ti: TaskInstance, due: list[PaidJob]) -> None:
        if not ti.succeeded and not self.strangers:
            looks_like_it = [job for job in self.scenario.jobs if job.id not in self.claims_of_others(ti)]
            assert len(looks_like_it) > 1, f"{ti.name} is stuck although nothing can be mistaken"


TestBuyingWithProof = BuyingWithProof.TestCase
TestBuyingWithoutProof = BuyingWithoutProof.TestCase
TestBuyingWithProof.settings = TestBuyingWithoutProof.settings = settings(
    derandomize=True,
    max_examples=200,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)

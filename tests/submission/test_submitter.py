"""One purchase from its beginning to its end: paid once, whatever breaks between the worker and Scenario."""

from __future__ import annotations

import datetime
import itertools
import json
import logging
import math
import unicodedata
from collections.abc import Callable, Collection, Iterable
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_scenario.api import calls
from airflow_provider_scenario.api.model import LARGEST_SEED
from airflow_provider_scenario.api.response import Response
from airflow_provider_scenario.exceptions import (
    ScenarioConnectionError,
    ScenarioError,
    ScenarioPermanentError,
    ScenarioRateLimitError,
    ScenarioServerError,
    ScenarioSubmissionError,
    ScenarioTransientError,
)
from airflow_provider_scenario.submission.decision import (
    OnChangedInputs,
    OnClear,
    OnLostSubmission,
    SubmissionPolicy,
    SubmittedJob,
)
from airflow_provider_scenario.submission.job_reader import RETRY_SECONDS, SearchDeferred
from airflow_provider_scenario.submission.purchase import MAX_SUBMISSIONS
from airflow_provider_scenario.submission.record import Intent, NotAccepted, Record, Submitted, Wanted, all_jobs
from airflow_provider_scenario.submission.recovery import LIST_LAG_SECONDS, MAX_INTENT_AGE
from airflow_provider_scenario.submission.seed import TaskKey
from airflow_provider_scenario.submission.submitter import Submitter
from tests.fake_scenario import FakeJob, FakeScenario, Fault, Moment
from tests.submission.worker import (
    GATEWAYS,
    REFUSALS,
    SENT_TWICE,
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

PROMPT = 'a "grey" cat in a café, asleep'
INPUTS = {"prompt": PROMPT, "strength": 0.5, "numFrames": 81}
MODELS = pytest.mark.parametrize("largest_seed", [LARGEST_SEED, 0], ids=["with a seed", "without a seed"])
STORES = pytest.mark.parametrize("has_store", [True, False], ids=["with a store", "without a store"])
DEFERS = pytest.mark.parametrize("may_defer", [True, False], ids=["deferred", "in one process"])


class Worker:
    """One task instance over its tries, with a Scenario of its own unless told otherwise."""

    def __init__(
        self,
        *,
        scenario: FakeScenario[Clock] | None = None,
        task: str = "generate",
        largest_seed: int = LARGEST_SEED,
        has_store: bool = True,
        ends: Iterable[str | End] = (),
        faults: Iterable[int] = (),
        inputs: dict[str, Any] | None = None,
        policy: SubmissionPolicy | None = None,
        defers: bool = False,
        may_defer: bool = False,
    ) -> None:
        self.defers = defers
        self.may_defer = may_defer
        self.deferrals: list[SearchDeferred] = []
        self.resumed_as: str | None = None
        self.account = "connection a"
        self.scenario = scenario or FakeScenario(Clock())
        self.scenario.largest_seed = largest_seed
        self.clock = self.scenario.clock
        self.task = task
        self.largest_seed = largest_seed
        self.has_store = has_store
        self.inputs = dict(INPUTS) if inputs is None else inputs
        self.policy = policy or SubmissionPolicy()
        self.ahead: tuple[float, ...] = (0.0,)
        self.memory = Memory()
        self.others: Callable[[], Collection[str]] = tuple
        self.log = logging.getLogger("tests.submission")
        self.tries, self.max_tries, self.was_cleared = 0, 2, False
        self.waits_for_capacity = 1.0
        self.run_started_at = START - 60.0
        self.steps = Steps()
        self.client = FaultyClient(
            self.scenario, task, self.steps, [End(one) if isinstance(one, str) else one for one in ends]
        )
        self.client.faults = list(faults)

    def go(self) -> SubmittedJob:
        """Make one try."""
        self.tries += 1
        self.steps.taken = []
        submitter, wanted = self._process(self.resumed_as), Wanted("model_1", self.inputs)
        for _ in range(40):
            try:
                found = submitter.rejoin_or_order(wanted)
                if isinstance(found, SubmittedJob):
                    return found
                bought = submitter.buy(found, wanted, "model_1", self.inputs, largest_seed=self.largest_seed)
            except SearchDeferred as search:
                self.deferrals.append(search)
                self.clock.sleep(search.seconds)
                submitter = self._process(search.search)
                continue
            except ScenarioRateLimitError:
                if not self.client.ends:
                    raise
                if (bought := submitter.job_despite_refusal(wanted)) is not None:
                    return bought
                self.clock.sleep(self.waits_for_capacity)  # As a task does that waits for capacity.
                submitter = self._process() if self.defers else submitter
                continue
            if bought is not None:
                return bought
        raise AssertionError("it neither buys nor fails")

    def _process(self, searched: str | None = None) -> Submitter:
        """One of the processes of a try."""
        if not self.has_store:
            self.memory.text = None
        store = Store(self.steps, self.memory, lambda: self.others(), is_durable=self.has_store)
        key = TaskKey(
            "dag", "run", self.task, "", self.run_started_at, self.tries, self.max_tries, self.was_cleared, START - 60.0
        )
        return Submitter(
            self.client,
            store,
            key,
            self.policy,
            account=self.account,
            searched=searched,
            may_defer=self.may_defer,
            log=self.log,
            clock=WorkerClock(self.clock, self.ahead),
            monotonic=self.clock,
            sleep=self.clock.sleep,
        )

    def clear(self) -> None:
        self.max_tries = self.tries + 2
        self.was_cleared = True

    def dies(self, when: str) -> None:
        self.steps.die_when = (when, 1)
        with pytest.raises(Crash):
            self.go()
        self.steps.die_when = None

    @property
    def paid(self) -> list[str]:
        return [job.id for job in self.scenario.paid_by(self.task)]

    @property
    def record(self) -> Record:
        assert self.memory.record is not None
        return self.memory.record

    @property
    def searched(self) -> bool:
        return "after LIST" in self.steps.taken


def loosely(inputs: dict[str, Any]) -> dict[str, Any]:
    """Echo whole numbers as floats, and what nobody gave."""
    echoed = {name: float(value) if isinstance(value, int) else value for name, value in inputs.items()}
    return {"seed": 1234.0, "guidanceScale": 5, **echoed}


# In which order


def test_the_intent_is_stored_before_the_post_and_the_job_after_it() -> None:
    worker = Worker()
    bought = worker.go()
    order = [step for step in worker.steps.taken if "saving" in step or "POST" in step]
    assert order == [
        f"{when} {what}" for what in ("saving intent", "POST", "saving job") for when in ("before", "after")
    ]
    assert isinstance(worker.record, Submitted)
    assert worker.paid == [bought.job.id] == [worker.record.job_id]
    assert worker.client.bodies == [{**INPUTS, "seed": worker.record.seed}]


def test_a_retry_reads_the_job_and_nothing_else() -> None:
    worker = Worker()
    worker.go()
    again = worker.go()
    assert worker.steps.taken == ["before load", "after load", "before GET", "after GET"]
    assert [again.job.id] == worker.paid


def test_the_log_names_the_job_and_not_the_prompt(caplog: pytest.LogCaptureFixture) -> None:
    for worker in (Worker(ends=["dropped"]), Worker(ends=["dropped"], largest_seed=0, has_store=False)):
        with caplog.at_level(logging.DEBUG):
            job_id = worker.go().job.id
            worker.go()
        assert job_id in caplog.text
        assert "grey" not in caplog.text
        assert PROMPT not in repr(worker.memory.record)
        caplog.clear()


# What the end of a POST means


@MODELS
@STORES
@pytest.mark.parametrize(
    ("end", "accepted"),
    [
        *[(end, accepted) for end in ("dropped", "timed out", "own 500", "empty 502") for accepted in (True, False)],
        ("cut", True),
        ("without a job", True),
        ("html 403", True),
        ("html 403", False),
    ],
)
def test_a_lost_reply_is_searched_for_before_anything_is_sent_again(
    end: str, accepted: bool, has_store: bool, largest_seed: int
) -> None:
    lies = fake_scenario(list_lag=40.0, hidden_for=20.0, echo=loosely, page_size=1, clock_ahead=600.0)
    ends = [End(end, 0.0 if accepted else None)]
    worker = Worker(scenario=lies, ends=ends, has_store=has_store, largest_seed=largest_seed)
    bought = worker.go()
    assert worker.searched
    assert worker.paid == [bought.job.id]
    assert len(worker.client.bodies) == (1 if accepted else 2)


@MODELS
def test_a_lost_reply_is_not_looked_for_by_another_connection(largest_seed: int) -> None:
    """Another account does not show the job: it would be bought there once more."""
    worker = Worker(largest_seed=largest_seed)
    worker.dies("after POST")
    worker.account = "connection b"
    shown, worker.scenario.jobs = worker.scenario.jobs, {}
    with pytest.raises(ScenarioSubmissionError, match="looked for by connection b"):
        worker.go()
    worker.scenario.jobs = shown
    worker.account = "connection a"
    assert worker.paid == [worker.go().job.id]


def test_a_lost_reply_is_found_by_an_account_in_other_words() -> None:
    """As of a host that is spelt otherwise, or a project that is named now: our seed proves that it is the same."""
    worker = Worker()
    worker.dies("after POST")
    worker.account = "connection a, project project_1"
    assert worker.paid == [worker.go().job.id]


@pytest.mark.parametrize("end", [*REFUSALS, "refused connection"])
def test_a_refusal_is_bought_by_the_next_try_after_one_look(end: str) -> None:
    worker = Worker(ends=[end])
    with pytest.raises(ScenarioError):
        worker.go()
    assert isinstance(worker.record, NotAccepted)
    assert worker.paid == []
    began, bought = worker.clock.now, worker.go()
    assert worker.clock.now - began < 1.0, "it waits for nothing"
    assert worker.steps.taken.count("after LIST") == 1
    assert worker.paid == [bought.job.id]


@pytest.mark.parametrize("status", [status for status in GATEWAYS if status != "200"])
def test_a_gateways_answer_is_no_refusal(status: str) -> None:
    worker = Worker(ends=[f"html {status}"])
    worker.go()
    assert worker.searched
    assert len(worker.paid) == 1


@STORES
def test_refusals_for_want_of_a_slot_are_no_submissions(has_store: bool) -> None:
    """A worker that waits for a slot asks again in the same try, and a lost reply follows."""
    worker = Worker(ends=["429", "429 cooldown", "429", "429", "dropped"], has_store=has_store)
    assert [worker.go().job.id] == worker.paid


@MODELS
@STORES
@pytest.mark.parametrize("defers", [True, False])
@pytest.mark.parametrize("end", ["twice 429", "twice 429 cooldown"])
def test_a_gateway_sends_a_post_twice_and_the_second_finds_no_slot(
    has_store: bool, largest_seed: int, end: str, defers: bool
) -> None:
    """On a plan of one job at once the first one's job is why: waiting for its slot must not buy another."""
    worker = Worker(ends=[end, "well"], has_store=has_store, largest_seed=largest_seed, defers=defers)
    assert [worker.go().job.id] == worker.paid


@MODELS
@STORES
@pytest.mark.parametrize("end", SENT_TWICE)
def test_a_gateway_sends_a_post_twice_and_the_second_ends_the_try(has_store: bool, largest_seed: int, end: str) -> None:
    worker = Worker(ends=[end], has_store=has_store, largest_seed=largest_seed)
    with pytest.raises(ScenarioError):
        worker.go()
    assert [worker.go().job.id] == worker.paid


@MODELS
def test_a_post_that_was_not_sent_hides_none_before_it_that_was_sent_twice(largest_seed: int) -> None:
    scenario = fake_scenario(list_lag=20.0)
    worker = Worker(scenario=scenario, largest_seed=largest_seed, ends=["twice 429", "refused connection"])
    worker.waits_for_capacity = 15.0
    with pytest.raises(ScenarioConnectionError):
        worker.go()
    worker.clock.sleep(10.0)
    assert [worker.go().job.id] == worker.paid


@STORES
def test_a_task_takes_no_siblings_job_for_a_post_that_was_sent_twice(has_store: bool) -> None:
    """Both ask for the same without a seed, and the plan's last slot went to the sibling, who tells its job soon."""
    scenario = fake_scenario(list_lag=0.0 if not has_store else 10.0)
    sibling = Worker(scenario=scenario, task="sibling", largest_seed=0)
    theirs = sibling.go().job.id
    told_at = scenario.clock() + 2.0
    worker = Worker(scenario=scenario, largest_seed=0, ends=["429", "well"], has_store=has_store, defers=True)
    worker.waits_for_capacity = 15.0
    worker.others = lambda: (theirs,) if scenario.clock() >= told_at else ()
    assert worker.go().job.id != theirs
    assert (len(worker.paid), len(sibling.paid)) == (1, 1)


def test_a_job_that_only_looks_like_its_own_is_not_kept_from_a_sibling_by_a_task_that_wants_another() -> None:
    """Both lost a reply and asked for the same; one of the two was never accepted, and wants something else now."""
    scenario = fake_scenario()
    worker = Worker(scenario=scenario, largest_seed=0, inputs={**INPUTS, "seed": 42})
    sibling = Worker(scenario=scenario, task="sibling", largest_seed=0, inputs={**INPUTS, "seed": 42})
    sibling.others = lambda: set(all_jobs(worker.record)) - set(worker.record.unproven_jobs)
    worker.dies("before POST")
    sibling.dies("after POST")
    worker.inputs = {**worker.inputs, "prompt": "two dogs run on a beach"}
    assert worker.go().job.id == "job_2"
    assert sibling.go().job.id == "job_1"
    assert (worker.paid, sibling.paid) == (["job_2"], ["job_1"])


def test_a_siblings_job_that_looks_like_a_refused_one_is_not_kept_from_it_by_a_task_that_wants_another() -> None:
    scenario = fake_scenario(list_lag=10.0)
    inputs = {**INPUTS, "seed": 42}
    sibling = Worker(scenario=scenario, task="sibling", largest_seed=0, inputs=inputs)
    worker = Worker(scenario=scenario, largest_seed=0, inputs=inputs, ends=["429"])
    sibling.others = lambda: set(all_jobs(worker.record)) - set(worker.record.unproven_jobs)
    sibling.dies("after POST")
    with pytest.raises(ScenarioError):
        worker.go()
    scenario.clock.sleep(20.0)
    worker.inputs = {**worker.inputs, "prompt": "two dogs run on a beach"}
    assert worker.go().job.id == "job_2"
    assert sibling.go().job.id == "job_1"


@pytest.mark.parametrize("has_ended_badly", [False, True])
def test_the_lost_job_of_other_inputs_stays_in_the_record(has_ended_badly: bool) -> None:
    worker = Worker(largest_seed=0, inputs={**INPUTS, "seed": 42})
    failed, running = (0.0, "failure", "queued"), (60.0, "success", "queued")
    endings = iter([failed if has_ended_badly else running, failed])
    worker.scenario.ending = lambda: next(endings, running)
    worker.dies("after POST")
    worker.inputs = {**worker.inputs, "prompt": "two dogs run on a beach"}
    unproven = () if has_ended_badly else ("job_1",)
    for jobs in (("job_1", "job_2"), ("job_1", "job_2", "job_3")):
        record = worker.go().record
        assert (all_jobs(record), record.unproven_jobs) == (jobs, unproven), "a report of costs counts all of them"


def test_a_job_that_a_person_writes_into_the_record_is_surely_the_tasks() -> None:
    worker = Worker(largest_seed=0, inputs={**INPUTS, "seed": 42})
    worker.dies("after POST")
    worker.inputs = {**worker.inputs, "prompt": "two dogs run on a beach"}
    worker.dies("before POST")
    worker.memory.text = json.dumps({**json.loads(worker.memory.text), "state": "submitted", "job_id": "job_1"})
    record = worker.go().record
    assert (all_jobs(record), record.unproven_jobs) == (("job_1",), ())


def test_a_task_takes_no_job_that_another_run_bought_after_it_was_refused() -> None:
    """The slot went to a run that asks for the same and that the task knows nothing of."""
    scenario = fake_scenario()
    other = Worker(scenario=scenario, task="another run's", largest_seed=0)
    worker = Worker(scenario=scenario, largest_seed=0, ends=["429", "well"])
    clock = scenario.clock

    class Busy(Steps):
        def __call__(self, name: str) -> None:
            super().__call__(name)
            if name == "after saving not accepted":
                clock.sleep(8.0)
                other.go()

    worker.steps = worker.client.steps = Busy()
    worker.waits_for_capacity = 15.0
    assert [worker.go().job.id] == worker.paid
    assert len(other.paid) == 1


@STORES
def test_a_wait_for_capacity_of_minutes_looks_again_and_then_buys_once(has_store: bool) -> None:
    """It is longer than what a worker without a store may leave between its last look and its POST."""
    worker = Worker(ends=[*["429"] * 20, "dropped"], has_store=has_store)
    worker.waits_for_capacity = 15.0
    assert [worker.go().job.id] == worker.paid


@MODELS
@STORES
@DEFERS
def test_a_third_ambiguous_post_ends_the_try_and_its_job_is_found_by_the_next(
    has_store: bool, largest_seed: int, may_defer: bool
) -> None:
    ends = [*[End("empty 502", None)] * (MAX_SUBMISSIONS - 1), End("empty 502", 0.0)]
    worker = Worker(ends=ends, has_store=has_store, largest_seed=largest_seed, may_defer=may_defer)
    with pytest.raises(ScenarioTransientError, match="It is not known whether Scenario accepted") as caught:
        worker.go()
    assert type(caught.value) is ScenarioTransientError, "an outage or a rate limit would be tried again in this try"
    assert len(worker.client.bodies) == MAX_SUBMISSIONS == 3
    assert [worker.go().job.id] == worker.paid
    assert len(worker.client.bodies) == MAX_SUBMISSIONS == 3


@MODELS
@DEFERS
def test_a_job_found_to_have_failed_is_this_trys_failure_and_the_next_try_buys_again(
    largest_seed: int, may_defer: bool
) -> None:
    worker = Worker(ends=[End("dropped", 60.0)], largest_seed=largest_seed, may_defer=may_defer)
    worker.scenario.ending = lambda: (0.0, "failure", "queued")
    assert worker.go().job.has_ended_badly
    assert worker.paid == ["job_1"]
    assert worker.go().record.earlier_jobs == ("job_1",)
    assert worker.paid == ["job_1", "job_2"]


@DEFERS
def test_a_lost_submission_is_not_repeated_if_the_author_forbids_it_until_a_clear(may_defer: bool) -> None:
    policy = SubmissionPolicy(on_lost_submission=OnLostSubmission.FAIL)
    worker = Worker(ends=[End("dropped", None)], policy=policy, may_defer=may_defer)
    for _ in range(2):
        with pytest.raises(ScenarioSubmissionError, match="Clear the task to buy it"):
            worker.go()
    assert worker.paid == []
    worker.clear()
    assert [worker.go().job.id] == worker.paid


# A worker that dies


@MODELS
@STORES
@pytest.mark.parametrize("when", ["saving intent", "POST", "saving job"])
@pytest.mark.parametrize("side", ["before", "after"])
@pytest.mark.parametrize(("list_lag", "ahead"), [(0.0, 0.0), (120.0, -600.0), (41.0, 600.0)])
def test_who_dies_at_any_step_pays_once(
    when: str, side: str, list_lag: float, ahead: float, has_store: bool, largest_seed: int
) -> None:
    lies = fake_scenario(list_lag=list_lag, clock_ahead=-ahead, echo=loosely)
    worker = Worker(scenario=lies, has_store=has_store, largest_seed=largest_seed)
    worker.dies(f"{side} {when}")
    worker.ahead = (ahead, 0.0)
    worker.clock.sleep(5.0)
    bought = worker.go()
    assert worker.paid == [bought.job.id]


def test_a_post_that_is_accepted_late_and_listed_late_is_found() -> None:
    for late in (25.0, 30.0, 42.0):
        lies = fake_scenario(list_lag=120.0)
        worker = Worker(scenario=lies, ends=[End("dropped", late)], largest_seed=0)
        assert [worker.go().job.id] == worker.paid


def test_a_frozen_worker_does_not_pay_after_its_retry_has() -> None:
    """SIGSTOP between the intent and the POST; Airflow takes it for dead."""
    frozen = Worker()
    retry = Worker(scenario=frozen.scenario)
    retry.memory = frozen.memory
    retry.tries = 1

    def meanwhile() -> None:
        frozen.clock.sleep(400.0)
        retry.go()

    frozen.steps = frozen.client.steps = Steps(meanwhile)
    frozen.steps.freeze_when = ("after saving intent", 1)
    assert frozen.go().job.id == "job_1"
    assert frozen.paid == ["job_1"]


def test_a_worker_that_was_frozen_in_its_search_does_not_write_over_what_its_retry_bought() -> None:
    frozen = Worker(ends=[End("dropped", 1.0)])
    retry = Worker(scenario=frozen.scenario)
    retry.memory = frozen.memory
    retry.tries = 1

    def meanwhile() -> None:
        frozen.clock.sleep(30.0)
        retry.go()  # The lost job has failed: it buys another.

    frozen.scenario.ending = lambda: (20.0, "failure", "queued")
    frozen.steps = frozen.client.steps = Steps(meanwhile)
    frozen.steps.freeze_when = ("after LIST", 1)
    frozen.go()
    assert isinstance(retry.record, Submitted)
    assert retry.record.job_id == "job_2"


def retry_whose_job_it_hides(frozen: Worker) -> Worker:
    """Return the retry that bought two jobs while a worker was frozen, whose late intent hides the second."""
    retry = Worker(scenario=frozen.scenario, policy=frozen.policy)
    retry.max_tries, retry.memory, retry.tries = frozen.max_tries, frozen.memory, 1
    endings = iter([(0.0, "failure", "queued")])
    frozen.scenario.ending = lambda: next(endings, (0.0, "success", "queued"))

    def meanwhile() -> None:
        retry.go()
        frozen.clock.sleep(30.0)
        assert retry.go().job.id == "job_2"

    frozen.steps = frozen.client.steps = Steps(meanwhile)
    frozen.steps.freeze_when = ("before saving intent", 1)
    frozen.dies("after LIST")
    return retry


@pytest.mark.parametrize("run_had_ended", [True, False])
@pytest.mark.parametrize("on_clear", [None, *OnClear])
def test_a_job_that_a_frozen_worker_hid_is_found_after_a_clear(on_clear: OnClear | None, run_had_ended: bool) -> None:
    """Nobody knows whether it was returned. The clear of an ended run sets the run's start anew.

    Then only the record knows the start by which the hidden job's seed is proven.
    """
    frozen = Worker(policy=SubmissionPolicy(on_clear=on_clear))
    retry = retry_whose_job_it_hides(frozen)
    retry.clear()
    retry.run_started_at = retry.clock.now if run_had_ended else retry.run_started_at
    twin = TaskKey("dag", "run", retry.task, "", START - 77.0, 1, 2, was_cleared=False)
    retry.scenario.accept("twin", "model_1", {**INPUTS, "seed": twin.seed(2, LARGEST_SEED)})
    assert retry.go().job.id == "job_2"
    assert retry.paid == ["job_1", "job_2"]


@pytest.mark.parametrize("run_had_ended", [True, False])
@pytest.mark.parametrize(("before", "now"), [(4, 1), (5, 1), (4, 0)])
def test_a_hidden_job_is_found_after_a_clear_with_fewer_retries(before: int, now: int, run_had_ended: bool) -> None:
    """Airflow's count is then what it was, or lower: only the record knows the one by which the seed is proven."""
    frozen = Worker()
    frozen.max_tries = before
    retry = retry_whose_job_it_hides(frozen)
    retry.max_tries, retry.was_cleared = retry.tries + now, True
    retry.run_started_at = retry.clock.now if run_had_ended else retry.run_started_at
    assert retry.go().job.id == "job_2"
    assert retry.paid == ["job_1", "job_2"]


@pytest.mark.parametrize("twins_generation", [1, 2])
@pytest.mark.parametrize("run_had_ended", [True, False])
def test_an_intent_of_before_a_clear_hides_no_job_of_since(run_had_ended: bool, twins_generation: int) -> None:
    """A worker that was frozen over the clear writes its intent over the record of the cleared try, and dies."""
    frozen = Worker()
    cleared = Worker(scenario=frozen.scenario)
    cleared.memory = frozen.memory
    cleared.tries = 1

    def meanwhile() -> None:
        cleared.clear()
        cleared.run_started_at = cleared.clock.now if run_had_ended else cleared.run_started_at
        assert cleared.go().job.id == "job_1"
        frozen.clock.sleep(30.0)

    frozen.steps = frozen.client.steps = Steps(meanwhile)
    frozen.steps.freeze_when = ("before saving intent", 1)
    frozen.dies("after saving intent")
    # The twelve bits of a twin's may agree by chance with those of before the clear.
    twin = TaskKey("dag", "run", cleared.task, "", cleared.run_started_at, 1, 1, was_cleared=False)
    cleared.scenario.accept("twin", "model_1", {**INPUTS, "seed": twin.seed(twins_generation, LARGEST_SEED)})
    assert cleared.go().job.id == "job_1"
    assert cleared.paid == ["job_1"]


@pytest.mark.parametrize("run_had_ended", [True, False])
def test_a_hidden_job_of_the_first_clear_is_found_after_the_second(run_had_ended: bool) -> None:
    """The frozen worker writes its own failed job over the record, so that the record knows the count before both."""
    policy = SubmissionPolicy(on_clear=OnClear.REUSE)
    frozen = Worker(policy=policy)
    cleared = Worker(scenario=frozen.scenario, policy=policy)
    cleared.memory = frozen.memory
    cleared.tries = 1
    endings = iter([(0.0, "failure", "queued")])
    frozen.scenario.ending = lambda: next(endings, (0.0, "success", "queued"))

    def meanwhile() -> None:
        frozen.clock.sleep(400.0)
        cleared.clear()
        assert cleared.go().job.id == "job_2"

    frozen.steps = frozen.client.steps = Steps(meanwhile)
    frozen.steps.freeze_when = ("before saving job", 1)
    frozen.go()
    cleared.clear()
    cleared.run_started_at = cleared.clock.now if run_had_ended else cleared.run_started_at
    assert cleared.go().job.id == "job_2"
    assert cleared.paid == ["job_1", "job_2"]


@pytest.mark.parametrize("is_cleared", [True, False])
def test_a_late_word_of_nothing_accepted_hides_no_job(is_cleared: bool) -> None:
    """A worker whose POST was not sent is frozen before it writes so, and a retry buys meanwhile."""
    frozen = Worker(ends=["refused connection"])
    retry = Worker(scenario=frozen.scenario)
    retry.memory = frozen.memory
    retry.tries = 1

    def meanwhile() -> None:
        frozen.clock.sleep(400.0)
        if is_cleared:
            retry.clear()
        assert retry.go().job.id == "job_1"

    frozen.steps = frozen.client.steps = Steps(meanwhile)
    frozen.steps.freeze_when = ("before saving not accepted", 1)
    with pytest.raises(ScenarioError):
        frozen.go()
    assert retry.go().job.id == "job_1"


def test_a_twins_job_of_before_a_clear_is_not_taken_where_nothing_was_bought() -> None:
    """The twelve bits that a clear changes may agree by chance."""
    worker = Worker(ends=["refused connection"])
    with pytest.raises(ScenarioError):
        worker.go()
    worker.clear()
    twin = TaskKey("dag", "run", worker.task, "", worker.run_started_at, 1, 1, was_cleared=False)
    worker.scenario.accept("twin", "model_1", {**INPUTS, "seed": twin.seed(1, LARGEST_SEED)})
    assert worker.go().job.id == "job_2"


def test_a_failed_job_of_its_retry_is_not_a_frozen_workers_own_failure() -> None:
    """Else its record would hide the job that the retry after it bought, and a clear would buy again."""
    frozen = Worker()
    retry = Worker(scenario=frozen.scenario)
    retry.memory = frozen.memory
    retry.tries = 1
    endings = iter([(0.0, "failure", "queued")])
    frozen.scenario.ending = lambda: next(endings, (30.0, "success", "queued"))

    def meanwhile() -> None:
        retry.go()
        frozen.clock.sleep(30.0)
        retry.go()

    frozen.steps = frozen.client.steps = Steps(meanwhile)
    frozen.steps.freeze_when = ("before saving intent", 1)
    assert frozen.go().job.id == "job_2"
    assert isinstance(frozen.record, Submitted)
    assert frozen.record.job_id == "job_2"
    assert list(frozen.scenario.jobs)[-1] == "job_2"


def test_a_template_that_renders_otherwise_loses_no_lost_job() -> None:
    worker = Worker()
    worker.dies("after POST")
    worker.inputs = {**INPUTS, "prompt": "two dogs run on a beach"}
    refusing = SubmissionPolicy(on_changed_inputs=OnChangedInputs.FAIL)
    worker.policy, anew = refusing, worker.policy
    with pytest.raises(ScenarioSubmissionError, match=r"\(job job_1\): prompt\."):
        worker.go()
    assert worker.paid == ["job_1"]
    worker.policy = anew
    assert worker.go().record.earlier_jobs == ("job_1",)


# The job list


def test_a_job_beyond_many_pages_is_found() -> None:
    worker = Worker(scenario=fake_scenario(page_size=1))
    worker.dies("after POST")
    for number in range(40):
        worker.clock.sleep(1.0)
        worker.scenario.accept("stranger", "model_1", {**INPUTS, "seed": number})
    assert worker.go().job.id == "job_1"


@STORES
def test_a_list_without_an_end_is_no_proof_that_nothing_was_accepted(has_store: bool) -> None:
    worker = Worker(scenario=fake_scenario(page_size=1), has_store=has_store)
    worker.dies("before POST")
    for number in range(101):
        worker.scenario.accept("stranger", "model_1", {"seed": number})
    with pytest.raises(ScenarioSubmissionError, match=r"did not end after 200 pages.*\nNothing further was bought"):
        worker.go()
    assert worker.client.bodies == []


@STORES
@pytest.mark.parametrize("seconds", [8.0, 50.0, 300.0])
def test_an_outage_of_the_list_is_outlasted_for_a_minute(seconds: float, has_store: bool) -> None:
    worker = Worker(has_store=has_store)
    worker.dies("after POST")
    worker.scenario.faults = [Fault("list", "html 503", end=worker.clock.now + seconds)]
    started = worker.clock.now
    if seconds > RETRY_SECONDS:
        with pytest.raises(ScenarioTransientError, match="Nothing further was bought: a retry looks again"):
            worker.go()
        assert worker.clock.now - started >= RETRY_SECONDS
        worker.clock.now += seconds
    assert [worker.go().job.id] == worker.paid == ["job_1"]


# A bought job that can't be read


@pytest.mark.parametrize("status", [0, 200, 302, 400, 401, 403, 404, 429, 503])
def test_an_odd_reply_to_a_look_is_no_verdict(status: int) -> None:
    worker = Worker(faults=[])
    worker.go()
    worker.clear()
    worker.client.faults = [status, status]
    assert [worker.go().job.id] == worker.paid == ["job_1"]


@pytest.mark.parametrize("status", [401, 404])
def test_a_refusal_that_lasts_is_checked_against_the_list(status: int) -> None:
    worker = Worker()
    worker.go()
    worker.client.faults = [status] * 100
    started = worker.clock.now
    assert worker.go().job.id == "job_1"
    assert RETRY_SECONDS <= worker.clock.now - started < 2 * RETRY_SECONDS
    worker.scenario.faults = [Fault("list", "html 503", end=worker.clock.now + 1000.0)]
    worker.client.faults = [status] * 100
    with pytest.raises(ScenarioError, match="Job job_1 can't be read") as raised:
        worker.go()
    assert not isinstance(raised.value, ScenarioPermanentError)
    assert raised.value.job_id == "job_1"
    assert worker.paid == ["job_1"]


def asked_to_wait(client: FaultyClient, seconds: float) -> Callable[[Any], Any]:
    """Answer the next look at a job with 503 and ``Retry-After``."""
    send, looks = client.send, itertools.count()

    def sent(call: calls.Call[Any]) -> Any:
        if call.method == "GET" and next(looks) == 0:
            raise ScenarioServerError("Scenario has trouble.", retry_after=seconds)
        return send(call)

    return sent


def test_who_is_asked_to_wait_waits_as_long_and_asks_again() -> None:
    worker = Worker()
    worker.go()
    worker.client.send = asked_to_wait(worker.client, 37.0)  # type: ignore[method-assign]
    started = worker.clock.now
    assert worker.go().job.id == "job_1"
    assert worker.clock.now - started == 37.0


def test_a_longer_wait_than_a_minute_is_left_to_the_retry() -> None:
    worker = Worker()
    worker.go()
    worker.client.send = asked_to_wait(worker.client, 900.0)  # type: ignore[method-assign]
    started = worker.clock.now
    with pytest.raises(ScenarioTransientError, match="bought and is paid for") as raised:
        worker.go()
    assert (raised.value.retry_after, raised.value.job_id) == (900.0, "job_1")
    assert worker.clock.now == started
    assert worker.go().job.id == "job_1"


# Whose a job is, where no seed of ours tells


ECHOES: dict[str, Callable[[str], str]] = {
    "NFD": lambda text: unicodedata.normalize("NFD", text),
    "quotes": lambda text: text.replace('"', "“"),
    "escaped": lambda text: text.replace('"', '\\"'),
    "cut": lambda text: text[:20],
}


@STORES
@pytest.mark.parametrize("echo", ECHOES)
def test_a_job_that_is_told_in_other_words_is_refused_and_named(echo: str, has_store: bool) -> None:
    lies = fake_scenario(echo=lambda inputs: {**inputs, "prompt": ECHOES[echo](inputs["prompt"])})
    worker = Worker(scenario=lies, largest_seed=0, has_store=has_store)
    worker.dies("after POST")
    with pytest.raises(ScenarioSubmissionError, match="1 job at Scenario may be it: job_1") as raised:
        worker.go()
    assert worker.paid == ["job_1"]
    assert ("Task State Store" in str(raised.value)) is has_store
    assert ("ScenarioJobSensor" in str(raised.value)) is not has_store


@STORES
@pytest.mark.parametrize("inputs", [INPUTS, {**INPUTS, "seed": 42}], ids=["no seed", "the author's seed"])
def test_a_strangers_double_makes_it_refuse_naming_both_even_if_ours_is_listed_last(
    inputs: dict[str, Any], has_store: bool
) -> None:
    lies = fake_scenario(list_lag=100.0)
    worker = Worker(scenario=lies, largest_seed=0, inputs=inputs, has_store=has_store)

    def meanwhile() -> None:
        lies.accept("stranger", "model_1", inputs)

    worker.steps = worker.client.steps = Steps(meanwhile)
    worker.steps.freeze_when = ("before POST", 1)
    worker.dies("after POST")
    worker.clock.sleep(99.0)
    with pytest.raises(ScenarioSubmissionError, match="2 jobs at Scenario may be it: job_1, job_2"):
        worker.go()
    assert worker.paid == ["job_2"]


@STORES
def test_a_row_that_lacks_its_model_is_read_before_it_counts(has_store: bool) -> None:
    worker = Worker(largest_seed=0, has_store=has_store)
    worker.scenario.lacking = lambda: (frozenset(["model"]), False)
    worker.dies("before POST")
    worker.scenario.accept("stranger", "model_2", INPUTS)
    worker.scenario.lacking = lambda: (frozenset(), False)
    assert worker.go().job.id == "job_2"
    assert worker.paid == ["job_2"]


@STORES
def test_one_refused_look_at_a_row_that_tells_too_little_is_no_verdict(has_store: bool) -> None:
    worker = Worker(largest_seed=0, has_store=has_store, faults=[503, 404, 0])
    worker.scenario.lacking = lambda: (frozenset(["input"]), False)
    worker.dies("after POST")
    assert worker.go().job.id == "job_1"


@pytest.mark.parametrize("lacks", ["input", "model", "seed"])
@STORES
def test_no_job_is_taken_while_a_row_that_tells_too_little_may_be_the_one(lacks: str, has_store: bool) -> None:
    worker = Worker(largest_seed=0, has_store=has_store, inputs={**INPUTS, "seed": 42})
    worker.scenario.lacking = lambda: (frozenset([lacks]), True)
    worker.dies("after POST")
    worker.scenario.lacking = lambda: (frozenset(), False)
    worker.scenario.accept("sibling", "model_1", worker.inputs)
    with pytest.raises(ScenarioSubmissionError, match="2 jobs at Scenario may be it"):
        worker.go()
    assert worker.paid == ["job_1"]


@STORES
def test_a_failed_double_is_no_reason_to_refuse(has_store: bool) -> None:
    worker = Worker(largest_seed=0, has_store=has_store)
    worker.scenario.ending = lambda: (0.0, "failure", "queued")
    worker.go()
    worker.scenario.ending = lambda: (None, "success", "in-progress")
    worker.dies("after POST")
    assert worker.go().job.id == "job_2"
    assert worker.paid == ["job_1", "job_2"]


@STORES
def test_a_sibling_that_tells_of_its_job_during_the_search_is_heard(has_store: bool) -> None:
    worker = Worker(largest_seed=0, has_store=has_store)
    sibling = Worker(scenario=worker.scenario, task="sibling", largest_seed=0)
    worker.dies("after POST")
    sibling_job = sibling.go().job.id
    half_way = worker.clock.now + LIST_LAG_SECONDS / 2
    worker.others = lambda: [sibling_job] if worker.clock.now > half_way else []
    assert worker.go().job.id == "job_1"
    assert (worker.paid, sibling.paid) == (["job_1"], ["job_2"])


@STORES
def test_two_tasks_that_take_one_job_at_the_same_time_are_both_refused(has_store: bool) -> None:
    """Both lost their replies, only one was accepted; each sees the other's claim only after its own."""
    workers = [Worker(largest_seed=0, has_store=has_store)]
    workers.append(Worker(scenario=workers[0].scenario, task="other", largest_seed=0, has_store=has_store))
    workers[1].dies("before POST")
    workers[0].dies("after POST")
    for worker in workers:
        worker.others = lambda worker=worker: ["job_1"] if worker.memory.claimed else []  # type: ignore[misc]
        with pytest.raises(ScenarioSubmissionError, match=r"Job job_1 looks like .* another task of this DAG run"):
            worker.go()
        assert worker.memory.claimed is None
    assert len(workers[0].scenario.jobs) == 1


def test_where_neither_record_nor_seed_tells_only_this_runs_time_counts() -> None:
    worker = Worker(largest_seed=0, has_store=False)
    worker.scenario.accept("stranger", "model_1", INPUTS)
    worker.clock.now += 86400.0
    worker.run_started_at = worker.clock.now
    worker.dies("before POST")
    assert worker.go().job.id == "job_2"


@pytest.mark.parametrize("on_changed_inputs", OnChangedInputs)
@pytest.mark.parametrize("inputs", [INPUTS, {**INPUTS, "prompt": "two dogs run on a beach"}], ids=["same", "changed"])
def test_without_a_store_a_row_that_never_tells_its_seed_is_not_bought_over(
    inputs: dict[str, Any], on_changed_inputs: OnChangedInputs
) -> None:
    worker = Worker(has_store=False, policy=SubmissionPolicy(on_changed_inputs=on_changed_inputs))
    worker.scenario.lacking = lambda: (frozenset(["seed"]), True)
    worker.go()
    worker.inputs = inputs
    if inputs is not INPUTS and on_changed_inputs is OnChangedInputs.RESUBMIT:
        assert worker.go().job.id == "job_2"
        return
    with pytest.raises(ScenarioSubmissionError, match="job_1") as raised:
        worker.go()
    assert "Nothing further was bought" in str(raised.value)
    assert worker.paid == ["job_1"]


def test_without_a_store_a_row_that_tells_its_seed_late_is_read_singly() -> None:
    for on_changed_inputs in OnChangedInputs:
        worker = Worker(has_store=False, policy=SubmissionPolicy(on_changed_inputs=on_changed_inputs))
        worker.scenario.lacking = lambda: (frozenset(["seed"]), False)
        worker.go()
        assert worker.go().job.id == "job_1"
        worker.clear()
        assert worker.go().job.id == "job_1"


@pytest.mark.parametrize("lacks", [["input"], ["input", "createdAt"]])
def test_each_look_sees_the_inputs_of_a_job_whose_row_tells_nothing(lacks: list[str]) -> None:
    """Else its result would be returned for a prompt that has changed since."""
    worker = Worker(has_store=False)
    endings = iter([(0.0, "failure", "queued")])
    worker.scenario.ending = lambda: next(endings, (0.0, "success", "queued"))
    worker.go()
    worker.clock.sleep(60.0)
    worker.scenario.lacking = lambda: (frozenset(lacks), False)
    assert worker.go().job.id == "job_2"
    worker.clock.sleep(60.0)
    worker.clear()
    worker.inputs = {**INPUTS, "prompt": "two dogs run on a beach"}
    assert worker.go().job.id == "job_3"


def test_each_look_sees_the_model_of_a_job_whose_row_tells_nothing() -> None:
    """Another Airflow's job of another model, of which only the upper half of the seed is ours."""
    worker = Worker(has_store=False)
    worker.scenario.ending = lambda: (0.0, "failure", "queued")
    worker.go()
    worker.scenario.ending = lambda: (0.0, "success", "queued")
    worker.scenario.lacking = lambda: (frozenset(["input"]), False)
    twin = TaskKey("dag", "run", worker.task, "", START - 77.0, 1, 2, was_cleared=False)
    worker.scenario.accept("twin", "model_9", {**INPUTS, "seed": twin.seed(2, LARGEST_SEED)})
    worker.clear()
    worker.run_started_at = worker.clock.now
    assert [worker.go().job.id] == worker.paid[1:]


def test_a_list_that_takes_a_minute_each_time_ends_the_try() -> None:
    """What it shows is too old by then, so nothing is sent: but no worker may be held for ever."""
    worker = Worker(largest_seed=0)
    send = worker.client.send

    def slowly(call: Any, /) -> Any:
        if call.path == "/jobs":
            worker.clock.sleep(61.0)
        return send(call)

    worker.client.send = slowly
    with pytest.raises(ScenarioTransientError, match="more than 60 s to list its jobs"):
        worker.go()
    assert worker.paid == []


def test_the_fakes_first_page_shows_what_was_there_before_a_post() -> None:
    worker = Worker(scenario=fake_scenario(page_size=1), largest_seed=0)
    worker.scenario.accept("stranger", "model_1", {"prompt": "Two dogs run on a beach at night"})
    worker.dies("before POST")
    assert isinstance(worker.record, Intent)
    assert worker.record.baseline is not None
    assert worker.record.baseline.job_ids == ("job_1",)


def test_each_look_sees_a_job_whose_row_tells_its_seed_late() -> None:
    """Else the second look passes over the last job, and refuses because of the one before it."""
    worker = Worker(policy=SubmissionPolicy(on_changed_inputs=OnChangedInputs.FAIL, on_clear=OnClear.REGENERATE))
    worker.scenario.ending = lambda: (0.0, "success", "queued")
    worker.go()
    worker.clear()
    worker.memory.text = None
    worker.client.ends = [End("refused connection")]
    with pytest.raises(ScenarioConnectionError):
        worker.go()
    worker.inputs = {**INPUTS, "prompt": "two dogs run on a beach"}
    worker.scenario.lacking = lambda: (frozenset(["seed", "createdAt"]), False)
    assert worker.go().job.id == "job_2"
    worker.clear()
    worker.memory.text = None
    assert worker.go().job.id == "job_3"


@pytest.mark.parametrize("on_clear", [None, *OnClear])
def test_without_a_store_a_finished_job_is_bought_anew_after_a_clear_only_on_demand(on_clear: OnClear | None) -> None:
    worker = Worker(has_store=False, policy=SubmissionPolicy(on_clear=on_clear))
    worker.scenario.ending = lambda: (1.0, "success", "queued")
    worker.go()
    worker.clock.sleep(60.0)
    worker.clear()
    assert worker.go().job.id == ("job_2" if on_clear is OnClear.REGENERATE else "job_1")


@STORES
def test_a_job_of_another_airflow_that_fails_does_not_hide_ours(has_store: bool) -> None:
    """The run had ended: its clear changed the lower half of the seed, and took the record away."""
    worker = Worker(has_store=has_store)
    worker.go()
    twin = TaskKey("dag", "run", worker.task, "", START - 77.0, 1, 2, was_cleared=False)
    worker.clock.sleep(5.0)
    theirs = worker.scenario.accept("twin", "model_1", {**INPUTS, "seed": twin.seed(1, LARGEST_SEED)})
    worker.clear()
    worker.run_started_at, worker.memory.text = worker.clock.now, None
    assert worker.go().job.id == theirs.id
    theirs.end("failure", worker.clock.now)
    assert worker.go().job.id == "job_1"
    assert worker.paid == ["job_1"]


@pytest.mark.parametrize("prompt", [PROMPT, "two dogs run on a beach"])
def test_a_failed_later_job_of_another_airflow_hides_no_job_of_changed_inputs(prompt: str) -> None:
    """The run had ended, so nothing proves whose either is, and ``on_changed_inputs="fail"`` forbids to buy over ours.

    The other Airflow's job ran with the old inputs or with the new ones.
    """
    worker = Worker(has_store=False, policy=SubmissionPolicy(on_changed_inputs=OnChangedInputs.FAIL))
    worker.scenario.ending = lambda: (0.0, "success", "queued")
    worker.go()
    twin = TaskKey("dag", "run", worker.task, "", START - 77.0, 1, 2, was_cleared=False)
    theirs = {**INPUTS, "prompt": prompt, "seed": twin.seed(2, LARGEST_SEED)}
    worker.scenario.ending = lambda: (0.0, "failure", "queued")
    worker.scenario.accept("twin", "model_1", theirs)
    worker.clear()
    worker.run_started_at = worker.clock.now
    worker.inputs = {**INPUTS, "prompt": "two dogs run on a beach"}
    with pytest.raises(ScenarioSubmissionError, match="Inputs changed since generation 1"):
        worker.go()
    assert worker.paid == ["job_1"]


def test_airflow_is_said_to_keep_no_record_only_where_that_is_so(caplog: pytest.LogCaptureFixture) -> None:
    for has_store in (True, False):
        worker = Worker(has_store=has_store)
        worker.scenario.ending = lambda: (0.0, "failure", "queued")
        with caplog.at_level(logging.INFO):
            worker.go()
            worker.go()
        assert ("Airflow keeps no record" in caplog.text) is not has_store
        caplog.clear()


# Of whom a key is


@pytest.mark.parametrize(
    "places",
    [
        {"map_index": 3},
        {"map_index": -1, "region_id": "each_clip", "region_index": 0},
        {"map_index": 3, "region_id": "each_clip", "region_index": 0},
        {"map_index": 3, "region_id": "each_clip", "region_index": 1},
        {"map_index": 3, "region_id": "each_still", "region_index": 1},
    ],
)
def test_each_mapped_instance_and_each_iteration_has_a_key_of_its_own(places: dict[str, Any]) -> None:
    started = datetime.datetime(2026, 11, 20, 12, tzinfo=datetime.UTC)
    facts = {"dag_id": "nightly", "run_id": "run_1", "task_id": "generate", "try_number": 1, "max_tries": 2}
    run = SimpleNamespace(start_date=started, run_after=started, clear_number=0)

    def seed(**where: Any) -> int:
        return TaskKey.of({"ti": SimpleNamespace(**facts, **where), "dag_run": run}).seed(1, LARGEST_SEED)

    assert seed(**places) == seed(**places)
    assert seed(**places) not in {seed(map_index=index) for index in (-1, 0, 1, 2, 4)}


# Rows, clocks and gateways that are odder still


def rewritten(scenario: FakeScenario[Clock], change: Callable[[FakeJob, dict[str, Any]], None]) -> None:
    """Let each row of the list be changed."""
    row = scenario.row

    def changed(job: FakeJob, moment: Moment | None = None, *, whole: bool = True) -> dict[str, Any]:
        document = row(job, moment, whole=whole)
        change(job, document)
        return document

    scenario.row = changed  # type: ignore[method-assign]


@STORES
@pytest.mark.parametrize("made_at", ["1970-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "2026-09-21", 0, ""])
def test_a_time_that_is_none_hides_no_lost_job(made_at: Any, has_store: bool) -> None:
    worker = Worker(largest_seed=0, has_store=has_store)
    worker.scenario.accept("stranger", "model_1", {"prompt": "Two dogs run on a beach at night"})

    def change(job: FakeJob, document: dict[str, Any]) -> None:
        if job.payer == worker.task:
            document["createdAt"] = made_at

    rewritten(worker.scenario, change)
    worker.clock.sleep(5.0)
    worker.dies("after POST")
    assert worker.paid == [worker.go().job.id]


def test_a_strangers_job_of_the_future_hides_no_lost_job() -> None:
    worker = Worker(largest_seed=0)
    worker.scenario.accept("stranger", "model_1", {"prompt": "Two dogs run on a beach at night"})

    def change(job: FakeJob, document: dict[str, Any]) -> None:
        if job.payer != worker.task:
            document["createdAt"] = "2099-01-01T00:00:00Z"

    rewritten(worker.scenario, change)
    worker.dies("after POST")
    assert worker.paid == [worker.go().job.id]


def test_a_lost_job_whose_model_is_called_otherwise_is_found() -> None:
    worker = Worker()
    rewritten(worker.scenario, lambda _job, document: document["metadata"]["input"].update(modelId="model_1_v2"))
    worker.dies("after POST")
    assert worker.paid == [worker.go().job.id]


@STORES
@pytest.mark.parametrize("ahead", [3600.0, 13 * 3600.0, -5 * 3600.0])
def test_a_clock_in_a_wrong_time_zone_hides_no_lost_job(ahead: float, has_store: bool) -> None:
    """Without a store it is the scheduler's clock, which says when the run started."""
    worker = Worker(has_store=has_store)
    worker.ahead = (ahead,)
    worker.run_started_at += 0.0 if has_store else ahead
    worker.dies("after POST")
    assert worker.paid == [worker.go().job.id]


@STORES
@pytest.mark.parametrize("is_lost", [True, False])
@pytest.mark.parametrize("fails_first", [True, False])
def test_a_post_that_a_gateway_sent_twice_is_no_reason_for_a_third(
    fails_first: bool, is_lost: bool, has_store: bool
) -> None:
    worker = Worker(has_store=has_store)
    endings = itertools.cycle([(1.0, "failure", "queued"), (None, "success", "queued")][:: 1 if fails_first else -1])
    worker.scenario.ending = lambda: next(endings)
    accept = worker.scenario.accept

    def twice(*arguments: Any, **named: Any) -> FakeJob:
        first = accept(*arguments, **named)
        accept(*arguments, **named)
        return first

    worker.scenario.accept = twice  # type: ignore[method-assign]
    if is_lost:
        worker.dies("after POST")
    else:
        worker.go()
    worker.clock.sleep(60.0)
    assert not worker.go().job.has_ended_badly
    assert len(worker.paid) == 2


@MODELS
def test_a_doubt_that_a_person_settles_as_told_goes_on_with_the_job(largest_seed: int) -> None:
    worker = Worker(largest_seed=largest_seed)
    worker.scenario.lacking = lambda: (frozenset(["input"]), True)
    worker.dies("after POST")
    with pytest.raises(ScenarioSubmissionError, match='write its id as job_id, and "submitted" as state'):
        worker.go()
    document = {**json.loads(worker.memory.text or ""), "state": "submitted", "job_id": "job_1"}
    worker.memory.text = json.dumps(document)
    worker.clear()
    assert worker.go().job.id == "job_1"
    assert worker.paid == ["job_1"]


def test_without_a_store_another_model_is_a_changed_input() -> None:
    """The job of the first model is told of, and bought over only if the author allows it."""
    worker = Worker(has_store=False, policy=SubmissionPolicy(on_changed_inputs=OnChangedInputs.FAIL))
    worker.go()
    rewritten(worker.scenario, lambda _job, document: document["metadata"]["input"].update(modelId="model_0"))
    with pytest.raises(ScenarioSubmissionError, match="the model"):
        worker.go()
    worker.policy = SubmissionPolicy()
    assert worker.go().record.earlier_jobs == ("job_1",)


@STORES
@pytest.mark.parametrize("seed", [None, 0, -1])
def test_a_row_with_a_seed_that_is_none_is_a_doubt(seed: int | None, has_store: bool) -> None:
    worker = Worker(has_store=has_store)
    rewritten(worker.scenario, lambda _job, document: document["metadata"]["input"].update(seed=seed))
    worker.dies("after POST")
    with pytest.raises(ScenarioSubmissionError, match="job_1"):
        worker.go()
    assert worker.paid == ["job_1"]


@pytest.mark.parametrize("status", [401, 403, 404, 503])
def test_without_a_store_a_model_that_cannot_be_read_hides_no_bought_job(status: int) -> None:
    worker = Worker(largest_seed=0, has_store=False)
    job_id = worker.go().job.id
    read = worker.scenario.answer

    def without_models(call: calls.Call[Any], key: str | None = None) -> Response:
        refusal = worker.scenario.reply(status, {"reason": "no"})
        return refusal if call.path.startswith("/models/") else read(call)

    worker.scenario.answer = without_models  # type: ignore[method-assign]
    assert worker.go().job.id == job_id
    assert worker.paid == [job_id]


@MODELS
@STORES
def test_a_list_that_goes_round_in_a_circle_for_a_while_is_read_again(has_store: bool, largest_seed: int) -> None:
    """It is an outage, which keeps the retries, and no verdict."""
    worker = Worker(largest_seed=largest_seed, has_store=has_store)
    worker.dies("after POST")
    read = worker.scenario.answer
    until = [math.inf]

    def circling(call: calls.Call[Any], key: str | None = None) -> Response:
        if call.path != "/jobs" or worker.clock.now >= until[0]:
            return read(call)
        return worker.scenario.reply(200, {"jobs": [], "nextPaginationToken": "again"})

    worker.scenario.answer = circling  # type: ignore[method-assign]
    with pytest.raises(ScenarioTransientError, match="in a circle"):
        worker.go()
    until = [worker.clock.now + 30.0]
    assert worker.paid == [worker.go().job.id]


@MODELS
@pytest.mark.parametrize("accepted_after", [60.0, None])
def test_a_search_of_minutes_lets_its_worker_go(accepted_after: float | None, largest_seed: int) -> None:
    worker = Worker(ends=[End("dropped", accepted_after)], largest_seed=largest_seed, may_defer=True)
    started = worker.clock.now
    assert [worker.go().job.id] == worker.paid
    (search,) = worker.deferrals
    assert search.seconds <= LIST_LAG_SECONDS <= worker.clock.now - started
    assert LIST_LAG_SECONDS - search.seconds <= 15.0, "so long it held a worker"
    assert len(worker.client.bodies) == (1 if accepted_after else 2)


def test_a_job_that_is_listed_soon_is_found_in_one_process() -> None:
    worker = Worker(ends=[End("dropped", 3.0)], may_defer=True)
    assert [worker.go().job.id] == worker.paid
    assert worker.deferrals == []


def test_without_a_seed_of_ours_no_worker_looks_in_vain() -> None:
    """Only the last look counts: a stranger's job may look the same."""
    worker = Worker(ends=[End("dropped", 3.0)], largest_seed=0, may_defer=True)
    assert [worker.go().job.id] == worker.paid
    assert [one.seconds for one in worker.deferrals] == [LIST_LAG_SECONDS]


class Slow(Steps):
    """One of the steps takes long, each time."""

    def __init__(self, clock: Clock, slow: str, seconds: float) -> None:
        super().__init__()
        self._clock, self._slow, self._seconds = clock, slow, seconds

    def __call__(self, name: str) -> None:
        super().__call__(name)
        if name == self._slow:
            self._clock.sleep(self._seconds)


def test_a_slow_list_counts_as_time_in_the_worker() -> None:
    worker = Worker(ends=[End("dropped", None)], may_defer=True)
    worker.steps = worker.client.steps = Slow(worker.clock, "before LIST", 14.0)
    worker.go()
    assert [one.seconds for one in worker.deferrals] == [LIST_LAG_SECONDS], "after one look of 14 s"


@MODELS
@STORES
def test_a_retry_after_a_death_amid_the_post_looks_on_without_a_worker(has_store: bool, largest_seed: int) -> None:
    worker = Worker(has_store=has_store, largest_seed=largest_seed, may_defer=True)
    worker.scenario.list_lag = 90.0
    worker.dies("after POST")
    assert [worker.go().job.id] == worker.paid
    assert len(worker.deferrals) == 1


def test_without_a_store_a_search_of_this_very_process_is_not_deferred() -> None:
    """The next process would not know what was sent."""
    worker = Worker(ends=[End("dropped", 60.0)], has_store=False, may_defer=True)
    assert [worker.go().job.id] == worker.paid
    assert worker.deferrals == []


def test_the_end_of_one_search_does_not_shorten_another() -> None:
    """What was waited for is the submission before: each that is lost has its own time to be listed."""
    worker = Worker(ends=[End("dropped", None), End("dropped", 90.0)], may_defer=True)
    assert [worker.go().job.id] == worker.paid
    first, second = worker.deferrals
    assert first.search != second.search
    assert second.seconds >= LIST_LAG_SECONDS - 15.0


@MODELS
@pytest.mark.parametrize("how", ["killed", "not certain"])
def test_the_event_of_an_earlier_try_ends_no_search(how: str, largest_seed: int) -> None:
    """Airflow 3.1.0 hands a retry the event that the try before it was resumed with."""
    worker = Worker(has_store=False, largest_seed=largest_seed, may_defer=True)
    worker.scenario.list_lag = 90.0
    worker.dies("before POST")
    if how == "killed":
        worker.dies("after POST")
    else:
        worker.client.ends = [End("empty 502", None), End("empty 502", None), End("empty 502", 0.0)]
        with pytest.raises(ScenarioTransientError):
            worker.go()
    (stale,) = worker.deferrals
    worker.clock.sleep(25.0)
    worker.resumed_as = stale.search
    worker.go()
    assert len(worker.paid) == 1


@MODELS
@DEFERS
def test_a_store_that_is_always_slow_ends_the_try(may_defer: bool, largest_seed: int) -> None:
    worker = Worker(may_defer=may_defer, largest_seed=largest_seed)
    worker.steps = worker.client.steps = Slow(worker.clock, "before saving intent", MAX_INTENT_AGE + 1.0)
    with pytest.raises(ScenarioTransientError, match="Airflow took more than 10 s") as caught:
        worker.go()
    assert f"{MAX_SUBMISSIONS} submissions of this try came to nothing" in str(caught.value)
    assert worker.paid == []


def test_a_try_does_not_inherit_the_count_of_the_try_whose_submission_it_searched_for() -> None:
    lost = [End("empty 502", None)]
    worker = Worker(ends=lost * MAX_SUBMISSIONS, may_defer=True)
    with pytest.raises(ScenarioTransientError):
        worker.go()
    worker.client.ends = lost * (MAX_SUBMISSIONS - 1)
    assert [worker.go().job.id] == worker.paid
    assert len(worker.client.bodies) == 2 * MAX_SUBMISSIONS


def test_a_damaged_token_is_no_search_that_has_ended() -> None:
    worker = Worker(may_defer=True)
    worker.dies("before POST")
    worker.memory.text = json.dumps({**json.loads(worker.memory.text or ""), "token": None})
    with pytest.raises(ScenarioSubmissionError, match="can't be read"):
        worker.go()

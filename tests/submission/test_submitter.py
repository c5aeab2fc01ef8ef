"""One payment for one take, whatever breaks between the worker and Scenario."""

from __future__ import annotations

import itertools
import logging
import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from airflow_provider_scenario.api.job import JobStatus
from airflow_provider_scenario.api.model import LARGEST_SEED
from airflow_provider_scenario.exceptions import (
    ScenarioAuthenticationError,
    ScenarioConcurrencyLimitError,
    ScenarioConnectionError,
    ScenarioCostLimitError,
    ScenarioDryRunError,
    ScenarioError,
    ScenarioInputError,
    ScenarioInsufficientCreditsError,
    ScenarioNotFoundError,
    ScenarioPermissionError,
    ScenarioServerError,
    ScenarioSubmissionError,
)
from airflow_provider_scenario.submission.decision import OnLostSubmission, OnStale, Record, Request, Rules
from airflow_provider_scenario.submission.submitter import Bought, Purchase
from tests.lying_scenario import AMBIGUOUS, Clock, Crash, Line, LyingScenario, Steps, Store

REQUEST = Request("model_1", {"prompt": "a cat", "strength": 0.5, "numFrames": 81}, largest_seed=LARGEST_SEED)
SEEDLESS = replace(REQUEST, largest_seed=0)

UNDISTURBED = [
    "before load",
    "after load",
    "before saving intent",
    "after saving intent",
    "before POST",
    "after POST",
    "before saving job",
    "after saving job",
]


class Worker:
    """One task instance with its record, at a Scenario of its own unless told otherwise."""

    def __init__(
        self,
        request: Request = REQUEST,
        *,
        scenario: LyingScenario | None = None,
        payer: str = "worker",
        replies: Iterable[str] = (),
        rules: Rules | None = None,
    ) -> None:
        self.scenario = scenario or LyingScenario(Clock())
        self.clock = self.scenario.clock
        self.steps = Steps()
        self.store = Store(self.steps, self.clock)
        self.line = Line(self.scenario, payer, self.steps, replies)
        self.request = request
        self.rules = rules or Rules()
        self.claimed: list[str] = []
        self.log = logging.getLogger("tests.purchase")

    def settle(
        self, max_tries: int = 2, before_buying: Callable[[], Mapping[str, Any] | None] = lambda: None
    ) -> Bought:
        purchase = Purchase(
            self.line,
            self.store,
            self.rules,
            before_buying=before_buying,
            claimed=lambda: self.claimed,
            log=self.log,
            clock=self.clock,
            sleep=self.clock.sleep,
        )
        return purchase.settle(self.request, max_tries=max_tries)

    @property
    def paid(self) -> list[str]:
        return [job.id for job in self.scenario.jobs]

    @property
    def record(self) -> Record:
        record = self.store.record
        assert record is not None
        return record

    @property
    def searched(self) -> bool:
        return "after LIST" in self.steps.taken

    def dies(self, when: str) -> None:
        self.steps.die_when = when
        with pytest.raises(Crash):
            self.settle()
        self.steps.revive()


class ShiftedClock(Clock):
    """The clock of a worker that goes wrong by some seconds."""

    def __init__(self, true_clock: Clock, ahead: float) -> None:
        self.true_clock = true_clock
        self.ahead = ahead

    def __call__(self) -> float:
        return self.true_clock() + self.ahead

    def sleep(self, seconds: float) -> None:
        self.true_clock.sleep(seconds)


def not_literal(inputs: dict[str, Any]) -> dict[str, Any]:
    """Echo whole numbers as floats, a prompt as a text asset, and what nobody gave."""
    echoed = {name: float(value) if isinstance(value, int) else value for name, value in inputs.items()}
    return {"seed": 1234.0, **echoed, "prompt": "asset_text", "guidanceScale": 5}


# What is done, and in what order.


def test_the_intent_is_safe_before_the_money_moves_and_the_job_is_safe_after() -> None:
    worker = Worker()
    bought = worker.settle()
    assert worker.steps.taken == [*UNDISTURBED[:2], *UNDISTURBED], "before the intent it looks once more"
    assert worker.paid == ["job_1"]
    assert bought.is_new
    assert bought.job.id == bought.record.job_id == worker.record.job_id == "job_1"
    assert worker.record == Record(
        take=1,
        fingerprint=REQUEST.fingerprint,
        input_digests=REQUEST.digests,
        seed=worker.line.bodies[0]["seed"],
        seed_is_ours=True,
        intended_at=worker.clock.now,
        job_id="job_1",
        max_tries=2,
        charged="11",
    )


def test_what_is_sent_is_what_was_asked_for_and_the_seed_that_was_recorded_before() -> None:
    worker = Worker()
    worker.dies("before POST")
    seed = worker.record.seed
    assert isinstance(seed, int)
    assert 1 <= seed < 2**31
    worker = Worker()
    worker.settle()
    assert worker.line.bodies == [{**REQUEST.inputs, "seed": worker.record.seed}]


@pytest.mark.parametrize(
    ("request_", "seed", "is_ours"),
    [
        (SEEDLESS, None, False),
        (replace(REQUEST, inputs={"prompt": "a cat", "seed": 42}), 42, False),
        (replace(REQUEST, inputs={"prompt": "a cat", "seed": 0}), 0, False),
    ],
)
def test_no_seed_is_drawn_where_the_author_gave_one_or_the_model_takes_none(
    request_: Request, seed: int | None, is_ours: bool
) -> None:
    worker = Worker(request_)
    worker.settle()
    assert worker.line.bodies == [dict(request_.inputs)]
    assert (worker.record.seed, worker.record.seed_is_ours) == (seed, is_ours)


def test_a_dag_file_that_seeds_random_does_not_give_all_its_tasks_one_seed() -> None:
    seeds = set()
    for _ in range(20):
        random.seed(42)
        worker = Worker()
        worker.settle()
        seeds.add(worker.record.seed)
    assert len(seeds) == 20


def test_a_retry_asks_for_the_job_and_sends_nothing() -> None:
    worker = Worker()
    worker.settle()
    worker.steps.revive()
    again = worker.settle()
    assert worker.steps.taken == ["before load", "after load", "before GET", "after GET"]
    assert not again.is_new
    assert again.job.status is JobStatus.IN_PROGRESS
    assert worker.paid == ["job_1"]


def test_a_clear_while_the_job_runs_rejoins_it_and_is_remembered_as_answered() -> None:
    worker = Worker()
    worker.settle(max_tries=2)
    assert worker.settle(max_tries=5).job.id == "job_1"
    assert worker.record.max_tries == 5
    worker.store.save(replace(worker.record, landed=True))
    worker.scenario.jobs[0].ends_at = worker.clock.now
    assert worker.settle(max_tries=5).job.id == "job_1"
    assert worker.settle(max_tries=7).job.id == "job_2"
    assert worker.record.take == 2
    assert not worker.record.landed


@pytest.mark.parametrize("outcome", ["failure", "canceled"])
def test_a_retry_after_a_job_that_ended_badly_buys_the_next_take_with_a_new_seed(outcome: str) -> None:
    worker = Worker()
    first = worker.settle().record
    worker.scenario.jobs[0].outcome, worker.scenario.jobs[0].ends_at = outcome, worker.clock.now
    second = worker.settle().record
    assert (second.take, second.job_id) == (2, "job_2")
    assert second.seed != first.seed


def test_after_moderation_a_changed_prompt_is_bought_even_where_stale_inputs_are_forbidden() -> None:
    worker = Worker(rules=Rules(on_stale=OnStale.FAIL))
    worker.settle()
    worker.scenario.jobs[0].outcome, worker.scenario.jobs[0].ends_at = "failure", worker.clock.now
    worker.request = replace(REQUEST, inputs={**REQUEST.inputs, "prompt": "a kind cat"})
    assert worker.settle(max_tries=3).job.id == "job_2"


def test_changed_inputs_are_bought_or_refused_as_the_author_wants() -> None:
    worker = Worker()
    worker.settle()
    worker.request = replace(REQUEST, inputs={**REQUEST.inputs, "prompt": "a dog"})
    worker.rules = Rules(on_stale=OnStale.FAIL)
    with pytest.raises(ScenarioSubmissionError, match=r"changed since take 1 \(job job_1\): prompt\.") as refusal:
        worker.settle()
    assert refusal.value.job_id == "job_1"
    assert worker.paid == ["job_1"]
    worker.rules = Rules()
    assert worker.settle().record.take == 2
    assert worker.line.bodies[-1]["prompt"] == "a dog"


# The worker dies.


def test_what_another_try_bought_meanwhile_is_rejoined() -> None:
    """Uploads come before the intent and may take minutes, in which a stalled try is taken for dead."""
    stalled = Worker()
    other = Worker(scenario=stalled.scenario, payer="other")
    other.store = stalled.store

    def upload() -> None:
        if not stalled.paid:
            other.settle()

    bought = stalled.settle(before_buying=upload)
    assert stalled.paid == ["job_1"]
    assert bought.job.id == "job_1"
    assert not bought.is_new


@pytest.mark.parametrize("request_", [REQUEST, SEEDLESS], ids=["seed", "no seed"])
@pytest.mark.parametrize("first", UNDISTURBED)
def test_a_worker_that_dies_at_any_step_and_again_at_any_step_pays_once(first: str, request_: Request) -> None:
    second_deaths = itertools.count()
    for second in second_deaths:
        worker = Worker(request_, scenario=LyingScenario(Clock(), list_lag=4.0, hidden_for=3.0, echo=not_literal))
        worker.dies(first)
        worker.clock.sleep(2.0)
        worker.steps.die_at = second
        died = False
        try:
            worker.settle()
        except Crash:
            died = True
        worker.steps.revive()
        worker.clock.sleep(2.0)
        bought = worker.settle()
        assert worker.paid == [bought.job.id], f"died {first}, then at step {second}"
        assert worker.record.job_id == bought.job.id
        if not died:
            break
    assert second > 2


def test_a_death_between_the_intent_and_the_post_is_searched_for_and_bought_once_the_list_had_its_time() -> None:
    worker = Worker()
    worker.dies("before POST")
    worker.clock.sleep(5.0)
    started = worker.clock.now
    assert worker.settle().is_new
    assert worker.searched
    assert worker.clock.now - started == pytest.approx(35.0)
    assert worker.record.take == 1


@pytest.mark.parametrize("request_", [REQUEST, SEEDLESS], ids=["seed", "no seed"])
@pytest.mark.parametrize("clock_ahead", [-90.0, 0.0, 90.0])
@pytest.mark.parametrize("list_lag", [0.0, 5.0, 30.0])
def test_a_lost_job_is_found_however_late_the_list_and_odd_the_clock(
    request_: Request, clock_ahead: float, list_lag: float
) -> None:
    lies = LyingScenario(Clock(), clock_ahead=clock_ahead, list_lag=list_lag, echo=not_literal, page_size=1)
    for number in range(3):
        lies.accept("stranger", "model_1", {"prompt": "a dog", "strength": 0.1 * number, "numFrames": 7})
    worker = Worker(request_, scenario=lies)
    worker.dies("after POST")
    for number in range(3):
        lies.accept("stranger", "model_2", {**request_.inputs, "seed": number})
    bought = worker.settle()
    assert bought.job.id == "job_4"
    assert not bought.is_new
    assert [job.id for job in lies.paid_by("worker")] == ["job_4"]


@pytest.mark.parametrize("ahead", [-290.0, 290.0])
def test_a_lost_job_is_found_by_a_worker_whose_clock_differs_from_the_dead_ones(ahead: float) -> None:
    worker = Worker()
    worker.dies("after POST")
    worker.clock.sleep(30.0)
    worker.clock = ShiftedClock(worker.clock, ahead)
    assert worker.settle().job.id == "job_1"
    assert worker.paid == ["job_1"]


def test_a_job_beyond_many_pages_and_empty_ones_is_found() -> None:
    worker = Worker(scenario=LyingScenario(Clock(), page_size=1))
    worker.dies("after POST")
    for number in range(40):
        worker.clock.sleep(1.0)
        worker.scenario.accept("stranger", "model_1", {**REQUEST.inputs, "seed": number})
    assert worker.settle().job.id == "job_1"


def test_a_list_without_an_end_is_no_proof_that_nothing_was_accepted() -> None:
    worker = Worker(scenario=LyingScenario(Clock(), page_size=1))
    worker.dies("before POST")
    for number in range(101):
        worker.scenario.accept("stranger", "model_1", {"seed": number})
    with pytest.raises(ScenarioSubmissionError, match=r"did not end after 200 pages.*Nothing further was bought"):
        worker.settle()
    assert worker.line.bodies == []


# The POST breaks.


@pytest.mark.parametrize("request_", [REQUEST, SEEDLESS], ids=["seed", "no seed"])
@pytest.mark.parametrize(("end", "accepted"), AMBIGUOUS.items())
def test_a_broken_post_is_searched_for_before_anything_is_sent_again(
    end: str, accepted: bool, request_: Request
) -> None:
    worker = Worker(request_, scenario=LyingScenario(Clock(), list_lag=5.0, echo=not_literal), replies=[end])
    bought = worker.settle()
    assert worker.searched
    assert worker.paid == [bought.job.id] == [worker.record.job_id]
    assert len(worker.line.bodies) == (1 if accepted else 2)
    assert worker.record.take == 1


def test_a_slow_state_store_does_not_shorten_the_search() -> None:
    worker = Worker(scenario=LyingScenario(Clock(), list_lag=5.0), replies=["late and dropped"])
    worker.store.seconds_to_save = 90.0
    worker.settle()
    assert worker.paid == ["job_1"]


@pytest.mark.parametrize(
    ("end", "error"),
    [
        ("refused connection", ScenarioConnectionError),
        ("400", ScenarioInputError),
        ("401", ScenarioAuthenticationError),
        ("402", ScenarioInsufficientCreditsError),
        ("403", ScenarioPermissionError),
        ("404", ScenarioNotFoundError),
        ("409", ScenarioInputError),
        ("429", ScenarioConcurrencyLimitError),
    ],
)
def test_a_post_that_was_surely_not_accepted_is_raised_and_bought_by_the_next_try_without_a_search(
    end: str, error: type[ScenarioError]
) -> None:
    worker = Worker(replies=[end])
    with pytest.raises(error):
        worker.settle()
    assert worker.record.intended_at is None
    assert worker.record.take == 1
    assert len(worker.line.bodies) == 1
    worker.steps.revive()
    assert worker.settle().record.take == 1
    assert not worker.searched
    assert worker.paid == ["job_1"]


def test_a_server_that_stays_broken_is_given_three_chances_and_stays_remembered() -> None:
    worker = Worker(replies=["502 unaccepted"] * 3)
    with pytest.raises(ScenarioServerError):
        worker.settle()
    assert len(worker.line.bodies) == 3
    assert worker.record.intended_at is not None
    worker.steps.revive()
    worker.settle()
    assert worker.steps.taken[2] == "before LIST"


def test_the_job_of_the_last_broken_post_is_found_by_the_next_try() -> None:
    worker = Worker(replies=["502 unaccepted", "502 unaccepted", "502"])
    with pytest.raises(ScenarioServerError):
        worker.settle()
    assert worker.settle().job.id == "job_1"
    assert worker.paid == ["job_1"]


def test_a_lost_submission_is_not_repeated_if_the_author_forbids_it_until_a_clear() -> None:
    worker = Worker(replies=["dropped unaccepted"], rules=Rules(on_lost_submission=OnLostSubmission.FAIL))
    for _ in range(2):
        with pytest.raises(ScenarioSubmissionError, match="Clear the task to buy it"):
            worker.settle()
    assert worker.paid == []
    assert worker.settle(max_tries=3).record.take == 1
    assert worker.paid == ["job_1"]


@pytest.mark.parametrize("outcome", ["failure", "canceled"])
def test_a_job_found_to_have_failed_is_this_trys_failure_and_only_the_next_try_buys_again(outcome: str) -> None:
    worker = Worker(replies=["dropped"])
    worker.scenario.fate = lambda: (0.0, outcome, "queued")
    bought = worker.settle()
    assert bought.job.id == "job_1"
    assert bought.job.status is JobStatus(outcome)
    assert worker.paid == ["job_1"]
    assert worker.record.job_id == "job_1"
    assert worker.settle().record.take == 2
    assert worker.paid == ["job_1", "job_2"]


def test_a_job_that_failed_while_nobody_looked_is_bought_anew_by_the_retry() -> None:
    worker = Worker()
    worker.scenario.fate = lambda: (0.0, "failure", "queued")
    worker.dies("after POST")
    assert worker.settle().record.take == 2
    assert worker.paid == ["job_1", "job_2"]


def test_the_failed_job_of_the_take_before_is_not_taken_for_the_next_takes_lost_one() -> None:
    """A blocked prompt fails at once, a retry follows within seconds, and without a seed the two look alike."""
    worker = Worker(SEEDLESS)
    worker.scenario.fate = lambda: (0.0, "failure", "queued")
    assert worker.settle().record.take == 1
    worker.scenario.fate = lambda: (None, "success", "in-progress")
    worker.clock.sleep(2.0)
    worker.line.replies = ["dropped"]
    bought = worker.settle()
    assert (bought.job.id, bought.record.take) == ("job_2", 2)
    assert worker.paid == ["job_1", "job_2"]


def test_nor_is_a_job_that_was_found_to_have_failed() -> None:
    worker = Worker(SEEDLESS)
    worker.scenario.fate = lambda: (0.0, "failure", "queued")
    worker.dies("after POST")
    worker.line.replies = ["dropped unaccepted"]
    worker.scenario.fate = lambda: (None, "success", "in-progress")
    assert worker.settle().job.id == "job_2"
    assert worker.paid == ["job_1", "job_2"]
    assert worker.record.earlier_jobs == ["job_1"]


def test_a_clear_soon_after_success_takes_no_earlier_take_for_the_new_one() -> None:
    worker = Worker(SEEDLESS)
    worker.scenario.fate = lambda: (1.0, "success", "in-progress")
    worker.settle()
    worker.store.save(replace(worker.record, landed=True))
    worker.clock.sleep(2.0)
    worker.line.replies = ["dropped unaccepted"]
    bought = worker.settle(max_tries=4)
    assert (bought.job.id, bought.record.take) == ("job_2", 2)
    assert worker.paid == ["job_1", "job_2"]


def test_scenario_out_of_reach_during_a_search_sends_nothing() -> None:
    worker = Worker()
    worker.dies("after POST")
    answer = worker.scenario.read
    worker.scenario.read = lambda call: worker.scenario.reply(503, {})  # type: ignore[method-assign]
    with pytest.raises(ScenarioServerError):
        worker.settle()
    worker.scenario.read = answer  # type: ignore[method-assign]
    assert worker.settle().job.id == "job_1"
    assert worker.paid == ["job_1"]


# Scenario does not know the job.


def test_a_new_job_that_is_not_known_yet_is_waited_for_also_after_a_clear() -> None:
    worker = Worker(scenario=LyingScenario(Clock(), hidden_for=50.0))
    worker.settle()
    for max_tries in (2, 5):
        worker.clock.sleep(10.0)
        bought = worker.settle(max_tries)
        assert (bought.job.id, bought.job.status) == ("job_1", JobStatus.PENDING)
        assert bought.job.seed == worker.line.bodies[0]["seed"]
    assert worker.paid == ["job_1"]


def test_a_job_that_stays_unknown_is_refused_until_a_clear() -> None:
    worker = Worker(scenario=LyingScenario(Clock(), hidden_for=10_000.0))
    worker.settle()
    worker.clock.sleep(60.0)
    with pytest.raises(ScenarioSubmissionError, match=r"does not know job job_1.*Nothing further was bought"):
        worker.settle()
    assert worker.settle(max_tries=3).record.take == 2
    assert worker.paid == ["job_1", "job_2"]


# Without a seed, jobs can be mistaken for each other.


def test_without_a_seed_a_strangers_twin_makes_it_refuse_naming_both_even_if_ours_is_listed_later() -> None:
    lies = LyingScenario(Clock(), list_lag=20.0)
    worker = Worker(SEEDLESS, scenario=lies)
    lies.accept("stranger", "model_1", SEEDLESS.inputs)
    worker.clock.sleep(2.0)
    worker.dies("after POST")
    worker.clock.sleep(19.0)  # Only the stranger's is listed by now.
    with pytest.raises(ScenarioSubmissionError, match=r"2 jobs at Scenario may be it: job_2, job_1|job_1, job_2"):
        worker.settle()
    assert len(worker.line.bodies) == 1
    assert worker.record.job_id is None


@pytest.mark.parametrize("end", ["dropped", "dropped unaccepted"])
@pytest.mark.parametrize("is_a_list", [False, True])
def test_without_a_seed_a_job_made_of_another_file_is_not_taken_for_ours(is_a_list: bool, end: str) -> None:
    """The author writes a path; what was sent, and comes back, is the id of the asset made of it."""

    def given(file: str) -> dict[str, Any]:
        return {"prompt": "a cat", "files": [file]} if is_a_list else {"prompt": "a cat", "file": file}

    request = Request("model_1", given("/data/a.mp4"))
    worker = Worker(request, replies=[end])
    worker.scenario.accept("stranger", "model_1", given("asset_b"))
    bought = worker.settle(before_buying=lambda: given("asset_a"))
    assert worker.scenario.job(bought.job.id).payer == "worker"
    assert len(worker.scenario.paid_by("worker")) == 1


def test_with_a_seed_twins_of_strangers_are_no_trouble_and_nobody_is_asked_for_claims() -> None:
    lies = LyingScenario(Clock())
    worker = Worker(scenario=lies)
    worker.dies("after POST")
    lies.accept("stranger", "model_1", {**REQUEST.inputs, "seed": 77})
    worker.claimed = ["job_1"]
    started = worker.clock.now
    assert worker.settle().job.id == "job_1"
    assert worker.clock.now == started, "a seed's proof needs no second look"


def test_a_siblings_job_is_left_to_it() -> None:
    lies = LyingScenario(Clock())
    sibling = Worker(SEEDLESS, scenario=lies, payer="sibling")
    worker = Worker(SEEDLESS, scenario=lies)
    worker.dies("before POST")
    worker.claimed = [sibling.settle().job.id]
    assert worker.settle().job.id == "job_2"
    assert [job.payer for job in lies.jobs] == ["sibling", "worker"]


def test_a_sibling_that_tells_of_its_job_during_the_search_is_heard() -> None:
    lies = LyingScenario(Clock())
    sibling = Worker(SEEDLESS, scenario=lies, payer="sibling")
    worker = Worker(SEEDLESS, scenario=lies)
    worker.dies("after POST")
    sibling_job = sibling.settle().job.id
    wait = worker.clock.sleep

    def wait_and_hear(seconds: float) -> None:
        wait(seconds)
        worker.claimed = [sibling_job]

    worker.clock.sleep = wait_and_hear  # type: ignore[method-assign]
    assert worker.settle().job.id == "job_1"
    assert worker.paid == ["job_1", "job_2"]


def test_the_job_is_in_the_log_and_the_prompt_is_not(caplog: pytest.LogCaptureFixture) -> None:
    worker = Worker(replies=["dropped"])
    with caplog.at_level(logging.DEBUG):
        worker.settle()
        worker.settle()
    assert "job_1" in caplog.text
    assert "a cat" not in caplog.text


# --- The price before a purchase


class Priced(Worker):
    """A worker whose purchases are priced first, as told."""

    def __init__(self, end: ScenarioError | None = None) -> None:
        super().__init__()
        self.asked: list[dict[str, Any]] = []
        self.end = end

    def settle(self, max_tries: int = 2, before_buying: Callable[[], None] = lambda: None) -> Bought:
        purchase = Purchase(
            self.line,
            self.store,
            self.rules,
            before_buying=before_buying,
            check_price=self.price,
            clock=self.clock,
            sleep=self.clock.sleep,
        )
        return purchase.settle(self.request, max_tries=max_tries)

    def price(self, inputs: Mapping[str, Any]) -> None:
        self.asked.append(dict(inputs))
        if self.end is not None:
            raise self.end


def test_the_price_is_asked_once_before_anything_is_written_down() -> None:
    worker = Priced(ScenarioCostLimitError("too dear"))
    with pytest.raises(ScenarioCostLimitError):
        worker.settle()
    assert worker.store.record is None
    assert worker.paid == []
    worker.end = None
    bought = worker.settle()
    assert worker.settle().job.id == bought.job.id
    assert worker.asked == [dict(REQUEST.inputs)] * 2


@pytest.mark.parametrize("max_tries", [2, 3])
def test_a_job_that_a_dry_run_made_is_kept_and_rejoined_by_whoever_comes_next(max_tries: int) -> None:
    worker = Priced()
    unasked = worker.scenario.accept("dry run", "model_1", dict(REQUEST.inputs))
    worker.end = ScenarioDryRunError("It bought.", job_id=unasked.id)
    with pytest.raises(ScenarioDryRunError, match=rf"^It bought\. It is kept as this task's job.*{unasked.id}"):
        worker.settle()
    assert (worker.record.job_id, worker.record.seed_is_ours) == (unasked.id, False)
    assert worker.settle(max_tries).job.id == unasked.id
    assert worker.paid == [unasked.id]
    assert len(worker.asked) == 1


# --- What is made ready just before a purchase


def test_what_is_made_ready_before_buying_is_sent_but_does_not_change_what_was_asked_for() -> None:
    """A file becomes an asset only when it is needed, and is another one after the next upload."""
    worker = Worker(Request("model_1", {"image": "s3://clips/still.png"}, largest_seed=LARGEST_SEED))
    uploads, priced = itertools.count(1), list[str]()

    def settle() -> Bought:
        purchase = Purchase(
            worker.line,
            worker.store,
            worker.rules,
            before_buying=lambda: {"image": f"asset_{next(uploads)}"},
            check_price=lambda inputs: priced.append(inputs["image"]),
            clock=worker.clock,
            sleep=worker.clock.sleep,
        )
        return purchase.settle(worker.request, max_tries=2)

    bought = settle()
    assert settle().job.id == bought.job.id
    assert next(uploads) == 2, "a job that was bought needs no file"
    (job,) = worker.scenario.jobs
    assert job.inputs["image"] == "asset_1" == priced[0]
    assert worker.record.fingerprint == worker.request.fingerprint


def test_the_price_of_a_job_that_was_found_again_is_remembered_while_it_tells_all_of_it() -> None:
    worker = Worker(replies=["dropped"])
    worker.settle()
    assert worker.record.charged == "11"
    worker = Worker(replies=["dropped"])
    worker.scenario.fate = lambda: (0.0, "failure", "queued")
    worker.settle()
    assert worker.record.charged is None

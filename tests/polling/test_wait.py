"""What each look at a job means for the wait, what is said of it, and what a trigger event carries."""

from __future__ import annotations

import datetime
import json
from decimal import Decimal
from typing import Any

import pytest

from airflow_provider_scenario import exceptions
from airflow_provider_scenario.api.job import Job, JobStatus
from airflow_provider_scenario.exceptions import (
    ScenarioAuthenticationError,
    ScenarioConfigurationError,
    ScenarioConnectionError,
    ScenarioError,
    ScenarioInputError,
    ScenarioInsufficientCreditsError,
    ScenarioJobCanceledError,
    ScenarioJobFailedError,
    ScenarioModerationError,
    ScenarioNotFoundError,
    ScenarioPermissionError,
    ScenarioRateLimitError,
    ScenarioServerError,
    ScenarioTimeoutError,
    ScenarioTransientError,
)
from airflow_provider_scenario.polling.result import no_client_error
from airflow_provider_scenario.polling.wait import REFUSED_FOR, WaitResult, WaitState, deadline_of

DEADLINE = 3600.0


def job(status: str = "in-progress", progress: float = 0.0, **facts: Any) -> Job:
    if status == "success":
        facts.setdefault("asset_ids", ("asset_1",))
    return Job("job_1", JobStatus(status), progress, **facts)


def new_wait() -> WaitState:
    return WaitState("job_1", DEADLINE)


@pytest.mark.parametrize("status", ["success", "failure", "canceled"])
def test_a_finished_job_ends_the_wait_even_after_the_deadline(status: str) -> None:
    for now in (1.0, DEADLINE, 9_999.0):
        assert new_wait().on_job(job(status), now) == WaitResult("job_1", job(status))


@pytest.mark.parametrize("status", ["pending", "queued", "warming-up", "in-progress", "finalizing", "new-one"])
def test_any_other_status_is_waited_on_until_the_deadline(status: str) -> None:
    wait = new_wait()
    assert wait.on_job(job(status), DEADLINE - 0.1) is None
    assert wait.on_job(job(status), DEADLINE) == WaitResult("job_1", job(status), timed_out=True)


def test_only_changes_of_status_and_whole_tenths_are_said() -> None:
    wait = new_wait()
    said: list[str] = []
    told: list[dict[str, Any]] = []
    looks = [
        job("queued"),
        job("queued"),
        job("in-progress", 0.01),
        *(job("in-progress", percent / 100) for percent in range(2, 100)),
        job("in-progress", 0.5),  # It may fall back: nothing is said twice.
        job("in-progress", 0.99),
        job("finalizing", 0.99),
        job("success", 1.0),
    ]
    for number, look in enumerate(looks):
        wait.on_job(look, float(number))
        lines, progress = wait.pop_updates()
        said += lines
        told += [progress] if progress else []
    assert said == [
        "Job job_1: queued.",
        "Job job_1: in-progress, 1%.",
        *(f"Job job_1: in-progress, {percent}%." for percent in range(10, 100, 10)),
        "Job job_1: finalizing.",
        "Job job_1: success.",
    ]
    assert told[0] == {"status": "queued", "percent": 0}
    assert told[5] == {"status": "in-progress", "percent": 40}
    assert told[-1] == {"status": "success", "percent": 100}
    assert len(told) == len(said)
    json.dumps(told)


def test_news_is_told_once() -> None:
    wait = new_wait()
    wait.on_job(job(), 1.0)
    assert wait.pop_updates()[1] is not None
    assert wait.pop_updates() == ([], None)


def test_a_status_this_package_does_not_know_is_said_once() -> None:
    wait = new_wait()
    for now in range(5):
        assert wait.on_job(job("thinking"), float(now)) is None
    assert wait.pop_updates()[0] == [
        "Job job_1 has a status this provider does not know: waiting on.",
        "Job job_1: thinking.",
    ]


@pytest.mark.parametrize(
    "error", [ScenarioServerError("502"), ScenarioConnectionError("cut"), ScenarioRateLimitError("429")]
)
def test_a_passing_error_ends_no_wait_before_the_deadline_and_is_said_once(error: ScenarioError) -> None:
    wait = new_wait()
    wait.on_job(job(), 0.0)
    wait.pop_updates()
    for now in range(1, int(DEADLINE), 10):
        assert wait.on_error(error, float(now)) is None
    assert wait.pop_updates() == ([f"Job job_1 could not be read, which does not end the wait: {error}"], None)
    assert wait.on_error(error, DEADLINE) == WaitResult("job_1", job(), timed_out=True)


def test_trouble_is_said_again_once_it_was_over() -> None:
    wait = new_wait()
    wait.on_error(ScenarioServerError("502"), 1.0)
    wait.on_error(ScenarioServerError("503"), 2.0)
    wait.on_job(job(), 3.0)
    wait.on_error(ScenarioServerError("503"), 4.0)
    lines = [line for line in wait.pop_updates()[0] if "could not be read" in line]
    assert [line[-3:] for line in lines] == ["502", "503", "503"]


REFUSALS = [
    ScenarioInputError("400"),
    ScenarioAuthenticationError("401"),
    ScenarioPermissionError("403"),
    ScenarioNotFoundError("404"),
    ScenarioConfigurationError("302 to a sign-in page"),
    ScenarioInsufficientCreditsError("402"),
]
any_refusal = pytest.mark.parametrize("error", REFUSALS, ids=lambda error: type(error).__name__)


@any_refusal
def test_no_refusal_ends_a_wait_by_itself(error: ScenarioError) -> None:
    wait = new_wait()
    for now in range(0, int(DEADLINE), 10):
        assert wait.on_error(error, float(now)) is None


@any_refusal
def test_a_refusal_that_lasts_a_minute_asks_for_the_job_list(error: ScenarioError) -> None:
    wait = new_wait()
    assert wait.on_error(error, 100.0) is None
    assert wait.on_error(ScenarioServerError("502"), 130.0) is None
    assert not wait.asks_list(100.0 + REFUSED_FOR), "an outage is no refusal"
    assert wait.on_error(error, 100.0 + REFUSED_FOR - 0.1) is None
    assert not wait.asks_list(100.0 + REFUSED_FOR - 0.1)
    assert wait.on_error(error, 100.0 + REFUSED_FOR) is None
    assert wait.asks_list(100.0 + REFUSED_FOR)


@any_refusal
def test_a_refusal_that_the_list_confirms_ends_the_wait_and_keeps_the_retries(error: ScenarioError) -> None:
    wait = new_wait()
    wait.on_job(job(), 90.0)
    wait.on_error(error, 100.0)
    wait.on_error(error, 175.0)
    result = wait.on_unlisted(175.0)
    assert result is not None
    assert (result.job, result.timed_out, result.take_over) == (job(), False, False)
    with pytest.raises(ScenarioTransientError) as caught:
        result.job_or_raise(60.0)
    for words in ("Job job_1 can't be read", "for 75 s", str(error), "is paid for", "pays nothing", "Correct the key"):
        assert words in str(caught.value)


def test_a_job_that_the_list_shows_is_waited_for_and_its_end_counts() -> None:
    wait = new_wait()
    for now in (0.0, 60.0):
        assert wait.on_error(ScenarioNotFoundError("404"), now) is None
    assert wait.on_listed(job(progress=0.5), 60.0) is None
    assert wait.on_error(ScenarioNotFoundError("404"), 70.0) is None
    assert wait.asks_list(70.0), "the list is what tells of it now"
    assert wait.on_unlisted(70.0) is None, "a list that lags is no verdict either"
    assert wait.on_listed(job("success"), 80.0) == WaitResult("job_1", job("success"))
    lines = wait.pop_updates()[0]
    assert sum("own address is refused" in line for line in lines) == 1
    assert sum("does not end the wait" in line for line in lines) == 1


def test_a_job_that_shows_up_again_is_not_gone() -> None:
    wait = new_wait()
    assert wait.on_error(ScenarioNotFoundError("404"), 0.0) is None
    assert wait.on_job(job(), 59.0) is None
    for now in (60.0, 119.0):
        assert wait.on_error(ScenarioNotFoundError("404"), now) is None
        assert not wait.asks_list(now)
    assert wait.on_error(ScenarioNotFoundError("404"), 120.0) is None
    assert wait.asks_list(120.0)


def test_the_list_is_searched_from_the_jobs_last_change() -> None:
    wait = new_wait()
    assert wait.list_from is None
    changed = datetime.datetime(2026, 11, 26, 12, tzinfo=datetime.UTC)
    wait.on_job(job(updated_at=changed), 0.0)
    assert wait.list_from is not None
    assert changed - datetime.timedelta(minutes=10) <= wait.list_from < changed


# A success without its outputs


def test_a_success_without_outputs_is_read_again() -> None:
    wait = new_wait()
    assert wait.on_job(job("success", asset_ids=()), 0.0) is None
    assert wait.on_job(job("success", asset_ids=()), 10.0) is None
    result = wait.on_job(job("success"), 20.0)
    assert result == WaitResult("job_1", job("success"))
    assert result.has_outputs


@pytest.mark.parametrize(("pause", "reads"), [(1.0, 6), (10.0, 6), (30.0, 3), (600.0, 2)])
def test_a_success_that_stays_without_outputs_counts_after_some_reads_or_a_minute(pause: float, reads: int) -> None:
    wait, bare = new_wait(), job("success", asset_ids=())
    results = [wait.on_job(bare, number * pause) for number in range(reads)]
    assert results == [None] * (reads - 1) + [WaitResult("job_1", bare)]
    assert results[-1] is not None
    assert not results[-1].has_outputs
    assert results[-1].job_or_raise(60.0) == bare


def test_the_deadline_does_not_cut_the_wait_for_outputs_short() -> None:
    wait = new_wait()
    assert wait.on_job(job("success", asset_ids=()), DEADLINE + 1) is None
    assert wait.on_error(ScenarioServerError("502"), DEADLINE + 3) is None
    assert wait.on_job(job("success"), DEADLINE + 5) == WaitResult("job_1", job("success"))


def test_a_success_whose_output_is_text_is_whole() -> None:
    text = job("success", asset_ids=(), has_output=True)
    result = new_wait().on_job(text, 0.0)
    assert result == WaitResult("job_1", text)
    assert WaitResult.from_event(json.loads(json.dumps(result.to_event()))).has_outputs


@pytest.mark.parametrize("status", ["in-progress", "failure", "canceled"])
def test_only_a_success_has_outputs(status: str) -> None:
    assert not WaitResult("job_1", job(status)).has_outputs
    assert not WaitResult("job_1").has_outputs


# The deadline


@pytest.mark.parametrize(
    ("started", "seconds", "deadline"),
    [(None, None, 1600.0), (900.0, None, 1600.0), (900.0, 60, 960.0), (900.0, 9000, 1600.0), (None, 60, 1060.0)],
)
def test_the_shorter_of_both_timeouts_counts(started: float | None, seconds: float | None, deadline: float) -> None:
    execution_timeout = None if seconds is None else datetime.timedelta(seconds=seconds)
    found = deadline_of(1000.0, 600.0, started_at=started, execution_timeout=execution_timeout)
    assert found == deadline


def test_a_job_unknown_at_the_deadline_has_timed_out() -> None:
    assert new_wait().on_error(ScenarioNotFoundError("404"), DEADLINE) == WaitResult("job_1", timed_out=True)


FULL = Job(
    "job_1",
    JobStatus.FAILURE,
    0.4,
    model_id="model_1",
    asset_ids=("asset_2", "asset_1"),
    seed=5,
    cost=Decimal("7.25"),
    refund_disabled=True,
    error="boom",
    hint="try less",
    inputs={"prompt": "a secret cat", "image": "https://cdn.example/a.png?Signature=SeCrEt"},
)
ERRORS = [value for value in vars(exceptions).values() if isinstance(value, type) and issubclass(value, ScenarioError)]


@pytest.mark.parametrize(
    "ending",
    [
        WaitResult("job_1", FULL),
        WaitResult("job_1", job("thinking")),
        WaitResult("job_1", job("success", 1.0, cost=Decimal("0.10"), asset_ids=("asset_1",))),
        WaitResult("job_1", job(), timed_out=True),
        WaitResult("job_1", timed_out=True),
    ],
)
def test_an_ending_survives_an_event_and_means_the_same(ending: WaitResult) -> None:
    event = json.loads(json.dumps(ending.to_event()))
    again = WaitResult.from_event(event)
    assert again.to_event() == event
    assert _meaning(again) == _meaning(ending)


@pytest.mark.parametrize("kind", ERRORS)
def test_an_error_survives_an_event_with_its_class_and_job(kind: type[ScenarioError]) -> None:
    ending = WaitResult("job_1", job(), error=kind("it went wrong"))
    again = WaitResult.from_event(json.loads(json.dumps(ending.to_event())))
    with pytest.raises(kind, match=r"^it went wrong$") as raised:
        again.job_or_raise(60.0)
    assert type(raised.value) is kind
    assert raised.value.job_id == "job_1"


def test_an_error_of_another_version_keeps_the_retries() -> None:
    event = {**WaitResult("job_1").to_event(), "error": {"type": "ScenarioTiredError", "message": "sleepy"}}
    with pytest.raises(ScenarioTransientError, match=r"^sleepy$"):
        WaitResult.from_event(event).job_or_raise(60.0)


def test_that_the_worker_should_take_over_survives_an_event() -> None:
    error = no_client_error("job_1", ScenarioConfigurationError("There is no connection x."), 61.0)
    result = new_wait().on_error(error, 0.0)
    assert result is not None
    assert result.take_over
    again = WaitResult.from_event(json.loads(json.dumps(result.to_event())))
    assert again.take_over
    assert "The triggerer can't read job job_1: for 61 s" in str(again.error)
    assert "There is no connection x." in str(again.error)
    old = {name: value for name, value in WaitResult("job_1").to_event().items() if name != "take_over"}
    assert not WaitResult.from_event(old).take_over


def test_an_event_holds_no_input_and_no_signed_url() -> None:
    error = ScenarioServerError("at https://cdn.example/a.png?Signature=SeCrEt")
    for ending in (WaitResult("job_1", FULL), WaitResult("job_1", FULL, error=error)):
        text = json.dumps(ending.to_event())
        assert "SeCrEt" not in text
        assert "a secret cat" not in text


@pytest.mark.parametrize(
    ("ending", "error"),
    [
        (WaitResult("job_1", job("failure")), ScenarioJobFailedError),
        (WaitResult("job_1", job("failure", error="flagged by moderation")), ScenarioModerationError),
        (WaitResult("job_1", job("canceled")), ScenarioJobCanceledError),
        (WaitResult("job_1", job(), timed_out=True), ScenarioTimeoutError),
        (WaitResult("job_1"), ScenarioTimeoutError),
        (WaitResult("job_1", job("success"), error=ScenarioPermissionError("no")), ScenarioPermissionError),
    ],
)
def test_what_did_not_succeed_is_raised(ending: WaitResult, error: type[ScenarioError]) -> None:
    with pytest.raises(error):
        ending.job_or_raise(60.0)


def test_what_succeeded_is_returned() -> None:
    assert WaitResult("job_1", job("success")).job_or_raise(60.0) == job("success")


def _meaning(ending: WaitResult) -> object:
    try:
        return ending.job_or_raise(60.0)
    except ScenarioError as error:
        return type(error), str(error), error.job_id

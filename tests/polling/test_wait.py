"""What each look at a job means for the wait, what is said of it, and what a trigger event carries."""

from __future__ import annotations

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
    ScenarioJobCanceledError,
    ScenarioJobFailedError,
    ScenarioModerationError,
    ScenarioNotFoundError,
    ScenarioPermanentError,
    ScenarioPermissionError,
    ScenarioRateLimitError,
    ScenarioServerError,
    ScenarioTimeoutError,
)
from airflow_provider_scenario.polling.wait import REFUSED_FOR, WaitResult, WaitState

DEADLINE = 3600.0


def job(status: str = "in-progress", progress: float = 0.0, **facts: Any) -> Job:
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


@pytest.mark.parametrize("error", [ScenarioAuthenticationError("no"), ScenarioPermissionError("no")])
def test_a_rejected_key_ends_the_wait_at_once_and_the_job_last_seen_is_kept(error: ScenarioError) -> None:
    wait = new_wait()
    wait.on_job(job(), 1.0)
    assert wait.on_error(error, 2.0) == WaitResult("job_1", job(), error=error)


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


@pytest.mark.parametrize(
    "error",
    [ScenarioNotFoundError("404"), ScenarioConfigurationError("302 to a sign-in page"), ScenarioInputError("407")],
)
def test_another_refusal_ends_the_wait_only_if_it_stays(error: ScenarioError) -> None:
    wait = new_wait()
    assert wait.on_error(error, 100.0) is None
    assert wait.on_error(ScenarioServerError("502"), 130.0) is None
    assert wait.on_error(error, 100.0 + REFUSED_FOR - 0.1) is None
    assert wait.on_error(error, 100.0 + REFUSED_FOR) == WaitResult("job_1", error=error)


def test_a_job_that_shows_up_again_is_not_gone() -> None:
    wait = new_wait()
    assert wait.on_error(ScenarioNotFoundError("404"), 0.0) is None
    assert wait.on_job(job(), 59.0) is None
    assert wait.on_error(ScenarioNotFoundError("404"), 60.0) is None
    assert wait.on_error(ScenarioNotFoundError("404"), 119.0) is None
    assert wait.on_error(ScenarioNotFoundError("404"), 120.0) is not None


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


def test_an_error_of_a_later_version_is_permanent() -> None:
    event = {**WaitResult("job_1").to_event(), "error": {"type": "ScenarioTiredError", "message": "sleepy"}}
    with pytest.raises(ScenarioPermanentError, match=r"^sleepy$"):
        WaitResult.from_event(event).job_or_raise(60.0)


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

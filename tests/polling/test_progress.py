"""How far a job is, and how long that took: the words of the log, and the XCom ``progress``, as a whole."""

from __future__ import annotations

import datetime
import json
from typing import Any

import pytest

from airflow_provider_scenario.api.job import Job, JobStatus
from airflow_provider_scenario.api.model import UsualTimes
from airflow_provider_scenario.polling.progress import duration, progress_of, progress_words, usual_words
from airflow_provider_scenario.polling.wait import WaitState

CREATED = datetime.datetime(2026, 11, 21, 12, 0, tzinfo=datetime.UTC)
USUAL = UsualTimes(running=200.0, total=250.0)


def at(seconds: float) -> datetime.datetime:
    return CREATED + datetime.timedelta(seconds=seconds)


def job(status: str, updated: float = 0.0, *, started: float | None = None, progress: float = 0.0) -> Job:
    started_at = None if started is None else at(started)
    times: dict[str, Any] = {"created_at": CREATED, "started_at": started_at, "updated_at": at(updated)}
    assets = ("asset_1",) if status == "success" else ()
    return Job("job_1", JobStatus(status), progress, asset_ids=assets, **times)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (0.44, "0.4 s"),
        (9.9, "9.9 s"),
        (9.96, "10 s"),
        (10.6, "11 s"),
        (42, "42 s"),
        (59.6, "1 min"),
        (96, "1 min 36 s"),
        (3595, "59 min 55 s"),
        (3599.7, "1 h"),
        (7500, "2 h 5 min"),
    ],
)
def test_times_in_words(seconds: float, words: str) -> None:
    assert duration(seconds) == words


@pytest.mark.parametrize(
    ("one", "words", "times"),
    [
        (job("queued", 1.0), "queued", {}),
        (job("warming-up", 30.0), "warming-up", {}),
        (
            job("in-progress", 42.0, started=42.0),
            "in-progress, 0%, running for 0 s after 42 s in the queue",
            {"queued_seconds": 42.0, "running_seconds": 0.0},
        ),
        (
            job("in-progress", 138.0, started=42.0, progress=0.4),
            "in-progress, 40%, running for 1 min 36 s after 42 s in the queue",
            {"queued_seconds": 42.0, "running_seconds": 96.0},
        ),
        (
            job("success", 280.0, started=42.0, progress=1.0),
            "success, ran for 3 min 58 s after 42 s in the queue",
            {"queued_seconds": 42.0, "running_seconds": 238.0},
        ),
        (job("failure", 5.0), "failure", {}),
        (Job("job_1", JobStatus.IN_PROGRESS, 0.25), "in-progress, 25%", {}),
    ],
)
def test_time_in_the_queue_stands_apart_from_time_of_running(one: Job, words: str, times: dict[str, float]) -> None:
    assert progress_words(one) == words
    percent = round(one.progress * 100)
    progress = progress_of(one, USUAL)
    assert progress == {
        "status": one.status.value,
        "percent": percent,
        **times,
        "usual_running_seconds": 200.0,
        "usual_seconds": 250.0,
    }
    assert json.loads(json.dumps(progress)) == progress


@pytest.mark.parametrize(
    ("usual", "words"),
    [
        (None, ""),
        (USUAL, " Such jobs usually take 4 min 10 s, 3 min 20 s of it running."),
        (UsualTimes(total=250.0), " Such jobs usually take 4 min 10 s."),
        (UsualTimes(running=200.0), " Such jobs usually run for 3 min 20 s."),
    ],
)
def test_what_is_usual_is_said_as_far_as_it_is_known(usual: UsualTimes | None, words: str) -> None:
    assert usual_words(usual) == words


def test_what_is_usual_is_said_once_and_only_while_there_is_something_to_wait_for() -> None:
    wait = WaitState("job_1", 3600.0, USUAL)
    for look in (job("queued"), job("in-progress", 42.0, started=42.0), job("success", 280.0, started=42.0)):
        wait.on_job(look, 1.0)
    assert wait.pop_updates()[0] == [
        "Job job_1: queued. Such jobs usually take 4 min 10 s, 3 min 20 s of it running.",
        "Job job_1: in-progress, 0%, running for 0 s after 42 s in the queue.",
        "Job job_1: success, ran for 3 min 58 s after 42 s in the queue.",
    ]
    finished = WaitState("job_1", 3600.0, USUAL)
    finished.on_job(job("success", 280.0, started=42.0), 1.0)
    assert finished.pop_updates()[0] == ["Job job_1: success, ran for 3 min 58 s after 42 s in the queue."]

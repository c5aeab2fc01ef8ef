"""What is read out of Airflow's own log of events."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from tests.e2e.airflow_api import KILLED, STATE_MISMATCH, ended_by_scheduler

MESSAGE = (
    "Executor LocalExecutor(parallelism=12) reported that the task instance <TaskInstance: crash_deferrable.buy "
    "manual__1 [queued]> finished with state {}, but the task instance's state attribute is queued. Learn more: https://"
)


def event(**changed: Any) -> dict[str, Any]:
    told = {"event": STATE_MISMATCH, "task_id": "buy", "map_index": -1, "try_number": 1}
    return {**told, "when": "2026-01-01T10:00:30.5Z", "extra": MESSAGE.format("success"), **changed}


def no_log(task_id: str, map_index: int, try_number: int) -> str:
    return ""


def test_each_try_that_the_scheduler_ended_counts_with_the_next_one() -> None:
    events = [event(), event(), event(try_number=2), event(task_id="save"), event(map_index=3), event(map_index=None)]
    assert ended_by_scheduler(events, no_log) == {("buy", -1): 4, ("save", -1): 2, ("buy", 3): 2}


def log_of_one_killed_at(timestamp: str) -> Callable[[str, int, int], str]:
    line = json.dumps({"timestamp": timestamp, "event": f"{KILLED} error (OOM)."})
    killed = ("buy", 3, 1)
    return lambda *place: f"A line\n{line}\n" if place == killed else "A line"


def test_a_try_whose_process_was_killed_is_no_excuse() -> None:
    events = [event(map_index=3), event(map_index=3, try_number=2), event()]
    assert ended_by_scheduler(events, log_of_one_killed_at("2026-01-01T10:00:30Z")) == {("buy", 3): 2, ("buy", -1): 2}


def test_a_process_that_was_killed_later_does_not_explain_what_the_scheduler_did_before() -> None:
    assert ended_by_scheduler([event(map_index=3)], log_of_one_killed_at("2026-01-01T10:01:00Z")) == {("buy", 3): 2}


def test_a_worker_that_did_not_end_well_is_no_excuse() -> None:
    assert ended_by_scheduler([event(extra=MESSAGE.format("failed"))], no_log) == {}


def test_other_events_are_no_excuse() -> None:
    events = [event(event="failed"), event(extra=None), event(extra="finished with state success")]
    assert ended_by_scheduler(events, no_log) == {}

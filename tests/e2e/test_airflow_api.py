"""What is read out of Airflow's own log of events."""

from __future__ import annotations

from typing import Any

from tests.e2e.airflow_api import KILLED, STATE_MISMATCH, ended_by_scheduler

MESSAGE = (
    "Executor LocalExecutor(parallelism=12) reported that the task instance <TaskInstance: crash_deferrable.buy "
    "manual__1 [queued]> finished with state {}, but the task instance's state attribute is queued. Learn more: https://"
)


def event(**changed: Any) -> dict[str, Any]:
    told = {"event": STATE_MISMATCH, "task_id": "buy", "map_index": -1, "try_number": 1}
    return {**told, "extra": MESSAGE.format("success"), **changed}


def no_log(task_id: str, map_index: int, try_number: int) -> str:
    return ""


def test_each_try_that_the_scheduler_ended_counts_with_the_next_one() -> None:
    events = [event(), event(), event(try_number=2), event(task_id="save"), event(map_index=3), event(map_index=None)]
    assert ended_by_scheduler(events, no_log) == {("buy", -1): 4, ("save", -1): 2, ("buy", 3): 2}


def test_a_try_whose_process_was_killed_is_no_excuse() -> None:
    def log_of(task_id: str, map_index: int, try_number: int) -> str:
        return f"A line\n{KILLED} error (OOM)." if (task_id, map_index, try_number) == ("buy", 3, 1) else "A line"

    events = [event(map_index=3), event(map_index=3, try_number=2), event()]
    assert ended_by_scheduler(events, log_of) == {("buy", 3): 2, ("buy", -1): 2}


def test_a_worker_that_did_not_end_well_is_no_excuse() -> None:
    assert ended_by_scheduler([event(extra=MESSAGE.format("failed"))], no_log) == {}


def test_other_events_are_no_excuse() -> None:
    events = [event(event="failed"), event(extra=None), event(extra="finished with state success")]
    assert ended_by_scheduler(events, no_log) == {}

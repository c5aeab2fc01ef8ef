"""Waiting in the worker itself: read, report what is new, pause, and read again."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

from airflow_provider_scenario.api import calls
from airflow_provider_scenario.api.calls import Client, find_in_list
from airflow_provider_scenario.api.job import Job
from airflow_provider_scenario.exceptions import ScenarioError, ScenarioTransientError
from airflow_provider_scenario.polling.progress import log_updates
from airflow_provider_scenario.polling.wait import OUTPUTS_PAUSE, WaitResult, WaitState


def poll_until_done(
    state: WaitState, client: Client, poll_interval: float, report: Callable[[WaitState], object]
) -> WaitResult:
    """Wait until the job, which was read once, has ended or the deadline has passed."""
    result = None
    while result is None:
        report(state)
        time.sleep(pause_of(state, poll_interval))
        result = read_job(state, client)
    report(state)
    return result


def wait_for_job(job_id: str, client: Client, *, poll_interval: float, timeout: float, log: Any) -> Job:
    """Wait for a job that succeeds, and return it; raise what became of it otherwise."""
    state = WaitState(job_id, time.time() + timeout)

    result = read_job(state, client) or poll_until_done(
        state, client, poll_interval, lambda state: log_updates(state, log)
    )
    log_updates(state, log)
    return result.job_or_raise(timeout, then="Wait for it again")


def read_job(state: WaitState, client: Client) -> WaitResult | None:
    """Read once; ``None``: read again. A refusal that lasts is confirmed by the job list before it ends the wait."""
    try:
        job = client.send(calls.get_job(state.job_id))
    except ScenarioError as error:
        result = state.on_error(error, time.time())
        if result is None and state.asks_list(time.time()):
            result = _read_list(state, client)
        return result
    return state.on_job(job, time.time())


def final_check(job_id: str, client: Client) -> WaitResult:
    """Read a job at its deadline: once, or a few times if it has succeeded and its outputs are not shown yet."""
    state = WaitState(job_id, deadline=0.0)
    while (result := read_job(state, client)) is None:
        time.sleep(OUTPUTS_PAUSE)
    return result


def pause_of(state: WaitState, poll_interval: float) -> float:
    """Return the seconds to pause before the next read: the deadline cuts a pause short."""
    # The interval is more than 0; a tenth more or less of it is drawn each time.
    pause = poll_interval * random.uniform(0.9, 1.1)
    left = state.deadline - time.time()
    return max(0.1, min(pause, left)) if left > 0 else min(pause, OUTPUTS_PAUSE)


def _read_list(state: WaitState, client: Client) -> WaitResult | None:
    """Search the job list for a job whose own address is refused."""
    try:
        job = find_in_list(client, state.job_id, state.list_from)
    except ScenarioTransientError:
        return None  # The list is out just now, which confirms nothing.
    except ScenarioError:
        job = None
    now = time.time()
    return state.on_unlisted(now) if job is None else state.on_listed(job, now)

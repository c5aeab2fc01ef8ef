"""Waiting in the worker itself: look, say what is new, pause, and look again."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from airflow_provider_scenario.api import calls
from airflow_provider_scenario.api.job_search import Client
from airflow_provider_scenario.exceptions import ScenarioError
from airflow_provider_scenario.polling.wait import WaitResult, WaitState


def poll_until_done(
    wait: WaitState, client: Client, poll_interval: float, tell: Callable[[WaitState], None]
) -> WaitResult:
    """Wait until the job has ended, or the deadline has passed.

    :param wait: The wait, which has seen the job once.
    :param client: Carries the calls.
    :param poll_interval: Seconds between two looks, more than 0; a tenth more or less of it is drawn each time.
    :param tell: Says what is new.
    """
    ending = None
    while ending is None:
        tell(wait)
        pause = poll_interval * random.uniform(0.9, 1.1)
        time.sleep(max(0.1, min(pause, wait.deadline - time.time())))
        ending = _look(wait, client)
    tell(wait)
    return ending


def final_check(job_id: str, client: Client) -> WaitResult:
    """Look at a job once, at its deadline.

    :param job_id: The job.
    :param client: Carries the call.
    """
    return _look(WaitState(job_id, deadline=0.0), client) or WaitResult(job_id, timed_out=True)


def _look(wait: WaitState, client: Client) -> WaitResult | None:
    try:
        job = client.send(calls.get_job(wait.job_id))
    except ScenarioError as error:
        return wait.on_error(error, time.time())
    return wait.on_job(job, time.time())

"""Which job a lost submission has become, if any, and how long to look for it. Pure.

A submission is lost if it was on its way to Scenario when the worker died or the connection broke: it may have been
accepted. Scenario's job list is the only witness, and it lags, echoes inputs loosely and holds other people's jobs.
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Collection, Mapping
from typing import Any

from airflow_provider_scenario.api.job import Job, whole_number
from airflow_provider_scenario.submission.decision import Record, Request

SETTLE_SECONDS = 40.0
"""How long after it was sent a submission may still show up in the job list: Scenario's gateway gives up on a request
after 30 s, and the list lags by seconds."""

SHORTEST_SEARCH = 15.0
"""Seconds that every search lasts before it may conclude that nothing was accepted: the worker that sent the
submission may have died just now, or its clock may differ from this one's, or a job may have moved to a page of the
list that was already read."""

CLOCK_TOLERANCE = 5.0
"""Seconds that two clocks may still differ by once their difference is measured from a ``Date`` header."""

WORKER_TOLERANCE = 300.0
"""Seconds that the clock of the worker that searches may differ from that of the worker that bought."""

ACCEPTANCE_SECONDS = 240.0
"""How long after an intent Scenario may have accepted it: the client's time-out and as much again, generously."""


def candidates(
    record: Record,
    request: Request,
    jobs: Collection[Job],
    *,
    clock_ahead: float = 0.0,
    claimed: Collection[str] = (),
) -> tuple[Job, ...]:
    """Return the jobs that a lost submission may have become.

    A seed of ours is proof. Without one a job counts if it is of the same model, was made in the time the submission
    may have been accepted in, echoes no input that differs from ours, and nobody else claims it.

    :param record: The intent.
    :param request: What was asked for.
    :param jobs: The list to search.
    :param clock_ahead: Seconds that Scenario's clock is ahead of ours.
    :param claimed: Ids of jobs known to be another task's.
    """
    sent = {**request.inputs, **record.sent}
    same_model = [job for job in jobs if job.model_id in (None, request.model_id) and job.id not in claimed]
    if record.seed_is_ours:
        return tuple(job for job in same_model if job.seed == record.seed)
    return tuple(
        job
        for job in same_model
        if _made_in_time(record, job, clock_ahead)
        and all(_echoes(value, job.inputs.get(name)) for name, value in sent.items())
    )


def search_from(record: Record, *, clock_ahead: float = 0.0) -> datetime.datetime:
    """Return the time, by Scenario's clock, that a search for a lost submission starts at."""
    assert record.intended_at is not None  # noqa: S101 - only an intent is searched for
    tolerance = WORKER_TOLERANCE if record.seed_is_ours else CLOCK_TOLERANCE
    return datetime.datetime.fromtimestamp(record.intended_at + clock_ahead - tolerance, datetime.UTC)


def settled_at(record: Record, *, started: float, same_try: bool) -> float:
    """Return when a search that still finds nothing may conclude that nothing was accepted.

    :param record: The intent.
    :param started: When the search began, in seconds of the epoch.
    :param same_try: Whether the submission was made by this very try: then it was on its way until the search began,
        which may be long after the intent.
    """
    assert record.intended_at is not None  # noqa: S101 - only an intent is searched for
    sent = max(record.intended_at, started) if same_try else record.intended_at
    return max(sent + SETTLE_SECONDS, started + SHORTEST_SEARCH)


def _made_in_time(record: Record, job: Job, clock_ahead: float) -> bool:
    if job.created_at is None or record.intended_at is None:
        return False
    age = job.created_at.timestamp() - clock_ahead - record.intended_at
    return -CLOCK_TOLERANCE <= age <= ACCEPTANCE_SECONDS


def _echoes(sent: Any, echoed: Any) -> bool:
    """Whether Scenario's echo may be of the value sent. It isn't literal, so only a sure difference counts."""
    match sent, echoed:
        case _, None:
            return True  # Scenario drops what it doesn't use.
        case (bool(), _) | (_, bool()):
            return sent is echoed
        case str(), str():
            # A long text comes back as the id of a text asset, a data: URL as the id of the asset made of it.
            made_an_asset = echoed.startswith("asset_") and not sent.startswith("asset_")
            return made_an_asset or sent.split() == echoed.split()
        case ((int() | float() | str()), (int() | float() | str())):
            return _same_number(sent, echoed)
        case ((list() | tuple()), (list() | tuple())):
            return len(sent) == len(echoed) and all(map(_echoes, sent, echoed))
        case Mapping(), Mapping():
            return all(_echoes(value, echoed.get(name)) for name, value in sent.items())
        case _:
            return False


def _same_number(one: float | str, other: float | str) -> bool:
    """Whether two numbers, or texts of numbers, are the same: whole ones exactly, others as far as a float tells."""
    whole = whole_number(one), whole_number(other)
    if None not in whole:
        return whole[0] == whole[1]
    try:
        return math.isclose(float(one), float(other), rel_tol=1e-6)
    except (ValueError, OverflowError):
        return False

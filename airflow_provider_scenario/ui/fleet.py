"""What waits on a connection, over all DAGs. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from airflow_provider_scenario.api.job import Job
from airflow_provider_scenario.ui.pages import Instance, Source, job_facts

Waiting = Sequence[tuple[Instance, Source]]
"""Task instances that wait, and what each says of its jobs."""

_MOST_SHOWN = 200


def place_in_line(instance: Instance, source: Source, waiting: Waiting) -> dict[str, int]:
    """Return a task's place among all that wait for capacity of its connection, and how many these are."""
    # Tasks try in the order in which they began to wait, as far as one triggerer serves them.
    line = sorted(
        (one.waits["since"], other.dag_id, other.run_id, other.task_id, other.map_index)
        for other, one in waiting
        if one.waits and one.scenario_conn_id == source.scenario_conn_id
    )
    own = (source.waits["since"], instance.dag_id, instance.run_id, instance.task_id, instance.map_index)
    return {"place": sum(one < own for one in line) + 1, "of": max(len(line), 1)}


def fleet_page(waiting: Waiting, jobs: Iterable[Job], readable: set[str], now: float) -> dict[str, Any]:
    """Return what the page of a connection shows at ``now``, in seconds of the epoch."""
    known = {job.id: job for job in jobs}  # those that changed today, of Airflow's tasks and of others
    running = [job for job in known.values() if not job.is_finished]
    ours = {job_id for _, source in waiting for job_id in source.job_ids}
    # Of DAGs that the user may not read there is a number and no row.
    rows = [_row(instance, source, known, now) for instance, source in waiting if instance.dag_id in readable]
    rows.sort(key=lambda row: (row["state"] == "no slot", -(row.get("percent") or 0)))
    return {
        "running": len(running),
        "running_ours": sum(job.id in ours for job in running),
        "waiting_for_slot": sum(bool(source.waits) for _, source in waiting),
        "waiting": len(waiting),
        "hidden": len(waiting) - len(rows),
        "rows": rows[:_MOST_SHOWN],
        "cut": max(0, len(rows) - _MOST_SHOWN),
    }


def _row(instance: Instance, source: Source, known: dict[str, Job], now: float) -> dict[str, Any]:
    place = {key: getattr(instance, key) for key in ("dag_id", "run_id", "task_id", "map_index", "name")}
    if source.is_searching:
        return {**place, "state": "searching"}
    if source.waits or not source.job_ids:
        since = source.waits.get("since")
        return {**place, "state": "no slot", "waited_seconds": None if since is None else max(0.0, now - since)}
    job_id = source.job_ids[-1]
    if job_id not in known:
        return {**place, "state": "unseen", "cost": source.charged.get(job_id)}
    facts = job_facts(job_id, known[job_id], source)
    kept = ("state", "percent", "prompt", "cost", "queued_seconds", "running_seconds")
    return {**place, **{key: facts.get(key) for key in kept}}

"""Where a task keeps the record of what it bought, and where it shows it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from airflow_provider_scenario.api.values import name_or_none
from airflow_provider_scenario.submission.charges import PURCHASES_KEY, PurchaseSummary
from airflow_provider_scenario.submission.record import Record, Submitted, all_jobs, from_dict, to_dict

STATE_KEY = "scenario_submission"
"""The one key in a task's state store. Renaming it would lose sight of every job that is waited for."""


class SubmissionStore:
    """Keeps the record in Airflow's task state store, where there is one, so that retries and clears find it."""

    def __init__(
        self, context: Mapping[str, Any], scenario_conn_id: str, project_id: str | None, *, durable: bool
    ) -> None:
        self._context = context
        self._access = (scenario_conn_id, project_id)  # What reports read the jobs with.
        # Airflow below 3.3 has none, and 3.4 empties it when a task is cleared: then the job is found by its seed.
        self._store = context.get("task_state_store") if durable else None
        self._record: Record | None = None

    @property
    def is_durable(self) -> bool:
        """Whether the next try finds what is saved, unless a clear throws it away."""
        return self._store is not None

    def load(self) -> Record | None:
        """Return the record, or ``None``; ``ScenarioSubmissionError`` if it can't be read."""
        if self._store is None:
            return self._record
        document = self._store.get(STATE_KEY)
        return None if document is None else from_dict(document)

    def save(self, record: Record) -> None:
        """Keep the record for as long as the DAG run is kept."""
        self._record = record
        if self._store is not None:
            from airflow.sdk import NEVER_EXPIRE  # type: ignore[attr-defined]  # missing in its stub

            self._store.set(STATE_KEY, to_dict(record), retention=NEVER_EXPIRE)

    def jobs_of_others(self) -> Collection[str]:
        """Return the jobs that other task instances of this DAG run are known to have bought."""
        ti, dag = self._context["ti"], self._context.get("dag")
        task_ids = [task_id for task_id in getattr(dag, "task_ids", ()) if task_id != ti.task_id]
        if ti.map_index is not None and ti.map_index >= 0:
            task_ids.append(ti.task_id)
        # Without map_indexes, not even None, Airflow gives those of all instances; a single one it gives bare.
        return {
            job_id
            for task_id in task_ids
            for key in ("job_id", PURCHASES_KEY)  # Earlier generations are in the purchases alone.
            for job_id in _claimed_in(ti.xcom_pull(task_ids=task_id, key=key))
        }

    def claim(self, job_id: str | None) -> None:
        """Tell the other task instances of the DAG run that a job is this one's; ``None`` takes it back."""
        self._context["ti"].xcom_push(key="job_id", value=job_id)

    def show_jobs(self, job_ids: Collection[str]) -> None:
        """Show jobs that this task instance bought, where there is no record of them."""
        show_purchases(self._context, *self._access, job_ids)

    def show(self, record: Record | None, **state: Any) -> None:
        """Show what this task instance bought by its record; ``state``: see :func:`show_purchases`."""
        charged = {}
        if isinstance(record, Submitted) and record.charged is not None:
            charged = {record.job_id: record.charged}
        job_ids, unproven = ((), ()) if record is None else (all_jobs(record), record.unproven_jobs)
        show_purchases(self._context, *self._access, job_ids, charged, unproven_jobs=unproven, **state)


def show_purchases(
    context: Mapping[str, Any],
    scenario_conn_id: str,
    project_id: str | None,
    job_ids: Collection[str],
    charged: Mapping[str, str] | None = None,
    **state: Any,
) -> None:
    """Show a task instance's purchases as an XCom, for reports and its page; ``state``: other fields of the summary."""
    ti = context["ti"]
    task = ti.task_id if ti.map_index is None or ti.map_index < 0 else f"{ti.task_id}[{ti.map_index}]"
    shown = PurchaseSummary(
        task, scenario_conn_id, name_or_none(project_id), tuple(job_ids), dict(charged or {}), **state
    )
    ti.xcom_push(key=PURCHASES_KEY, value=shown.to_json())


def _claimed_in(pulled: object) -> list[str]:
    """Return the ids in one XCom or in a list of them: each an id, or what :class:`PurchaseSummary` makes."""
    found = pulled if isinstance(pulled, list | tuple) else [pulled]
    jobs = [one for one in found if isinstance(one, str) and one]
    for one in found:
        if isinstance(one, Mapping) and isinstance(one.get("job_ids"), list | tuple):
            unproven = one.get("unproven_jobs") or ()
            jobs += [job_id for job_id in one["job_ids"] if isinstance(job_id, str) and job_id not in unproven]
    return jobs

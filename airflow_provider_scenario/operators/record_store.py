"""Where an operator keeps the record of what it bought, and where it shows it."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from airflow_provider_scenario.submission.charges import PURCHASES_KEY, Purchases
from airflow_provider_scenario.submission.decision import Record

if TYPE_CHECKING:
    from airflow_provider_scenario.submission.submitter import RecordStore

STATE_KEY = "scenario_submission"
"""The one key in a task's state store. Renaming it would lose sight of every job that is waited for."""


class NotDurableWarning(UserWarning):
    """Airflow can't remember a purchase from one try to the next."""


class TaskStateStore:
    """Keeps the record in Airflow's task state store (3.3 and later), where retries and clears find it.

    :param store: ``context["task_state_store"]``.
    """

    def __init__(self, store: Any) -> None:
        self._store = store

    def load(self) -> Record | None:
        """Return the record, or ``None``."""
        document = self._store.get(STATE_KEY)
        return Record.from_json(document) if document else None

    def save(self, record: Record) -> None:
        """Keep the record for as long as the DAG run is kept."""
        from airflow.sdk import NEVER_EXPIRE  # type: ignore[attr-defined]  # missing in its stub

        self._store.set(STATE_KEY, record.to_json(), retention=NEVER_EXPIRE)


class OneTryStore:
    """Keeps the record for this try only."""

    def __init__(self) -> None:
        self._record: Record | None = None

    def load(self) -> Record | None:
        """Return the record, or ``None``."""
        return self._record

    def save(self, record: Record) -> None:
        """Keep the record."""
        self._record = record


def show_purchases(
    context: Mapping[str, Any],
    scenario_conn_id: str,
    project_id: str | None,
    job_ids: Collection[str],
    charged: Mapping[str, str] | None = None,
) -> None:
    """Show what this task instance bought as an XCom, which a report can read.

    :param context: Airflow's task context.
    :param scenario_conn_id: The connection it bought on.
    :param project_id: The project it asserted.
    :param job_ids: The jobs, the last one last.
    :param charged: What is known to have been charged, by job. Default: nothing.
    """
    ti = context["ti"]
    task = ti.task_id if ti.map_index is None or ti.map_index < 0 else f"{ti.task_id}[{ti.map_index}]"
    shown = Purchases(task, scenario_conn_id, project_id, tuple(job_ids), dict(charged or {}))
    ti.xcom_push(key=PURCHASES_KEY, value=shown.to_json())


def record_store(context: Mapping[str, Any], *, durable: bool) -> RecordStore:
    """Return where to keep the record of this task instance.

    :param context: Airflow's task context.
    :param durable: Whether the author wants purchases remembered across tries.
    """
    store = context.get("task_state_store")
    if durable and store is not None:
        return TaskStateStore(store)
    if durable:
        warnings.warn(
            "Airflow below 3.3 has no task state store: if a worker dies after buying a generation, the task's retry "
            "buys it again. Upgrade Airflow, or set retries=0.",
            NotDurableWarning,
            stacklevel=2,
        )
    return OneTryStore()

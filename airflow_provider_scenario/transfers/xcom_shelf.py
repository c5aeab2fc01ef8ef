"""The notes of :mod:`~airflow_provider_scenario.transfers.run_memory`, kept as XComs of the run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from airflow_provider_scenario.transfers.run_memory import Note

KEY = "scenario_uploads"
"""The XCom of each instance that holds its note."""

UPLOADS = "uploads_to_scenario"
"""The attribute by which an operator's class says that its tasks upload files."""


class XComShelf:
    """Each instance's note is an XCom of its own, so that none overwrites what another has just written.

    :param ti: The task instance.
    :param task_ids: The tasks of the DAG whose instances upload.
    """

    def __init__(self, ti: Any, task_ids: Sequence[str]) -> None:
        self._ti = ti
        self._task_ids = task_ids
        self.teller = _state_name(ti.task_id, ti.map_index)

    def put(self, note: Note) -> None:
        """Replace this instance's note."""
        self._ti.xcom_push(
            key=KEY,
            value={
                "task_id": self._ti.task_id,
                "map_index": self._ti.map_index,
                "sent": note.sent,
                "claims": note.claims,
            },
        )

    def others(self) -> Sequence[Note]:
        """Return the notes of all other instances."""
        # Without map_indexes Airflow gives the XComs of all instances of each task.
        told = [one for one in self._ti.xcom_pull(task_ids=self._task_ids, key=KEY) or () if isinstance(one, Mapping)]
        notes = (Note(_state_name(one["task_id"], one["map_index"]), one["sent"], one["claims"]) for one in told)
        return [note for note in notes if note.teller != self.teller]

    def is_running(self, teller: str) -> bool:
        """Return whether Airflow takes the instance for running."""
        run_id = self._ti.run_id
        states = self._ti.get_task_states(dag_id=self._ti.dag_id, task_ids=list(self._task_ids), run_ids=[run_id])
        return (states.get(run_id) or {}).get(teller) == "running"


def shelf_of(context: Mapping[str, Any]) -> XComShelf | None:
    """Return the shelf of a task's run, ``None`` if no other instance in its DAG uploads.

    :param context: Airflow's task context.
    """
    ti, dag = context.get("ti"), context.get("dag")
    if ti is None or dag is None:
        return None
    task_ids = [task.task_id for task in dag.tasks if getattr(getattr(task, "operator_class", task), UPLOADS, False)]
    is_mapped = ti.map_index is not None and ti.map_index >= 0
    return XComShelf(ti, task_ids) if len(task_ids) > 1 or is_mapped else None


def _state_name(task_id: str, map_index: int | None) -> str:
    """Return an instance's name among the states of a run, as Airflow spells it."""
    return task_id if map_index is None or map_index < 0 else f"{task_id}_{map_index}"

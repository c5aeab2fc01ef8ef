"""What Airflow's database knows of tasks, as far as the pages show it.

Each function lets go of the database before it returns: Scenario, which is asked after that, may take seconds.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from typing import Any

from airflow.models.asset import AssetEvent
from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import TaskInstance
from airflow.models.xcom import XComModel
from airflow.utils.session import create_session
from fastapi import HTTPException
from sqlalchemy import and_, select, tuple_

from airflow_provider_scenario.links import PAGE_KEY
from airflow_provider_scenario.submission.charges import PURCHASES_KEY
from airflow_provider_scenario.ui import pages
from airflow_provider_scenario.ui.pages import Instance, Source
from airflow_provider_scenario.ui.reads import Cache

_MOST_ROWS = 20_000
"""Rows of Airflow's database that one page reads at most."""
_MOST_EVENTS = 60
"""Events of an Airflow asset that its page shows, the last ones."""
_NEAR = 10
"""How many instances before and after it a mapped task's page names."""

# From Airflow 3.4 on the rows of former tries stand beside that of the last one.
_OF_LAST_TRY = [TaskInstance.working_set.is_(True)] if hasattr(TaskInstance, "working_set") else []


def _instances(*conditions: Any, keys: Iterable[str] = pages.KEYS) -> list[Instance]:
    """Return task instances with their XComs of some keys; those without any have none."""
    columns: tuple[Any, ...] = (
        TaskInstance.dag_id,
        TaskInstance.run_id,
        TaskInstance.task_id,
        TaskInstance.map_index,
        TaskInstance.state,
        TaskInstance.rendered_map_index,
        XComModel.key,
        XComModel.value,
    )
    query = (
        select(*columns)
        .outerjoin(
            XComModel,
            and_(
                XComModel.dag_id == TaskInstance.dag_id,
                XComModel.run_id == TaskInstance.run_id,
                XComModel.task_id == TaskInstance.task_id,
                XComModel.map_index == TaskInstance.map_index,
                XComModel.key.in_(list(keys)),
            ),
        )
        .where(*conditions, *_OF_LAST_TRY)
        .order_by(TaskInstance.dag_id, TaskInstance.run_id, TaskInstance.task_id, TaskInstance.map_index)
        .limit(_MOST_ROWS)
    )
    with create_session(scoped=False) as session:
        rows = session.execute(query).all()
    found: dict[tuple[str, str, str, int], tuple[tuple[Any, ...], dict[str, Any]]] = {}
    for *place, state, name, key, value in rows:
        _, xcoms = found.setdefault(tuple(place), ((state, name), {}))
        if key is not None:
            xcoms[key] = pages.value_of(value)
    return [
        Instance(*place, None if state is None else str(state), _own_name(name, place[-1]), xcoms)
        for place, ((state, name), xcoms) in found.items()
    ]


def _own_name(rendered: str | None, map_index: int) -> str | None:
    """Return what a mapped instance is called; ``None`` where Airflow has just its index."""
    return None if rendered == str(map_index) else rendered


def _is_of(dag_id: str, run_id: str) -> tuple[Any, ...]:
    return (TaskInstance.dag_id == dag_id, TaskInstance.run_id == run_id)


def instance_at(dag_id: str, run_id: str, task_id: str, map_index: int) -> Instance:
    """Return a task instance, or answer 404."""
    found = _instances(*_is_of(dag_id, run_id), TaskInstance.task_id == task_id, TaskInstance.map_index == map_index)
    if not found:
        raise HTTPException(404, "There is no such task instance.")
    return found[0]


def source_at(dag_id: str, run_id: str, task_id: str, map_index: int) -> Source:
    """Return what a task instance has made at Scenario, or answer 404."""
    source = pages.source_of(instance_at(dag_id, run_id, task_id, map_index))
    if source is None or not source.job_ids:
        raise HTTPException(404, "This task has made nothing at Scenario.")
    return source


def instances_of_run(dag_id: str, run_id: str, keys: Iterable[str]) -> list[Instance]:
    """Return the task instances of a run that have XComs of some keys."""
    return _instances(*_is_of(dag_id, run_id), XComModel.key.is_not(None), keys=keys)


def savers_beside(instance: Instance) -> list[Instance]:
    """Return the task instances of the same run, unmapped or of the same index, that have saved files."""
    near = TaskInstance.map_index.in_({-1, instance.map_index})
    return _savers(*_is_of(instance.dag_id, instance.run_id), near)


def savers_near(instance: Instance) -> list[Instance]:
    """Return the instances of the same mapped task that are near to this one and have saved files."""
    near = TaskInstance.map_index.between(max(0, instance.map_index - _NEAR), instance.map_index + _NEAR)
    return _savers(*_is_of(instance.dag_id, instance.run_id), TaskInstance.task_id == instance.task_id, near)


def _savers(*conditions: Any) -> list[Instance]:
    return _instances(*conditions, XComModel.key.is_not(None), keys=(pages.MANIFEST_KEY,))


_waiting_cache: Cache[list[tuple[Instance, Source]]] = Cache(1)


def waiting() -> list[tuple[Instance, Source]]:
    """Return the task instances of all DAGs that wait for a job or for capacity; one look serves all viewers."""
    kept = _waiting_cache.get("all")
    if kept is None:
        pending = TaskInstance.state.in_(("deferred", "running", "up_for_reschedule"))
        instances = _instances(pending, XComModel.key.is_not(None), keys=(PURCHASES_KEY, PAGE_KEY))
        kept = [(one, source) for one in instances if (source := pages.source_of(one)) is not None]
        _waiting_cache.put("all", kept, 3.0)
    return kept


def events_of(asset_id: int) -> list[tuple[Instance, str, set[str]]]:
    """Return the last events of an Airflow asset: the task instance that made each, when, and the files it names."""
    columns = (
        AssetEvent.source_dag_id,
        AssetEvent.source_run_id,
        AssetEvent.source_task_id,
        AssetEvent.source_map_index,
        AssetEvent.timestamp,
        AssetEvent.extra,
    )
    query = select(*columns).where(AssetEvent.asset_id == asset_id).order_by(AssetEvent.timestamp.desc())
    with create_session(scoped=False) as session:
        rows = session.execute(query.limit(_MOST_EVENTS)).all()
    # An event of a person's or of a watcher's has no task.
    events = [(tuple(row[:4]), row[4].isoformat(), pages.named_assets(row[5])) for row in rows if row[2] is not None]
    if not events:
        return []
    place = tuple_(TaskInstance.dag_id, TaskInstance.run_id, TaskInstance.task_id, TaskInstance.map_index)
    instances = _instances(place.in_(list({place for place, _, _ in events})), keys=(PURCHASES_KEY, PAGE_KEY))
    known = {(one.dag_id, one.run_id, one.task_id, one.map_index): one for one in instances}
    return [(known[place], at, named) for place, at, named in events if place in known]


def run_started(dag_id: str, run_id: str) -> datetime.datetime | None:
    """Return from when on a run's jobs may be, or answer 404."""
    with create_session(scoped=False) as session:
        query = select(DagRun.queued_at, DagRun.start_date).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id)
        row = session.execute(query).first()
    if row is None:
        raise HTTPException(404, "There is no such run.")
    # A clear moves both on; jobs of before it are read one by one. Scenario's clock may be behind Airflow's.
    times = [one for one in row if one is not None]
    return min(times) - datetime.timedelta(minutes=5) if times else None

"""One task instance over its tries, as operators and sensors know it: what Airflow keeps, and what it wipes."""

from __future__ import annotations

import asyncio
import datetime
import importlib
import json
from collections.abc import Iterable
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import TaskDeferred
from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType
from airflow.sdk.execution_time import task_runner
from airflow.sdk.execution_time.comms import ErrorResponse

from tests.this_airflow import has_task_state_store

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.triggers.base import BaseTrigger

STATE_KEY = "scenario_submission"


class StateStore:
    """Keeps JSON, as ``context["task_state_store"]`` does."""

    def __init__(self) -> None:
        self.rows: dict[str, str] = {}
        self.retentions: dict[str, Any] = {}

    def get(self, key: str, default: Any = None) -> Any:
        return json.loads(self.rows[key]) if key in self.rows else default

    def set(self, key: str, value: Any, *, retention: Any = None) -> None:
        self.rows[key] = json.dumps(value)
        self.retentions[key] = retention


NOT_GIVEN = object()


class TaskInstance:
    """Pulls XComs as Airflow's own task instance does, from a table that all instances of the task share."""

    dag_id, run_id = "nightly", "run_1"

    def __init__(self, task_id: str, map_index: int, max_tries: int, table: dict[int, dict[str, Any]]) -> None:
        self.task_id, self.map_index, self.max_tries, self.try_number = task_id, map_index, max_tries, 1
        self.first_reschedule: datetime.datetime | None = None
        self.table = table
        self.pushed: list[str] = []
        self.refused: set[str] = set()

    @property
    def xcoms(self) -> dict[str, Any]:
        return self.table.setdefault(self.map_index, {})

    def xcom_pull(
        self,
        task_ids: str | Iterable[str] | None = None,
        dag_id: str | None = None,
        key: str = "return_value",
        include_prior_dates: bool = False,
        *,
        map_indexes: Any = NOT_GIVEN,
        default: Any = None,
        run_id: str | None = None,
    ) -> Any:
        """Without `map_indexes` those of all instances, or the one value if there is one; else the asked ones."""
        if task_ids is None and map_indexes == self.map_index:
            return self.xcoms.get(key, default)
        names = [task_ids or self.task_id] if task_ids is None or isinstance(task_ids, str) else list(task_ids)
        is_one_task = task_ids is None or isinstance(task_ids, str)
        source: dict[str, Any] = {
            "key": key,
            "dag_id": dag_id or self.dag_id,
            "run_id": run_id or self.run_id,
            "include_prior_dates": include_prior_dates,
        }
        if map_indexes is NOT_GIVEN:
            every = [task_runner.XCom.get_all(task_id=name, **source) for name in names]
            found = [value for values in every for value in ([None] if values is None else values)]
            return found[0] if is_one_task and len(found) == 1 else found
        is_one_index = map_indexes is None or isinstance(map_indexes, int)
        indexes = [map_indexes] if is_one_index else list(map_indexes)
        pairs = [(name, index) for name in names for index in indexes]
        values = [task_runner.XCom.get_one(task_id=name, map_index=index, **source) for name, index in pairs]
        found = [default if value is None else value for value in values]
        return found[0] if is_one_task and is_one_index else found

    def xcom_push(self, key: str, value: Any) -> None:
        if key in self.refused:
            detail = {"status_code": 409, "detail": "Unique constraint violation"}
            raise AirflowRuntimeError(ErrorResponse(error=ErrorType.API_SERVER_ERROR, detail=detail))
        self.xcoms[key] = json.loads(json.dumps(value))
        self.pushed.append(key)

    def get_first_reschedule_date(self, context: Any) -> datetime.datetime | None:
        return self.first_reschedule


class TaskRun:
    """A task instance, from its first try to its last.

    :param has_store: Whether Airflow gives it a task state store; by default if this Airflow has one.
    """

    def __init__(
        self,
        *,
        task_id: str = "generate",
        retries: int = 2,
        map_index: int = -1,
        table: dict[int, dict[str, Any]] | None = None,
        has_store: bool | None = None,
    ) -> None:
        self.retries = retries
        self.has_store = has_task_state_store() if has_store is None else has_store
        self.store = StateStore()
        self.started_at = datetime.datetime(2026, 11, 20, 12, tzinfo=datetime.UTC)
        self.clears = 0
        self.ti = TaskInstance(task_id, map_index, retries, {} if table is None else table)

    @property
    def context(self) -> Any:
        store = {"task_state_store": self.store} if self.has_store else {}
        dag_run = SimpleNamespace(start_date=self.started_at, clear_number=self.clears)
        return {"ti": self.ti, "task_instance": self.ti, "dag_run": dag_run, **store}

    @property
    def xcoms(self) -> dict[str, Any]:
        return self.ti.xcoms

    @property
    def record(self) -> dict[str, Any]:
        return dict(self.store.get(STATE_KEY))

    @property
    def job_id(self) -> str:
        """The job that the task shows."""
        return str(self.xcoms["job_id"])

    def records(self, **facts: Any) -> bool:
        """Whether the record says this. Where Airflow keeps no record, there is none to say anything else."""
        return not self.has_store or facts.items() <= self.record.items()

    def retry(self) -> Any:
        self.ti.try_number += 1
        self.xcoms.clear()
        return self.context

    def clear(self) -> Any:
        self.ti.max_tries = self.ti.try_number + self.retries
        self.clears += 1
        return self.retry()


class XComDouble:
    """What Airflow's task instance pulls from, over the table of one task's instances."""

    def __init__(self, table: dict[int, dict[str, Any]]) -> None:
        self.table = table

    def get_all(self, *, key: str, **_: Any) -> list[Any] | None:
        return [row[key] for _, row in sorted(self.table.items()) if key in row] or None

    def get_one(self, *, key: str, map_index: int | None = None, **_: Any) -> Any:
        return self.table.get(-1 if map_index is None else map_index, {}).get(key)


def deferral(operator: BaseOperator, context: Any) -> TaskDeferred:
    """Run an operator up to its deferral."""
    with pytest.raises(TaskDeferred) as caught:
        operator.execute(context)
    return caught.value


def restored(trigger: BaseTrigger) -> BaseTrigger:
    """Give the trigger that another triggerer makes of what Airflow stores, which is JSON."""
    path, arguments = trigger.serialize()
    module, _, name = path.rpartition(".")
    made: BaseTrigger = getattr(importlib.import_module(module), name)(**json.loads(json.dumps(arguments)))
    return made


async def events_of(trigger: BaseTrigger) -> list[Any]:
    """Give the payloads of all events of a trigger, as JSON brings them to the task."""
    return [json.loads(json.dumps(event.payload)) async for event in trigger.run()]


def event_of(deferred: TaskDeferred) -> dict[str, Any]:
    """Give the one event of a deferred task's trigger."""
    (event,) = asyncio.run(events_of(restored(deferred.trigger)))
    return dict(event)


def resumed(operator: BaseOperator, deferred: TaskDeferred, context: Any) -> Any:
    """Go on as Airflow does: a new instance of the operator, and the trigger's event."""
    kwargs = {**(deferred.kwargs or {}), "event": event_of(deferred)}
    return operator.resume_execution(deferred.method_name, kwargs, context)

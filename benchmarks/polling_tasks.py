"""Puts deferred task instances into Airflow's database, as JSON on standard input describes them.

Deferring five thousand tasks by running them would take workers an hour, and is not what is measured.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from airflow.models.dagbag import DBDagBag
from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import TaskInstance
from airflow.models.trigger import Trigger
from airflow.utils.session import create_session
from airflow.utils.state import TaskInstanceState
from sqlalchemy import delete, select, update

TASK_ID = "wait"


def put_in_place(classpath: str, arguments: list[dict[str, Any]]) -> None:
    """Replace all task instances and triggers by new ones.

    :param classpath: The triggers' class.
    :param arguments: What each trigger is made with; its place is the map index.
    """
    with create_session() as session:
        run = session.scalars(select(DagRun)).one()
        task = DBDagBag().get_dag_for_run(run, session).get_task(TASK_ID)
        version_id = session.scalars(select(TaskInstance.dag_version_id)).first()
        session.execute(update(TaskInstance).values(trigger_id=None))
        session.execute(delete(TaskInstance).where(TaskInstance.map_index >= 0))
        session.execute(delete(Trigger))
        triggers = [Trigger(classpath=classpath, kwargs=kwargs) for kwargs in arguments]
        session.add_all(triggers)
        session.flush()
        for place, trigger in enumerate(triggers):
            instance = TaskInstance(task, dag_version_id=version_id, run_id=run.run_id, map_index=place)
            instance.state, instance.trigger_id = TaskInstanceState.DEFERRED, trigger.id
            instance.next_method, instance.next_kwargs, instance.try_number = "execute_complete", {}, 1
            session.add(instance)


if __name__ == "__main__":
    put_in_place(**json.load(sys.stdin))

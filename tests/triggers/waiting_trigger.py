"""A trigger that waits for a job, as a triggerer holds it."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

from airflow_provider_scenario.triggers.job import ScenarioJobTrigger


def waiting_for(job_id: str, *, seconds: float = 30.0, **arguments: Any) -> ScenarioJobTrigger:
    arguments = {"poll_interval": 0.1, "deadline": time.time() + seconds, **arguments}
    return ScenarioJobTrigger(job_id=job_id, scenario_conn_id="scenario_default", **arguments)


def with_task(trigger: ScenarioJobTrigger, *, map_index: int = -1) -> ScenarioJobTrigger:
    trigger.task_instance = SimpleNamespace(  # type: ignore[assignment]
        dag_id="nightly", task_id="generate", run_id="run_1", map_index=map_index
    )
    return trigger

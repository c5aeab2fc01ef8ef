"""The wait of a sensor that starts in the triggerer, and ends there if the job succeeds: no worker has a part in it."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import TaskSuccessEvent, TriggerEvent

from airflow_provider_scenario.api.job import JobStatus
from airflow_provider_scenario.links import ScenarioAssetLink, ScenarioJobLink
from airflow_provider_scenario.outcome import asset_page, job_page, result_of
from airflow_provider_scenario.triggers.job import ScenarioJobTrigger


class ScenarioSensorTrigger(ScenarioJobTrigger):
    """Ends the task with the job's result as XComs if the job succeeds; else hands over to the sensor in a worker.

    Its arguments are the sensor's own, not rendered yet: Airflow's triggerer renders them.

    :param job_id: The job. Templated.
    :param scenario_conn_id: The Airflow connection. Templated.
    :param project_id: The project to assert, or ``None``. Templated.
    :param timeout: Seconds after which to give up, from the trigger's start: a triggerer that restarts counts anew.
        Airflow itself ends the task a minute after its first start's deadline.
    :param poll_interval: Seconds between two polls.
    """

    def __init__(
        self,
        *,
        job_id: str,
        scenario_conn_id: str,
        project_id: str | None = None,
        timeout: float,
        poll_interval: float,
    ) -> None:
        super().__init__(
            job_id=job_id,
            scenario_conn_id=scenario_conn_id,
            project_id=project_id,
            deadline=time.time() + timeout,
            poll_interval=poll_interval,
        )
        self.timeout = timeout

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what Airflow stores of it."""
        names = ("job_id", "scenario_conn_id", "project_id", "timeout", "poll_interval")
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {name: getattr(self, name) for name in names},
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield the one event."""
        # No worker has deferred this task, so there is none whose exit the scheduler could take for the task's end.
        result = await self._wait()
        job = result.job
        if result.error is not None or result.timed_out or job is None or job.status is not JobStatus.SUCCESS:
            yield TriggerEvent(result.to_event())
            return
        values = result_of(job)
        links = {ScenarioJobLink().xcom_key: job_page(job.id)}  # a worker would push them
        if job.asset_ids:
            links[ScenarioAssetLink().xcom_key] = asset_page(job.asset_ids[0])
        yield TaskSuccessEvent(xcoms={"return_value": values, **values, **links})

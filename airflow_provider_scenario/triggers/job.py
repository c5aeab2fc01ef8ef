"""Wait for a job in the triggerer, so that no worker does."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, WeakValueDictionary

from airflow.triggers.base import BaseTrigger, TaskSuccessEvent, TriggerEvent

from airflow_provider_scenario.api.asset import asset_page
from airflow_provider_scenario.api.job import Job, JobStatus, job_page
from airflow_provider_scenario.api.model import UsualTimes
from airflow_provider_scenario.api.retry import RetryConfig
from airflow_provider_scenario.hooks.scenario import ScenarioHook
from airflow_provider_scenario.links import ScenarioAssetLink, ScenarioJobLink
from airflow_provider_scenario.polling import POLL_INTERVAL
from airflow_provider_scenario.polling.progress import log_updates, push_progress
from airflow_provider_scenario.polling.result import job_result
from airflow_provider_scenario.polling.wait import MIN_DEFERRAL_SECONDS, OUTPUTS_PAUSE, WaitResult, WaitState
from airflow_provider_scenario.polling.watcher import REPLY_TIMEOUT, JobWatcher

if TYPE_CHECKING:
    from airflow_provider_scenario.api.client import ClientThread


_Watchers = WeakValueDictionary[tuple[str, str | None], JobWatcher]

_watchers: WeakKeyDictionary[asyncio.AbstractEventLoop, _Watchers] = WeakKeyDictionary()


def watcher_of(scenario_conn_id: str, project_id: str | None = None) -> JobWatcher:
    """Return the watcher that all who wait on the running event loop share.

    :param scenario_conn_id: The Airflow connection.
    :param project_id: The Scenario project to name in each request, or ``None``.
    """
    watchers = _watchers.setdefault(asyncio.get_running_loop(), WeakValueDictionary())
    key = (scenario_conn_id, project_id)
    watcher = watchers.get(key)
    if watcher is None:
        # Those who wait keep it alive, so does the watcher's own task while it polls, and its timer for some minutes.
        watcher = watchers[key] = JobWatcher(lambda: _open_client(scenario_conn_id, project_id))
    return watcher


async def _open_client(scenario_conn_id: str, project_id: str | None) -> ClientThread:
    """Return a client with today's credentials. It does not repeat calls: thousands wait, and the next tick comes."""
    hook = ScenarioHook(scenario_conn_id, project_id)
    # What the watcher has ceased to wait for need not keep a thread.
    return await hook.get_async_conn(RetryConfig(attempts=1), timeout=REPLY_TIMEOUT)


_FINAL_CHECK_TIMEOUT = 30.0
"""Seconds to wait for a final check: less than ``DEFERRAL_MARGIN``, after which Airflow itself ends the deferral."""


class ScenarioJobTrigger(BaseTrigger):
    """Fires once: when a job is finished, at its deadline, or when it could not be read for a minute.

    It never cancels the job: what was bought runs on, and the next try waits for it.

    Its arguments stand in clear text in Airflow's database: they are ids and numbers only.

    :param job_id: The job.
    :param scenario_conn_id: The Airflow connection.
    :param project_id: The Scenario project to name in each request, or ``None``.
    :param deadline: Seconds of the epoch at which to give up: it holds through restarts of the triggerer.
    :param poll_interval: Seconds between two polls, more than 0. Default 10. All triggers of a connection share one
        poll; the shortest interval counts for all.
    :param since: When the job was last known to run, in seconds of the epoch: what changed before is not looked for.
        Default: nobody knows, so that the job is read singly unless the job list shows it.
    :param usual: How long such jobs usually take, in seconds: ``running``, and ``total`` with the queue. Default: it is
        not known.
    """

    _arguments: tuple[str, ...] = (
        "job_id",
        "scenario_conn_id",
        "project_id",
        "deadline",
        "poll_interval",
        "since",
        "usual",
    )
    _is_foreign = False
    """Whether nothing has said yet what the job runs and costs."""

    def __init__(
        self,
        *,
        job_id: str,
        scenario_conn_id: str,
        project_id: str | None = None,
        deadline: float,
        poll_interval: float = POLL_INTERVAL,
        since: float | None = None,
        usual: dict[str, float | None] | None = None,
    ) -> None:
        super().__init__()
        self.job_id = job_id
        self.scenario_conn_id = scenario_conn_id
        self.project_id = project_id
        self.deadline = deadline
        self.poll_interval = poll_interval
        self.since = since
        self.usual = usual

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what Airflow stores of it."""
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {name: getattr(self, name) for name in self._arguments},
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield the one event: an :class:`~airflow_provider_scenario.polling.wait.WaitResult` as JSON."""
        await asyncio.sleep(MIN_DEFERRAL_SECONDS)
        result = await self._wait()
        yield TriggerEvent(result.to_event())

    async def _wait(self) -> WaitResult:
        usual = UsualTimes(**self.usual) if self.usual else None
        state = WaitState(self.job_id, self.deadline, usual, is_foreign=self._is_foreign)
        watcher = watcher_of(self.scenario_conn_id, self.project_id)
        async with watcher.subscribe(self.job_id, self.since, self.poll_interval) as subscription:
            while True:
                reading = await subscription.next_update(self._update_timeout(state))
                if reading is None:
                    reading = await watcher.read_now(subscription, _FINAL_CHECK_TIMEOUT)
                result = (
                    state.on_job(reading, time.time())
                    if isinstance(reading, Job)
                    else state.on_error(reading, time.time())
                )
                await self._deliver(state)
                if result is not None:
                    return result

    def _update_timeout(self, state: WaitState) -> float:
        """Return the seconds to wait for an update, before the job is read singly."""
        left = self.deadline - time.time()
        return min(self.poll_interval, OUTPUTS_PAUSE) if left <= 0.0 and state.lacks_outputs else left

    async def _deliver(self, state: WaitState) -> None:
        if (progress := log_updates(state, self.log)) is not None:
            await push_progress(self.task_instance, progress)


class ScenarioSensorTrigger(ScenarioJobTrigger):
    """Ends the task with the job's result as XComs if the job succeeds; else hands over to the sensor in a worker.

    Its arguments are the sensor's own, not rendered yet: Airflow's triggerer renders them.

    :param job_id: The job. Templated.
    :param scenario_conn_id: The Airflow connection. Templated.
    :param project_id: The Scenario project to name in each request, or ``None``. Templated.
    :param timeout: Seconds after which to give up, from the trigger's start: a triggerer that restarts counts anew.
        Airflow itself ends the task a minute after its first start's deadline.
    :param poll_interval: Seconds between two polls.
    """

    _arguments = ("job_id", "scenario_conn_id", "project_id", "timeout", "poll_interval")
    _is_foreign = True

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

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield the one event."""
        self.job_id = self.job_id.strip()  # A template may end with a line.
        # No worker has deferred this task, so there is none whose exit the scheduler could take for the task's end.
        result = await self._wait()
        job = result.job
        if result.error is not None or result.timed_out or job is None or job.status is not JobStatus.SUCCESS:
            yield TriggerEvent(result.to_event())
            return
        values = job_result(job)
        links = {ScenarioJobLink().xcom_key: job_page(job.id)}  # a worker would push them
        if job.asset_ids:
            links[ScenarioAssetLink().xcom_key] = asset_page(job.asset_ids[0])
        yield TaskSuccessEvent(xcoms={"return_value": values, **values, **links})

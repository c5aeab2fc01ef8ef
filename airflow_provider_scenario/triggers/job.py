"""Waits for a job in the triggerer, so that no worker does."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_scenario.api import calls
from airflow_provider_scenario.api.job import Job
from airflow_provider_scenario.api.model import UsualTimes
from airflow_provider_scenario.exceptions import ScenarioError, ScenarioInputError
from airflow_provider_scenario.hooks.scenario import ScenarioHook
from airflow_provider_scenario.polling.wait import FIRST_LOOK, WaitResult, WaitState
from airflow_provider_scenario.triggers.progress import push_progress
from airflow_provider_scenario.triggers.watchers import watcher_of

_CANCEL_TIMEOUT = 20.0

_LAST_LOOK_TIMEOUT = 30.0
"""Seconds to wait for a last look: less than the minute after which Airflow itself ends an overdue deferral."""

_OVER = frozenset({"success", "failed", "skipped", "removed", "upstream_failed"})
"""States of a task that a person, or the end of its DAG run, has ended."""


class ScenarioJobTrigger(BaseTrigger):
    """Fires once: when a job is finished, at its deadline, or when Scenario refuses to tell of it.

    Its arguments stand in clear text in Airflow's database: they are ids and numbers only.

    :param job_id: The job.
    :param scenario_conn_id: The Airflow connection.
    :param project_id: The project to assert, or ``None``.
    :param deadline: Seconds of the epoch at which to give up: it holds through restarts of the triggerer.
    :param poll_interval: Seconds between two looks, more than 0. Default 10. All triggers of a connection share one
        look; the shortest interval counts for all.
    :param cancel_on_kill: Whether to ask Scenario to cancel the job if a person ends the task. Default ``True``.
    :param since: When the job was last known to run, in seconds of the epoch: what changed before is not looked for.
        Default: nobody knows, so that the job is read singly unless the job list tells of it.
    :param usual: How long such jobs usually take, in seconds: ``running``, and ``total`` with the queue. Default: it is
        not known.
    """

    def __init__(
        self,
        *,
        job_id: str,
        scenario_conn_id: str,
        project_id: str | None = None,
        deadline: float,
        poll_interval: float = 10.0,
        cancel_on_kill: bool = True,
        since: float | None = None,
        usual: dict[str, float | None] | None = None,
    ) -> None:
        super().__init__()
        self.job_id = job_id
        self.scenario_conn_id = scenario_conn_id
        self.project_id = project_id
        self.deadline = deadline
        self.poll_interval = poll_interval
        self.cancel_on_kill = cancel_on_kill
        self.since = since
        self.usual = usual
        self._fired = False

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what Airflow stores of it."""
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "job_id": self.job_id,
                "scenario_conn_id": self.scenario_conn_id,
                "project_id": self.project_id,
                "deadline": self.deadline,
                "poll_interval": self.poll_interval,
                "cancel_on_kill": self.cancel_on_kill,
                "since": self.since,
                "usual": self.usual,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield the one event: an :class:`~airflow_provider_scenario.polling.wait.WaitResult` as JSON."""
        await asyncio.sleep(FIRST_LOOK)
        ending = await self._wait()
        self._fired = True
        yield TriggerEvent(ending.to_event())

    async def _wait(self) -> WaitResult:
        wait = WaitState(self.job_id, self.deadline, UsualTimes(**self.usual) if self.usual else None)
        watcher = watcher_of(self.scenario_conn_id, self.project_id)
        async with watcher.follow(self.job_id, self.since, self.poll_interval) as follower:
            while True:
                look = await follower.next(self.deadline - time.time())
                if look is None:
                    look = await watcher.look(follower, _LAST_LOOK_TIMEOUT)
                ending = wait.on_job(look, time.time()) if isinstance(look, Job) else wait.on_error(look, time.time())
                await self._tell(wait)
                if ending is not None:
                    return ending

    async def _tell(self, wait: WaitState) -> None:
        said, progress = wait.pop_updates()
        for line in said:
            self.log.info(line)
        if progress is not None:
            await push_progress(self.task_instance, progress)

    async def on_kill(self) -> None:
        """Ask Scenario to cancel the job, if a person really ended the task.

        Airflow 3.3 calls this too when it moves the trigger to another triggerer, after an event, and when the task is
        cleared: then its next try waits for the job.
        """
        if self._fired or not self.cancel_on_kill:
            return
        # Airflow 3.3 cancels a trigger again every second for as long as this runs: the work must not feel it.
        work = asyncio.create_task(self._cancel_if_over())
        while not work.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.shield(work)

    async def _cancel_if_over(self) -> None:
        try:
            async with asyncio.timeout(_CANCEL_TIMEOUT):
                if not await self._is_over():
                    return
                async with await self._hook().get_async_conn() as client:
                    if (await client.send(calls.get_job(self.job_id))).is_finished:
                        return  # The task ended with its job, while this triggerer stalled.
                    await client.send(calls.cancel_job(self.job_id))
        except ScenarioInputError as refusal:
            reason = refusal.said.reason or refusal
            self.log.warning("Job %s runs on and is charged; Scenario did not cancel it: %s", self.job_id, reason)
        except (ScenarioError, TimeoutError) as error:
            self.log.warning("Job %s could not be cancelled and may run on, charged: %s", self.job_id, error)
        else:
            self.log.info("Scenario was asked to cancel job %s.", self.job_id)

    async def _is_over(self) -> bool:
        """Whether Airflow says that the task has ended, which nobody waits for any more. In doubt it has not."""
        from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

        ti = self.task_instance
        if ti is None:
            return True  # Only dag.test() runs a trigger without a task instance, and moves it nowhere.
        map_index = -1 if ti.map_index is None else ti.map_index
        try:
            states = await asyncio.to_thread(
                RuntimeTaskInstance.get_task_states,
                dag_id=ti.dag_id,
                task_ids=[ti.task_id],
                run_ids=[ti.run_id],
                map_index=map_index,
            )
        except Exception as error:  # noqa: BLE001 - a job cancelled by mistake is paid for nothing
            self.log.warning(
                "Airflow does not say what became of the task (%s): job %s is left alone.", error, self.job_id
            )
            return False
        key = ti.task_id if map_index < 0 else f"{ti.task_id}_{map_index}"
        return (states.get(ti.run_id) or {}).get(key) in _OVER

    def _hook(self) -> ScenarioHook:
        return ScenarioHook(self.scenario_conn_id, self.project_id)

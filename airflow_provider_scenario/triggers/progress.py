"""Progress that people see while a task waits: an XCom pushed from the triggerer or the task."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from airflow.sdk.types import Logger

    from airflow_provider_scenario.polling.wait import WaitState

AT_ONCE = 5
"""How many pushes may follow one another at once."""

A_SECOND = 0.5
"""How many pushes a second there may be in the long run. Each keeps the whole triggerer busy for a twentieth of one,
and so holds up the events of all other tasks."""


class _Allowance:
    """How many pushes are left for an event loop."""

    def __init__(self, now: float) -> None:
        self._left = float(AT_ONCE)
        self._at = now

    def take(self, now: float) -> bool:
        self._left = min(AT_ONCE, self._left + (now - self._at) * A_SECOND)
        self._at = now
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True


_allowances: WeakKeyDictionary[asyncio.AbstractEventLoop, _Allowance] = WeakKeyDictionary()


async def push_progress(task_instance: Any, progress: dict[str, Any]) -> None:
    """Show progress as the XCom ``progress``, which Airflow lets a trigger do since 3.3.

    It is never worth failing a wait for. Where many tasks wait, some of it is left out; each task's log has it all.

    :param task_instance: The trigger's task instance, or ``None``.
    :param progress: What to show.
    """
    from airflow.sdk.execution_time.xcom import XCom

    if task_instance is None or not hasattr(XCom, "aset"):
        return
    loop = asyncio.get_running_loop()
    if not _allowances.setdefault(loop, _Allowance(loop.time())).take(loop.time()):
        return
    try:
        await XCom.aset(
            key="progress",
            value=progress,
            dag_id=task_instance.dag_id,
            task_id=task_instance.task_id,
            run_id=task_instance.run_id,
            map_index=-1 if task_instance.map_index is None else task_instance.map_index,
        )
    except Exception as error:  # noqa: BLE001 - whatever Airflow's API says, the wait goes on
        logging.getLogger(__name__).debug("The progress could not be pushed: %s", type(error).__name__)


def report_progress(wait: WaitState, task_instance: Any, log: Logger) -> None:
    """Log what is new of a wait in a task, and show its progress: that too is never worth failing for.

    Airflow refuses the XCom while an earlier try, marked as failed but not dead yet, pushes its own.

    :param wait: The wait.
    :param task_instance: The task instance of the task's context.
    :param log: The task's log.
    """
    said, progress = wait.pop_updates()
    for line in said:
        log.info(line)
    if progress is None:
        return
    try:
        task_instance.xcom_push(key="progress", value=progress)
    except Exception as error:  # noqa: BLE001 - whatever Airflow's API says, the wait goes on
        log.debug("The progress could not be pushed: %s", type(error).__name__)

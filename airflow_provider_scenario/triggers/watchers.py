"""The watchers of this process: one for each event loop, connection and project, kept only while somebody waits."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary, WeakValueDictionary

from airflow_provider_scenario.api.retry import Patience
from airflow_provider_scenario.hooks.scenario import ScenarioHook
from airflow_provider_scenario.polling.watcher import REPLY_TIMEOUT, JobWatcher

if TYPE_CHECKING:
    from airflow_provider_scenario.api.client_thread import ClientThread

_Watchers = WeakValueDictionary[tuple[str, str | None], JobWatcher]

_watchers: WeakKeyDictionary[asyncio.AbstractEventLoop, _Watchers] = WeakKeyDictionary()


def watcher_of(scenario_conn_id: str, project_id: str | None = None) -> JobWatcher:
    """Return the watcher that all who wait on the running event loop share.

    :param scenario_conn_id: The Airflow connection.
    :param project_id: The project to assert, or ``None``.
    """
    watchers = _watchers.setdefault(asyncio.get_running_loop(), WeakValueDictionary())
    key = (scenario_conn_id, project_id)
    watcher = watchers.get(key)
    if watcher is None:
        # Whoever asks keeps it alive while it waits, and the watcher's own task while it asks Scenario.
        watcher = watchers[key] = JobWatcher(lambda: _open_client(scenario_conn_id, project_id))
    return watcher


async def _open_client(scenario_conn_id: str, project_id: str | None) -> ClientThread:
    """Return a client with today's credentials. It does not repeat calls: thousands wait, and the next tick comes."""
    hook = ScenarioHook(scenario_conn_id, project_id)
    # What the watcher has ceased to wait for need not keep a thread.
    return await hook.get_async_conn(Patience(attempts=1), timeout=REPLY_TIMEOUT)

"""The Airflow plugin: Scenario's pages in Airflow's own user interface.

Every process and every task imports this file, so it imports only what Airflow has imported before it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

from airflow import __version__ as airflow_version
from airflow.configuration import conf
from airflow.plugins_manager import AirflowPlugin

import airflow_provider_scenario

PREFIX = "/scenario"
"""Below which address of Airflow's API server the pages' data and files are."""

OPERATORS = (
    "ScenarioGenerateOperator",
    "ScenarioJobSensor",
    "ScenarioToObjectStorageOperator",
    "ScenarioWan21TextToVideoOperator",
    "ScenarioWan22ImageToVideoOperator",
    "ScenarioWan22OutpaintingOperator",
    "ScenarioWan22ReframeOperator",
    "ScenarioWan25TextToVideoOperator",
)
"""The classes whose tasks get the tab, by name: to import them would cost every process."""

Scope = MutableMapping[str, Any]
Channel = Callable[..., Awaitable[Any]]


async def _pages(scope: Scope, receive: Channel, send: Channel) -> None:
    """Serve the pages: an ASGI application that is imported with the first request."""
    from airflow_provider_scenario.ui.app import app

    await app(scope, receive, send)


def _page(route: str, destination: str, **more: Any) -> dict[str, Any]:
    # Airflow runs the script once, and keeps what it defines under the name: all entries share both.
    base = urlsplit(conf.get("api", "base_url", fallback="/")).path.rstrip("/")
    script = f"{base}{PREFIX}/static/scenario.js?v={airflow_provider_scenario.__version__}"
    return {"name": "Scenario", "url_route": route, "destination": destination, "bundle_url": script, **more}


def _react_apps() -> list[dict[str, Any]]:
    """Return the places where the pages show."""
    # Airflow finds a page by its route, wherever it is entered: the entry of the menu also opens below the address of a
    # task and of a run.
    pages = [_page("scenario", "nav", category="browse")]
    # Below 3.4 a tab would stand on every task of every DAG, so there the links of our operators lead to the page; 3.4
    # brought ``applies_to``, which older versions accept and ignore.
    if tuple(map(int, airflow_version.split(".")[:2])) >= (3, 4):
        pages.append(_page("scenario-task", "task_instance", applies_to={"operator_name": list(OPERATORS)}))
        pages.append(_page("scenario-run", "dag_run", applies_to={"dag.tags.name": ["scenario"]}))
        # Of an Airflow asset nothing tells which operator updates it: its group says that it is of Scenario's videos.
        pages.append(_page("scenario-asset", "asset", applies_to={"asset.group": ["scenario"]}))
    return pages


_IS_ON = conf.getboolean("scenario", "pages", fallback=True)


class ScenarioPlugin(AirflowPlugin):
    """The pages of a task, a run, an Airflow asset and a connection; nothing with ``[scenario] pages = False``."""

    name = "scenario"
    fastapi_apps = [{"app": _pages, "url_prefix": PREFIX, "name": "Scenario"}] if _IS_ON else []
    react_apps = _react_apps() if _IS_ON else []

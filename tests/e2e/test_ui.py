"""The pages inside Airflow, as a person sees them in a real Chromium, and as one meets them who tries what he may not.

`PICTURES=docs/images` leaves pictures there.
"""

from __future__ import annotations

import concurrent.futures
import json
import os
import re
import time
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import psutil
import pytest

from tests.e2e.airflow_api import path_of
from tests.e2e.airflow_components import Imported
from tests.e2e.airflow_server import AirflowServer
from tests.e2e.chromium import chromium

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page

    from airflow_provider_scenario.sandbox.server import SandboxServer

pytestmark = pytest.mark.e2e

DAGS = [Path(__file__).parent / "dags", Path(__file__).parents[2] / "dags_examples"]
ROLES = ("viewer", "user", "op", "admin")
PASSWORD = "correct horse"
JOB_SECONDS = 12.0
PICTURES = os.environ.get("PICTURES")
SIGNED = re.compile(r"[?&](Policy|Signature|Key-Pair-Id)=", re.IGNORECASE)


@dataclass
class World:
    """An Airflow with roles, its Scenario, a browser, and the runs that all tests look at."""

    airflow: AirflowServer
    sandbox: SandboxServer
    browser: Browser
    runs: dict[str, str] = field(default_factory=dict)

    def client(self, role: str | None) -> httpx.Client:
        """Return a client with a role's token; `None` for nobody's."""
        headers = {"Authorization": f"Bearer {self.airflow.token_of(role, PASSWORD)}"} if role else {}
        return httpx.Client(base_url=self.airflow.url, headers=headers, trust_env=False, timeout=60)

    def page(self, role: str = "admin", **options: Any) -> Page:
        """Return a page of a browser in which a user has signed in by Airflow's own form."""
        page = self.browser.new_context(viewport={"width": 1280, "height": 800}, **options).new_page()
        page.set_default_timeout(120_000)
        page.goto(self.airflow.url, wait_until="domcontentloaded")
        page.fill("input[name=username]", role)
        page.fill("input[type=password]", PASSWORD)
        page.click("button[type=submit]")
        page.wait_for_url(lambda url: "/auth/" not in url)
        return page

    def facts(self, run: str, task_id: str = "generate", map_index: int = -1) -> dict[str, Any]:
        with self.client("viewer") as client:
            return dict(client.get(task_url("ui_pages", self.runs[run], task_id, map_index)).raise_for_status().json())


def task_url(dag_id: str, run_id: str, task_id: str, map_index: int | str = -1, *more: str) -> str:
    return f"/scenario/dags/{path_of(dag_id)}/runs/{path_of(run_id)}/tasks/{path_of(task_id, map_index, *more)}"


def page_url(dag_id: str, run_id: str, task_id: str | None = None, map_index: int = -1) -> str:
    mapped = f"/mapped/{map_index}" if map_index >= 0 else ""
    task = "" if task_id is None else f"/tasks/{path_of(task_id)}{mapped}"
    return f"/dags/{path_of(dag_id)}/runs/{path_of(run_id)}{task}/plugin/scenario"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ui")


@pytest.fixture(scope="module", params=["redirect"])
def world(folder: Path) -> Iterator[World]:
    """The world, with one run that waits, and others that have come to their ends in each way."""
    from airflow_provider_scenario.sandbox.server import SandboxServer

    passwords = folder / "passwords.json"
    passwords.write_text(json.dumps(dict.fromkeys(ROLES, PASSWORD)))
    with SandboxServer(job_seconds=JOB_SECONDS) as sandbox:
        environment = {
            "AIRFLOW_CONN_SCENARIO_DEFAULT": sandbox.connection_json(),
            "SCENARIO_VIDEOS": folder.as_uri(),
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "False",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(f"{role}:{role}" for role in ROLES),
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords),
            # Airflow's own defaults: viewers must not use the pool up.
            "AIRFLOW__DATABASE__SQL_ALCHEMY_POOL_SIZE": "5",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_MAX_OVERFLOW": "10",
        }
        server = AirflowServer(
            DAGS, database="postgresql", parallelism=8, imported=Imported.PROVIDER, environment=environment
        )
        server.credentials = ("admin", PASSWORD)
        with server, chromium() as browser:
            server.wait_for_dag("ui_pages")
            yield World(server, sandbox, browser)


def picture(page: Page, name: str) -> None:
    """Leave a picture for the documentation, where that is asked for."""
    if PICTURES:
        page.screenshot(path=Path(PICTURES) / f"{name}.png")


def test_a_person_watches_a_job_and_then_its_video(world: World, folder: Path) -> None:
    run_id = world.runs["watched"] = world.airflow.trigger("ui_pages", {"folder": folder.as_uri()})
    world.runs["refused"] = world.airflow.trigger("ui_pages", {"max_cost": "1"})
    world.runs["failed"] = world.airflow.trigger("ui_pages", {"prompt": "A forbidden fox"})
    page = world.page("viewer")
    world.airflow.wait_for_state("ui_pages", run_id, "generate", "deferred")
    link = world.airflow.extra_links("ui_pages", run_id, "generate")["Watch"]
    assert link == page_url("ui_pages", run_id, "generate")
    page.goto(world.airflow.url + link)
    bar = page.get_by_role("progressbar", name="progress")
    bar.wait_for()
    page.wait_for_function("Number(document.querySelector('[aria-label=progress]')?.ariaValueNow) > 0")
    first = int(bar.get_attribute("aria-valuenow") or 0)
    picture(page, "task-waiting")
    page.wait_for_function(f"Number(document.querySelector('[aria-label=progress]')?.ariaValueNow) > {first}")
    assert "No worker is held" in page.inner_text("body")
    video = page.wait_for_selector("video")
    assert video is not None
    sent: list[tuple[int, str]] = []
    page.on("response", lambda reply: sent.append((reply.status, reply.url)))
    page.reload()
    page.wait_for_selector("video")
    page.evaluate("document.querySelector('video').play()")
    page.wait_for_function("document.querySelector('video').currentTime > 0.5")
    assert {status for status, url in sent if "/cdn/" in url} == {206}
    assert {status for status, url in sent if "/assets/asset_" in url and "/scenario/" in url} == {307}
    text = page.inner_text("body")
    for words in ("A fox in the snow", "5.25 CU", "of max_cost 6", "Wan 2.1", "frameNum", "33"):
        assert words in text, words
    world.airflow.wait_for_state("ui_pages", run_id, "save", "success")
    page.reload()
    page.wait_for_selector("text=Saved file")
    assert f"{folder.as_uri()}/{run_id}" in page.inner_text("body").replace("%2B", "+")
    picture(page, "task")

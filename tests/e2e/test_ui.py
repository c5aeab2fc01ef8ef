"""The pages inside Airflow, as a person sees them in a real Chromium, and as one meets them who tries what he may not.

`PICTURES=docs/images` leaves pictures there.
"""

from __future__ import annotations

import concurrent.futures
import json
import os
import re
import shutil
import time
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.e2e.airflow_api import path_of
from tests.e2e.airflow_components import Imported
from tests.e2e.airflow_server import AirflowServer
from tests.e2e.chromium import chromium
from tests.this_airflow import assets_have_pages_of_plugins

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page

    from airflow_provider_scenario.sandbox.server import SandboxServer

pytestmark = pytest.mark.e2e

DAGS = [Path(__file__).parent / "dags", Path(__file__).parents[2] / "dags_examples"]
ROLES = ("viewer", "user", "op", "admin")
PASSWORD = "correct horse"
JOB_SECONDS = 12.0
WATCHED_SECONDS = 60.0
"""How long the job would take that is watched, so that a slow browser sees it run; then the test ends it."""
PICTURES = os.environ.get("PICTURES")
USERS_FOLDER = Path("/var/lib/videos")
SIGNED = re.compile(r"[?&](Policy|Signature|Key-Pair-Id)=", re.IGNORECASE)


BRIGHTNESS = """([selector, name]) => {
    const canvas = Object.assign(document.createElement("canvas"), { width: 1, height: 1 });
    const context = canvas.getContext("2d");
    context.fillStyle = getComputedStyle(document.querySelector(selector))[name];
    context.fillRect(0, 0, 1, 1);
    return Math.max(...context.getImageData(0, 0, 1, 1).data.slice(0, 3));
}"""
"""How bright a colour is, 0 to 255: a browser may name it in any notation."""


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
        page = self.browser.new_context(viewport={"width": 1280, "height": 860}, **options).new_page()
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
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where videos are saved. The documentation's pictures show a user's folder, and no machine's."""
    if not PICTURES:
        yield tmp_path_factory.mktemp("ui")
        return
    USERS_FOLDER.mkdir()
    yield USERS_FOLDER
    shutil.rmtree(USERS_FOLDER)


@pytest.fixture(scope="module")
def world(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The world, with one run that waits, and others that have come to their ends in each way."""
    from airflow_provider_scenario.sandbox.server import SandboxServer

    passwords = tmp_path_factory.mktemp("roles") / "passwords.json"
    passwords.write_text(json.dumps(dict.fromkeys(ROLES, PASSWORD)))
    with SandboxServer(job_seconds=JOB_SECONDS) as sandbox:
        environment = {
            "AIRFLOW_CONN_SCENARIO_DEFAULT": sandbox.connection_json(),
            "AIRFLOW_CONN_FOREIGN": sandbox.connection_json(),
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
        # Chromium turns a wheel over a video until all of it is there.
        page.evaluate("document.querySelectorAll('video').forEach((one) => { one.preload = 'auto'; })")
        page.wait_for_function("[...document.querySelectorAll('video')].every((one) => one.readyState === 4)")
        page.wait_for_timeout(3000)
        page.screenshot(path=Path(PICTURES) / f"{name}.png")


def test_a_person_watches_a_job_and_then_its_video(world: World, folder: Path) -> None:
    page = world.page("viewer")
    world.sandbox.configure(job_seconds=WATCHED_SECONDS)
    run_id = world.runs["watched"] = world.airflow.trigger("ui_pages", {"folder": folder.as_uri()})
    world.airflow.wait_for_state("ui_pages", run_id, "generate", "deferred")
    link = world.airflow.extra_links("ui_pages", run_id, "generate")["Watch"]
    assert link == page_url("ui_pages", run_id, "generate")
    page.goto(world.airflow.url + link, wait_until="domcontentloaded")
    bar = page.get_by_role("progressbar", name="progress")
    bar.wait_for()
    page.wait_for_function("Number(document.querySelector('[aria-label=progress]')?.ariaValueNow) > 0")
    first = int(bar.get_attribute("aria-valuenow") or 0)
    picture(page, "task-waiting")
    page.wait_for_function(f"Number(document.querySelector('[aria-label=progress]')?.ariaValueNow) > {first}")
    assert "No worker is held" in page.inner_text("body")
    world.sandbox.set_job(world.facts("watched")["jobs"][0]["id"])  # Enough was seen of the wait.
    world.sandbox.configure(job_seconds=JOB_SECONDS)
    world.runs["refused"] = world.airflow.trigger("ui_pages", {"max_cost": "1"})
    world.runs["failed"] = world.airflow.trigger("ui_pages", {"prompt": "A forbidden fox"})
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


def test_who_has_no_token_or_a_bad_one_sees_nothing(world: World) -> None:
    urls = [*data_urls(world), "/scenario/fleet", "/scenario/fleet/scenario_default"]
    with world.client(None) as client:
        assert {client.get(url).status_code for url in urls} == {401}
        bad = {"Authorization": "Bearer eyJhbGciOiJIUzUxMiJ9.e30.AAAA"}
        assert {client.get(url, headers=bad).status_code for url in urls} == {403}


def data_urls(world: World) -> list[str]:
    """The addresses of a task's page, a run's, and a file."""
    run_id, asset_id = world.runs["watched"], world.facts("watched")["jobs"][0]["assets"][0]["id"]
    task = task_url("ui_pages", run_id, "generate")
    return [task, f"/scenario/dags/ui_pages/runs/{path_of(run_id)}", f"{task}/assets/{asset_id}"]


@pytest.mark.parametrize(("role", "fleet"), [("viewer", 403), ("user", 403), ("op", 200), ("admin", 200)])
def test_airflows_roles_decide(world: World, role: str, fleet: int) -> None:
    with world.client(role) as client:
        assert [client.get(url).status_code for url in data_urls(world)] == [200, 200, 307]
        assert {client.get(f"/scenario/{url}").status_code for url in ("fleet", "fleet/scenario_default")} == {fleet}


def test_a_connection_that_no_task_waits_on_is_not_used(world: World) -> None:
    """It may be another service's: then Scenario would get its login and password."""
    with world.client("admin") as client:
        page = client.get("/scenario/fleet/foreign").raise_for_status().json()
    assert (page["today"], page["running"], page["rows"], page["problem"]) == (None, 0, [], "")


def test_only_what_the_tasks_own_jobs_made_is_given(world: World) -> None:
    run_id = world.runs["watched"]
    own = world.facts("watched")["jobs"][0]["assets"][0]["id"]
    (job_id,) = world.sandbox.make_jobs(1, seconds=0.1, modelId="model_wan-2-1-1-3b", inputs={"prompt": "A stranger"})
    stranger = world.sandbox.make_asset(10_000)
    refused = [
        task_url("ui_pages", run_id, "generate", -1, "assets", stranger),
        task_url("ui_pages", run_id, "generate", -1, "assets", job_id),
        task_url("ui_pages", run_id, "generate", 0, "assets", own),
        task_url("ui_pages", run_id, "generate", 2**31 - 1, "assets", own),
        task_url("ui_pages", run_id, "foreign", -1, "assets", own),
        task_url("ui_pages", world.runs["refused"], "generate", -1, "assets", own),
        task_url("ui_pages", world.runs["failed"], "generate", -1, "assets", own),
        task_url("text_to_video", run_id, "generate", -1, "assets", own),
        task_url("ui_pages", "..", "generate", -1, "assets", own),
    ]
    misshapen = [
        task_url("ui_pages", run_id, "generate", 2**31, "assets", own),
        task_url("ui_pages", run_id, "generate", -2, "assets", own),
        task_url("ui_pages", run_id, "generate", "1e3", "assets", own),
        task_url("ui_pages", run_id, "generate", -1, "assets", "a" * 101),
        task_url("ui_pages", run_id, "generate", -1, "assets", f"..%2F{own}"),
        task_url("ui_pages", run_id, "x" * 251, -1, "assets", own),
    ]
    before = world.sandbox.requests()["counts"]
    with world.client("admin") as client:
        replies = [client.get(url) for url in refused + misshapen]
        assert [reply.status_code for reply in replies[: len(refused)]] == [404] * len(refused)
        assert [reply.status_code for reply in replies[len(refused) :]] == [422] * len(misshapen)
        for dots in (f"/assets/../../-1/assets/{stranger}", f"/assets/%2e%2e%2f{stranger}", "/assets/%2e%2e"):
            assert client.get(task_url("ui_pages", run_id, "generate") + dots).status_code in (404, 422)
    assert not [reply for reply in replies if "location" in reply.headers or "/cdn/" in reply.text]
    # Not even Scenario was asked for any of these files.
    after = world.sandbox.requests()["counts"]
    assert {name for name in after if "/assets/" in name and after[name] != before.get(name)} == set()


def test_a_file_is_asked_for_anew_each_time_and_its_address_is_kept_nowhere(world: World) -> None:
    *pages, url = data_urls(world)
    name = "GET /v1/assets/{assetId}"
    before = world.sandbox.requests()["counts"].get(name, 0)
    with world.client("viewer") as client:
        replies = [client.get(url) for _ in range(3)]
        documents = [client.get(page).text for page in pages]
    assert world.sandbox.requests()["counts"][name] == before + 3
    for reply in replies:
        assert reply.headers["cache-control"] == "private, no-store"
        assert reply.headers["referrer-policy"] == "no-referrer"
        assert SIGNED.search(reply.headers["location"])
    kept = "\n".join(
        [*documents, world.airflow.kept_of("ui_pages"), world.airflow.component_log("api-server")]
        + [str(row) for row in world.airflow.api("GET", "eventLogs", limit=100)["event_logs"]]
    )
    assert not SIGNED.search(kept)
    assert world.sandbox.api_secret not in kept


def test_a_question_can_show_a_picture_of_the_video(world: World) -> None:
    address = task_url("ui_pages", world.runs["watched"], "generate", -1, "poster")
    with world.client("viewer") as client:
        poster = client.get(address)
        assert (poster.status_code, poster.headers["content-type"]) == (200, "image/png")
        assert poster.content.startswith(b"\x89PNG")
        assert client.get(task_url("ui_pages", world.runs["failed"], "generate", -1, "poster")).status_code == 404
    with world.client(None) as client:
        assert client.get(address).status_code == 401


def test_a_foreign_task_shows_nothing_of_ours(world: World) -> None:
    page = world.page("viewer")
    path = page_url("ui_pages", world.runs["watched"], "foreign").removesuffix("/plugin/scenario")
    page.goto(world.airflow.url + path, wait_until="domcontentloaded")
    page.wait_for_selector("text=Rendered Templates")
    assert page.locator("a[href*='tasks/foreign/']").count() > 0
    assert page.locator("a[href*='tasks/foreign/plugin']").count() == 0
    assert "Watch" not in page.inner_text("body")
    page.context.close()


def test_a_failed_and_a_refused_task_say_why_what_it_cost_and_what_to_do(world: World) -> None:
    page = world.page("viewer")
    page.goto(world.airflow.url + page_url("ui_pages", world.runs["failed"], "generate"), wait_until="domcontentloaded")
    page.wait_for_selector("text=Blocked by moderation")
    text = page.inner_text("body")
    assert "Scenario refunds its 5.25 creative units." in text
    assert "change the prompt or the media, then clear the task" in text
    sentences = page.locator("p").all_inner_texts()
    assert "The request was blocked by content moderation." in sentences
    assert "Change the prompt and try again." in sentences
    picture(page, "task-failed")
    page.goto(
        world.airflow.url + page_url("ui_pages", world.runs["refused"], "generate"), wait_until="domcontentloaded"
    )
    page.wait_for_selector("text=Refused")
    assert "Above max_cost=1: the price is 5.25 creative units." in page.inner_text("body")
    page.context.close()


def test_the_page_is_readable_in_the_dark_and_on_a_small_screen(world: World) -> None:
    page = world.page("viewer", color_scheme="dark")
    page.set_viewport_size({"width": 1024, "height": 768})
    page.goto(
        world.airflow.url + page_url("ui_pages", world.runs["watched"], "generate"), wait_until="domcontentloaded"
    )
    page.wait_for_selector("video")
    assert page.evaluate(BRIGHTNESS, ["blockquote", "color"]) > 150
    assert page.evaluate(BRIGHTNESS, ["body", "backgroundColor"]) < 100
    assert page.evaluate("document.documentElement.scrollWidth") <= 1024
    # Nothing of the page is cut off at the right.
    assert page.evaluate("document.querySelector('blockquote').getBoundingClientRect().right") <= 1024
    picture(page, "task-dark")
    page.context.close()


def test_a_run_shows_its_gallery_and_sums_as_the_ledger_does(world: World, folder: Path) -> None:
    conf = {"prompts": ["A kite over the sea", "A forbidden fox", "Rain on a tin roof"], "destination": str(folder)[1:]}
    world.sandbox.configure(job_seconds=3)
    run_id = world.runs["night"] = world.airflow.trigger("night_within_budget", conf)
    page = world.page("viewer")
    for index in range(3):
        world.airflow.wait_for_state(
            "night_within_budget", run_id, "generate", "success", "failed", map_index=index, timeout=240
        )
    page.goto(world.airflow.url + page_url("night_within_budget", run_id), wait_until="domcontentloaded")
    page.wait_for_selector("article >> nth=2")
    page.wait_for_selector("video >> nth=1")
    with world.client("viewer") as client:
        shown = client.get(f"/scenario/dags/night_within_budget/runs/{path_of(run_id)}").json()
    jobs = {job["id"] for job in shown["jobs"]}
    entries = [entry for entry in world.sandbox.ledger()["entries"] if entry["jobId"] in jobs]
    assert len(jobs) == 3
    net = sum((Decimal(str(one["charged"])) - Decimal(str(one["refunded"])) for one in entries), Decimal(0))
    assert Decimal(shown["cost"]["spent"]) == net == Decimal("10.5")
    text = page.inner_text("body").replace("\n", " ")
    for words in ("10.5 CU spent of max_total_cost 60", "10.5 done", "5.25 refunded", "49.5 left", "Done 2"):
        assert words in text, words
    assert page.locator("article").filter(has_text="A kite over the sea").count() == 1
    page.get_by_role("button", name=re.compile(r"^Failed \d")).click()
    assert page.locator("article").filter(has_text="A forbidden fox").count() == page.locator("article").count() > 0
    page.get_by_role("button", name=re.compile(r"^All \d")).click()
    page.wait_for_timeout(500)
    picture(page, "run")
    page.context.close()


def test_a_save_names_the_task_that_bought_its_video_and_what_its_siblings_saved(world: World) -> None:
    dag_id, run_id = "night_within_budget", world.runs["night"]
    for index in (0, 2):
        world.airflow.wait_for_state(dag_id, run_id, "save", "success", map_index=index)
    page = world.page("viewer")
    page.goto(world.airflow.url + page_url(dag_id, run_id, "save", 0), wait_until="domcontentloaded")
    page.wait_for_selector("text=Saved beside it")
    text = page.inner_text("body").replace("\n", " ")
    assert "Bought by generate [A kite over the sea]" in text
    (other,) = page.get_by_role("link", name="Rain on a tin roof").all()
    assert str(other.get_attribute("href")).endswith("/tasks/save/mapped/2/plugin/scenario")
    assert page.locator("code").filter(has_text=re.compile(r"asset_\w+\.mp4")).count() == 2
    page.get_by_text("Saved beside it").scroll_into_view_if_needed()
    other.scroll_into_view_if_needed()
    picture(page, "task-save")
    page.get_by_role("link", name="generate [A kite over the sea]").click()
    page.wait_for_selector("text=of max_cost 5.25")
    page.context.close()


def test_an_airflow_assets_page_shows_what_the_tasks_of_its_events_made(world: World) -> None:
    run_id = world.runs["watched"]
    world.airflow.wait_for_state("ui_pages", run_id, "save", "success")
    made = world.facts("watched", "save")["jobs"][0]["assets"][0]["id"]
    known = {one["name"]: one["id"] for one in world.airflow.api("GET", "assets", limit=100)["assets"]}
    asset = known["ui_pages_videos"]
    # A person's event may name any file. It is no task's, so nothing of it is shown.
    stranger = world.sandbox.make_asset(10_000)
    world.airflow.api("POST", "assets/events", {"asset_id": asset, "extra": {"asset_id": stranger}})
    with world.client("viewer") as client:
        shown = client.get(f"/scenario/assets/{asset}").raise_for_status().json()
        assert [(job["run_id"], job["task_id"], job["assets"][0]["id"]) for job in shown["jobs"]] == [
            (run_id, "save", made)
        ]
        assert not shown["hidden"]
        assert client.get(f"/scenario/assets/{2**31 - 1}").json()["jobs"] == []
        assert {client.get(f"/scenario/assets/{odd}").status_code for odd in ("-1", "x", 2**31)} == {422}
    with world.client(None) as client:
        assert client.get(f"/scenario/assets/{asset}").status_code == 401
    if not assets_have_pages_of_plugins():
        return
    page = world.page("viewer")
    page.goto(f"{world.airflow.url}/assets/{known['ui_pages_foreign']}", wait_until="domcontentloaded")
    page.wait_for_selector("text=ui_pages_foreign")
    page.wait_for_timeout(1000)
    assert page.get_by_role("link", name="Scenario", exact=True).count() == 0
    page.goto(f"{world.airflow.url}/assets/{asset}", wait_until="domcontentloaded")
    page.get_by_role("link", name="Scenario", exact=True).click()
    page.wait_for_selector("article video")
    page.evaluate("document.querySelector('article video').play()")
    page.wait_for_function("document.querySelector('article video').currentTime > 0.3")
    assert page.locator("article").count() == 1
    picture(page, "asset")
    page.context.close()


def test_who_waits_for_a_slot_is_told_his_place_and_the_fleet_shows_both(world: World) -> None:
    world.airflow.wait_for_state("ui_pages", world.runs["failed"], "generate", "failed")  # Its job had a slot.
    world.sandbox.configure(job_seconds=600, parallel_jobs=1)
    first = world.runs["first"] = world.airflow.trigger("ui_pages", {"prompt": "The first"})
    world.airflow.wait_for_state("ui_pages", first, "generate", "deferred")
    second = world.airflow.trigger("ui_pages", {"prompt": "The second"})
    world.airflow.wait_for_state("ui_pages", second, "generate", "deferred")
    page = world.page("op")
    page.goto(world.airflow.url + page_url("ui_pages", second, "generate"), wait_until="domcontentloaded")
    page.wait_for_selector("text=Waits for a free slot")
    text = page.inner_text("body")
    assert "1st of 1 in line on scenario_default." in text
    assert "Nothing is bought yet" in text
    page.goto(f"{world.airflow.url}/plugin/scenario", wait_until="domcontentloaded")
    page.wait_for_selector("text=no slot")
    text = page.inner_text("body")
    for words in ("Slots in use", "1 by Airflow, 0 by others", "The first", "Spent today"):
        assert words in text, words
    picture(page, "fleet")
    page.context.close()
    world.sandbox.configure(job_seconds=3, parallel_jobs=20)
    world.sandbox.set_job(world.facts("first")["jobs"][0]["id"])
    # Else its purchase would meet the fault that the next test puts in the way of another.
    world.airflow.wait_for_state("ui_pages", second, "generate", "success")


def test_who_looks_for_a_job_whose_id_was_lost_is_told_so(world: World) -> None:
    world.sandbox.add_fault("drop_before", method="POST", path="/generate/", query="^$", times=1)
    run_id = world.airflow.trigger("ui_pages", {"prompt": "A lost reply"})
    world.airflow.wait_for_state("ui_pages", run_id, "generate", "deferred")
    page = world.page("op")
    page.goto(world.airflow.url + page_url("ui_pages", run_id, "generate"), wait_until="domcontentloaded")
    page.wait_for_selector("text=Looks for its job")
    text = page.inner_text("body")
    assert "No worker is held" in text
    assert "bought nothing" not in text
    page.goto(f"{world.airflow.url}/plugin/scenario", wait_until="domcontentloaded")
    page.wait_for_selector("text=searching")
    page.context.close()


def test_a_person_approves_what_he_has_watched(world: World, folder: Path) -> None:
    world.sandbox.configure(job_seconds=3)
    dag_id = "approve_before_publishing"
    run_id = world.airflow.trigger(dag_id, {"destination": str(folder)[1:]})
    world.airflow.wait_for_state(dag_id, run_id, "approve", "deferred", "awaiting_input")
    page = world.page("op")
    question = f"{world.airflow.url}/dags/{dag_id}/runs/{path_of(run_id)}/tasks/approve/required_actions"
    page.goto(question, wait_until="domcontentloaded")
    picture_of_it = page.wait_for_selector("img[alt='Watch it']")
    assert picture_of_it is not None
    page.wait_for_function("document.querySelector(\"img[alt='Watch it']\").naturalWidth > 100")
    picture(page, "approval")
    link = page.get_by_role("link", name="Watch it").last.get_attribute("href")
    page.goto(world.airflow.url + str(link), wait_until="domcontentloaded")
    page.wait_for_selector("video")
    page.evaluate("document.querySelector('video').play()")
    page.wait_for_function("document.querySelector('video').currentTime > 0.5")
    page.goto(question, wait_until="domcontentloaded")
    page.get_by_role("button", name="Approve").click()
    world.airflow.wait_for_state(dag_id, run_id, "publish", "success")
    page.context.close()


def test_slow_viewers_do_not_take_the_database_from_others(world: World) -> None:
    world.sandbox.configure(job_seconds=3)
    runs = [world.runs[name] for name in ("watched", "failed")]
    jobs = [task_url("ui_pages", run_id, "generate") for run_id in runs]
    world.airflow.start("api-server")  # Nothing is kept from before.
    world.sandbox.add_fault({"type": "delay", "seconds": 6}, path="/jobs/", times=None)
    with world.client("viewer") as client, concurrent.futures.ThreadPoolExecutor(15) as viewers:
        started = time.monotonic()
        slow = [viewers.submit(client.get, jobs[place % 2]) for place in range(15)]
        time.sleep(2)
        client.get("/api/v2/dags", params={"limit": 1}).raise_for_status()
        held = world.airflow.held_connections()
        answered = time.monotonic() - started
        assert not any(one.done() for one in slow)
        assert {one.result().status_code for one in slow} == {200}
    world.sandbox.clear_faults()
    assert answered < 6
    assert held <= 2


def test_a_thousand_jobs_open_soon_and_ask_little(world: World) -> None:
    run_id = world.airflow.multiply("ui_pages", world.runs["watched"], "generate", thousand(world))
    address = f"/scenario/dags/ui_pages/runs/{path_of(run_id)}"
    # Else open pages, and the triggerer for tasks that wait still, ask too: it reads of each of the thousand.
    for context in world.browser.contexts:
        context.close()
    world.airflow.stop("triggerer")
    with world.client("viewer") as client:
        # What changes while a list is read moves in it: the page says how many it missed, and looks again by itself.
        for _ in range(3):
            before, started = sum(world.sandbox.requests()["counts"].values()), time.monotonic()
            shown = client.get(address).raise_for_status().json()
            seconds = time.monotonic() - started
            asked = sum(world.sandbox.requests()["counts"].values()) - before
            print(f"a thousand jobs: {seconds:.2f} s, {asked} requests, {shown['unread']} not read")
            assert len(shown["jobs"]) >= 1000 - shown["unread"]
            assert asked <= 30
            if not shown["unread"]:
                break
    world.airflow.start("triggerer")
    assert not shown["unread"]


def thousand(world: World) -> list[dict[str, Any]]:
    """What a thousand task instances would show: each bought one job."""
    job_ids = world.sandbox.make_jobs(1000, seconds=0.1, inputs={"prompt": "One of a thousand"})
    for one in job_ids:  # What changes while a list is read moves in it.
        world.sandbox.finish_job(one)
    common = {"scenario_conn_id": "scenario_default", "project_id": None}
    return [{"task": "generate", **common, "job_ids": [one], "charged": {one: "5.25"}} for one in job_ids]

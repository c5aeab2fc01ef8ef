"""Every example DAG runs as it stands, on a real Airflow, and leaves real files."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_scenario.sandbox.clip import draw_clip, draw_image, probe

if TYPE_CHECKING:
    from airflow_provider_scenario.sandbox.server import SandboxServer
    from tests.e2e.airflow_server import AirflowServer
    from tests.e2e.shared_runs import Begun, Place

pytestmark = pytest.mark.e2e

RUN_SECONDS = 240.0


class Runs:
    """One run of every example, all started at once."""

    def __init__(self, airflow: AirflowServer, folder: Path) -> None:
        self.airflow = airflow
        self.folder = folder
        clip, still = folder / "clip.mp4", folder / "still.png"
        draw_clip(clip, seconds=2.0, width=640, height=360, frames_per_second=16)
        draw_image(still, width=640, height=360)
        conf = {
            "outpaint_then_reframe": {"video": clip.as_uri()},
            "reframe_for_every_screen": {"video": clip.as_uri(), "resolution": "480p"},
            "text_to_video": {},
            "image_to_video": {"image": still.as_uri()},
            "any_model": {},
        }
        self.ids: dict[str, str] = {}
        for dag_id, given in conf.items():
            airflow.wait_for_dag(dag_id)
            destination = {"destination": (folder / dag_id).as_uri()}
            self.ids[dag_id] = airflow.trigger(dag_id, {**given, **destination})

    def finished(self, dag_id: str) -> None:
        run = self.airflow.wait_for_run(dag_id, self.ids[dag_id], timeout=RUN_SECONDS)
        assert run["state"] == "success", self.airflow.task_instances(dag_id, self.ids[dag_id])

    def xcom(self, dag_id: str, task_id: str, key: str = "return_value", map_index: int = -1) -> Any:
        return self.airflow.xcom(dag_id, self.ids[dag_id], task_id, key, map_index)

    def files(self, dag_id: str) -> list[Path]:
        return sorted((self.folder / dag_id / self.ids[dag_id]).glob("*.mp4"))


def begin(place: Place) -> Runs:
    """Start one run of every example."""
    return Runs(place.airflow, place.folder)


@pytest.fixture(scope="module")
def runs(begun: Begun) -> Runs:
    started: Runs = begun[__name__].result()
    return started


def test_outpaint_then_reframe(runs: Runs, sandbox: SandboxServer) -> None:
    runs.finished("outpaint_then_reframe")
    (path,) = runs.files("outpaint_then_reframe")
    facts = probe(path)
    assert (facts.width, facts.height, facts.frames, facts.codec) == (720, 1280, 32, "h264"), (
        "as many frames as the clip has"
    )
    (saved,) = runs.xcom("outpaint_then_reframe", "save")
    assert saved["uri"] == f"file://{path}"
    assert saved["bytes"] == path.stat().st_size

    outpainted = runs.xcom("outpaint_then_reframe", "wait_for_outpaint")
    reframed = runs.xcom("outpaint_then_reframe", "wait_for_reframe")
    paid = {entry["jobId"]: entry for entry in sandbox.ledger()["entries"]}
    assert paid[reframed["job_id"]]["inputs"]["videoUrl"] == outpainted["asset_id"]
    assert paid[outpainted["job_id"]]["inputs"]["videoUrl"] == runs.xcom("outpaint_then_reframe", "upload")
    for made in (outpainted, reframed):
        assert float(made["cost"]) == paid[made["job_id"]]["charged"]
        assert made["seed"] == paid[made["job_id"]]["inputs"]["seed"]


def test_every_value_is_an_xcom_of_its_own_and_links_lead_to_scenario(runs: Runs) -> None:
    runs.finished("outpaint_then_reframe")
    dag_id, run_id = "outpaint_then_reframe", runs.ids["outpaint_then_reframe"]
    made = runs.xcom(dag_id, "wait_for_reframe")
    for key, value in made.items():
        # Airflow's REST API reads a text of digits as a number; tasks get the text.
        assert runs.xcom(dag_id, "wait_for_reframe", key) == (float(value) if key == "cost" else value)
    links = runs.airflow.extra_links(dag_id, run_id, "wait_for_reframe")
    assert made["job_id"] in (links["Scenario job"] or "")
    assert made["asset_id"] in (links["Scenario asset"] or "")
    assert made["job_id"] in (runs.airflow.extra_links(dag_id, run_id, "reframe")["Scenario job"] or "")


def test_reframe_for_every_screen(runs: Runs) -> None:
    runs.finished("reframe_for_every_screen")
    sizes = {(facts.width, facts.height) for facts in map(probe, runs.files("reframe_for_every_screen"))}
    assert len(sizes) == 3
    assert {round(width / height, 2) for width, height in sizes} == {1.78, 1.0, 0.56}
    labels = [
        (instance["task_id"], instance["rendered_map_index"])
        for instance in runs.airflow.task_instances("reframe_for_every_screen", runs.ids["reframe_for_every_screen"])
    ]
    assert sorted(labels) == [(task, name) for task in ("reframe", "save") for name in ("16:9", "1:1", "9:16")]


def test_text_to_video(runs: Runs) -> None:
    runs.finished("text_to_video")
    (path,) = runs.files("text_to_video")
    facts = probe(path)
    assert (facts.width, facts.height) == (1280, 720)
    assert facts.duration == pytest.approx(5.0, abs=0.2)


def test_page_for_new_videos(runs: Runs) -> None:
    """Nobody triggers it: the asset that text_to_video updates does."""
    runs.finished("text_to_video")
    deadline = time.monotonic() + RUN_SECONDS
    while not (started := runs.airflow.api("GET", "dags/page_for_new_videos/dagRuns")["dag_runs"]):
        assert time.monotonic() < deadline, "the asset started no run"
        time.sleep(0.5)
    run_id = started[0]["dag_run_id"]
    assert runs.airflow.wait_for_run("page_for_new_videos", run_id, timeout=RUN_SECONDS)["state"] == "success"
    (page,) = runs.airflow.xcom("page_for_new_videos", run_id, "write_page")
    made = runs.xcom("text_to_video", "final")
    (video,) = runs.files("text_to_video")
    assert page == f"file://{video.with_name(made['job_id'])}.html"
    written = Path(page.removeprefix("file://")).read_text(encoding="utf-8")
    for told in (f"{made['asset_id']}.mp4", "A paper boat", f"seed {made['seed']}", f"{made['cost']} creative units"):
        assert told in written


def test_image_to_video(runs: Runs) -> None:
    runs.finished("image_to_video")
    (path,) = runs.files("image_to_video")
    assert probe(path).frames == 81


def test_any_model(runs: Runs) -> None:
    runs.finished("any_model")
    (path,) = runs.files("any_model")
    assert min(probe(path).width, probe(path).height) == 480


def test_a_waiting_task_holds_no_worker_and_shows_its_progress(runs: Runs) -> None:
    runs.finished("text_to_video")
    log = runs.airflow.log("text_to_video", runs.ids["text_to_video"], "final")
    assert "Pausing task as DEFERRED" in log
    progress = runs.xcom("text_to_video", "final", "progress")
    assert (progress["status"], progress["percent"]) == ("success", 100)
    # A try that rejoins a job reads no model: it does not know what is usual.
    assert "usual_seconds" not in progress if "Rejoining job" in log else progress["usual_seconds"] == 2.0
    assert progress["queued_seconds"] < progress["running_seconds"]


def test_no_secret_was_shown(runs: Runs, airflow: AirflowServer, sandbox: SandboxServer) -> None:
    for dag_id in runs.ids:
        runs.finished(dag_id)
    shown = [airflow.kept_of(dag_id) for dag_id in runs.ids]
    assert all("asset_" in each for each in shown)
    assert airflow.secrets_shown(*runs.ids, secret=sandbox.api_secret) == []
    assert sandbox.leaks() == []

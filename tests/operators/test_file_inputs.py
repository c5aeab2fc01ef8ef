"""Files as inputs: judged before they are sent, sent once, and not needed any more once a job is bought."""

from __future__ import annotations

import threading
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fsspec
import pytest
from airflow.sdk import ObjectStoragePath
from airflow.sdk.io import attach

from airflow_provider_scenario import exceptions
from airflow_provider_scenario.operators.generate import ScenarioGenerateOperator
from airflow_provider_scenario.operators.wan import (
    ScenarioWan22ImageToVideoOperator,
    ScenarioWan22OutpaintingOperator,
    ScenarioWan22ReframeOperator,
)
from airflow_provider_scenario.sandbox.clip import draw_clip, draw_image
from tests.task_run import TaskRun
from tests.this_airflow import needs_task_state_store

if TYPE_CHECKING:
    from airflow_provider_scenario.sandbox.server import SandboxServer

REFRAME = "model_wan-2-2-vace-fun-a14b-reframe"


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_clip(tmp_path_factory.mktemp("drawn") / "clip.mp4", seconds=0.5, width=64, height=64)


@pytest.fixture
def clip(tmp_path: Path, drawn: Path) -> Path:
    path = tmp_path / "ein Clip für alle.mp4"
    path.write_bytes(drawn.read_bytes())
    return path


@pytest.fixture
def still(tmp_path: Path) -> Path:
    return draw_image(tmp_path / "still.png", width=64, height=36)


def reframing(video: Any, **arguments: Any) -> ScenarioWan22ReframeOperator:
    return ScenarioWan22ReframeOperator(task_id="reframe", video=video, poll_interval=0.1, **arguments)


def bought(scenario: SandboxServer) -> list[dict[str, Any]]:
    return list(scenario.ledger()["entries"])


def sent(scenario: SandboxServer) -> int:
    """How many files were sent: each of these has one part, or is an image."""
    counts = scenario.requests()["counts"]
    return sum(counts.get(route, 0) for route in ("POST /v1/uploads", "POST /v1/assets"))


# --- What counts as a file


@pytest.mark.parametrize("given", ["path", "uri", "text of another storage", "object of another storage"])
def test_a_file_is_uploaded_first(scenario: SandboxServer, clip: Path, given: str) -> None:
    attach("memory", fs=fsspec.filesystem("memory"))
    elsewhere = ObjectStoragePath(f"memory://clips-{uuid.uuid4().hex}/clip.mp4")
    elsewhere.write_bytes(clip.read_bytes())
    kinds = {
        "path": str(clip),
        "uri": f"file://{clip}",
        "text of another storage": str(elsewhere),
        "object of another storage": elsewhere,
    }
    run = TaskRun()
    result = reframing(kinds[given]).execute(run.context)
    (entry,) = bought(scenario)
    assert result["job_id"] == entry["jobId"]
    assert entry["inputs"]["videoUrl"].startswith("asset_")
    assert scenario.leaks() == []


def test_a_list_may_mix_files_and_assets(scenario: SandboxServer, clip: Path, still: Path, image_id: str) -> None:
    operator = ScenarioWan22OutpaintingOperator(
        task_id="outpaint",
        prompt="A beach",
        video=str(clip),
        reference_images=[image_id, still, ObjectStoragePath(f"file://{still}"), str(still)],
        poll_interval=0.1,
    )
    before = sent(scenario)
    operator.execute(TaskRun().context)
    (entry,) = bought(scenario)
    first, *others = entry["inputs"]["refImageUrls"]
    assert first == image_id
    assert len(set(others)) == 1, "the same bytes are one asset"
    assert sent(scenario) == before + 2


def test_a_list_that_templating_made_text(scenario: SandboxServer, clip: Path, still: Path) -> None:
    inputs = {"prompt": "A beach", "videoUrl": str(clip), "refImageUrls": str([str(still)])}
    model = "model_wan-2-2-vace-fun-a14b-outpainting"
    operator = ScenarioGenerateOperator(task_id="any", model_id=model, inputs=str(inputs), poll_interval=0.1)
    operator.execute(TaskRun().context)
    (entry,) = bought(scenario)
    assert [one[:6] for one in entry["inputs"]["refImageUrls"]] == ["asset_"]


# --- Judged before anything is sent


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda folder: folder / "gone.mp4", "video: There is no file"),
        (lambda folder: folder, "video: .* is a folder"),
        (
            lambda folder: (folder / "empty.mp4", (folder / "empty.mp4").touch())[0],
            r"video: .* is empty \(0 bytes\)",
        ),
        (
            lambda folder: (folder / "a.mp4", (folder / "a.mp4").write_bytes(b"\0" * 9))[0] / "x",
            "video: There is no",
        ),
        (lambda folder: draw_image(folder / "still.png"), "video: must be of kind video, but .* is of kind image"),
        (lambda folder: "s4://bucket/clip.mp4", "video: the path has the scheme s4://"),
        (lambda folder: "../clip.mp4", "video: must be the id of a Scenario asset, an absolute path or a URI"),
        (lambda folder: "https://example.com/clip.mp4?Signature=SECRET", "video: must be the id of"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_by_its_argument(
    scenario: SandboxServer, tmp_path: Path, make: Any, says: str
) -> None:
    with pytest.raises(exceptions.ScenarioInputError, match=says) as refusal:
        reframing(make(tmp_path)).execute(TaskRun().context)
    assert "SECRET" not in str(refusal.value)
    assert "nothing charged" in str(refusal.value)
    assert (sent(scenario), bought(scenario)) == (0, [])


def test_limits_of_the_record_are_checked_before_anything_is_sent(
    scenario: SandboxServer, clip: Path, still: Path
) -> None:
    inputs = [
        {"name": "film", "type": "file", "kind": "video", "maxDuration": 0.4, "maxSize": 100},
        {"name": "shots", "type": "file_array", "kind": "video", "minDuration": 3},
        {"name": "still", "type": "file", "kind": "image"},
    ]
    scenario.add_model({"id": "model_x", "name": "X", "capabilities": ["video2video"], "inputs": inputs})
    given = {"film": str(clip), "shots": [str(clip)], "still": str(still)}
    operator = ScenarioGenerateOperator(task_id="any", model_id="model_x", inputs=given)
    with pytest.raises(exceptions.ScenarioInputError) as refusal:
        operator.execute(TaskRun().context)
    faults = str(refusal.value).splitlines()[1:]
    assert faults == [
        f"- film: must last at most 0.4 s, {clip} lasts 0.5 s.",
        f"- film: must have at most 100 bytes, {clip} has {clip.stat().st_size:,}.",
        f"- shots[0]: must last at least 3 s, {clip} lasts 0.5 s.",
    ]
    assert (sent(scenario), bought(scenario)) == (0, [])


# --- Over the tries of a task


def uploaded_but_not_bought(scenario: SandboxServer, clip: Path) -> TaskRun:
    """Let a first try end between its upload and its purchase."""
    refusal = {"type": "status", "code": 402, "body": {"reason": "no units"}}
    scenario.add_fault(refusal, method="POST", path="/generate/")
    run = TaskRun()
    with pytest.raises(exceptions.ScenarioInsufficientCreditsError):
        reframing(str(clip)).execute(run.context)
    return run


def test_a_bought_job_needs_its_file_no_more(scenario: SandboxServer, clip: Path) -> None:
    scenario.configure(job_seconds=0.3)
    run = TaskRun()
    first = reframing(str(clip), wait_for_completion=False).execute(run.context)
    clip.unlink()
    before = sent(scenario)
    result = reframing(str(clip), on_changed_inputs="fail").execute(run.retry())
    assert result["job_id"] == first["job_id"]
    assert (sent(scenario), len(bought(scenario))) == (before, 1)


@needs_task_state_store
def test_a_retry_does_not_upload_again_even_if_the_file_has_gone(scenario: SandboxServer, clip: Path) -> None:
    scenario.add_fault(
        {"type": "status", "code": 402, "body": {"reason": "no units"}}, method="POST", path="/generate/"
    )
    run = TaskRun()
    with pytest.raises(exceptions.ScenarioInsufficientCreditsError):
        reframing(str(clip)).execute(run.context)
    clip.unlink()
    reframing(str(clip)).execute(run.retry())
    assert (sent(scenario), len(bought(scenario))) == (1, 1)


def test_an_asset_that_was_deleted_meanwhile_is_uploaded_again(scenario: SandboxServer, clip: Path) -> None:
    scenario.add_fault(
        {"type": "status", "code": 402, "body": {"reason": "no units"}}, method="POST", path="/generate/"
    )
    run = TaskRun()
    with pytest.raises(exceptions.ScenarioInsufficientCreditsError):
        reframing(str(clip)).execute(run.context)
    scenario.add_fault(
        {"type": "status", "code": 404, "body": {"reason": "gone"}}, method="GET", path="/v1/assets/", times=2
    )
    reframing(str(clip)).execute(run.retry())
    assert sent(scenario) == 2


def test_a_lost_submission_is_found_without_the_file(
    scenario: SandboxServer, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_provider_scenario.submission.purchase.MAX_SUBMISSIONS", 1)
    scenario.configure(job_seconds=0.3)
    scenario.add_fault("drop_after", method="POST", path="/generate/")
    run = TaskRun()
    with pytest.raises(exceptions.ScenarioTransientError, match="It is not known whether Scenario accepted"):
        reframing(str(clip)).execute(run.context)
    clip.unlink()
    assert reframing(str(clip)).execute(run.retry())["job_id"] == bought(scenario)[0]["jobId"]
    assert len(bought(scenario)) == 1


@needs_task_state_store
def test_a_clear_reads_the_file_anew_but_sends_no_byte_twice(scenario: SandboxServer, clip: Path, drawn: Path) -> None:
    run = TaskRun()
    reframing(str(clip)).execute(run.context)
    reframing(str(clip)).execute(run.clear())
    same = [entry["inputs"]["videoUrl"] for entry in bought(scenario)]
    assert (len(same), len(set(same)), sent(scenario)) == (2, 1, 1)
    clip.write_bytes(drawn.read_bytes() + b"\0\0\0\x08free")
    reframing(str(clip)).execute(run.clear())
    assert bought(scenario)[-1]["inputs"]["videoUrl"] not in same
    assert sent(scenario) == 2


@needs_task_state_store
def test_what_was_sent_is_known_as_long_as_what_was_bought(scenario: SandboxServer, clip: Path) -> None:
    run = TaskRun()
    reframing(str(clip)).execute(run.context)
    kept = run.store.retentions
    assert kept["scenario_uploads"] is kept["scenario_submission"] is not None


def test_another_file_is_another_input(scenario: SandboxServer, clip: Path, tmp_path: Path) -> None:
    run = TaskRun()
    reframing(str(clip)).execute(run.context)
    other = tmp_path / "other.mp4"
    other.write_bytes(clip.read_bytes())
    again = reframing(str(other), on_changed_inputs="fail")
    if run.has_store:
        with pytest.raises(exceptions.ScenarioSubmissionError, match="videoUrl"):
            again.execute(run.retry())
    else:  # Scenario tells of the asset alone, not of the file that it was made of.
        again.execute(run.retry())
    assert len(bought(scenario)) == 1


def test_a_killed_task_ends_its_upload(scenario: SandboxServer, clip: Path) -> None:
    operator = reframing(str(clip))
    scenario.configure(upload_seconds=60)

    def kill_when_sent() -> None:
        while not any(route.startswith("POST /v1/uploads/") for route in scenario.requests()["counts"]):
            time.sleep(0.05)
        operator.on_kill()

    threading.Thread(target=kill_when_sent, daemon=True).start()
    with pytest.raises(exceptions.ScenarioTransferError, match="was stopped"):
        operator.execute(TaskRun().context)
    assert bought(scenario) == []


def test_a_still_and_a_last_frame(scenario: SandboxServer, still: Path) -> None:
    operator = ScenarioWan22ImageToVideoOperator(
        task_id="film", prompt="Wind", image=still, last_frame_image=str(still), poll_interval=0.1
    )
    operator.execute(TaskRun().context)
    (entry,) = bought(scenario)
    assert entry["inputs"]["image"] == entry["inputs"]["lastFrameImage"]
    assert sent(scenario) == 1

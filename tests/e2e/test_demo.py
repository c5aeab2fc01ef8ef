"""`make demo` does what it says, from the user's clip to the file on disk."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from airflow_provider_scenario.sandbox.clip import draw_clip, probe
from demo.report import progress_words, saved_files, size_in_words
from demo.run import draw
from tests.docs.pages import FOLDER, blocks_of

pytestmark = pytest.mark.e2e

REPOSITORY = Path(__file__).resolve().parents[2]
CREDENTIALS = ("SCENARIO_SDK_API_KEY", "SCENARIO_SDK_API_SECRET")


def run_demo(folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name not in (*CREDENTIALS, "VIDEO", "KEEP")}
    return subprocess.run(
        [sys.executable, "-m", "demo.run"],
        cwd=folder,
        env={**environment, "PYTHONPATH": str(REPOSITORY), **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_the_users_clip_is_widened_reframed_and_saved(tmp_path: Path) -> None:
    clip = draw_clip(tmp_path / "my clip.mp4", seconds=2, width=180, height=320, is_from_a_phone=True)
    done = run_demo(tmp_path, VIDEO=str(clip))
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    [saved] = (tmp_path / "output").glob("*/*.mp4")
    facts = probe(saved)
    assert facts.width is not None
    assert facts.height is not None
    assert facts.width * 16 == facts.height * 9
    assert re.search(
        rf"Saved +output/[^/]+/{saved.name} +[\d.]+ [kM]B +{facts.width} x {facts.height} +[\d.]+ s", done.stdout
    )
    assert "Length    2.00 s in, 2.00 s out: all of it was kept" in done.stdout
    assert "the embedded sandbox" in done.stdout
    assert re.search(r"wait_for_reframe +waiting, no worker held +job_\w+", done.stdout)
    assert re.search(r"Run +\d+ s", done.stdout)
    shown = next(block.text for block in blocks_of(FOLDER / "main-job.md") if "Outpaint, then reframe" in block.text)
    assert steps_of(shown) == steps_of(done.stdout), "docs/main-job.md shows what the demo prints"


def steps_of(printed: str) -> list[tuple[str, str]]:
    """The labels, and the tasks in the order in which they were done."""
    return re.findall(r"^  (?: +\d+:\d\d +(\w+ +done)|([A-Z]\w+))(?= )", printed, re.MULTILINE)


def test_the_clip_drawn_for_the_demo_is_a_phones_and_longer_than_five_seconds() -> None:
    with ExitStack() as stack:
        found = probe(draw(stack))
        assert (found.width, found.height, found.duration) == (270, 480, 12.0)


def test_a_video_that_is_not_there_is_refused_before_anything_starts(tmp_path: Path) -> None:
    done = run_demo(tmp_path, VIDEO="no/such/clip.mp4")
    assert done.returncode == 2
    assert done.stderr.startswith(f"There is no video at {tmp_path}/no/such/clip.mp4.")
    assert done.stdout == ""


@pytest.mark.parametrize(("given", "missing"), [CREDENTIALS, CREDENTIALS[::-1]])
def test_half_a_credential_is_refused_without_showing_it(tmp_path: Path, given: str, missing: str) -> None:
    done = run_demo(tmp_path, **{given: "half-of-the-credential"})
    assert done.returncode == 2
    assert f"{given} is set but {missing} is not" in done.stderr
    assert "half-of-the-credential" not in done.stdout + done.stderr


def test_files_are_shown_in_columns_and_remote_ones_by_address(tmp_path: Path) -> None:
    clip = draw_clip(tmp_path / "clip.mp4", seconds=1, width=64, height=32, frames_per_second=8)
    note = tmp_path / "a longer name.txt"
    note.write_text("no video")
    rows = saved_files([{"uri": f"file://{clip}"}, {"uri": f"file://{note}"}, {"uri": "s3://bucket/clip.mp4"}])
    assert re.split(" {2,}", rows[0])[-3:] == ["64 x 32", "1.00 s", "8 frames/s"]
    assert rows[1].endswith("a longer name.txt  8 bytes")
    assert rows[2] == "s3://bucket/clip.mp4"


def test_sizes_are_said_as_people_say_them() -> None:
    assert [size_in_words(count) for count in (0, 999, 1500, 2_500_000, 3_000_000_000)] == [
        "0 bytes",
        "999 bytes",
        "1.5 kB",
        "2.5 MB",
        "3.0 GB",
    ]


def test_percent_is_said_only_while_a_job_is_under_way() -> None:
    assert progress_words({"status": "in-progress", "percent": 60}) == ["in-progress", "60%"]
    assert progress_words({"status": "queued", "percent": 0}) == ["queued"]
    assert progress_words(None) == []

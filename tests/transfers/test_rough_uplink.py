"""Hundreds of uploads over lines that do everything wrong, from 64 kbit/s to 1 Gbit/s.

What Scenario has is what was sent, every time.
"""

from __future__ import annotations

import hashlib
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_provider_scenario.exceptions import ScenarioTransientError
from airflow_provider_scenario.files import upload
from airflow_provider_scenario.sandbox.clip import draw_clip
from airflow_provider_scenario.sandbox.server import SandboxServer
from airflow_provider_scenario.sandbox.studio.rendering import skipped_box
from airflow_provider_scenario.transfers.object_storage_to_scenario import ObjectStorageToScenarioOperator
from tests.figures import figure
from tests.transfers.conftest import task_context
from tests.transfers.lines import Line, lines_to
from tests.transfers.test_rough_cdn import PAGE, digests_of

if TYPE_CHECKING:
    import pytest

UPLOADS, TOGETHER = figure(75, 300), 10
PART = 20_000

TROUBLE: tuple[dict[str, Any], ...] = (
    {"type": "drop_before", "reset": True},
    {"type": "drop_before", "reset": False},
    {"type": "drop_after", "reset": True},
    {"type": "status", "code": 500},
    {"type": "status", "code": 503, "headers": {"Retry-After": "0"}},
    {"type": "status_after", "code": 502, "body": PAGE},
    {"type": "status", "code": 200, "body": PAGE, "headers": {"Content-Type": "text/html"}},
    {"type": "delay", "seconds": 0.05},
)


def draw_clips(folder: Path, lines: list[Line]) -> list[tuple[Path, Line]]:
    """Draw clips, most of them of several parts, no two alike, each with the line that it goes over."""
    chance, made = random.Random(1), []
    head = draw_clip(folder / "head.mp4", seconds=0.5, width=64, height=64).read_bytes()
    for number in range(UPLOADS):
        clip, line = folder / f"{number}.mp4", lines[number % len(lines)]
        clip.write_bytes(head + skipped_box(chance.randbytes(line.size_in(0.5, chance.randrange(1, 60_000)))))
        made.append((clip, line))
    return made


def send(sending: tuple[Path, Line]) -> str:
    """Upload as a task with two retries does."""
    clip, line = sending
    context = task_context()
    for retries_left in (2, 1, 0):
        operator = ObjectStorageToScenarioOperator(
            task_id="upload", source=clip.as_uri(), poll_interval=0.05, scenario_conn_id=line.conn_id
        )
        try:
            return operator.execute(context)
        except ScenarioTransientError:
            if not retries_left:
                raise
    raise AssertionError


def test_every_upload_is_whole(scenario: SandboxServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload, "SMALLEST_PART", PART)
    scenario.configure(upload_seconds=0)
    chance = random.Random(2026)
    for action in TROUBLE * (UPLOADS // 37):
        scenario.add_fault(action, method="PUT", skip=chance.randrange(UPLOADS * 5 // 3), times=chance.randrange(1, 4))
    for action in TROUBLE[:6] * (UPLOADS // 75):
        scenario.add_fault(action, method="POST", path="/uploads", skip=chance.randrange(UPLOADS * 5 // 3))
    with lines_to(scenario, figure(5, 15), monkeypatch) as lines, ThreadPoolExecutor(TOGETHER) as pool:
        clips = draw_clips(tmp_path, lines)
        sent = dict(zip(pool.map(send, clips), [clip for clip, _ in clips], strict=True))
    assert sum(fault["hits"] for fault in scenario.faults()) > UPLOADS // 6
    assert len(sent) == UPLOADS
    arrived = digests_of(list(sent), original=True)
    assert arrived == {asset_id: hashlib.sha256(clip.read_bytes()).hexdigest() for asset_id, clip in sent.items()}

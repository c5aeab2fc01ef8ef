from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest
from scenario_sdk import Scenario

from airflow_provider_scenario.sandbox.clip import draw_clip, draw_image
from tests.sandbox.asking import upload

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from airflow_provider_scenario.sandbox.server import SandboxServer


@pytest.fixture
def quick(sandbox: SandboxServer) -> SandboxServer:
    """A sandbox whose jobs take no time, and whose videos are tiny."""
    sandbox.configure(job_seconds=0, render="tiny", upload_seconds=0)
    return sandbox


@pytest.fixture
def api(quick: SandboxServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"{quick.base_url}/", auth=(quick.api_key, quick.api_secret), timeout=30) as client:
        yield client


@pytest.fixture
def official(quick: SandboxServer) -> Iterator[Scenario]:
    """Scenario's own client, told to mind every field of every reply."""
    with Scenario(
        api_key=quick.api_key,
        api_secret=quick.api_secret,
        bearer_auth="",
        base_url=quick.base_url,
        max_retries=0,
        _strict_response_validation=True,
    ) as client:
        yield client


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video of 640x360, 24 frames at 12 a second."""
    path = tmp_path_factory.mktemp("media") / "clip.mp4"
    return draw_clip(path, seconds=2, width=640, height=360, frames_per_second=12, text="source")


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_image(tmp_path_factory.mktemp("media") / "image.png", width=320, height=180, text="still")


@pytest.fixture
def clip_id(api: httpx.Client, clip: Path) -> str:
    return upload(api, clip, "video", "video/mp4")["entityId"]


@pytest.fixture
def image_id(api: httpx.Client, image: Path) -> str:
    return upload(api, image, "image", "image/png")["entityId"]

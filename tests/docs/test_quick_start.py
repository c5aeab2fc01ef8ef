"""A new user's first ten minutes: every command of the quick start, as pasted, from an empty home to a saved video."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from airflow_provider_scenario.sandbox.clip import probe
from tests.docs.pages import FOLDER, Block, blocks_of
from tests.docs.stories import plain

QUICK_START = FOLDER / "quick-start.md"
STEP_SECONDS = 500.0
"""A loaded machine is no failure of the page."""
NEVER_INHERITED = re.compile(r"AIRFLOW|SCENARIO|PYTHONDONTWRITEBYTECODE|_PROXY$", re.IGNORECASE)


def blocks(*languages: str) -> list[Block]:
    return [block for block in blocks_of(QUICK_START) if block.language in languages]


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    """The environment of somebody who has just installed it."""
    kept = {name: value for name, value in os.environ.items() if not NEVER_INHERITED.search(name)}
    path = f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}"
    return {**kept, "HOME": str(tmp_path), "PATH": path, "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}


def shell(command: str, environment: dict[str, str]) -> str:
    done = subprocess.run(
        ["bash", "-ec", command],
        env=environment,
        cwd=environment["HOME"],
        capture_output=True,
        text=True,
        timeout=STEP_SECONDS,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_from_nothing_to_a_saved_video(home: dict[str, str]) -> None:
    install, sandbox, migrate, run, *_ = (block.text for block in blocks("bash"))
    assert "pip install" in install, "installing is what make does for this environment"
    assert "8099" in sandbox
    started = subprocess.Popen(
        ["bash", "-c", f"exec {sandbox.replace('8099', str(free_port()))}"],
        env=home,
        cwd=home["HOME"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    watchdog = threading.Timer(2 * STEP_SECONDS, started.kill)
    watchdog.start()
    try:
        assert started.stderr is not None
        pasted = next(line for line in started.stderr if line.strip().startswith("export AIRFLOW_CONN_"))
        shell(migrate, home)
        (program,) = blocks("python")
        dags = Path(home["HOME"]) / "airflow" / "dags"
        (dags / "first_video.py").write_text(program.text)
        told = shell(f"{pasted}{run}", home)
    finally:
        watchdog.cancel()
        started.send_signal(signal.SIGINT)
        started.wait(20)
    (video,) = (Path(home["HOME"]) / "videos").glob("*.mp4")
    assert probe(video).duration == pytest.approx(5.06, abs=0.1)
    seen = plain(told.replace(home["HOME"], "/data"))
    (shown,) = blocks("text")
    for line in plain(shown.text).splitlines():
        assert line in seen

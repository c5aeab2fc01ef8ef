"""A run of the tests that hangs tells where, and ends."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
HANGS = """
import threading

def test_never_ends():
    threading.Event().wait()
"""


@pytest.mark.parametrize("processes", ["", "-n 1 --max-worker-restart 0"])
def test_a_run_that_hangs_tells_where_and_ends(processes: str, tmp_path: Path) -> None:
    hangs = tmp_path / "test_hangs.py"
    hangs.write_text(HANGS)
    plugins = ["-p", "tests.conftest", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *plugins, *processes.split(), str(hangs)],
        cwd=REPOSITORY,
        env={**os.environ, "SESSION_SECONDS": "4"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1
    assert f'File "{hangs}", line 5 in test_never_ends' in done.stderr

"""Installs Debian's packages where a test needs one and that is allowed."""

from __future__ import annotations

import os
import shutil
import subprocess
import time

from tests.e2e.airflow_settings import inherited_environment

LOCKED = "Could not get lock"
LOCKED_SECONDS = 300.0
"""How long another process may install something meanwhile."""


def install_package(name: str) -> None:
    """Install one of Debian's packages; wait for others who install something."""
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise RuntimeError(f"{name} is not installed; on Debian: apt-get install {name}")
    for arguments in (["update", "-q"], ["install", "-q", "-y", "--no-install-recommends", name]):
        apt_get(*arguments)


def apt_get(*arguments: str) -> None:
    """Run a command of apt-get to its end."""
    deadline = time.monotonic() + LOCKED_SECONDS
    environment = {**inherited_environment(), "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}
    while True:
        done = subprocess.run(
            ["apt-get", *arguments], env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True
        )
        if done.returncode == 0:
            return
        if LOCKED not in done.stderr or time.monotonic() > deadline:
            raise RuntimeError(f"apt-get {' '.join(arguments)} failed: {done.stdout[-500:]}{done.stderr[-500:]}")
        time.sleep(2.0)

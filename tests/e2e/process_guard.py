"""Kills process groups whose owner is gone.

A test that is killed outright runs no clean-up, and Airflow's components live in sessions of their own, so that nothing
would end them. The guard is a small process that holds the other end of a pipe: when the pipe closes, however its owner
ended, the guard kills every group it still knows and removes the folders it was told to.

Run as a file by `process_group.py`; it imports nothing but the standard library's smallest modules.
"""

import os
import shutil
import signal
import sys
import time

GRACE_SECONDS = 3.0


def is_alive(group: int) -> bool:
    """Whether any process of the group is left."""
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def send(groups: set[int], number: signal.Signals) -> None:
    """Send a signal to every group that is still there."""
    for group in groups:
        try:
            os.killpg(group, number)
        except (ProcessLookupError, PermissionError):
            continue


def end(groups: set[int]) -> None:
    """Ask the groups to end, then make them."""
    send(groups, signal.SIGTERM)
    deadline = time.monotonic() + GRACE_SECONDS
    while any(is_alive(group) for group in groups) and time.monotonic() < deadline:
        time.sleep(0.05)
    send(groups, signal.SIGKILL)


def main() -> None:
    """Read one order a line: `watch GROUP`, `forget GROUP`, `remove FOLDER`, `keep FOLDER`; act when the input ends."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    groups: set[int] = set()
    folders: set[str] = set()
    for line in sys.stdin:
        order, _, subject = line.rstrip("\n").partition(" ")
        match order:
            case "watch":
                groups.add(int(subject))
            case "forget":
                groups.discard(int(subject))
            case "remove":
                folders.add(subject)
            case "keep":
                folders.discard(subject)
    end(groups)
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()

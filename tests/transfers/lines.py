"""Lines of every speed between a task and Scenario: a real forwarder that hands on no more bytes than its speed."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_provider_scenario.sandbox.server import SandboxServer
from tests.api.proxies import Handler, listening, reset

if TYPE_CHECKING:
    import pytest

SLOWEST, FASTEST = 64_000 / 8, 1_000_000_000 / 8
BUFFER = 8192
"""Bytes that the kernel holds at each end of a slow line: with its usual megabytes no small file would ever wait."""


@dataclass(frozen=True)
class Line:
    """A line to Scenario.

    :param conn_id: The Airflow connection that leads over it.
    :param speed: Bytes a second, each way and for each connection.
    """

    conn_id: str
    speed: float

    def size_in(self, seconds: float, wanted: int) -> int:
        """Return the wanted size, or what the line brings in so many seconds if that is less."""
        return min(wanted, int(self.speed * seconds))


@contextlib.contextmanager
def lines_to(server: SandboxServer, count: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Line]]:
    """Open lines from 64 kbit/s to 1 Gbit/s, each as many times faster than the one before."""
    port = urllib.parse.urlsplit(server.base_url).port
    assert port is not None
    with contextlib.ExitStack() as stack:
        lines = []
        for number in range(count):
            speed = SLOWEST * (FASTEST / SLOWEST) ** (number / (count - 1))
            near = stack.enter_context(listening(_forwarding(port, speed)))
            connection = {**server.connection(), "host": f"http://127.0.0.1:{near}/v1"}
            monkeypatch.setenv(f"AIRFLOW_CONN_LINE_{number}", json.dumps(connection))
            lines.append(Line(f"line_{number}", speed))
        yield lines


def _forwarding(port: int, speed: float) -> Handler:
    def handle(near: socket.socket) -> None:
        with socket.create_connection(("127.0.0.1", port)) as far:
            if speed < 1e6:
                for end in (near, far):
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
            back = threading.Thread(target=_hand_on, args=(far, near, speed), daemon=True)
            back.start()
            _hand_on(near, far, speed)
            back.join()

    return handle


def _hand_on(one: socket.socket, other: socket.socket, speed: float) -> None:
    """Hand on what comes, at a speed, until either end is gone; a reset stays one."""
    how = socket.SHUT_RDWR
    step = max(256, min(1 << 16, int(speed / 20)))
    try:
        while came := one.recv(step):
            began = time.monotonic()
            other.sendall(came)
            time.sleep(max(0.0, len(came) / speed - (time.monotonic() - began)))
    except ConnectionResetError:
        reset(other)
        how = socket.SHUT_RD
    except OSError:
        pass
    for end in (one, other):
        with contextlib.suppress(OSError):
            end.shutdown(how)

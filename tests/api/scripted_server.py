"""A small HTTP server that does as told, for what a well-behaved one never does. It notes every request."""

from __future__ import annotations

import contextlib
import http.server
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Request:
    """A request as it came."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Answer:
    """What to do with a request that has been read whole.

    :param cut: Bytes by which the body falls short of what its Content-Length promises.
    :param drop: Close without an answer; ``"reset"`` does it rudely.
    :param stall: Seconds to wait before the answer.
    """

    status: int = 200
    body: bytes = b"{}"
    headers: dict[str, str] = field(default_factory=dict)
    cut: int = 0
    drop: str = ""
    stall: float = 0.0


class ScriptedServer(http.server.ThreadingHTTPServer):
    """Answers by ``script``, which makes an :class:`Answer` of a :class:`Request`."""

    daemon_threads = True
    request_queue_size = 100

    def __init__(self, script: Callable[[Request], Answer] | Answer, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.scheme = "https" if tls else "http"
        if tls:
            self.socket = tls.wrap_socket(self.socket, server_side=True)
        self.script = script
        self.requests: list[Request] = []
        self.stopping = threading.Event()

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.server_port}"

    def handle_error(self, *arguments: Any) -> None:
        """Broken connections are what the tests are about."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: ScriptedServer

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(self.command, self.path, headers, body)
        self.server.requests.append(request)
        script = self.server.script
        answer = script if isinstance(script, Answer) else script(request)
        self.server.stopping.wait(answer.stall)
        self.close_connection = True
        if answer.drop == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if answer.drop:
            return
        self.send_response(answer.status)
        for name, value in {"Content-Length": str(len(answer.body)), "Connection": "close", **answer.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer.body[: len(answer.body) - answer.cut])

    do_GET = do_POST = do_PUT = do_CONNECT = _answer  # noqa: N815

    def log_message(self, *arguments: Any) -> None:
        """Say nothing."""


@contextlib.contextmanager
def scripted(
    script: Callable[[Request], Answer] | Answer, tls: ssl.SSLContext | None = None
) -> Iterator[ScriptedServer]:
    """Run a server for the length of a block."""
    with ScriptedServer(script, tls) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.stopping.set()
            server.shutdown()
            thread.join()


def closed_port() -> int:
    """Return a port of this machine on which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def in_turn(*answers: Answer) -> Callable[[Request], Answer]:
    """Return a script that gives the answers one after the other, and the last one for ever."""
    left = list(answers)
    return lambda _request: left.pop(0) if len(left) > 1 else left[0]


def seconds_taken(work: Callable[[], object]) -> float:
    """Return how long ``work`` takes."""
    start = time.monotonic()
    work()
    return time.monotonic() - start

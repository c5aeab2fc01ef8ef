"""A part comes through over any line that moves, however slow: only silence ends it. Real sockets, small buffers."""

from __future__ import annotations

import hashlib
import os
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import pytest

from airflow_provider_scenario.api.client import ScenarioClient
from airflow_provider_scenario.api.config import ClientConfig
from airflow_provider_scenario.exceptions import ScenarioConnectionError

BUFFER = 32_768


class Storage:
    """Takes one part after the other, at a rate, and cuts or falls silent where it is told to.

    :param pause: Returns seconds to wait before each block.
    :param cut_after: Bytes after which connections are closed, in turn; 0 for none.
    """

    def __init__(self, pause: Callable[[], float], cut_after: Sequence[int] = ()) -> None:
        self.taken: list[str] = []
        self._pause = pause
        self._cuts = iter(cut_after)
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen()
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/part"
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._take, args=(connection, next(self._cuts, 0)), daemon=True).start()

    def _take(self, connection: socket.socket, cut_after: int) -> None:
        with connection:
            try:
                while self._take_part(connection, cut_after):
                    pass
            except OSError:
                pass

    def _take_part(self, connection: socket.socket, cut_after: int) -> bool:
        content = b""
        while b"\r\n\r\n" not in content:
            came = connection.recv(4096)
            if not came:
                return False
            content += came
        head, _, body = content.partition(b"\r\n\r\n")
        fields = dict(line.split(b": ", 1) for line in head.lower().split(b"\r\n")[1:])
        length, digest, seen = int(fields[b"content-length"]), hashlib.sha256(body), len(body)
        while seen < length:
            time.sleep(self._pause())
            came = connection.recv(min(BUFFER, length - seen))
            if not came or (cut_after and seen >= cut_after):
                return False
            digest.update(came)
            seen += len(came)
        self.taken.append(digest.hexdigest())
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        return True


@contextmanager
def storage(pause: Callable[[], float], cuts: Sequence[int] = ()) -> Iterator[Storage]:
    server = Storage(pause, cuts)
    try:
        yield server
    finally:
        server.close()


def client(timeout: float) -> ScenarioClient:
    return ScenarioClient(ClientConfig("key", "secret", "http://127.0.0.1", timeout=timeout))


def test_a_part_may_take_longer_than_every_time_out() -> None:
    """Time-outs of a second, and a part that takes five of them: it moves all the while."""
    content = os.urandom(12_000_000)
    with storage(lambda: 0.014) as server, client(1.0) as sender:
        began = time.monotonic()
        assert sender.put_part(server.url, content, "video/mp4") == 200
        assert time.monotonic() - began > 4
        assert server.taken == [hashlib.sha256(content).hexdigest()]


def test_silence_ends_a_part() -> None:
    with storage(lambda: 60.0) as server, client(0.5) as sender:
        began = time.monotonic()
        with pytest.raises(ScenarioConnectionError):
            sender.put_part(server.url, os.urandom(12_000_000), "video/mp4")
        assert time.monotonic() - began < 10


def test_three_hundred_parts_over_lines_that_cut_and_slow_down() -> None:
    """Each seed is a line: how fast it is, and whether it cuts. What arrives is what was sent, or it is an error."""
    wrong = []
    for seed in range(300):
        chance = random.Random(seed)
        content = chance.randbytes(chance.choice((1, 70_000, 300_000, 900_000)))
        slow = chance.choice((0.0, 0.0, 0.0005, 0.002))
        cuts = [chance.randrange(1, 900_000) for _ in range(chance.choice((0, 0, 1, 2)))]
        with storage(lambda slow=slow: slow, cuts) as server, client(2.0) as sender:
            for _ in range(4):
                try:
                    status = sender.put_part(server.url, content, "video/mp4")
                except ScenarioConnectionError:
                    continue
                if status != 200 or server.taken[-1] != hashlib.sha256(content).hexdigest():
                    wrong.append(seed)
                break
            else:
                wrong.append(seed)
    assert wrong == []

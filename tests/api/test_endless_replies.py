"""A reply that never comes to its end, wherever it stays, ends all the same: over plain connections and over TLS."""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
import time
from pathlib import Path

import pytest
from urllib3.exceptions import HTTPError

from airflow_provider_scenario.api import calls
from airflow_provider_scenario.api.client import ScenarioClient
from airflow_provider_scenario.api.config import ClientConfig
from airflow_provider_scenario.exceptions import ScenarioConnectionError, ScenarioError
from tests.api.proxies import Handler, listening, read_request, with_tls
from tests.api.scripted_server import Answer, Request, scripted, seconds_taken
from tests.api.test_network import certificate, server_tls

__all__ = ["certificate"]

OK, CHUNKED = b"HTTP/1.1 200 OK\r\n", b"Transfer-Encoding: chunked\r\n\r\n"
ENDLESS: dict[str, tuple[bytes, bytes]] = {
    "a status": (b"", b"H"),
    "a header": (OK + b"X: ", b"x"),
    "headers": (OK, b"X: y\r\n"),
    "asks to go on": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "the length of a chunk": (OK + CHUNKED + b"5;", b"x"),
    "trailers": (OK + CHUNKED + b"2\r\n{}\r\n0\r\n", b"X: y\r\n"),
}
TIMEOUT = 0.3
LONGEST = 4.0
"""Seconds, most of them for a busy machine; the replies would never end."""


def endless(what: str, pause: float) -> Handler:
    begin, more = ENDLESS[what]

    def handle(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(begin)
        while True:
            connection.sendall(more if pause else more * 1000)
            time.sleep(pause)

    return handle


def config_of(port: int, scheme: str = "http") -> ClientConfig:
    return ClientConfig("key", "secret", f"{scheme}://127.0.0.1:{port}/v1", timeout=TIMEOUT)


@pytest.mark.parametrize(("scheme", "pause"), [("http", 0.05), ("https", 0.05), ("http", 0.0)])
@pytest.mark.parametrize("what", ENDLESS)
def test_no_call_waits_for_ever(
    certificate: Path, monkeypatch: pytest.MonkeyPatch, scheme: str, what: str, pause: float
) -> None:
    handle = endless(what, pause)
    if scheme == "https":
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
        handle = with_tls(server_tls(certificate), handle)

    def ask() -> None:
        with pytest.raises(ScenarioError) as caught, ScenarioClient(config_of(port, scheme)) as client:
            client.send(calls.submit("model_1", {"prompt": "a"}))
        assert caught.value.sent, "it may have been bought"
        assert not caught.value.is_refusal

    with listening(handle) as port:
        assert seconds_taken(ask) < LONGEST


@pytest.mark.parametrize("what", ENDLESS)
def test_no_file_is_waited_for_for_ever(what: str) -> None:
    def fetch() -> None:
        with ScenarioClient(config_of(port)) as client, client.open_file(f"http://127.0.0.1:{port}/a") as stream:
            list(stream.chunks(100))

    def send() -> None:
        with ScenarioClient(config_of(port)) as client:
            client.put_part(f"http://127.0.0.1:{port}/part", b"content", "video/mp4")

    with listening(endless(what, 0.05)) as port:
        for work in (fetch, send):
            began = time.monotonic()
            with contextlib.suppress(ScenarioConnectionError):
                work()
            assert time.monotonic() - began < LONGEST


def test_a_file_may_take_as_long_as_it_comes() -> None:
    def drip(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(OK + b"Content-Length: 30\r\n\r\n")
        for _ in range(30):
            connection.sendall(b"x")
            time.sleep(TIMEOUT / 5)

    with listening(drip) as port, ScenarioClient(config_of(port)) as client:
        began = time.monotonic()
        with client.open_file(f"http://127.0.0.1:{port}/a") as stream:
            assert b"".join(stream.chunks(100)) == b"x" * 30
        assert time.monotonic() - began > 2 * TIMEOUT


def test_a_file_whose_reader_takes_his_time_comes_whole() -> None:
    """As a browser does whose user has paused the video."""
    size = 50_000_000  # more than the connection holds

    def pour(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(OK + b"Content-Length: %d\r\n\r\n" % size)
        connection.sendall(bytes(size))

    received = 0
    with (
        listening(pour) as port,
        ScenarioClient(config_of(port)) as client,
        client.open_file(f"http://127.0.0.1:{port}/a") as stream,
    ):
        for chunk in stream.chunks(1 << 20):
            if not received:
                time.sleep(5 * TIMEOUT)
            received += len(chunk)
    assert received == size


def test_a_reply_that_is_ended_amid_tls_holds_nothing_but_its_own_bytes(
    certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reader is held up between two reads, while much of the reply waits in the connection, still encrypted."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))

    def pour(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(OK + b"Content-Length: 100000000\r\n\r\n")
        with contextlib.suppress(OSError):
            while True:
                connection.sendall(b"x" * 1000)

    received = bytearray()

    def fetch() -> None:
        url = f"https://127.0.0.1:{port}/a"
        with ScenarioClient(config_of(port, "https")) as client, client.open_file(url) as stream:
            while chunk := stream.response.raw.read1(1000):
                received.extend(chunk)
                if len(received) == 10_000:
                    time.sleep(5 * TIMEOUT)

    with listening(with_tls(server_tls(certificate), pour)) as port, contextlib.suppress(HTTPError, OSError):
        fetch()
    assert 10_000 < len(received) < 100_000_000
    assert set(received) == {ord("x")}


def test_a_header_that_is_none_brings_no_signed_url_into_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with (
        listening(no_header) as port,
        ScenarioClient(config_of(port)) as client,
        client.open_file(f"http://127.0.0.1:{port}/a?Policy=p&Signature=SiGnAtUrE") as stream,
    ):
        assert list(stream.chunks(9)) == [b"x"]
    assert "Failed to parse headers" in caplog.text
    assert "SiGnAtUrE" not in caplog.text


def no_header(connection: socket.socket) -> None:
    read_request(connection)
    connection.sendall(OK + b"Content-Length: 1\r\nno header\r\nLocation: /b?Signature=SiGnAtUrE\r\n\r\nx")


def test_no_request_leaves_a_thread_behind() -> None:
    def watchers() -> list[str]:
        return [each.name for each in threading.enumerate() if each.name == "scenario-reply-timeout"]

    def slow(request: Request) -> Answer:
        during.extend(watchers())
        return Answer(body=b'{"models": []}')

    during: list[str] = []
    with scripted(slow) as server, ScenarioClient(ClientConfig("k", "s", server.url)) as client:
        for _ in range(20):
            client.send(calls.list_models())
    assert len(during) >= 20
    deadline = time.monotonic() + 10
    while watchers() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert watchers() == []

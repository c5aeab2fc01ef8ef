"""A reply has bounds, in time and in size."""

from __future__ import annotations

import functools
import gzip
import json
import resource
import socket
import time
import zlib
from collections.abc import Callable

import pytest

from airflow_provider_scenario.api import calls
from airflow_provider_scenario.api.client import ScenarioClient
from airflow_provider_scenario.api.config import ClientConfig
from airflow_provider_scenario.api.retry import RetryConfig
from airflow_provider_scenario.exceptions import ScenarioConnectionError, ScenarioError, ScenarioServerError
from tests.api.conftest import Carrier
from tests.api.proxies import listening, read_request
from tests.api.scripted_server import Answer, scripted

ONCE = RetryConfig(attempts=1)
JOB = json.dumps({"job": {"jobId": "job_1", "status": "in-progress", "padding": "x" * 200}}).encode()
SUBMIT = calls.submit("model_1", {"prompt": "a calm sea"})
LONGEST_WAIT = 8.0
"""Seconds, most of them for a busy machine; the replies would take fourteen."""

MOST_MEMORY = 200_000
"""KiB that reading may take; the replies would take 400 MB and more."""


@functools.cache
def bomb(megabytes: int = 400) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    return b"".join(packer.compress(b" " * 2**20) for _ in range(megabytes)) + packer.flush()


def trickled(connection: socket.socket) -> None:
    read_request(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(JOB))
    for byte in JOB:
        connection.sendall(bytes([byte]))
        time.sleep(0.05)


def trickled_chunks(connection: socket.socket) -> None:
    read_request(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    for byte in JOB:
        connection.sendall(b"1\r\n%c\r\n" % byte)
        time.sleep(0.05)


def endless(connection: socket.socket) -> None:
    read_request(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in range(400):
        connection.sendall(b"%x\r\n" % 2**20 + b" " * 2**20 + b"\r\n")


@pytest.mark.parametrize("call", [calls.get_job("job_1"), SUBMIT], ids=["read", "submit"])
@pytest.mark.parametrize("trickle", [trickled, trickled_chunks])
def test_a_body_that_trickles_has_an_end(
    carry: Carrier, trickle: Callable[[socket.socket], None], call: calls.Call[object]
) -> None:
    with listening(trickle) as port:
        started = time.monotonic()
        with pytest.raises(ScenarioConnectionError, match="too slow") as caught:
            carry(ClientConfig("key", "secret", f"http://127.0.0.1:{port}/v1", timeout=1), call, ONCE)
        assert time.monotonic() - started < LONGEST_WAIT
        assert caught.value.sent


@pytest.mark.parametrize("status", [200, 400, 503])
def test_a_gzip_bomb_is_not_unpacked(carry: Carrier, status: int) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    answer = Answer(status, bomb(), {"Content-Encoding": "gzip"})
    with scripted(answer) as server, pytest.raises(ScenarioServerError, match="larger than 16 MiB") as caught:
        carry(ClientConfig("key", "secret", f"{server.url}/v1", timeout=20), SUBMIT, ONCE)
    assert not caught.value.is_refusal
    assert caught.value.details.status == status
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MOST_MEMORY


def test_an_endless_body_is_not_read(carry: Carrier) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with listening(endless) as port, pytest.raises(ScenarioServerError, match="larger than 16 MiB"):
        carry(ClientConfig("key", "secret", f"http://127.0.0.1:{port}/v1", timeout=20), calls.get_job("job_1"), ONCE)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MOST_MEMORY


def test_millions_of_values_fill_no_memory(carry: Carrier) -> None:
    body = b'{"job": {"jobId": "job_1", "status": "success", "x": [' + b"{}," * 5_000_000 + b"1]}}"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with scripted(Answer(200, body)) as server, pytest.raises(ScenarioServerError, match="not the JSON"):
        carry(ClientConfig("key", "secret", f"{server.url}/v1", timeout=20), calls.get_job("job_1"), ONCE)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MOST_MEMORY


def large(connection: socket.socket) -> None:
    read_request(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (400 << 20))
    for _ in range(400):
        connection.sendall(bytes(1 << 20))


def packed(connection: socket.socket) -> None:
    read_request(connection)
    content = bomb()
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(content))
    connection.sendall(content)


@pytest.mark.parametrize("answer", [endless, large, packed])
def test_a_reply_to_a_part_fills_no_memory(answer: Callable[[socket.socket], None]) -> None:
    bomb()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with (
        listening(answer) as port,
        ScenarioClient(ClientConfig("key", "secret", "http://127.0.0.1", timeout=5)) as client,
        pytest.raises(ScenarioConnectionError, match="in the place of Scenario's storage"),
    ):
        client.put_part(f"http://127.0.0.1:{port}/part", b"content", "video/mp4")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MOST_MEMORY


@pytest.mark.parametrize(
    ("headers", "body"),
    [({"Content-Type": ""}, b"\n<!DOCTYPE html><p>Blocked"), ({"Content-Type": "application/xml"}, b"<Error/>")],
)
def test_a_page_is_no_storage_s_reply_to_a_part(headers: dict[str, str], body: bytes) -> None:
    with (
        scripted(Answer(200, body, headers)) as server,
        ScenarioClient(ClientConfig("key", "secret", "http://127.0.0.1")) as client,
        pytest.raises(ScenarioConnectionError, match="page answers"),
    ):
        client.put_part(f"{server.url}/part", b"content", "video/mp4")


def test_gzip_is_asked_for_and_unpacked(carry: Carrier) -> None:
    with scripted(Answer(body=gzip.compress(JOB), headers={"Content-Encoding": "gzip"})) as server:
        assert carry(ClientConfig("key", "secret", f"{server.url}/v1"), calls.get_job("job_1")).id == "job_1"
        assert server.requests[0].headers["accept-encoding"] == "gzip"


@pytest.mark.parametrize(
    "answer",
    [
        Answer(body=JOB, headers={"Content-Encoding": "gzip"}),
        Answer(body=gzip.compress(JOB)[:-20], headers={"Content-Encoding": "gzip"}),
        Answer(body=JOB, headers={"Content-Encoding": "br"}),
        Answer(body=gzip.compress(gzip.compress(JOB)), headers={"Content-Encoding": "gzip, gzip"}),
    ],
    ids=["no gzip", "cut", "brotli", "twice"],
)
def test_what_can_not_be_unpacked_leaves_a_purchase_open(carry: Carrier, answer: Answer) -> None:
    with scripted(answer) as server, pytest.raises(ScenarioError) as caught:
        carry(ClientConfig("key", "secret", f"{server.url}/v1"), SUBMIT)
    assert isinstance(caught.value, ScenarioServerError | ScenarioConnectionError)
    assert caught.value.sent
    assert not caught.value.is_refusal


def test_a_connection_is_used_again_after_a_reply_was_read() -> None:
    opened = 0

    def serve(connection: socket.socket) -> None:
        nonlocal opened
        opened += 1
        while True:
            read_request(connection)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(JOB) + JOB)

    with (
        listening(serve) as port,
        ScenarioClient(ClientConfig("key", "secret", f"http://127.0.0.1:{port}/v1")) as client,
    ):
        for _ in range(5):
            client.send(calls.get_job("job_1"))
    assert opened == 1

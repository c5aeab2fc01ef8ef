"""Every fault, as clients people use see it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import requests

from airflow_provider_scenario.sandbox.server import SandboxServerError
from tests.sandbox.asking import SHORT, TEXT_MODEL, original, submit

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_provider_scenario.sandbox.server import SandboxServer

GENERATE = "/generate/custom/"


def _paid(sandbox: SandboxServer) -> int:
    return sandbox.ledger()["totals"]["jobs"]


def _submit_with_requests(sandbox: SandboxServer) -> requests.Response:
    url = f"{sandbox.base_url}{GENERATE}{TEXT_MODEL}"
    return requests.post(url, json=SHORT, auth=(sandbox.api_key, sandbox.api_secret), timeout=10)


def test_status_is_answered_before_anything_is_done(api: httpx.Client, quick: SandboxServer) -> None:
    headers = {"Retry-After": "7"}
    quick.add_fault({"type": "status", "code": 503, "body": "<h1>busy</h1>", "headers": headers}, path=GENERATE)
    reply = submit(api, TEXT_MODEL, SHORT)
    assert (reply.status_code, reply.text, reply.headers["retry-after"]) == (503, "<h1>busy</h1>", "7")
    assert reply.headers["content-type"].startswith("text/html")
    assert _paid(quick) == 0
    assert submit(api, TEXT_MODEL, SHORT).status_code == 200


def test_status_after_has_taken_the_money(api: httpx.Client, quick: SandboxServer) -> None:
    quick.add_fault("status_after", path=GENERATE)
    reply = submit(api, TEXT_MODEL, SHORT)
    assert reply.status_code == 502
    assert "Bad Gateway" in reply.text
    assert _paid(quick) == 1


@pytest.mark.parametrize(("kind", "paid"), [("drop_before", 0), ("drop_after", 1)])
@pytest.mark.parametrize("reset", [False, True])
def test_a_dropped_connection(api: httpx.Client, quick: SandboxServer, kind: str, paid: int, reset: bool) -> None:
    quick.add_fault({"type": kind, "reset": reset}, path=GENERATE)
    with pytest.raises(httpx.ReadError if reset else httpx.RemoteProtocolError):
        submit(api, TEXT_MODEL, SHORT)
    assert _paid(quick) == paid
    quick.add_fault({"type": kind, "reset": reset}, path=GENERATE)
    with pytest.raises(requests.ConnectionError):
        _submit_with_requests(quick)
    assert _paid(quick) == 2 * paid
    assert submit(api, TEXT_MODEL, SHORT).status_code == 200
    assert [visit["status"] for visit in quick.requests()["recent"]] == [None, None, 200]


@pytest.mark.parametrize("when", ["before", "after"])
def test_delay_and_hang_outlast_a_clients_patience(api: httpx.Client, quick: SandboxServer, when: str) -> None:
    quick.add_fault({"type": "delay", "seconds": 0.3, "when": when}, path=GENERATE)
    started = time.monotonic()
    assert submit(api, TEXT_MODEL, SHORT).status_code == 200
    assert time.monotonic() - started >= 0.3
    quick.add_fault({"type": "hang", "when": when}, path=GENERATE)
    with pytest.raises(httpx.ReadTimeout):
        api.post(f"generate/custom/{TEXT_MODEL}", json=SHORT, timeout=0.3)
    assert _paid(quick) == (1 if when == "before" else 2)


def test_a_reply_cut_in_the_middle(api: httpx.Client, quick: SandboxServer) -> None:
    quick.add_fault("cut_body", path=GENERATE)
    with pytest.raises(httpx.RemoteProtocolError):
        submit(api, TEXT_MODEL, SHORT)
    quick.add_fault({"type": "cut_body", "bytes": 10}, path=GENERATE)
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        _submit_with_requests(quick)
    assert _paid(quick) == 2
    quick.add_fault({"type": "short_body", "bytes": 10}, path=GENERATE)
    reply = submit(api, TEXT_MODEL, SHORT)
    assert (reply.status_code, reply.text) == (200, '{"job":{"j')
    assert _paid(quick) == 3


def _received(url: str) -> int:
    """How many bytes of a download arrive before it breaks."""
    received = 0
    with httpx.stream("GET", url) as reply:
        try:
            for chunk in reply.iter_raw():
                received += len(chunk)
        except httpx.RemoteProtocolError:
            return received
    raise AssertionError("the download did not break")


def test_downloads_that_break(api: httpx.Client, quick: SandboxServer, clip: Path, clip_id: str) -> None:
    url, size = original(api, clip_id)["url"], clip.stat().st_size
    quick.add_fault({"type": "cut_at", "byte": 1000}, path="/cdn/")
    assert _received(url) == 1000
    quick.add_fault({"type": "cut_at", "byte": 0}, path="/cdn/")
    assert _received(url) == 0
    quick.add_fault({"type": "cut_at", "seed": 3}, path="/cdn/", times=2)
    first = _received(url)
    assert 0 <= first < size
    assert _received(url) == first
    quick.add_fault("wrong_length", path="/cdn/")
    assert _received(url) == size
    rest = httpx.get(url, headers={"Range": f"bytes={first}-"})
    assert (rest.status_code, rest.content) == (206, clip.read_bytes()[first:])


def test_a_download_cut_after_many_chunks(api: httpx.Client, quick: SandboxServer) -> None:
    url = original(api, quick.make_asset(8_000_000))["url"]
    quick.add_fault({"type": "cut_at", "byte": 5_000_000}, path="/cdn/")
    assert _received(url) == 5_000_000


def test_a_download_that_lies_about_its_length(api: httpx.Client, quick: SandboxServer, clip_id: str) -> None:
    asset = original(api, clip_id)
    quick.add_fault("short_body", path="/cdn/")
    reply = httpx.get(asset["url"])
    assert len(reply.content) == int(reply.headers["content-length"]) == asset["properties"]["size"] // 2


def test_a_download_that_trickles(api: httpx.Client, quick: SandboxServer, clip: Path, clip_id: str) -> None:
    url = original(api, clip_id)["url"]
    quick.add_fault({"type": "trickle", "bytes_per_second": clip.stat().st_size * 2}, path="/cdn/")
    started = time.monotonic()
    assert httpx.get(url).content == clip.read_bytes()
    assert time.monotonic() - started > 0.4


def test_which_requests_a_rule_meets(api: httpx.Client, quick: SandboxServer) -> None:
    quick.add_fault("status", method="GET", path="/jobs$", query="types=custom", skip=1, times=2)
    seen = [api.get("jobs", params={"types": "custom"}).status_code for _ in range(5)]
    assert seen == [200, 500, 500, 200, 200]
    assert api.get("jobs").status_code == 200
    (rule,) = quick.faults()
    assert (rule["hits"], rule["action"]["code"]) == (2, 500)
    quick.add_fault("status", times=None)
    assert [api.get("models").status_code for _ in range(3)] == [500, 500, 500]
    quick.clear_faults()
    assert (api.get("models").status_code, quick.faults()) == (200, [])


@pytest.mark.parametrize(
    "action",
    [
        "explode",
        {"type": ["status"]},
        {"type": "status", "colour": 1},
        {"code": 500},
        {"type": "cut_at", "bytes": 3},
        {"type": "cut_at", "byte": -3},
        {"type": "cut_body", "bytes": "half"},
        {"type": "status", "code": "500"},
        {"type": "status", "code": 42},
        {"type": "status", "headers": ["a"]},
        {"type": "delay", "seconds": "1"},
        {"type": "delay", "seconds": float("nan")},
        {"type": "hang", "when": "never"},
        {"type": "trickle", "bytes_per_second": 0},
        {"type": "wrong_length", "by": None},
        {"type": "drop_before", "reset": 1},
    ],
)
def test_rules_that_mean_nothing_are_refused(quick: SandboxServer, action: Any) -> None:
    with pytest.raises(SandboxServerError, match=r"POST /faults: .*action"):
        quick.add_fault(action)
    with pytest.raises(SandboxServerError, match="regular expression"):
        quick.add_fault("status", path="(")
    assert quick.faults() == []


@pytest.mark.parametrize(
    "key", [{"skip": "1"}, {"skip": -1}, {"times": "2"}, {"times": 1.5}, {"method": 5}, {"path": 5}]
)
def test_a_rule_of_the_wrong_kind_harms_no_request(
    api: httpx.Client, quick: SandboxServer, key: dict[str, Any]
) -> None:
    with pytest.raises(SandboxServerError, match="POST /faults"):
        quick.add_fault("status", **key)
    assert api.get("teams").status_code == 200


def test_a_fault_is_seen_in_the_visits(api: httpx.Client, quick: SandboxServer) -> None:
    quick.add_fault("status", path="/teams")
    api.get("teams")
    (visit,) = quick.requests()["recent"]
    assert (visit["route"], visit["status"], visit["fault"]) == ("/v1/teams", 500, "status")

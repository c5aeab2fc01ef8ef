"""A submission is sent once, whatever becomes of it. The sandbox's books are the judge."""

from __future__ import annotations

import base64
import dataclasses
from typing import Any

import pytest

from airflow_provider_scenario.api import calls
from airflow_provider_scenario.api.config import ClientConfig
from airflow_provider_scenario.api.retry import RetryConfig
from airflow_provider_scenario.exceptions import (
    ScenarioConcurrencyLimitError,
    ScenarioConnectionError,
    ScenarioError,
    ScenarioInputError,
    ScenarioRateLimitError,
    ScenarioServerError,
    ScenarioTransientError,
)
from airflow_provider_scenario.sandbox.server import SandboxServer
from tests.api.conftest import Carrier
from tests.api.scripted_server import Answer, closed_port, scripted

MODEL_ID = "model_wan-2-1-1-3b"
SUBMIT = calls.submit(MODEL_ID, {"prompt": "a calm sea", "seed": 7})
PNG = base64.b64encode(
    bytes.fromhex(
        "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d49444154789c6360606060000000050001"
        "a5f645400000000049454e44ae426082"
    )
).decode()

EAGER = RetryConfig(attempts=50, first_wait=0.001, longest_wait=0.002)
"""Would send a call fifty times, if it were one that may be repeated."""


def submissions(sandbox: SandboxServer) -> int:
    visits = sandbox.requests()["recent"]
    return sum(visit["method"] == "POST" and "/generate/" in visit["path"] for visit in visits)


@pytest.mark.parametrize(
    ("fault", "kind", "bought"),
    [
        # Refused before anything was done.
        ({"type": "status", "code": 400}, ScenarioInputError, 0),
        ({"type": "status", "code": 429}, ScenarioRateLimitError, 0),
        ({"type": "status", "code": 429, "headers": {"Retry-After": "0"}}, ScenarioRateLimitError, 0),
        ({"type": "status", "code": 429, "body": {"details": {"actionLimit": 2}}}, ScenarioConcurrencyLimitError, 0),
        ({"type": "status", "code": 429, "body": {"remainingSeconds": 0}}, ScenarioConcurrencyLimitError, 0),
        # It can't be told from outside whether the job was made.
        ({"type": "status", "code": 408}, ScenarioServerError, 0),
        ({"type": "status", "code": 500}, ScenarioServerError, 0),
        ({"type": "status", "code": 503, "headers": {"Retry-After": "0"}}, ScenarioServerError, 0),
        ({"type": "status_after", "code": 502}, ScenarioServerError, 1),
        ({"type": "status_after", "code": 408, "body": {"message": "timed out"}}, ScenarioServerError, 1),
        ({"type": "drop_before"}, ScenarioConnectionError, 0),
        ({"type": "drop_before", "reset": True}, ScenarioConnectionError, 0),
        ({"type": "drop_after"}, ScenarioConnectionError, 1),
        ({"type": "drop_after", "reset": True}, ScenarioConnectionError, 1),
        ({"type": "hang", "when": "before"}, ScenarioConnectionError, 0),
        ({"type": "hang", "when": "after"}, ScenarioConnectionError, 1),
        # The job was made, and the reply that would tell is spoilt.
        ({"type": "cut_body"}, ScenarioConnectionError, 1),
        ({"type": "cut_body", "bytes": 0}, ScenarioConnectionError, 1),
        ({"type": "wrong_length"}, ScenarioConnectionError, 1),
        ({"type": "short_body"}, ScenarioServerError, 1),
        ({"type": "short_body", "bytes": 0}, ScenarioServerError, 1),
    ],
    ids=lambda value: "-".join(map(str, value.values())) if isinstance(value, dict) else None,
)
def test_a_submission_is_sent_once_whatever_happens(
    carry: Carrier,
    sandbox: SandboxServer,
    config: ClientConfig,
    fault: dict[str, Any],
    kind: type[ScenarioError],
    bought: int,
) -> None:
    sandbox.add_fault(fault, method="POST", path="/generate/", times=None)
    with pytest.raises(ScenarioError) as caught:
        carry(dataclasses.replace(config, timeout=0.3) if fault["type"] == "hang" else config, SUBMIT, EAGER)
    assert type(caught.value) is kind
    if isinstance(caught.value, ScenarioConnectionError):
        assert caught.value.sent
    assert submissions(sandbox) == 1
    assert sandbox.ledger()["totals"]["jobs"] == bought


def test_an_image_whose_reply_was_lost_is_uploaded_again_for_it_costs_nothing(
    carry: Carrier, sandbox: SandboxServer, config: ClientConfig
) -> None:
    sandbox.add_fault("drop_after", method="POST", path="/assets$", times=1)
    asset = carry(config, calls.upload_image("dot.png", PNG), EAGER)
    assert carry(config, calls.get_asset(asset.id), EAGER).id == asset.id
    assert sandbox.requests()["counts"]["POST /v1/assets"] == 2
    assert sandbox.ledger()["totals"]["charged"] == 0


@pytest.mark.parametrize(
    ("fault", "times"),
    [
        ({"type": "status", "code": 500}, 3),
        ({"type": "status", "code": 503, "headers": {"Retry-After": "0"}}, 3),
        ({"type": "status_after", "code": 502}, 3),
        ({"type": "status", "code": 429}, 3),
        ({"type": "status", "code": 408}, 3),
        ({"type": "drop_before"}, 3),
        ({"type": "drop_after", "reset": True}, 3),
        ({"type": "cut_body"}, 3),
        ({"type": "short_body"}, 3),
        ({"type": "hang"}, 1),
    ],
    ids=lambda value: "-".join(map(str, value.values())) if isinstance(value, dict) else None,
)
def test_a_call_that_does_no_harm_is_made_again_until_it_succeeds(
    carry: Carrier, sandbox: SandboxServer, config: ClientConfig, fault: dict[str, Any], times: int
) -> None:
    [job_id] = sandbox.make_jobs(1)
    sandbox.add_fault(fault, times=times)
    job = carry(dataclasses.replace(config, timeout=0.3), calls.get_job(job_id), EAGER)
    assert job.id == job_id
    assert sum(sandbox.requests()["counts"].values()) == times + 1


def test_patience_has_an_end(carry: Carrier, sandbox: SandboxServer, config: ClientConfig) -> None:
    sandbox.add_fault("status", times=None)
    with pytest.raises(ScenarioServerError):
        carry(config, calls.list_jobs(), RetryConfig(attempts=3, first_wait=0.001))
    assert sandbox.requests()["counts"] == {"GET /v1/jobs": 3}


def test_a_wait_longer_than_ones_patience_is_handed_on(
    carry: Carrier, sandbox: SandboxServer, config: ClientConfig
) -> None:
    sandbox.add_fault({"type": "status", "code": 503, "headers": {"Retry-After": "120"}}, times=None)
    with pytest.raises(ScenarioServerError) as caught:
        carry(config, calls.list_jobs(), RetryConfig(attempts=3, longest_wait=30))
    assert caught.value.retry_after == 120
    assert sandbox.requests()["counts"] == {"GET /v1/jobs": 1}


def test_what_stays_wrong_is_not_tried_again(carry: Carrier, sandbox: SandboxServer, config: ClientConfig) -> None:
    with pytest.raises(ScenarioError) as caught:
        carry(config, calls.get_job("job_nobody-knows"), EAGER)
    assert not isinstance(caught.value, ScenarioTransientError)
    assert sum(sandbox.requests()["counts"].values()) == 1


@pytest.mark.parametrize("call", [SUBMIT, calls.list_models()], ids=["submit", "list"])
@pytest.mark.parametrize(
    "host",
    ["http://127.0.0.1:{port}", "https://127.0.0.1:{port}", "http://no-such-host.invalid"],
)
def test_a_connection_that_never_came_about_carried_nothing(carry: Carrier, call: calls.Call[Any], host: str) -> None:
    config = ClientConfig("key", "secret", host.format(port=closed_port()) + "/v1", timeout=5)
    with pytest.raises(ScenarioConnectionError) as caught:
        carry(config, call)
    assert caught.value.sent is False
    assert call.action in str(caught.value)


@pytest.mark.parametrize("base_url", ["ftp://127.0.0.1/v1", "http://[::1/v1", "api.example/v1", "http:///v1"])
def test_an_address_that_is_none_carried_nothing(carry: Carrier, base_url: str) -> None:
    with pytest.raises(ScenarioConnectionError) as caught:
        carry(ClientConfig("key", "secret", base_url), SUBMIT)
    assert caught.value.sent is False


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(carry: Carrier, status: int) -> None:
    with scripted(Answer(body=b'{"job": {"jobId": "job_1"}}')) as target:
        answer = Answer(status, headers={"Location": f"{target.url}/v1/jobs/job_1"})
        with scripted(answer) as origin:
            for call in (SUBMIT, calls.get_job("job_1")):
                with pytest.raises(ScenarioError, match=f"HTTP {status}.*Check the host of the connection"):
                    carry(ClientConfig("key", "secret", f"{origin.url}/v1"), call)
        assert len(origin.requests) == 2
        assert target.requests == []


@pytest.mark.parametrize(
    "answer",
    [
        Answer(body=b'{"job": {"jobId": "job_1"}}', headers={"Content-Encoding": "gzip"}),
        Answer(body=b'{"job": {}}', status=269),
        Answer(body=b'{"job": null}'),
        Answer(body=b'{"job": [1]}'),
        Answer(body=b'{"jobId": "job_1"}'),
        Answer(body=b"[]"),
        Answer(body=b"<html>200 but no Scenario</html>"),
        Answer(body=b"\x80\x81"),
        Answer(204, body=b""),
        Answer(headers={"Transfer-Encoding": "chunked"}, body=b"no chunk\r\n"),
        Answer(headers={"Content-Length": "many"}),
    ],
    ids=lambda answer: f"{answer.status}-{answer.body!r}",
)
def test_a_reply_that_makes_no_sense_leaves_the_purchase_open(carry: Carrier, answer: Answer) -> None:
    with scripted(answer) as server:
        with pytest.raises((ScenarioServerError, ScenarioConnectionError)) as caught:
            carry(ClientConfig("key", "secret", f"{server.url}/v1", timeout=2), SUBMIT, EAGER)
        assert getattr(caught.value, "sent", True)
        assert len(server.requests) == 1

"""No key, no secret and no signed URL in anything that is shown: texts, tracebacks, logs."""

from __future__ import annotations

import base64
import html
import json
import logging
import sys
import threading
import time
import traceback
import types
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest

from airflow_provider_scenario.api import calls
from airflow_provider_scenario.api.client import ScenarioClient
from airflow_provider_scenario.api.config import ClientConfig
from airflow_provider_scenario.api.retry import RetryConfig
from airflow_provider_scenario.exceptions import ScenarioError
from tests.api.conftest import Carrier
from tests.api.scripted_server import Answer, Request, closed_port, scripted

KEY, SECRET = "api_Kq7visible", "S3cr3t-Zx9"
ENCODED = base64.b64encode(f"{KEY}:{SECRET}".encode()).decode()
SIGNATURE = "SiGnAtUrE-of-the-url"
SIGNED_QUERY = f"Policy={SIGNATURE}&Signature={SIGNATURE}&Key-Pair-Id={SIGNATURE}"
HIDDEN = (KEY, SECRET, ENCODED, SIGNATURE)


def everything_shown(error: BaseException) -> str:
    """Return all that a log could print of an error, its context and cause included."""
    chain: list[str] = []
    one: BaseException | None = error
    while one is not None:
        chain += [str(one), repr(one), repr(one.args), repr(vars(one))]
        one = one.__cause__ or one.__context__
    return "\n".join([*chain, *traceback.format_exception(error)])


def assert_hidden(text: str) -> None:
    found = [secret for secret in HIDDEN if secret in text]
    assert not found, text


def indiscreet(request: Request) -> Answer:
    """An answer that repeats what it should not, as a debugging proxy does."""
    words = (
        f"could not read https://cdn.cloud.scenario.com/assets/a.mp4?{SIGNED_QUERY} with "
        f"Authorization: {request.headers.get('authorization')}"
    )
    body = '{"reason": "' + words + '", "trace_id": "' + words + '", "details": {"actionLimit": 1}}'
    return Answer(int(request.target.split("/")[3].partition("?")[0]), body.encode())


MISBEHAVIOURS: dict[str, Callable[[Request], Answer] | Answer | None] = {
    "refused": None,
    "dropped": Answer(drop="yes"),
    "reset": Answer(drop="reset"),
    "cut": Answer(body=b'{"models": []}', cut=3),
    "stalled": Answer(stall=20),
    "not JSON": Answer(body=f"https://cdn.example/a?{SIGNED_QUERY}".encode()),
    "not the right JSON": Answer(body=f'{{"models": "https://cdn.example/a?{SIGNED_QUERY}"}}'.encode()),
    "a number that is none": Answer(
        body=f'{{"models": 7, "upload": {{"id": "u", "parts": [{{"number": "https://c.example/a?{SIGNED_QUERY}"}}]}}}}'.encode()
    ),
    "redirect": Answer(302, headers={"Location": f"https://cdn.example/a?{SIGNED_QUERY}"}),
    "malformed": Answer(headers={"Content-Length": "many"}, body=b"{"),
}


@pytest.mark.parametrize("misbehaviour", MISBEHAVIOURS)
@pytest.mark.parametrize(
    "call",
    [calls.list_models(), calls.submit("model_1", {"prompt": "a"}), calls.get_upload("upload_1")],
    ids=lambda call: call.action,
)
def test_no_error_of_a_client_shows_a_secret(
    carry: Carrier, misbehaviour: str, call: calls.Call[Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    script = MISBEHAVIOURS[misbehaviour]
    with scripted(script or Answer()) as server:
        base_url = f"{server.url}/v1" if script else f"http://127.0.0.1:{closed_port()}/v1"
        with pytest.raises(ScenarioError) as caught:
            carry(ClientConfig(KEY, SECRET, base_url, timeout=0.1), call)
    assert_hidden(everything_shown(caught.value))
    assert_hidden(caplog.text)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 408, 409, 418, 422, 429, 500, 502])
def test_an_answer_that_repeats_secrets_is_cleaned(
    carry: Carrier, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with scripted(indiscreet) as server:
        call = calls.Call("look", "GET", f"/say/{status}", lambda reply: reply, repeatable=False)
        with pytest.raises(ScenarioError, match=r"a\.mp4") as caught:
            carry(ClientConfig(KEY, SECRET, f"{server.url}/v1"), call)
    assert_hidden(everything_shown(caught.value))
    assert_hidden(repr(caught.value.details))
    assert_hidden(caplog.text)


@pytest.mark.parametrize(
    "answer",
    [
        Answer(body=b"bytes"),
        Answer(403, b"Access Denied"),
        Answer(302, b"", {"Location": f"https://elsewhere.example/a?{SIGNED_QUERY}"}),
        Answer(drop="yes"),
        Answer(body=b"bytes", cut=2),
        None,
    ],
    ids=["whole", "denied", "redirected", "dropped", "cut", "refused"],
)
def test_signed_addresses_of_files_stay_hidden(answer: Answer | None, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with (
        scripted(answer or Answer()) as cdn,
        ScenarioClient(ClientConfig(KEY, SECRET, "http://127.0.0.1", timeout=2)) as client,
    ):
        address = cdn.url if answer else f"http://127.0.0.1:{closed_port()}"
        for work in (
            lambda: _read(client, f"{address}/assets/a.mp4?{SIGNED_QUERY}"),
            lambda: client.put_part(f"{address}/part?X-Amz-Signature={SIGNATURE}", b"content", "video/mp4"),
        ):
            try:
                work()
            except ScenarioError as error:
                assert_hidden(everything_shown(error))
    assert_hidden(caplog.text)
    assert "urllib3.connectionpool" in caplog.text


def _read(client: ScenarioClient, url: str) -> None:
    with client.open_file(url) as stream:
        assert_hidden(repr(stream))
        list(stream.chunks(2))


def test_an_access_shows_neither_key_nor_secret() -> None:
    config = ClientConfig(KEY, SECRET, project_id="proj_1")
    assert_hidden(f"{config} {config!r} {ScenarioClient(config)!r}")
    assert "proj_1" in repr(config)


def spelled(text: str) -> list[str]:
    """The ways in which a server may quote a text."""
    quoted = quote(text, safe="")
    return [text, quoted, quote(quoted, safe=""), json.dumps(text)[1:-1], text.replace("/", "\\/"), html.escape(text)]


@pytest.mark.parametrize("status", [200, 400, 403, 503])
@pytest.mark.parametrize("what", ["key", "secret", "pair", "pair for URLs"])
def test_a_server_that_quotes_the_key_or_the_secret_in_any_spelling(carry: Carrier, status: int, what: str) -> None:
    key, secret = "api_Kq7/visible+&", "S3cr3t/Zx9?>\u00fc=and"
    pair = f"{key}:{secret}".encode()
    text = {
        "key": key,
        "secret": secret,
        "pair": base64.b64encode(pair).decode(),
        "pair for URLs": base64.urlsafe_b64encode(pair).decode().rstrip("="),
    }[what]
    for spelling in spelled(text):
        document = {"reason": f"no: {spelling}.", "job": {"jobId": "job_1", "status": "failure", "error": spelling}}
        with scripted(Answer(status, json.dumps(document).encode())) as server:
            config = ClientConfig(key, secret, f"{server.url}/v1")
            try:
                shown = repr(carry(config, calls.get_job("job_1"), RetryConfig(attempts=1)))
            except ScenarioError as error:
                shown = everything_shown(error)
        assert not [one for one in spelled(text) if one in shown], shown


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32"])
def test_a_server_that_quotes_the_key_in_another_encoding_than_that_of_json(carry: Carrier, encoding: str) -> None:
    answer = Answer(400, json.dumps({"reason": f"no: {KEY} {SECRET}"}).encode(encoding))
    with scripted(answer) as server, pytest.raises(ScenarioError) as caught:
        carry(ClientConfig(KEY, SECRET, f"{server.url}/v1"), calls.get_job("job_1"), RetryConfig(attempts=1))
    assert_hidden(everything_shown(caught.value))


@pytest.mark.parametrize("answer", [Answer(drop="yes"), Answer(500), Answer(body=b"{"), None])
def test_no_frame_of_a_traceback_holds_a_secret(carry: Carrier, answer: Answer | None) -> None:
    """Error reporters such as Sentry send the locals of every frame."""
    with scripted(answer or Answer()) as server:
        base_url = f"{server.url}/v1" if answer else f"http://127.0.0.1:{closed_port()}/v1"
        with pytest.raises(ScenarioError) as caught:
            carry(ClientConfig(KEY, SECRET, base_url, timeout=1), calls.submit("model_1", {"prompt": "a"}))
    assert_hidden("".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format()))


def with_signed_urls(request: Request) -> Answer:
    """A reply in which something else than its signed URLs is odd."""
    url = f"https://cdn.example/a?{SIGNED_QUERY}"
    parts = [{"number": 1, "url": url}, {"number": None, "url": url}]
    return Answer(body=json.dumps({"asset": {"url": url}, "upload": {"id": "u", "parts": parts}}).encode())


@pytest.mark.parametrize("call", [calls.get_asset("a"), calls.get_upload("u")], ids=lambda call: call.action)
def test_no_frame_holds_the_signed_urls_of_a_reply_that_can_not_be_read(carry: Carrier, call: calls.Call[Any]) -> None:
    with scripted(with_signed_urls) as server, pytest.raises(ScenarioError, match="lacks") as caught:
        carry(ClientConfig(KEY, SECRET, f"{server.url}/v1", timeout=1), call, RetryConfig(attempts=1))
    assert_frames_hide(caught.value)


def assert_frames_hide(error: BaseException) -> None:
    """Walk the frames of an error's traceback, and those of its context, and look at every local."""
    one: BaseException | None = error
    while one is not None:
        for frame, _ in traceback.walk_tb(one.__traceback__):
            if frame.f_globals["__name__"] != __name__:  # the test itself knows them
                assert_hidden("\n".join(map(repr, frame.f_locals.values())))
        one = one.__cause__ or one.__context__


@pytest.mark.parametrize(
    "answer", [Answer(drop="yes"), Answer(drop="reset"), Answer(body=b"bytes", cut=2), Answer(stall=20), None]
)
def test_no_frame_holds_the_signed_url_of_a_file(answer: Answer | None) -> None:
    with (
        scripted(answer or Answer()) as cdn,
        ScenarioClient(ClientConfig(KEY, SECRET, "http://127.0.0.1", timeout=0.3)) as client,
    ):
        address = cdn.url if answer else f"http://127.0.0.1:{closed_port()}"
        for work in (
            lambda: _read(client, f"{address}/assets/a.mp4?{SIGNED_QUERY}"),
            lambda: client.put_part(f"{address}/part?{SIGNED_QUERY}", b"content", "video/mp4"),
        ):
            with pytest.raises(ScenarioError) as caught:
                work()
            assert_frames_hide(caught.value)


def test_no_frame_holds_a_secret_while_a_reply_is_waited_for() -> None:
    """A task's time-out is raised in the midst of the libraries' frames."""
    frames: list[str] = []

    def look(_request: Request) -> Answer:
        time.sleep(0.2)  # By now the request has been sent, and the reply is waited for.
        frame: types.FrameType | None = sys._current_frames()[asking]
        while frame is not None:
            frames.append(repr(frame.f_locals))
            frame = frame.f_back
        return Answer(body=b'{"models": []}')

    asking = threading.get_ident()
    with scripted(look) as server, ScenarioClient(ClientConfig(KEY, SECRET, f"{server.url}/v1")) as client:
        client.send(calls.list_models())
    assert any("urlopen" in one or "PreparedRequest" in one for one in frames)
    assert not [shown for shown in frames if ENCODED in shown]

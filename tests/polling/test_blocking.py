"""The wait in a worker, against a real server that refuses what it should not."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from airflow_provider_scenario.api.client import ScenarioClient
from airflow_provider_scenario.api.config import ClientConfig
from airflow_provider_scenario.exceptions import ScenarioJobUnreadableError
from airflow_provider_scenario.polling import blocking, wait
from airflow_provider_scenario.polling.blocking import final_check, poll_until_done
from airflow_provider_scenario.polling.wait import WaitResult, WaitState
from tests.api.scripted_server import Answer, Request, scripted

PAGE = b"<!doctype html><html><title>Sign in</title><h1>The gateway lets nothing through for now.</h1></html>"
REFUSALS = {
    f"{status} {kind}": Answer(status, body, {"Location": "/sign-in", "Content-Type": f"text/{kind}"})
    for status in (302, 400, 401, 403, 404)
    for kind, body in (("json", b'{"reason": "not now"}'), ("html", PAGE))
}
every_refusal = pytest.mark.parametrize("refusal", REFUSALS.values(), ids=list(REFUSALS))
Script = Callable[[Request], Answer]


@pytest.fixture(autouse=True)
def in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wait, "REFUSED_FOR", 0.5)
    monkeypatch.setattr(blocking, "OUTPUTS_PAUSE", 0.02)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)


def row(status: str = "success", **metadata: Any) -> dict[str, Any]:
    metadata = metadata or {"assetIds": ["asset_1"] if status == "success" else []}
    return {"jobId": "job_1", "status": status, "updatedAt": "2026-11-26T12:00:00Z", "metadata": metadata}


def told(*rows: dict[str, Any]) -> Iterator[Answer]:
    """Tell of the job as it changes, and then for ever as it is last."""
    for one in rows:
        yield Answer(body=json.dumps({"job": one}).encode())
    while True:
        yield Answer(body=json.dumps({"job": rows[-1]}).encode())


def listing(*rows: dict[str, Any]) -> Answer:
    return Answer(body=json.dumps({"jobs": list(rows)}).encode())


def waited(script: Script, seconds: float = 120.0) -> tuple[WaitResult, list[str], list[str]]:
    """Wait as an operator does, and give the result, what was reported, and the paths that were asked for."""
    reported: list[str] = []
    state = WaitState("job_1", time.time() + seconds)
    with scripted(script) as server, ScenarioClient(ClientConfig("key", "secret", server.url)) as client:
        result = poll_until_done(state, client, 0.05, lambda one: reported.extend(one.pop_updates()[0]))
    return result, reported, [request.target for request in server.requests]


def split(singles: Script, lists: Script) -> Script:
    return lambda request: lists(request) if request.target.startswith("/jobs?") else singles(request)


def error_of(result: WaitResult) -> str:
    with pytest.raises(ScenarioJobUnreadableError) as caught:
        result.job_or_raise(60.0)
    return str(caught.value)


@every_refusal
def test_one_refusal_in_between_does_not_end_the_wait(refusal: Answer) -> None:
    answers = told(row("in-progress"), row("in-progress"), row())
    number = iter(range(100))
    result, reported, paths = waited(lambda _request: refusal if next(number) in (0, 2) else next(answers))
    assert result.has_outputs
    assert any("does not end the wait" in line for line in reported)
    assert not any(path.startswith("/jobs?") for path in paths), "the list need not be asked"


@every_refusal
def test_a_refusal_for_a_minute_that_the_list_confirms_keeps_the_retries(refusal: Answer) -> None:
    started = time.monotonic()
    result, _, paths = waited(split(lambda _request: refusal, lambda _request: listing()))
    assert time.monotonic() - started >= 0.5
    assert "is paid for" in error_of(result)
    assert sum(path.startswith("/jobs?") for path in paths) == 1


@every_refusal
def test_a_list_that_refuses_too_confirms_it(refusal: Answer) -> None:
    result, _, _ = waited(lambda _request: refusal)
    assert "pays nothing" in error_of(result)


@every_refusal
def test_a_job_that_the_list_shows_is_waited_for(refusal: Answer) -> None:
    rows = iter([row("in-progress")] * 3)
    result, _, _ = waited(split(lambda _request: refusal, lambda _request: listing(next(rows, row()))))
    assert result.has_outputs


def test_a_list_that_is_out_confirms_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    lists = iter([Answer(503)] * 12)
    result, _, _ = waited(split(lambda _request: REFUSALS["404 json"], lambda _request: next(lists, listing(row()))))
    assert result.has_outputs


def test_outputs_that_come_late_are_waited_for() -> None:
    bare = row(note="no assetIds")
    answers = told(row("in-progress"), bare, bare, row())
    result, reported, _ = waited(lambda _request: next(answers))
    assert result.has_outputs
    assert any("outputs are not shown yet" in line for line in reported)


def test_outputs_that_never_come_end_the_wait_as_they_are() -> None:
    answers = told(row(note="no assetIds"))
    result, _, paths = waited(lambda _request: next(answers))
    assert not result.has_outputs
    assert result.job_or_raise(60.0).asset_ids == ()
    assert len(paths) == 1 + wait.OUTPUTS_READS


def test_the_text_of_a_language_model_is_an_output() -> None:
    answers = told(row(output={"text": "Once upon a time"}))
    result, _, paths = waited(lambda _request: next(answers))
    assert result.has_outputs
    assert len(paths) == 1


def test_a_final_check_waits_for_outputs_but_not_for_the_job() -> None:
    for rows, has_outputs, timed_out in (
        ((row("in-progress"),), False, True),
        ((row(note="no assetIds"), row()), True, False),
    ):
        answers = told(*rows)
        with (
            scripted(lambda _request, answers=answers: next(answers)) as server,  # type: ignore[misc]
            ScenarioClient(ClientConfig("key", "secret", server.url)) as client,
        ):
            result = final_check("job_1", client)
        assert (result.has_outputs, result.timed_out) == (has_outputs, timed_out)

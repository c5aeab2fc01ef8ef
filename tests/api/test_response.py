"""Which error a reply stands for."""

from __future__ import annotations

import datetime
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_scenario.api.response import Response, error_of
from airflow_provider_scenario.exceptions import (
    ScenarioAuthenticationError,
    ScenarioConcurrencyLimitError,
    ScenarioConfigurationError,
    ScenarioError,
    ScenarioInputError,
    ScenarioInsufficientCreditsError,
    ScenarioModerationError,
    ScenarioNotFoundError,
    ScenarioPermissionError,
    ScenarioRateLimitError,
    ScenarioServerError,
    ScenarioTransientError,
)

NOW = datetime.datetime(2026, 11, 20, 12, 0, tzinfo=datetime.UTC)
HTML = b"<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>"


def reply_of(status: int, body: Any = None, **headers: str) -> Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Response(status, {name.replace("_", "-"): value for name, value in headers.items()}, content)


def the_error(reply: Response) -> ScenarioError:
    error = error_of(reply, "run model_1", now=NOW)
    assert error is not None
    return error


@pytest.mark.parametrize("status", [200, 201, 204, 269, 299])
def test_every_2xx_is_a_success_also_the_269_of_a_dry_run(status: int) -> None:
    assert reply_of(status, {}).is_success
    assert error_of(reply_of(status, {"reason": "none"}), "run model_1", now=NOW) is None


@pytest.mark.parametrize(
    ("status", "body", "kind", "words"),
    [
        (
            400,
            {"reason": "Input prompt is required"},
            ScenarioInputError,
            "Input prompt is required. Nothing was charged",
        ),
        (400, {"message": '"modelId" must be a string'}, ScenarioInputError, '"modelId" must be a string'),
        (400, {"reason": "Cannot cancel this type of job."}, ScenarioInputError, "of job. Nothing was charged."),
        (401, {"message": "Unauthorized"}, ScenarioAuthenticationError, "login (API key) and password (API secret)"),
        (401, HTML, ScenarioAuthenticationError, "HTTP 401 without a reason"),
        (402, {"error": "not enough creative units"}, ScenarioInsufficientCreditsError, "not enough creative units"),
        (403, {"message": "API Keys cannot access protected resources"}, ScenarioPermissionError, "project_id"),
        (
            403,
            {
                "name": "ModelAccessRestrictedError",
                "reason": "Upgrade to use it",
                "modelId": "model_1",
                "requiredPlan": "cu-pro",
            },
            ScenarioPermissionError,
            "Upgrade to use it. Nothing was charged. This needs the plan cu-pro: renew or change the plan in Scenario",
        ),
        (403, {"reason": "Your subscription has expired."}, ScenarioPermissionError, "The team's plan does not allow"),
        (402, {"reason": "Your plan has expired"}, ScenarioPermissionError, "renew or change the plan"),
        (
            402,
            HTML,
            ScenarioInsufficientCreditsError,
            "HTTP 402 without a reason. This is not how Scenario refuses",
        ),
        (
            400,
            {"reason": "Insufficient credits"},
            ScenarioInsufficientCreditsError,
            "the team needs more creative units",
        ),
        (
            403,
            {"reason": "You are out of creative units."},
            ScenarioInsufficientCreditsError,
            "the team needs more creative units",
        ),
        (400, {"reason": "Blocked by our content policy"}, ScenarioModerationError, "would be blocked again"),
        (422, {"reason": "The prompt was flagged"}, ScenarioModerationError, "change the prompt or the media"),
        (400, {"reason": "motion must be one of low, moderate, high"}, ScenarioInputError, "low, moderate, high."),
        (400, {"reason": "flagged inputs: numFrames"}, ScenarioInputError, "flagged inputs: numFrames."),
        (400, {"reason": "Input plan must be a string"}, ScenarioInputError, "Input plan must be a string."),
        (400, {"reason": "Input credits must be a number"}, ScenarioInputError, "Input credits must be a number."),
        (404, {"reason": "No such plan, and moderated"}, ScenarioNotFoundError, "No such plan"),
        (404, {"reason": "Job job_1 not found"}, ScenarioNotFoundError, "Job job_1 not found"),
        (408, {"message": "timed out"}, ScenarioServerError, "timed out"),
        (409, {"detail": "conflict"}, ScenarioInputError, "conflict. Nothing was charged."),
        (413, HTML, ScenarioInputError, "HTTP 413"),
        (422, {"detail": "unprocessable"}, ScenarioInputError, "unprocessable. Nothing was charged."),
        (429, {"reason": "slow down"}, ScenarioRateLimitError, "slow down. Nothing was charged."),
        (500, {"error": "Internal"}, ScenarioServerError, "Internal"),
        (502, HTML, ScenarioServerError, "HTTP 502 without a reason"),
        (503, b"", ScenarioServerError, "HTTP 503 without a reason"),
        (504, {"message": "Endpoint request timed out"}, ScenarioServerError, "Endpoint request timed out"),
        (599, {}, ScenarioServerError, "HTTP 599"),
        (301, b"", ScenarioConfigurationError, "Check the host of the connection"),
        (307, HTML, ScenarioConfigurationError, "HTTP 307"),
    ],
)
def test_each_status_has_its_class_and_its_words(status: int, body: Any, kind: type[ScenarioError], words: str) -> None:
    error = the_error(reply_of(status, body))
    assert type(error) is kind
    assert words in str(error)
    assert "run model_1" in str(error)
    assert ".." not in str(error)
    assert error.details.status == status


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 409, 422, 429])
@pytest.mark.parametrize(
    "body",
    [
        {"reason": "no"},
        {"message": "no"},
        {"error": "no"},
        {"detail": "no"},
        {"details": {"actionLimit": 2}},
        {"remainingSeconds": 900},
        {"requiredPlan": "cu-pro"},
    ],
    ids=lambda body: next(iter(body)),
)
def test_a_refusal_of_scenarios_own_is_told_as_one(status: int, body: Any) -> None:
    error = the_error(reply_of(status, body))
    assert error.is_refusal is True
    assert "Nothing was charged." in str(error)


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 409, 422, 429])
@pytest.mark.parametrize(
    "body", [HTML, b"", {}, [], "no", {"error": {"code": 1}}, {"details": "many"}, {"reason": " "}]
)
def test_who_does_not_speak_as_scenario_does_has_not_refused_for_it(status: int, body: Any) -> None:
    error = the_error(reply_of(status, body))
    assert error.is_refusal is False
    assert "charged" not in str(error)
    assert "proxy or gateway" in str(error)


@pytest.mark.parametrize(
    "status", [100, 102, 199, 300, 302, 307, 399, 405, 408, 410, 413, 418, 451, 499, 500, 503, 599]
)
@pytest.mark.parametrize("body", [{"reason": "not enough creative units"}, {"details": {"actionLimit": 2}}, HTML])
def test_no_other_status_is_a_refusal(status: int, body: Any) -> None:
    error = the_error(reply_of(status, body))
    assert error.is_refusal is False
    assert "charged" not in str(error)


@pytest.mark.parametrize("status", [400, 402, 403, 409, 422, 429])
@pytest.mark.parametrize("named", [{"job": {"jobId": "job_1", "status": "queued"}}, {"jobId": "job_1"}])
def test_a_reply_that_names_a_job_is_no_refusal(status: int, named: dict[str, Any]) -> None:
    assert the_error(reply_of(status, {"reason": "busy", **named})).is_refusal is False
    assert the_error(reply_of(status, {"reason": "busy", "job": {}, "jobId": None})).is_refusal is True


def test_a_read_that_is_refused_is_never_taken_for_a_blocked_prompt() -> None:
    error = error_of(reply_of(400, {"reason": "flagged"}), "read job job_1", now=NOW, is_purchase=False)
    assert type(error) is ScenarioInputError


@pytest.mark.parametrize(
    ("body", "limit", "retry_after"),
    [
        ({"reason": "busy", "details": {"actionName": "custom", "actionLimit": 2}}, 2, None),
        ({"reason": "busy", "details": {"actionName": "custom", "actionLimit": 2.0}}, 2, None),
        ({"reason": "busy", "details": {"actionLimit": None}}, None, None),
        ({"reason": "cooldown", "remainingSeconds": 900}, None, 900.0),
        ({"reason": "cooldown", "remainingSeconds": 0}, None, 0.0),
        ({"reason": "cooldown", "remainingSeconds": "12.5"}, None, 12.5),
        ({"reason": "cooldown", "remainingSeconds": None}, None, None),
    ],
)
def test_a_429_for_want_of_a_slot_tells_limit_and_wait(
    body: dict[str, Any], limit: int | None, retry_after: float | None
) -> None:
    error = the_error(reply_of(429, body))
    assert isinstance(error, ScenarioConcurrencyLimitError)
    assert error.limit == limit
    assert error.retry_after == retry_after


@pytest.mark.parametrize("body", [{"reason": "rate"}, {"details": "many"}, {"details": {}}, [1], HTML])
def test_any_other_429_is_busy_but_not_full(body: Any) -> None:
    assert type(the_error(reply_of(429, body))) is ScenarioRateLimitError


@pytest.mark.parametrize(
    ("header", "body", "expected"),
    [
        ("7", {}, 7.0),
        (" 7 ", {}, 7.0),
        ("0.25", {}, 0.25),
        ("-3", {}, 0.0),
        ("Fri, 20 Nov 2026 12:00:30 GMT", {}, 30.0),
        ("Fri, 20 Nov 2026 13:00:30 +0100", {}, 30.0),
        ("Fri, 20 Nov 2026 11:59:00 GMT", {}, 0.0),
        ("7", {"remainingSeconds": 900}, 7.0),
        ("", {"remainingSeconds": 900}, 900.0),
        ("soon", {"remainingSeconds": 900}, 900.0),
        ("soon", {}, None),
        ("²", {}, None),
        ("9" * 400, {}, None),
        ("nan", {}, None),
        ("Fri, 20 Nov 99999 12:00:30 GMT", {}, None),
        ("Fri, 20 Nov 2026 12:00:30 +99999999999999", {}, None),
        ("", {"remainingSeconds": True}, None),
        ("", {"remainingSeconds": 10**400}, None),
        ("", {"remainingSeconds": [1]}, None),
    ],
)
@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_how_long_scenario_asks_to_wait(status: int, header: str, body: Any, expected: float | None) -> None:
    error = the_error(reply_of(status, body, retry_after=header))
    assert isinstance(error, ScenarioTransientError)
    assert error.retry_after == expected


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"reason": "first", "message": "second", "error": "third", "detail": "fourth"}, "first"),
        ({"message": "second", "error": "third"}, "second"),
        ({"error": {"code": 1}, "detail": "fourth"}, "fourth"),
        ({"reason": "", "message": "second"}, "second"),
        ({"reason": None}, None),
        ([{"reason": "in a list"}], None),
        (b'{"reason": "cut', None),
        (b"\xff\xfe\xfd", None),
        (HTML, None),
    ],
)
def test_scenarios_own_words_are_found_where_they_may_stand(body: Any, reason: str | None) -> None:
    assert the_error(reply_of(400, body)).details.reason == reason


@pytest.mark.parametrize("key", ["trace_id", "traceId"])
def test_the_trace_id_is_in_the_message(key: str) -> None:
    error = the_error(reply_of(500, {"reason": "Internal", key: "trace-42"}))
    assert error.details.trace_id == "trace-42"
    assert "(trace id trace-42)" in str(error)


def test_signed_urls_in_scenarios_words_are_cut() -> None:
    error = the_error(
        reply_of(
            400,
            {
                "reason": "could not read https://cdn.cloud.scenario.com/assets/a.mp4?Policy=p&Signature=SeCrEt",
                "trace_id": "https://cdn.cloud.scenario.com/assets/a.mp4?Signature=SeCrEt",
            },
        )
    )
    assert "SeCrEt" not in f"{error} {error!r} {error.details!r}"
    assert "https://cdn.cloud.scenario.com/assets/a.mp4" in str(error)


@pytest.mark.parametrize("body", [b"", b'{"job": {"jobId": "jo', HTML, b"[]", b'"text"', b"null", b"\xff"])
def test_a_success_that_is_no_json_object_is_the_servers_failure(body: bytes) -> None:
    with pytest.raises(ScenarioServerError, match=r"HTTP 200.* not the JSON object") as caught:
        reply_of(200, body).json()
    assert caught.value.__context__ is None


@pytest.mark.usefixtures("no_finalizers")
def test_a_body_without_a_bottom_is_no_json() -> None:
    assert the_error(reply_of(400, b"[" * 100_000)).details.reason is None
    with pytest.raises(ScenarioServerError, match="not the JSON object"):
        reply_of(200, b"[" * 100_000).json()


def test_the_servers_clock_is_read() -> None:
    assert reply_of(200, {}, date="Fri, 20 Nov 2026 12:00:00 GMT").server_time == NOW
    assert reply_of(200, {}, date="Fri, 20 Nov 2026 12:00:00 -0000").server_time == NOW
    assert reply_of(200, {}, date="yesterday").server_time is None
    assert reply_of(200, {}).server_time is None


def test_a_replys_repr_shows_neither_body_nor_headers() -> None:
    reply = reply_of(200, {"asset": {"url": "https://cdn.example/a?Signature=SeCrEt"}}, location="https://x/?SeCrEt")
    assert "SeCrEt" not in repr(reply)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(), children, max_size=3),
    max_leaves=10,
)
_error_keys = st.sampled_from(
    ["reason", "message", "error", "detail", "details", "remainingSeconds", "trace_id", "traceId", "requiredPlan"]
)
_bodies = st.binary() | st.dictionaries(_error_keys | st.just("actionLimit"), _json).map(
    lambda document: json.dumps({**document, "details": document}).encode()
)


@given(st.integers(100, 999), _bodies, st.text(st.characters(max_codepoint=255)))
def test_whatever_comes_back_is_a_success_or_an_error_of_ours(status: int, body: bytes, retry_after: str) -> None:
    error = error_of(reply_of(status, body, retry_after=retry_after), "run model_1", now=NOW)
    assert (error is None) == (200 <= status < 300)
    if error is not None and error.retry_after is not None:
        datetime.timedelta(seconds=min(error.retry_after, 1e9))
        assert error.retry_after >= 0

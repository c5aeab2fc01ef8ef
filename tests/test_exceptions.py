"""What an error says, and what it keeps to itself."""

from __future__ import annotations

import copy
import inspect
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_scenario import exceptions
from airflow_provider_scenario.exceptions import ErrorDetails, ScenarioError, redact

ERROR_CLASSES = [
    value for _, value in inspect.getmembers(exceptions, inspect.isclass) if issubclass(value, ScenarioError)
]

_url_characters = st.characters(min_codepoint=33, max_codepoint=126, exclude_characters='"<>')
_path_characters = st.characters(min_codepoint=33, max_codepoint=126, exclude_characters='"<>?#@')


@given(
    before=st.text(),
    scheme=st.sampled_from(["http://", "https://", "HTTPS://", "Https://"]),
    path=st.text(_path_characters),
    mark=st.sampled_from("?#"),
    query=st.text(_url_characters, max_size=300),
    after=st.text(),
)
def test_no_query_of_a_url_survives(before: str, scheme: str, path: str, mark: str, query: str, after: str) -> None:
    marked = f"the{query}-signature-SeCrEt"
    text = f"{before} {scheme}cdn.cloud.scenario.com/{path}{mark}{marked} {after}"
    assert "SeCrEt" not in redact(text)


@given(user=st.text(_path_characters.filter(lambda one: one != "/")), password=st.text(_url_characters))
def test_no_credentials_in_a_url_survive(user: str, password: str) -> None:
    password = password.translate(str.maketrans("/?#", "___"))
    assert "SeCrEt" not in redact(f"at https://{user}:{password}SeCrEt@api.example/v1 it broke")


@given(st.text(), st.integers(0, 10_000))
def test_the_length_is_bounded(text: str, times: int) -> None:
    assert len(redact(text * times)) <= 2001


@given(st.text())
def test_cleaning_twice_changes_nothing_more(text: str) -> None:
    once = redact(text)
    assert redact(once) == once


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Input prompt is required", "Input prompt is required"),
        ("see https://docs.scenario.com/a/b.", "see https://docs.scenario.com/a/b."),
        ("Is it at https://docs.scenario.com ? No.", "Is it at https://docs.scenario.com ? No."),
        ("Use Basic authentication, please", "Use Basic authentication, please"),
        ("the bearer presents this", "the bearer presents this"),
        (
            '{"url": "https://cdn.cloud.scenario.com/assets/a.mp4?Policy=p&Signature=s", "id": "asset_1"}',
            '{"url": "https://cdn.cloud.scenario.com/assets/a.mp4?…", "id": "asset_1"}',
        ),
        ("https://user:word@api.example/v1", "https://api.example/v1"),
        ("https://user:w@rd@api.example/v1", "https://api.example/v1"),
        (
            "GET /assets/a.mp4?width=1&Signature=abc-~_&Key-Pair-Id=K1",
            "GET /assets/a.mp4?width=1&Signature=…&Key-Pair-Id=…",
        ),
        ("at https%3A%2F%2Fcdn.x%2Fa%3FSignature%3Dabc%26x", "at https%3A%2F%2Fcdn.x%2Fa%3FSignature%3D…"),
        (
            "at https%253A%252F%252Fcdn.x%252Fa%253FPolicy%253Dabc",
            "at https%253A%252F%252Fcdn.x%252Fa%253FPolicy%253D…",
        ),
        (r"at https:\/\/cdn.x\/a?Signature\u003dabc", r"at https:\/\/cdn.x\/a?Signature\u003d…"),
        ("a?Signature&#61;abc and a?Policy&#x3d;abc", "a?Signature&#61;… and a?Policy&#x3d;…"),
        ('{"Signature": "abc", "Policy":"def"}', '{"Signature": "…", "Policy":"…"}'),
        ("the token is old, the policy: none", "the token is old, the policy: none"),
        ("PUT /part?X-Amz-Signature=abc&X-Amz-Credential=def", "PUT /part?X-Amz-Signature=…&X-Amz-Credential=…"),
        ("Authorization: Basic YXBpX2tleTpzZWNyZXQ=", "Authorization: Basic ***"),
        ("{'authorization': 'bearer eyJhbGciOi.J9-x_y'}", "{'authorization': 'bearer ***'}"),
        (None, "None"),
        ("x" * 2000, "x" * 2000),
        ("x" * 2001, "x" * 2000 + "…"),
    ],
)
def test_what_is_kept_and_what_is_cut(text: object, expected: str) -> None:
    assert redact(text) == expected


def test_our_own_advice_keeps_its_connection() -> None:
    advice = "Give a folder such as s3://connection@bucket/key or /data."
    assert redact(advice) == advice
    assert "SeCrEt" not in redact("s3://connection@SeCrEt@bucket/key")
    assert "SeCrEt" not in redact("https://connection:SeCrEt@api.example/v1")


def test_a_signed_url_at_the_cut_leaves_nothing_of_its_query() -> None:
    for position in range(1900, 2100):
        text = "x" * position + " https://cdn.example/a?Signature=SeCrEt" + "y" * 8000
        assert "SeCrEt" not in redact(text)


@pytest.mark.parametrize("kind", ERROR_CLASSES)
def test_every_error_survives_pickling_and_copying_and_holds_no_secret(kind: type[ScenarioError]) -> None:
    error = kind("no luck with https://cdn.example/a.mp4?Signature=SeCrEt")
    error.job_id = "job_1"
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(twin) is kind
        assert str(twin) == str(error)
        assert twin.job_id == "job_1"
    assert "SeCrEt" not in repr(error)


def test_each_error_is_of_one_family_only() -> None:
    families = {exceptions.ScenarioPermanentError, exceptions.ScenarioTransientError}
    for kind in ERROR_CLASSES:
        assert len(families & set(kind.__mro__)) == (0 if kind is ScenarioError else 1), kind


def test_an_error_without_a_reply_says_nothing_of_scenario() -> None:
    assert exceptions.ScenarioConnectionError("no").details == ErrorDetails()
    assert exceptions.ScenarioConnectionError("no").sent is True

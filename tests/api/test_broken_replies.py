"""Odd replies to every call: each ends in a value or in an error of ours, and an odd row costs no other."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from airflow_provider_scenario.api import calls
from airflow_provider_scenario.api.calls import Call
from airflow_provider_scenario.api.response import Response
from airflow_provider_scenario.exceptions import ScenarioServerError
from tests.broken_replies import GOOD, ODD, broken_reply, look
from tests.figures import figure

REPLIES = figure(500, 7_200)
"""To each of fourteen calls."""


@pytest.mark.parametrize(("call", "good"), GOOD, ids=[call.action for call, _ in GOOD])
def test_a_broken_reply_ends_in_a_value_or_in_an_error_of_ours(call: Call[Any], good: dict[str, Any]) -> None:
    chance = random.Random(7)
    assert look(call, Response(200, {}, json.dumps(good).encode()))
    read = [look(call, broken_reply(chance, good)) for _ in range(REPLIES)]
    assert 0 < sum(read) < len(read)


@pytest.mark.parametrize("odd", ODD, ids=lambda odd: repr(odd)[:20])
def test_an_odd_row_costs_no_other(odd: Any) -> None:
    rows = [
        odd,
        {"id": odd},
        {"id": "asset_3", "url": odd},
        {"id": "asset_1", "size": odd, "kind": "video"},
        {"id": "asset_2"},
    ]
    assets = calls.get_assets(["asset_1", "asset_2"]).read_reply(
        Response(200, {}, json.dumps({"assets": rows}).encode())
    )
    assert [asset.kind for asset in assets.values()] == ["video", ""]
    models = [{"id": "model_1"}] if isinstance(odd, dict) else [odd, {"id": "model_1"}]
    found = calls.list_models().read_reply(Response(200, {}, json.dumps({"models": models}).encode()))
    assert [model["id"] for model in found] == ["model_1"]
    jobs = [odd, {"jobId": [odd], "status": "success"}, {"jobId": "job_1", "status": "success"}]
    page = calls.list_jobs().read_reply(Response(200, {}, json.dumps({"jobs": jobs}).encode()))
    assert ([job.id for job in page.jobs], page.unreadable) == (["job_1"], 2)


def test_an_asset_whose_row_may_be_the_odd_one_is_not_said_to_be_missing() -> None:
    content = json.dumps({"assets": [{"id": None}, {"id": "asset_2"}]}).encode()
    with pytest.raises(ScenarioServerError, match="can't be read"):
        calls.get_assets(["asset_1", "asset_2"]).read_reply(Response(200, {}, content))
    assert list(calls.get_assets(["asset_2"]).read_reply(Response(200, {}, content))) == ["asset_2"]

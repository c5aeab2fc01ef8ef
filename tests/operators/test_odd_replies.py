"""Odd facts in replies, over real connections: what was bought is not lost, and a task ends in an error of ours."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_scenario.api import client
from airflow_provider_scenario.api.retry import RetryConfig
from airflow_provider_scenario.exceptions import ScenarioError, ScenarioInputError
from airflow_provider_scenario.files import upload
from airflow_provider_scenario.operators.generate import ScenarioGenerateOperator
from airflow_provider_scenario.sandbox.clip import draw_clip
from airflow_provider_scenario.sandbox.server import SandboxServer
from airflow_provider_scenario.transfers.object_storage_to_scenario import ObjectStorageToScenarioOperator
from tests.api.scripted_server import Answer, Request, ScriptedServer, scripted
from tests.broken_replies import UPLOAD, mutated
from tests.figures import figure
from tests.task_run import TaskRun

MODEL = "model_wan-2-1-1-3b"
ABSURD = ["1e300000000", "-1e300000000", 10**400, float("nan"), [1], {"a": 1}, "NaN", "sNaN", -5, "1" * 5000]


@pytest.fixture
def odd_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedServer]:
    monkeypatch.setattr(client, "RetryConfig", lambda: RetryConfig(attempts=1))
    monkeypatch.setattr(upload, "RETRY_CONFIG", RetryConfig(attempts=1))
    with scripted(Answer()) as server:
        connection = {"conn_type": "scenario", "login": "k", "password": "s", "host": f"{server.url}/v1"}
        monkeypatch.setenv("AIRFLOW_CONN_SCENARIO_DEFAULT", json.dumps(connection))
        yield server


def answering(documents: dict[str, Any]) -> Any:
    """Answer by the method and the beginning of the path."""

    def script(request: Request) -> Answer:
        asked = f"{request.method} {request.target}"
        found = next((document for start, document in documents.items() if asked.startswith(start)), None)
        return Answer(404, b'{"reason": "no"}') if found is None else Answer(body=json.dumps(found).encode())

    return script


@pytest.mark.parametrize("price", ABSURD, ids=lambda price: repr(price)[:20])
def test_an_absurd_price_loses_no_job_that_was_bought(odd_server: ScriptedServer, price: Any) -> None:
    job = {
        "jobId": "job_1",
        "status": "success",
        "metadata": {"assetIds": ["asset_1"], "input": {"modelId": MODEL, "prompt": "A boat"}},
        "billing": {"cuCost": price, "cuDiscount": price, "cuCostDetails": {"generation": price}},
    }
    inputs = [{"name": "prompt", "type": "string", "required": {"always": True}}]
    odd_server.script = answering(
        {
            f"GET /v1/models/{MODEL}": {"model": {"id": MODEL, "name": "Wan", "inputs": inputs}},
            "GET /v1/jobs/job_1": {"job": job},
            "GET /v1/jobs": {"jobs": []},
            f"POST /v1/generate/custom/{MODEL}": {"job": job, "creativeUnitsCost": price, "costDetails": price},
        }
    )
    operator = ScenarioGenerateOperator(task_id="buy", model_id=MODEL, inputs={"prompt": "A boat"}, poll_interval=0.1)
    result = operator.execute(TaskRun().context)
    assert (result["job_id"], result["asset_ids"]) == ("job_1", ["asset_1"])
    assert json.loads(json.dumps(result)) == result
    assert sum(request.method == "POST" for request in odd_server.requests) == 1


@pytest.mark.parametrize("prompt", ["half a pair \ud83d", ["\udcff"], {"text": "\ud83d"}])
def test_half_a_character_is_refused_before_anything_is_paid(scenario: SandboxServer, prompt: Any) -> None:
    operator = ScenarioGenerateOperator(task_id="buy", model_id=MODEL, inputs={"prompt": prompt})
    with pytest.raises(ScenarioInputError, match="prompt"):
        operator.execute(TaskRun().context)
    assert scenario.ledger()["totals"]["jobs"] == 0


def test_an_upload_with_odd_replies_ends_in_an_error_of_ours(odd_server: ScriptedServer, tmp_path: Path) -> None:
    chance = random.Random(14)
    clip = draw_clip(tmp_path / "clip.mp4", seconds=0.5, width=64, height=64)
    ended = {"well": 0, "badly": 0}
    for _ in range(figure(60, 600)):
        url = f"{odd_server.url}/part?Signature=s"
        good = {"upload": {**UPLOAD, "parts": [{"number": 1, "url": url}]}}
        begun, completed, looked = (mutated(chance, good) if chance.random() < 0.4 else good for _ in range(3))
        odd_server.script = answering(
            {
                "POST /v1/uploads/": completed,
                "POST /v1/uploads": begun,
                "GET /v1/uploads/": looked,
                "PUT /part": {},
            }
        )
        operator = ObjectStorageToScenarioOperator(
            task_id="upload", source=str(clip), import_timeout=0.1, poll_interval=0.05
        )
        try:
            asset_id = operator.execute(TaskRun().context)
        except ScenarioError:
            ended["badly"] += 1
        else:
            ended["well"] += 1
            assert isinstance(asset_id, str)
            assert asset_id
    assert all(ended.values())

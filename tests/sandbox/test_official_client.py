"""Scenario's own client, in strict mode, is the judge of every endpoint the sandbox has."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import httpx
import pytest
from scenario_sdk import AuthenticationError, BadRequestError, NotFoundError, PermissionDeniedError, RateLimitError

from tests.sandbox.asking import REFRAME, SHORT, TEXT_MODEL

if TYPE_CHECKING:
    from pathlib import Path

    from scenario_sdk import Scenario
    from scenario_sdk.types import JobRetrieveResponse

    from airflow_provider_scenario.sandbox.server import SandboxServer


def _ended(official: Scenario, job_id: str) -> JobRetrieveResponse:
    for _ in range(1000):
        found = official.jobs.retrieve(job_id)
        if found.job.status in ("success", "failure", "canceled"):
            return found
    raise AssertionError("the job does not end")


def test_a_generation_from_price_to_file(official: Scenario, quick: SandboxServer) -> None:
    model = official.models.retrieve(TEXT_MODEL).model
    assert [entry.name for entry in model.inputs or ()][:2] == ["prompt", "aspectRatio"]

    raw = official.generate.with_raw_response.run_model(TEXT_MODEL, body={**SHORT, "seed": 7})
    submitted = raw.parse()
    ended = _ended(official, submitted.job.job_id)
    assert ended.job.status == "success"
    assert ended.job.billing is not None
    assert ended.job.billing.cu_cost == submitted.creative_units_cost

    (asset_id,) = ended.job.metadata.asset_ids or []
    asset = official.assets.retrieve(asset_id, original_assets=True).asset
    assert (asset.kind, asset.mime_type, asset.metadata.seed) == ("video", "video/mp4", "7")
    assert httpx.get(asset.url).headers["content-length"] == str(int(asset.properties.size))
    assert quick.ledger()["totals"] == {"jobs": 1, "charged": submitted.creative_units_cost, "refunded": 0}


def test_lists(official: Scenario) -> None:
    first = official.generate.run_model(TEXT_MODEL, body=SHORT).job.job_id
    second = official.generate.run_model(TEXT_MODEL, body=SHORT).job.job_id
    _ended(official, first)
    _ended(official, second)
    assert {row.job_id for row in official.jobs.list(types=["custom", "upload"], page_size=1)} == {first, second}
    assert [row.job_id for row in official.jobs.list()] == [second, first]
    assert [row.job_id for row in official.jobs.list(status="failure")] == []
    assert len(list(official.assets.list(page_size=1))) == 2
    assert len(list(official.models.list(privacy="public", page_size=4))) == 11


def test_models(official: Scenario) -> None:
    assert list(official.models.list()) == []
    rows = list(official.models.list(privacy="public"))
    assert TEXT_MODEL in {row.id for row in rows}
    assert all(row.inputs is None for row in rows)
    found = official.models.get_bulk(model_ids=[REFRAME, "model_none"]).models
    assert [(row.id, row.inputs) for row in found] == [(REFRAME, None)]
    assert official.models.get_bulk(model_ids=[REFRAME], minimal=True).models[0].status is None


def test_assets(official: Scenario, image: Path) -> None:
    encoded = base64.b64encode(image.read_bytes()).decode()
    asset = official.assets.upload(name="image.png", image=encoded).asset
    assert (asset.kind, asset.mime_type, asset.source) == ("image", "image/png", "uploaded")
    assert (asset.properties.width, asset.properties.height) == (320, 180)
    bulk = official.assets.get_bulk(asset_ids=["asset_none", asset.id], original_assets=True).assets
    assert [each.id for each in bulk] == [asset.id]
    link = official.assets.download.request(asset.id)
    assert httpx.get(link.url).content == image.read_bytes()
    with pytest.raises(BadRequestError, match="Invalid target format"):
        official.assets.download.request(asset.id, target_format="xyz")  # type: ignore[arg-type]


def test_uploads(official: Scenario, clip: Path) -> None:
    data = clip.read_bytes()
    upload = official.uploads.create(
        file_name="clip.mp4", file_size=len(data), content_type="video/mp4", kind="video", parts=1
    ).upload
    assert upload.status == "pending"
    httpx.put((upload.parts or [])[0].url, content=data).raise_for_status()
    official.uploads.trigger_action(upload.id, action="complete")
    found = official.uploads.retrieve(upload.id).upload
    while found.status != "imported":
        assert found.entity_id is None
        found = official.uploads.retrieve(upload.id).upload
    asset = official.assets.retrieve(found.entity_id or "").asset
    assert (asset.kind, asset.properties.nb_frames, asset.properties.frame_rate) == ("video", 24, 12)
    assert official.jobs.retrieve(upload.job_id or "").job.metadata.output == {"entityId": asset.id}


def test_teams_and_usages(official: Scenario, quick: SandboxServer) -> None:
    (team,) = official.teams.list().teams
    quick.configure(parallel_jobs=3)
    official.generate.run_model(TEXT_MODEL, body=SHORT)
    limits = official.teams.retrieve_limits(team.id)
    assert limits.limits.parallel_custom_jobs == 3
    assert limits.values.creative_units == 2.75
    activity = official.usages.list().activity or []
    assert [entry.creative_units_cost for entry in activity] == [2.75]
    assert official.jobs.list(project_id=team.projects[0].id).jobs
    with pytest.raises(PermissionDeniedError):
        official.jobs.list(project_id="proj_somebody_elses")


def test_refusals(official: Scenario, quick: SandboxServer) -> None:
    quick.configure(parallel_jobs=0)
    with pytest.raises(RateLimitError) as limited:
        official.generate.run_model(TEXT_MODEL, body=SHORT)
    assert isinstance(limited.value.body, dict)
    assert limited.value.body["details"]["actionLimit"] == 0
    with pytest.raises(NotFoundError):
        official.jobs.retrieve("job_none")
    with pytest.raises(NotFoundError):
        official.assets.retrieve("asset_none")
    with pytest.raises(NotFoundError):
        official.models.retrieve("model_none")
    with pytest.raises(AuthenticationError):
        official.copy(api_secret="wrong").jobs.list()

"""What a ``@task`` does with the hook alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_provider_scenario.api.job import JobStatus
from airflow_provider_scenario.exceptions import ScenarioConfigurationError, ScenarioInputError, ScenarioTimeoutError
from airflow_provider_scenario.hooks.scenario import ScenarioHook
from airflow_provider_scenario.sandbox.clip import draw_image
from airflow_provider_scenario.sandbox.server import SandboxServer

MODEL = "model_wan-2-1-1-3b"
INPUTS = {"prompt": "a boat"}


@pytest.fixture
def hook(sandbox: SandboxServer, scenario_connection: str) -> ScenarioHook:
    sandbox.configure(job_seconds=0, upload_seconds=0)
    return ScenarioHook(scenario_connection)


def test_a_job_from_its_price_to_its_file(hook: ScenarioHook, sandbox: SandboxServer, tmp_path: Path) -> None:
    price = hook.estimate(MODEL, INPUTS)
    assert price > 0
    assert sandbox.ledger()["totals"]["jobs"] == 0
    job = hook.submit(MODEL, INPUTS)
    assert job.cost == price
    done = hook.wait_for_job(job.id, poll_interval=0.1)
    assert done.status is JobStatus.SUCCESS
    assert hook.get_job(job.id).asset_ids == done.asset_ids
    asset = hook.get_asset(done.asset_ids[0])
    uri = hook.download(asset.id, str(tmp_path / "{asset_id}{ext}"))
    (file,) = tmp_path.iterdir()
    assert uri == file.as_uri()
    assert file.stat().st_size > 1000
    assert sandbox.ledger()["totals"]["jobs"] == 1


def test_a_file_becomes_an_asset(hook: ScenarioHook, tmp_path: Path) -> None:
    image = draw_image(tmp_path / "still.png", width=64, height=64, text="still")
    assert hook.get_asset(hook.upload(image, "A still")).mime_type == "image/png"


def test_a_wait_that_takes_too_long_says_that_the_job_runs_on(hook: ScenarioHook, sandbox: SandboxServer) -> None:
    sandbox.configure(job_seconds=60)
    job = hook.submit(MODEL, INPUTS)
    with pytest.raises(ScenarioTimeoutError, match="runs on"):
        hook.wait_for_job(job.id, poll_interval=0.1, timeout=0.3)


def test_what_scenario_refuses_is_not_bought(hook: ScenarioHook, sandbox: SandboxServer) -> None:
    with pytest.raises(ScenarioInputError):
        hook.submit(MODEL, {"prompt": "a boat", "numFrames": "many"})
    assert sandbox.ledger()["totals"]["jobs"] == 0


@pytest.mark.parametrize("verb", ["get_job", "get_asset", "wait_for_job"])
def test_an_xcom_that_is_not_there_is_named(hook: ScenarioHook, verb: str) -> None:
    with pytest.raises(ScenarioInputError, match="None is not the id of anything"):
        getattr(hook, verb)(None)


def test_times_that_are_none_are_refused(hook: ScenarioHook) -> None:
    with pytest.raises(ScenarioConfigurationError, match="poll_interval"):
        hook.wait_for_job("job_1", poll_interval=-5)
    with pytest.raises(ScenarioConfigurationError, match="asset_timeout must be a number of seconds"):
        hook.download("asset_1", "file:///nowhere", asset_timeout=-5)

"""The links from a task to its job and its output in Scenario's web app."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.sdk.execution_time.xcom import XCom

from airflow_provider_scenario.api.asset import asset_page
from airflow_provider_scenario.api.job import job_page
from airflow_provider_scenario.links import ScenarioAssetLink, ScenarioJobLink, ScenarioPageLink, watch_markdown
from airflow_provider_scenario.operators.generate import ScenarioGenerateOperator
from airflow_provider_scenario.sensors.job import ScenarioJobSensor
from tests.task_run import TaskInstance, XComDouble

OPERATOR = ScenarioGenerateOperator(task_id="generate", model_id="model_x")


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> dict[int, dict[str, Any]]:
    """What the instances of a mapped task have pushed."""
    rows: dict[int, dict[str, Any]] = {}
    monkeypatch.setattr(XCom, "get_one", XComDouble(rows).get_one)
    return rows


def link(kind: type[ScenarioJobLink | ScenarioAssetLink], map_index: int = -1) -> str:
    task_instance: Any = TaskInstance("generate", map_index, 0, {})
    return kind().get_link(OPERATOR, ti_key=task_instance)


def test_lead_to_job_and_asset(table: dict[int, dict[str, Any]]) -> None:
    table[-1] = {"job_id": "job_1", "asset_id": "asset_1"}
    assert link(ScenarioJobLink) == job_page("job_1")
    assert link(ScenarioAssetLink) == asset_page("asset_1")
    for page, its_id in ((job_page("job_1"), "job_1"), (asset_page("asset_1"), "asset_1")):
        assert page.startswith("https://app.scenario.com/")
        assert its_id in page


@pytest.mark.parametrize("kind", [ScenarioJobLink, ScenarioAssetLink])
def test_are_empty_before_there_is_anything(
    table: dict[int, dict[str, Any]], kind: type[ScenarioJobLink | ScenarioAssetLink]
) -> None:
    assert link(kind) == ""
    table[-1] = {"job_id": None, "asset_id": None}
    assert link(kind) == ""


def test_each_mapped_instance_has_its_own(table: dict[int, dict[str, Any]]) -> None:
    table.update({0: {"job_id": "job_zero"}, 1: {"job_id": "job_one"}})
    assert link(ScenarioJobLink, 1) == job_page("job_one")
    assert link(ScenarioJobLink, 0) == job_page("job_zero")
    assert link(ScenarioJobLink, 2) == ""


@pytest.mark.parametrize("pages", ["True", "False"])
def test_a_video_is_shown_only_where_there_are_pages(monkeypatch: pytest.MonkeyPatch, pages: str) -> None:
    monkeypatch.setenv("AIRFLOW__SCENARIO__PAGES", pages)
    assert ("/plugin/scenario" in watch_markdown("generate")) is (pages == "True")
    assert ("[" in watch_markdown("generate")) is (pages == "True")


@pytest.mark.parametrize("task", [OPERATOR, ScenarioJobSensor(task_id="wait", job_id="job_x")])
def test_operators_and_sensor_have_them(task: ScenarioGenerateOperator | ScenarioJobSensor) -> None:
    assert [one.name for one in task.operator_extra_links] == ["Watch", "Scenario job", "Scenario asset"]


@pytest.mark.parametrize(("map_index", "mapped"), [(-1, ""), (7, "/mapped/7")])
@pytest.mark.parametrize(("base_url", "below"), [("http://a.test", ""), ("https://a.test/airflow/", "/airflow")])
def test_the_page_is_at_the_address_that_airflow_is_seen_under(
    monkeypatch: pytest.MonkeyPatch, map_index: int, mapped: str, base_url: str, below: str
) -> None:
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", base_url)
    task_instance: Any = TaskInstance("generate", map_index, 0, {})
    task_instance.run_id = "manual__2026-01-01T00:00:00+00:00"
    path = ScenarioPageLink().get_link(OPERATOR, ti_key=task_instance)
    run = "manual__2026-01-01T00%3A00%3A00%2B00%3A00"
    assert path == f"{below}/dags/nightly/runs/{run}/tasks/generate{mapped}/plugin/scenario"


def test_there_is_no_page_where_it_is_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__SCENARIO__PAGES", "False")
    task_instance: Any = TaskInstance("generate", -1, 0, {})
    assert ScenarioPageLink().get_link(OPERATOR, ti_key=task_instance) == ""

"""A sensor that starts in the triggerer: what Airflow stores of it, where it can't work, and how its trigger ends."""

from __future__ import annotations

import asyncio
import datetime
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import DAG
from airflow.triggers.base import BaseTrigger, TaskSuccessEvent, TriggerEvent

from airflow_provider_scenario.exceptions import ScenarioConfigurationError
from airflow_provider_scenario.links import ScenarioAssetLink, ScenarioJobLink
from airflow_provider_scenario.operators.generate import ScenarioGenerateOperator
from airflow_provider_scenario.polling import wait
from airflow_provider_scenario.polling.wait import WaitResult
from airflow_provider_scenario.sensors import job as sensor_module
from airflow_provider_scenario.sensors.job import ScenarioJobSensor
from airflow_provider_scenario.triggers.job import ScenarioSensorTrigger
from tests.task_run import TaskRun, restored

if TYPE_CHECKING:
    from airflow_provider_scenario.sandbox.server import SandboxServer


@pytest.fixture(autouse=True)
def renders_templates(monkeypatch: pytest.MonkeyPatch) -> None:
    """As Airflow 3.3 does: below, these tests can only go as far as the package itself does."""
    if not hasattr(BaseTrigger, "render_template_fields"):
        monkeypatch.setattr(BaseTrigger, "render_template_fields", None, raising=False)


def sensor(job_id: Any = "{{ params.job_id }}", **arguments: Any) -> ScenarioJobSensor:
    return ScenarioJobSensor(task_id="wait", job_id=job_id, start_from_trigger=True, **arguments)


def trigger_of(waiting: ScenarioJobSensor, **rendered: Any) -> ScenarioSensorTrigger:
    assert waiting.start_trigger_args is not None
    return ScenarioSensorTrigger(**{**(waiting.start_trigger_args.trigger_kwargs or {}), **rendered})


def only_event(trigger: Any) -> TriggerEvent:
    async def events() -> list[TriggerEvent]:
        return [event async for event in trigger.run()]

    (event,) = asyncio.run(events())
    return event


def test_hands_its_templates_to_the_triggerer() -> None:
    waiting = sensor(project_id="{{ var.value.project }}", timeout=100, poke_interval=5)
    assert waiting.deferrable
    arguments = waiting.start_trigger_args
    assert arguments is not None
    assert arguments.trigger_cls == trigger_of(waiting).serialize()[0]
    assert (arguments.next_method, arguments.timeout) == ("execute_complete", datetime.timedelta(seconds=160))
    assert arguments.trigger_kwargs == {
        "job_id": "{{ params.job_id }}",
        "scenario_conn_id": "scenario_default",
        "project_id": "{{ var.value.project }}",
        "timeout": 100,
        "poll_interval": 5,
    }


def test_is_off_unless_asked_for() -> None:
    plain = ScenarioJobSensor(task_id="wait", job_id="job_1", deferrable=True)
    assert plain.start_from_trigger is False
    assert plain.start_trigger_args is None


def test_refuses_what_the_triggerer_can_not_read() -> None:
    with DAG("nightly"):
        bought = ScenarioGenerateOperator(task_id="buy", model_id="model_1", inputs={})
        with pytest.raises(ScenarioConfigurationError, match="needs a job_id that is known before"):
            sensor(bought.output["job_id"])
    with pytest.raises(ScenarioConfigurationError, match="not an XCom"):
        sensor("{{ ti.xcom_pull(task_ids='buy', key='job_id') }}")
    with pytest.raises(ScenarioConfigurationError, match="project_id"):
        sensor("job_1", project_id="{{ task_instance.xcom_pull('buy') }}")


def test_refuses_an_airflow_that_does_not_render_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(BaseTrigger, "render_template_fields")
    monkeypatch.setattr(sensor_module, "airflow_version", "3.2.2")
    with pytest.raises(ScenarioConfigurationError, match=r"needs Airflow 3\.3, this is 3\.2\.2"):
        sensor()


def test_ends_the_task_where_it_is(scenario: SandboxServer) -> None:
    (job_id,) = scenario.make_jobs(1, seconds=0.2)
    event = only_event(restored(trigger_of(sensor(poke_interval=0.2), job_id=job_id)))
    assert isinstance(event, TaskSuccessEvent)
    assert event.xcoms is not None
    result = event.xcoms["return_value"]
    assert result["job_id"] == event.xcoms["job_id"] == job_id
    (asset_id,) = event.xcoms["asset_ids"]
    assert result["asset_id"] == asset_id
    assert job_id in event.xcoms[ScenarioJobLink().xcom_key]
    assert asset_id in event.xcoms[ScenarioAssetLink().xcom_key]


def test_leaves_a_failure_to_the_worker(scenario: SandboxServer) -> None:
    (job_id,) = scenario.make_jobs(1)
    scenario.set_job(job_id, "failure", error="It broke.")
    event = only_event(trigger_of(sensor(poke_interval=0.2), job_id=job_id))
    assert not isinstance(event, TaskSuccessEvent)
    ending = WaitResult.from_event(event.payload)
    assert ending.job is not None
    assert (ending.job_id, ending.job.error) == (job_id, "It broke.")


def test_leaves_a_timeout_to_the_worker(scenario: SandboxServer) -> None:
    (job_id,) = scenario.make_jobs(1)
    event = only_event(trigger_of(sensor(poke_interval=0.2, timeout=0.5), job_id=job_id))
    assert not isinstance(event, TaskSuccessEvent)
    assert WaitResult.from_event(event.payload).timed_out


def test_leaves_a_missing_connection_to_the_worker(scenario: SandboxServer, monkeypatch: pytest.MonkeyPatch) -> None:
    (job_id,) = scenario.make_jobs(1, status="success")
    waiting = sensor(poke_interval=0.2)
    monkeypatch.setattr(wait, "REFUSED_FOR", 0.4)
    for name in ("AIRFLOW_CONN_SCENARIO_DEFAULT", "SCENARIO_SDK_API_KEY", "SCENARIO_SDK_API_SECRET"):
        monkeypatch.delenv(name, raising=False)
    event = only_event(trigger_of(waiting, job_id=job_id))
    assert WaitResult.from_event(event.payload).take_over
    monkeypatch.setenv("AIRFLOW_CONN_SCENARIO_DEFAULT", scenario.connection_json())
    waiting.job_id = job_id
    assert waiting.execute_complete(TaskRun().context, event.payload)["asset_ids"]

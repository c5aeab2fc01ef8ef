"""One generation, bought once, in each way of waiting. The sandbox's ledger says what was paid."""

from __future__ import annotations

import datetime
import json
import re
import time
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import DAG
from jinja2 import StrictUndefined, Undefined

from airflow_provider_scenario import exceptions
from airflow_provider_scenario.api import calls
from airflow_provider_scenario.links import ERROR_KEY
from airflow_provider_scenario.operators import generate
from airflow_provider_scenario.operators.generate import ScenarioGenerateOperator
from airflow_provider_scenario.operators.wan import (
    ScenarioWan21TextToVideoOperator,
    ScenarioWan22OutpaintingOperator,
)
from airflow_provider_scenario.polling import wait
from airflow_provider_scenario.retry_policy import ScenarioRetryPolicy
from airflow_provider_scenario.submission import generation
from airflow_provider_scenario.submission.charges import PURCHASES_KEY, PurchaseSummary
from airflow_provider_scenario.submission.store import SubmissionStore
from airflow_provider_scenario.triggers.capacity import ScenarioCapacityTrigger
from airflow_provider_scenario.triggers.job import ScenarioJobTrigger
from tests.task_run import STATE_KEY, TaskRun, XComDouble, deferral, event_of, resumed
from tests.this_airflow import STORES, airflow_exception, is_retried, needs_retry_policies, needs_task_state_store

if TYPE_CHECKING:
    from airflow_provider_scenario.sandbox.server import SandboxServer
    from tests.sandbox_fixtures import Log

RESULT_KEYS = {"job_id", "model_id", "asset_id", "asset_ids", "seed", "cost"}
TEXT_TO_VIDEO = "model_wan-2-1-1-3b"
OUTPAINTING = "model_wan-2-2-vace-fun-a14b-outpainting"


def generating(prompt: str = "A boat", **arguments: Any) -> ScenarioGenerateOperator:
    inputs = arguments.pop("inputs", {"prompt": prompt})
    return ScenarioGenerateOperator(
        **{"task_id": "generate", "model_id": TEXT_TO_VIDEO, "inputs": inputs, "poll_interval": 0.1, **arguments}
    )


def paid_jobs(scenario: SandboxServer) -> int:
    jobs = scenario.ledger()["totals"]["jobs"]
    assert isinstance(jobs, int)
    return jobs


def made_at(scenario: SandboxServer, job_id: str) -> float:
    """When a job was made, by Scenario's clock, in seconds of the epoch."""
    (entry,) = (entry for entry in scenario.ledger()["entries"] if entry["jobId"] == job_id)
    return datetime.datetime.fromisoformat(entry["createdAt"]).timestamp()


def others_buy_a_second_generation(scenario: SandboxServer, run: TaskRun, **arguments: Any) -> str:
    """A retry returns the first generation, a person clears, and the task buys again: return the second job."""
    first = run.job_id
    scenario.finish_job(first)
    generating("[stuck]", **arguments).execute(run.retry())
    if arguments:
        generating("[stuck]", on_clear="regenerate", **arguments).execute(run.clear())
    else:
        deferral(generating("[stuck]", on_clear="regenerate", deferrable=True), run.clear())
    second = run.job_id
    assert second != first
    return second


# --- One purchase, three ways of waiting


def test_waits_in_the_worker(scenario: SandboxServer) -> None:
    run = TaskRun()
    result = generating().execute(run.context)
    (entry,) = scenario.ledger()["entries"]
    assert set(result) == RESULT_KEYS
    assert result["job_id"] == entry["jobId"]
    assert result["model_id"] == TEXT_TO_VIDEO
    assert result["asset_ids"][0] == result["asset_id"]
    assert result["asset_id"].startswith("asset_")
    assert result["seed"] == entry["inputs"]["seed"]
    assert float(result["cost"]) == entry["cost"]
    assert run.records(seed=result["seed"], returned=True)


@needs_task_state_store
def test_the_record_is_kept_as_long_as_the_run(scenario: SandboxServer) -> None:
    from airflow.sdk import NEVER_EXPIRE

    run = TaskRun()
    generating().execute(run.context)
    assert run.store.retentions["scenario_submission"] is NEVER_EXPIRE


def test_returns_at_once_if_it_shall_not_wait(scenario: SandboxServer) -> None:
    scenario.configure(job_seconds=60)
    run = TaskRun()
    result = generating(wait_for_completion=False, deferrable=True).execute(run.context)
    assert set(result) == RESULT_KEYS
    assert result["job_id"] == scenario.ledger()["entries"][0]["jobId"] == run.xcoms["job_id"]
    assert (result["asset_id"], result["asset_ids"]) == (None, [])


def test_waits_in_the_triggerer(scenario: SandboxServer) -> None:
    run = TaskRun()
    operator = generating("A very special boat", deferrable=True, timeout=600)
    before = time.time()
    deferred = deferral(operator, run.context)
    assert deferred.method_name == "execute_complete"
    assert isinstance(deferred.trigger, ScenarioJobTrigger)
    assert deferred.timeout is not None
    assert 655 < deferred.timeout.total_seconds() <= 660
    stored = deferred.trigger.serialize()[1]
    assert isinstance(stored.pop("since", None), float | None)
    assert stored.pop("usual") is None, "jobs of no time have no usual times"
    assert stored == {
        "job_id": run.job_id,
        "scenario_conn_id": "scenario_default",
        "project_id": None,
        "deadline": pytest.approx(before + 600, abs=5),
        "poll_interval": 0.1,
    }
    written = json.dumps([deferred.trigger.serialize(), deferred.kwargs])
    assert all(text not in written for text in ("special", "http", scenario.api_key, scenario.api_secret))

    result = resumed(generating("A very special boat", deferrable=True), deferred, run.context)
    assert set(result) == RESULT_KEYS
    assert result["asset_id"]
    assert run.records(returned=True)
    assert paid_jobs(scenario) == 1


@pytest.mark.parametrize("deferrable", [False, True])
def test_job_and_link_are_there_before_the_wait(
    scenario: SandboxServer, monkeypatch: pytest.MonkeyPatch, deferrable: bool
) -> None:
    scenario.configure(job_seconds=60)
    run = TaskRun()

    class WaitBeginsError(BaseException):
        pass

    def begin(*_: object, **__: object) -> None:
        assert run.xcoms["job_id"] == scenario.ledger()["entries"][0]["jobId"]
        # Where a task defers, Airflow itself pushes its links.
        assert deferrable or run.xcoms["job_id"] in run.xcoms["_link_ScenarioJobLink"]
        raise WaitBeginsError

    monkeypatch.setattr(generation.time, "sleep", begin)
    monkeypatch.setattr(ScenarioGenerateOperator, "defer", begin)
    with pytest.raises(WaitBeginsError):
        generating(deferrable=deferrable).execute(run.context)


def test_each_value_is_an_xcom_of_its_own(scenario: SandboxServer) -> None:
    assert generating().multiple_outputs is True


@pytest.mark.parametrize("deferrable", [False, True])
def test_tells_progress_and_times_alike_in_each_way_of_waiting(
    scenario: SandboxServer, monkeypatch: pytest.MonkeyPatch, log: Log, deferrable: bool
) -> None:
    pushed: list[dict[str, Any]] = []

    async def push(_: object, progress: dict[str, Any]) -> None:
        pushed.append(progress)

    monkeypatch.setattr("airflow_provider_scenario.triggers.job.push_progress", push)
    scenario.configure(job_seconds=1.0)
    run = TaskRun()
    if deferrable:
        resumed(generating(deferrable=True), deferral(generating(deferrable=True), run.context), run.context)
    else:
        generating().execute(run.context)
        assert run.ti.pushed.count("progress") >= 3
        pushed.append(run.xcoms["progress"])
    times = {name: pushed[-1].pop(name) for name in ("queued_seconds", "running_seconds")}
    assert 0.1 <= times["queued_seconds"] < times["running_seconds"]
    assert pushed[-1] == {"status": "success", "percent": 100, "usual_running_seconds": 0.8, "usual_seconds": 1.0}
    job_id = run.job_id
    assert "Such jobs usually take 1 s, 0.8 s of it running." in log.text or deferrable
    assert re.search(rf"Job {job_id}: in-progress, \d0%, running for 0\.\d s after 0\.\d s in the queue\.", log.text)
    assert re.search(rf"Job {job_id}: success, ran for [\d.]+ s after 0\.\d s in the queue\.", log.text)


def test_progress_that_airflow_refuses_is_not_worth_failing_for(scenario: SandboxServer) -> None:
    run = TaskRun()
    run.ti.refused.add("progress")
    assert generating().execute(run.context)["job_id"] == run.job_id


@pytest.mark.parametrize("deferrable", [False, True])
def test_a_finished_job_is_never_deferred(scenario: SandboxServer, deferrable: bool) -> None:
    run = TaskRun()
    first = generating().execute(run.context)
    again = generating(deferrable=deferrable).execute(run.retry())
    assert again == first
    assert paid_jobs(scenario) == 1


def test_a_job_that_fails_at_its_submission_is_not_deferred(scenario: SandboxServer) -> None:
    with pytest.raises(exceptions.ScenarioJobFailedError):
        generating("[fail]", deferrable=True).execute(TaskRun().context)


# --- Bad input: a clear message, and nothing paid


@pytest.mark.parametrize("undefined", [Undefined, StrictUndefined])
@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("model_id", "model_id came out empty"),
        ("scenario_conn_id", "scenario_conn_id came out empty"),
        ("max_cost", "max_cost was given, but came out as None"),
        ("inputs", "inputs must be a mapping"),
    ],
)
def test_what_a_native_template_left_undefined_buys_nothing(
    scenario: SandboxServer, undefined: type[Undefined], argument: str, said: str
) -> None:
    with pytest.raises(exceptions.ScenarioPermanentError, match=said):
        generating(**{argument: undefined(name="missing")}).execute(TaskRun().context)
    assert paid_jobs(scenario) == 0


@pytest.mark.parametrize("undefined", [Undefined, StrictUndefined])
def test_a_project_that_a_native_template_left_undefined_is_none(
    scenario: SandboxServer, undefined: type[Undefined]
) -> None:
    run = TaskRun()
    deferral(generating("[stuck]", project_id=undefined(name="missing"), deferrable=True), run.context)
    deferral(generating("[stuck]", project_id=undefined(name="missing"), deferrable=True), run.retry())
    assert paid_jobs(scenario) == 1
    assert run.xcoms[PURCHASES_KEY]["project_id"] is None


@pytest.mark.parametrize("model_id", [f" {TEXT_TO_VIDEO}\n", f"\t{TEXT_TO_VIDEO}"])
def test_blanks_around_a_model_are_a_templates(scenario: SandboxServer, model_id: str) -> None:
    generating(model_id=model_id).execute(TaskRun().context)
    assert paid_jobs(scenario) == 1


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ({"prompt": "x"}, ["videoUrl: is required."]),
        ({"prompt": "", "videoUrl": "VIDEO"}, ["prompt: is required, but came out empty"]),
        ({"prompt": "x", "videoUrl": "asset_nowhere"}, ["videoUrl: there is no asset asset_nowhere in the project"]),
        ({"prompt": "x", "videoUrl": "IMAGE"}, ["videoUrl: must be of kind video", "kind image"]),
        ({"prompt": "x", "videoUrl": "VIDEO", "expandRatio": 3}, ["expandRatio: must be from 0 to 1, got 3."]),
        ({"prompt": "x", "videoUrl": "VIDEO", "refImageUrls": "IMAGE"}, ["refImageUrls: takes a list, even of one"]),
        ({"prompt": "x", "videoUrl": "VIDEO", "expandratio": 0.5}, ["no such input. Did you mean expandRatio?"]),
        ({"prompt": "x", "videoUrl": "VIDEO", "aspectRatio": "4:3"}, ["must be one of auto, 16:9, 1:1, 9:16"]),
        (
            {"prompt": "x", "expandRatio": "wide", "numFrames": 1, "speed": 2},
            ["speed: ", "expandRatio: must be a number, got 'wide'.", "numFrames: must be from 81", "videoUrl: is"],
        ),
        ("a boat", ["inputs must be a mapping of input names to values, not 'a boat'"]),
        ([1], ["inputs must be a mapping"]),
        ({5: "x", "prompt": "x"}, ["inputs must be a mapping of input names to values: 5 is no name."]),
    ],
)
def test_bad_inputs_cost_nothing(
    scenario: SandboxServer, video_id: str, image_id: str, inputs: Any, said: list[str]
) -> None:
    ids = {"VIDEO": video_id, "IMAGE": image_id}
    if isinstance(inputs, dict):
        inputs = {name: ids.get(value, value) if isinstance(value, str) else value for name, value in inputs.items()}
    with pytest.raises(exceptions.ScenarioInputError) as caught:
        generating(model_id=OUTPAINTING, inputs=inputs).execute(TaskRun().context)
    assert all(words in str(caught.value) for words in said), str(caught.value)
    assert paid_jobs(scenario) == 0
    assert "POST /v1/generate/custom/{modelId}" not in scenario.requests()["counts"]


def test_a_wan_operator_names_faults_by_its_own_arguments(scenario: SandboxServer, image_id: str) -> None:
    operator = ScenarioWan22OutpaintingOperator(
        task_id="outpaint", prompt="x", video="asset_nowhere", expand_ratio=3, reference_images=image_id
    )
    with pytest.raises(exceptions.ScenarioInputError) as caught:
        operator.execute(TaskRun().context)
    lines = str(caught.value).splitlines()
    assert [line.partition(":")[0] for line in lines[1:]] == ["- expand_ratio", "- reference_images"]
    assert "nothing charged" in lines[0]
    assert paid_jobs(scenario) == 0


def test_a_list_with_a_missing_image_names_its_place(scenario: SandboxServer, video_id: str, image_id: str) -> None:
    operator = ScenarioWan22OutpaintingOperator(
        task_id="outpaint", prompt="x", video=video_id, reference_images=[image_id, "asset_nowhere"]
    )
    with pytest.raises(
        exceptions.ScenarioInputError, match=r"- reference_images\[1\]: there is no asset asset_nowhere"
    ):
        operator.execute(TaskRun().context)


def test_the_same_asset_twice_is_asked_for_once(
    scenario: SandboxServer, monkeypatch: pytest.MonkeyPatch, image_id: str
) -> None:
    asked: list[list[str]] = []
    get_assets = calls.get_assets
    monkeypatch.setattr(calls, "get_assets", lambda ids: asked.append(ids) or get_assets(ids))
    loop = {"prompt": "x", "image": image_id, "lastFrameImage": image_id}
    generating(model_id="model_wan-2-2-i2v-a14b", inputs=loop, wait_for_completion=False).execute(TaskRun().context)
    assert asked == [[image_id]]


def test_wrong_key(scenario: SandboxServer, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = {**scenario.connection(), "password": "not-the-secret"}
    monkeypatch.setenv("AIRFLOW_CONN_SCENARIO_DEFAULT", json.dumps(wrong))
    with pytest.raises(exceptions.ScenarioAuthenticationError, match=r"Check the login \(API key\)"):
        generating().execute(TaskRun().context)
    assert paid_jobs(scenario) == 0


def test_unknown_model(scenario: SandboxServer) -> None:
    with pytest.raises(exceptions.ScenarioNotFoundError, match="model_nobody-has"):
        generating(model_id="model_nobody-has").execute(TaskRun().context)
    assert paid_jobs(scenario) == 0


def test_packaged_record_stands_in_for_the_live_one(scenario: SandboxServer, log: Log) -> None:
    scenario.configure(models_unavailable=True)
    with pytest.raises(exceptions.ScenarioInputError, match="prompt: is required"):
        generating(inputs={"frameNum": 17}).execute(TaskRun().context)
    assert "against the packaged record of model_wan-2-1-1-3b" in log.text
    assert generating().execute(TaskRun().context)["asset_id"]
    assert paid_jobs(scenario) == 1


def test_no_record_at_all_buys_nothing(scenario: SandboxServer) -> None:
    scenario.configure(models_unavailable=True)
    with pytest.raises(exceptions.ScenarioServerError, match="read model model_nobody-has"):
        generating(model_id="model_nobody-has").execute(TaskRun().context)
    assert paid_jobs(scenario) == 0


def test_a_plan_without_the_model_costs_nothing(scenario: SandboxServer) -> None:
    scenario.configure(restricted_models=[TEXT_TO_VIDEO])
    with pytest.raises(exceptions.ScenarioPermissionError, match="cu-max"):
        generating().execute(TaskRun().context)
    assert paid_jobs(scenario) == 0


@pytest.mark.parametrize("name", ["on_lost_submission", "on_changed_inputs", "on_clear"])
def test_a_rule_that_does_not_exist_costs_nothing(scenario: SandboxServer, name: str) -> None:
    with pytest.raises(exceptions.ScenarioConfigurationError, match="'maybe' is not a valid"):
        generating(**{name: "maybe"}).execute(TaskRun().context)
    assert paid_jobs(scenario) == 0


# --- What templating makes of inputs


@pytest.mark.parametrize("native", [False, True])
def test_templated_inputs_are_turned_back(scenario: SandboxServer, video_id: str, image_id: str, native: bool) -> None:
    values = {"ratio": 0.5, "steps": 12, "frames": True, "images": [image_id], "model": OUTPAINTING}
    with DAG("templates", schedule=None, render_template_as_native_obj=native):
        operator = generating(
            model_id="{{ model }}",
            inputs={
                "prompt": "A boat",
                "videoUrl": video_id,
                "expandRatio": "{{ ratio }}",
                "numInferenceSteps": "{{ steps }}",
                "matchInputNumFrames": "{{ frames }}",
                "refImageUrls": "{{ images }}",
            },
            wait_for_completion=False,
        )
    run = TaskRun()
    operator.render_template_fields({**run.context, **values})
    operator.execute(run.context)
    sent = scenario.ledger()["entries"][0]["inputs"]
    assert sent["expandRatio"] == 0.5
    assert sent["numInferenceSteps"] == 12
    assert sent["matchInputNumFrames"] is True
    assert sent["refImageUrls"] == [image_id]


@pytest.mark.parametrize("text", ["{'prompt': 'A boat', 'frameNum': '17'}", '{"prompt": "A boat", "frameNum": 17}'])
def test_inputs_that_became_one_text_are_turned_back(scenario: SandboxServer, text: str) -> None:
    operator = generating(inputs="{{ all_inputs }}", wait_for_completion=False)
    run = TaskRun()
    operator.render_template_fields({**run.context, "all_inputs": text})
    operator.execute(run.context)
    sent = scenario.ledger()["entries"][0]["inputs"]
    assert (sent["prompt"], sent["frameNum"]) == ("A boat", 17)


@pytest.mark.parametrize(
    ("given", "seconds"), [("90", 90.0), (90, 90.0), ("1.5", 1.5), (datetime.timedelta(minutes=2), 120.0)]
)
def test_times_may_be_text_or_timedelta(scenario: SandboxServer, given: Any, seconds: float) -> None:
    operator = generating(poll_interval=given, timeout=given, capacity_timeout=given)
    assert (operator.poll_interval, operator.timeout, operator.capacity_timeout) == (seconds, seconds, seconds)


@pytest.mark.parametrize("name", ["poll_interval", "timeout", "capacity_timeout"])
@pytest.mark.parametrize("given", ["soon", 0, -1, "nan", float("inf"), None, True])
def test_a_time_that_is_none_breaks_the_dag_not_the_purchase(name: str, given: Any) -> None:
    with pytest.raises(exceptions.ScenarioConfigurationError, match=f"{name} must be a number of seconds above 0"):
        generating(**{name: given})


# --- Jobs that end badly


def test_a_failed_job_says_why_and_what_became_of_the_money(scenario: SandboxServer) -> None:
    run = TaskRun()
    with pytest.raises(exceptions.ScenarioJobFailedError) as caught:
        generating("[fail]").execute(run.context)
    said = str(caught.value)
    assert "The model could not generate the video." in said
    assert "Try again later." in said
    assert "Scenario refunds its 13 creative units" in said
    assert caught.value.job_id == run.xcoms["job_id"]


def test_a_failed_job_without_refund_says_so(scenario: SandboxServer) -> None:
    with pytest.raises(exceptions.ScenarioJobFailedError, match="Scenario keeps its 13 creative units"):
        generating("[fail no refund]").execute(TaskRun().context)


def test_a_failed_job_tells_the_same_through_the_triggerer(scenario: SandboxServer) -> None:
    scenario.configure(job_seconds=0.3)
    run = TaskRun()
    deferred = deferral(generating("[fail no refund]", deferrable=True), run.context)
    with pytest.raises(exceptions.ScenarioJobFailedError, match=r"could not generate.*Scenario keeps its 13"):
        resumed(generating("[fail no refund]", deferrable=True), deferred, run.context)


def test_a_moderated_job_is_not_tried_again(scenario: SandboxServer) -> None:
    with pytest.raises(exceptions.ScenarioModerationError) as caught:
        generating("A forbidden boat").execute(TaskRun().context)
    assert isinstance(caught.value, exceptions.ScenarioPermanentError)
    assert "Change the prompt and try again" in str(caught.value)
    assert not is_retried(caught.value)


def test_a_canceled_job_fails_and_keeps_its_retries(scenario: SandboxServer) -> None:
    with pytest.raises(exceptions.ScenarioJobCanceledError, match="was canceled at Scenario"):
        generating("[cancel]").execute(TaskRun().context)


def test_a_retry_after_a_failure_buys_the_next_take(scenario: SandboxServer) -> None:
    scenario.configure(fail_next_jobs=1)
    run = TaskRun()
    with pytest.raises(exceptions.ScenarioJobFailedError):
        generating().execute(run.context)
    failed = run.job_id
    assert paid_jobs(scenario) == 1
    result = generating().execute(run.retry())
    assert run.records(generation=2)
    assert result["job_id"] != failed
    assert paid_jobs(scenario) == 2


def test_a_job_that_runs_too_long_fails_with_what_becomes_of_it(scenario: SandboxServer) -> None:
    run = TaskRun()
    with pytest.raises(exceptions.ScenarioTimeoutError) as caught:
        generating("[stuck]", timeout=0.4).execute(run.context)
    said = str(caught.value)
    assert "within 0.4 s" in said
    assert "It was not cancelled: it runs on and is charged 13 creative units" in said
    assert "raise timeout" in said
    assert run.records(returned=False)


def test_a_retry_after_a_timeout_takes_what_was_paid_for(scenario: SandboxServer) -> None:
    run = TaskRun()
    with pytest.raises(exceptions.ScenarioTimeoutError):
        generating("[stuck]", timeout=0.2).execute(run.context)
    with pytest.raises(exceptions.ScenarioTimeoutError):
        generating("[stuck]", timeout=0.2, deferrable=True).execute(run.retry())
    job_id = run.job_id
    scenario.finish_job(job_id)
    assert generating("[stuck]", timeout=0.2).execute(run.retry())["job_id"] == job_id
    assert paid_jobs(scenario) == 1


# --- Retries and clears


@pytest.mark.parametrize("deferrable", [False, True])
def test_a_retry_rejoins_the_running_job(scenario: SandboxServer, deferrable: bool) -> None:
    scenario.configure(job_seconds=60)
    run = TaskRun()
    first = deferral(generating(deferrable=True), run.context)
    job_id = run.job_id
    scenario.set_job(job_id, "in-progress", progress=0.5)
    if deferrable:
        again = deferral(generating(deferrable=True), run.retry())
        assert again.trigger.serialize()[1]["job_id"] == job_id
        assert again.trigger.serialize()[1]["deadline"] == (
            first.trigger.serialize()[1]["deadline"] if run.has_store else made_at(scenario, job_id) + 3600
        )
    else:
        scenario.finish_job(job_id)
        assert generating().execute(run.retry())["job_id"] == job_id
    assert run.job_id == job_id
    assert run.records(job_id=job_id)
    assert paid_jobs(scenario) == 1


def test_a_clear_rejoins_the_running_job(scenario: SandboxServer) -> None:
    scenario.configure(job_seconds=60)
    run = TaskRun()
    first = deferral(generating(deferrable=True), run.context)
    again = deferral(generating(deferrable=True), run.clear())
    assert again.trigger.serialize()[1]["job_id"] == first.trigger.serialize()[1]["job_id"]
    assert paid_jobs(scenario) == 1


def test_a_retry_takes_what_was_bought_even_if_the_model_has_become_stricter(scenario: SandboxServer) -> None:
    record = {"id": "model_strict", "inputs": [{"name": "n", "type": "number", "max": 90}]}
    scenario.add_model(record)
    run = TaskRun()
    arguments = {"model_id": "model_strict", "inputs": {"n": 90}}
    bought = generating(**arguments).execute(run.context)
    scenario.add_model({**record, "inputs": [{"name": "n", "type": "number", "max": 80}]})
    assert generating(**arguments).execute(run.retry()) == bought
    if run.has_store:  # Else nothing tells a job of before the clear from one of after it: it is handed on again.
        with pytest.raises(exceptions.ScenarioInputError, match="n: "):
            generating(**arguments).execute(run.clear())
    else:
        assert generating(**arguments).execute(run.clear()) == bought
    assert paid_jobs(scenario) == 1


@pytest.mark.parametrize("has_store", STORES)
@pytest.mark.parametrize("on_clear", [None, "regenerate"])
def test_a_clear_after_success_buys_the_next_take(
    scenario: SandboxServer, on_clear: str | None, has_store: bool
) -> None:
    """Without a record nobody knows whether the first was returned: then it is handed on unless the author says so."""
    run = TaskRun(has_store=has_store)
    first = generating(on_clear=on_clear).execute(run.context)
    second = generating(on_clear=on_clear).execute(run.clear())
    if not has_store and on_clear is None:
        assert second == first
        assert paid_jobs(scenario) == 1
        return
    assert second["job_id"] != first["job_id"]
    assert second["seed"] != first["seed"]
    assert run.records(generation=2)
    assert paid_jobs(scenario) == 2


def test_a_clear_after_success_hands_on_the_old_take_on_request(scenario: SandboxServer) -> None:
    run = TaskRun()
    first = generating().execute(run.context)
    assert generating(on_clear="reuse").execute(run.clear()) == first
    assert paid_jobs(scenario) == 1


def test_changed_inputs_are_named(scenario: SandboxServer, log: Log) -> None:
    run = TaskRun()
    generating("A boat").execute(run.context)
    with pytest.raises(exceptions.ScenarioSubmissionError, match=r"changed since generation 1 .*: prompt\."):
        generating("A ship", on_changed_inputs="fail").execute(run.retry())
    assert paid_jobs(scenario) == 1
    generating("A ship").execute(run.retry())
    assert "changed since generation 1" in log.text
    assert paid_jobs(scenario) == 2


def test_a_lost_submission_is_found_again(scenario: SandboxServer) -> None:
    scenario.add_fault("drop_after", method="POST", path="/generate/")
    result = generating().execute(TaskRun().context)
    assert paid_jobs(scenario) == 1
    assert result["job_id"] == scenario.ledger()["entries"][0]["jobId"]


def test_jobs_of_other_mapped_instances_are_claimed(monkeypatch: pytest.MonkeyPatch) -> None:
    table: dict[int, dict[str, Any]] = {0: {"job_id": "job_zero"}, 1: {"job_id": "job_one"}}
    monkeypatch.setattr("airflow.sdk.execution_time.task_runner.XCom", XComDouble(table))
    third = TaskRun(map_index=2, table=table)
    assert sorted(SubmissionStore(third.context, "scenario_default", None, durable=True).jobs_of_others()) == [
        "job_one",
        "job_zero",
    ]
    del table[1]
    assert SubmissionStore(third.context, "scenario_default", None, durable=True).jobs_of_others() == {"job_zero"}
    table.clear()
    assert SubmissionStore(third.context, "scenario_default", None, durable=True).jobs_of_others() == set()


def test_a_job_that_only_looks_like_anothers_is_not_claimed(monkeypatch: pytest.MonkeyPatch) -> None:
    bought = PurchaseSummary("generate[0]", "scenario_default", None, ("job_1", "job_2"), unproven_jobs=("job_1",))
    table: dict[int, dict[str, Any]] = {0: {"job_id": "job_2", "scenario_purchases": bought.to_json()}}
    monkeypatch.setattr("airflow.sdk.execution_time.task_runner.XCom", XComDouble(table))
    second = TaskRun(map_index=1, table=table)
    assert SubmissionStore(second.context, "scenario_default", None, durable=True).jobs_of_others() == {"job_2"}


def test_an_instance_that_is_not_mapped_has_no_siblings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow.sdk.execution_time.task_runner.XCom", None)
    assert SubmissionStore(TaskRun().context, "scenario_default", None, durable=True).jobs_of_others() == set()


def test_a_lost_submission_never_takes_a_siblings_job(scenario: SandboxServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a seed of our own only the claims of the others tell two equal jobs apart."""
    table: dict[int, dict[str, Any]] = {}
    monkeypatch.setattr("airflow.sdk.execution_time.task_runner.XCom", XComDouble(table))
    monkeypatch.setattr("airflow_provider_scenario.submission.job_reader.LIST_LAG_SECONDS", 0.2)
    equal = {"prompt": "A boat", "seed": 7}
    first = generating(inputs=equal).execute(TaskRun(map_index=0, table=table).context)
    scenario.add_fault("drop_before", method="POST", path="/generate/")
    second = generating(inputs=equal).execute(TaskRun(map_index=1, table=table).context)
    assert second["job_id"] != first["job_id"]
    assert paid_jobs(scenario) == 2


def test_without_a_task_state_store_it_works(scenario: SandboxServer) -> None:
    assert generating().execute({"ti": TaskRun().ti})["asset_id"]


def test_durable_false_remembers_nothing(scenario: SandboxServer) -> None:
    run = TaskRun()
    generating(durable=False).execute(run.context)
    assert run.store.rows == {}


# --- Events that don't fit


def test_a_stale_event_defers_again(scenario: SandboxServer, log: Log) -> None:
    scenario.configure(job_seconds=60)
    run = TaskRun()
    operator = generating(deferrable=True)
    deferred = deferral(operator, run.context)
    (other,) = scenario.make_jobs(1, status="success")
    stale = {**event_of_finished(other), "job_id": other}
    with pytest.raises(type(deferred)) as caught:
        operator.execute_complete(run.context, stale)
    assert caught.value.trigger.serialize()[1]["job_id"] == run.job_id
    assert "is stale" in log.text
    assert run.records(returned=False)


def event_of_finished(job_id: str) -> dict[str, Any]:
    return {"job_id": job_id, "job": {"job_id": job_id, "status": "success"}, "timed_out": False, "error": None}


def test_an_event_of_another_kind_of_trigger_is_stale_too(scenario: SandboxServer) -> None:
    scenario.configure(job_seconds=60)
    run = TaskRun()
    operator = generating(deferrable=True)
    deferred = deferral(operator, run.context)
    with pytest.raises(type(deferred)) as caught:
        operator.execute_complete(run.context, {"since": 1.0})
    assert isinstance(caught.value.trigger, ScenarioJobTrigger)
    if run.has_store:
        again = generating(wait_for_completion=False).execute_when_free(run.context, event_of_finished("job_x"))
        assert again["job_id"] == run.job_id
    assert paid_jobs(scenario) == 1


def test_a_silent_triggerer_costs_nothing(scenario: SandboxServer) -> None:
    """Airflow ends a deferral that no triggerer looked after: what was paid for is fetched all the same."""
    run = TaskRun()
    deferral(generating("[stuck]", deferrable=True), run.context)
    scenario.finish_job(run.job_id)
    timed_out = {"error": "Trigger timeout"}
    result = generating("[stuck]", deferrable=True).resume_execution("__fail__", timed_out, run.context)
    assert result["job_id"] == run.job_id
    assert run.records(returned=True)


def test_a_wait_for_a_slot_that_came_to_nothing_hands_on_no_earlier_take(scenario: SandboxServer) -> None:
    run = TaskRun()
    generating().execute(run.context)
    run.clear()
    with pytest.raises(airflow_exception("TaskDeferralTimeout")):
        generating().resume_execution("__fail__", {"error": "Trigger timeout"}, run.context)
    assert paid_jobs(scenario) == 1


def test_a_silent_triggerer_and_a_slow_job_end_in_the_timeouts_message(scenario: SandboxServer) -> None:
    run = TaskRun()
    deferral(generating("[stuck]", deferrable=True), run.context)
    with pytest.raises(exceptions.ScenarioTimeoutError, match="It was not cancelled"):
        generating("[stuck]").resume_execution("__fail__", {"error": "Trigger timeout"}, run.context)
    scenario.add_fault("status", path="/v1/jobs", times=None)
    with pytest.raises(exceptions.ScenarioTimeoutError, match="could not be read"):
        generating("[stuck]").resume_execution("__fail__", {"error": "Trigger timeout"}, run.context)


def test_a_trigger_that_broke_stays_airflows_error(scenario: SandboxServer) -> None:
    run = TaskRun()
    with pytest.raises(airflow_exception("TaskDeferralTimeout")):
        generating().resume_execution("__fail__", {"error": "Trigger timeout"}, run.context)
    with pytest.raises(airflow_exception("TaskDeferralError")):
        generating().resume_execution("__fail__", {"error": "Trigger failure"}, run.context)
    assert paid_jobs(scenario) == 0


# --- Kills


class Untouchable:
    """Raises whenever it is touched: in a signal handler, a word to Airflow may hang for good."""

    def __getattribute__(self, name: str) -> Any:
        raise AssertionError(f"on_kill touched {name}")


def killed(scenario: SandboxServer, monkeypatch: pytest.MonkeyPatch, **arguments: Any) -> None:
    """Kill an operator in its first pause."""
    run = TaskRun()
    operator = generating("[stuck]", **arguments)

    class KilledError(BaseException):
        pass

    def kill(_: float) -> None:
        for place in ("get_connection", "get_hook"):
            monkeypatch.setattr(f"airflow.sdk.BaseHook.{place}", Untouchable())
        monkeypatch.setattr("airflow.sdk.execution_time.task_runner.SUPERVISOR_COMMS", Untouchable(), raising=False)
        monkeypatch.setattr(run, "ti", Untouchable())
        operator.on_kill()
        raise KilledError

    monkeypatch.setattr(generation.time, "sleep", kill)
    with pytest.raises(KilledError):
        operator.execute(run.context)


def test_a_kill_says_that_the_job_runs_on_and_cancels_nothing(
    scenario: SandboxServer, monkeypatch: pytest.MonkeyPatch, log: Log
) -> None:
    """Scenario cancels no video job, so it is not even asked."""
    killed(scenario, monkeypatch)
    assert "POST /v1/jobs/{jobId}/action" not in scenario.requests()["counts"]
    (entry,) = scenario.ledger()["entries"]
    assert f"Job {entry['jobId']} runs on and is charged" in log.text


@needs_task_state_store
def test_a_record_that_can_not_be_read_is_told_on_the_page_too(scenario: SandboxServer) -> None:
    run = TaskRun()
    deferred = deferral(generating(deferrable=True), run.context)
    run.store.set(STATE_KEY, {"state": "odd"})
    with pytest.raises(exceptions.ScenarioSubmissionError, match="can't be read"):
        resumed(generating(deferrable=True), deferred, run.context)
    assert "can't be read" in run.xcoms[ERROR_KEY]["message"]


def test_a_kill_before_the_purchase_does_nothing(scenario: SandboxServer) -> None:
    generating().on_kill()
    assert scenario.requests()["counts"] == {}


@pytest.mark.parametrize("max_cost", [None, 100])
def test_a_task_that_is_ended_before_the_purchase_buys_nothing(scenario: SandboxServer, max_cost: int | None) -> None:
    operator = generating(max_cost=max_cost)
    operator.on_kill()
    run = TaskRun()
    with pytest.raises(exceptions.ScenarioTransientError, match="ended before it bought"):
        operator.execute(run.context)
    assert paid_jobs(scenario) == 0
    assert run.store.rows == {}
    generating(max_cost=max_cost).execute(run.retry())
    assert paid_jobs(scenario) == 1


def test_a_task_that_is_ended_while_it_asks_for_the_price_buys_nothing(
    scenario: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    operator = generating(max_cost=100)
    monkeypatch.setattr(generation, "check_price", lambda *_, **__: operator.on_kill())
    with pytest.raises(exceptions.ScenarioTransientError, match="ended before it bought"):
        operator.execute(TaskRun().context)
    assert paid_jobs(scenario) == 0


# --- No free slot


def test_no_free_slot_defers_without_using_a_try(scenario: SandboxServer) -> None:
    scenario.configure(parallel_jobs=1)
    (running,) = scenario.make_jobs(1)
    run = TaskRun()
    before = time.time()
    deferred = deferral(generating(deferrable=True, capacity_timeout=500), run.context)
    assert deferred.method_name == "execute_when_free"
    assert isinstance(deferred.trigger, ScenarioCapacityTrigger)
    waits = deferred.trigger.serialize()[1]
    assert waits["limit"] == 1
    assert waits["since"] == pytest.approx(before, abs=5)
    assert waits["deadline"] == pytest.approx(waits["since"] + 500)
    assert deferred.timeout is not None
    assert deferred.timeout.total_seconds() == pytest.approx(560, abs=5)
    assert paid_jobs(scenario) == 0
    assert run.records(state="not_accepted")

    scenario.finish_job(running)
    second = generating(deferrable=True, capacity_timeout=500)
    with pytest.raises(type(deferred)) as caught:
        resumed(second, deferred, run.context)
    assert isinstance(caught.value.trigger, ScenarioJobTrigger)
    assert set(resumed(generating(deferrable=True), caught.value, run.context)) == RESULT_KEYS
    assert run.records(generation=1)
    assert paid_jobs(scenario) == 1


def test_who_is_woken_in_vain_keeps_the_place_in_the_queue(scenario: SandboxServer) -> None:
    scenario.configure(parallel_jobs=1)
    scenario.make_jobs(1)
    run = TaskRun()
    deferred = deferral(generating(deferrable=True), run.context)
    since = deferred.trigger.serialize()[1]["since"]
    with pytest.raises(type(deferred)) as caught:
        generating(deferrable=True).execute_when_free(run.context, {"since": since})
    again = caught.value.trigger.serialize()[1]
    assert (again["since"], again["deadline"]) == (since, deferred.trigger.serialize()[1]["deadline"])


def test_a_slot_that_never_comes_free_ends_the_task(scenario: SandboxServer) -> None:
    scenario.configure(parallel_jobs=1)
    scenario.make_jobs(1)
    with pytest.raises(exceptions.ScenarioTimeoutError, match=r"limit of parallel jobs.*Nothing was charged") as caught:
        generating(deferrable=True, capacity_timeout=60).execute_when_free(
            TaskRun().context, {"since": time.time() - 61}
        )
    assert caught.value.__context__ is None, "no other traceback stands above it"
    with pytest.raises(exceptions.ScenarioTimeoutError, match=r"within capacity_timeout=0\.3 s"):
        generating(capacity_timeout=0.3).execute(TaskRun().context)
    assert paid_jobs(scenario) == 0


def test_the_blocking_way_waits_for_a_slot_and_goes_on(
    scenario: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generate, "_CAPACITY_PAUSE", 0.1)
    scenario.configure(parallel_jobs=1)
    scenario.make_jobs(1, seconds=0.5)
    run = TaskRun()
    assert set(generating().execute(run.context)) == RESULT_KEYS
    assert run.records(generation=1)
    assert paid_jobs(scenario) == 1
    assert scenario.requests()["counts"]["POST /v1/generate/custom/{modelId}"] > 1


def test_a_cooldown_is_waited_for_as_long_as_scenario_said(scenario: SandboxServer) -> None:
    scenario.configure(cooldown_seconds=30)
    generating(wait_for_completion=False).execute(TaskRun(task_id="earlier").context)
    deferred = deferral(generating(deferrable=True), TaskRun().context)
    waits = deferred.trigger.serialize()[1]
    assert 25 <= waits["retry_after"] <= 30
    assert waits["limit"] is None
    assert paid_jobs(scenario) == 1


def test_the_blocking_way_waits_for_a_cooldown(scenario: SandboxServer) -> None:
    scenario.configure(cooldown_seconds=1)
    generating(wait_for_completion=False).execute(TaskRun(task_id="earlier").context)
    started = time.monotonic()
    generating().execute(TaskRun().context)
    assert time.monotonic() - started > 0.9
    assert paid_jobs(scenario) == 2


# --- How authors set it up


def test_default_args_reach_every_operator() -> None:
    defaults = {"scenario_conn_id": "other", "deferrable": True, "timeout": "90", "on_clear": "reuse"}
    with DAG("defaults", schedule=None, default_args=defaults):
        operators = [generating(), ScenarioWan21TextToVideoOperator(task_id="wan", prompt="x")]
    for operator in operators:
        assert (operator.scenario_conn_id, operator.deferrable, operator.on_clear) == ("other", True, "reuse")
        assert operator.timeout == 90.0


@needs_retry_policies
def test_the_retry_policy_is_ours_unless_the_author_names_one() -> None:
    class Other(ScenarioRetryPolicy):
        pass

    assert type(generating().retry_policy) is ScenarioRetryPolicy
    assert type(generating(retry_policy=Other()).retry_policy) is Other
    with DAG("policies", schedule=None, default_args={"retry_policy": Other()}):
        assert type(generating().retry_policy) is Other


def test_project_is_asserted(scenario: SandboxServer) -> None:
    with pytest.raises(exceptions.ScenarioPermissionError, match="project_id"):
        generating(project_id="proj_other").execute(TaskRun().context)


def test_event_of_a_refused_key_keeps_the_retries(scenario: SandboxServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wait, "REFUSED_FOR", 0.5)
    run = TaskRun()
    deferred = deferral(generating("[stuck]", deferrable=True), run.context)
    monkeypatch.setenv(
        "AIRFLOW_CONN_SCENARIO_DEFAULT", json.dumps({**scenario.connection(), "password": "not-the-secret"})
    )
    event = event_of(deferred)
    with pytest.raises(exceptions.ScenarioJobUnreadableError, match="is paid for"):
        generating(deferrable=True).execute_complete(run.context, event)


# --- A try that was thought dead goes on


def test_a_late_last_look_writes_over_no_newer_generation(
    scenario: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = TaskRun()
    deferral(generating("[stuck]", deferrable=True), run.context)
    scenario.finish_job(run.job_id)
    second: list[str] = []
    last_look = generation.final_check

    def look(job_id: str, client: Any) -> Any:
        ending = last_look(job_id, client)
        second.append(others_buy_a_second_generation(scenario, run))
        return ending

    monkeypatch.setattr(generation, "final_check", look)
    generating("[stuck]").resume_execution("__fail__", {"error": "Trigger timeout"}, run.context)
    assert run.records(job_id=second[0])
    assert run.records(returned=False)
    deferral(generating("[stuck]", deferrable=True), run.retry())
    assert paid_jobs(scenario) == 2


def test_a_late_return_without_waiting_writes_over_no_newer_generation(scenario: SandboxServer) -> None:
    run = TaskRun()
    second: list[str] = []
    push = run.ti.xcom_push

    def stalling_push(key: str, value: Any) -> None:
        push(key, value)
        if key == PURCHASES_KEY and not second:
            second.append("")
            second[0] = others_buy_a_second_generation(scenario, run, wait_for_completion=False)

    run.ti.xcom_push = stalling_push  # type: ignore[method-assign]
    generating("[stuck]", wait_for_completion=False).execute(run.context)
    assert run.records(job_id=second[0])
    generating("[stuck]", wait_for_completion=False).execute(run.retry())
    assert paid_jobs(scenario) == 2


def test_a_late_end_of_a_wait_in_a_worker_writes_over_no_newer_generation(
    scenario: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = TaskRun()
    second: list[str] = []
    wait_here = generation.poll_until_done

    def wait(*arguments: Any) -> Any:
        scenario.finish_job(run.job_id)
        ending = wait_here(*arguments)
        second.append(others_buy_a_second_generation(scenario, run))
        return ending

    monkeypatch.setattr(generation, "poll_until_done", wait)
    generating("[stuck]").execute(run.context)
    assert run.records(job_id=second[0])
    assert run.records(returned=False)

"""No key, secret or signed URL reaches a log, a repr, an exception, an XCom, a trigger, an event or a record."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import json
import re
import signal
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import AirflowException, TaskDeferred
from airflow.sdk.bases.xcom import BaseXCom

from airflow_provider_scenario.api import calls
from airflow_provider_scenario.api.job import Job
from airflow_provider_scenario.api.retry import RetryConfig
from airflow_provider_scenario.exceptions import ScenarioError
from airflow_provider_scenario.files import download, upload
from airflow_provider_scenario.hooks.scenario import ScenarioHook
from airflow_provider_scenario.operators.estimate import ScenarioEstimateCostOperator
from airflow_provider_scenario.operators.generate import ScenarioGenerateOperator
from airflow_provider_scenario.operators.wan import ScenarioWan22ReframeOperator
from airflow_provider_scenario.sandbox.clip import draw_clip
from airflow_provider_scenario.sandbox.server import SandboxServer
from airflow_provider_scenario.sensors.job import ScenarioJobSensor
from airflow_provider_scenario.transfers.object_storage_to_scenario import ObjectStorageToScenarioOperator
from airflow_provider_scenario.transfers.scenario_to_object_storage import ScenarioToObjectStorageOperator
from tests.api.scripted_server import closed_port
from tests.sandbox_fixtures import Log, log, scenario, video_id
from tests.task_run import TaskRun, event_of

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator

__all__ = ["log", "scenario", "video_id"]

KEY = "api_KEYthatNobodyShallSee"
SECRET = "SECRETthatNobodyShallSee"
PAIR = base64.b64encode(f"{KEY}:{SECRET}".encode()).decode()
SIGNED = "https://cdn.cloud.scenario.com/a/b.mp4?Policy=eyJTdG&Signature=SiGnAtUrE&Key-Pair-Id=K2PAIR"
TELLTALES = re.compile(
    "|".join(
        (
            *(re.escape(text) for text in (KEY, SECRET, PAIR, "SiGnAtUrE")),
            # Where a name stands, only "…" or "***" may stand for its value.
            r"(?:Policy|Signature|Key-Pair-Id)=(?!…)",
            r"(?i:authorization)\W{1,6}(?!Basic \*\*\*)\w",
        )
    )
)

Evidence = list[tuple[str, str]]


@pytest.fixture(scope="module")
def guarded_server() -> Iterator[SandboxServer]:
    """A sandbox whose key and secret can be told from any other text."""
    with SandboxServer(api_key=KEY, api_secret=SECRET) as server:
        yield server


@pytest.fixture
def sandbox(guarded_server: SandboxServer) -> Iterator[SandboxServer]:
    """Stands in for the sandbox that all tests share."""
    guarded_server.reset()
    assert (guarded_server.api_key, guarded_server.api_secret) == (KEY, SECRET)
    yield guarded_server
    assert guarded_server.leaks() == []


@pytest.fixture(autouse=True)
def short_transfers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Transfers repeat soon."""
    hurried = RetryConfig(attempts=3, first_wait=0.02, longest_wait=0.1)
    monkeypatch.setattr(download, "RETRY_CONFIG", hurried)
    monkeypatch.setattr(upload, "RETRY_CONFIG", hurried)


def text_of(error: BaseException) -> str:
    """Give all that a log may show of an error, with what it was raised from and what was handled meanwhile."""
    return "".join(traceback.format_exception(error)) + repr(error) + repr(vars(error))


def locals_of(operator: BaseOperator, run: TaskRun) -> Evidence:
    """Run a task to its error, and give what an error reporter sends: every local of every frame."""
    try:
        operator.execute(run.context)
    except (ScenarioError, AirflowException) as error:
        shown = traceback.TracebackException.from_exception(error, capture_locals=True)
        return [("locals", "".join(shown.format()))]
    return []


def run_and_tell(operator: BaseOperator, run: TaskRun) -> Evidence:
    """Run a task to its end, and give all that it left behind."""
    evidence: Evidence = []
    try:
        result = operator.execute(run.context)
    except TaskDeferred as deferred:
        evidence.append(("trigger", json.dumps(deferred.trigger.serialize()) + repr(deferred.trigger)))
        evidence.append(("deferral", repr(deferred.kwargs)))
        event = event_of(deferred)
        evidence.append(("event", json.dumps(event)))
        try:
            result = operator.resume_execution(deferred.method_name, {"event": event}, run.context)
        except (ScenarioError, AirflowException) as error:
            return [*evidence, ("error", text_of(error)), *left_behind(operator, run)]
    except (ScenarioError, AirflowException) as error:
        return [("error", text_of(error)), *left_behind(operator, run)]
    return [*evidence, ("result", json.dumps(result)), *left_behind(operator, run)]


def left_behind(operator: BaseOperator, run: TaskRun) -> Evidence:
    client = getattr(operator, "_client", None)
    return [
        ("XComs", json.dumps(run.xcoms)),
        ("task state store", json.dumps(run.store.rows)),
        ("operator", repr(operator) + repr(client) + (repr(vars(client)) if client else "")),
    ]


def check(evidence: Evidence) -> None:
    assert evidence
    for where, text in evidence:
        found = TELLTALES.search(text)
        assert found is None, f"{where} holds a secret: {text[max(0, found.start() - 500) : found.end() + 200]}"


def generating(prompt: str = "A boat", **arguments: Any) -> ScenarioGenerateOperator:
    usual = {"task_id": "generate", "model_id": "model_wan-2-1-1-3b", "poll_interval": 0.1}
    return ScenarioGenerateOperator(**{**usual, "inputs": {"prompt": prompt}, **arguments})


TALKATIVE = {
    "type": "status",
    "code": 400,
    "body": {"reason": f"Refused. You sent Authorization: Basic {PAIR} for {SIGNED}", "trace_id": SIGNED},
}
FAULTS: dict[str, Callable[[SandboxServer], object]] = {
    "none": lambda _: None,
    "a lost submission": lambda it: it.add_fault("drop_after", method="POST", path="/generate/"),
    "errors on the way": lambda it: it.add_fault("status", method="GET", path="/v1/jobs", times=6),
    "cut replies": lambda it: it.add_fault("cut_body", method="GET", path="/v1/jobs", times=2),
    "a refusal that quotes": lambda it: it.add_fault({**TALKATIVE}, method="POST", path="/generate/"),
    "an error that quotes": lambda it: it.add_fault({**TALKATIVE, "code": 503}, path="/models/", times=None),
    "a busy reply that quotes": lambda it: it.add_fault({**TALKATIVE, "code": 429}, path="/generate/", times=None),
    "a forbidden job": lambda it: it.add_fault({**TALKATIVE, "code": 403}, method="GET", path="/v1/jobs"),
}


@pytest.mark.parametrize("deferrable", [False, True])
@pytest.mark.parametrize("fault", FAULTS)
def test_generating(scenario: SandboxServer, log: Log, fault: str, deferrable: bool) -> None:
    model = {"model_id": "model_nobody-has"} if fault == "an error that quotes" else {}
    FAULTS[fault](scenario)
    evidence = run_and_tell(generating(deferrable=deferrable, capacity_timeout=0.3, timeout=20, **model), TaskRun())
    check([*evidence, ("log", log.text)])
    assert scenario.leaks() == []


@pytest.mark.parametrize("deferrable", [False, True])
@pytest.mark.parametrize("prompt", ["[fail]", "forbidden", "[cancel]", "[stuck]"])
def test_jobs_that_end_badly(scenario: SandboxServer, log: Log, prompt: str, deferrable: bool) -> None:
    evidence = run_and_tell(generating(prompt, deferrable=deferrable, timeout=0.5), TaskRun())
    check([*evidence, ("log", log.text)])


@pytest.mark.parametrize("deferrable", [False, True])
def test_a_wrong_secret(scenario: SandboxServer, monkeypatch: pytest.MonkeyPatch, log: Log, deferrable: bool) -> None:
    wrong = {**scenario.connection(), "password": SECRET + "Wrong"}
    monkeypatch.setenv("AIRFLOW_CONN_SCENARIO_DEFAULT", json.dumps(wrong))
    evidence = run_and_tell(generating(deferrable=deferrable), TaskRun())
    check([*evidence, ("log", log.text)])
    assert "Check the login" in evidence[0][1]


@pytest.mark.parametrize("deferrable", [False, True])
def test_nobody_answers(scenario: SandboxServer, monkeypatch: pytest.MonkeyPatch, log: Log, deferrable: bool) -> None:
    away = {**scenario.connection(), "host": "http://127.0.0.1:1/v1"}
    monkeypatch.setenv("AIRFLOW_CONN_SCENARIO_DEFAULT", json.dumps(away))
    evidence = run_and_tell(generating(deferrable=deferrable, model_id="model_nobody-has"), TaskRun())
    check([*evidence, ("log", log.text)])
    assert "could not be reached" in evidence[0][1]


def test_a_host_with_credentials_is_refused_without_repeating_them(
    scenario: SandboxServer, monkeypatch: pytest.MonkeyPatch, log: Log
) -> None:
    host = f"https://{KEY}:{SECRET}@api.cloud.scenario.com/v1"
    monkeypatch.setenv("AIRFLOW_CONN_SCENARIO_DEFAULT", json.dumps({**scenario.connection(), "host": host}))
    check([*run_and_tell(generating(), TaskRun()), ("log", log.text)])


def test_a_signed_url_as_input_is_refused_without_repeating_it(scenario: SandboxServer, log: Log) -> None:
    operator = ScenarioWan22ReframeOperator(task_id="reframe", video=SIGNED)
    evidence = run_and_tell(operator, TaskRun())
    check([*evidence, *locals_of(operator, TaskRun()), ("log", log.text)])
    assert "must be the id of a Scenario asset" in evidence[0][1]


@pytest.mark.parametrize(
    "operator",
    [
        ScenarioWan22ReframeOperator(task_id="reframe", video=SIGNED),
        generating(inputs={"prompt": "A boat", "image": SIGNED}),
        generating(inputs={"prompt": {"see": SIGNED}}),
        ScenarioEstimateCostOperator(
            task_id="estimate", model_id="model_wan-2-1-1-3b", inputs=[{"prompt": "A boat", "image": SIGNED}]
        ),
    ],
    ids=["a file", "an input that the model lacks", "a text that is none", "a price"],
)
def test_no_frame_shows_a_signed_url_that_was_given_as_an_input(
    scenario: SandboxServer, operator: BaseOperator
) -> None:
    check(locals_of(operator, TaskRun()))


UNUSABLE: dict[str, dict[str, Any]] = {
    "no secret": {"login": f"{KEY}:{SECRET}", "password": ""},
    "quotes": {"password": f'"{SECRET}"'},
    "a host with credentials": {"host": f"https://{KEY}:{SECRET}@api.cloud.scenario.com/v1"},
    "a host in clear": {"host": "http://api.cloud.scenario.com/v1"},
    "no host at all": {"host": f"https://{KEY}:{SECRET}@[/v1"},
    "a time-out that is none": {"extra": {"request_timeout": "long"}},
    "an extra that is no object": {"extra": f'["{SECRET}"]'},
}


@pytest.mark.parametrize("deferrable", [False, True])
@pytest.mark.parametrize("what", UNUSABLE)
def test_no_frame_shows_a_connection_that_can_not_be_used(
    monkeypatch: pytest.MonkeyPatch, what: str, deferrable: bool
) -> None:
    connection = {"conn_type": "scenario", "login": KEY, "password": SECRET, **UNUSABLE[what]}
    monkeypatch.setenv("AIRFLOW_CONN_SCENARIO_DEFAULT", json.dumps(connection))
    hook = ScenarioHook()
    with pytest.raises(ScenarioError) as caught:
        asyncio.run(hook.get_async_client_config()) if deferrable else hook.get_client_config()
    shown = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    frames = [frame for frame in shown.stack if frame.filename != __file__ and frame.locals]
    check([("locals", f"{frame.name}: {frame.locals}") for frame in frames])


@pytest.mark.parametrize("way", [{}, {"mode": "reschedule"}, {"deferrable": True}])
@pytest.mark.parametrize("status", ["success", "failure", "canceled", "in-progress"])
def test_sensing(scenario: SandboxServer, log: Log, way: dict[str, Any], status: str) -> None:
    (job_id,) = scenario.make_jobs(1)
    scenario.set_job(job_id, status, error=f"Can't read {SIGNED}", hint=f"Basic {PAIR} for {SIGNED}")
    sensor = ScenarioJobSensor(task_id="wait", job_id=job_id, poke_interval=0.1, timeout=0.3, **way)
    check([*run_and_tell(sensor, TaskRun()), ("log", log.text)])


def test_kills(scenario: SandboxServer, log: Log) -> None:
    scenario.add_fault({**TALKATIVE}, path="/action", times=None)
    run = TaskRun()
    operator = generating("[stuck]", timeout=0.3)
    evidence = run_and_tell(operator, run)
    operator.on_kill()
    said = log.text
    assert "runs on and is charged" in said
    check([*evidence, ("log", said)])


TRANSFER_FAULTS: dict[str, Callable[[SandboxServer], object]] = {
    "none": lambda _: None,
    "a cut download": lambda it: it.add_fault("cut_body", path="/cdn/", times=1),
    "expired addresses": lambda it: it.add_fault({**TALKATIVE, "code": 403}, path="/cdn/", times=1),
    "a CDN that refuses": lambda it: it.add_fault({**TALKATIVE, "code": 403}, path="/cdn/", times=None),
    "a CDN out of reach": lambda it: it.add_fault("drop_before", path="/cdn/", times=None),
}


@pytest.mark.parametrize("fault", TRANSFER_FAULTS)
def test_saving(scenario: SandboxServer, log: Log, video_id: str, tmp_path: Path, fault: str) -> None:
    TRANSFER_FAULTS[fault](scenario)
    saver = ScenarioToObjectStorageOperator(
        task_id="save", asset_ids=video_id, destination=tmp_path.as_uri(), asset_timeout=5
    )
    check([*run_and_tell(saver, TaskRun()), *locals_of(saver, TaskRun()), ("log", log.text)])
    if fault != "none":
        assert scenario.faults()[0]["hits"] >= 1
    assert scenario.leaks() == []


@pytest.mark.parametrize("fault", [None, "drop_before", {**TALKATIVE, "code": 403}])
def test_uploading(scenario: SandboxServer, log: Log, tmp_path: Path, fault: Any) -> None:
    clip = draw_clip(tmp_path / "clip.mp4", seconds=0.5, width=64, height=64)
    if fault is not None:
        scenario.add_fault(fault, method="PUT", times=None)
    uploader = ObjectStorageToScenarioOperator(
        task_id="upload", source=clip.as_uri(), poll_interval=0.1, import_timeout=5
    )
    check([*run_and_tell(uploader, TaskRun()), *locals_of(uploader, TaskRun()), ("log", log.text)])
    if fault is not None:
        assert scenario.faults()[0]["hits"] >= 1
    assert scenario.leaks() == []


class OutOfTimeError(BaseException):
    """What Airflow raises in the midst of whatever a task does, when its execution_timeout is over."""


def every_local(error: BaseException) -> Evidence:
    """Give the locals of each frame of an error, and of all that it came from, but for those of the tests."""
    evidence: Evidence = []
    left: list[BaseException | None] = [error]
    seen: list[BaseException] = []
    while left:
        one = left.pop()
        if one is None or one in seen:
            continue
        seen.append(one)
        left += [one.__cause__, one.__context__]
        for frame, _ in traceback.walk_tb(one.__traceback__):
            if not frame.f_code.co_filename.startswith(str(Path(__file__).parent)):
                evidence.append((frame.f_code.co_name, repr(frame.f_locals)))
    return evidence


def storage_out_of_reach(scheme: str) -> dict[str, Any]:
    if scheme == "sftp":
        return {"conn_type": "sftp", "host": "127.0.0.1", "port": closed_port(), "login": "me", "password": SECRET}
    extra = {"endpoint_url": f"http://127.0.0.1:{closed_port()}", "config_kwargs": {"retries": {"max_attempts": 1}}}
    return {"conn_type": "aws", "login": KEY, "password": SECRET, "extra": {**extra, "region_name": "us-east-1"}}


@pytest.mark.parametrize("scheme", ["sftp", "s3"])
@pytest.mark.parametrize("way", ["in", "out"])
def test_no_frame_holds_a_storage_s_password(
    scenario: SandboxServer, video_id: str, monkeypatch: pytest.MonkeyPatch, scheme: str, way: str
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_AWAY", json.dumps(storage_out_of_reach(scheme)))
    place = f"{scheme}://away@bucket/clips"
    operator: BaseOperator = ObjectStorageToScenarioOperator(task_id="upload", source=f"{place}/clip.mp4")
    if way == "out":
        operator = ScenarioToObjectStorageOperator(task_id="save", asset_ids=video_id, destination=place)
    with pytest.raises(ScenarioError) as caught:
        operator.execute(TaskRun().context)
    evidence = every_local(caught.value)
    assert len(evidence) > 20, "the frames of the storage's library"
    check([(where, text.replace("AWS4-HMAC", SECRET)) for where, text in evidence])


@pytest.mark.parametrize("path", ["/v1/assets", "/cdn/", "/v1/generate", "/v1/uploads", "/v1/jobs"])
def test_no_frame_holds_a_secret_where_a_time_out_comes_amid_a_request(
    scenario: SandboxServer, video_id: str, tmp_path: Path, path: str
) -> None:
    def out_of_time(*_: object) -> None:
        raise OutOfTimeError

    clip = draw_clip(tmp_path / "clip.mp4", seconds=0.5, width=64, height=64)
    operator: BaseOperator = {
        "/v1/assets": ScenarioWan22ReframeOperator(task_id="reframe", video=video_id),
        "/cdn/": ScenarioToObjectStorageOperator(task_id="save", asset_ids=video_id, destination=str(tmp_path)),
        "/v1/generate": generating(),
        "/v1/uploads": ObjectStorageToScenarioOperator(task_id="upload", source=str(clip)),
        "/v1/jobs": ScenarioJobSensor(task_id="wait", job_id=scenario.make_jobs(1)[0]),
    }[path]
    scenario.add_fault({"type": "trickle", "bytes_per_second": 500}, path=path, times=None)
    before = signal.signal(signal.SIGALRM, out_of_time)
    signal.setitimer(signal.ITIMER_REAL, 0.7)
    try:
        with pytest.raises(OutOfTimeError) as caught:
            operator.execute(TaskRun().context)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert scenario.faults()[0]["hits"] >= 1
    evidence = every_local(caught.value)
    of_client = [text for where, text in evidence if where in ("send", "_send_once", "_read", "read_body")]
    assert set(of_client) <= {"{}"}
    assert len(evidence) > 3
    check(evidence)


def test_representations(scenario: SandboxServer, video_id: str) -> None:
    hook = ScenarioHook()
    with hook.get_conn() as client:
        asset = client.send(calls.get_asset(video_id))
        assert asset.url
        assert "Signature=" in asset.url
        with client.open_file(asset.url) as stream:
            shown = [repr(stream), str(stream)]
        shown += [repr(one) + str(one) for one in (hook, client, client.config, asset, calls.get_asset(video_id))]
        shown.append(repr(vars(client)))
    check([("repr", text) for text in shown])


def test_what_a_task_may_return(scenario: SandboxServer, video_id: str) -> None:
    hook = ScenarioHook()
    asset = hook.get_asset(video_id)
    job = hook.submit("model_wan-2-1-1-3b", {"prompt": "A paper boat", "frameNum": 17})
    job = dataclasses.replace(job, inputs={"image": SIGNED}, created_at=None, started_at=None, updated_at=None)
    check([("XCom", str(BaseXCom.serialize_value(job)))])
    assert Job.deserialize(job.serialize(), 1) == dataclasses.replace(job, inputs={})
    for secret in (asset, hook.get_client_config(), [asset]):
        with pytest.raises(TypeError, match="no result of a task"):
            BaseXCom.serialize_value(secret)


@pytest.mark.parametrize(
    "text",
    [
        *(KEY, SECRET, PAIR, SIGNED),
        *SIGNED.partition("?")[2].split("&"),
        f"Authorization: Basic {PAIR}",
        "{'Authorization': 'Bearer abcdef'}",
    ],
)
def test_a_secret_is_found_where_there_is_one(text: str) -> None:
    """Else every test above would pass whatever happens."""
    with pytest.raises(AssertionError, match="log holds a secret"):
        check([("log", f"... {text} ...")])

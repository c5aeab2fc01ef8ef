"""What the pages show: each story is run for real against the stand-in, and gives what was logged or raised.

A block of a page names its story in a comment before it, ``<!-- seen: reply_lost -->``. The test compares the two, and
``make docs-output`` writes the blocks anew.
"""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_scenario.api.transport import RetryConfig
from airflow_provider_scenario.exceptions import ScenarioJobFailedError
from airflow_provider_scenario.files import download, upload
from airflow_provider_scenario.hooks.scenario import ScenarioHook
from airflow_provider_scenario.operators.estimate import ScenarioEstimateCostOperator
from airflow_provider_scenario.operators.generate import ScenarioGenerateOperator
from airflow_provider_scenario.operators.wan import ScenarioWan22ReframeOperator
from airflow_provider_scenario.sandbox.clip import draw_clip
from airflow_provider_scenario.sensors.job import ScenarioJobSensor
from airflow_provider_scenario.submission import job_reader
from airflow_provider_scenario.transfers.object_storage_to_scenario import ObjectStorageToScenarioOperator
from airflow_provider_scenario.transfers.scenario_to_object_storage import ScenarioToObjectStorageOperator
from airflow_provider_scenario.triggers.job import ScenarioJobTrigger
from tests.task_run import TaskRun, deferral, resumed

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator

    from airflow_provider_scenario.sandbox.server import SandboxServer

MODEL = "model_wan-2-1-1-3b"
SPEAKERS = (
    ScenarioGenerateOperator,
    ScenarioEstimateCostOperator,
    ScenarioJobSensor,
    ScenarioToObjectStorageOperator,
    ObjectStorageToScenarioOperator,
    ScenarioJobTrigger,
    ScenarioHook,
)


class Said(logging.Handler):
    """Keeps what is logged, a line each, a warning with its level."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if "outside of the Task Runner" in record.getMessage():
            return  # Said of the tests, which call an operator without Airflow's task runner.
        level = "" if record.levelno <= logging.INFO else f"{record.levelname}: "
        self.lines.append(f"{level}{record.getMessage()}")


@dataclass
class Stage:
    """What a story is played on: the stand-in, a folder, the environment, and what was logged."""

    scenario: SandboxServer
    folder: Path
    patch: pytest.MonkeyPatch
    said: Said = field(default_factory=Said)

    def prepare(self) -> None:
        """Let the provider's classes log here, and let nothing wait for long."""
        logger = logging.Logger("story", logging.INFO)
        logger.addHandler(self.said)
        for speaker in SPEAKERS:
            self.patch.setattr(speaker, "log", logger, raising=False)
        hurried = RetryConfig(attempts=3, first_wait=0.02, longest_wait=0.1)
        for module in (download, upload):
            self.patch.setattr(module, "RETRY_CONFIG", hurried)
        self.patch.setattr(job_reader, "SETTLE_SECONDS", 0.2)

    def say(self, line: str) -> None:
        self.said.lines.append(line)

    def told(self) -> str:
        return "\n".join(self.said.lines)

    def clip(self, **options: Any) -> Path:
        return draw_clip(self.folder / "clip.mp4", **{"seconds": 1, "width": 64, "height": 36, **options})

    def finish(self, job_id: str) -> None:
        """Let a job succeed, and wait until its video is drawn."""
        self.scenario.set_job(job_id)
        while any(one["jobId"] == job_id and one["status"] != "success" for one in self.scenario.ledger()["entries"]):
            time.sleep(0.02)

    def bill(self) -> str:
        totals = self.scenario.ledger()["totals"]
        return f"Scenario's ledger: {totals['jobs']} job, {totals['charged']:g} creative units."


STORIES: dict[str, Callable[[Stage], str]] = {}


def story(play: Callable[[Stage], str]) -> Callable[[Stage], str]:
    STORIES[play.__name__] = play
    return play


def raised(play: Callable[[Stage], object]) -> Callable[[Stage], str]:
    """A story that ends in an error, whose message a person finds at the end of the task's log."""

    @functools.wraps(play)
    def message(stage: Stage) -> str:
        with pytest.raises(Exception) as caught:  # noqa: PT011 - the message is compared as a whole
            play(stage)
        return str(caught.value)

    return story(message)


def generating(**arguments: Any) -> ScenarioGenerateOperator:
    inputs = {"prompt": arguments.pop("prompt", "A paper boat"), **arguments.pop("inputs", {})}
    given = {"task_id": "generate", "model_id": MODEL, "inputs": inputs, "poll_interval": 0.1}
    return ScenarioGenerateOperator(**{**given, **arguments})


def saving(stage: Stage, asset_ids: Any, **arguments: Any) -> ScenarioToObjectStorageOperator:
    given = {"task_id": "save", "asset_ids": asset_ids, "destination": (stage.folder / "clips").as_uri()}
    return ScenarioToObjectStorageOperator(**{**given, **arguments})


def plain(text: str, stage: Stage | None = None) -> str:
    """Return a text without what differs from run to run: ids, times, seeds, sizes and places."""
    if stage is not None:
        text = text.replace(str(stage.folder), "/data")
    for pattern, word in (
        (r"(?m)^(Job job_\w+): (pending|queued|warming-up|in-progress|finalizing)\b.*$", r"\1: (progress)"),
        (r"(?m)^(Rejoining job \w+ )\([\w-]+\)", r"\1(…)"),
        (r"\b(job|asset|upload|proj)_[A-Za-z0-9]{24}\b", r"\1_…"),
        (r"\b\d+(\.\d+)? (s|MB/s|kB/s|bytes/s)\b", r"… \2"),
        (r"\b\d{4}-\d\d-\d\d \d\d:\d\d UTC", "… UTC"),
        (r"\bseed \d+|\"seed\": \d+", "seed …"),
        (r"\b[0-9a-f]{64}\b", "…"),
        (r"\d{4}-\d\d-\d\dT[\d:.]+Z", "…"),
        (r"\b(bytes|byte)(\":)? \d+", r"\1 …"),
        (r"\d[\d,]* (bytes|MB|kB)\b", r"… \1"),
        (r"127\.0\.0\.1:\d+|localhost:\d+", "127.0.0.1:…"),
    ):
        text = re.sub(pattern, word, text)
    lines = [line.rstrip() for line in text.strip().splitlines()]
    return "\n".join(line for number, line in enumerate(lines) if number == 0 or line != lines[number - 1])


# --- The promises


@story
def worker_dies(stage: Stage) -> str:
    stage.scenario.configure(job_seconds=60)
    run = TaskRun(has_store=True)
    stage.say("--- try 1")
    deferral(generating(deferrable=True), run.context)
    stage.say("--- the worker is killed; Airflow starts try 2")
    stage.finish(run.record["job_id"])
    generating(deferrable=True).execute(run.retry())
    stage.say(f"--- {stage.bill()}")
    return stage.told()


@story
def reply_lost(stage: Stage) -> str:
    stage.scenario.add_fault("drop_after", method="POST", path="/generate/")
    generating().execute(TaskRun(has_store=True).context)
    stage.say(f"--- {stage.bill()}")
    return stage.told()


@story
def no_record(stage: Stage) -> str:
    stage.scenario.configure(job_seconds=60)
    run = TaskRun(has_store=False)
    stage.say("--- try 1, on an Airflow that keeps no record")
    generating(wait_for_completion=False).execute(run.context)
    stage.say("--- try 2")
    generating(wait_for_completion=False).execute(run.retry())
    stage.say(f"--- {stage.bill()}")
    return stage.told()


@story
def cleared_while_running(stage: Stage) -> str:
    stage.scenario.configure(job_seconds=60)
    run = TaskRun(has_store=True)
    deferral(generating(deferrable=True), run.context)
    stage.said.lines.clear()
    deferral(generating(deferrable=True), run.clear())
    stage.say(f"--- {stage.bill()}")
    return stage.told()


@story
def cleared_after_success(stage: Stage) -> str:
    run = TaskRun(has_store=True)
    generating().execute(run.context)
    stage.said.lines.clear()
    generating().execute(run.clear())
    return stage.said.lines[0]


@story
def cleared_to_reuse(stage: Stage) -> str:
    run = TaskRun(has_store=True)
    generating(on_clear="reuse").execute(run.context)
    stage.said.lines.clear()
    generating(on_clear="reuse").execute(run.clear())
    return stage.said.lines[0]


@story
def crash_cases(stage: Stage) -> str:
    from tests.e2e.test_never_pay_twice import CRASHES, LOST_REPLIES

    rows = [f"{mode:<10}  {what:<13}  {name}" for what, cases in (("a worker dies", CRASHES), ("a reply is lost", LOST_REPLIES)) for mode in ("deferrable", "blocking") for name in [", ".join(case.name for case in cases if case.mode == mode)]]  # noqa: E501
    return "\n".join((f"{len(CRASHES)} deaths and {len(LOST_REPLIES)} lost replies, one run of a DAG each:", *rows))


@story
def file_cut(stage: Stage) -> str:
    asset_id = stage.scenario.make_asset(3_000_000)
    stage.scenario.add_fault({"type": "cut_body", "bytes": 1_000_000}, method="GET", path="^/(?!v1|sandbox)")
    saving(stage, asset_id).execute(transfer_context(TaskRun()))
    return stage.told()


@story
def file_kept(stage: Stage) -> str:
    asset_id = stage.scenario.make_asset(3_000_000)
    run = TaskRun()
    stage.say("--- try 1")
    saving(stage, asset_id).execute(transfer_context(run))
    stage.say("--- try 2")
    run.retry()
    saving(stage, asset_id).execute(transfer_context(run))
    return stage.told()


@raised
def page_for_a_file(stage: Stage) -> None:
    asset_id = stage.scenario.make_asset(3_000_000)
    page = {"type": "status", "code": 200, "body": "<html>Sign in</html>", "headers": {"Content-Type": "text/html"}}
    stage.scenario.add_fault(page, method="GET", path="^/(?!v1|sandbox)", times=None)
    saving(stage, asset_id).execute(transfer_context(TaskRun()))


@story
def manifest(stage: Stage) -> str:
    made = generating(inputs={"seed": 7}).execute(TaskRun().context)
    saving(stage, made["asset_ids"]).execute(transfer_context(TaskRun()))
    return (stage.folder / "clips" / "manifest.json").read_text().replace(str(stage.folder), "/data")


@story
def waits_without_a_worker(stage: Stage) -> str:
    stage.scenario.configure(job_seconds=0.5)
    run = TaskRun()
    stage.say("--- worker")
    deferred = deferral(generating(deferrable=True), run.context)
    stage.say("--- triggerer, no worker held")
    resumed(generating(deferrable=True), deferred, run.context)
    return stage.told()


@story
def result(stage: Stage) -> str:
    return json.dumps(generating().execute(TaskRun().context), indent=2)


# --- Connection


@raised
def no_connection(stage: Stage) -> None:
    stage.patch.delenv("AIRFLOW_CONN_SCENARIO_DEFAULT")
    generating().execute(TaskRun().context)


@raised
def misspelt_connection(stage: Stage) -> None:
    generating(scenario_conn_id="scenario_prod").execute(TaskRun().context)


@raised
def wrong_key(stage: Stage) -> None:
    connect(stage, password="wrong")
    generating().execute(TaskRun().context)


@raised
def wrong_project(stage: Stage) -> None:
    generating(project_id="proj_of_another_team").execute(TaskRun().context)


@raised
def key_in_quotes(stage: Stage) -> None:
    connect(stage, login='"api_key"')
    generating().execute(TaskRun().context)


@raised
def http_host(stage: Stage) -> None:
    connect(stage, host="http://scenario.example.com/v1")
    generating().execute(TaskRun().context)


@raised
def wrong_proxy(stage: Stage) -> None:
    connect(stage, host="https://api.cloud.scenario.com/v1")
    stage.patch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    generating().execute(TaskRun().context)


@raised
def proxy_wants_a_password(stage: Stage) -> None:
    from tests.api.proxies import listening, read_head

    def refuse(connection: Any) -> None:
        read_head(connection)
        connection.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")

    connect(stage, host="https://api.cloud.scenario.com/v1")
    with listening(refuse) as port:
        stage.patch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{port}")
        generating().execute(TaskRun().context)


@raised
def private_authority(stage: Stage) -> None:
    import ssl

    import trustme

    from tests.api.proxies import listening, with_tls

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("localhost").configure_cert(context)
    with listening(with_tls(context, lambda _: None)) as port:
        connect(stage, host=f"https://localhost:{port}/v1")
        generating().execute(TaskRun().context)


@raised
def missing_bundle(stage: Stage) -> None:
    connect(stage, host="https://api.cloud.scenario.com/v1")
    stage.patch.setenv("REQUESTS_CA_BUNDLE", "/etc/ssl/company.pem")
    generating().execute(TaskRun().context)


@story
def connection_works(stage: Stage) -> str:
    return ScenarioHook().test_connection()[1]


@story
def connection_fails(stage: Stage) -> str:
    connect(stage, password="wrong")
    return ScenarioHook().test_connection()[1]


# --- Money and capacity


@story
def no_slot(stage: Stage) -> str:
    stage.scenario.configure(job_seconds=60, parallel_jobs=1)
    generating(wait_for_completion=False).execute(TaskRun().context)
    stage.said.lines.clear()
    deferral(generating(prompt="Another", deferrable=True), TaskRun().context)
    return next(line for line in stage.said.lines if "Waiting for capacity" in line)


@raised
def no_slot_in_time(stage: Stage) -> None:
    stage.scenario.configure(job_seconds=60, parallel_jobs=1)
    generating(wait_for_completion=False).execute(TaskRun().context)
    generating(prompt="Another", capacity_timeout=0.1).execute(TaskRun().context)


@raised
def over_budget(stage: Stage) -> None:
    generating(max_cost="10").execute(TaskRun().context)


@raised
def over_total(stage: Stage) -> None:
    sets = [{"prompt": one, "frameNum": 33} for one in ("A fox", "A kite", "Rain")]
    ScenarioEstimateCostOperator(task_id="estimate", model_id=MODEL, inputs=sets, max_total_cost="10").execute(
        transfer_context(TaskRun())
    )


@story
def estimate(stage: Stage) -> str:
    sets = [{"prompt": one, "frameNum": 33} for one in ("A fox", "A kite", "Rain")]
    ScenarioEstimateCostOperator(task_id="estimate", model_id=MODEL, inputs=sets, max_total_cost="60").execute(
        transfer_context(TaskRun())
    )
    return stage.told()


@raised
def no_credits(stage: Stage) -> None:
    stage.scenario.configure(creative_units=1)
    generating().execute(TaskRun().context)


@raised
def plan_without_the_model(stage: Stage) -> None:
    stage.scenario.configure(restricted_models=[MODEL])
    generating().execute(TaskRun().context)


@raised
def dry_run_bought(stage: Stage) -> None:
    stage.scenario.configure(dry_run_ignored=True)
    ScenarioEstimateCostOperator(task_id="estimate", model_id=MODEL, inputs={"prompt": "A fox"}).execute(
        transfer_context(TaskRun(has_store=True))
    )


@story
def run_cost(stage: Stage) -> str:
    from types import SimpleNamespace

    from airflow.sdk.execution_time import task_runner

    from airflow_provider_scenario.run_cost import get_run_cost
    from tests.operators.test_run_cost import XComs

    xcoms = XComs()
    stage.patch.setattr(task_runner, "XCom", xcoms)
    for number, prompt in enumerate(("A fox", "A kite [fail]")):
        task = TaskRun(map_index=number, shelf=xcoms.shelves.setdefault(("run_1", "generate"), {}))
        with contextlib.suppress(ScenarioJobFailedError):
            generating(prompt=prompt).execute(task.context)
    report = {"ti": TaskRun(shelf={}).ti, "dag": SimpleNamespace(task_ids={"generate"})}
    spent = get_run_cost(report)
    return f"{spent}\n{json.dumps(spent.to_json(), indent=2)}"


@story
def within_budget(stage: Stage) -> str:
    generating(max_cost="13").execute(TaskRun().context)
    return stage.told()


# --- Jobs


@raised
def blocked(stage: Stage) -> None:
    generating(prompt="A forbidden boat").execute(TaskRun().context)


@raised
def job_failed(stage: Stage) -> None:
    generating(prompt="A boat [fail]").execute(TaskRun().context)


@raised
def job_canceled(stage: Stage) -> None:
    generating(prompt="A boat [cancel]").execute(TaskRun().context)


@raised
def too_slow(stage: Stage) -> None:
    generating(prompt="A boat [stuck]", timeout=0.3).execute(TaskRun().context)


@raised
def changed_inputs(stage: Stage) -> None:
    stage.scenario.configure(job_seconds=60)
    run = TaskRun(has_store=True)
    generating(wait_for_completion=False).execute(run.context)
    generating(prompt="A ship", on_changed_inputs="fail").execute(run.retry())


@story
def changed_inputs_bought(stage: Stage) -> str:
    stage.scenario.configure(job_seconds=60)
    run = TaskRun(has_store=True)
    generating(wait_for_completion=False).execute(run.context)
    stage.said.lines.clear()
    generating(prompt="A ship", wait_for_completion=False).execute(run.retry())
    return stage.said.lines[0]


@raised
def lost_submission(stage: Stage) -> None:
    stage.scenario.add_fault("drop_before", method="POST", path="/generate/", times=None)
    generating(on_lost_submission="fail").execute(TaskRun(has_store=True).context)


@raised
def two_jobs_may_be_it(stage: Stage) -> None:
    stage.scenario.configure(job_seconds=60)
    asked = {"inputs": {"seed": 7}, "wait_for_completion": False}
    for _ in range(2):
        generating(**asked).execute(TaskRun(has_store=False).context)
    generating(**asked).execute(TaskRun(has_store=False).retry())


@raised
def triggerer_without_the_connection(stage: Stage) -> None:
    from airflow_provider_scenario.polling.result import no_client_error

    stage.patch.delenv("AIRFLOW_CONN_SCENARIO_DEFAULT")
    try:
        ScenarioHook().get_client_config()
    except Exception as error:
        raise no_client_error("job_SuN3W1OW7jOqIBDIC2UEfY1b", error, 61.0) from error


# --- Inputs and files


@raised
def out_of_range(stage: Stage) -> None:
    generating(inputs={"frameNum": 50}).execute(TaskRun().context)


@raised
def unknown_input(stage: Stage) -> None:
    generating(inputs={"duration": 5}).execute(TaskRun().context)


@raised
def empty_prompt(stage: Stage) -> None:
    generating(prompt="None").execute(TaskRun().context)


@raised
def no_such_file(stage: Stage) -> None:
    reframing(stage.folder / "no-such-clip.mp4").execute(TaskRun().context)


@raised
def cut_file(stage: Stage) -> None:
    clip = stage.clip(seconds=2, width=320, height=180)
    clip.write_bytes(clip.read_bytes()[:3000])
    reframing(clip).execute(TaskRun().context)


@raised
def a_text(stage: Stage) -> None:
    (stage.folder / "clip.mp4").write_text("This is no video.")
    reframing(stage.folder / "clip.mp4").execute(TaskRun().context)


@story
def shorter_than_the_clip(stage: Stage) -> str:
    reframing(stage.clip(seconds=12), wait_for_completion=False).execute(TaskRun().context)
    return next(line for line in stage.said.lines if line.startswith("WARNING"))


@raised
def outside_root(stage: Stage) -> None:
    asset_id = stage.scenario.make_asset(20_000)
    root = (stage.folder / "clips").as_uri()
    saving(stage, asset_id, destination="../elsewhere", root=root).execute(transfer_context(TaskRun()))


@raised
def nothing_to_save(stage: Stage) -> None:
    saving(stage, None).execute(transfer_context(TaskRun()))


@raised
def s3_without_its_provider(stage: Stage) -> None:
    asset_id = stage.scenario.make_asset(20_000)
    saving(stage, asset_id, destination="gs://bucket/clips").execute(transfer_context(TaskRun()))


@raised
def xcom_for_start_from_trigger(stage: Stage) -> None:
    ScenarioJobSensor(task_id="wait", job_id="{{ ti.xcom_pull(task_ids='generate', key='job_id') }}", start_from_trigger=True)  # noqa: E501


def reframing(video: Path, **arguments: Any) -> ScenarioWan22ReframeOperator:
    return ScenarioWan22ReframeOperator(task_id="reframe", video=str(video), poll_interval=0.1, **arguments)


def connect(stage: Stage, **fields: str) -> None:
    stage.patch.setenv("AIRFLOW_CONN_SCENARIO_DEFAULT", json.dumps({**stage.scenario.connection(), **fields}))


def transfer_context(run: TaskRun) -> Any:
    return run.context

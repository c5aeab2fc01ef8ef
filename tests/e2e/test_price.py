"""Price before, progress during, reasons after: on a real Airflow, judged by the sandbox's ledger."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.airflow_api import path_of

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_provider_scenario.sandbox.server import SandboxServer
    from tests.e2e.airflow_server import AirflowServer

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("unseen_videos")]

RUN_SECONDS = 240.0
QUESTION_SECONDS = 5.0
"""An answer that comes sooner than the scheduler has seen the task park may be taken for its failure (Airflow 3.3)."""

MODEL = "model_wan-2-1-1-3b"
CONF: dict[str, tuple[str, dict[str, Any]]] = {
    "within": ("priced_blocking", {}),
    "within_deferred": ("priced_deferrable", {}),
    "above": ("priced_deferrable", {"max_cost": "2.74"}),
    "kept": ("priced_blocking", {"prompt": "[fail no refund]"}),
    "refunded": ("priced_blocking", {"prompt": "[fail]"}),
    "alarm": ("priced_blocking", {"model_id": "model_alarm"}),
    "night": ("night_within_budget", {"prompts": ["A fox", "A kite"]}),
    "night_above": ("night_within_budget", {"prompts": ["A fox", "A kite"], "max_total_cost": "10.49"}),
    "night_refused": ("night_within_budget", {"prompts": ["A forbidden fox", "A kite"]}),
    "paying_yes": ("approve_before_paying", {}),
    "paying_no": ("approve_before_paying", {}),
    "publishing_yes": ("approve_before_publishing", {}),
    "publishing_no": ("approve_before_publishing", {}),
}


@dataclass
class Runs:
    """One run of each, all started at once."""

    airflow: AirflowServer
    sandbox: SandboxServer
    folder: Path
    ids: dict[str, str] = field(default_factory=dict)
    alarming_job: str = ""

    def start(self) -> None:
        record = {"id": "model_alarm", "inputs": [{"name": name, "type": kind} for name, kind in INPUTS.items()]}
        self.sandbox.add_model(record)
        (self.alarming_job,) = self.sandbox.make_jobs(1, seconds=1, modelId="model_alarm")
        bought = {"job": {"jobId": self.alarming_job, "status": "queued"}, "creativeUnitsCost": 2.75}
        action = {"type": "status", "code": 200, "body": bought}
        self.sandbox.add_fault(action, method="POST", path="/generate/custom/model_alarm$", query="dryRun=api")
        for name, (dag_id, conf) in CONF.items():
            self.airflow.wait_for_dag(dag_id)
            destination = {} if dag_id.startswith("priced") else {"destination": (self.folder / name).as_uri()}
            self.ids[name] = self.airflow.trigger(dag_id, {**conf, **destination})

    def where(self, name: str, task_id: str) -> tuple[str, str, str]:
        return CONF[name][0], self.ids[name], task_id

    def finished(self, name: str) -> str:
        return str(self.airflow.wait_for_run(CONF[name][0], self.ids[name], timeout=RUN_SECONDS)["state"])

    def task(self, name: str, task_id: str) -> dict[str, Any]:
        return self.airflow.task_instance(*self.where(name, task_id))

    def log(self, name: str, task_id: str, try_number: int | None = None) -> str:
        """What one try said, or all of them: on a busy machine Airflow's scheduler may end a deferred try by itself."""
        last = self.task(name, task_id)["try_number"] if try_number is None else try_number
        numbers = range(1 if try_number is None else last, last + 1)
        return "\n".join(self.airflow.log(*self.where(name, task_id), number) for number in numbers)

    def xcom(self, name: str, task_id: str, key: str = "return_value", map_index: int = -1) -> Any:
        return self.airflow.xcom(*self.where(name, task_id), key, map_index)

    def question(self, name: str) -> dict[str, Any]:
        """Wait until a run asks its question, and return it."""
        self.airflow.wait_for_state(*self.where(name, "approve"), "awaiting_input", timeout=RUN_SECONDS)
        dag_id, run_id, task_id = self.where(name, "approve")
        path = f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/-1/hitlDetails"
        return dict(self.airflow.api("GET", path))

    def answer(self, name: str, option: str) -> None:
        dag_id, run_id, task_id = self.where(name, "approve")
        path = f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/-1/hitlDetails"
        self.airflow.api("PATCH", path, {"chosen_options": [option], "params_input": {}})

    def entries(self, job_ids: list[str]) -> list[dict[str, Any]]:
        """What the ledger holds of some jobs."""
        return [entry for entry in self.sandbox.ledger()["entries"] if entry["jobId"] in job_ids]


INPUTS = {"prompt": "string", "frameNum": "number", "seed": "number"}


def net(entries: list[dict[str, Any]]) -> Decimal:
    return sum((Decimal(str(one["charged"])) - Decimal(str(one["refunded"])) for one in entries), Decimal(0))


@pytest.fixture(scope="module")
def runs(airflow: AirflowServer, sandbox: SandboxServer, tmp_path_factory: pytest.TempPathFactory) -> Runs:
    started = Runs(airflow, sandbox, tmp_path_factory.mktemp("priced"))
    started.start()
    return started


# --- Price and budget


@pytest.mark.parametrize("name", ["within", "within_deferred"])
def test_log_xcoms_and_ledger_agree_and_the_wait_tells_its_times(runs: Runs, name: str) -> None:
    assert runs.finished(name) == "success"
    made, log = runs.xcom(name, "buy"), runs.log(name, "buy")
    (entry,) = runs.entries([made["job_id"]])
    cost = str(entry["charged"])
    assert made["cost"] == cost == "2.75"
    assert f"{MODEL} costs {cost} creative units with these inputs; max_cost=100 allows it." in log
    assert f"Scenario accepted job {made['job_id']} for {cost} creative units." in log
    assert f"Job {made['job_id']}: success for {cost} creative units, assets {made['asset_id']}." in log
    spent = runs.xcom(name, "report")
    assert (spent["spent"], spent["by_task"]) == (cost, {"buy": cost})

    progress = runs.xcom(name, "buy", "progress")
    assert (progress["status"], progress["percent"]) == ("success", 100)
    assert (progress["usual_seconds"], progress["usual_running_seconds"]) == (2.0, 1.7)
    assert 0 < progress["queued_seconds"] < progress["running_seconds"]
    words = rf"Job {made['job_id']}: success, ran for [\d.]+ s after [\d.]+ s in the queue\."
    assert re.search(words, log)
    if name == "within":
        assert "Such jobs usually take 2 s, 1.7 s of it running." in log


def test_above_the_limit_the_task_ends_at_its_first_try_and_nothing_is_paid(runs: Runs) -> None:
    assert runs.finished("above") == "success"  # As its last task, the report, does.
    task = runs.task("above", "buy")
    assert (task["state"], task["try_number"]) == ("failed", 1)
    log = runs.log("above", "buy")
    assert "Above max_cost=2.74: the price is 2.75 creative units." in log
    assert f"That is what {MODEL} would cost with these inputs." in log
    assert runs.xcom("above", "buy", "job_id") is None
    assert runs.xcom("above", "report")["spent"] == "0"


@pytest.mark.parametrize(("name", "spent"), [("kept", "8.25"), ("refunded", "0")])
def test_a_report_counts_every_try_and_no_refund(runs: Runs, name: str, spent: str) -> None:
    runs.finished(name)
    task = runs.task(name, "buy")
    assert (task["state"], task["try_number"]) == ("failed", 3)
    bought = runs.xcom(name, "buy", "scenario_purchases")["job_ids"]
    assert len(bought) == 3
    told = runs.xcom(name, "report")
    assert told["spent"] == spent
    assert Decimal(told["spent"]) == net(runs.entries(bought))
    assert Decimal(str(runs.xcom(name, "buy", "cost"))) == net(runs.entries(bought[-1:]))
    money = "Scenario keeps its 2.75" if name == "kept" else "Scenario refunds its 2.75"
    assert all(money in runs.log(name, "buy", number) for number in (1, 2, 3))


def test_a_worker_that_waits_tells_how_far_its_job_is(runs: Runs) -> None:
    """Of eight jobs of two seconds a worker sees one on its way, however busy the machine is."""
    names = ("kept", "refunded", "within", "alarm")
    for name in names:
        runs.finished(name)
    logs = "\n".join(runs.log(name, "buy") for name in names)
    bought = [
        job_id for name in ("kept", "refunded") for job_id in runs.xcom(name, "buy", "scenario_purchases")["job_ids"]
    ]
    bought += [runs.xcom("within", "buy")["job_id"], runs.alarming_job]
    assert any(re.search(rf"Job {job_id}: in-progress, \d+%, running for", logs) for job_id in bought)


def test_a_dry_run_that_bought_is_kept_as_the_tasks_own_job(runs: Runs) -> None:
    runs.finished("alarm")
    assert (runs.task("alarm", "buy")["state"], runs.task("alarm", "buy")["try_number"]) == ("success", 1)


def test_a_night_within_its_budget(runs: Runs) -> None:
    assert runs.finished("night") == "success"
    priced = runs.xcom("night", "estimate")
    assert [one["inputs"]["prompt"] for one in priced] == ["A fox", "A kite"]
    assert str(runs.xcom("night", "estimate", "total")) == "10.5"
    assert "2 generations would cost 10.5 creative units in all (2 at 5.25)" in runs.log("night", "estimate")
    made = [runs.xcom("night", "generate", map_index=index) for index in (0, 1)]
    entries = runs.entries([one["job_id"] for one in made])
    assert [entry["inputs"]["prompt"] for entry in sorted(entries, key=lambda one: one["inputs"]["prompt"])] == [
        "A fox",
        "A kite",
    ]
    spent = runs.xcom("night", "report")
    assert Decimal(spent["spent"]) == net(entries) == Decimal("10.5")
    assert spent["by_task"] == {"generate[0]": "5.25", "generate[1]": "5.25"}
    assert "This night: 2 jobs cost 10.5 creative units." in runs.log("night", "report")
    assert len(list((runs.folder / "night").glob("*/*.mp4"))) == 2


def test_a_night_above_its_budget_buys_nothing(runs: Runs) -> None:
    runs.finished("night_above")
    estimate = runs.task("night_above", "estimate")
    assert (estimate["state"], estimate["try_number"]) == ("failed", 1)
    assert "Above max_total_cost=10.49: the sum is 10.5 creative units." in runs.log("night_above", "estimate")
    assert runs.xcom("night_above", "report")["jobs"] == dict.fromkeys(
        ("spent", "running", "refunded", "uncertain", "unknown"), 0
    )


def test_a_refused_prompt_of_a_night_leaves_the_others_alone(runs: Runs) -> None:
    assert runs.finished("night_refused") == "failed"
    ends = {
        (task_id, index): runs.airflow.task_instance(*runs.where("night_refused", task_id), index)
        for task_id in ("generate", "save")
        for index in (0, 1)
    }
    assert {place: (end["state"], end["try_number"]) for place, end in ends.items()} == {
        ("generate", 0): ("failed", 1),
        ("generate", 1): ("success", 1),
        ("save", 0): ("upstream_failed", 0),
        ("save", 1): ("success", 1),
    }
    made = runs.xcom("night_refused", "generate", map_index=1)
    (saved,) = runs.xcom("night_refused", "save", map_index=1)
    assert saved["asset_id"] == made["asset_id"]
    assert [f"file://{path}" for path in (runs.folder / "night_refused").glob("*/*.mp4")] == [saved["uri"]]
    bought = [made["job_id"], runs.xcom("night_refused", "generate", "job_id", map_index=0)]
    assert Decimal(runs.xcom("night_refused", "report")["spent"]) == net(runs.entries(bought))


# --- People


def test_the_price_is_in_the_question_and_only_a_yes_pays(runs: Runs) -> None:
    questions = {name: runs.question(name) for name in ("paying_yes", "paying_no")}
    assert {one["subject"] for one in questions.values()} == {"Pay 5.25 creative units for this video?"}
    assert questions["paying_yes"]["body"] == f"**{MODEL}** shall make:\n\n> A paper boat sails down a rainy street"
    time.sleep(QUESTION_SECONDS)
    runs.answer("paying_yes", "Approve")
    runs.answer("paying_no", "Reject")
    assert runs.finished("paying_yes") == "success"
    assert len(list((runs.folder / "paying_yes").glob("*/*.mp4"))) == 1
    made = runs.xcom("paying_yes", "generate")
    (entry,) = runs.entries([made["job_id"]])
    assert made["cost"] == str(entry["charged"]) == "5.25"
    assert runs.finished("paying_no") == "success"
    assert runs.task("paying_no", "generate")["state"] == "skipped"
    assert runs.xcom("paying_no", "generate", "job_id") is None


def test_the_preview_is_in_the_question_and_only_a_yes_publishes(runs: Runs) -> None:
    for name in ("publishing_yes", "publishing_no"):
        question = runs.question(name)
        assert question["subject"] == "Publish this video?"
        task = f"dags/approve_before_publishing/runs/{path_of(runs.ids[name])}/tasks/generate"
        page = f"/{task}/plugin/scenario"
        assert question["body"] == (
            f"[![Watch it](/scenario/{task}/-1/poster)]({page})\n\n[Watch it]({page})\n\n"
            "> A paper boat sails down a rainy street"
        )
    time.sleep(QUESTION_SECONDS)
    runs.answer("publishing_yes", "Approve")
    runs.answer("publishing_no", "Reject")
    assert {runs.finished("publishing_yes"), runs.finished("publishing_no")} == {"success"}
    assert len(list((runs.folder / "publishing_yes").glob("*/*.mp4"))) == 1
    assert not (runs.folder / "publishing_no").exists()


def test_no_secret_was_shown(runs: Runs) -> None:
    for name in runs.ids:
        runs.finished(name)
    dag_ids = {dag_id for dag_id, _ in CONF.values()}
    everything = "\n".join(map(runs.airflow.kept_of, dag_ids))
    assert f"Scenario accepted job {runs.xcom('within', 'buy')['job_id']}" in everything
    assert f'"{runs.xcom("paying_yes", "generate")["asset_id"]}"' in everything
    assert runs.airflow.secrets_shown(*dag_ids, secret=runs.sandbox.api_secret) == []

"""What was spent: log, XComs and reports say what the sandbox's ledger says, to the last digit. Over HTTP."""

from __future__ import annotations

import random
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from decimal import Decimal
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_scenario import exceptions
from airflow_provider_scenario.api.values import format_units
from airflow_provider_scenario.operators.estimate import ScenarioEstimateCostOperator
from airflow_provider_scenario.operators.generate import ScenarioGenerateOperator
from airflow_provider_scenario.run_cost import get_run_cost
from tests.figures import figure
from tests.task_run import TaskRun, deferral, resumed

if TYPE_CHECKING:
    from airflow_provider_scenario.sandbox.server import SandboxServer
    from airflow_provider_scenario.submission.charges import RunCost
    from tests.sandbox_fixtures import Log

TEXT_TO_VIDEO = "model_wan-2-1-1-3b"


def generating(prompt: str = "A boat", **arguments: Any) -> ScenarioGenerateOperator:
    inputs = {"prompt": prompt, "frameNum": arguments.pop("frame_num", 17)}
    return ScenarioGenerateOperator(
        **{"task_id": "generate", "model_id": TEXT_TO_VIDEO, "inputs": inputs, "poll_interval": 0.1, **arguments}
    )


class XComs:
    """The XComs of many runs, as Airflow's task instance pulls them: by run, task and key."""

    def __init__(self) -> None:
        self.tables: dict[tuple[str, str], dict[int, dict[str, Any]]] = {}

    def get_all(self, *, run_id: str, task_id: str, key: str, **_: Any) -> list[Any] | None:
        table = self.tables.get((run_id, task_id), {})
        return [row[key] for _, row in sorted(table.items()) if key in row] or None


@pytest.fixture
def xcoms(monkeypatch: pytest.MonkeyPatch) -> XComs:
    kept = XComs()
    monkeypatch.setattr("airflow.sdk.execution_time.task_runner.XCom", kept)
    return kept


class Run:
    """One DAG run, whose tasks show what they bought."""

    def __init__(self, xcoms: XComs, run_id: str = "run_1") -> None:
        self.xcoms, self.run_id = xcoms, run_id

    def task(self, task_id: str = "generate", *, map_index: int = -1) -> TaskRun:
        table = self.xcoms.tables.setdefault((self.run_id, task_id), {})
        task = TaskRun(map_index=map_index, table=table)
        task.ti.run_id = self.run_id
        task.ti.run_id, task.ti.task_id = self.run_id, task_id
        return task

    def spending(self) -> RunCost:
        task_ids = {task_id for run_id, task_id in self.xcoms.tables if run_id == self.run_id}
        return get_run_cost({"ti": self.task("report").ti, "dag": SimpleNamespace(task_ids={*task_ids, "idle"})})


def net(entry: dict[str, Any]) -> Decimal:
    """What a job of the ledger cost in the end."""
    return Decimal(str(entry["charged"])) - Decimal(str(entry["refunded"]))


# --- One task


@pytest.mark.parametrize("deferrable", [False, True])
@pytest.mark.parametrize(
    ("prompt", "cost", "error"),
    [
        ("A boat", "2.85", None),
        ("[fail]", "0", exceptions.ScenarioJobFailedError),
        ("[fail no refund]", "2.85", exceptions.ScenarioJobFailedError),
        ("A forbidden boat", "0", exceptions.ScenarioModerationError),
        ("[cancel]", None, exceptions.ScenarioJobCanceledError),
    ],
)
def test_the_xcom_holds_what_was_charged_and_not_refunded(
    scenario: SandboxServer, prompt: str, cost: str | None, error: Any, deferrable: bool
) -> None:
    scenario.configure(quality_gate_units=0.1, job_seconds=0.2 if deferrable else 0)
    run = TaskRun()
    operator = generating(prompt, deferrable=deferrable)

    def execute() -> Any:
        return (
            resumed(operator, deferral(operator, run.context), run.context)
            if deferrable
            else operator.execute(run.context)
        )

    if error is None:
        assert execute()["cost"] == cost
    else:
        with pytest.raises(error) as caught:
            execute()
        assert "2.85 creative units" in str(caught.value), "add-ons count, although they read 0 after a refund"
        assert run.xcoms.get("cost") == cost


def test_the_log_says_what_was_charged(scenario: SandboxServer, log: Log) -> None:
    result = generating().execute(TaskRun().context)
    assert f"Scenario accepted job {result['job_id']} for 2.75 creative units." in log.text
    assert f"Job {result['job_id']}: success for 2.75 creative units, assets {result['asset_id']}." in log.text


def test_a_job_that_fails_at_once_fails_the_task_that_would_not_wait(scenario: SandboxServer) -> None:
    run = TaskRun()
    with pytest.raises(exceptions.ScenarioJobFailedError):
        generating("[fail no refund]", wait_for_completion=False).execute(run.context)
    assert run.xcoms["cost"] == "2.75"


# --- A whole run


def test_a_report_counts_earlier_tries_mapped_tasks_and_dry_runs_that_bought(
    scenario: SandboxServer, xcoms: XComs
) -> None:
    run = Run(xcoms)
    first, second = run.task(map_index=0), run.task(map_index=1)
    with pytest.raises(exceptions.ScenarioJobFailedError):
        generating("[fail no refund]").execute(first.context)
    generating().execute(first.retry())
    with pytest.raises(exceptions.ScenarioJobFailedError):
        generating("[fail]").execute(second.context)
    single = run.task("single")
    generating().execute(single.context)
    generating(on_clear="regenerate").execute(single.clear())
    scenario.configure(dry_run_ignored=True)
    with pytest.raises(exceptions.ScenarioDryRunError):
        ScenarioEstimateCostOperator(
            task_id="estimate", model_id=TEXT_TO_VIDEO, inputs={"prompt": "A boat", "frameNum": 17}
        ).execute(run.task("estimate").context)
    spending = run.spending()
    assert spending.to_json()["by_task"] == {
        "estimate": "2.75",
        "generate[0]": "5.5",
        "generate[1]": "0",
        "single": "5.5",
    }
    assert spending.spent == sum(map(net, scenario.ledger()["entries"]))
    assert sum(spending.to_json()["jobs"].values()) == scenario.ledger()["totals"]["jobs"] == 6


def test_a_retry_that_is_refused_still_shows_what_the_try_before_bought(scenario: SandboxServer, xcoms: XComs) -> None:
    run = Run(xcoms)
    task = run.task()
    with pytest.raises(exceptions.ScenarioJobFailedError):
        generating("[fail no refund]").execute(task.context)
    with pytest.raises(exceptions.ScenarioCostLimitError):
        generating("[fail no refund]", max_cost=1).execute(task.retry())
    assert run.spending().spent == Decimal("2.75")


def test_a_report_says_what_it_does_not_know(scenario: SandboxServer, xcoms: XComs) -> None:
    run = Run(xcoms)
    with pytest.raises(exceptions.ScenarioJobCanceledError):
        generating("[cancel]").execute(run.task("canceled").context)
    scenario.configure(job_seconds=60)
    running = generating(wait_for_completion=False).execute(run.task("running").context)["job_id"]
    gone = generating(wait_for_completion=False).execute(run.task("gone").context)["job_id"]
    scenario.add_fault({"type": "status", "code": 404, "body": {"reason": "Job not found"}}, path=f"/jobs/{gone}")
    assert run.spending().to_json() == {
        "spent": "2.75",
        "uncertain": "2.75",
        "unknown": "2.75",
        "jobs": {"spent": 0, "running": 1, "refunded": 0, "uncertain": 1, "unknown": 1},
        "by_task": {"canceled": "0", "gone": "0", "running": "2.75"},
        "unknown_job_ids": [gone],
    }
    assert running != gone


def test_what_a_task_noted_counts_where_scenario_tells_of_the_job_but_not_its_cost(
    scenario: SandboxServer, xcoms: XComs
) -> None:
    run = Run(xcoms)
    job_id = generating().execute(run.task().context)["job_id"]
    body = {"job": {"jobId": job_id, "status": "success"}}
    scenario.add_fault({"type": "status", "code": 200, "body": body}, path=f"/jobs/{job_id}")
    assert run.spending().spent == Decimal("2.75")


def test_a_run_that_bought_nothing_spent_nothing(scenario: SandboxServer, xcoms: XComs) -> None:
    assert str(Run(xcoms).spending()) == "0 jobs cost 0 creative units"
    assert scenario.requests()["counts"] == {}


def test_a_report_needs_scenario(scenario: SandboxServer, xcoms: XComs) -> None:
    run = Run(xcoms)
    generating(wait_for_completion=False).execute(run.task().context)
    scenario.add_fault("status", path="/jobs/", times=None)
    with pytest.raises(exceptions.ScenarioServerError):
        run.spending()


# --- Two hundred runs with failures, refunds and retries

TARIFFS = (
    {},
    {"price_factor": 0.37},
    {"discount_share": 0.15, "quality_gate_units": 0.1},
    {"price_factor": 1.01, "discount_share": 0.333, "quality_gate_units": 0.07},
)
RUNS_A_TARIFF = figure(15, 50)
ENDINGS = ("A boat", "A boat", "[fail]", "[fail no refund]")


@dataclass
class Story:
    """What one seeded run does and sees."""

    seed: int
    run: Run
    tries: list[TaskRun] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    def play(self) -> None:
        """Run one or two tasks, each until it succeeds or has no retry left, and rejoin a job now and then."""
        chance = random.Random(f"spent {self.seed}")
        for index in range(chance.choice((1, 1, 2))):
            task = self.run.task(map_index=index)
            self.tries.append(task)
            for number in range(3):
                context = task.retry() if number else task.context
                arguments = {"frame_num": chance.choice((17, 33, 49)), "max_cost": chance.choice((None, None, 4, 100))}
                operator = generating(chance.choice(ENDINGS), **arguments)
                if chance.random() < 0.2:
                    operator.wait_for_completion = False  # The worker dies right after the purchase.
                try:
                    task.xcoms.update(operator.execute(context))  # As Airflow does with multiple outputs.
                except exceptions.ScenarioError as error:
                    self.said.append(str(error))
                    if isinstance(error, exceptions.ScenarioCostLimitError):
                        break
                else:
                    if operator.wait_for_completion:
                        break


def as_logged(text: str) -> str:
    """Airflow's log cuts a word after ``eyJ``, as a JSON Web Token begins: one job id of ten thousand."""
    return re.sub(r"eyJ[\w.-]*", "eyJ***", text)


def test_log_xcoms_and_ledger_agree_in_many_runs(scenario: SandboxServer, xcoms: XComs, log: Log) -> None:
    stories = []
    for number, tariff in enumerate(TARIFFS):
        scenario.configure(**{"price_factor": 1, "discount_share": 0, "quality_gate_units": 0, **tariff})
        seeds = range(number * RUNS_A_TARIFF, (number + 1) * RUNS_A_TARIFF)
        batch = [Story(seed, Run(xcoms, f"run_{seed}")) for seed in seeds]
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(Story.play, batch))
        stories += batch
    ledger = scenario.ledger()
    entries = {entry["jobId"]: entry for entry in ledger["entries"]}
    reports = [story.run.spending() for story in stories]

    for report in reports:
        assert report.spent == sum((net(entries[charge.job_id]) for charge in report.charges), Decimal(0))
    assert sum(len(report.charges) for report in reports) == ledger["totals"]["jobs"] == len(entries)
    totals = {name: Decimal(str(ledger["totals"][name])) for name in ("charged", "refunded")}
    assert sum(report.spent for report in reports) == totals["charged"] - totals["refunded"]

    logged, said = log.text, "\n".join(one for story in stories for one in story.said)
    for job_id, entry in entries.items():
        charged = format_units(Decimal(str(entry["charged"])))
        assert as_logged(f"Scenario accepted job {job_id} for {charged} creative unit") in logged
        if entry["refunded"]:
            assert f"{job_id} (" not in said or f"Scenario refunds its {charged} creative unit" in said
    shown = 0
    for story in stories:
        for task in story.tries:
            if task.xcoms.get("asset_id") or "cost" in task.xcoms:
                assert task.xcoms["cost"] == format_units(net(entries[task.xcoms["job_id"]]))
                shown += 1
    endings = {entry["status"] for entry in entries.values()}
    assert endings >= {"success", "failure"}
    assert shown > 0.75 * len(stories)
    assert totals["refunded"] > 0
    assert any("Scenario keeps its" in one for story in stories for one in story.said)
    assert any("Above max_cost=4" in one for story in stories for one in story.said)

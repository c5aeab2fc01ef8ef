"""What the pages show, from Airflow's facts and Scenario's."""

from __future__ import annotations

import ast
import dataclasses
import datetime
import json
from decimal import Decimal
from typing import Any

import pytest

from airflow_provider_scenario.api.job import Job, JobStatus
from airflow_provider_scenario.api.model import Model, UsualTimes
from airflow_provider_scenario.links import ERROR_KEY, PAGE_KEY
from airflow_provider_scenario.polling.result import job_error
from airflow_provider_scenario.submission.charges import (
    PURCHASES_KEY,
    ChargeStatus,
    JobCost,
    PurchaseSummary,
    with_charge,
)
from airflow_provider_scenario.ui.fleet import fleet_page, place_in_line
from airflow_provider_scenario.ui.pages import (
    Instance,
    Source,
    budget_of,
    buyer_of,
    events_page,
    files_of,
    is_output,
    job_facts,
    named_assets,
    run_page,
    seconds_left,
    siblings_of,
    source_of,
    task_page,
)

NOW = datetime.datetime(2026, 11, 20, 12, 1, tzinfo=datetime.UTC)
BOUGHT = PurchaseSummary("generate", "scenario_default", None, ("job_1", "job_2"), {"job_2": "5.25"}, "6").to_json()


def instance(state: str = "success", task_id: str = "generate", map_index: int = -1, **xcoms: Any) -> Instance:
    return Instance("nightly", "run_1", task_id, map_index, state, xcoms=xcoms)


def job(status: str, **facts: Any) -> Job:
    return Job("job_2", JobStatus(status), **{"cost": Decimal("5.25"), **facts})


SOURCE = Source("scenario_default", None, ("job_1", "job_2"), {"job_2": "5.25"}, "6")


def test_a_job_is_copied_as_python_that_asks_for_the_same() -> None:
    inputs = {"prompt": 'A "fox"', "enhance": True, "frameNum": 33.0, "negative": None, "seed": 7, "modelId": "model_1"}
    python = job_facts("job_2", job("success", model_id="model_1", inputs=inputs), SOURCE)["python"]
    copied = {keyword.arg: ast.literal_eval(keyword.value) for keyword in ast.parse(python).body[0].value.keywords}
    assert copied["model_id"] == "model_1"
    assert copied["inputs"] == {"prompt": 'A "fox"', "enhance": True, "frameNum": 33, "negative": None}


@pytest.mark.parametrize(
    "inputs",
    [
        {"prompt": "a" * 1000},
        {"prompt": "asset_a1"},
        {"image": "https://cdn.x/a.png?Signature=s"},
        {"image": "data:,a"},
    ],
    ids=["cut", "a text asset", "a signed URL", "a file"],
)
def test_what_the_page_does_not_show_whole_is_not_copied(inputs: dict[str, Any]) -> None:
    assert job_facts("job_2", job("success", model_id="model_1", inputs=inputs), SOURCE)["python"] is None


@pytest.mark.parametrize("stored", [BOUGHT, json.dumps(BOUGHT)], ids=["pushed by a task", "by the REST API"])
def test_a_tasks_purchases_are_read(stored: Any) -> None:
    assert source_of(instance(**{PURCHASES_KEY: stored})) == SOURCE


@pytest.mark.parametrize(
    "said",
    [
        None,
        "s3://a-backend/of/xcoms.json",
        [],
        {"scenario_conn_id": "", "job_ids": []},
        {"scenario_conn_id": 5, "job_ids": []},
        {"scenario_conn_id": "x", "job_ids": "job_1"},
    ],
)
def test_what_is_no_purchase_is_none(said: Any) -> None:
    assert source_of(instance(**{PURCHASES_KEY: said})) is None


def test_ids_that_are_none_are_left_out() -> None:
    odd = ["../models", "job_1?x=1", "https://elsewhere.test/", "", 5, None, "x" * 101, "job_2"]
    said = {"scenario_conn_id": "a", "project_id": "../x", "job_ids": odd, "charged": {"job_2": "much"}}
    found = source_of(instance(**{PAGE_KEY: said}))
    assert found == Source("a", None, ("job_2",), has_bought=False)


def test_only_an_output_of_the_tasks_own_jobs_is_its_file() -> None:
    jobs = {
        "job_2": job("success", asset_ids=("asset_1",)),
        "job_9": job("success", asset_ids=("asset_9",)),
        "job_1": None,
    }
    assert is_output("asset_1", SOURCE, jobs)
    assert not is_output("asset_9", SOURCE, jobs)
    assert not is_output("asset_0", SOURCE, jobs)


@pytest.mark.parametrize(
    ("one", "state", "title", "words"),
    [
        (job("queued"), "queued", "In Scenario's queue", "5.25 creative units are charged."),
        (job("in-progress", progress=0.4), "running", "40%", "No worker is held"),
        (job("failure", error="Out of memory"), "failed", "Failed at Scenario", "Out of memory."),
        (job("failure"), "failed", "Failed at Scenario", "Scenario refunds its 5.25 creative units."),
        (
            job("failure", refund_disabled=True),
            "failed",
            "Failed at Scenario",
            "Scenario keeps its 5.25 creative units",
        ),
        (job("failure", error="Blocked by content moderation"), "failed", "Blocked by moderation", "there is no retry"),
        (job("canceled"), "failed", "Canceled at Scenario", "does not say whether it refunds"),
        (None, "unknown", "Scenario does not show this job", "5.25 creative units may have been charged."),
    ],
)
def test_a_job_tells_its_state_its_money_and_what_to_do(one: Job | None, state: str, title: str, words: str) -> None:
    facts = job_facts("job_2", one, SOURCE)
    assert (facts["state"], facts["title"]) == (state, title)
    assert words in " ".join(facts["words"])


def test_a_failure_is_told_sentence_by_sentence() -> None:
    error = "The request was blocked by content moderation.\nRule 3.5 was hit"
    hint = "The prompt was flagged as sensitive. Change the prompt and try again."
    words = job_facts("job_2", job("failure", error=error, hint=hint), SOURCE)["words"]
    assert words[:4] == [
        "The request was blocked by content moderation.",
        "Rule 3.5 was hit.",
        "The prompt was flagged as sensitive.",
        "Change the prompt and try again.",
    ]
    assert job_facts("job_2", job("failure", error=" . ", hint="\n"), SOURCE)["words"][0] == "Scenario gave no reason."


@pytest.mark.parametrize("cost", [None, Decimal(0), Decimal(5), Decimal("5.25")])
@pytest.mark.parametrize("status", ["failure", "canceled"])
def test_the_page_tells_what_the_error_tells_with_the_cost_that_was_noted(status: str, cost: Decimal | None) -> None:
    one = job(status, cost=cost, error="Out of memory")
    words = job_facts("job_2", one, SOURCE)["words"]
    assert "5.25 creative units" in words[-2]
    assert " ".join(words) in str(job_error(with_charge(one, "5.25")))


def test_who_only_looks_at_a_job_names_the_task_that_bought_it() -> None:
    looks = Source("scenario_default", None, ("job_2",), has_bought=False)
    other = {PURCHASES_KEY: PurchaseSummary("other", "scenario_default", None, ("job_9",)).to_json()}
    seen = {PAGE_KEY: {"scenario_conn_id": "scenario_default", "project_id": None, "job_ids": ["job_2"]}}
    bought = instance(map_index=1, **{PURCHASES_KEY: BOUGHT})
    others = [instance(task_id="other", **other), instance(task_id="wait", **seen), bought]
    assert buyer_of(looks, others) == {"task_id": "generate", "map_index": 1, "name": None}
    assert buyer_of(looks, others[:2]) is None


def test_siblings_name_their_file_and_prompt() -> None:
    def saved(index: int, prompt: Any) -> Instance:
        jobs = [{"job_id": "job_1", "inputs": {"prompt": prompt}}]
        manifest = {"files": [{"uri": f"file:///{index}.mp4", "asset_id": "asset_1"}], "jobs": jobs}
        return instance(task_id="save", map_index=index, manifest=manifest)

    odd = [instance(task_id="save", map_index=7), instance(task_id="save", map_index=8, manifest="s3://elsewhere")]
    told = siblings_of(saved(1, "A fox"), [saved(2, "A kite"), saved(1, "A fox"), saved(0, ["no text"]), *odd])
    assert [(one["map_index"], one["prompt"], one["file"]) for one in told] == [
        (0, None, "file:///0.mp4"),
        (2, "A kite", "file:///2.mp4"),
    ]


@pytest.mark.parametrize(
    ("extra", "named"),
    [
        ({"asset_id": "asset_1"}, {"asset_1"}),
        ({"asset_ids": ["asset_1", "asset_2", 5, "../x"]}, {"asset_1", "asset_2"}),
        ({"asset_id": {"a": 1}, "asset_ids": "asset_1"}, set()),
        (None, set()),
    ],
)
def test_an_event_names_files_by_ids_alone(extra: Any, named: set[str]) -> None:
    assert named_assets(extra) == named


def test_an_airflow_asset_shows_only_what_its_events_tasks_made() -> None:
    """An event may name one of a job's files; one that the job did not make is not shown, though it is named."""
    facts = job_facts("job_2", job("success", asset_ids=("asset_1", "asset_2")), SOURCE)
    rows = [
        (instance(), "2026-11-20T12:00:00", facts, {"asset_2"}),
        (instance(task_id="again"), "2026-11-19T12:00:00", facts, {"asset_2"}),
        (instance(task_id="forged"), "2026-11-18T12:00:00", facts, {"asset_9"}),
    ]
    shown = events_page(rows)["jobs"]
    assert [(one["task_id"], [each["id"] for each in one["assets"]]) for one in shown] == [
        ("generate", ["asset_2"]),
        ("forged", ["asset_1"]),
    ]


def test_no_signed_address_of_an_input_or_an_error_is_shown() -> None:
    signed = "https://cdn.test/a.mp4?Policy=abc&Signature=def"
    one = job(
        "success", inputs={"prompt": signed, "video": signed, "images": [signed], "data": "data:image/png;base64,AA"}
    )
    facts = job_facts("job_2", one, SOURCE)
    page = task_page(
        instance(**{ERROR_KEY: {"message": signed}, "manifest": {"files": [{"uri": signed}]}}), SOURCE, [facts], None
    )
    text = json.dumps(page)
    assert "cdn.test/a.mp4" in text
    assert "Signature" not in text
    assert "base64" not in text


@pytest.mark.parametrize(
    ("ran", "progress", "usual", "left"),
    [
        (20, 0.4, 51.0, 31.0),
        (20, 0.0, 51.0, 31.0),
        (60, 0.8, 51.0, 15.0),
        (60, 0.05, 51.0, None),
        (30, 0.5, None, 30.0),
    ],
)
def test_the_time_left_is_by_what_is_usual_or_by_the_jobs_own_pace(
    ran: float, progress: float, usual: float | None, left: float | None
) -> None:
    model = Model("m", "M", usual=UsualTimes(running=usual))
    one = job("in-progress", progress=progress, started_at=NOW - datetime.timedelta(seconds=ran))
    found = seconds_left(one, model, NOW)
    assert found == (None if left is None else pytest.approx(left))


def test_a_run_sums_as_get_run_cost_does() -> None:
    """A sensor's job is shown, but counts only if the run bought it; one that two tasks name counts once."""
    looks = Source("scenario_default", None, ("job_7",), has_bought=False)
    rows = [
        (instance(), SOURCE, "job_1", {"id": "job_1"}, JobCost("generate", "job_1", ChargeStatus.REFUNDED, Decimal(5))),
        (
            instance(),
            SOURCE,
            "job_2",
            {"id": "job_2"},
            JobCost("generate", "job_2", ChargeStatus.SPENT, Decimal("5.25")),
        ),
        (
            instance(task_id="again"),
            SOURCE,
            "job_2",
            {"id": "job_2"},
            JobCost("again", "job_2", ChargeStatus.SPENT, Decimal("5.25")),
        ),
        (
            instance(task_id="wait"),
            looks,
            "job_7",
            {"id": "job_7"},
            JobCost("wait", "job_7", ChargeStatus.SPENT, Decimal(90)),
        ),
    ]
    page = run_page(rows, "60", "15")
    assert page["cost"]["spent"] == "5.25"
    assert page["amounts"]["refunded"] == "5"
    assert [one["id"] for one in page["jobs"]] == ["job_1", "job_2", "job_7"]
    assert [one["is_last"] for one in page["jobs"]] == [False, True, True]


def test_a_job_that_only_looks_like_a_tasks_is_the_ones_that_took_it() -> None:
    summary = PurchaseSummary("left", "scenario_default", None, ("job_1",), unproven_jobs=("job_1",))
    left = instance(task_id="left", scenario_purchases=summary.to_json())
    took = instance(task_id="took", scenario_purchases={**summary.to_json(), "unproven_jobs": []})
    sources = [source_of(one) for one in (took, left)]
    assert [source and source.unproven_jobs for source in sources] == [(), ("job_1",)]
    looks = Source("scenario_default", None, ("job_1",), has_bought=False)
    assert buyer_of(looks, [left, took]) == {"task_id": "took", "map_index": -1, "name": None}
    rows = [
        (one, source, "job_1", {}, JobCost.of(one.task_id, "job_1", None, is_proven=not source.unproven_jobs))
        for one, source in zip((took, left), sources, strict=True)
        if source is not None
    ]
    assert [job["task_id"] for job in run_page(rows, None, None)["jobs"]] == ["took"]


def test_the_budget_is_what_the_estimates_allowed() -> None:
    estimates = [
        instance(**{PAGE_KEY: {"max_total_cost": "60"}, "total": "15.75"}),
        instance(**{PAGE_KEY: {"max_total_cost": "10.5"}, "total": "3"}),
        instance(total="99"),  # a foreign task's
    ]
    assert budget_of(estimates) == ("70.5", "18.75")
    assert budget_of([instance(total="99")]) == (None, None)


def test_a_manifest_gives_words_and_nothing_else() -> None:
    row = {"uri": "file:///a.mp4", "asset_id": "asset_1", "bytes": 5, "sha256": "aa", "x": "y", "width": None}
    assert files_of({"files": [row, "odd"]}) == [
        {"uri": "file:///a.mp4", "asset_id": "asset_1", "bytes": "5", "sha256": "aa"}
    ]
    assert files_of({"files": "odd"}) == files_of("odd") == files_of(None) == []


def waiting(
    since: float, task_id: str, dag_id: str = "nightly", conn_id: str = "scenario_default"
) -> tuple[Instance, Source]:
    return Instance(dag_id, "run_1", task_id, -1, "deferred"), Source(conn_id, None, waits={"since": since})


def test_the_line_is_of_the_same_connection_and_in_the_order_of_arrival() -> None:
    line = [waiting(3, "c"), waiting(1, "a"), waiting(2, "b"), waiting(0, "x", conn_id="another")]
    assert place_in_line(*line[0], line) == {"place": 3, "of": 3}
    assert place_in_line(*line[1], line) == {"place": 1, "of": 3}


def test_the_fleet_counts_all_and_shows_what_the_user_may_read() -> None:
    running = Instance("nightly", "run_1", "generate", -1, "deferred"), Source("scenario_default", None, ("job_2",))
    jobs = [job("in-progress", progress=0.4), Job("job_other", JobStatus.QUEUED)]
    page = fleet_page([running, waiting(1, "a", dag_id="secret")], jobs, {"nightly"}, 10.0)
    assert (page["running"], page["running_ours"], page["waiting_for_slot"], page["hidden"]) == (2, 1, 1, 1)
    assert [row["task_id"] for row in page["rows"]] == ["generate"]
    assert "secret" not in json.dumps(page)


def test_a_task_that_looks_for_a_lost_job_is_told_apart_from_one_that_bought_nothing() -> None:
    said = {"task": "generate", "scenario_conn_id": "scenario_default", "project_id": None, "job_ids": ["job_1"]}
    instance = Instance(
        "nightly", "run_1", "generate", -1, "deferred", xcoms={"scenario_purchases": {**said, "is_searching": True}}
    )
    source = source_of(instance)
    assert source is not None
    assert task_page(instance, source, [], None)["is_searching"] is True
    ended = dataclasses.replace(instance, state="failed")
    assert task_page(ended, source, [], None)["is_searching"] is False
    (row,) = fleet_page([(instance, source)], [], {"nightly"}, 10.0)["rows"]
    assert row["state"] == "searching"

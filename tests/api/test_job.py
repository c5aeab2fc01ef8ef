"""What is read of a job, whatever stands beside its id."""

from __future__ import annotations

import dataclasses
import datetime
import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from airflow_provider_scenario.api.job import Job, JobPage, JobStatus, Submission, time_of
from airflow_provider_scenario.api.response import MODERATION_WORDS
from airflow_provider_scenario.api.values import whole_number

FINISHED = {JobStatus.SUCCESS, JobStatus.FAILURE, JobStatus.CANCELED}

FULL = {
    "jobId": "job_1",
    "jobType": "custom",
    "status": "success",
    "progress": 1,
    "createdAt": "2026-11-20T12:00:00.123Z",
    "updatedAt": "2026-11-20T12:04:06Z",
    "statusHistory": [{"status": "queued", "date": "2026-11-20T12:00:00.123Z"}],
    "metadata": {
        "assetIds": ["asset_b", "asset_a"],
        "input": {"modelId": "model_1", "seed": 42.0, "prompt": "asset_prompt", "numFrames": 81.0},
        "error": None,
    },
    "billing": {"cuCost": 10.75, "cuDiscount": 1.5, "cuCostDetails": {"quality-gate": 0.5}, "disableRefund": True},
}

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(), children, max_size=3),
    max_leaves=6,
)


def test_a_whole_job_is_read() -> None:
    assert Job.read(FULL) == Job(
        id="job_1",
        status=JobStatus.SUCCESS,
        progress=1.0,
        model_id="model_1",
        asset_ids=("asset_b", "asset_a"),
        seed=42,
        cost=Decimal("11.25"),
        refund_disabled=True,
        created_at=datetime.datetime(2026, 11, 20, 12, 0, 0, 123000, datetime.UTC),
        updated_at=datetime.datetime(2026, 11, 20, 12, 4, 6, tzinfo=datetime.UTC),
        inputs={"modelId": "model_1", "seed": 42.0, "prompt": "asset_prompt", "numFrames": 81.0},
    )


def test_an_id_alone_is_enough() -> None:
    assert Job.read({"jobId": "job_1"}) == Job("job_1", JobStatus("unknown"))


@pytest.mark.parametrize("document", [{}, {"jobId": None}, {"jobId": ""}, {"jobId": 7}, {"status": "success"}])
def test_without_an_id_it_is_no_job(document: dict[str, Any]) -> None:
    with pytest.raises(KeyError, match="jobId"):
        Job.read(document)


@given(
    st.dictionaries(st.sampled_from(sorted(set(FULL) - {"jobId"})), json_values),
    st.dictionaries(st.sampled_from(["assetIds", "input", "error", "hint"]), json_values),
    st.dictionaries(st.sampled_from(["cuCost", "cuDiscount", "cuCostDetails", "disableRefund"]), json_values),
    st.dictionaries(st.sampled_from(["modelId", "seed", "prompt"]), json_values),
    st.booleans(),
)
def test_a_paid_job_is_not_lost_to_an_odd_field_beside_its_id(
    fields: dict[str, Any], metadata: dict[str, Any], billing: dict[str, Any], inputs: dict[str, Any], nested: bool
) -> None:
    if nested:
        fields = {**fields, "metadata": {**metadata, "input": inputs}, "billing": billing}
    job = Job.read({**fields, "jobId": "job_1"})
    assert job.id == "job_1"
    assert 0 <= job.progress <= 1
    assert all(isinstance(asset_id, str) for asset_id in job.asset_ids)
    assert Job.from_dict(json.loads(json.dumps(job.to_dict()))).id == "job_1"


@pytest.mark.parametrize(
    ("asset_ids", "known", "lacks"),
    [
        (["asset_1", "asset_2"], ("asset_1", "asset_2"), False),
        (["asset_1", None], ("asset_1",), True),
        ([None], (), True),
        ([""], (), True),
        ([{"id": "asset_1"}], (), True),
        ({"0": "asset_1"}, (), True),
        ([], (), True),
    ],
)
def test_an_output_without_its_id_is_one_that_is_not_shown_yet(
    asset_ids: Any, known: tuple[str, ...], lacks: bool
) -> None:
    job = Job.read({"jobId": "job_1", "status": "success", "metadata": {"assetIds": asset_ids}})
    for one in (job, Job.from_dict(json.loads(json.dumps(job.to_dict())))):
        assert (one.asset_ids, one.lacks_outputs) == (known, lacks)


@pytest.mark.parametrize("status", list(JobStatus))
def test_every_known_status(status: JobStatus) -> None:
    read = Job.read({"jobId": "job_1", "status": status.value})
    assert read.status is status
    assert read.status.is_known
    assert read.is_finished is (status in FINISHED)


@example("SUCCESS")
@given(st.text().filter(lambda text: text and text not in {status.value for status in JobStatus}))
def test_a_status_that_is_added_later_passes_through_and_is_waited_for(text: str) -> None:
    status = Job.read({"jobId": "job_1", "status": text}).status
    assert status.value == text
    assert status == JobStatus(text)
    assert not status.is_known
    assert not status.is_finished


@pytest.mark.parametrize(
    ("progress", "expected"),
    [
        (0, 0.0),
        (0.5, 0.5),
        (1, 1.0),
        (1.2, 1.0),
        (-1, 0.0),
        (None, 0.0),
        ("0.5", 0.0),
        (float("nan"), 0.0),
        (True, 0.0),
    ],
)
def test_progress_is_a_share(progress: object, expected: float) -> None:
    assert Job.read({"jobId": "job_1", "progress": progress}).progress == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (7, 7),
        (7.0, 7),
        ("7", 7),
        ("7.0", 7),
        (0, 0),
        (-1, -1),
        (2**53 + 1, 2**53 + 1),
        (str(2**53 + 1), 2**53 + 1),
        (10**400, 10**400),
        (7.5, None),
        ("7.5", None),
        ("random", None),
        ("", None),
        (True, None),
        (None, None),
        ([7], None),
        (float("nan"), None),
        (float("inf"), None),
        ("inf", None),
        ("1e999", None),
        ("9" * 5000, None),
    ],
)
def test_seeds_come_back_in_many_forms(value: object, expected: int | None) -> None:
    assert whole_number(value) == expected
    assert Job.read({"jobId": "job_1", "metadata": {"input": {"seed": value}}}).seed == expected


@pytest.mark.parametrize(
    ("billing", "cost"),
    [
        ({"cuCost": 7.25}, Decimal("7.25")),
        ({"cuCost": 10.75, "cuDiscount": 0}, Decimal("10.75")),
        # What is charged is after discount already, as in the reply to the submission.
        ({"cuCost": 10.75, "cuDiscount": 2}, Decimal("10.75")),
        ({"cuCost": 10, "cuCostDetails": {"quality-gate": 0.1, "ip-detection": 0.2}}, Decimal("10.3")),
        ({"cuCost": 0}, Decimal(0)),
        ({"cuCost": None}, None),
        ({"cuCost": "free"}, None),
        ({}, None),
        (None, None),
    ],
)
def test_cost(billing: object, cost: Decimal | None) -> None:
    assert Job.read({"jobId": "job_1", "billing": billing}).cost == cost


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-20T12:00:00.5Z", datetime.datetime(2026, 11, 20, 12, 0, 0, 500000, datetime.UTC)),
        ("2026-11-20T13:00:00+01:00", datetime.datetime(2026, 11, 20, 12, tzinfo=datetime.UTC)),
        ("2026-11-20T12:00:00", datetime.datetime(2026, 11, 20, 12, tzinfo=datetime.UTC)),
        ("0001-01-01T00:00:00+23:00", None),
        ("0001-01-01T00:00:00Z", None),
        ("1970-01-01T00:00:00.000Z", None),
        ("2026-11-20", None),
        ("yesterday", None),
        ("", None),
        (None, None),
        (1763640000, None),
    ],
)
def test_times_are_in_utc(text: object, expected: datetime.datetime | None) -> None:
    read = time_of(text)
    assert read == expected
    assert read is None or read.tzinfo is datetime.UTC


TOLD: dict[str, st.SearchStrategy[Any]] = {
    "id": st.text(min_size=1),
    "status": st.sampled_from([*JobStatus, JobStatus("later")]),
    "progress": st.floats(0, 1),
    "model_id": st.none() | st.text(min_size=1),
    "asset_ids": st.lists(st.text()).map(tuple),
    "has_gaps": st.booleans(),
    "has_output": st.booleans(),
    "seed": st.none() | st.integers(),
    "cost": st.none() | st.decimals(allow_nan=False, allow_infinity=False),
    "refund_disabled": st.booleans(),
    "error": st.none() | st.text(),
    "hint": st.none() | st.text(),
}
"""What a trigger tells a task of a job."""

NOT_TOLD = {"created_at", "started_at", "updated_at", "inputs"}


@given(st.builds(Job, **TOLD))
def test_facts_make_the_journey_through_a_trigger_event(job: Job) -> None:
    assert Job.from_dict(json.loads(json.dumps(job.to_dict()))) == job


def test_no_fact_is_forgotten_on_that_journey() -> None:
    """A field that is read but not told would be missing after every wait in a triggerer, and nowhere else."""
    assert {field.name for field in dataclasses.fields(Job)} == {*TOLD, *NOT_TOLD}


@pytest.mark.parametrize(
    ("status", "error", "hint", "moderated"),
    [
        ("failure", "Blocked by content Moderation", None, True),
        ("failure", None, "The prompt was FLAGGED, rephrase it", True),
        ("failure", "Flagged as unsafe", None, True),
        ("failure", "It was flagged by a moderator", None, True),
        ("failure", "The image was flagged", "Use another", True),
        ("failure", "motion must be one of low, moderate, high", None, False),
        ("failure", "flagged inputs: numFrames", None, False),
        ("failure", "worker died", "try again", False),
        ("failure", None, None, False),
        ("success", "moderation passed", None, False),
        *[("failure", f"… {word} …", None, True) for word in MODERATION_WORDS],
    ],
)
def test_moderation_is_told_by_its_words(status: str, error: str | None, hint: str | None, moderated: bool) -> None:
    job = Job.read({"jobId": "job_1", "status": status, "metadata": {"error": error, "hint": hint}})
    assert job.is_moderated is moderated


def test_no_signed_url_and_no_input_is_in_a_repr_or_the_facts() -> None:
    url = "https://cdn.cloud.scenario.com/a.mp4?Signature=SeCrEt"
    document = {"jobId": "job_1", "metadata": {"error": f"no {url}", "hint": f"try {url}", "input": {"prompt": url}}}
    job = Job.read(document)
    shown = f"{job!r} {job.to_dict()} {Submission(job, Decimal(1))!r} {JobPage((job,))!r}"
    assert "SeCrEt" not in shown
    assert "https://cdn.cloud.scenario.com/a.mp4" in shown


@pytest.mark.parametrize(
    ("history", "started"),
    [
        ([("pending", 0), ("queued", 1), ("warming-up", 5), ("in-progress", 9), ("finalizing", 20)], 9),
        ([("queued", 1), ("finalizing", 20)], 20),
        ([("queued", 1), ("brand-new", 7)], 7),
        ([("queued", 1), ("failure", 20)], None),
        ([("in-progress", 3), ("queued", 4), ("in-progress", 8)], 3),
        ([], None),
    ],
)
def test_a_job_has_begun_with_the_first_status_after_the_queue(
    history: list[tuple[str, int]], started: int | None
) -> None:
    rows = [{"status": status, "date": f"2026-11-21T12:00:{second:02}.000Z"} for status, second in history]
    job = Job.read(
        {
            "jobId": "job_1",
            "createdAt": "2026-11-21T12:00:00.000Z",
            "updatedAt": "2026-11-21T12:00:30.000Z",
            "statusHistory": rows,
        }
    )
    assert job.queued_seconds == started
    assert job.running_seconds == (None if started is None else 30 - started)


@pytest.mark.parametrize("history", [None, 7, "queued", [None, 7, {}], [{"status": "in-progress", "date": "soon"}]])
def test_an_odd_history_loses_no_job(history: object) -> None:
    job = Job.read({"jobId": "job_1", "statusHistory": history})
    assert (job.queued_seconds, job.running_seconds) == (None, None)

"""What is remembered survives as JSON, and what can't be read buys nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_scenario.exceptions import ScenarioSubmissionError
from airflow_provider_scenario.submission.record import (
    Baseline,
    Intent,
    NotAccepted,
    Record,
    Submitted,
    Wanted,
    all_jobs,
    changed_inputs,
    from_dict,
    to_dict,
)

FACTS: dict[str, Any] = {"generation": 2, "digests": {"prompt": "abc"}, "seed": 7, "max_tries": 3}
RECORDS: list[Record] = [
    NotAccepted(**FACTS),
    Intent(
        **FACTS, model_id="model_1", inputs={"prompt": "A boat"}, intended_at=1.5, token="t",
        baseline=Baseline(("job_1",), 1.0, None),
    ),
    Intent(**FACTS, model_id="model_1", inputs={}, intended_at=1.5, token="t"),
    Submitted(**FACTS, earlier_jobs=("job_0",), job_id="job_1", submitted_at=2.0, charged="7.25", returned=True),
]  # fmt: skip


@pytest.mark.parametrize("record", RECORDS)
def test_a_record_survives_as_json(record: Record) -> None:
    assert from_dict(json.loads(json.dumps(to_dict(record)))) == record


@pytest.mark.parametrize("record", RECORDS)
def test_what_a_later_version_added_is_passed_over(record: Record) -> None:
    assert from_dict({**to_dict(record), "added_later": 1}) == record


@pytest.mark.parametrize(
    "document",
    ["text", 7, [], {}, {"state": "unheard of"}, {"state": "submitted"}, {**to_dict(RECORDS[3]), "job_id": ""}]
    + [
        {**to_dict(RECORDS[3]), name: value}
        for name, value in (
            ("generation", "2"),
            ("max_tries", "3"),
            ("digests", None),
            ("digests", ["prompt"]),
            ("earlier_jobs", "job_0"),
            ("earlier_jobs", [7]),
            ("job_id", " "),
            ("job_id", 7),
            ("seed", "7"),
            ("submitted_at", "now"),
            ("seed_is_ours", None),
            ("is_proven", None),
            ("returned", "yes"),
            ("generation", True),
            ("max_tries", False),
        )
    ],
)
def test_a_record_that_cannot_be_read_buys_nothing(document: object) -> None:
    with pytest.raises(ScenarioSubmissionError, match="Nothing further was bought"):
        from_dict(document)


def test_an_intent_that_a_person_has_settled_can_be_read() -> None:
    """As the error of a submission in doubt says: another state and the job's id."""
    settled = from_dict({**to_dict(RECORDS[1]), "state": "submitted", "job_id": "job_9"})
    assert settled == Submitted(**FACTS, job_id="job_9", submitted_at=1.5)


def test_all_jobs_are_told_the_last_one_last() -> None:
    assert all_jobs(RECORDS[3]) == ("job_0", "job_1")
    assert all_jobs(RECORDS[0]) == ()


def test_what_was_not_given_is_no_change() -> None:
    record = NotAccepted(generation=1, digests=Wanted("model_1", {"prompt": "A boat"}).digests, max_tries=1)
    assert changed_inputs(record, Wanted("model_1", {"prompt": "A boat", "seed": None})) == []
    assert changed_inputs(record, Wanted("model_2", {"prompt": "A bird", "seed": 1})) == ["prompt", "seed", "the model"]


def test_a_template_that_came_out_empty_is_as_good_as_nothing() -> None:
    texts: list[Any] = [None, "", "None", "null"]
    for before in texts:
        digests = Wanted("model_1", {"prompt": "A boat", "negativePrompt": before}).digests
        record = NotAccepted(generation=1, digests=digests, max_tries=1)
        for now in texts:
            assert changed_inputs(record, Wanted("model_1", {"prompt": "A boat", "negativePrompt": now})) == []
        assert changed_inputs(record, Wanted("model_1", {"prompt": "A boat", "negativePrompt": "fog"})) != []


def test_a_charge_that_a_person_wrote_as_a_number_is_read() -> None:
    record = from_dict({**to_dict(RECORDS[3]), "charged": 7.25})
    assert isinstance(record, Submitted)
    assert record.charged == "7.25"


@pytest.mark.parametrize("charged", ["", "many", "NaN", [7], {"cu": 7}, None])
def test_a_charge_that_can_not_be_read_is_not_known(charged: Any) -> None:
    """Else it would keep back the result of a job that is paid for."""
    record = from_dict({**to_dict(RECORDS[3]), "charged": charged})
    assert isinstance(record, Submitted)
    assert record.charged is None

"""Which job a lost submission has become: echoes that are loose, clocks that differ, rows that lack something."""

from __future__ import annotations

import dataclasses
import datetime
import unicodedata
from typing import Any

import pytest

from airflow_provider_scenario.api.job import Job, JobPage, JobStatus
from airflow_provider_scenario.api.model import LARGEST_SEED
from airflow_provider_scenario.submission.echo import Match, compare_inputs
from airflow_provider_scenario.submission.record import (
    Baseline,
    Intent,
    NotAccepted,
    Wanted,
    changed_inputs,
    from_dict,
    to_dict,
)
from airflow_provider_scenario.submission.recovery import (
    by_inputs,
    find_duplicate,
    find_submission,
    list_start_of_submission,
    record_from_seeds,
)
from airflow_provider_scenario.submission.seed import TaskKey

NOON = datetime.datetime(2026, 11, 20, 12, tzinfo=datetime.UTC)
PROMPT = 'A "grey" café at dusk, rain on the window, slow pan to the left'


def job(job_id: str = "job_1", after: float | None = 3.0, **facts: Any) -> Job:
    created_at = None if after is None else NOON + datetime.timedelta(seconds=after)
    return Job(job_id, JobStatus.QUEUED, **{"model_id": "model_1", "created_at": created_at, **facts})


def intent(**facts: Any) -> Intent:
    baseline = Baseline(("job_old",), NOON.timestamp() - 60.0, NOON.timestamp())
    given: dict[str, Any] = {
        "generation": 1, "digests": {}, "max_tries": 2, "model_id": "model_1", "inputs": {"prompt": PROMPT},
        "intended_at": 0.0, "token": "t", "baseline": baseline,
    }  # fmt: skip
    return Intent(**{**given, **facts})


@pytest.mark.parametrize(
    ("sent", "echoed", "grade"),
    [
        (PROMPT, PROMPT, Match.SAME),
        (PROMPT, PROMPT.replace(" ", "  ") + "\n", Match.SAME),
        (PROMPT, "asset_of_a_long_text", Match.SAME),
        (unicodedata.normalize("NFD", PROMPT), unicodedata.normalize("NFC", PROMPT), Match.UNCLEAR),
        (PROMPT, PROMPT.replace('"', "“"), Match.UNCLEAR),
        (PROMPT, PROMPT.replace('"', "&quot;"), Match.UNCLEAR),
        (PROMPT, PROMPT.replace('"', '\\"'), Match.UNCLEAR),
        (PROMPT, PROMPT.replace("é", "\\u00e9"), Match.UNCLEAR),
        (PROMPT, PROMPT[:40] + "…", Match.UNCLEAR),
        (PROMPT, PROMPT.upper(), Match.UNCLEAR),
        (PROMPT, "Two dogs run on a beach at night", Match.DIFFERENT),
        ("asset_1", "asset_2", Match.DIFFERENT),
        (81, 81.0, Match.SAME),
        (81, "81", Match.SAME),
        (81, 100, Match.DIFFERENT),
        (0.123456, 0.12, Match.UNCLEAR),
        (0.1 + 0.2, 0.3, Match.SAME),
        (True, True, Match.SAME),
        (True, "true", Match.SAME),
        (True, False, Match.DIFFERENT),
        (["a", "b"], ["a", "b"], Match.SAME),
        (["asset_1"], ["asset_1", "asset_2"], Match.DIFFERENT),
        (2**60, float(2**60 + 1), Match.SAME),
        (2**53 + 1, float(2**53), Match.SAME),
        (True, 1, Match.SAME),
        (False, 0.0, Match.SAME),
        (True, "Yes", Match.SAME),
        (True, 0, Match.DIFFERENT),
        (True, "enabled", Match.UNCLEAR),
        (81, "81 frames", Match.UNCLEAR),
        (0.5, "50%", Match.UNCLEAR),
        (1000, 1008, Match.UNCLEAR),
        ("720p", 720, Match.UNCLEAR),
        ("a cat", "A cat, best quality", Match.UNCLEAR),
        ("asset_1", "https://cdn.example/asset_1.mp4", Match.UNCLEAR),
    ],
)
def test_an_echo_is_not_literal(sent: Any, echoed: Any, grade: Match) -> None:
    assert compare_inputs({"input": sent}, job(inputs={"input": echoed})) is grade


@pytest.mark.parametrize(
    ("sent", "echoed", "grade"),
    [
        (42, 42.0, Match.SAME),
        (42, 43, Match.DIFFERENT),
        (42, 0, Match.DIFFERENT),
        (-1, 12345, Match.UNCLEAR),
        (0, 12345, Match.UNCLEAR),
        (0, "0", Match.SAME),
        (42, "drawn", Match.UNCLEAR),
    ],
)
def test_a_seed_is_not_rounded_and_one_of_0_or_below_asks_for_any(sent: Any, echoed: Any, grade: Match) -> None:
    assert compare_inputs({"seed": sent}, job(inputs={"seed": echoed})) is grade


def test_a_row_without_inputs_proves_nothing() -> None:
    assert compare_inputs({"prompt": PROMPT}, job(inputs={})) is Match.UNCLEAR


def test_a_seed_of_ours_is_proof() -> None:
    ours = intent(seed=7, seed_is_ours=True, baseline=None)
    rows = [job("job_1", seed=8), job("job_2", after=-500.0, seed=7, inputs={"prompt": "asset_1"})]
    found = find_submission(ours, rows)
    assert [one.id for one in found.jobs] == ["job_2"]
    assert found.is_conclusive


def test_a_seed_of_ours_is_proof_whatever_the_model_is_called_now() -> None:
    ours = intent(seed=7, seed_is_ours=True, baseline=None)
    renamed = job("job_1", model_id="model_1_v2", seed=7, inputs={"prompt": PROMPT, "seed": 7})
    chance = job("job_2", model_id="model_2", seed=7, inputs={"prompt": "Two dogs run on a beach", "seed": 7})
    assert [one.id for one in find_submission(ours, [renamed, chance]).jobs] == ["job_1"]


def test_of_two_jobs_of_one_post_the_one_that_has_not_failed_counts() -> None:
    """A gateway that sends a POST again has bought twice; that is no reason to buy a third one."""
    failed, running = job("job_1", seed=7), job("job_2", after=4.0, seed=7)
    failed = dataclasses.replace(failed, status=JobStatus.FAILURE)
    found = find_submission(intent(seed=7, seed_is_ours=True, baseline=None), [failed, running])
    assert found.jobs[0] == running
    key = TaskKey("dag", "run", "task", "", 900.0, try_number=2, max_tries=2, was_cleared=False)
    seed = key.seed(1, LARGEST_SEED)
    rows = [dataclasses.replace(running, seed=seed), dataclasses.replace(failed, seed=seed, created_at=None)]
    for order in (rows, [dataclasses.replace(rows[0], created_at=NOON), dataclasses.replace(rows[1], created_at=NOON)]):
        recalled = record_from_seeds(key, Wanted("model_1", {}), order, now=0.0)
        assert recalled is not None
        assert recalled.job_id == "job_2"


def test_a_row_without_the_seed_is_a_doubt_unless_it_is_surely_another() -> None:
    ours = intent(seed=7, seed_is_ours=True, baseline=None)
    rows = [job("job_1", inputs={"prompt": "Two dogs run on a beach at night"}), job("job_2", inputs={})]
    assert [one.id for one in find_submission(ours, rows).candidates] == ["job_2"]


@pytest.mark.parametrize(
    ("row", "counts"),
    [
        (job(), True),
        (job(after=None), True),
        (job(after=-50.0), True),
        (job(after=200.0), True),
        (job(after=-61.0), True),
        (job(after=-121.0), False),
        (job(after=900.0), True),
        (job("job_old"), False),
        (job("job_claimed"), False),
        (job(model_id="model_2"), False),
        (job(model_id=None), True),
    ],
)
def test_without_a_seed_of_ours_scenarios_own_clock_and_the_baseline_tell(row: Job, counts: bool) -> None:
    found = find_submission(intent(), [row], claimed={"job_claimed"})
    assert bool(found.jobs or found.candidates) is counts


def test_a_job_of_a_server_whose_clock_is_behind_is_a_doubt_unless_a_later_one_is_it() -> None:
    earlier = job("job_1", after=-61.0, inputs={"prompt": PROMPT})
    later = job("job_2", inputs={"prompt": PROMPT})
    found = find_submission(intent(), [earlier], is_final=True)
    assert (found.jobs, found.candidates) == ((), (earlier,))
    found = find_submission(intent(), [earlier, later], is_final=True)
    assert (found.jobs, found.candidates) == ((later,), ())


@pytest.mark.parametrize("server_time", [NOON.timestamp(), None])
def test_a_listed_job_of_the_future_hides_no_lost_one(server_time: float | None) -> None:
    lost = intent(baseline=Baseline(("job_old",), NOON.timestamp() + 1e9, server_time), intended_at=NOON.timestamp())
    row = job(after=3600.0, inputs={"prompt": PROMPT})
    assert find_submission(lost, [row]).jobs == (row,)
    start = list_start_of_submission(lost)
    assert start is not None
    assert start < NOON + datetime.timedelta(minutes=30)


def test_a_loose_echo_is_a_doubt_and_no_reason_to_buy() -> None:
    row = job(inputs={"prompt": unicodedata.normalize("NFD", PROMPT)})
    found = find_submission(intent(), [row], is_final=True)
    assert not found.jobs
    assert found.candidates == (row,)


@pytest.mark.parametrize(
    ("other", "counts"),
    [
        (job("job_2", inputs={}), True),
        (job("job_2", model_id=None, inputs={"prompt": PROMPT}), True),
        (job("job_2", inputs={"prompt": PROMPT}), True),
        (job("job_2", inputs={"prompt": PROMPT.upper()}, seed=42), False),
        (job("job_2", inputs={"prompt": PROMPT, "seed": 43}, seed=43), False),
    ],
    ids=["no inputs", "no model", "no seed", "other words", "another seed"],
)
def test_next_to_a_job_with_the_same_inputs_a_row_that_tells_too_little_is_a_doubt(other: Job, counts: bool) -> None:
    same = job("job_1", inputs={"prompt": PROMPT, "seed": 42}, seed=42)
    assert by_inputs({"prompt": PROMPT, "seed": 42}, [same, other]) == ([same], [other] if counts else [])


def test_what_half_a_seed_tells_is_no_proof() -> None:
    key = TaskKey("dag", "run", "task", "", 900.0, try_number=4, max_tries=6, was_cleared=True)
    for before, is_proven in (({"max_tries": 2}, True), ({"max_tries": 2, "run_started_at": 100.0}, False)):
        seed = dataclasses.replace(key, **before).seed(1, LARGEST_SEED)
        found = record_from_seeds(
            key, Wanted("model_1", {"prompt": PROMPT}), [job(seed=seed, inputs={"prompt": PROMPT})], now=0.0
        )
        assert found is not None
        assert found.is_proven is is_proven


def test_a_baseline_is_what_the_newest_page_showed() -> None:
    page = JobPage((job("job_1", after=1.0), job("job_2", after=9.0), job("job_3", after=None)), server_time=NOON)
    made = Baseline.of(page)
    assert made == Baseline(("job_1", "job_2", "job_3"), NOON.timestamp() + 9.0, NOON.timestamp())
    assert Baseline.of(JobPage(())) == Baseline()


def test_a_failed_job_hides_no_running_one_that_is_less_sure() -> None:
    key = TaskKey("dag", "run", "task", "", 900.0, try_number=4, max_tries=6, was_cleared=True)
    failed = Job(
        "job_1", JobStatus.FAILURE, model_id="model_1", seed=dataclasses.replace(key, max_tries=2).seed(1, LARGEST_SEED)
    )
    before = dataclasses.replace(key, max_tries=2, run_started_at=100.0)
    running = job("job_2", seed=before.seed(2, LARGEST_SEED), inputs={"prompt": PROMPT})
    found = record_from_seeds(key, Wanted("model_1", {"prompt": PROMPT}), [failed, running], now=0.0)
    assert found is not None
    assert (found.job_id, found.earlier_jobs) == ("job_2", ("job_1",))


@pytest.mark.parametrize("other_prompt", [None, "Two dogs run on a beach at night"])
def test_after_a_clear_another_airflows_finished_job_hides_no_running_one(other_prompt: str | None) -> None:
    """Half a seed tells of both. The finished one is of a later generation, and would be a reason to buy.

    Ours may have run with other inputs, of before the DAG changed.
    """
    before = TaskKey("dag", "run", "generate", "", 1000.0, 1, 2, False)
    other = dataclasses.replace(before, run_started_at=5.0)
    cleared = dataclasses.replace(before, run_started_at=2000.0, try_number=2, max_tries=3, was_cleared=True)
    ours = job("job_ours", seed=before.seed(1, LARGEST_SEED), inputs={"prompt": other_prompt or PROMPT})
    theirs = job("job_theirs", seed=other.seed(2, LARGEST_SEED), inputs={"prompt": PROMPT})
    theirs = dataclasses.replace(theirs, status=JobStatus.SUCCESS)
    wanted = Wanted("model_1", {"prompt": PROMPT})
    found = record_from_seeds(
        cleared, wanted, [ours, theirs], now=0.0, regenerates=True, changed_too=other_prompt is not None
    )
    assert found is not None
    assert found.job_id == "job_ours"
    assert found.earlier_jobs == ("job_theirs",)
    assert changed_inputs(found, wanted) == ([] if other_prompt is None else ["prompt"])


def test_a_failed_job_of_another_airflow_hides_no_job_of_ours_that_ran_with_other_inputs() -> None:
    """The DAG changed, a clear threw the record away, and a change must not buy: ours is a reason to refuse."""
    before = TaskKey("dag", "run", "generate", "", 1000.0, 1, 2, False)
    other = dataclasses.replace(before, run_started_at=5.0)
    cleared = dataclasses.replace(before, run_started_at=2000.0, try_number=2, max_tries=3, was_cleared=True)
    ours = job("job_ours", seed=before.seed(1, LARGEST_SEED), inputs={"prompt": "two dogs run on a beach"})
    ours = dataclasses.replace(ours, status=JobStatus.SUCCESS)
    theirs = job("job_theirs", seed=other.seed(1, LARGEST_SEED), inputs={"prompt": PROMPT})
    theirs = dataclasses.replace(theirs, status=JobStatus.FAILURE)
    found = record_from_seeds(cleared, Wanted("model_1", {"prompt": PROMPT}), [ours, theirs], now=0.0, changed_too=True)
    assert found is not None
    assert found.job_id == "job_ours"


def refusal(**facts: Any) -> NotAccepted:
    return NotAccepted(generation=1, digests={}, max_tries=2, refused=intent(**facts), refused_within=20.0)


ALIKE = {"inputs": {"prompt": PROMPT}}


@pytest.mark.parametrize(
    ("rows", "found"),
    [
        ([job(**ALIKE)], "job_1"),
        ([job(after=-59.0, **ALIKE)], "job_1"),
        ([job(after=24.0, **ALIKE)], "job_1"),
        ([job(after=-61.0, **ALIKE)], None),
        ([job(after=26.0, **ALIKE)], None),
        ([job(after=None, **ALIKE)], None),
        ([job("job_old", **ALIKE)], None),
        ([job("job_claimed", **ALIKE)], None),
        ([job(**ALIKE), job("job_2", **ALIKE)], None),
        ([job(**ALIKE), job("job_claimed", **ALIKE)], "job_1"),
        ([job(inputs={"prompt": PROMPT.upper()})], None),
        ([job(inputs={})], None),
        ([job(model_id="model_2", **ALIKE)], None),
        ([dataclasses.replace(job(**ALIKE), status=JobStatus.FAILURE)], None),
    ],
)
def test_a_post_that_a_gateway_sent_twice_is_known_by_its_moment_and_inputs(rows: list[Job], found: str | None) -> None:
    found_job = find_duplicate(refusal(), rows, claimed=("job_claimed",))
    assert (found_job.id if found_job else None) == found


def test_where_nobody_told_the_time_no_post_counts_as_sent_twice() -> None:
    assert find_duplicate(refusal(baseline=None), [job(**ALIKE)], claimed=()) is None
    assert find_duplicate(refusal(baseline=Baseline()), [job(**ALIKE)], claimed=()) is None


def test_a_refusal_is_stored_with_what_was_refused() -> None:
    assert from_dict(to_dict(refusal())) == refusal()

"""What to do next, as a table: what is remembered, what Scenario says, and what follows."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from airflow_provider_scenario.api.job import Job, JobStatus
from airflow_provider_scenario.submission.decision import (
    Decision,
    OnChangedInputs,
    OnClear,
    OnLostSubmission,
    Order,
    Refuse,
    Rejoin,
    SubmissionPolicy,
    Submit,
    SubmittedJob,
    decide,
    later_of,
    submitted_from,
)
from airflow_provider_scenario.submission.record import Intent, NotAccepted, Record, Submitted, Wanted
from airflow_provider_scenario.submission.recovery import SearchResult

WANTED = Wanted("model_1", {"prompt": "A boat", "seed": None})
OTHER = Wanted("model_1", {"prompt": "A bird"})
FACTS: dict[str, Any] = {"generation": 2, "digests": WANTED.digests, "max_tries": 3, "earlier_jobs": ("job_0",)}
REFUSED = NotAccepted(**FACTS)
INTENT = Intent(**FACTS, model_id="model_1", inputs={"prompt": "A boat"}, intended_at=1.0, token="t")
BOUGHT = Submitted(**FACTS, job_id="job_1", submitted_at=1.0)
RETURNED = dataclasses.replace(BOUGHT, returned=True)


def job(status: str, job_id: str = "job_1", **facts: Any) -> Job:
    return Job(job_id, JobStatus(status), **facts)


RUNNING, DONE, FAILED, CANCELED = job("in-progress"), job("success"), job("failure"), job("canceled")
MODERATED = job("failure", error="Blocked by content moderation")
NOTHING = SearchResult(is_final=True)


def rejoined(job: Job) -> Rejoin:
    """Go on with the job that was found for :data:`INTENT`."""
    return Rejoin(submitted_from(INTENT, job), job)


def decided(
    record: Record | None,
    seen: Job | SearchResult | None = None,
    wanted: Wanted = WANTED,
    *,
    cleared: bool = False,
    same_try: bool = False,
    **policy: Any,
) -> Decision:
    max_tries = 6 if cleared else 3
    return decide(record, wanted, seen, max_tries=max_tries, policy=SubmissionPolicy(**policy), same_try=same_try)


@pytest.mark.parametrize("cleared", [False, True])
@pytest.mark.parametrize("wanted", [WANTED, OTHER])
def test_what_was_never_accepted_is_bought(wanted: Wanted, cleared: bool) -> None:
    assert decided(None, wanted=wanted, cleared=cleared) == Submit(1, "nothing was bought yet")
    assert decided(REFUSED, wanted=wanted, cleared=cleared) == Submit(2, "the last submission was not accepted")


@pytest.mark.parametrize("cleared", [False, True])
def test_a_running_job_is_rejoined_whatever_a_person_does(cleared: bool) -> None:
    for record in (BOUGHT, RETURNED):
        assert decided(record, RUNNING, cleared=cleared) == Rejoin(record, RUNNING)
    unknown = job("brand-new-status")
    assert decided(BOUGHT, unknown, cleared=cleared) == Rejoin(BOUGHT, unknown)


def test_a_finished_job_is_returned_until_a_clear_asks_for_another() -> None:
    assert decided(BOUGHT, DONE) == decided(BOUGHT, DONE, cleared=True) == Rejoin(BOUGHT, DONE)
    assert decided(RETURNED, DONE) == Rejoin(RETURNED, DONE)
    assert isinstance(decided(RETURNED, DONE, cleared=True), Submit)
    assert isinstance(decided(RETURNED, DONE, cleared=True, on_clear=OnClear.REGENERATE), Submit)
    assert decided(RETURNED, DONE, cleared=True, on_clear=OnClear.REUSE) == Rejoin(RETURNED, DONE)


@pytest.mark.parametrize("ended", [FAILED, CANCELED])
def test_a_job_that_ended_badly_is_bought_anew_by_the_next_try(ended: Job) -> None:
    assert decided(BOUGHT, ended) == Submit(3, f"job job_1 ended in {ended.status.value}")
    assert decided(BOUGHT, ended, wanted=OTHER, on_changed_inputs=OnChangedInputs.FAIL) == decided(BOUGHT, ended)
    assert decided(BOUGHT, ended, same_try=True) == Rejoin(BOUGHT, ended)


def test_moderation_would_stop_the_same_inputs_again() -> None:
    assert decided(BOUGHT, MODERATED) == Rejoin(BOUGHT, MODERATED)
    assert isinstance(decided(BOUGHT, MODERATED, cleared=True), Submit)
    assert isinstance(decided(BOUGHT, MODERATED, wanted=OTHER), Submit)


@pytest.mark.parametrize("seen", [RUNNING, DONE])
def test_changed_inputs_are_named(seen: Job) -> None:
    decision = decided(BOUGHT, seen, wanted=OTHER)
    assert isinstance(decision, Submit)
    assert decision.generation == 3
    assert "changed since generation 2 (job job_1): prompt;" in decision.reason
    refusal = decided(BOUGHT, seen, wanted=OTHER, on_changed_inputs=OnChangedInputs.FAIL)
    assert isinstance(refusal, Refuse)
    assert refusal.reason.startswith("Inputs changed since generation 2 (job job_1): prompt.\n")


@pytest.mark.parametrize("seen", [None, SearchResult(), SearchResult((RUNNING,))])
def test_nothing_is_decided_before_a_search_for_an_intent_has_come_to_its_end(seen: SearchResult | None) -> None:
    """Without a seed of ours the right job may be listed after one that only looks like it."""
    with pytest.raises(TypeError):
        decided(INTENT, seen)


def test_an_intent_goes_on_with_the_job_that_was_found() -> None:
    assert decided(INTENT, SearchResult((RUNNING,), is_proof=True)) == rejoined(RUNNING)
    assert decided(INTENT, SearchResult((RUNNING,), is_final=True)) == rejoined(RUNNING)


def test_a_found_job_is_judged_like_any_other() -> None:
    found = SearchResult((DONE,), is_proof=True)
    assert isinstance(decided(INTENT, found, wanted=OTHER), Submit)
    assert isinstance(decided(INTENT, SearchResult((FAILED,), is_proof=True)), Submit)
    assert decided(INTENT, SearchResult((FAILED,), is_proof=True), same_try=True) == rejoined(FAILED)


def test_what_is_not_found_is_bought_unless_the_author_forbids_it() -> None:
    assert isinstance(decided(INTENT, NOTHING), Submit)
    forbidden = {"on_lost_submission": OnLostSubmission.FAIL}
    assert isinstance(decided(INTENT, NOTHING, **forbidden), Refuse)
    assert isinstance(decided(INTENT, NOTHING, cleared=True, **forbidden), Submit)


@pytest.mark.parametrize(
    "found",
    [
        SearchResult((job("success", "job_7"), job("queued", "job_8")), is_final=True),
        SearchResult(candidates=(job("success", "job_7"), job("queued", "job_8")), is_final=True),
        SearchResult(candidates=(job("queued", "job_7"), job("queued", "job_8")), is_final=True, is_proof=True),
    ],
)
def test_nothing_is_bought_on_a_doubt(found: SearchResult) -> None:
    for wanted in (WANTED, OTHER):
        refusal = decided(INTENT, found, wanted=wanted, cleared=True)
        assert isinstance(refusal, Refuse)
        assert "job_7, job_8" in refusal.reason
        assert "Nothing further was bought." in refusal.reason


def test_a_failed_job_that_looks_alike_is_no_reason_to_buy_over_a_doubt() -> None:
    candidates = (job("queued", "job_7"),)
    for found in (
        SearchResult((FAILED,), candidates, is_final=True),
        SearchResult((FAILED,), is_final=True, unreadable=1),
    ):
        assert isinstance(decided(INTENT, found), Refuse)
    assert decided(INTENT, SearchResult((RUNNING,), is_final=True, unreadable=1)) == rejoined(RUNNING)
    assert isinstance(decided(INTENT, SearchResult((FAILED,), candidates, is_final=True, is_proof=True)), Submit)


def test_a_running_job_is_not_taken_while_another_may_be_the_one() -> None:
    assert isinstance(decided(INTENT, SearchResult((RUNNING,), (job("queued", "job_7"),), is_final=True)), Refuse)


@pytest.mark.parametrize("generation", [1, 4])
def test_of_two_orders_the_later_generation_counts(generation: int) -> None:
    first, second = Order(2, "it failed", None, ("job_0",)), Order(generation, "nothing", None, ("job_1",))
    assert later_of(first, second) == Order(max(2, generation), "it failed", None, ("job_0", "job_1"))


def test_a_job_that_a_second_look_finds_is_rejoined() -> None:
    found = SubmittedJob(RUNNING, BOUGHT, is_new=False)
    assert later_of(Order(2, "it failed", None), found) is found

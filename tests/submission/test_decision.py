"""What to do next, as a table of every case there is; and which jobs a lost submission may have become."""

from __future__ import annotations

import datetime
import itertools
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_scenario.api.job import Job, JobStatus
from airflow_provider_scenario.api.model import LARGEST_SEED
from airflow_provider_scenario.submission.decision import (
    VANISHING_SECONDS,
    Answer,
    Decision,
    Found,
    Gone,
    Land,
    OnClear,
    OnLostSubmission,
    OnStale,
    Record,
    Refuse,
    Request,
    Rules,
    Search,
    Submit,
    Wait,
    changed_inputs,
    decide,
)
from airflow_provider_scenario.submission.recovery import (
    ACCEPTANCE_SECONDS,
    SETTLE_SECONDS,
    SHORTEST_SEARCH,
    candidates,
    search_from,
    settled_at,
)

INTENDED_AT = 1_790_000_000.0
REQUEST = Request("model_1", {"prompt": "a cat", "numFrames": 81}, scope="https://api", largest_seed=LARGEST_SEED)
OTHER_REQUEST = Request("model_1", {"prompt": "a dog", "numFrames": 81}, scope="https://api", largest_seed=LARGEST_SEED)


def job(status: str, job_id: str = "job_1") -> Job:
    return Job(job_id, JobStatus(status), model_id="model_1")


def record_of(request: Request = REQUEST, **changes: Any) -> Record:
    values: dict[str, Any] = {
        "take": 3,
        "fingerprint": request.fingerprint,
        "input_digests": request.digests,
        "seed": 7,
        "seed_is_ours": True,
        "intended_at": INTENDED_AT,
        "job_id": None,
        "max_tries": 2,
    }
    return Record(**{**values, **changes})


# The table. Each column names a fact; "*" stands for every value of it, "a|b" for a or b. The first row that fits
# holds. Records are of take 3: "take 3" is the same purchase made again, "take 4" is a new one.

STATUSES = ("active", "new status", "success", "failure", "canceled")
ANSWERS: dict[str, Answer] = {
    "not asked": None,
    **{f"job {status}": job(status.replace("active", "in-progress")) for status in STATUSES},
    "unknown since 1 s": Gone(1.0),
    "unknown since 60 s": Gone(VANISHING_SECONDS),
    "found none": Found((), settled=True),
    "found none yet": Found((), settled=False),
    **{f"found {status}": Found((job(status.replace("active", "queued")),), settled=True) for status in STATUSES},
    **{f"found {status} yet": Found((job(status.replace("active", "queued")),), settled=False) for status in STATUSES},
    "found two": Found((job("success", "job_1"), job("queued", "job_2")), settled=True),
    "found two yet": Found((job("success", "job_1"), job("queued", "job_2")), settled=False),
}
COLUMNS: dict[str, tuple[str, ...]] = {
    "record": ("none", "not accepted", "intent", "job", "landed job"),
    "answer": tuple(ANSWERS),
    "seed": ("ours", "no proof"),
    "try": ("this", "later"),
    "person": ("retry", "clear"),
    "inputs": ("same", "changed"),
    "on_stale": ("resubmit", "fail"),
    "on_lost": ("resubmit", "fail"),
    "on_clear": ("regenerate", "reuse"),
}
TABLE = """
record          answer                    seed      try    person  inputs   on_stale  on_lost   on_clear    → decision

none            *                         *         *      *       *        *         *         *           → take 1
not accepted    *                         *         *      *       *        *         *         *           → take 3

job|landed job  job failure|job canceled  *         *      *       *        *         *         *           → take 4

*               *                         *         *      *       changed  resubmit  *         *           → take 4
*               *                         *         *      *       changed  fail      *         *           → refuse

intent          found none yet            *         *      *       *        *         *         *           → search
intent          found active yet          no proof  *      *       *        *         *         *           → search
intent          found new status yet      no proof  *      *       *        *         *         *           → search
intent          found success yet         no proof  *      *       *        *         *         *           → search
intent          found failure yet         no proof  *      *       *        *         *         *           → search
intent          found canceled yet        no proof  *      *       *        *         *         *           → search
intent          found two yet             no proof  *      *       *        *         *         *           → search
intent          found two|found two yet   *         *      *       *        *         *         *           → refuse
intent          found active              *         *      *       *        *         *         *           → wait
intent          found active yet          ours      *      *       *        *         *         *           → wait
intent          found new status          *         *      *       *        *         *         *           → wait
intent          found new status yet      ours      *      *       *        *         *         *           → wait
intent          found success             *         *      *       *        *         *         *           → land
intent          found success yet         ours      *      *       *        *         *         *           → land
intent          found failure             *         this   *       *        *         *         *           → wait
intent          found failure yet         ours      this   *       *        *         *         *           → wait
intent          found canceled            *         this   *       *        *         *         *           → wait
intent          found canceled yet        ours      this   *       *        *         *         *           → wait
intent          found failure             *         later  *       *        *         *         *           → take 4
intent          found failure yet         ours      later  *       *        *         *         *           → take 4
intent          found canceled            *         later  *       *        *         *         *           → take 4
intent          found canceled yet        ours      later  *       *        *         *         *           → take 4
intent          found none                *         *      *       *        *         resubmit  *           → take 3
intent          found none                *         *      clear   *        *         fail      *           → take 3
intent          found none                *         *      retry   *        *         fail      *           → refuse
intent          *                         *         *      *       *        *         *         *           → search

job|landed job  unknown since 1 s         *         *      *       *        *         *         *           → wait
job|landed job  unknown since 60 s        *         *      retry   *        *         *         *           → refuse
job|landed job  unknown since 60 s        *         *      clear   *        *         *         *           → take 4
landed job      job success               *         *      clear   *        *         *         regenerate  → take 4
job|landed job  job success               *         *      *       *        *         *         *           → land
job|landed job  *                         *         *      *       *        *         *         *           → wait
"""


def _rows() -> list[tuple[dict[str, str], str]]:
    header, *lines = [line for line in TABLE.splitlines() if line.strip()]
    starts = [header.index(name) for name in [*COLUMNS, "→"]]
    rows = []
    for line in lines:
        cells = [line[start:end].strip() for start, end in itertools.pairwise(starts)]
        rows.append((dict(zip(COLUMNS, cells, strict=True)), line.partition("→")[2].strip()))
    return rows


ROWS = _rows()


def _fits(row: dict[str, str], case: dict[str, str]) -> bool:
    return all(cell == "*" or case[name] in cell.split("|") for name, cell in row.items())


def _every_case() -> Iterator[dict[str, str]]:
    for values in itertools.product(*COLUMNS.values()):
        yield dict(zip(COLUMNS, values, strict=True))


def _decided(case: dict[str, str]) -> Decision:
    records = {
        "none": None,
        "not accepted": record_of(intended_at=None),
        "intent": record_of(),
        "job": record_of(job_id="job_1"),
        "landed job": record_of(job_id="job_1", landed=True),
    }
    record = records[case["record"]]
    if record is not None and case["seed"] == "no proof":
        record = Record.from_json({**record.to_json(), "seed": None, "seed_is_ours": False})
    return decide(
        record,
        REQUEST if case["inputs"] == "same" else OTHER_REQUEST,
        ANSWERS[case["answer"]],
        max_tries=2 if case["person"] == "retry" else 5,
        rules=Rules(OnLostSubmission(case["on_lost"]), OnStale(case["on_stale"]), OnClear(case["on_clear"])),
        same_try=case["try"] == "this",
    )


def _in_words(decision: Decision) -> str:
    match decision:
        case Submit(take, why):
            assert why
            return f"take {take}"
        case Wait(job_id):
            assert job_id == "job_1"
            return "wait"
        case Land(landed):
            assert landed.id == "job_1"
            return "land"
        case Search():
            return "search"
        case Refuse(reason):
            assert reason.endswith(".")
            return "refuse"
    raise AssertionError(f"no decision: {decision!r}")


def test_every_case_is_decided_as_the_table_says() -> None:
    wrong = []
    used = set()
    for case in _every_case():
        number = next(number for number, (row, _) in enumerate(ROWS) if _fits(row, case))
        used.add(number)
        decision = _in_words(_decided(case))
        if decision != ROWS[number][1]:
            wrong.append(f"{case}: {decision}, not {ROWS[number][1]}")
    assert not wrong, f"{len(wrong)} cases, such as {wrong[0]}"
    assert used == set(range(len(ROWS))), "a row that no case reaches says nothing"


@pytest.mark.parametrize(
    ("person", "record", "answer", "expected"),
    [
        ("retry", None, None, "take 1"),
        ("retry", record_of(job_id="job_1"), job("in-progress"), "wait"),
        ("clear", record_of(job_id="job_1"), job("in-progress"), "wait"),
        ("retry", record_of(job_id="job_1"), job("success"), "land"),
        ("clear", record_of(job_id="job_1"), job("success"), "land"),
        ("retry", record_of(job_id="job_1", landed=True), job("success"), "land"),
        ("clear", record_of(job_id="job_1", landed=True), job("success"), "take 4"),
        ("retry", record_of(job_id="job_1"), job("failure"), "take 4"),
        ("retry", record_of(), None, "search"),
        ("retry", record_of(), Found((), settled=True), "take 3"),
        ("clear", record_of(job_id="job_1"), Gone(3.0), "wait"),
    ],
)
def test_the_defaults_are_the_promises_of_the_readme(
    person: str, record: Record | None, answer: Answer, expected: str
) -> None:
    assert _in_words(decide(record, REQUEST, answer, max_tries=2 if person == "retry" else 3)) == expected


def test_two_candidates_are_both_named_with_what_to_do() -> None:
    decision = decide(record_of(), REQUEST, ANSWERS["found two"], max_tries=2)
    assert decision == Refuse(
        "A submission of this task was cut off, and 2 jobs at Scenario may be it: job_1, job_2. Nothing further was "
        "bought. Look at them in Scenario. If one is this task's, write its id as job_id into the task's entry in its "
        "Task State Store; if none is, delete the entry. Then clear the task."
    )


def test_an_id_written_into_the_record_by_hand_is_taken_after_a_clear() -> None:
    mended = Record.from_json({**record_of().to_json(), "job_id": "job_2"})
    assert decide(mended, REQUEST, job("success", "job_2"), max_tries=9) == Land(job("success", "job_2"))


def test_what_changed_is_named_with_the_job_it_changed_from() -> None:
    other = Request("model_2", {"prompt": "a cat", "seed": 5}, scope="https://elsewhere", largest_seed=LARGEST_SEED)
    record = record_of(job_id="job_1")
    assert changed_inputs(record, other) == ["numFrames", "seed", "the connection", "the model"]
    decision = decide(record, other, job("in-progress"), max_tries=2, rules=Rules(on_stale=OnStale.FAIL))
    assert decision == Refuse(
        "Inputs changed since take 3 (job job_1): numFrames, seed, the connection, the model. on_stale='fail' forbids "
        "to buy again by itself. Undo the change, or set on_stale='resubmit', and clear the task."
    )
    assert decide(record_of(), OTHER_REQUEST, None, max_tries=2) == Submit(
        4,
        "inputs changed since take 3 (a submission that may have been accepted): prompt; the old one is not cancelled "
        "and stays charged",
    )


def test_no_input_hides_the_model_or_the_connection() -> None:
    inputs = {"model_id": "x", "connection": "y", "model": "z"}
    one, two = Request("model_1", inputs, scope="here"), Request("model_2", inputs, scope="there")
    assert changed_inputs(record_of(one), two) == ["the connection", "the model"]


def test_the_order_of_the_inputs_is_no_change_and_a_list_is_as_good_as_a_tuple() -> None:
    one = Request("model_1", {"a": [1, 2], "b": {"x": 1, "y": 2}})
    two = Request("model_1", {"b": {"y": 2, "x": 1}, "a": (1, 2)})
    assert changed_inputs(record_of(one), two) == []


def test_a_record_survives_its_json_and_what_a_later_version_adds() -> None:
    record = record_of(job_id="job_1", landed=True)
    document = json.loads(json.dumps(record.to_json()))
    assert Record.from_json({**document, "colour": "blue"}) == record
    assert decide(Record.from_json(document), REQUEST, job("queued"), max_tries=2) == Wait("job_1")


def test_inputs_are_in_no_record() -> None:
    assert "a cat" not in json.dumps(record_of().to_json())


# Which jobs a lost submission may have become.


def listed(job_id: str = "job_1", *, after: float = 1.0, model_id: str | None = "model_1", **echo: Any) -> Job:
    created_at = datetime.datetime.fromtimestamp(INTENDED_AT + after, datetime.UTC)
    return Job.read(
        {
            "jobId": job_id,
            "status": "queued",
            "createdAt": created_at.isoformat(),
            "metadata": {"input": {**echo, **({"modelId": model_id} if model_id else {})}},
        }
    )


def found(request: Request, *jobs: Job, seed: int | None = None, **how: Any) -> list[str]:
    record = record_of(request, seed=seed, seed_is_ours=seed is not None)
    return [one.id for one in candidates(record, request, jobs, **how)]


NO_SEED = Request("model_1", {"prompt": "a cat"})


@pytest.mark.parametrize("echoed", [123456789, 123456789.0, "123456789"])
def test_our_seed_is_proof_whatever_else_the_echo_says(echoed: object) -> None:
    ours = listed(prompt="asset_text", numFrames=81.0, guidanceScale=5, seed=echoed, after=9_000)
    others = [listed("job_2", seed=123456788), listed("job_3"), listed("job_4", seed=123456789, model_id="model_2")]
    assert found(REQUEST, ours, *others, seed=123456789) == ["job_1"]


def test_our_seed_is_proof_although_another_task_is_said_to_have_the_job_or_its_time_is_odd() -> None:
    assert found(REQUEST, listed(seed=5, after=-200), seed=5, clock_ahead=77.0) == ["job_1"]


def test_two_jobs_with_our_seed_are_two() -> None:
    assert found(REQUEST, listed(seed=5), listed("job_2", seed=5), seed=5) == ["job_1", "job_2"]


def test_a_job_without_an_echo_of_its_model_may_be_of_ours() -> None:
    assert found(REQUEST, listed(seed=5, model_id=None), seed=5) == ["job_1"]


@pytest.mark.parametrize(
    ("sent", "echoed"),
    [
        ("a cat", "a cat"),
        ("a cat \n", "a cat"),
        ("a long prompt", "asset_4f5e"),
        ("data:image/png;base64,AAAA", "asset_4f5e"),
        ("anything", None),
        (81, 81.0),
        (81, "81"),
        ("5", 5),
        (0.7, 0.699999988079071),
        (2**31 - 1, float(2**31 - 1)),
        (True, True),
        ([1, 2], [1.0, 2.0]),
        (["asset_1"], ["asset_1"]),
        ({"prompt": "a", "seconds": 5}, {"prompt": "a", "seconds": 5.0, "mode": "default"}),
        ([{"prompt": "long"}], [{"prompt": "asset_9"}]),
    ],
)
def test_an_echo_that_is_not_literal_is_still_of_ours(sent: object, echoed: object) -> None:
    assert found(Request("model_1", {"value": sent}), listed(value=echoed, numFrames=81, seed=99)) == ["job_1"]


@pytest.mark.parametrize(
    ("sent", "echoed"),
    [
        ("a cat", "a dog"),
        ("a cat", ""),
        ("asset_1", "asset_2"),
        (81, 82),
        (2_000_000_000, 2_000_000_001),
        (0.7, 0.71),
        (0, 0.5),
        (10**400, 0.5),
        ("wide", 5),
        (True, False),
        (True, 1),
        (1, True),
        (["asset_1"], ["asset_2"]),
        (["asset_1"], ["asset_1", "asset_1"]),
        (["asset_1"], "asset_1"),
        ({"prompt": "a"}, {"prompt": "b"}),
        ({"prompt": "a"}, "a"),
    ],
)
def test_an_echo_that_differs_is_another_job(sent: object, echoed: object) -> None:
    assert found(Request("model_1", {"value": sent}), listed(value=echoed)) == []


def test_the_authors_own_seed_is_compared_but_proves_nothing() -> None:
    request = Request("model_1", {"prompt": "a cat", "seed": 42}, largest_seed=LARGEST_SEED)
    same, twin, other = listed(seed="42"), listed("job_2", seed=42.0), listed("job_3", seed=43)
    assert not request.needs_our_seed
    assert found(request, same, twin, other) == ["job_1", "job_2"]
    assert found(request, same, twin, other, claimed=["job_2"]) == ["job_1"]


def test_jobs_of_siblings_and_of_other_models_are_not_ours() -> None:
    jobs = [listed(prompt="a cat"), listed("job_2", prompt="a cat"), listed("job_3", prompt="a cat", model_id="m")]
    assert found(NO_SEED, *jobs, claimed=["job_2"]) == ["job_1"]


@pytest.mark.parametrize(
    ("after", "is_ours"),
    [(-6, False), (-5, True), (0, True), (ACCEPTANCE_SECONDS, True), (ACCEPTANCE_SECONDS + 1, False)],
)
@pytest.mark.parametrize("clock_ahead", [-90.0, 0.0, 90.0])
def test_only_a_job_made_in_time_counts_whatever_scenarios_clock_says(
    after: float, is_ours: bool, clock_ahead: float
) -> None:
    shown = listed(prompt="a cat", after=after + clock_ahead)
    assert bool(found(NO_SEED, shown, clock_ahead=clock_ahead)) is is_ours


def test_a_job_without_a_time_is_no_candidate() -> None:
    assert found(NO_SEED, Job("job_1", JobStatus.QUEUED, inputs={"prompt": "a cat"})) == []


@pytest.mark.parametrize("clock_ahead", [-90.0, 0.0, 90.0])
def test_a_search_starts_before_the_intent_by_scenarios_clock(clock_ahead: float) -> None:
    by_time = search_from(record_of(seed_is_ours=False), clock_ahead=clock_ahead).timestamp()
    assert by_time == INTENDED_AT + clock_ahead - 5


def test_with_proof_a_search_starts_early_enough_for_a_worker_whose_clock_is_slow() -> None:
    assert search_from(record_of()).timestamp() == INTENDED_AT - 300


@pytest.mark.parametrize(
    ("started", "same_try", "expected"),
    [
        (1.0, False, SETTLE_SECONDS),
        (60.0, False, 60.0 + SHORTEST_SEARCH),
        (9_000.0, False, 9_000.0 + SHORTEST_SEARCH),
        (-90.0, False, SETTLE_SECONDS),
        (1.0, True, 1.0 + SETTLE_SECONDS),
        (60.0, True, 60.0 + SETTLE_SECONDS),
    ],
)
def test_a_search_settles_when_the_list_had_time_since_the_submission_was_under_way(
    started: float, same_try: bool, expected: float
) -> None:
    assert settled_at(record_of(), started=INTENDED_AT + started, same_try=same_try) - INTENDED_AT == expected


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
        lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(), children, max_size=3),
        max_leaves=6,
    )
)
def test_what_comes_back_as_it_was_sent_is_ours_and_any_value_has_a_digest(value: Any) -> None:
    request = Request("model_1", {"value": value})
    echoed = json.loads(json.dumps(value))
    assert found(request, listed(value=echoed)) == ["job_1"]
    assert changed_inputs(record_of(request), Request("model_1", {"value": echoed})) == []

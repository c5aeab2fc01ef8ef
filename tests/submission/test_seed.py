"""The seed follows from the task: the same in every try, another for everything else."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_scenario.submission.seed import MIN_SEED_RANGE, TaskKey

LARGEST = 2**31 - 1
KEY = TaskKey("nightly", "run_1", "generate", "", 1_790_000_000.25, try_number=2, max_tries=2, was_cleared=False)


def test_every_try_derives_the_same_seed() -> None:
    seeds = {dataclasses.replace(KEY, try_number=number).seed(1, LARGEST) for number in range(1, 9)}
    assert len(seeds) == 1


@pytest.mark.parametrize(
    "other",
    [
        {"dag_id": "daily"},
        {"run_id": "run_2"},
        {"task_id": "reframe"},
        {"index": "1"},
        {"index": "/region/1"},
        {"run_started_at": 1_790_000_001.25},
        {"max_tries": 5},
    ],
)
def test_everything_else_has_another_seed(other: dict[str, object]) -> None:
    assert dataclasses.replace(KEY, **other).seed(1, LARGEST) != KEY.seed(1, LARGEST)  # type: ignore[arg-type]


def test_each_generation_has_a_seed_of_its_own() -> None:
    assert len({KEY.seed(generation, LARGEST) for generation in range(1, 50)}) == 49


@given(largest=st.integers(MIN_SEED_RANGE, 2**53), generation=st.integers(1, 5))
def test_a_seed_is_one_that_the_model_takes_and_is_known_again(largest: int, generation: int) -> None:
    seed = KEY.seed(generation, largest)
    assert 0 < seed <= min(largest, LARGEST)
    match = KEY.match(seed)
    assert match is not None
    assert match.since_clear


def test_a_clear_tells_what_was_bought_before_it() -> None:
    before = KEY.seed(1, LARGEST)
    cleared = dataclasses.replace(KEY, try_number=3, max_tries=4, run_started_at=1_790_009_999.0, was_cleared=True)
    match = cleared.match(before)
    assert match is not None
    assert (match.generation, match.since_clear) == (1, False)


def test_what_a_record_says_of_before_a_clear_proves_a_seed() -> None:
    cleared = dataclasses.replace(KEY, try_number=3, max_tries=2, run_started_at=1_790_009_999.0, was_cleared=True)
    for before in (KEY, dataclasses.replace(KEY, max_tries=7)):
        seed = before.seed(1, LARGEST)
        matches = [cleared.match(seed), cleared.match(seed, (before.run_started_at, before.max_tries))]
        assert [match and match.is_sure for match in matches] == [False, True]


def test_a_start_that_nobody_knows_proves_no_seed() -> None:
    cleared = dataclasses.replace(KEY, try_number=3, max_tries=4, was_cleared=True)
    match = cleared.match(dataclasses.replace(KEY, run_started_at=None).seed(1, LARGEST))
    assert match is not None
    assert not match.is_sure


def test_another_airflow_with_the_same_names_is_not_matched() -> None:
    other = dataclasses.replace(KEY, run_started_at=1_790_000_300.0)
    assert other.match(KEY.seed(1, LARGEST)) is None


@pytest.mark.parametrize("seed", [None, 0, -1, 42, 2**40])
def test_a_strangers_seed_is_not_matched(seed: int | None) -> None:
    assert KEY.match(seed) is None

"""A short chaos: `make chaos` is the long one."""

from __future__ import annotations

import pytest

from tests.e2e.chaos import run_chaos

pytestmark = pytest.mark.e2e

SEED, RUNS = 1, 4


def test_every_take_asked_for_is_paid_once_and_saved() -> None:
    told: list[str] = []
    outcome = run_chaos(SEED, RUNS, tell=told.append)
    assert outcome.mixes == RUNS
    assert outcome.wrong == [], "\n".join(told)
    assert outcome.paid == outcome.asked

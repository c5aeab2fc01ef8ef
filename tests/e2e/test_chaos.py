"""A short chaos: `make chaos` is the long one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.chaos import run_chaos

if TYPE_CHECKING:
    from tests.e2e.airflow_server import AirflowServer

pytestmark = pytest.mark.e2e

SEED, RUNS = 98_617, 4
"""Three that wait in the triggerer, which dies twice; replies late, lost and cut; clears before and after the end.

None of them must be searched for during minutes: some cases of `test_never_pay_twice.py` are.
"""


def test_every_take_asked_for_is_paid_once_and_saved(airflow: AirflowServer) -> None:
    told: list[str] = []
    outcome = run_chaos(airflow, SEED, RUNS, tell=told.append)
    assert outcome.mixes == RUNS
    assert outcome.wrong == [], "\n".join(told)
    assert outcome.paid == outcome.asked

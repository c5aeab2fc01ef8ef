"""A row of the job list that can't be read delays nobody who waits."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.polling.test_watcher import heard_of, life, watched
from tests.virtual_time import run

JOBS = 60
LONGEST_DELAY = 15.0
"""Seconds, as without an odd row: the list is looked at every ten."""

ODD_ROWS: tuple[Any, ...] = (None, {"jobId": ["x"], "status": "success"}, {"status": "success"}, "a row", [[]], 1e400)


@pytest.mark.parametrize("odd", ODD_ROWS, ids=repr)
def test_an_odd_row_delays_no_job(odd: Any) -> None:
    async def story() -> None:
        scenario, watcher = watched()
        scenario.odd_rows = (odd,)
        ends = [30.0 + 5 * number for number in range(JOBS)]
        for number, end in enumerate(ends):
            scenario.add(f"job_{number}", *life(end))
        known = await asyncio.gather(*[heard_of(watcher, f"job_{number}") for number in range(JOBS)])
        assert max(after - end for after, end in zip(known, ends, strict=True)) < LONGEST_DELAY
        assert len(scenario.times("job")) <= 3, "they are known from the list, not read one by one"

    run(story())

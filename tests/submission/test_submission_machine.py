"""A few random histories in each world, the same each time. ``make chaos`` tries many more, from any ``SEED``."""

from __future__ import annotations

import pytest

from tests.figures import figure
from tests.submission.histories import WORLDS, Histories, play

SEED = 1


@pytest.mark.parametrize("world", WORLDS)
def test_a_task_pays_once(world: type[Histories], capsys: pytest.CaptureFixture[str]) -> None:
    histories = figure(60, 500)
    count = play(world, histories, start=SEED)
    with capsys.disabled():
        print(f"\n{count} histories tried in {world.__name__} (seed {SEED}): paid once in all.")
    assert count >= histories

"""A hundred random histories in each world: paid once, whatever happens. ``make chaos`` tries many more."""

from __future__ import annotations

import pytest

from tests.submission.histories import WORLDS, Histories, play


@pytest.mark.parametrize("world", WORLDS)
def test_a_task_pays_once(world: type[Histories], capsys: pytest.CaptureFixture[str]) -> None:
    count = play(world, 100)
    with capsys.disabled():
        print(f"\n{count} histories tried in {world.__name__}: paid once in all.")
    assert count >= 100

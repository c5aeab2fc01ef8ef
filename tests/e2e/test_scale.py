"""A short night on Celery, with two of everything, some of which dies: `make scale` is the long one."""

from __future__ import annotations

import pytest

from tests.scale.night import run_night
from tests.scale.set_up import Studio
from tests.scale.trouble import TROUBLES, Trouble

pytestmark = pytest.mark.e2e

CLIPS, SECONDS = 2, 420.0
GOES_WRONG = {"triggerer": 0.05, "network": 0.1, "scheduler": 0.2, "database": 0.3, "redis": 0.4, "worker": 0.5}
"""What goes wrong, and the share of the night's tasks that have succeeded by then."""


def test_every_job_is_paid_once_and_every_file_is_saved_whatever_dies() -> None:
    troubles = [Trouble(name, after, TROUBLES[name]) for name, after in GOES_WRONG.items()]
    with Studio(clips=CLIPS) as studio:
        night = run_night(studio, troubles, seconds=SECONDS)
        assert night.wrong == [], f"{night}\n{studio.logs()}"
    assert night.by_hand == []
    assert "triggerer" in night.restarted
    assert "scheduler-2" in night.restarted

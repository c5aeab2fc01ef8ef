"""The wait for what a search may still find."""

from __future__ import annotations

import asyncio
import json
import time

import pytest

from airflow_provider_scenario.triggers import search
from airflow_provider_scenario.triggers.search import ScenarioSearchTrigger
from tests.task_run import events_of, restored


@pytest.fixture(autouse=True)
def short_deferrals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "MIN_DEFERRAL_SECONDS", 0.0)


def test_is_stored_as_names_and_numbers() -> None:
    trigger = ScenarioSearchTrigger(search="a1b2", seconds=165.0, since=12.5)
    path, stored = trigger.serialize()
    assert path == "airflow_provider_scenario.triggers.search.ScenarioSearchTrigger"
    assert stored == {"search": "a1b2", "seconds": 165.0, "since": 12.5}
    assert json.loads(json.dumps(stored)) == stored
    assert restored(trigger).serialize() == trigger.serialize()


def test_hands_back_the_search_and_the_place_in_the_line_after_its_seconds() -> None:
    started = time.monotonic()
    events = asyncio.run(events_of(ScenarioSearchTrigger(search="a1b2", seconds=0.4, since=12.5)))
    assert time.monotonic() - started >= 0.4
    assert events == [{"since": 12.5, "searched": "a1b2"}]


def test_no_clock_that_is_set_shortens_the_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    async def wait() -> bool:
        waiting = asyncio.create_task(events_of(ScenarioSearchTrigger(search="a1b2", seconds=0.6)))
        await asyncio.sleep(0.1)
        monkeypatch.setattr(time, "time", lambda: 4e9)
        await asyncio.sleep(0.2)
        is_early = waiting.done()
        await waiting
        return is_early

    assert not asyncio.run(wait())

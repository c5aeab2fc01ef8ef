"""Progress as an XCom: for few tasks all of it, for many no more than the triggerer can bear."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_scenario.polling.progress import PUSH_BURST, PUSHES_A_SECOND, push_progress
from tests.virtual_time import run

TASK = SimpleNamespace(dag_id="nightly", task_id="generate", run_id="run_1", map_index=None)


@pytest.fixture
def pushed(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []

    async def push(**row: Any) -> None:
        rows.append(row)

    monkeypatch.setattr("airflow.sdk.execution_time.xcom.XCom.aset", push, raising=False)
    return rows


def test_one_task_shows_all_of_it(pushed: list[dict[str, Any]]) -> None:
    async def story() -> None:
        for percent in range(0, 101, 10):
            await push_progress(TASK, {"percent": percent})
            await asyncio.sleep(10)

    run(story())
    assert [row["value"]["percent"] for row in pushed] == list(range(0, 101, 10))
    assert pushed[0]["map_index"] == -1


def test_a_thousand_tasks_hold_nothing_up(pushed: list[dict[str, Any]]) -> None:
    async def story() -> None:
        for _ in range(60):
            await asyncio.gather(*(push_progress(TASK, {"percent": 10}) for _ in range(1000)))
            await asyncio.sleep(1)

    run(story())
    assert 60 * PUSHES_A_SECOND <= len(pushed) <= PUSH_BURST + 60 * PUSHES_A_SECOND


def test_without_a_task_nothing_is_pushed(pushed: list[dict[str, Any]]) -> None:
    run(push_progress(None, {"percent": 10}))
    assert pushed == []


def test_an_airflow_that_lets_no_trigger_push_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("airflow.sdk.execution_time.xcom.XCom.aset", raising=False)
    run(push_progress(TASK, {"percent": 10}))

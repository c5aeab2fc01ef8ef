"""The same bytes are sent once in a DAG run, by whichever task instance comes first."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG, BaseOperator

from airflow_provider_scenario.exceptions import ScenarioTransferError
from airflow_provider_scenario.operators.generate import ScenarioGenerateOperator
from airflow_provider_scenario.sandbox.clip import draw_clip
from airflow_provider_scenario.sandbox.server import SandboxServer
from airflow_provider_scenario.transfers import run_memory
from airflow_provider_scenario.transfers.object_storage_to_scenario import ObjectStorageToScenarioOperator
from airflow_provider_scenario.transfers.run_memory import Note, RunMemory
from airflow_provider_scenario.transfers.upload import SentFile
from airflow_provider_scenario.transfers.xcom_shelf import KEY, XComShelf, shelf_of
from tests.transfers.conftest import StateStore, requests_to
from tests.transfers.test_pure_parts import Lines


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_memory, "SETTLING", 0.05)
    monkeypatch.setattr(run_memory, "LOOK", 0.02)


class Board:
    """The notes of a run, for shelves in several threads."""

    def __init__(self) -> None:
        self.notes: dict[str, Note] = {}
        self.dead: set[str] = set()

    def shelf(self, teller: str) -> Any:
        board = self

        class Place:
            def __init__(self) -> None:
                self.teller = teller

            def put(self, note: Note) -> None:
                board.notes = {**board.notes, teller: note}

            def others(self) -> Sequence[Note]:
                return [note for note in board.notes.values() if note.teller != teller]

            def is_running(self, other: str) -> bool:
                return other not in board.dead

        return Place()

    def memory(self, teller: str) -> RunMemory:
        return RunMemory(self.shelf(teller), Lines(), threading.Event())


def test_of_many_that_start_together_one_sends() -> None:
    board, sent, start = Board(), list[str](), threading.Barrier(8)

    def take(number: int) -> str:
        memory = board.memory(f"instance_{number}")
        start.wait()
        with memory.turn(100, timeout=10):
            known = memory.recall(100, lambda: "digest")
            if known is None:
                sent.append(str(number))
                known = SentFile("digest", asset_id=f"asset_of_{number}")
            memory.tell(known, 100)
        return str(known.asset_id)

    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(take, range(8)))
    assert len(sent) == 1
    assert set(got) == {f"asset_of_{sent[0]}"}
    assert all(note.claims == {} for note in board.notes.values())


def test_files_of_other_sizes_or_bytes_are_no_concern() -> None:
    board = Board()
    board.memory("first").tell(SentFile("digest", asset_id="asset_1"), 100)
    second = board.memory("second")
    assert second.recall(101, lambda: pytest.fail("nothing of this size was sent")) is None
    assert second.recall(100, lambda: "another digest") is None
    assert second.recall(100, lambda: "digest") == SentFile("digest", asset_id="asset_1")


@pytest.mark.parametrize("fate", ["dead", "slow"])
def test_nobody_waits_for_ever(fate: str) -> None:
    board = Board()
    board.shelf("first").put(Note("first", claims={"100": {"at": 0.0, "sending": True}}))
    if fate == "dead":
        board.dead.add("first")
    with board.memory("second").turn(100, timeout=0.2):
        assert board.notes["second"].claims["100"]["sending"] is True


def test_a_failure_frees_the_turn() -> None:
    board = Board()
    with pytest.raises(RuntimeError), board.memory("first").turn(100, timeout=1):
        raise RuntimeError
    assert board.notes["first"].claims == {}


def test_who_is_stopped_while_others_send_does_not_send() -> None:
    board, stop = Board(), threading.Event()
    board.shelf("first").put(Note("first", claims={"100": {"at": 0.0, "sending": True}}))
    memory = RunMemory(board.shelf("second"), Lines(), stop)
    threading.Timer(0.1, stop.set).start()
    with pytest.raises(ScenarioTransferError, match="was stopped"), memory.turn(100, timeout=10):
        pytest.fail("it sent")
    assert board.notes["second"].claims == {}


def test_who_sends_already_goes_first_whatever_the_clocks_say() -> None:
    board = Board()
    board.shelf("late").put(Note("late", claims={"100": {"at": 9e12, "sending": True}}))
    memory = RunMemory(board.shelf("early"), lines := Lines(), threading.Event())
    with memory.turn(100, timeout=0.1):
        assert lines.lines == ["Waiting for late, which uploads a file of the same size"]


# --- As XComs


class Instance:
    """A task instance among others of its run; their XComs are shared."""

    dag_id, run_id, max_tries = "nightly", "run_1", 0

    def __init__(self, task_id: str, map_index: int, xcoms: dict[tuple[str, int], Any]) -> None:
        self.task_id, self.map_index, self._xcoms = task_id, map_index, xcoms

    def xcom_push(self, key: str, value: Any) -> None:
        assert key == KEY
        self._xcoms[self.task_id, self.map_index] = json.loads(json.dumps(value))

    def xcom_pull(self, *, task_ids: Sequence[str], key: str) -> list[Any]:
        assert key == KEY
        pulled: list[Any] = []
        for task_id in task_ids:
            of_task = [value for (owner, _), value in sorted(self._xcoms.items()) if owner == task_id]
            pulled.extend(of_task or [None])
        return pulled

    def get_task_states(self, *, dag_id: str, task_ids: list[str], run_ids: list[str]) -> dict[str, Any]:
        assert (dag_id, run_ids) == ("nightly", ["run_1"])
        return {"run_1": {"upload": "success", "reframe_1": "running"}}


def a_dag() -> DAG:
    with DAG("nightly") as dag:
        ObjectStorageToScenarioOperator(task_id="upload", source="/clip.mp4")
        ScenarioGenerateOperator.partial(task_id="reframe", model_id="model_x").expand(inputs=[{}, {}])
        BaseOperator(task_id="other")
    return dag


def test_notes_go_from_instance_to_instance() -> None:
    xcoms: dict[tuple[str, int], Any] = {}
    dag = a_dag()

    def shelf(task_id: str, map_index: int = -1) -> XComShelf:
        found = shelf_of({"ti": Instance(task_id, map_index, xcoms), "dag": dag})
        assert found is not None
        return found

    note = Note("reframe_1", {"digest": {"bytes": 5, "asset_id": "asset_1"}}, {"5": {"at": 1.0, "sending": True}})
    shelf("reframe", 1).put(note)
    for reader in (shelf("upload"), shelf("reframe", 0)):
        assert list(reader.others()) == [note]
    assert list(shelf("reframe", 1).others()) == []
    assert shelf("upload").is_running("reframe_1")
    assert not shelf("reframe", 0).is_running("upload")


def test_a_task_that_uploads_alone_keeps_no_notes() -> None:
    with DAG("nightly") as dag:
        ObjectStorageToScenarioOperator(task_id="upload", source="/clip.mp4")
        BaseOperator(task_id="other")
    assert shelf_of({"ti": Instance("upload", -1, {}), "dag": dag}) is None
    assert shelf_of({"ti": Instance("upload", 0, {}), "dag": dag}) is not None
    assert shelf_of({"ti": Instance("upload", 0, {})}) is None


def test_two_tasks_send_one_file_once(scenario: SandboxServer, tmp_path: Path) -> None:
    clip = draw_clip(tmp_path / "clip.mp4", seconds=0.5, width=64, height=64)
    copy = tmp_path / "copy.mp4"
    copy.write_bytes(clip.read_bytes())
    xcoms: dict[tuple[str, int], Any] = {}
    dag = a_dag()

    def send(task_id: str, source: Path, **context: Any) -> str:
        context = {"ti": Instance(task_id, -1, xcoms), "dag": dag, "task_state_store": StateStore(), **context}
        operator = ObjectStorageToScenarioOperator(task_id=task_id, source=str(source), poll_interval=0.05)
        return operator.execute(context)  # type: ignore[arg-type]

    first = send("upload", clip)
    assert send("reframe", copy) == first
    assert requests_to(scenario, "POST /v1/uploads") == 2, "one was begun, and completed"
    gone = {"type": "status", "code": 404, "body": {"reason": "gone"}}
    scenario.add_fault(gone, method="GET", path=f"/v1/assets/{first}", times=1)
    assert send("reframe", copy) != first

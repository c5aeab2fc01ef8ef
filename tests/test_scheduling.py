"""Every test is run once, however quick or slow, and no more Airflows are up at once than may be."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.scheduling import AIRFLOWS, AIRFLOWS_AT_ONCE, ByAirflow, airflow_of, in_turn

E2E = Path(__file__).with_name("e2e")

AIRFLOW_FILES = ("tests/e2e/test_many_tasks.py", "tests/e2e/test_price.py", "tests/e2e/test_demo.py")
OTHER_FILES = ("tests/api/test_calls.py", "tests/e2e/test_processes.py", "tests/polling/test_watcher.py")


@dataclass(eq=False)
class Process:
    """Stands for one of xdist's: it runs what it was sent in order, the last test only when told that no more comes."""

    tests: list[str]
    waiting: list[int] = field(default_factory=list)
    ran: list[str] = field(default_factory=list)
    shutting_down: bool = False
    gateway: SimpleNamespace = field(default_factory=lambda: SimpleNamespace(id="gw"))

    def send_runtest_some(self, indices: list[int]) -> None:
        assert not self.shutting_down
        self.waiting += indices

    def shutdown(self) -> None:
        self.shutting_down = True

    @property
    def can_run(self) -> bool:
        return len(self.waiting) > (0 if self.shutting_down else 1)

    def holds_an_airflow(self) -> bool:
        return any(airflow_of(self.tests[index]) for index in self.waiting)


def run_all(tests: list[str], processes: list[Process], chance: random.Random) -> None:
    options: dict[str, Any] = {"tx": ["popen"] * len(processes), "loadscopereorder": True}
    config: Any = SimpleNamespace(getvalue=options.get, option=SimpleNamespace(**options))
    scheduler: Any = ByAirflow(config)
    for process in processes:
        scheduler.add_node(process)
        scheduler.add_node_collection(process, tests)
    scheduler.schedule()
    while able := [process for process in processes if process.can_run]:
        assert sum(process.holds_an_airflow() for process in processes) <= AIRFLOWS_AT_ONCE
        process = chance.choice(able)
        index = process.waiting.pop(0)
        process.ran.append(tests[index])
        scheduler.mark_test_complete(process, index)
    assert scheduler.tests_finished


@pytest.mark.parametrize("count", [1, 2, 3, 4])
@pytest.mark.parametrize("files", [AIRFLOW_FILES, OTHER_FILES, AIRFLOW_FILES + OTHER_FILES, AIRFLOW_FILES[:1]])
def test_every_test_is_run_once(files: tuple[str, ...], count: int) -> None:
    for seed in range(20):
        chance = random.Random(seed)
        nodeids = [f"{file}::test_{number}" for file in files for number in range(chance.randrange(1, 6))]
        tests = [nodeids[index] for index in in_turn(nodeids)]
        processes = [Process(tests) for _ in range(count)]
        run_all(tests, processes, chance)
        assert sorted(test for process in processes for test in process.ran) == sorted(tests)


def test_every_file_has_its_turn_whatever_was_asked_for() -> None:
    nodeids = [f"tests/e2e/{path.name}::test" for path in E2E.glob("test_*.py")]
    nodeids += ["tests/api/test_price.py::test", "tests/test_scheduling.py::test"]
    random.Random(1).shuffle(nodeids)
    ordered = [nodeids[index].removesuffix("::test") for index in in_turn(nodeids)]
    with_airflow = [f"tests/e2e/{name}" for files in AIRFLOWS.values() for name in files]
    without = ["tests/test_scheduling.py", "tests/e2e/test_processes.py", "tests/e2e/test_airflow_api.py"]
    assert ordered == [*with_airflow, *without, "tests/api/test_price.py"]

"""Which tests run together, and when, if several processes share them: one Airflow costs as much as many tests."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from xdist.scheduler.loadscope import LoadScopeScheduling

if TYPE_CHECKING:
    from collections.abc import Sequence

    from xdist.workermanage import WorkerController

AIRFLOWS: dict[str, str | None] = {
    "test_many_tasks.py": "busy",
    "test_never_pay_twice.py": "busy",
    "test_one_poll.py": "busy",
    "test_people_act.py": "busy",
    "test_demo.py": "demo",
    "test_processes.py": None,
}
"""The Airflow that each file of end-to-end tests uses, where it is not the plain one; `None`: it uses none.

The demo starts its own.
"""

TURNS = ("busy", "plain", "demo", None)
"""Whose turn it is: the Airflows with most to do first, then the tests that use none."""

LAST_OF_AN_AIRFLOW = ("test_chaos.py", "test_restarts.py")
"""What kills parts of an Airflow comes after all that uses it, and what stops it at the end."""

AIRFLOWS_AT_ONCE = 2
"""How many processes may hold an Airflow: on two cores a third one's scheduler would starve."""


def airflow_of(nodeid: str) -> str | None:
    """Return the Airflow that a test uses; `None` for a test that uses none."""
    file = PurePosixPath(file_of(nodeid))
    return AIRFLOWS.get(file.name, "plain") if "e2e" in file.parts else None


def in_turn(nodeids: Sequence[str]) -> list[int]:
    """Return the indices of the tests in the order of their turns.

    Files without an Airflow come last to first: the longest happen to be late in the alphabet, and a long one that
    came last would be waited for.
    """
    files = sorted({file_of(nodeid) for nodeid in nodeids}, reverse=True)
    backwards = {file: place for place, file in enumerate(files)}

    def turn(index: int) -> tuple[int, int]:
        nodeid = nodeids[index]
        airflow, name = airflow_of(nodeid), PurePosixPath(file_of(nodeid)).name
        if airflow is None:
            return TURNS.index(None), backwards[file_of(nodeid)]
        return TURNS.index(airflow), 1 + LAST_OF_AN_AIRFLOW.index(name) if name in LAST_OF_AN_AIRFLOW else 0

    return sorted(range(len(nodeids)), key=turn)


def file_of(nodeid: str) -> str:
    """Return the path of a test's file."""
    return nodeid.partition("::")[0]


class ByAirflow(LoadScopeScheduling):
    """Gives all tests of one Airflow to one process, and all others by file, in the order of their collection.

    While as many hold an Airflow as may, the others get tests without one: an Airflow waits more than it works.
    """

    def schedule(self) -> None:
        """Begin; xdist's own order is by number of tests."""
        self.config.option.loadscopereorder = False
        super().schedule()

    def _split_scope(self, nodeid: str) -> str:
        return airflow_of(nodeid) or file_of(nodeid)

    def _assign_work_unit(self, node: WorkerController) -> None:
        if (scope := self._scope_for(node)) is None:
            node.shutdown()
        else:
            self.workqueue.move_to_end(scope, last=False)
            super()._assign_work_unit(node)

    def _scope_for(self, node: WorkerController) -> str | None:
        """Return what comes next for a process; `None` if nothing is left, or only what waits for another's Airflow."""
        holders = [other for other in self.assigned_work if other is not node and self._holds_an_airflow(other)]
        is_free = len(holders) < AIRFLOWS_AT_ONCE
        return next((scope for scope in self.workqueue if is_free or scope not in TURNS), None)

    def _holds_an_airflow(self, node: WorkerController) -> bool:
        units = self.assigned_work[node].items()
        return any(scope in TURNS and not all(done.values()) for scope, done in units)

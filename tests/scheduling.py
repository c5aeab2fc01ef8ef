"""Which tests run together, and when, if several processes share them: one Airflow costs as much as many tests."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from xdist.scheduler.loadscope import LoadScopeScheduling

if TYPE_CHECKING:
    from collections.abc import Sequence

AIRFLOWS = {
    "test_many_tasks.py": "busy",
    "test_never_pay_twice.py": "busy",
    "test_one_poll.py": "busy",
    "test_people_act.py": "busy",
    "test_chaos.py": "mortal",
    "test_demo.py": "demo",
    "test_restarts.py": "mortal",
}
"""The Airflow that each file of end-to-end tests uses, where it is not the plain one; the demo starts its own."""

TURNS = ("busy", "plain", "mortal", "demo", None)
"""Whose turn it is: two Airflows at once, those with most to do first, then the tests that use none.

A third process would be quicker by a minute, but starves an Airflow's scheduler on two cores.
"""


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
        airflow = airflow_of(nodeid)
        return TURNS.index(airflow), 0 if airflow else backwards[file_of(nodeid)]

    return sorted(range(len(nodeids)), key=turn)


def file_of(nodeid: str) -> str:
    """Return the path of a test's file."""
    return nodeid.partition("::")[0]


class ByAirflow(LoadScopeScheduling):
    """Gives all tests of one Airflow to one process, and all others by file, in the order of their collection."""

    def schedule(self) -> None:
        """Begin; xdist's own order is by number of tests."""
        self.config.option.loadscopereorder = False
        super().schedule()

    def _split_scope(self, nodeid: str) -> str:
        return airflow_of(nodeid) or file_of(nodeid)

"""Which tests run together, and when, if several processes share them: an Airflow takes half a minute to start."""

from __future__ import annotations

from pathlib import PurePosixPath

from xdist.scheduler.loadscope import LoadScopeScheduling

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

A third process would be quicker by a minute, but three at once make an Airflow's tasks late on two cores.
"""


def airflow_of(nodeid: str) -> str | None:
    """Return the Airflow that a test uses; `None` for a test that uses none."""
    file = PurePosixPath(nodeid.partition("::")[0])
    return AIRFLOWS.get(file.name, "plain") if "e2e" in file.parts else None


def turn_of(nodeid: str) -> int:
    """Return when it is a test's turn."""
    return TURNS.index(airflow_of(nodeid))


class ByAirflow(LoadScopeScheduling):
    """Gives all tests of one Airflow to one process, and all others by file, in the order of their collection."""

    def schedule(self) -> None:
        """Begin; xdist's own order is by number of tests."""
        self.config.option.loadscopereorder = False
        super().schedule()

    def _split_scope(self, nodeid: str) -> str:
        return airflow_of(nodeid) or nodeid.partition("::")[0]

"""Which tests run together, and when, if several processes share them: one Airflow costs as much as many tests."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from xdist.scheduler.loadscope import LoadScopeScheduling

if TYPE_CHECKING:
    from collections.abc import Sequence

    from xdist.workermanage import WorkerController

AIRFLOWS: dict[str, tuple[str, ...]] = {
    "busy": (
        "test_many_tasks.py",  # It measures how soon a free slot is used: nothing else may be going on.
        "test_never_pay_twice.py",
        "test_one_poll.py",
        "test_people_act.py",
    ),
    "plain": (
        "test_airflow_server.py",  # It looks at its runs from their beginning.
        "test_dags_examples.py",
        "test_nightly_example.py",
        "test_proxy.py",
        "test_price.py",  # It asks the sandbox for tiny videos, the examples for whole ones.
        "test_chaos.py",  # It kills parts of the Airflow that the others use.
        "test_restarts.py",  # It does so too, and stops the Airflow at the end.
    ),
    "ui": ("test_ui.py",),
    "celery": ("test_scale.py",),
    "demo": ("test_demo.py",),
}
"""The files that use each Airflow, in the order in which they run; the Airflow with most to do has the first turn.

The demo, the pages and the night on Celery start their own.
"""

AIRFLOWS_AT_ONCE = 2
"""How many processes may hold an Airflow: on two cores a third one's scheduler would starve."""


def airflow_of(nodeid: str) -> str | None:
    """Return the Airflow that a test uses; `None` for a test that uses none."""
    file = PurePosixPath(file_of(nodeid))
    if file.parent.name != "e2e":
        return None
    return next((airflow for airflow, files in AIRFLOWS.items() if file.name in files), None)


def in_turn(nodeids: Sequence[str]) -> list[int]:
    """Return the indices of the tests in the order of their turns.

    Files without an Airflow come last to first: the longest happen to be late in the alphabet, and a long one that
    came last would be waited for.
    """
    in_order = [name for files in AIRFLOWS.values() for name in files]
    files = sorted({file_of(nodeid) for nodeid in nodeids}, reverse=True)
    turns = {
        file: in_order.index(PurePosixPath(file).name) if airflow_of(file) else len(in_order) + place
        for place, file in enumerate(files)
    }
    return sorted(range(len(nodeids)), key=lambda index: turns[file_of(nodeids[index])])


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
        return next((scope for scope in self.workqueue if is_free or scope not in AIRFLOWS), None)

    def _holds_an_airflow(self, node: WorkerController) -> bool:
        units = self.assigned_work[node].items()
        return any(scope in AIRFLOWS and not all(done.values()) for scope, done in units)

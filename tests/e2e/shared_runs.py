"""What goes on on one Airflow begins together, since most of it is to wait; then the tests look at it file by file.

A file of tests takes part if it has a function `begin(place)`: it starts runs, or follows them to their end, and
returns what the file's tests look at. Since others go on beside it, it kills no part of Airflow, does not reconfigure
the sandbox, and does not measure how long Airflow takes. A file that wants to has no `begin`, and its turn is before
all that have one, or after: see `tests/scheduling.py`.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from tests.scheduling import airflow_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from airflow_provider_scenario.sandbox.server import SandboxServer
    from tests.e2e.airflow_server import AirflowServer
    from tests.e2e.guarded_network import GuardedNetwork

Begun = dict[str, Future[Any]]
"""What each `begin` returns, by the name of its module."""


@dataclass(frozen=True)
class Place:
    """Where something begins: an Airflow, its Scenario, a folder, and what is closed when all is over.

    :param asked: The parameters of the file's tests that were asked for: what no test asks for need not begin.
    :param network: What leads to Scenario's other names, where the Airflow is behind a proxy.
    """

    airflow: AirflowServer
    sandbox: SandboxServer
    folder: Path
    stack: ExitStack
    asked: tuple[Any, ...]
    network: GuardedNetwork | None = None


@contextmanager
def begin_all(
    session: pytest.Session,
    name: str,
    airflow: AirflowServer,
    sandbox: SandboxServer,
    folders: pytest.TempPathFactory,
    network: GuardedNetwork | None = None,
) -> Iterator[Begun]:
    """Call every `begin` of the session's files that use an Airflow, each in a thread of its own.

    :param name: The Airflow's, in `tests.scheduling`.
    """
    tests = [item for item in session.items if isinstance(item, pytest.Function) and airflow_of(item.nodeid) == name]
    modules = [module for module in dict.fromkeys(test.module for test in tests) if hasattr(module, "begin")]
    with ExitStack() as stack, ThreadPoolExecutor(len(modules)) as pool:
        try:
            begun = {}
            for module in modules:
                asked = parameters(test for test in tests if test.module is module)
                folder = folders.mktemp(module.__name__.rpartition(".")[2])
                place = Place(airflow, sandbox, folder, stack, asked, network)
                begun[module.__name__] = pool.submit(module.begin, place)
            yield begun
        finally:
            # Nobody looks any more at what still goes on, and without an Airflow it soon ends.
            airflow.stop_all()


def parameters(tests: Iterable[pytest.Function]) -> tuple[Any, ...]:
    """Return the values of the parameters of tests."""
    return tuple(value for test in tests if hasattr(test, "callspec") for value in test.callspec.params.values())

"""One sandbox and one Airflow for all end-to-end tests of a process, started when the first of them asks."""

from __future__ import annotations

import json
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.airflow_components import Imported
from tests.e2e.airflow_server import AirflowServer
from tests.e2e.chaos import QUICK_TO_NOTICE_DEATH
from tests.scheduling import airflow_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_scenario.sandbox.server import SandboxServer

REPOSITORY = Path(__file__).resolve().parents[2]
TEST_DAGS = REPOSITORY / "tests" / "e2e" / "dags"
DAGS_FOLDERS = (REPOSITORY / "dags_examples", TEST_DAGS)


SERVERS: dict[str, AirflowServer] = {}
"""The Airflows that run, by the name that `tests.scheduling` gives them."""


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Stop an Airflow after its last test: idle ones would slow the others down."""
    if nextitem is None or airflow_of(nextitem.nodeid) == airflow_of(item.nodeid):
        return
    server = SERVERS.pop(airflow_of(item.nodeid) or "", None)
    if server is not None:
        server.stop_all()


@pytest.fixture(scope="session")
def sandbox() -> Iterator[SandboxServer]:
    """The embedded Scenario; at the end no key may have gone to its CDN or its bucket."""
    from airflow_provider_scenario.sandbox.server import SandboxServer

    with SandboxServer() as server:
        yield server
        assert server.leaks() == []


@pytest.fixture(scope="session")
def airflow(sandbox: SandboxServer) -> Iterator[AirflowServer]:
    """A real Airflow with the example DAGs and the tests' own, connected to the sandbox.

    Its parts may be killed or held: it soon notices. No worker or triggerer has imported the provider before.
    """
    environment = {
        "AIRFLOW_CONN_SCENARIO_DEFAULT": sandbox.connection_json(),
        **QUICK_TO_NOTICE_DEATH,
        "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "10",
        "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "2",
    }
    with AirflowServer(DAGS_FOLDERS, database="postgresql", parallelism=8, environment=environment) as server:
        SERVERS["plain"] = server
        yield server


@pytest.fixture(scope="module")
def unseen_videos(sandbox: SandboxServer) -> Iterator[None]:
    """Small videos: nobody looks at them."""
    sandbox.configure(render="tiny")
    yield
    sandbox.configure(render="full")


@pytest.fixture(scope="session")
def quick_sandbox() -> Iterator[SandboxServer]:
    """A Scenario whose jobs are short and small, and as many at once as anybody likes."""
    from airflow_provider_scenario.sandbox.server import SandboxServer

    with SandboxServer(render="tiny", job_seconds=3, parallel_jobs=1000) as server:
        yield server
        assert server.leaks() == []


@pytest.fixture(scope="session")
def busy_airflow(quick_sandbox: SandboxServer) -> Iterator[AirflowServer]:
    """A real Airflow for many tasks at once, connected to the quick sandbox: once with little patience."""
    patient = quick_sandbox.connection()
    environment = {
        "AIRFLOW_CONN_SCENARIO_DEFAULT": json.dumps(patient),
        "AIRFLOW_CONN_SCENARIO_IMPATIENT": json.dumps({**patient, "extra": {"timeout": 4}}),
    }
    with AirflowServer(
        TEST_DAGS, database="postgresql", parallelism=12, imported=Imported.PROVIDER, environment=environment
    ) as server:
        SERVERS["busy"] = server
        yield server


@dataclass(frozen=True)
class Setting:
    """Where a story plays: an Airflow, its Scenario, a folder, and what is closed when all is over."""

    airflow: AirflowServer
    sandbox: SandboxServer
    folder: Path
    stack: ExitStack


Begun = dict[str, Future[Any]]
"""What the tests of each module look at, by the module's name: what its function `begin` returns.

All of them on one Airflow begin together, when the first test asks: most of a story is to wait.
"""


@pytest.fixture(scope="session")
def begun(request: pytest.FixtureRequest, airflow: AirflowServer, sandbox: SandboxServer) -> Iterator[Begun]:
    """What plays on the Airflow with the examples."""
    yield from begin_all(request, "plain", airflow, sandbox)


@pytest.fixture(scope="session")
def begun_on_busy(
    request: pytest.FixtureRequest, busy_airflow: AirflowServer, quick_sandbox: SandboxServer
) -> Iterator[Begun]:
    """What plays on the Airflow for many tasks."""
    yield from begin_all(request, "busy", busy_airflow, quick_sandbox)


def begin_all(
    request: pytest.FixtureRequest, name: str, airflow: AirflowServer, sandbox: SandboxServer
) -> Iterator[Begun]:
    """Begin what the modules with tests on an Airflow want to begin, each in a thread of its own."""
    folders: pytest.TempPathFactory = request.getfixturevalue("tmp_path_factory")
    tests = [item for item in request.session.items if isinstance(item, pytest.Function)]
    modules = {test.module for test in tests if airflow_of(test.nodeid) == name and hasattr(test.module, "begin")}
    with ExitStack() as stack, ThreadPoolExecutor(len(modules)) as pool:
        yield {
            module.__name__: pool.submit(module.begin, Setting(airflow, sandbox, folders.mktemp("story"), stack))
            for module in modules
        }

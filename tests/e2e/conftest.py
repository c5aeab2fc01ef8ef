"""The Airflows and sandboxes of the end-to-end tests, each started when the first test asks, and what goes on there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.e2e.airflow_components import Imported
from tests.e2e.airflow_server import AirflowServer
from tests.e2e.airflow_settings import QUICK_TO_NOTICE_DEATH
from tests.e2e.shared_runs import begin_all
from tests.scheduling import airflow_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_scenario.sandbox.server import SandboxServer
    from tests.e2e.guarded_network import GuardedNetwork
    from tests.e2e.shared_runs import Begun

REPOSITORY = Path(__file__).resolve().parents[2]
TEST_DAGS = REPOSITORY / "tests" / "e2e" / "dags"
DAGS_FOLDERS = (REPOSITORY / "dags_examples", TEST_DAGS)
KILLS_PARTS = ("test_chaos.py", "test_restarts.py")
OTHER_WAYS = ("SSL_CERT_FILE", "SSL_CERT_DIR", "CURL_CA_BUNDLE", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY")
"""What else may name a proxy or an authority in the environment that the tests run in."""


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
def guarded_network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GuardedNetwork]:
    """A proxy that asks for a password, and an authority that only we know."""
    from tests.e2e.guarded_network import GuardedNetwork, PrivateAuthority, Proxy

    with Proxy() as proxy:
        yield GuardedNetwork(proxy, PrivateAuthority(tmp_path_factory.mktemp("network")))


@pytest.fixture(scope="session")
def airflow(
    request: pytest.FixtureRequest,
    sandbox: SandboxServer,
    guarded_network: GuardedNetwork,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[AirflowServer]:
    """A real Airflow with the example DAGs and the tests' own, connected to the sandbox.

    Where tests kill or hold its parts it soon notices: on a busy machine that also ends what is alive. No worker or
    triggerer has imported the provider before. Six tasks run at once, since some of them wait in a worker while all
    begin together. No `https` address is reached but through the proxy; the sandbox's own are `http`.
    """
    environment = {
        **guarded_network.environment,
        "AIRFLOW_CONN_SCENARIO_DEFAULT": sandbox.connection_json(),
        "SCENARIO_VIDEOS": tmp_path_factory.getbasetemp().as_uri(),
    }
    if any(item.path.name in KILLS_PARTS for item in request.session.items):
        environment |= {
            **QUICK_TO_NOTICE_DEATH,
            "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "10",
            "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "2",
        }
    with pytest.MonkeyPatch.context() as patch:
        for name in OTHER_WAYS:
            patch.delenv(name, raising=False)
            patch.delenv(name.lower(), raising=False)
        with AirflowServer(DAGS_FOLDERS, database="postgresql", parallelism=6, environment=environment) as server:
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
    """A real Airflow for many tasks at once, connected to the quick sandbox: once with little patience.

    A dozen of them search for a job for minutes, each in a worker. More than a few others at once would starve Airflow.
    """
    patient = quick_sandbox.connection()
    environment = {
        "AIRFLOW_CONN_SCENARIO_DEFAULT": json.dumps(patient),
        "AIRFLOW_CONN_SCENARIO_IMPATIENT": json.dumps({**patient, "extra": {"request_timeout": 4}}),
    }
    with AirflowServer(
        TEST_DAGS, database="postgresql", parallelism=16, imported=Imported.PROVIDER, environment=environment
    ) as server:
        SERVERS["busy"] = server
        yield server


@pytest.fixture(scope="session")
def begun(
    request: pytest.FixtureRequest,
    airflow: AirflowServer,
    sandbox: SandboxServer,
    guarded_network: GuardedNetwork,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Begun]:
    """What goes on on the Airflow with the examples."""
    with begin_all(request.session, "plain", airflow, sandbox, tmp_path_factory, guarded_network) as stories:
        yield stories


@pytest.fixture(scope="session")
def begun_on_busy(
    request: pytest.FixtureRequest,
    busy_airflow: AirflowServer,
    quick_sandbox: SandboxServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Begun]:
    """What goes on on the Airflow for many tasks."""
    with begin_all(request.session, "busy", busy_airflow, quick_sandbox, tmp_path_factory) as stories:
        yield stories

"""What all tests may share: Hypothesis without a clock, and one sandbox for the whole run."""

from __future__ import annotations

import faulthandler
import gc
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest

from tests.scheduling import in_turn
from tests.this_airflow import has_retry_policies, has_task_state_store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from xdist.scheduler import Scheduling

    from airflow_provider_scenario.sandbox.server import SandboxServer

# Airflow writes its settings at the first import; not into the user's home.
_airflow_home = tempfile.TemporaryDirectory(prefix="airflow-")
os.environ.setdefault("AIRFLOW_HOME", _airflow_home.name)

# With all of Airflow imported, looking for garbage as often as Python does it takes a tenth of the tests' time.
gc.set_threshold(50_000, 20, 100)

# A loaded machine is no failure of the code.
hypothesis.settings.register_profile("without_deadline", deadline=None)
hypothesis.settings.load_profile("without_deadline")


def pytest_configure(config: pytest.Config) -> None:
    """End a run that hangs, and let an Airflow without a task state store warn of what is deprecated in itself.

    `SESSION_SECONDS` is how long a run may take. After it each process shows where it stands and ends: a run that
    hangs says nothing else.
    """
    runs_no_tests = config.getoption("dist", "no") != "no" and not hasattr(config, "workerinput")
    if seconds := float(os.environ.get("SESSION_SECONDS", "0")):
        # Nothing is captured yet, so this is where pytest itself writes. Those with tests end before the one without.
        faulthandler.dump_traceback_later(seconds + (30 if runs_no_tests else 0), exit=True, file=os.dup(2))
    # Later Airflows have mended what this one warns of.
    if not runs_no_tests and not has_task_state_store():
        for kind in ("DeprecationWarning", "PendingDeprecationWarning", "FutureWarning"):
            config.addinivalue_line("filterwarnings", rf"ignore::{kind}:(airflow|fsspec|upath)(\.|$)")


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Pass over the tests of retry policies where Airflow has none: it can't even import them."""
    return True if collection_path.name == "test_retry_policy.py" and not has_retry_policies() else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put all tests in the order of their turns, whatever was asked for."""
    items[:] = [items[index] for index in in_turn([item.nodeid for item in items])]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Scheduling | None:
    """Hand out tests so that those of one Airflow stay together."""
    from tests.scheduling import ByAirflow

    return ByAirflow(config, log) if config.getvalue("dist") in ("load", "loadfile") else None


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine's own proxies are not what is tested."""
    proxies = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
    for name in (*proxies, "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "NETRC"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture(scope="session")
def sandbox_server() -> Iterator[SandboxServer]:
    """The embedded Scenario, started once."""
    from airflow_provider_scenario.sandbox.server import SandboxServer

    with SandboxServer(render="tiny") as server:
        yield server


@pytest.fixture
def sandbox(sandbox_server: SandboxServer) -> Iterator[SandboxServer]:
    """The embedded Scenario as it was at its start: no jobs, no faults, the settings' defaults but tiny videos.

    At the end no key may have gone to its CDN or its bucket, whatever the test was about.
    """
    sandbox_server.reset()
    yield sandbox_server
    assert sandbox_server.leaks() == []


@pytest.fixture
def scenario_connection(sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch) -> str:
    """The id of an Airflow connection that leads to the sandbox."""
    monkeypatch.setenv("AIRFLOW_CONN_SCENARIO_DEFAULT", sandbox.connection_json())
    return "scenario_default"

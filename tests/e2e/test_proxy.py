"""A whole DAG from behind a proxy that asks for a password, with a certificate authority that only we know.

Workers and triggerer are told of both by `HTTPS_PROXY` and `REQUESTS_CA_BUNDLE` alone. No other way leads to Scenario:
its names can't be resolved here. Two runs go on at once, one of them under a name whose every tenth reply is cut.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_scenario.sandbox.clip import draw_clip, probe
from airflow_provider_scenario.sandbox.server import SandboxServer
from tests.e2e.guarded_network import NAME, PASSWORD, ROUGH_NAME, Front, Proxy, Way

if TYPE_CHECKING:
    from tests.e2e.airflow_server import AirflowServer
    from tests.e2e.shared_runs import Begun, Place

pytestmark = pytest.mark.e2e

DAG_ID = "behind_a_proxy"
RUN_SECONDS = 360.0
CUT_EVERY = 10
JOB_SECONDS = 12
"""Long enough that the triggerer looks at every job more than once."""


@dataclass
class Run:
    """One run of the DAG, its Scenario, and the way there."""

    airflow: AirflowServer
    sandbox: SandboxServer
    way: Way
    folder: Path
    run_id: str

    def finished(self) -> None:
        run = self.airflow.wait_for_run(DAG_ID, self.run_id, timeout=RUN_SECONDS)
        assert run["state"] == "success", self.logs()

    def logs(self) -> str:
        tries = [
            (each["task_id"], number + 1)
            for each in self.airflow.task_instances(DAG_ID, self.run_id)
            for number in range(each["try_number"])
        ]
        return "\n".join(self.airflow.written_log(DAG_ID, self.run_id, *each) for each in tries)

    def xcom(self, task_id: str) -> Any:
        return self.airflow.xcom(DAG_ID, self.run_id, task_id)

    def assert_paid_once_and_saved(self) -> None:
        """One paid job for each task that buys, and the last one's file is there."""
        made = [self.xcom(task)["job_id"] for task in ("wait_for_outpaint", "wait_for_reframe")]
        assert [entry["jobId"] for entry in self.sandbox.ledger()["entries"]] == made
        (saved,) = self.xcom("save")
        (path,) = self.folder.glob("*.mp4")
        assert saved["uri"] == path.as_uri()
        assert path.stat().st_size == saved["bytes"]
        facts = probe(path)
        assert (facts.width, facts.height) == (720, 1280)

    def assert_no_secret_was_shown(self) -> None:
        assert PASSWORD not in self.logs()
        assert self.sandbox.leaks() == []


@dataclass
class Runs:
    """Both runs, and the proxy between."""

    steady: Run
    rough: Run
    proxy: Proxy


def begin(place: Place) -> Runs:
    """Start both runs, each with a Scenario of its own."""
    place.airflow.wait_for_dag(DAG_ID)
    steady, rough = start(place, NAME), start(place, ROUGH_NAME, cut_every=CUT_EVERY)
    assert place.network is not None
    return Runs(steady, rough, place.network.proxy)


def start(place: Place, name: str, cut_every: int = 0) -> Run:
    """Let a name lead to a Scenario, and start a run that uses it."""
    assert place.network is not None
    sandbox = place.stack.enter_context(SandboxServer(job_seconds=JOB_SECONDS))
    front = place.stack.enter_context(Front(sandbox.base_url, place.network.authority.certificate))
    way = place.network.proxy.lead(name, front.port, cut_every=cut_every)
    connection = {**sandbox.connection(), "host": f"https://{name}/v1", "connection_id": name}
    place.airflow.api("POST", "connections", connection)
    folder = place.folder / name
    folder.mkdir()
    clip = draw_clip(place.folder / f"{name}.mp4", seconds=2.0, width=640, height=360, frames_per_second=16)
    conf = {"connection": name, "video": clip.as_uri(), "destination": folder.as_uri()}
    return Run(place.airflow, sandbox, way, folder, place.airflow.trigger(DAG_ID, conf))


@pytest.fixture(scope="module")
def runs(begun: Begun) -> Runs:
    started: Runs = begun[__name__].result()
    return started


def test_a_whole_dag_goes_through_the_proxy(runs: Runs) -> None:
    runs.steady.finished()
    runs.steady.assert_paid_once_and_saved()
    runs.steady.assert_no_secret_was_shown()
    assert runs.steady.way.tunnels
    assert runs.proxy.refused == 0


def test_every_tenth_reply_is_cut(runs: Runs) -> None:
    runs.rough.finished()
    assert runs.rough.way.cuts >= 2, f"of {runs.rough.way.replies} replies"
    runs.rough.assert_paid_once_and_saved()
    runs.rough.assert_no_secret_was_shown()

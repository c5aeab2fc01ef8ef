"""A whole DAG from behind a proxy that asks for a password, with a certificate authority that only we know.

Workers and triggerer are told of both by `HTTPS_PROXY` and `REQUESTS_CA_BUNDLE` alone. No other way leads to Scenario:
its name can't be resolved here.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_scenario.sandbox.clip import draw_clip, probe
from tests.e2e.airflow_server import AirflowServer
from tests.e2e.guarded_network import NAME, PASSWORD, Front, PrivateAuthority, Proxy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_scenario.sandbox.server import SandboxServer

pytestmark = pytest.mark.e2e

DAG_ID = "outpaint_then_reframe"
EXAMPLES = Path(__file__).resolve().parents[2] / "dags_examples"
RUN_SECONDS = 360.0
CUT_EVERY = 10
JOB_SECONDS = 12
"""Long enough that the triggerer looks at every job more than once."""

OTHER_WAYS = ("SSL_CERT_FILE", "SSL_CERT_DIR", "CURL_CA_BUNDLE", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY")


@dataclass
class Network:
    """The proxy, and the Airflow behind it."""

    airflow: AirflowServer
    sandbox: SandboxServer
    proxy: Proxy
    folder: Path

    def run(self, name: str) -> tuple[str, list[dict[str, Any]]]:
        """Run the DAG to its end; the run's id, and what it paid."""
        before = len(self.sandbox.ledger()["entries"])
        clip = draw_clip(self.folder / f"{name}.mp4", seconds=2.0, width=640, height=360, frames_per_second=16)
        conf = {"video": clip.as_uri(), "destination": (self.folder / name).as_uri()}
        self.airflow.wait_for_dag(DAG_ID)
        run_id = self.airflow.trigger(DAG_ID, conf)
        run = self.airflow.wait_for_run(DAG_ID, run_id, timeout=RUN_SECONDS)
        assert run["state"] == "success", self.logs(run_id)
        return run_id, self.sandbox.ledger()["entries"][before:]

    def logs(self, run_id: str) -> str:
        tries = [
            (each["task_id"], number + 1)
            for each in self.airflow.task_instances(DAG_ID, run_id)
            for number in range(each["try_number"])
        ]
        return "\n".join(self.airflow.written_log(DAG_ID, run_id, *each) for each in tries)

    def assert_paid_once_and_saved(self, name: str, run_id: str, paid: list[dict[str, Any]]) -> None:
        """One paid job for each task that buys, and the last one's file is there."""
        made = [self.airflow.xcom(DAG_ID, run_id, task)["job_id"] for task in ("wait_for_outpaint", "wait_for_reframe")]
        assert [entry["jobId"] for entry in paid] == made
        (saved,) = self.airflow.xcom(DAG_ID, run_id, "save")
        (path,) = (self.folder / name).glob("*.mp4")
        assert saved["uri"] == path.as_uri()
        assert path.stat().st_size == saved["bytes"]
        facts = probe(path)
        assert (facts.width, facts.height) == (720, 1280)


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    from airflow_provider_scenario.sandbox.server import SandboxServer

    folder = tmp_path_factory.mktemp("network")
    authority = PrivateAuthority(folder)
    with (
        SandboxServer(job_seconds=JOB_SECONDS) as sandbox,
        Front(sandbox.base_url, authority.certificate) as front,
        Proxy(front.port) as proxy,
        pytest.MonkeyPatch.context() as patch,
    ):
        for name in OTHER_WAYS:
            patch.delenv(name, raising=False)
            patch.delenv(name.lower(), raising=False)
        environment = {
            "AIRFLOW_CONN_SCENARIO_DEFAULT": json.dumps({**sandbox.connection(), "host": f"https://{NAME}/v1"}),
            "HTTPS_PROXY": proxy.url,
            "REQUESTS_CA_BUNDLE": str(authority.bundle),
        }
        with AirflowServer(EXAMPLES, environment=environment) as airflow:
            yield Network(airflow, sandbox, proxy, folder)
        assert sandbox.leaks() == []


def test_a_whole_dag_goes_through_the_proxy(network: Network) -> None:
    run_id, paid = network.run("steady")
    network.assert_paid_once_and_saved("steady", run_id, paid)
    assert network.proxy.tunnels
    assert network.proxy.refused == 0
    assert PASSWORD not in network.logs(run_id)


def test_every_tenth_reply_is_cut(network: Network) -> None:
    network.proxy.cut_every = CUT_EVERY
    run_id, paid = network.run("cut")
    network.proxy.cut_every = 0
    assert network.proxy.cuts >= 2, f"of {network.proxy.replies} replies"
    network.assert_paid_once_and_saved("cut", run_id, paid)
    assert PASSWORD not in network.logs(run_id)

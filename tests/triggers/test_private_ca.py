"""A company's own certificate authority, named by REQUESTS_CA_BUNDLE alone: worker and triggerer agree."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
import trustme

from airflow_provider_scenario.api import calls
from airflow_provider_scenario.exceptions import ScenarioConnectionError
from airflow_provider_scenario.hooks.scenario import ScenarioHook
from airflow_provider_scenario.triggers.job import ScenarioJobTrigger
from tests.api.proxies import join, listening, with_tls
from tests.task_run import events_of

if TYPE_CHECKING:
    from airflow_provider_scenario.sandbox.server import SandboxServer


@pytest.fixture
def authority(tmp_path: Path, scenario: SandboxServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The authority's certificate; the sandbox stands behind a server whose certificate it signed."""
    signer = trustme.CA()
    ca = tmp_path / "ca.pem"
    signer.cert_pem.write_to_path(str(ca))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    signer.issue_cert("localhost").configure_cert(context)
    port = urlsplit(scenario.base_url).port

    def forward(connection: socket.socket) -> None:
        with socket.create_connection(("127.0.0.1", port)) as far:
            join(connection, far)

    with listening(with_tls(context, forward)) as front:
        connection = {**scenario.connection(), "host": f"https://localhost:{front}/v1"}
        monkeypatch.setenv("AIRFLOW_CONN_SCENARIO_DEFAULT", json.dumps(connection))
        yield ca


def test_worker_and_triggerer_trust_it(
    authority: Path, scenario: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority))
    (job_id,) = scenario.make_jobs(1, status="success")
    with ScenarioHook().get_conn() as client:
        assert client.send(calls.get_job(job_id)).id == job_id
    trigger = ScenarioJobTrigger(
        job_id=job_id, scenario_conn_id="scenario_default", deadline=time.time() + 20, poll_interval=0.5
    )
    (event,) = asyncio.run(events_of(trigger))
    assert event["error"] is None
    assert event["job"]["status"] == "success"


def test_without_the_variable_both_say_which_one_is_missing(authority: Path) -> None:
    async def ask() -> None:
        async with await ScenarioHook().get_async_conn() as client:
            await client.send(calls.submit("model_1", {"prompt": "a"}))

    with pytest.raises(ScenarioConnectionError, match="REQUESTS_CA_BUNDLE") as caught, ScenarioHook().get_conn() as it:
        it.send(calls.submit("model_1", {"prompt": "a"}))
    assert caught.value.sent is False
    with pytest.raises(ScenarioConnectionError, match="REQUESTS_CA_BUNDLE"):
        asyncio.run(ask())

"""Fixtures that the tests of operators, sensors and triggers share: a sandbox in a hurry, reached over real HTTP."""

from __future__ import annotations

import base64
import functools
import logging
from typing import TYPE_CHECKING

import pytest

from airflow_provider_scenario.api import calls, client
from airflow_provider_scenario.api.client import ScenarioClient
from airflow_provider_scenario.api.config import ClientConfig
from airflow_provider_scenario.api.retry import RetryConfig
from airflow_provider_scenario.sandbox.clip import draw_image
from airflow_provider_scenario.triggers import capacity, job

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_provider_scenario.sandbox.server import SandboxServer


@pytest.fixture
def scenario(sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch) -> SandboxServer:
    """The sandbox behind ``scenario_default``: jobs take no time, clients repeat soon, triggers look at once."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AIRFLOW_CONN_SCENARIO_DEFAULT", sandbox.connection_json())
    hurried = functools.partial(RetryConfig, attempts=3, first_wait=0.02, longest_wait=0.1)
    monkeypatch.setattr(client, "RetryConfig", hurried)
    monkeypatch.setattr(job, "MIN_DEFERRAL_SECONDS", 0.05)
    monkeypatch.setattr(capacity, "MIN_DEFERRAL_SECONDS", 0.05)
    sandbox.configure(job_seconds=0, render="tiny", upload_seconds=0)
    return sandbox


@pytest.fixture
def video_id(scenario: SandboxServer) -> str:
    """The id of a video asset."""
    return scenario.make_asset(20_000)


@pytest.fixture
def image_id(scenario: SandboxServer, tmp_path: Path) -> str:
    """The id of an image asset."""
    still = draw_image(tmp_path / "still.png", width=64, height=36, text="still").read_bytes()
    with ScenarioClient(ClientConfig(scenario.api_key, scenario.api_secret, scenario.base_url)) as api:
        return api.send(calls.upload_image("still.png", base64.b64encode(still).decode())).id


class Log:
    """Everything that is said: by Airflow's loggers on standard output, by others from level DEBUG on."""

    def __init__(self, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]) -> None:
        self._caplog = caplog
        self._capsys = capsys
        self._printed = ""

    @property
    def text(self) -> str:
        printed = self._capsys.readouterr()
        self._printed += printed.out + printed.err
        return self._printed + self._caplog.text


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]) -> Log:
    """What was logged since the test began."""
    caplog.set_level(logging.DEBUG)
    return Log(caplog, capsys)

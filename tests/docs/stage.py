"""What the pages show: each story is run for real against the sandbox, and gives what was logged or raised.

A block of a page names its story in a comment before it, ``<!-- seen: reply_lost -->``. The test compares the two, and
``make docs-output`` writes the blocks anew.
"""

from __future__ import annotations

import functools
import json
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_scenario.api.retry import RetryConfig
from airflow_provider_scenario.files import download, upload
from airflow_provider_scenario.hooks.scenario import ScenarioHook
from airflow_provider_scenario.operators.estimate import ScenarioEstimateCostOperator
from airflow_provider_scenario.operators.generate import ScenarioGenerateOperator
from airflow_provider_scenario.operators.wan import ScenarioWan22ReframeOperator
from airflow_provider_scenario.sandbox.clip import draw_clip
from airflow_provider_scenario.sensors.job import ScenarioJobSensor
from airflow_provider_scenario.submission import job_reader
from airflow_provider_scenario.transfers.object_storage_to_scenario import ObjectStorageToScenarioOperator
from airflow_provider_scenario.transfers.scenario_to_object_storage import ScenarioToObjectStorageOperator
from airflow_provider_scenario.triggers.job import ScenarioJobTrigger

if TYPE_CHECKING:
    from airflow_provider_scenario.sandbox.server import SandboxServer

MODEL = "model_wan-2-1-1-3b"
PROGRESS = r"(?m)^Job job_\w+: (pending|queued|warming-up|in-progress|finalizing)[,.].*\n"
"""How often a job is looked at before it ends differs from run to run."""
SPEAKERS = (
    ScenarioGenerateOperator,
    ScenarioEstimateCostOperator,
    ScenarioJobSensor,
    ScenarioToObjectStorageOperator,
    ObjectStorageToScenarioOperator,
    ScenarioJobTrigger,
    ScenarioHook,
)


class Said(logging.Handler):
    """Keeps what is logged, a line each, a warning with its level."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if "outside of the Task Runner" in record.getMessage():
            return  # Said of the tests, which call an operator without Airflow's task runner.
        level = "" if record.levelno <= logging.INFO else f"{record.levelname}: "
        self.lines.append(f"{level}{record.getMessage()}")


@dataclass
class Stage:
    """What a story is played on: the sandbox, a folder, the environment, and what was logged."""

    scenario: SandboxServer
    folder: Path
    patch: pytest.MonkeyPatch
    said: Said = field(default_factory=Said)

    def prepare(self) -> None:
        """Let the provider's classes log here, and let nothing wait for long."""
        logger = logging.Logger("story", logging.INFO)
        logger.addHandler(self.said)
        for speaker in SPEAKERS:
            self.patch.setattr(speaker, "log", logger, raising=False)
        hurried = RetryConfig(attempts=3, first_wait=0.02, longest_wait=0.1)
        for module in (download, upload):
            self.patch.setattr(module, "RETRY_CONFIG", hurried)
        self.patch.setattr(job_reader, "LIST_LAG_SECONDS", 0.2)

    def say(self, line: str) -> None:
        self.said.lines.append(line)

    def told(self) -> str:
        return "\n".join(self.said.lines)

    def clip(self, **options: Any) -> Path:
        return draw_clip(self.folder / "clip.mp4", **{"seconds": 1, "width": 64, "height": 36, **options})

    def bill(self) -> str:
        totals = self.scenario.ledger()["totals"]
        return f"Scenario's ledger: {totals['jobs']} job, {totals['charged']:g} creative units."


STORIES: dict[str, Callable[[Stage], str]] = {}
REMEMBERING: set[str] = set()


def story(play: Callable[[Stage], str]) -> Callable[[Stage], str]:
    STORIES[play.__name__] = play
    return play


def remembering(play: Callable[[Stage], str]) -> Callable[[Stage], str]:
    """A story of an Airflow that keeps a record (3.3 and later): others can't play it."""
    REMEMBERING.add(play.__name__)
    return play


def raised(play: Callable[[Stage], object]) -> Callable[[Stage], str]:
    """A story that ends in an error, whose message a person finds at the end of the task's log."""

    @functools.wraps(play)
    def message(stage: Stage) -> str:
        with pytest.raises(Exception) as caught:  # noqa: PT011 - the message is compared as a whole
            play(stage)
        return str(caught.value)

    return story(message)


def generating(**arguments: Any) -> ScenarioGenerateOperator:
    inputs = {"prompt": arguments.pop("prompt", "A paper boat"), **arguments.pop("inputs", {})}
    given = {"task_id": "generate", "model_id": MODEL, "inputs": inputs, "poll_interval": 0.1}
    return ScenarioGenerateOperator(**{**given, **arguments})


def saving(stage: Stage, asset_ids: Any, **arguments: Any) -> ScenarioToObjectStorageOperator:
    given = {"task_id": "save", "asset_ids": asset_ids, "destination": (stage.folder / "clips").as_uri()}
    return ScenarioToObjectStorageOperator(**{**given, **arguments})


def plain(text: str, stage: Stage | None = None) -> str:
    """Return a text without what differs from run to run: ids, times, seeds, sizes and places."""
    if stage is not None:
        text = text.replace(str(stage.folder), "/data")
    for pattern, word in (
        (PROGRESS, ""),
        (r"(?m)^(Job job_\w+: )[\w-]+(?= for [\d.]+ creative units, assets none yet)", r"\1(…)"),
        (r"(?m)^(Job job_\w+: success), ran for .*$", r"\1."),
        (r"(?m)^(Rejoining job \w+ )\([\w-]+\)", r"\1(…)"),
        (r"\b(job|asset|upload|proj)_[A-Za-z0-9]{24}\b", r"\1_…"),
        (r"\b\d[\d.]* (s|MB/s|kB/s|bytes/s)\b", "…"),
        (r"\b\d{4}-\d\d-\d\d \d\d:\d\d UTC", "… UTC"),
        (r"\bseed \d+|\"seed\": \d+", "seed …"),
        (r"\b[0-9a-f]{64}\b", "…"),
        (r"\d{4}-\d\d-\d\dT[\d:.]+Z", "…"),
        (r"\b(bytes|byte)(\":)? \d+", r"\1 …"),
        (r"\d[\d,.]* (bytes|MB|kB)\b", "… bytes"),
        (r"127\.0\.0\.1:\d+|localhost:\d+", "127.0.0.1:…"),
    ):
        text = re.sub(pattern, word, text)
    return "\n".join(line.rstrip() for line in text.strip().splitlines())


def reframing(video: Path, **arguments: Any) -> ScenarioWan22ReframeOperator:
    return ScenarioWan22ReframeOperator(task_id="reframe", video=str(video), poll_interval=0.1, **arguments)


def connect(stage: Stage, **fields: str) -> None:
    stage.patch.setenv("AIRFLOW_CONN_SCENARIO_DEFAULT", json.dumps({**stage.scenario.connection(), **fields}))

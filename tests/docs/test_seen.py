"""The logs and messages that the pages show are those that the code gives."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.docs.pages import PAGES, REPOSITORY, Block, blocks_of
from tests.docs.stories import REMEMBERING, STORIES, Stage, plain
from tests.sandbox_fixtures import scenario
from tests.this_airflow import needs_task_state_store

if TYPE_CHECKING:
    from airflow_provider_scenario.sandbox.server import SandboxServer

__all__ = ["scenario"]

TOLD: dict[str, str] = {}
"""What each story gave: more than one page may show it."""

SHOWN = [block for page in PAGES for block in blocks_of(page) if block.story]


@pytest.fixture
def stage(scenario: SandboxServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    made = Stage(scenario, tmp_path, monkeypatch)
    made.prepare()
    return made


@pytest.mark.parametrize(
    "block",
    [pytest.param(one, marks=[needs_task_state_store] if one.story in REMEMBERING else []) for one in SHOWN],
    ids=[f"{block.page.stem}-{block.story}" for block in SHOWN],
)
def test_what_a_page_shows_is_what_is_seen(block: Block, stage: Stage) -> None:
    if block.story not in TOLD:
        TOLD[block.story] = STORIES[block.story](stage).replace(str(stage.folder), "/data")
    seen = TOLD[block.story]
    if os.environ.get("WRITE_DOCS"):
        block.rewrite(seen)
        return
    assert plain(block.text) == plain(seen), f"{block.page.relative_to(REPOSITORY)}: make docs-output writes it anew"


def test_every_story_is_shown() -> None:
    assert {block.story for block in SHOWN} == set(STORIES)

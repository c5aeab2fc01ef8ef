"""Who sees a message finds its section: the first table of the page holds a part of it."""

from __future__ import annotations

import re

import pytest

from tests.docs.pages import FOLDER, Block, blocks_of

PAGE = FOLDER / "troubleshooting.md"
LINES = PAGE.read_text().splitlines()
ROW = re.compile(r"^\| (`.*`) \| \[.*\]\(#([\w-]+)\) \|$")
PHRASES = {match[2]: re.findall(r"`([^`]+)`", match[1]) for line in LINES if (match := ROW.match(line))}


def section_of(block: Block) -> str:
    head = next(line for line in reversed(LINES[: block.line]) if line.startswith("## "))
    return head[3:].lower().replace(" ", "-").replace("'", "")


@pytest.mark.parametrize("block", [block for block in blocks_of(PAGE) if block.story], ids=lambda block: block.story)
def test_a_message_leads_to_its_section(block: Block) -> None:
    phrases = PHRASES[section_of(block)]
    assert any(phrase in block.text for phrase in phrases), f"none of {phrases}"
    others = {one: found for one, found in PHRASES.items() if one != section_of(block)}
    misleading = {one: phrase for one, found in others.items() for phrase in found if phrase in block.text}
    assert misleading == {}

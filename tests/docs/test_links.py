"""Every link of every page leads somewhere: to a file that is there, and to a heading in it."""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

import pytest
from markdown_it import MarkdownIt

from tests.docs.pages import PAGES, REPOSITORY, WRITTEN

if TYPE_CHECKING:
    from markdown_it.token import Token

EXTERNAL = {"www.scenario.com", "docs.scenario.com", "semver.org"}
"""Public pages that may be named."""


@functools.cache
def tokens_of(page: Path) -> list[Token]:
    blocks = MarkdownIt("commonmark").enable("table").parse(page.read_text())
    return [each for block in blocks for each in (block, *(block.children or ()))]


def links_of(page: Path) -> list[str]:
    found = [token.attrGet("href") or token.attrGet("src") for token in tokens_of(page)]
    return [str(link) for link in found if link]


@functools.cache
def anchors_of(page: Path) -> list[str]:
    """Return the anchors of a page's headings, as repository pages and the site make them."""
    lines = MarkdownIt("commonmark").parse(page.read_text())
    heads = [lines[number + 1].content for number, token in enumerate(lines) if token.type == "heading_open"]
    return [re.sub(r"[^\w\- ]", "", head.lower()).strip().replace(" ", "-") for head in heads]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_links(page: Path) -> None:
    for link in links_of(page):
        if "://" in link:
            assert link.split("/")[2] in EXTERNAL, link
            continue
        path, _, anchor = unquote(link).partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.is_relative_to(REPOSITORY), link
        assert target.exists(), link
        if anchor:
            assert anchor in anchors_of(target), link


def test_every_page_can_be_reached_from_the_first() -> None:
    first = REPOSITORY / "docs" / "index.md"
    seen, left = {first}, [first]
    while left:
        page = left.pop()
        for link in links_of(page):
            target = (page.parent / link.partition("#")[0]).resolve()
            if target.suffix == ".md" and target.exists() and target not in seen:
                seen.add(target)
                left.append(target)
    assert {page.name for page in WRITTEN if page not in seen} == set()


@pytest.mark.parametrize("page", WRITTEN, ids=lambda page: page.stem)
def test_headings_of_a_page_differ(page: Path) -> None:
    anchors = anchors_of(page)
    assert len(anchors) == len(set(anchors))

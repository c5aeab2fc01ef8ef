"""The site's pages are staged with all that they link to. `make docs` builds them, and is a part of `.ci/run`."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.pages import REFERENCE, REPOSITORY, WRITTEN
from tests.docs.test_links import anchors_of, links_of
from tools import site
from tools.site import LinkError, Stage, llms_txt


@pytest.fixture(scope="module")
def staged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site") / "docs"
    Stage(folder).fill()
    return folder


def test_every_page_is_there(staged: Path) -> None:
    for page in (*WRITTEN, *REFERENCE):
        assert (staged / page.relative_to(REPOSITORY / "docs")).exists()


def test_every_link_leads_to_a_staged_page(staged: Path) -> None:
    for page in staged.rglob("*.md"):
        for link in links_of(page):
            path, _, anchor = link.partition("#")
            target = (page.parent / path).resolve() if path else page
            if "://" in link:
                continue
            assert target.is_relative_to(staged), (page, link)
            assert target.exists(), (page, link)
            assert not anchor or anchor in anchors_of(target), (page, link)


def test_llms_txt_names_every_page(staged: Path) -> None:
    text = llms_txt(staged)
    named = re.findall(r"^- \[.+\]\(([\w/.-]+\.md)\): \S", text, re.MULTILINE)
    assert {str(page.relative_to(REPOSITORY / "docs")) for page in (*WRITTEN, *REFERENCE)} <= set(named)
    assert all((staged / name).exists() for name in named)
    assert "): Module" not in text, "a module's name says nothing of what is in it"


def test_a_link_to_no_file_stops_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pages = tmp_path / "docs"
    pages.mkdir()
    (pages / "index.md").write_text("# Index\n\nA [link](../nothing.py).\n")
    monkeypatch.setattr(site, "DOCS", pages)
    monkeypatch.setattr(site, "REPOSITORY", tmp_path)
    with pytest.raises(LinkError, match=r"docs/index\.md links to \.\./nothing\.py, which is no file"):
        Stage(tmp_path / "build").fill()

"""`make docs` builds the whole site, and stops at a link that leads to nothing."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.docs.pages import REFERENCE, REPOSITORY, WRITTEN
from tools import site
from tools.site import build


def test_every_page_is_on_the_site_and_asks_no_other_host(tmp_path: Path) -> None:
    assert build(tmp_path / "docs", tmp_path / "site") == 0
    for page in (*WRITTEN, *REFERENCE):
        name = page.relative_to(REPOSITORY / "docs").with_suffix("")
        html = (
            tmp_path
            / "site"
            / ("index.html" if name.name == "index" and name.parent == Path() else f"{name}/index.html")
        )
        if name.name == "index" and name.parent != Path():
            html = tmp_path / "site" / name.parent / "index.html"
        text = html.read_text()
        assert not re.findall(r"<(?:script|img|iframe)[^>]+src=\"?https?://", text)
        assert not re.findall(r"<link[^>]+(?:stylesheet|preconnect)[^>]+https?://", text)
    index = (tmp_path / "site" / "llms.txt").read_text()
    named = re.findall(r"\]\(([\w/.-]+\.md)\)", index)
    assert {str(page.relative_to(REPOSITORY / "docs")) for page in (*WRITTEN, *REFERENCE)} <= set(named)
    assert all((tmp_path / "site" / name).exists() for name in named)


@pytest.mark.parametrize("link", ["nothing.md", "costs.md#no-such-heading", "../nothing.py"])
def test_a_dead_link_stops_it(
    link: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    pages = tmp_path / "docs"
    (pages / "reference").mkdir(parents=True)
    shutil.copy(REPOSITORY / "docs" / "security.md", pages / "index.md")
    (pages / "index.md").write_text(f"# Index\n\nA [link]({link}).\n")
    (pages / "costs.md").write_text("# Costs\n\nNothing.\n")
    monkeypatch.setattr(site, "DOCS", pages)
    monkeypatch.setattr(site, "REPOSITORY", tmp_path)
    assert build(tmp_path / "build" / "docs", tmp_path / "build" / "site") == 1
    assert re.search(r"does not exist|is no file", re.sub(r"\x1b\[[\d;]*m", "", capfd.readouterr().err))

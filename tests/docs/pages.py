"""The pages of the documentation, and the blocks in them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

REPOSITORY = Path(__file__).resolve().parents[2]
FOLDER = REPOSITORY / "docs"
WRITTEN = sorted(FOLDER.glob("*.md"))
"""Written by people."""
REFERENCE = sorted((FOLDER / "reference").glob("*.md"))
"""Made of docstrings."""
FRONT = [REPOSITORY / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")]
PAGES = [*FRONT, *WRITTEN, *REFERENCE]

_STORY = re.compile(r"^<!-- seen: (\w+) -->$")


@dataclass(frozen=True)
class Block:
    """A fenced block.

    :param page: Where it stands.
    :param line: The line of its fence, from 1.
    :param language: What follows the fence.
    :param text: What is in it.
    :param story: The story whose output it shows, or an empty text.
    """

    page: Path
    line: int
    language: str
    text: str
    story: str = ""

    @property
    def id(self) -> str:
        return f"{self.page.relative_to(REPOSITORY)}:{self.line}"

    def rewrite(self, text: str) -> None:
        """Write another text into the block that names this story."""
        head = f"<!-- seen: {self.story} -->\n\n```{self.language}\n"
        before, _, after = self.page.read_text().partition(head)
        rest = after.partition("```")[2] if after.startswith("```") else after.partition("\n```")[2]
        self.page.write_text(f"{before}{head}{text.strip()}\n```{rest}")


def blocks_of(page: Path) -> list[Block]:
    """Return the fenced blocks of a page."""
    made, story = [], ""
    for token in MarkdownIt("commonmark").enable("table").parse(page.read_text()):
        match = _STORY.match(token.content.strip()) if token.type == "html_block" else None
        if match:
            story = match[1]
        elif token.type == "fence":
            made.append(Block(page, (token.map or [0])[0] + 1, token.info.strip(), token.content, story))
            story = ""
    return made

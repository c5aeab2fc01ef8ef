"""Builds the site: `make docs`. Pages are staged with what they link to, then Zensical builds them, strictly.

Zensical rather than MkDocs: it checks links and anchors itself, needs a third of the packages, and MkDocs has had no
release since August 2024. What it needs of the pages is plain Markdown, so that another tool can take its place.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from tools.reference import PAGES as REFERENCE

REPOSITORY = Path(__file__).resolve().parents[1]
DOCS = REPOSITORY / "docs"
STAGED = REPOSITORY / "build" / "docs"
SITE = REPOSITORY / "build" / "site"
PICTURES = (".svg", ".png", ".jpg", ".webp")
LANGUAGES = {".py": "python", ".md": "markdown", ".toml": "toml", ".json": "json"}
LINK = re.compile(r"(?<!`)(!?\[(?:[^\[\]]|\[[^\]]*\])*\]\()([^)\s]+)(\))")
FENCE = re.compile(r"^(```.*?^```)", re.MULTILINE | re.DOTALL)
OTHER_HOST = re.compile(
    r"<(?:script|img|iframe)[^>]+src=\"?https?://|<link[^>]+rel=\"?(?:stylesheet|preconnect)[^>]+http"
)

NAVIGATION = (
    ("Start", ("index", "quick-start", "main-job", "connection", "troubleshooting")),
    ("Promises", ("never-pay-twice", "never-lose-a-file", "never-hold-a-slot", "say-it-plainly")),
    ("Use", ("operators", "sensor-and-triggers", "files", "hook", "costs", "scheduling", "ui", "examples")),
    ("Background", ("airflow-versions", "assumptions", "security", "scale", "design")),
)
"""What stands in the menu; a page that is not there is left out, one that is missing here comes last."""


class LinkError(Exception):
    """A link that leads to nothing."""


class Stage:
    """The folder from which the site is built.

    :param folder: Where to put it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.done: set[Path] = set()

    def fill(self) -> None:
        """Stage all pages, with the files of the repository that they link to."""
        shutil.rmtree(self.folder, ignore_errors=True)
        for page in sorted(DOCS.rglob("*")):
            if page.is_file() and page.suffix in (".md", *PICTURES):
                self.add(page)

    def add(self, file: Path) -> Path:
        """Stage a file and return where it is."""
        target = self.folder / self._place_of(file)
        if file in self.done:
            return target
        self.done.add(file)
        target.parent.mkdir(parents=True, exist_ok=True)
        if file.suffix in PICTURES:
            shutil.copy(file, target)
        elif file.suffix == ".md":
            target.write_text(self._with_links(file, target))
        else:
            language = LANGUAGES.get(file.suffix, "text")
            target.write_text(f"# {file.name}\n\n```{language}\n{file.read_text().rstrip()}\n```\n")
        return target

    def _place_of(self, file: Path) -> Path:
        if file.is_relative_to(DOCS):
            return file.relative_to(DOCS)
        path = Path("repository") / file.relative_to(REPOSITORY)
        return path if file.suffix in (".md", *PICTURES) else path.with_name(f"{path.name}.md")

    def _with_links(self, page: Path, target: Path) -> str:
        """Return a page whose links to the repository's files lead to their staged copies."""

        def changed(match: re.Match[str]) -> str:
            link, _, anchor = match[2].partition("#")
            if "://" in link or not link:
                return match[0]
            file = (page.parent / link).resolve()
            if file.is_relative_to(DOCS):
                place = self.folder / self._place_of(file)  # Zensical says itself if it leads to nothing.
            elif file.is_file():
                place = self.add(file)
            else:
                raise LinkError(f"{page.relative_to(REPOSITORY)} links to {link}, which is no file.")
            staged = os.path.relpath(place, target.parent)
            return f"{match[1]}{staged}{'#' + anchor if anchor else ''}{match[3]}"

        parts = FENCE.split(page.read_text())
        return "".join(part if part.startswith("```") else LINK.sub(changed, part) for part in parts)


def title_of(page: Path) -> str:
    """Return a page's first heading."""
    return next(line[2:].strip() for line in page.read_text().splitlines() if line.startswith("# "))


def summary_of(page: Path) -> str:
    """Return a page's first sentence; a page of docstrings names its modules before."""
    paragraphs = [part.strip() for part in page.read_text().split("\n\n")]
    plain = next(
        (
            part
            for part in paragraphs
            if part and (part[0].isalnum() or part[0] == "[") and not part.startswith("Module")
        ),
        "",
    )
    return re.split(r"(?<=\.)\s", " ".join(LINK.sub(lambda match: match[1].strip("![]("), plain).split()))[0]


def menu(folder: Path) -> list[tuple[str, list[str]]]:
    """Return the sections of the menu with their pages' paths."""
    there = {page.stem: page.name for page in folder.glob("*.md")}
    sections = [(title, [there.pop(name) for name in names if name in there]) for title, names in NAVIGATION]
    names = [f"reference/{name}.md" for name in ("index", *REFERENCE)]
    reference = [name for name in names if (folder / name).exists()]
    rest = [*there.values(), *(str(page.relative_to(folder)) for page in (folder / "repository").glob("*.md"))]
    return [*sections, ("Reference", reference), ("Project", sorted(rest))]


def configuration(folder: Path, site: Path) -> str:
    """Return the text of zensical.toml."""
    sections = ",\n".join(
        f"  {{ {title!r} = [{', '.join(repr(page) for page in pages)}] }}" for title, pages in menu(folder) if pages
    )
    return "\n".join(
        (
            "[project]",
            'site_name = "airflow-provider-scenario"',
            f'docs_dir = "{folder.name}"',
            f'site_dir = "{os.path.relpath(site, folder.parent)}"',
            f"nav = [\n{sections}\n]",
            "[project.theme]",
            "font = false",  # No page of the site asks another host for anything.
            'features = ["navigation.sections", "navigation.footer", "content.code.copy"]',
            "",
        )
    )


def llms_txt(folder: Path) -> str:
    """Return the site's index for language models: every page with its first sentence."""
    lines = ["# airflow-provider-scenario", "", "> Apache Airflow provider for Scenario, the generative media API.", ""]
    for title, pages in menu(folder):
        lines.append(f"## {title}\n")
        lines += [f"- [{title_of(folder / page)}]({page}): {summary_of(folder / page)}" for page in pages]
        lines.append("")
    return "\n".join(lines)


def build(staged: Path = STAGED, site: Path = SITE) -> int:
    """Build the site; 0 if all is well."""
    try:
        Stage(staged).fill()
    except LinkError as error:
        print(error, file=sys.stderr)
        return 1
    (staged / "llms.txt").write_text(llms_txt(staged))
    (staged.parent / "zensical.toml").write_text(configuration(staged, site))
    done = subprocess.run(
        [sys.executable, "-m", "zensical", "build", "--strict", "--clean", "-f", str(staged.parent / "zensical.toml")],
        cwd=staged.parent,
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        print(done.stdout + done.stderr.partition("Traceback")[0], file=sys.stderr)
        return 1
    for page in staged.rglob("*.md"):  # The pages' own text, which llms.txt names.
        shutil.copy(page, (site / page.relative_to(staged)).with_suffix(".md"))
    shutil.copy(staged / "llms.txt", site / "llms.txt")
    if asking := [page for page in site.rglob("*.html") if OTHER_HOST.search(page.read_text())]:
        print(f"{asking[0]} would ask another host for a script, a style or a picture.", file=sys.stderr)
        return 1
    print(f"{len(list(staged.rglob('*.md')))} pages are in {os.path.relpath(site)}/index.html")
    return 0


def main() -> int:
    """Run it from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=REPOSITORY / "build", help="where to build (default: build)")
    folder = parser.parse_args().folder.resolve()
    return build(folder / "docs", folder / "site")


if __name__ == "__main__":
    sys.exit(main())

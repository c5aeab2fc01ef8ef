"""Builds, checks and publishes a release: `make release`.

Nothing is published unless INDEX_URL names a package index. Twine reads TWINE_USERNAME and TWINE_PASSWORD itself.
With SIGNING_KEY, the id of a key that gpg holds, each file gets a signature beside it, NAME.asc. Package indexes take
no signatures any more, so they are for the release's page.
The long description is the README with its links made absolute below REPOSITORY_URL: on an index relative ones are
dead.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
LINK = re.compile(r"(!?)(\[(?:[^\[\]]|\[[^\]]*\])*\]\()(?!\w+:|#)([^)\s]+)\)")


class NotReadyError(Exception):
    """What is missing before this may be published."""


def version_of(source: Path) -> str:
    """Return the version that the package gives itself."""
    text = (source / "airflow_provider_scenario" / "__init__.py").read_text()
    return str(re.findall(r'^__version__ = "(.+)"$', text, flags=re.MULTILINE)[0])


def check_changelog(source: Path) -> None:
    """Refuse a version that the changelog does not date.

    :raises NotReadyError: if there is no such heading.
    """
    version = version_of(source)
    if not re.search(rf"^## {re.escape(version)} \(\d{{4}}-\d\d-\d\d\)$", (source / "CHANGELOG.md").read_text(), re.M):
        raise NotReadyError(f"CHANGELOG.md has no heading such as '## {version} (2026-01-31)'. Nothing was published.")


def check_tag(source: Path, tag: str) -> None:
    """Refuse a tag that is not that of the version.

    :raises NotReadyError: if it is not.
    """
    if tag and tag != f"v{version_of(source)}":
        raise NotReadyError(f"The tag {tag} is not that of version {version_of(source)}. Nothing was published.")


def with_absolute_links(text: str, repository_url: str, tag: str) -> str:
    """Return a README whose links lead to the repository's pages at a tag."""
    base = repository_url.rstrip("/")

    def absolute(match: re.Match[str]) -> str:
        kind = "raw" if match[1] else "blob"
        return f"{match[1]}{match[2]}{base}/{kind}/{tag}/{match[3]})"

    return LINK.sub(absolute, text)


def prepare(source: Path, folder: Path, repository_url: str) -> None:
    """Copy what is tracked, with absolute links if it is known where the repository is."""
    files = subprocess.run(
        ["git", "ls-files", "-z"], cwd=source, check=True, capture_output=True, text=True
    ).stdout.split("\0")
    for name in filter(None, files):
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source / name, target)
    if not repository_url:
        return
    readme, project = folder / "README.md", folder / "pyproject.toml"
    readme.write_text(with_absolute_links(readme.read_text(), repository_url, f"v{version_of(source)}"))
    base = repository_url.rstrip("/")
    urls = f'[project.urls]\nSource = "{base}"\nChangelog = "{base}/blob/main/CHANGELOG.md"'
    project.write_text(project.read_text().replace("[project.urls]", urls))


def release(
    source: Path, dist: Path, *, repository_url: str = "", index_url: str = "", tag: str = "", signing_key: str = ""
) -> list[Path]:
    """Build and check, sign if a key is given, then publish if an index is given; return the files built.

    :raises NotReadyError: if something is missing.
    """
    check_tag(source, tag)
    if signing_key and shutil.which("gpg") is None:
        raise NotReadyError("SIGNING_KEY is set, but gpg is not installed.")
    if index_url:
        check_changelog(source)
        if not repository_url:
            raise NotReadyError("Set REPOSITORY_URL: on an index the README's links must be absolute.")
    shutil.rmtree(dist, ignore_errors=True)
    with tempfile.TemporaryDirectory() as folder:
        prepare(source, Path(folder), repository_url)
        run("build", "--no-isolation", "--outdir", str(dist), folder)
    files = sorted(dist.iterdir())
    run("twine", "check", "--strict", *map(str, files))
    if signing_key:
        for file in files:
            sign(file, signing_key)
    if index_url:
        run(
            "twine",
            "upload",
            "--non-interactive",
            "--disable-progress-bar",
            "--repository-url",
            index_url,
            *map(str, files),
        )
    return files


def sign(file: Path, key: str) -> None:
    """Write a file's signature beside it; gpg asks for the key's passphrase, if it has one."""
    subprocess.run(["gpg", "--yes", "--local-user", key, "--armor", "--detach-sign", str(file)], check=True)


def run(module: str, *arguments: str) -> None:
    """Run a tool, and end if it fails."""
    subprocess.run([sys.executable, "-m", module, *arguments], check=True)


def main() -> int:
    """Run it from the command line."""
    given = {name: os.environ.get(name.upper(), "") for name in ("repository_url", "index_url", "tag", "signing_key")}
    try:
        files = release(REPOSITORY, REPOSITORY / "dist", **given)
    except NotReadyError as error:
        print(error, file=sys.stderr)
        return 1
    except subprocess.CalledProcessError as error:
        return error.returncode
    print(f"{'Published' if given['index_url'] else 'Built and checked'}: {', '.join(file.name for file in files)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

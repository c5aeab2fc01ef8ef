"""Runs the package on every Airflow that it promises to work with: `make matrix`, or some with `VERSIONS="3.1.8"`.

Each Airflow has a folder of its own in `.matrix`, with what that release could have had on the day after it came out,
and a Python of its own, so that all of them have their turn. Standard library only: it installs what it needs.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import os
import re
import shutil
import subprocess
import sys
import time
import venv
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
FOLDER = REPOSITORY / ".matrix"
INSTALL_SECONDS = 900
PYTHONS = ("3.12", "3.13", "3.11")
"""What each of these Airflows runs on. Each is tried on one of its own; where that is missing, on another."""
# The plugin that an older anyio brings can't be loaded by the pytest of today, and no test uses it.
PYTEST = ("-m", "pytest", "--color=no", "-p", "no:cacheprovider", "-p", "no:anyio")
NEVER_INHERITED = ("PYTHONDONTWRITEBYTECODE", "PYTHONPATH", "VIRTUAL_ENV")

WITHOUT_AIRFLOW = ("tests", "--ignore=tests/e2e")
DEMO = "tests/e2e/test_demo.py"
CRASHES_AND_PEOPLE = ("tests/e2e/test_never_pay_twice.py", "tests/e2e/test_people_act.py")
PAGES = "tests/e2e/test_ui.py"
ON_AN_AIRFLOW = (DEMO, *CRASHES_AND_PEOPLE, PAGES)
"""Crashes and people share one Airflow, on which all goes on at once; the demo and the pages start their own."""

WHOLE = "not test_ui or a_person_watches or gallery or airflow_assets_page"
"""Of the pages what differs from Airflow to Airflow: a task's, a run's and an Airflow asset's."""

QUICK = " or ".join(
    (
        "(test_a_worker_dies and deferrable)",
        "clear_while_deferred",
        "clear_after_success",
        "mark_success_while_deferred",
        "the_users_clip_is_widened",
        "a_person_watches",
    )
)
"""What the gate runs of it: crash points, clears, the demo, and a task's page with its video in a browser."""

CLOSING = re.compile(r"^=+ (.*\d+ (?:passed|failed|errors?|skipped).*) in [\d.]+s.* =+$", re.MULTILINE)


@dataclass(frozen=True)
class Release:
    """An Airflow, the day from which on its packages may not be, and the Python it is tried on.

    :param parts: What has to be named beside it, since nothing takes a part that is no final release by itself.
    """

    version: str
    newest: str
    python: str
    parts: tuple[str, ...] = ()

    @property
    def folder(self) -> Path:
        return FOLDER / self.version

    @property
    def interpreter(self) -> Path:
        return self.folder / ".venv" / "bin" / "python"


RELEASES = {
    release.version: release
    for release in (
        Release("3.1.8", "2026-03-13", "3.12"),
        Release("3.2.2", "2026-05-31", "3.13"),
        Release("3.3.2", "2026-09-19", "3.11"),
        Release("3.4.0b2", "2026-10-22", "3.13", ("apache-airflow-core==3.4.0b2", "apache-airflow-task-sdk==1.4.0b2")),
    )
}


class UnavailableError(Exception):
    """An Airflow, or a Python for it, can't be had here."""


def environment() -> dict[str, str]:
    """This process's environment without what would change what is installed or how it runs."""
    return {name: value for name, value in os.environ.items() if name not in NEVER_INHERITED}


def run(command: list[str | Path], **options: object) -> subprocess.CompletedProcess[str]:
    """Run a command in the repository and give what it printed."""
    return subprocess.run(  # type: ignore[call-overload, no-any-return]
        [str(part) for part in command],
        cwd=REPOSITORY,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        **options,
    )


def find_uv() -> Path:
    """Return a uv that works: one on the path, or one of our own by pip."""
    for candidate in filter(None, (shutil.which("uv"), FOLDER / "uv" / "bin" / "uv")):
        if Path(candidate).exists() and run([candidate, "--version"]).returncode == 0:
            return Path(candidate)
    venv.create(FOLDER / "uv", with_pip=True, clear=True)
    done = run([FOLDER / "uv" / "bin" / "python", "-m", "pip", "install", "-qq", "uv"], timeout=INSTALL_SECONDS)
    if done.returncode != 0:
        raise UnavailableError(f"uv can't be installed: {last_line(done.stdout)}")
    return FOLDER / "uv" / "bin" / "uv"


def find_python(wanted: str) -> Path:
    """Return an installed interpreter, of this version if there is one; none is downloaded."""
    for version in (wanted, *(other for other in PYTHONS if other != wanted)):
        if (found := python_of(version)) is not None:
            return found
    raise UnavailableError(f"there is no Python {wanted}, nor {', '.join(PYTHONS)}")


def python_of(wanted: str) -> Path | None:
    """Return an installed interpreter of a version, ``None`` if there is none."""
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    candidates = [sys.executable, shutil.which(f"python{wanted}"), f"/usr/bin/python{wanted}"]
    candidates += sorted(map(str, root.glob(f"versions/{wanted}.*/bin/python")), reverse=True)
    question = "import ensurepip, sys; print('.'.join(map(str, sys.version_info[:2])))"
    for candidate in filter(None, candidates):
        if Path(candidate).exists():
            done = run([candidate, "-c", question])
            if done.returncode == 0 and done.stdout.strip() == wanted:
                return Path(candidate)
    return None


def install(release: Release, uv: Path) -> None:
    """Make the release's environment, unless it is there and the project's own needs are what they were."""
    stamp, wanted = release.folder / "installed", (REPOSITORY / "pyproject.toml").read_text() + release.newest
    if stamp.exists() and stamp.read_text() == wanted:
        return
    python = find_python(release.python)
    shutil.rmtree(release.folder, ignore_errors=True)
    release.folder.mkdir(parents=True)
    frozen = release.folder / "release.txt"
    pip = [uv, "pip", "install", "-q", "--python", release.interpreter]
    own = ["-e", ".[sandbox]", f"apache-airflow=={release.version}", *release.parts]
    own.append("apache-airflow-providers-amazon[s3fs]")
    for command in (
        [uv, "venv", "-q", "--no-python-downloads", "--python", python, release.folder / ".venv"],
        [*pip, "--exclude-newer", release.newest, *own],
        [uv, "pip", "freeze", "-q", "--exclude-editable", "--python", release.interpreter],
        # What only the tests need may be newer, as long as it leaves the rest as it is.
        [*pip, "--constraint", frozen, "--group", "test"],
    ):
        done = run(command, timeout=INSTALL_SECONDS)
        if done.returncode != 0:
            raise UnavailableError(f"it can't be installed: {done.stdout.strip()[-1000:]}")
        if "freeze" in command:
            frozen.write_text("".join(line for line in done.stdout.splitlines(keepends=True) if "==" in line))
    stamp.write_text(wanted)


def tests(release: Release, *arguments: str) -> list[str]:
    """Run tests on a release, print what they told when they have ended, and give what is wrong."""
    started = time.monotonic()
    done = run([release.interpreter, *PYTEST, *arguments])
    closing = CLOSING.findall(done.stdout)
    told = closing[-1] if closing else "pytest did not come to its end"
    title = f"--- Airflow {release.version}, {interpreter_version(release)}: {' '.join(arguments)}"
    ending = f"--- Airflow {release.version}: {told}, after {time.monotonic() - started:.0f} s"
    # In one piece, since other releases may have their turn meanwhile.
    print(f"{title}\n{done.stdout}{ending}", flush=True)
    if done.returncode != 0 or "passed" not in told:
        return [f"Airflow {release.version}, {' '.join(arguments)}: {told}"]
    return []


def interpreter_version(release: Release) -> str:
    """What the release's environment says of its Python."""
    return last_line(run([release.interpreter, "--version"]).stdout)


def last_line(text: str) -> str:
    """The last line of what a command printed."""
    return text.strip().rpartition("\n")[2]


def try_release(version: str, uv: Path, *, quick: bool, processes: int) -> list[str]:
    """Install a release, run its tests, and give what is wrong."""
    release = RELEASES[version]
    try:
        install(release, uv)
    except (UnavailableError, subprocess.TimeoutExpired) as error:
        print(f"--- Airflow {version} on Python {release.python}: {error}", flush=True)
        return [f"Airflow {version} on Python {release.python}: {error}"]
    spread = ("-n", str(processes), "--dist", "loadfile", "--max-worker-restart", "0")
    if quick:
        return tests(release, *ON_AN_AIRFLOW, *spread, "-k", QUICK)
    return tests(release, *WITHOUT_AIRFLOW, *spread) + tests(release, *ON_AN_AIRFLOW, *spread, "-k", WHOLE)


def main() -> int:
    """Run it from the command line; 1 if anything is wrong, or can't be had."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("versions", nargs="*", default=list(RELEASES), help="which Airflows (default: all)")
    parser.add_argument("--quick", action="store_true", help="what the gate runs, on all of these Airflows at once")
    given = parser.parse_args()
    if unknown := set(given.versions) - set(RELEASES):
        parser.error(f"{', '.join(sorted(unknown))} is none of {', '.join(RELEASES)}")
    try:
        uv = find_uv()
    except (UnavailableError, subprocess.TimeoutExpired) as error:
        print(f"WRONG {error}")
        return 1
    # These tests mostly wait: for a job, a scheduler's next look, or a list that settles.
    at_once, processes = (len(given.versions), 1) if given.quick else (1, 2)
    with concurrent.futures.ThreadPoolExecutor(at_once) as pool:
        tried = [
            pool.submit(try_release, version, uv, quick=given.quick, processes=processes) for version in given.versions
        ]
        wrong = [each for one in tried for each in one.result()]
    for each in wrong:
        print(f"WRONG {each}")
    print(f"{len(given.versions)} Airflows tried, {len(wrong)} things wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

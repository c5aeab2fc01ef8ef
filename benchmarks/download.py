"""How fast files come from a CDN on this machine: one of 1 GiB, and fifty of 20 MB.

This provider, which digests each byte with SHA-256 and saves a file whole or not at all, beside ``curl`` and ``wget``,
which do neither, and beside the transfer operator of the provider ``common.io``. All fetch from
``benchmarks/file_server.py``, in turn, so that a noisy machine is noisy for all of them; each runs in a fresh process.
Python's start and imports do not count, as a worker pays them for any task. Prints medians, and writes them to
``benchmarks/results/download.json``.

Run it with: ``python -m benchmarks.download [--rounds 5] [--folder /dev/shm]``. A folder in memory measures the
programs rather than the disk. The peer needs ``apache-airflow-providers-common-io`` and ``aiohttp``; contenders that
are not installed are left out.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import importlib.util
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

MIB = 1 << 20
BIG, SMALL, MANY = 1024 * MIB, 20_000_000, 50
SIZES = {"quarter": 256 * MIB, "big": BIG, **{f"small{number}": SMALL for number in range(MANY)}}
RESULTS = Path(__file__).parent / "results" / "download.json"

START = """
import json, os, resource, sys, time
def wait_for_the_start():
    global before, began
    print("ready", flush=True)
    sys.stdin.readline()
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
"""
OURS = """
os.environ["AIRFLOW__LOGGING__LOGGING_LEVEL"] = "ERROR"
from airflow.sdk import ObjectStoragePath
from airflow_provider_scenario.api.client import ScenarioClient
from airflow_provider_scenario.files import download, storage
from airflow_provider_scenario.transfers.scenario_to_object_storage import ScenarioToObjectStorageOperator
address, folder, names = sys.argv[1], sys.argv[2], sys.argv[3:]
class Instance:
    map_index = -1
    def xcom_push(self, **xcom): pass
asset_ids = [f"asset_{one}" for one in names]
operator = ScenarioToObjectStorageOperator(task_id="save", asset_ids=asset_ids, destination=folder)
ObjectStoragePath(f"file://{folder}").fs  # Airflow imports every storage it knows of
wait_for_the_start()
operator.execute({"ti": Instance()})
"""
PEER = """
import fsspec
from airflow.providers.common.io.operators.file_transfer import FileTransferOperator
from airflow.sdk import ObjectStoragePath
from airflow.sdk.io import attach
address, folder, names = sys.argv[1], sys.argv[2], sys.argv[3:]
attach("http", fs=fsspec.filesystem("http"))
copies = [
    FileTransferOperator(task_id=one, src=f"{address}/files/{one}", dst=f"file://{folder}/{one}") for one in names
]
wait_for_the_start()
for copy in copies:
    copy.execute({})
"""
REPORT = """
seconds = time.perf_counter() - began
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
print(json.dumps({"seconds": seconds, "mebibytes": grown / 1024}))
"""


@dataclass(frozen=True)
class Run:
    """What one contender took in one round.

    :param seconds: From the first request to the last byte on the disk.
    :param mebibytes: By how much the process grew; ``None`` for programs other than Python.
    """

    seconds: float
    mebibytes: float | None = None


Contender = Callable[[str, Path, list[str], Callable[[], None]], Run]
"""Takes an address, a folder, the names of files to fetch, and what to call right before it begins."""


def python(program: str) -> Contender:
    """Return a contender that is a Python program."""

    def run(address: str, folder: Path, names: list[str], prepare: Callable[[], None]) -> Run:
        connection = {"conn_type": "scenario", "login": "key", "password": "secret", "host": f"{address}/v1"}
        environment = {**os.environ, "AIRFLOW_CONN_SCENARIO_DEFAULT": json.dumps(connection)}
        command = [sys.executable, "-c", START + program + REPORT, address, str(folder), *names]
        pipe = subprocess.PIPE
        with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment) as process:
            assert process.stdout is not None
            while process.stdout.readline() not in ("ready\n", ""):
                pass
            prepare()
            printed, _ = process.communicate("go\n")
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, command[:2])
        return Run(**json.loads(printed.splitlines()[-1]))

    return run


def program(*command: str) -> Contender:
    """Return a contender that takes the name of a target and an address, again and again."""

    def run(address: str, folder: Path, names: list[str], prepare: Callable[[], None]) -> Run:
        option = "-O" if command[0] == "wget" else "-o"
        targets = [part for one in names for part in (option, str(folder / one), f"{address}/files/{one}")]
        prepare()
        began = time.perf_counter()
        subprocess.run([*command, *targets], check=True, stderr=subprocess.DEVNULL)
        return Run(time.perf_counter() - began)

    return run


def contenders() -> dict[str, dict[str, Contender]]:
    """Return who can take part in what."""
    ours, curl, peer = python(OURS), program("curl", "--silent"), python(PEER)
    has_peer = all(map(importlib.util.find_spec, ("airflow.providers.common.io", "aiohttp")))
    big = {"this provider": ours, "curl": curl, "wget": program("wget", "-q")}
    many = {"this provider": ours, "curl --parallel": program("curl", "--silent", "--parallel")}
    if has_peer:
        big["common.io"], many["common.io"] = peer, peer
    return {
        name: {who: run for who, run in runs.items() if shutil.which(who.split()[0]) or run in (ours, peer)}
        for name, runs in {"1 GiB": big, "50 x 20 MB": many, "256 MiB": {"this provider": ours}}.items()
    }


FILES = {"1 GiB": ["big"], "50 x 20 MB": [f"small{number}" for number in range(MANY)], "256 MiB": ["quarter"]}


@contextlib.contextmanager
def served(folder: Path) -> Iterator[str]:
    """Make the files, and serve them from a process of its own."""
    block = os.urandom(MIB)
    first = b"\0\0\0\x10ftypisom\0\0\0\0" + block[16:]  # as the videos begin that the records tell of
    for name, size in SIZES.items():
        with (folder / name).open("wb") as file:
            file.write(first)
            for _ in range(-(-size // MIB) - 1):
                file.write(block)
            file.truncate(size)
    command = [sys.executable, "-m", "benchmarks.file_server", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            yield server.stdout.readline().strip()
        finally:
            server.terminate()


def measure(rounds: int, folder: Path) -> list[dict[str, object]]:
    """Let all run in turn, and return a row for each contender."""
    found: dict[tuple[str, str], list[Run]] = {}
    with tempfile.TemporaryDirectory(dir=folder) as room:
        source, target = Path(room) / "source", Path(room) / "target"
        source.mkdir()
        with served(source) as address:
            for number in range(rounds):
                for what, runs in contenders().items():
                    for who, run in _turned(list(runs.items()), number):
                        target.mkdir()
                        prepare = functools.partial(_warm, source, target, FILES[what])
                        found.setdefault((what, who), []).append(run(address, target, FILES[what], prepare))
                        shutil.rmtree(target)
    rows: list[dict[str, object]] = []
    for (what, who), runs_of_one in found.items():
        seconds = statistics.median(run.seconds for run in runs_of_one)
        size = sum(SIZES[name] for name in FILES[what])
        grown = [run.mebibytes for run in runs_of_one if run.mebibytes is not None]
        rows.append(
            {
                "files": what,
                "who": who,
                "seconds": round(seconds, 3),
                "megabytes_a_second": round(size / 1e6 / seconds, 1),
                "grown_mebibytes": round(statistics.median(grown), 1) if grown else None,
            }
        )
    return rows


def _turned(runs: list[tuple[str, Contender]], number: int) -> list[tuple[str, Contender]]:
    """Let another contender begin each round."""
    first = number % len(runs)
    return [*runs[first:], *runs[:first]]


def _warm(source: Path, target: Path, names: list[str]) -> None:
    """Copy the files once, and remove the copy.

    So nobody pays for bringing them into memory, or for memory that a virtual machine gave back while it was free.
    """
    for name in names:
        shutil.copyfile(source / name, target / name)
    for name in names:
        (target / name).unlink()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    given = parser.parse_args()
    rows = measure(given.rounds, given.folder)
    for row in rows:
        grown = "" if row["grown_mebibytes"] is None else f"{row['grown_mebibytes']:8} MiB grown"
        print(f"{row['files']:<11} {row['who']:<16} {row['seconds']:8} s {row['megabytes_a_second']:8} MB/s {grown}")
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps({"rounds": given.rounds, "results": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()

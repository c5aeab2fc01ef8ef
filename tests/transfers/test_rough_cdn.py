"""Downloads from a CDN that does everything wrong, to each of three kinds of storage: fifty, in `make load` 300.

They come over lines from 64 kbit/s to 1 Gbit/s. Connections are cut at random bytes, URLs expire on the way, servers
stumble, lengths lie, bytes trickle, pages answer, proxies compress. Every file is right or is not there and the task
says so; never does a wrong one stand under its final name, and none is given up whose trouble passes.
"""

from __future__ import annotations

import contextlib
import hashlib
import random
import threading
from collections.abc import Iterator
from typing import Any

import fsspec
import pytest
import requests
from airflow.sdk import ObjectStoragePath
from airflow.sdk.io import attach

from airflow_provider_scenario.api import calls
from airflow_provider_scenario.api.retry import RetryConfig
from airflow_provider_scenario.exceptions import ScenarioTransferError
from airflow_provider_scenario.files import download
from airflow_provider_scenario.hooks.scenario import ScenarioHook
from airflow_provider_scenario.sandbox.server import SandboxServer
from airflow_provider_scenario.transfers.scenario_to_object_storage import ScenarioToObjectStorageOperator
from tests.figures import figure
from tests.transfers.conftest import TaskInstance, requests_to
from tests.transfers.lines import Line, lines_to

DOWNLOADS, TOGETHER = figure(50, 300), figure(10, 20)
SMALLEST = 4600
"""Bytes of a clip that plays, and some more."""
TRICKLE = 1_000_000
PAGE = "<!doctype html><title>Blocked</title>" + "Ask your administrator. " * 40
REQUESTS_A_URL_LASTS = (2 * TOGETHER, 4 * TOGETHER)


@pytest.fixture(params=["file", "memory", "s3"])
def place(request: pytest.FixtureRequest) -> ObjectStoragePath:
    """A fresh folder of each kind of storage."""
    if request.param == "s3":
        return request.getfixturevalue("s3_bucket")
    if request.param == "memory":
        attach("memory", fs=fsspec.filesystem("memory"))
        return ObjectStoragePath(f"memory://bucket-{random.randrange(1 << 60)}/clips")
    return ObjectStoragePath(f"file://{request.getfixturevalue('tmp_path')}")


def trouble(chance: random.Random) -> list[dict[str, Any]]:
    """Draw what happens to the connections of one download, one after another; now and then it never ends."""
    for_ever = chance.random() < 0.1
    kinds: list[dict[str, Any]] = [
        {"type": "cut_at", "seed": chance.randrange(1 << 30)},
        {"type": "cut_at", "seed": chance.randrange(1 << 30)},
        {"type": "status", "code": 500},
        {"type": "status", "code": 403, "body": "<Error><Code>AccessDenied</Code></Error>"},
        {"type": "wrong_length", "by": chance.randrange(1, 5000)},
        {"type": "short_body"},
        {"type": "status", "code": 200, "body": PAGE, "headers": {"Content-Type": "text/html"}},
        {"type": "status", "code": 200, "body": PAGE, "headers": {"Content-Type": "video/mp4"}},
        {"type": "status", "code": 206, "body": PAGE, "headers": {"Content-Type": "text/html"}},
        {"type": "status", "code": 200, "body": PAGE, "headers": {"Content-Encoding": "gzip"}},
        {"type": "drop_before", "reset": True},
        {"type": "trickle", "bytes_per_second": TRICKLE},
    ]
    drawn = chance.choices(kinds, k=chance.randrange(1, 4))
    if for_ever:
        return [{**chance.choice(kinds[2:11]), "times": None}]
    return [{**action, "times": 1} for action in drawn]


@contextlib.contextmanager
def urls_that_expire(server: SandboxServer, chance: random.Random) -> Iterator[None]:
    """Let every signed URL end again and again, after so many requests: the clock would hit a slow machine harder."""
    over = threading.Event()

    def expire() -> None:
        end = 0
        while not over.wait(0.05):
            asked = requests_to(server, "GET /cdn/")
            if asked >= end:
                server.expire_urls()
                end = asked + chance.randrange(*REQUESTS_A_URL_LASTS)

    thread = threading.Thread(target=expire)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def digests_of(ids: list[str], *, original: bool) -> dict[str, str]:
    """What the files hold, fetched by other means than those under test."""
    with ScenarioHook().get_conn() as client:
        urls = {asset_id: client.send(calls.get_asset(asset_id, original=original)).url for asset_id in ids}
    return {
        asset_id: hashlib.sha256(requests.get(url, timeout=30).content).hexdigest() for asset_id, url in urls.items()
    }


def save(
    ids: list[str], folder: ObjectStoragePath, line: Line, *, original: bool
) -> dict[str, str] | ScenarioTransferError:
    """Give the digest of every file, or what was said."""
    operator = ScenarioToObjectStorageOperator(
        task_id="save",
        asset_ids=ids,
        destination=f"{folder}/{{index}}{{ext}}",
        original=original,
        scenario_conn_id=line.conn_id,
    )
    context: Any = {"ti": TaskInstance()}
    try:
        return {file["asset_id"]: file["sha256"] for file in operator.execute(context)}
    except ScenarioTransferError as failure:
        return failure


def make_trouble(server: SandboxServer, ids: list[str], chance: random.Random) -> set[str]:
    """Draw the trouble of each asset's file, and give the assets whose trouble never ends."""
    endless = set()
    server.clear_faults()
    for asset_id in ids:
        for action in trouble(chance):
            times = action.pop("times")
            server.add_fault(action, method="GET", path=f"/cdn/.*{asset_id}", times=times)
            if times is None:
                endless.add(asset_id)
    return endless


def test_every_file_is_right_or_not_there(
    scenario: SandboxServer, place: ObjectStoragePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    bound = RetryConfig(attempts=6, first_wait=0.02, longest_wait=0.1)
    monkeypatch.setattr(download, "PARALLEL", TOGETHER)
    monkeypatch.setattr(download, "RETRY_CONFIG", bound)
    chance = random.Random(2026)
    right = 0
    with lines_to(scenario, DOWNLOADS // TOGETHER, monkeypatch) as lines:
        for number, line in enumerate(lines):
            original, folder = bool(number % 2), place / str(number)
            sizes = [max(SMALLEST, line.size_in(0.5, chance.randrange(10_000, 120_000))) for _ in range(TOGETHER)]
            ids = [scenario.make_asset(size) for size in sizes]
            truth = digests_of(ids, original=original)
            endless = make_trouble(scenario, ids, chance)
            with urls_that_expire(scenario, chance):
                told = save(ids, folder, line, original=original)
            found = {path.name: digest(path.read_bytes()) for path in (folder.iterdir() if folder.exists() else ())}
            found.pop("manifest.json.unfinished", None)
            if isinstance(told, ScenarioTransferError):
                assert any(asset_id in str(told) for asset_id in ids)
                assert "Signature" not in str(told)
                assert "manifest.json" not in found
            else:
                assert told == truth
                assert found.pop("manifest.json")
            saved = {ids[int(name.removesuffix(".mp4")) - 1]: content for name, content in found.items()}
            assert saved.items() <= truth.items(), "a wrong file"
            assert truth.keys() - saved.keys() <= endless, f"given up before try {bound.attempts}"
            right += len(saved)
    assert DOWNLOADS * 0.75 < right < DOWNLOADS, "both happened: trouble that passed, and trouble that stayed"

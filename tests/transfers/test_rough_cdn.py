"""A hundred downloads from a CDN that does everything wrong, each to three kinds of storage; `make load` has 300.

Connections are cut at random bytes, URLs expire on the way, servers stumble, lengths lie, bytes trickle, pages
answer, proxies compress. Every file is right or is not there and the task says so; never does a wrong one stand under
its final name.
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
from airflow_provider_scenario.exceptions import ScenarioTransferError
from airflow_provider_scenario.files import download
from airflow_provider_scenario.hooks.scenario import ScenarioHook
from airflow_provider_scenario.sandbox.server import SandboxServer
from airflow_provider_scenario.transfers.scenario_to_object_storage import ScenarioToObjectStorageOperator
from tests.figures import figure
from tests.transfers.conftest import TaskInstance, requests_to

DOWNLOADS, TOGETHER = figure(100, 300), 20
TRICKLE = 1_000_000
PAGE = "<!doctype html><title>Blocked</title>" + "Ask your administrator. " * 40
REQUESTS_A_URL_LASTS = (40, 80)


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
    drawn = chance.choices(kinds, k=chance.randrange(1, 5))
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


def save(ids: list[str], folder: ObjectStoragePath, *, original: bool) -> dict[str, str] | ScenarioTransferError:
    """Give the digest of every file, or what was said."""
    operator = ScenarioToObjectStorageOperator(
        task_id="save", asset_ids=ids, destination=f"{folder}/{{index}}{{ext}}", original=original
    )
    context: Any = {"ti": TaskInstance()}
    try:
        return {file["asset_id"]: file["sha256"] for file in operator.execute(context)}
    except ScenarioTransferError as failure:
        return failure


def test_every_file_is_right_or_not_there(
    scenario: SandboxServer, place: ObjectStoragePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "PARALLEL", TOGETHER)
    chance = random.Random(2026)
    ids = [scenario.make_asset(chance.randrange(10_000, 120_000)) for _ in range(TOGETHER)]
    truth = {original: digests_of(ids, original=original) for original in (True, False)}
    right = 0
    for number in range(DOWNLOADS // TOGETHER):
        original, folder = bool(number % 2), place / str(number)
        scenario.clear_faults()
        for asset_id in ids:
            for action in trouble(chance):
                times = action.pop("times")
                scenario.add_fault(action, method="GET", path=f"/cdn/.*{asset_id}", times=times)
        with urls_that_expire(scenario, chance):
            told = save(ids, folder, original=original)
        found = {path.name: digest(path.read_bytes()) for path in (folder.iterdir() if folder.exists() else ())}
        found.pop("manifest.json.unfinished", None)
        if isinstance(told, ScenarioTransferError):
            assert any(asset_id in str(told) for asset_id in ids)
            assert "Signature" not in str(told)
            assert "manifest.json" not in found
        else:
            assert told == truth[original]
            assert found.pop("manifest.json")
            assert len(found) == TOGETHER
        for name, content in found.items():
            assert content == truth[original][ids[int(name.removesuffix(".mp4")) - 1]]
        right += len(found)
    assert DOWNLOADS * 0.75 < right < DOWNLOADS, "both happened: trouble that passed, and trouble that stayed"

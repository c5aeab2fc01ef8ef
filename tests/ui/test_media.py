"""A file handed on to a browser: over real HTTP, from the sandbox's CDN, by a server in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import httpx
import psutil
import pytest

from airflow_provider_scenario.api.asset import Asset
from airflow_provider_scenario.exceptions import ScenarioFileError, ScenarioTransferError
from airflow_provider_scenario.ui import media
from airflow_provider_scenario.ui.reads import Access
from tests.api.scripted_server import Answer, scripted
from tests.e2e.airflow_settings import free_ports

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_scenario.sandbox.server import SandboxServer

SERVER = """
import sys
import anyio, uvicorn
from fastapi import FastAPI, Request
from starlette.middleware.gzip import GZipMiddleware
from airflow_provider_scenario.ui import media
from airflow_provider_scenario.ui.reads import Access, fresh_asset

app = FastAPI()
app.add_middleware(GZipMiddleware, minimum_size=1024)  # as Airflow does

@app.get("/{asset_id}")
async def give(request: Request, asset_id: str, download: bool = False):
    access = Access("scenario_default")
    def work():
        found = fresh_asset(access, asset_id)
        return media.proxy(access, found, request.headers.get("range"), download=download)
    return await anyio.to_thread.run_sync(work)

uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
"""


class Proxy:
    """The server, and what it costs."""

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False)
        self._process = psutil.Process(process.pid)

    @property
    def memory(self) -> int:
        return int(self._process.memory_info().rss)

    @property
    def connections(self) -> int:
        return len([one for one in self._process.net_connections("tcp") if one.status == "ESTABLISHED"])


@pytest.fixture(scope="module")
def proxy(sandbox_server: SandboxServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    (port,) = free_ports(1)
    environment = {
        **os.environ,
        "AIRFLOW_HOME": str(tmp_path_factory.mktemp("airflow")),
        "AIRFLOW_CONN_SCENARIO_DEFAULT": sandbox_server.connection_json(),
    }
    process = subprocess.Popen([sys.executable, "-c", SERVER, str(port)], env=environment)
    try:
        made = Proxy(process, port)
        deadline = time.monotonic() + 120
        while True:
            try:
                made.client.get("/docs")
                break
            except httpx.ConnectError:
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.1)
        yield made
    finally:
        process.terminate()
        process.wait(20)


def test_a_range_is_handed_on_as_it_is(proxy: Proxy, sandbox: SandboxServer) -> None:
    asset_id = sandbox.make_asset(100_000)
    whole = proxy.client.get(f"/{asset_id}")
    assert whole.status_code == 200
    assert int(whole.headers["content-length"]) == len(whole.content)
    part = proxy.client.get(f"/{asset_id}", headers={"Range": "bytes=1000-1999"})
    assert part.status_code == 206
    assert part.content == whole.content[1000:2000]
    assert part.headers["content-range"] == f"bytes 1000-1999/{len(whole.content)}"
    assert part.headers["content-encoding"] == "identity"
    assert proxy.client.get(f"/{asset_id}", headers={"Range": "bytes=-5"}).content == whole.content[-5:]
    assert proxy.client.get(f"/{asset_id}", headers={"Range": "bytes=900000-"}).status_code == 416
    several = proxy.client.get(f"/{asset_id}", headers={"Range": "bytes=0-1,5-6"})
    assert several.status_code == 200
    for reply in (whole, part):
        assert reply.headers["content-type"] == "video/mp4"
        assert reply.headers["cache-control"] == "private, no-store"
        assert reply.headers["referrer-policy"] == "no-referrer"
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert "sandbox" in reply.headers["content-security-policy"]
        assert "cdn" not in json.dumps(dict(reply.headers))


def test_a_download_is_saved_under_its_own_name(proxy: Proxy, sandbox: SandboxServer) -> None:
    asset_id = sandbox.make_asset(10_000)
    reply = proxy.client.get(f"/{asset_id}", params={"download": "true"})
    assert reply.headers["content-disposition"] == f'attachment; filename="{asset_id}.mp4"'


def test_a_gibibyte_is_watched_in_little_memory(proxy: Proxy, sandbox: SandboxServer) -> None:
    asset_id = sandbox.make_asset(1 << 30)
    proxy.client.get(f"/{asset_id}", headers={"Range": "bytes=0-99"})
    before, most, count = proxy.memory, 0, 0
    with proxy.client.stream("GET", f"/{asset_id}") as reply:
        for place, piece in enumerate(reply.iter_raw(1 << 20)):
            count += len(piece)
            if place % 64 == 0:
                most = max(most, proxy.memory)
    print(f"grew by {(most - before) / (1 << 20):.1f} MiB")
    assert count >= 1 << 30
    assert most - before < 32 << 20


def test_who_goes_away_is_not_served_on(proxy: Proxy, sandbox: SandboxServer) -> None:
    asset_id = sandbox.make_asset(64 << 20)
    with proxy.client.stream("GET", f"/{asset_id}") as reply:
        next(reply.iter_raw(1 << 16))
    deadline = time.monotonic() + 20
    while proxy.connections and time.monotonic() < deadline:
        time.sleep(0.1)
    assert proxy.connections == 0


@pytest.mark.parametrize("url", ["", "file:///etc/passwd", "javascript:alert(1)", "//elsewhere.test/"])
def test_nobody_is_sent_to_what_is_no_web_address(url: str) -> None:
    with pytest.raises(ScenarioFileError, match="names no address"):
        media.redirect(Asset("asset_1", url, "video", "video/mp4"), "http://127.0.0.1:8099/v1")


@pytest.mark.parametrize("url", ["http://cdn.example/a", "http://127.0.0.1:8080/admin", "HTTP://169.254.169.254/"])
def test_nobody_is_sent_where_anybody_may_change_the_file(url: str) -> None:
    asset = Asset("asset_1", url, "video", "video/mp4")
    with pytest.raises(ScenarioFileError, match="not https"):
        media.redirect(asset, "https://api.cloud.scenario.com/v1")
    assert media.redirect(asset, "http://127.0.0.1:8099/v1").headers["location"] == url


@pytest.mark.parametrize("kind", ["image/jpeg", "Image/JPEG", "image/jpg", "image/jpeg; charset=binary"])
def test_a_poster_may_spell_its_type_otherwise(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    with scripted(Answer(200, b"picture", {"Content-Type": kind})) as server:
        connection = {"conn_type": "scenario", "login": "k", "password": "s", "host": f"{server.url}/v1"}
        monkeypatch.setenv("AIRFLOW_CONN_SCENARIO_DEFAULT", json.dumps(connection))
        asset = Asset("asset_1", "", "video", "video/mp4", thumbnail_url=f"{server.url}/a")
        reply = media.poster(Access("scenario_default"), asset)
    assert (reply.body, reply.media_type) == (b"picture", "image/jpeg")


def test_what_is_no_picture_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with scripted(Answer(200, b"<svg/>", {"Content-Type": "image/svg+xml"})) as server:
        connection = {"conn_type": "scenario", "login": "k", "password": "s", "host": f"{server.url}/v1"}
        monkeypatch.setenv("AIRFLOW_CONN_SCENARIO_DEFAULT", json.dumps(connection))
        asset = Asset("asset_1", "", "video", "video/mp4", thumbnail_url=f"{server.url}/a")
        with pytest.raises(ScenarioTransferError, match=r"answered 200 with image/svg\+xml instead of the picture"):
            media.poster(Access("scenario_default"), asset)


@pytest.mark.parametrize(
    "headers", [{"Content-Type": "text/html"}, {"Content-Type": "video/mp4", "Content-Encoding": "gzip"}]
)
def test_what_is_not_the_file_is_not_handed_on(monkeypatch: pytest.MonkeyPatch, headers: dict[str, str]) -> None:
    with scripted(Answer(200, b"<html>Blocked</html>", headers)) as server:
        connection = {"conn_type": "scenario", "login": "k", "password": "s", "host": f"{server.url}/v1"}
        monkeypatch.setenv("AIRFLOW_CONN_SCENARIO_DEFAULT", json.dumps(connection))
        asset = Asset("asset_1", f"{server.url}/a", "video", "video/mp4")
        with pytest.raises(ScenarioTransferError):
            media.proxy(Access("scenario_default"), asset, None, download=True)

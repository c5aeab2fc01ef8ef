"""What the CDN sends counts only if it is the file that Scenario's record tells of: over real sockets."""

from __future__ import annotations

import gzip
import hashlib
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_scenario.api.client import ScenarioClient
from airflow_provider_scenario.api.config import ClientConfig
from airflow_provider_scenario.api.mime_types import _TABLE, extension_of
from airflow_provider_scenario.api.retry import RetryConfig
from airflow_provider_scenario.exceptions import (
    ScenarioConfigurationError,
    ScenarioError,
    ScenarioFileError,
    ScenarioTransferError,
)
from airflow_provider_scenario.files import download
from airflow_provider_scenario.media.integrity import bytes_fit, type_fits
from airflow_provider_scenario.sandbox.clip import draw_clip
from airflow_provider_scenario.transfers.scenario_to_object_storage import ScenarioToObjectStorageOperator
from tests.api.scripted_server import Answer, Request, ScriptedServer, scripted
from tests.transfers.conftest import TaskInstance

SIZE = 20_000
CONTENT = b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + bytes(index % 251 for index in range(SIZE - 24))
PAGE = b"<!DOCTYPE html><html><head><title>Blocked</title></head><body>" + b"no " * 2000 + b"</body></html>"
VIDEO = {"Content-Type": "video/mp4", "ETag": '"1"'}

Cdn = Callable[[Request, int], Answer]


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "RETRY_CONFIG", RetryConfig(attempts=4, first_wait=0.01, longest_wait=0.02))
    monkeypatch.setattr(download, "FIRST_POLL", 0.05)


def right(request: Request, _: int = 0) -> Answer:
    """The CDN as it should be."""
    asked = request.headers.get("range")
    if not asked:
        return Answer(200, CONTENT, VIDEO)
    first = int(asked.removeprefix("bytes=").rstrip("-"))
    if first >= SIZE:
        return Answer(416, b"", {**VIDEO, "Content-Range": f"bytes */{SIZE}"})
    return Answer(206, CONTENT[first:], {**VIDEO, "Content-Range": f"bytes {first}-{SIZE - 1}/{SIZE}"})


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., ScriptedServer]]:
    """Starts a Scenario whose CDN answers by a script that is given the number of the visit."""
    opened: list[Any] = []

    def start(cdn: Cdn, **record: Any) -> ScriptedServer:
        visits: list[int] = []

        def script(request: Request) -> Answer:
            if request.target.startswith("/cdn/"):
                visits.append(1)
                return cdn(request, len(visits))
            asset_id = request.target.partition("?")[0].rpartition("/")[2]
            folder = "assets-transform" if "size" in record and record["size"] is None else "assets"
            asset = {
                "id": asset_id,
                "url": f"{server.url}/cdn/{folder}/{asset_id}?Signature=x",
                "kind": "video",
                "mimeType": "video/mp4",
                "status": "success",
                "properties": {"size": record.get("size", SIZE)},
                **record.get("asset", {}),
            }
            return Answer(body=json.dumps({"asset": asset}).encode())

        context = scripted(script)
        server = context.__enter__()
        opened.append(context)
        connection = {"conn_type": "scenario", "login": "k", "password": "s", "host": f"{server.url}/v1"}
        monkeypatch.setenv("AIRFLOW_CONN_SCENARIO_DEFAULT", json.dumps(connection))
        return server

    yield start
    for context in opened:
        context.__exit__(None, None, None)


def save(destination: object, asset_ids: Any = "asset_1", **arguments: Any) -> list[dict[str, Any]]:
    operator = ScenarioToObjectStorageOperator(
        task_id="save", asset_ids=asset_ids, destination=str(destination), **arguments
    )
    context: Any = {"ti": TaskInstance(), "outlet_events": {}}
    return operator.execute(context)


def chunked(content: bytes, headers: dict[str, str]) -> Answer:
    """A reply without a length, which ends with its connection."""
    return Answer(200, content, {**headers, "Content-Length": ""})


WRONG: dict[str, Answer] = {
    "a page": Answer(200, PAGE, {"Content-Type": "text/html"}),
    "a page of the right length": Answer(200, PAGE.ljust(SIZE), {"Content-Type": "text/html; charset=utf-8"}),
    "a page that says it is a video": Answer(200, PAGE.ljust(SIZE), VIDEO),
    "a page without a type": Answer(200, PAGE.ljust(SIZE), {}),
    "a page without a length": chunked(PAGE, {"Content-Type": "text/html"}),
    "a page without a length that says it is a video": chunked(PAGE, VIDEO),
    "a short page without a length that says it is a video": chunked(PAGE[:300], VIDEO),
    "a storage's error": chunked(b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", VIDEO),
    "json": Answer(200, b'{"message": "denied"}'.ljust(SIZE), {"Content-Type": "application/json"}),
    "zeros": Answer(200, bytes(SIZE), VIDEO),
    "an image": Answer(200, b"\x89PNG\r\n\x1a\n".ljust(SIZE), {"Content-Type": "image/png"}),
    "gzip": Answer(200, gzip.compress(CONTENT), {**VIDEO, "Content-Encoding": "gzip"}),
    "gzip of the right length": Answer(200, gzip.compress(CONTENT).ljust(SIZE), {**VIDEO, "Content-Encoding": "gzip"}),
    "gzip without a word": chunked(gzip.compress(CONTENT), VIDEO),
    "br": Answer(200, CONTENT, {**VIDEO, "Content-Encoding": "br"}),
    "a part nobody asked for": Answer(206, CONTENT[:100], {**VIDEO, "Content-Range": f"bytes 5-104/{SIZE}"}),
    "no content": Answer(204, b"", {}),
    "another success": Answer(203, CONTENT, VIDEO),
    "nothing": Answer(200, b"", VIDEO),
    "a part without its place": Answer(206, CONTENT, VIDEO),
    "parts in one body": Answer(206, b"--B\r\n\r\n" + CONTENT, {"Content-Type": "multipart/byteranges; boundary=B"}),
    "deflate": Answer(200, CONTENT, {**VIDEO, "Content-Encoding": "deflate"}),
    "gzip on the way": Answer(200, CONTENT, {**VIDEO, "Transfer-Encoding": "gzip"}),
    "a redirect to http": Answer(302, b"", {"Location": "http://127.0.0.1:9/clip.mp4"}),
    "a redirect to another host": Answer(307, b"", {"Location": "https://evil.example/clip.mp4"}),
    "a list of parts": Answer(200, b"#EXTM3U\n".ljust(SIZE), VIDEO),
    "a page in UTF-16": Answer(200, PAGE.decode().encode("utf-16").ljust(SIZE), VIDEO),
    "too short": Answer(200, CONTENT[:-1], VIDEO),
    "too long": Answer(200, CONTENT + b"x", VIDEO),
    "too long without a length": chunked(CONTENT + b"x", VIDEO),
}


@pytest.mark.parametrize("size", [SIZE, None], ids=["recorded", "transformed"])
@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_reply_is_thrown_away(
    serve: Callable[..., ScriptedServer], tmp_path: Path, what: str, size: int | None
) -> None:
    serve(lambda request, visit: WRONG[what] if visit == 1 else right(request), size=size)
    [file] = save(tmp_path)
    assert (tmp_path / "asset_1.mp4").read_bytes() == CONTENT
    assert file["sha256"] == hashlib.sha256(CONTENT).hexdigest()


@pytest.mark.parametrize("what", WRONG)
def test_a_reply_that_stays_wrong_leaves_nothing(
    serve: Callable[..., ScriptedServer], tmp_path: Path, what: str
) -> None:
    serve(lambda request, visit: WRONG[what])
    with pytest.raises(ScenarioTransferError, match="did not arrive whole"):
        save(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "odd",
    [
        Answer(200, CONTENT, {"Content-Type": 'Video/MP4; codecs="avc1.42E01E, mp4a.40.2"'}),
        Answer(200, CONTENT, {"Content-Type": "binary/octet-stream"}),
        Answer(200, CONTENT, {"Content-Type": "application/force-download"}),
        Answer(200, CONTENT, {"Content-Type": "video/mp4, video/mp4"}),
        Answer(200, CONTENT, {**VIDEO, "Content-Encoding": "identity"}),
        Answer(200, CONTENT, {**VIDEO, "Content-Length": f"{SIZE}, {SIZE}"}),
        Answer(200, CONTENT, {**VIDEO, "Content-Length": "many"}),
        Answer(206, CONTENT, {**VIDEO, "Content-Range": f"bytes 0-{SIZE - 1}/{SIZE}"}),
        Answer(206, CONTENT, {**VIDEO, "Content-Range": f"bytes 0-{SIZE - 1}/*"}),
    ],
)
def test_an_odd_reply_with_the_right_bytes_is_taken_at_once(
    serve: Callable[..., ScriptedServer], tmp_path: Path, odd: Answer
) -> None:
    server = serve(lambda request, visit: odd)
    save(tmp_path)
    assert (tmp_path / "asset_1.mp4").read_bytes() == CONTENT
    assert sum(request.target.startswith("/cdn/") for request in server.requests) == 1


@pytest.mark.parametrize("size", [str(SIZE), "20000.0", {}])
def test_a_size_that_is_no_number_is_asked_of_the_cdn(
    serve: Callable[..., ScriptedServer], tmp_path: Path, size: object
) -> None:
    serve(lambda request, visit: WRONG["too short"] if visit == 1 else right(request), size=size)
    save(tmp_path)
    assert (tmp_path / "asset_1.mp4").read_bytes() == CONTENT


@pytest.mark.parametrize(
    "wrong",
    [
        Answer(206, PAGE, {"Content-Type": "text/html", "Content-Range": f"bytes 5000-{SIZE - 1}/{SIZE}"}),
        Answer(206, CONTENT[5000:], {**VIDEO, "Content-Range": f"bytes 6000-{SIZE - 1}/{SIZE}"}),
        Answer(206, CONTENT[5000:], {**VIDEO, "Content-Range": "bytes 5000-9999/10000"}),
        Answer(206, CONTENT[5000:], {**VIDEO, "Content-Range": f"bytes 5000-{SIZE}/{SIZE}"}),
        Answer(206, CONTENT[5000:], {**VIDEO}),
        Answer(206, bytes(SIZE - 5000), {**VIDEO, "ETag": '"2"', "Content-Range": f"bytes 5000-{SIZE - 1}/{SIZE}"}),
        Answer(
            206, gzip.compress(CONTENT), {**VIDEO, "Content-Encoding": "gzip", "Content-Range": "bytes 5000-9999/*"}
        ),
        Answer(206, CONTENT[5000:6000], {**VIDEO, "Content-Range": f"bytes 5000-5999/{SIZE}"}),
        Answer(200, PAGE, {"Content-Type": "text/html"}),
        Answer(416, b"", {**VIDEO, "Content-Range": "bytes */5000"}),
    ],
)
def test_a_wrong_rest_is_not_put_behind_a_right_beginning(
    serve: Callable[..., ScriptedServer], tmp_path: Path, wrong: Answer
) -> None:
    cut = Answer(200, CONTENT, VIDEO, cut=SIZE - 5000)
    serve(lambda request, visit: {1: cut, 2: wrong}.get(visit) or right(request))
    save(tmp_path)
    assert (tmp_path / "asset_1.mp4").read_bytes() == CONTENT


def test_another_version_is_noticed_across_a_reply_that_names_none(
    serve: Callable[..., ScriptedServer], tmp_path: Path
) -> None:
    def rest(first: int, content: bytes, **headers: str) -> Answer:
        shown = {"Content-Type": "video/mp4", "Content-Range": f"bytes {first}-{SIZE - 1}/{SIZE}", **headers}
        return Answer(206, content[first:], shown, cut=SIZE - 10_000 if first < 10_000 else 0)

    told = {
        1: Answer(200, CONTENT, VIDEO, cut=SIZE - 5000),
        2: rest(5000, CONTENT),
        3: rest(10_000, bytes(SIZE), ETag='"2"'),
    }
    serve(lambda request, visit: told.get(visit) or right(request))
    save(tmp_path)
    assert (tmp_path / "asset_1.mp4").read_bytes() == CONTENT


def test_a_cut_that_nobody_told_of_is_seen_in_the_file(serve: Callable[..., ScriptedServer], tmp_path: Path) -> None:
    """A proxy that drops lengths and ranges, and ends a reply too early as if it were whole."""
    content = draw_clip(tmp_path / "clip.mp4", seconds=1, width=128, height=64).read_bytes()
    video = {"Content-Type": "video/mp4"}
    serve(lambda request, visit: chunked(content[:2000] if visit < 3 else content, video), size=None)
    [file] = save(tmp_path / "saved")
    assert (tmp_path / "saved" / "asset_1.mp4").read_bytes() == content
    assert file["bytes"] == len(content)


@pytest.mark.parametrize("size", [-1, 0, 1e300, 10**400, "many", True, [1], 0.5, None])
def test_an_absurd_size_is_no_size(serve: Callable[..., ScriptedServer], tmp_path: Path, size: object) -> None:
    serve(right, asset={"properties": {"size": size}})
    assert save(tmp_path)[0]["bytes"] == SIZE


@pytest.mark.parametrize(
    "asset",
    [{"url": 7}, {"url": ["x"]}, {"id": None}, {"id": {"a": 1}}, {"id": "asset_other"}, {"status": ["success"]}],
)
def test_an_odd_asset_costs_no_neighbour(
    serve: Callable[..., ScriptedServer], tmp_path: Path, asset: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve(right)
    told = server.script

    def script(request: Request) -> Answer:
        if "asset_bad" not in request.target or not callable(told):
            return told(request)  # type: ignore[operator]
        document = json.loads(told(request).body)
        document["asset"].update(asset)
        return Answer(body=json.dumps(document).encode())

    server.script = script
    monkeypatch.setattr("airflow_provider_scenario.api.client.RetryConfig", lambda: RetryConfig(attempts=1))
    with pytest.raises(ScenarioError) as failure:
        save(tmp_path, ["asset_a", "asset_bad", "asset_b"], asset_timeout=0.1)
    assert "1 of 3 files" in failure.value.__notes__[0]
    assert "asset_bad" in failure.value.__notes__[0]
    assert sorted(path.name for path in tmp_path.glob("*.mp4")) == ["asset_a.mp4", "asset_b.mp4"]


def test_an_id_that_is_none_costs_no_neighbour(serve: Callable[..., ScriptedServer], tmp_path: Path) -> None:
    serve(right)
    with pytest.raises(ScenarioConfigurationError, match="no asset id"):
        save(tmp_path, ["asset_a", "../etc/passwd", "asset_b"])
    assert sorted(path.name for path in tmp_path.glob("*.mp4")) == ["asset_a.mp4", "asset_b.mp4"]


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:9/x", "http://cdn.example/x", "file:///etc/passwd", "ftp://x/y", "//x/y"]
)
def test_a_file_is_fetched_over_https_only(url: str) -> None:
    with (
        ScenarioClient(ClientConfig("k", "s", "https://api.example/v1")) as client,
        pytest.raises(ScenarioFileError, match="not https"),
        client.open_file(url),
    ):
        pass


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/x", "http://cdn.example/x", "file:///x", "ftp://x/y", "//x/y"])
def test_a_part_is_sent_over_https_only(url: str) -> None:
    with (
        ScenarioClient(ClientConfig("k", "s", "https://api.example/v1")) as client,
        pytest.raises(ScenarioFileError, match="not https"),
    ):
        client.put_part(url, CONTENT, "video/mp4")


def test_a_trickle_is_given_up(
    serve: Callable[..., ScriptedServer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "SLOW_WINDOW", 0.0)
    monkeypatch.setattr(download, "SLOWEST", 1e15)
    serve(lambda request, visit: Answer(200, CONTENT, VIDEO, cut=SIZE - 5000))
    with pytest.raises(ScenarioTransferError, match="bytes a second for a minute"):
        save(tmp_path)
    assert list(tmp_path.iterdir()) == []


# --- Types and endings


@pytest.mark.parametrize(
    ("mime_type", "extension"),
    [
        ("image/jpg", ".jpg"),
        ("audio/mp3", ".mp3"),
        ("audio/x-m4a", ".m4a"),
        ("video/x-m4v", ".m4v"),
        ("model/gltf-binary", ".glb"),
        ("audio/x-flac", ".flac"),
        ("video/x-matroska", ".mkv"),
        ("video/vnd.avi", ".avi"),
        ("audio/matroska", ".mka"),
        ("audio/3gpp", ".3gp"),
        ("audio/amr", ".amr"),
        ("audio/AMR-WB", ".awb"),
        ("audio/x-caf", ".caf"),
        ("audio/x-ms-wma", ".wma"),
        ("audio/x-mpeg-3", ".mp3"),
        ("image/x-jpg", ".jpg"),
        ("video/x-mpeg", ".mpg"),
        ("text/x-python", ".bin"),
    ],
)
def test_endings_come_from_our_own_table(mime_type: str, extension: str) -> None:
    assert extension_of(mime_type) == extension


@pytest.mark.parametrize(
    ("recorded", "offered", "fits"),
    [
        ("video/mp4", "video/mp4; codecs=avc1", True),
        ("video/mp4", "binary/octet-stream", True),
        ("video/mp4", "", True),
        ("audio/mpeg", "audio/mp3", True),
        ("audio/mp4", "video/mp4", True),
        ("image/png", "image/jpeg", False),
        ("video/mp4", "text/plain", False),
        ("text/plain", "text/html", False),
        ("model/gltf-binary", "model/glb", True),
        ("application/json", "text/plain", True),
        ("application/octet-stream", "text/html", False),
    ],
)
def test_types_that_fit(recorded: str, offered: str, fits: bool) -> None:
    assert type_fits(recorded, offered, "") is fits


@pytest.mark.parametrize(
    ("mime_type", "head", "fits"),
    [
        ("image/svg+xml", b"<?xml version='1.0'?><!-- made by --><html><body>", False),
        ("image/svg+xml", b"<!-- a --><?xml version='1.0'?>\n<!-- b -->\n<svg>", True),
        ("model/stl", "<html>".encode("utf-16"), False),
        ("model/stl", b"solid cube\n", True),
        ("model/obj", b"<h1>Forbidden</h1>", False),
        ("application/octet-stream", b"<center><h1>502 Bad Gateway</h1></center>", False),
        ("application/octet-stream", bytes(range(256)), True),
        ("application/json", b"upstream connect error", False),
        ("application/json", b"\xef\xbb\xbf\n[1]", True),
        ("model/gltf+json", b"no healthy upstream", False),
        ("text/csv", b"<p>Blocked</p>", False),
        ("text/plain", b"<p>how to write HTML</p>", True),
        ("text/html", b"<p>", True),
        ("video/mpeg", b"\0\0\x01\xba", True),
        ("video/mpeg", b"\0\0\x02\xba", False),
        ("image/x-icon", b"\0\0\x01\0", True),
        ("text/plain", gzip.compress(b"packed on the way", mtime=0), False),
        ("model/obj", gzip.compress(b"packed on the way", mtime=0), False),
        ("application/gzip", gzip.compress(b"a file of its own", mtime=0), True),
        ("application/octet-stream", gzip.compress(b"a file of its own", mtime=0), True),
        ("audio/amr", b"#!AMR\n<", True),
        ("audio/x-ms-wma", b"RIFF", False),
    ],
)
def test_how_files_of_a_type_begin(mime_type: str, head: bytes, fits: bool) -> None:
    assert bytes_fit(mime_type, head) is fits


def test_every_type_of_the_table_can_be_judged() -> None:
    for mime_type in _TABLE:
        assert bytes_fit(mime_type, b"\0") in (True, False), mime_type
        assert not bytes_fit(mime_type, PAGE[:1024]) or mime_type in ("text/html", "text/plain", "text/markdown")


@pytest.mark.parametrize("head", [b"<!---->", b"<!-- -->-->", b"<?xml?>", b"<!--", b"<?xml ", b" "])
def test_no_beginning_takes_long_to_judge(head: bytes) -> None:
    began = time.monotonic()
    assert bytes_fit("model/stl", (head * 1024)[:1024])
    assert time.monotonic() - began < 1

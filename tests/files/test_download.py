"""Which bytes are taken, and when they are all."""

from __future__ import annotations

import hashlib
import io
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from airflow_provider_scenario.api.asset import Asset
from airflow_provider_scenario.exceptions import ScenarioTransferError
from airflow_provider_scenario.files.download import AssetDownloader
from airflow_provider_scenario.files.file_download import FileDownload, StaleUrlError
from airflow_provider_scenario.files.transfer_log import Progress
from tests.transfers.test_pure_parts import Lines

CONTENT = b"\0\0\0\x10ftypisom" + bytes(range(88))


@dataclass
class Head:
    """The head of a reply."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


def whole(tag: str = "a", size: int = 100) -> Head:
    return Head(200, {"content-length": str(size), "etag": tag})


def rest(first: int, tag: str = "a", size: int = 100) -> Head:
    return Head(206, {"content-range": f"bytes {first}-{size - 1}/{size}", "etag": tag})


def a_download(size: int | None = 100) -> tuple[FileDownload, io.BytesIO]:
    file = io.BytesIO()
    asset = Asset(id="asset_1", url="", kind="video", mime_type="video/mp4", size=size)
    return FileDownload(asset, file, Progress(Lines(), "asset_1", size)), file


@pytest.mark.parametrize("size", [100, None])
def test_a_cut_file_is_put_together(size: int | None) -> None:
    download, file = a_download(size)
    download.begin(whole())
    download.add(CONTENT[:40])
    with pytest.raises(ScenarioTransferError, match="40 of 100 bytes"):
        download.finish()
    download.begin(rest(40))
    download.add(CONTENT[40:])
    received = download.finish()
    assert (received.sha256, received.size) == (hashlib.sha256(CONTENT).hexdigest(), 100)
    assert file.getvalue() == CONTENT


@pytest.mark.parametrize("head", [whole(), whole("b")])
def test_a_reply_from_the_beginning_replaces_what_came(head: Head) -> None:
    download, file = a_download()
    download.begin(whole())
    download.add(b"x" * 40)
    download.begin(head)
    download.add(CONTENT)
    assert download.finish().sha256 == hashlib.sha256(CONTENT).hexdigest()
    assert file.getvalue() == CONTENT


@pytest.mark.parametrize("head", [rest(40, "b"), rest(10), Head(206), Head(206, {"content-range": "bytes x"})])
def test_bytes_of_another_file_or_place_are_not_taken(head: Head) -> None:
    download, file = a_download()
    download.begin(whole())
    download.add(CONTENT[:40])
    with pytest.raises(ScenarioTransferError, match="another part"):
        download.begin(head)
    assert download.position == 0
    assert file.getvalue() == b""


def test_a_rest_of_a_file_of_another_length_is_not_taken() -> None:
    """Where neither Scenario tells a size nor the CDN a version, the length is all there is to tell them apart."""
    download, file = a_download(None)
    download.begin(Head(200, {"content-length": "100"}))
    download.add(CONTENT[:40])
    with pytest.raises(ScenarioTransferError, match="another part"):
        download.begin(Head(206, {"content-range": "bytes 40-119/120"}))
    assert (download.position, file.getvalue()) == (0, b"")


@pytest.mark.parametrize(
    ("status", "kind"), [(403, StaleUrlError), (404, StaleUrlError), (416, StaleUrlError), (500, ScenarioTransferError)]
)
def test_refusals(status: int, kind: type[Exception]) -> None:
    download, _ = a_download()
    with pytest.raises(kind, match=f"HTTP {status}"):
        download.begin(Head(status))


def test_another_size_than_scenario_recorded_is_refused_before_any_byte() -> None:
    download, _ = a_download(size=99)
    with pytest.raises(StaleUrlError, match="offers 100 bytes for asset_1, whose record says 99"):
        download.begin(whole())


@pytest.mark.parametrize(("size", "sent"), [(100, 99), (100, 101), (None, 0)])
def test_a_length_nobody_announced_is_still_counted(size: int | None, sent: int) -> None:
    download, _ = a_download(size)
    download.begin(Head(200))

    def take() -> None:
        download.add((CONTENT + b"x")[:sent])
        download.finish()

    with pytest.raises(ScenarioTransferError):
        take()


def test_a_reply_that_says_nothing_is_missing_is_enough() -> None:
    download, file = a_download(None)
    download.begin(whole())
    download.add(CONTENT)
    assert not download.begin(Head(416, {"content-range": "bytes */100"}))
    assert download.finish().size == 100
    with pytest.raises(StaleUrlError):
        download.begin(Head(416, {"content-range": "bytes */101"}))
    assert file.getvalue() == b""


@pytest.mark.parametrize("stopped_after", [0, 1])
def test_what_is_stopped_half_way_is_no_file_even_if_nobody_told_its_size(
    monkeypatch: pytest.MonkeyPatch, stopped_after: int
) -> None:
    stop = threading.Event()

    class Stream(Head):
        def __enter__(self) -> Stream:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def chunks(self, _: int) -> Iterator[bytes]:
            for number in range(3):
                if number == stopped_after:
                    stop.set()
                yield CONTENT

    class Client:
        def open_file(self, url: str, start: int = 0) -> Stream:
            return Stream()

    downloader = AssetDownloader(Client(), None, None, "", Lines())  # type: ignore[arg-type]
    monkeypatch.setattr(downloader, "_stop", stop)
    asset = Asset(id="asset_1", url="", kind="video", mime_type="video/mp4", size=None)
    with pytest.raises(ScenarioTransferError, match="was stopped"):
        downloader.fetch(asset, io.BytesIO())

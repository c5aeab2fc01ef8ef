"""A file of Scenario's on its way to the browser: by a redirect, or handed on piece by piece."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING

import anyio
from starlette.responses import RedirectResponse, Response, StreamingResponse

from airflow_provider_scenario.api.asset import Asset
from airflow_provider_scenario.api.client import FileStream, check_file_address
from airflow_provider_scenario.api.mime_types import canonical_type
from airflow_provider_scenario.exceptions import ScenarioFileError, ScenarioTransferError, redact
from airflow_provider_scenario.files.file_download import refusal_of
from airflow_provider_scenario.ui.reads import Access

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

CHUNK = 1 << 16
"""Bytes that one viewer holds in memory at a time."""

STREAMS = 24
"""Files that may wait for Scenario's CDN at once: their threads are not those that Airflow answers with."""

PRIVATE = {
    "Cache-Control": "private, no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""On every reply: what it holds is for one user, and the address that led to it is for nobody else."""

_HARMLESS = re.compile(r"(video|audio)/[a-z0-9.+-]{1,60}|image/(png|jpeg|gif|webp|avif|bmp)")
"""What a browser shows without running anything in it. A page or an SVG from our own address could act as the user."""

_ONE_RANGE = re.compile(r"bytes=(\d{1,18}-\d{0,18}|-\d{1,18})")
_KEPT = ("content-length", "content-range", "accept-ranges", "etag")

_slots: anyio.CapacityLimiter | None = None


def redirect(asset: Asset, base_url: str) -> Response:
    """Send the browser to the address that was signed just now: nothing of the file passes through Airflow."""
    _check_address(asset)
    check_file_address(asset.url, base_url)
    return RedirectResponse(asset.url, 307, headers=PRIVATE)


class Proxied(StreamingResponse):
    """Hands a file on, a piece at a time, as fast as the browser takes it; lets go of the CDN when the browser does."""

    def __init__(self, stack: ExitStack, stream: FileStream, headers: dict[str, str]) -> None:
        super().__init__(_pieces(stream.chunks(CHUNK)), stream.status, headers)
        self._stack = stack  # holds the connection to the CDN

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it, and close the connection however that ends."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._stack.close()


def proxy(access: Access, asset: Asset, byte_range: str | None, *, download: bool) -> Response:
    """Open the file at the address that was signed just now, and return the reply that hands it on."""
    _check_address(asset)
    # Anything but one range means the whole file.
    wanted = byte_range if byte_range and _ONE_RANGE.fullmatch(byte_range) else None
    with ExitStack() as stack:
        client = stack.enter_context(access.open())
        stream = stack.enter_context(client.open_file(asset.url, byte_range=wanted))
        if stream.status not in (200, 206, 416):
            raise ScenarioTransferError(f"Scenario's CDN answered {stream.status} instead of the file.")
        refused = refusal_of(stream, asset) if stream.status != 416 else None
        if refused is not None:
            raise refused
        headers = {name: value for name in _KEPT if (value := stream.headers.get(name)) is not None}
        is_harmless = bool(_HARMLESS.fullmatch(asset.mime_type))
        headers["Content-Type"] = asset.mime_type if is_harmless else "application/octet-stream"
        # Whatever it holds, it may do nothing. A range of it must not be compressed, as Airflow does with replies.
        headers |= {"Content-Encoding": "identity"}
        headers |= PRIVATE | {"Content-Security-Policy": "default-src 'none'; sandbox"}
        if download or not is_harmless:
            headers["Content-Disposition"] = f'attachment; filename="{asset.id}{asset.extension}"'
        return Proxied(stack.pop_all(), stream, headers)


def slots() -> anyio.CapacityLimiter:
    """Return the threads in which Scenario is waited for: Airflow's own serve all that is not ours."""
    global _slots
    _slots = _slots or anyio.CapacityLimiter(STREAMS)
    return _slots


async def _pieces(chunks: Iterator[bytes]) -> AsyncIterator[bytes]:
    """Yield pieces; each is read in a thread that is free again while the browser takes it."""
    while piece := await anyio.to_thread.run_sync(next, chunks, b"", limiter=slots()):
        yield piece


def _check_address(asset: Asset) -> None:
    if not asset.url.lower().startswith(("https://", "http://")):
        raise ScenarioFileError(f"Scenario names no address of the file {asset.id}.")


def poster(access: Access, asset: Asset) -> Response:
    """Return a small picture of a file, small enough for a question of Airflow's."""
    with access.open() as client, client.open_file(asset.thumbnail_url) as stream:
        kind = canonical_type(stream.headers.get("content-type", ""))
        if stream.status != 200 or not _HARMLESS.fullmatch(kind):
            of_type = f" with {redact(kind)[:50]}" if kind else ""
            raise ScenarioTransferError(f"Scenario's CDN answered {stream.status}{of_type} instead of the picture.")
        held = bytearray()
        for piece in stream.chunks(CHUNK):
            held += piece
            if len(held) > _LARGEST_POSTER:
                raise ScenarioTransferError("Scenario's picture of the file is too large.")
    return Response(bytes(held), media_type=kind, headers=PRIVATE)


_LARGEST_POSTER = 4 << 20

"""/cdn: the files themselves, for anybody with a signed URL; no key is asked for, and none should come."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.responses import FileResponse, Response, StreamingResponse

from airflow_provider_scenario.sandbox.backend.refusal import RefusalError
from airflow_provider_scenario.sandbox.studio.encoding import write_image
from airflow_provider_scenario.sandbox.studio.media import first_frame
from airflow_provider_scenario.sandbox.studio.rendering import skipped_box
from airflow_provider_scenario.sandbox.web.exchange import world_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from starlette.requests import Request

CHUNK = 1 << 20
# What a transformed file has after the original's bytes: something every player skips.
TRANSFORMED_END = skipped_box(b"transformed by the sandbox: ask for originalAssets=true to get the original file")


@dataclass(frozen=True, slots=True)
class Part:
    """Bytes from ``first`` to ``last``, both counted from 0 and included."""

    first: int
    last: int

    @property
    def length(self) -> int:
        """The number of bytes."""
        return self.last - self.first + 1


async def get_original(request: Request) -> Response:
    """GET and HEAD /cdn/assets/{assetId}: the stored file, whole or a range."""
    return _file(request, b"")


async def get_transformed(request: Request) -> Response:
    """GET and HEAD /cdn/assets-transform/{assetId}: what Scenario made of the file for quicker viewing."""
    return _file(request, TRANSFORMED_END)


async def get_thumbnail(request: Request) -> Response:
    """GET /cdn/thumbnails/{assetId}: the first frame, as a picture."""
    world = world_of(request)
    try:
        world.signer.check(request.url.path, dict(request.query_params), world.clock.server_now())
        asset = world.assets.get(request.path_params["assetId"])
    except RefusalError:
        return Response(status_code=403)
    path = asset.path.with_suffix(".thumbnail.png")
    if not path.exists():
        await asyncio.to_thread(_draw_thumbnail, asset.path, path)
    return FileResponse(path, media_type="image/png")


def _draw_thumbnail(source: Path, path: Path) -> None:
    frame = first_frame(source)
    write_image(path, frame.reformat(width=320, height=max(1, round(320 * frame.height / frame.width)), format="rgb24"))


def _file(request: Request, ending: bytes) -> Response:
    world = world_of(request)
    try:
        world.signer.check(request.url.path, dict(request.query_params), world.clock.server_now())
        asset = world.assets.get(request.path_params["assetId"])
    except RefusalError as refusal:
        return Response(
            f"<Error><Code>AccessDenied</Code><Message>{refusal}</Message></Error>", 403, media_type="text/xml"
        )
    stored = asset.path.stat().st_size
    size = stored + len(ending)
    tag = f'"{asset.asset_id[-12:]}-{size:x}"'
    headers = {"Accept-Ranges": "bytes", "ETag": tag, "Content-Type": asset.mime_type, "Cache-Control": "max-age=86400"}
    asked = request.headers.get("range") if request.headers.get("if-range", tag) == tag else None
    part = _part(asked, size)
    if part is None:
        return Response(status_code=416, headers={"Content-Range": f"bytes */{size}"})
    headers["Content-Length"] = str(part.length)
    if part.length < size or asked:
        headers["Content-Range"] = f"bytes {part.first}-{part.last}/{size}"
    status = 206 if "Content-Range" in headers else 200
    if request.method == "HEAD":
        return Response(status_code=status, headers=headers)
    return StreamingResponse(_bytes(asset.path, stored, ending, part), status, headers)


def _part(asked: str | None, size: int) -> Part | None:
    """Give the part asked for; None if there is no such part. What is not a single range means the whole."""
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", asked or "")
    if not match or match.groups() == ("", ""):
        return Part(0, size - 1)
    first, last = match.groups()
    if first == "":
        return Part(max(size - int(last), 0), size - 1) if int(last) else None
    if int(first) >= size or (last and int(last) < int(first)):
        return None
    return Part(int(first), min(int(last), size - 1) if last else size - 1)


async def _bytes(path: Path, stored: int, ending: bytes, part: Part) -> AsyncIterator[bytes]:
    """Give the bytes of a part of a stored file followed by an ending, a megabyte at a time."""
    left = min(part.last + 1, stored) - part.first
    if left > 0:
        with path.open("rb") as file:
            file.seek(part.first)
            while left > 0 and (chunk := await asyncio.to_thread(file.read, min(CHUNK, left))):
                left -= len(chunk)
                yield chunk
    tail = ending[max(part.first - stored, 0) : max(part.last + 1 - stored, 0)]
    if tail:
        yield tail

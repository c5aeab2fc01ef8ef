"""New assets from bytes: small pictures sent in JSON, data URLs, long prompts, finished uploads."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING

from airflow_provider_scenario.sandbox.backend.assets import Asset, mime_type_of, properties_of
from airflow_provider_scenario.sandbox.backend.identifiers import new_id
from airflow_provider_scenario.sandbox.backend.refusal import RefusalError
from airflow_provider_scenario.sandbox.backend.timeline import FAILURE, IN_PROGRESS, SUCCESS, Moment
from airflow_provider_scenario.sandbox.backend.uploads import assemble
from airflow_provider_scenario.sandbox.studio.media import MediaFacts, UnreadableMediaError, probe

if TYPE_CHECKING:
    import asyncio
    from concurrent.futures import Future

    from airflow_provider_scenario.sandbox.backend.uploads import Upload
    from airflow_provider_scenario.sandbox.backend.world import World

UPLOADED_AS = {
    "image": "uploaded",
    "video": "uploaded-video",
    "audio": "uploaded-audio",
    "text": "uploaded-text",
    "3d": "uploaded-3d",
}
SMALL_IMAGE_LIMIT = 6_000_000


def decode(text: str, name: str) -> bytes:
    """Give the bytes of a base64 text or of a data URL."""
    encoded = text.partition(",")[2] if text.startswith("data:") else text
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise RefusalError(400, f'"{name}" must be a base64 encoded file') from None


def media_asset(world: World, data: bytes, kind: str, name: str, *, keep: bool = True) -> Asset:
    """Give an asset of a picture, video or sound; ``keep=False`` only looks at it, for an estimate."""
    identifier = new_id("asset")
    path = world.files / identifier
    path.write_bytes(data)
    try:
        facts = probe(path)
    except UnreadableMediaError as error:
        path.unlink()
        raise RefusalError(400, f"{name}: {error}") from None
    if facts.kind != kind:
        raise RefusalError(400, f"{name} must be a file of kind {kind}, got {facts.kind}")
    now = world.clock.now()
    asset = Asset(
        asset_id=identifier,
        kind=kind,
        mime_type=mime_type_of(facts),
        path=path,
        properties=properties_of(facts, len(data)),
        source=UPLOADED_AS[kind],
        created_at=now,
        ready_at=now,
        facts=facts,
        metadata={"name": name},
    )
    if keep:
        world.assets.add(asset)
    return asset


def text_asset(world: World, text: str) -> Asset:
    """Give an asset that holds a text."""
    identifier = new_id("asset")
    path = world.files / identifier
    data = text.encode()
    path.write_bytes(data)
    now = world.clock.now()
    properties = {"size": len(data), "charCount": len(text), "wordCount": len(text.split()), "preview": text[:100]}
    return world.assets.add(Asset(identifier, "text", "text/plain", path, properties, "uploaded-text", now, now))


def complete(world: World, upload: Upload, loop: asyncio.AbstractEventLoop) -> None:
    """Close an upload: put its file together in a worker, and make an asset of it."""
    if upload.completed_at is not None:
        return
    missing = [number for number in range(1, upload.parts + 1) if not upload.part_path(number).exists()]
    if missing:
        raise RefusalError(400, f"Part {missing[0]} was not uploaded")
    upload.completed_at = world.clock.now()
    if upload.job:
        world.jobs.append(upload.job, Moment(upload.completed_at, IN_PROGRESS, 0.5))
    era = world.era

    def report(work: Future[MediaFacts | None]) -> None:
        loop.call_soon_threadsafe(_import, world, era, upload, work)

    world.workers.submit(assemble, upload).add_done_callback(report)


def _import(world: World, era: int, upload: Upload, work: Future[MediaFacts | None]) -> None:
    if world.era != era or upload.completed_at is None:
        return
    end = max(upload.completed_at + world.settings.upload_seconds, world.clock.now())
    problem = work.exception()
    if problem is None:
        upload.asset_id = _uploaded_asset(world, upload, work.result(), end)
    else:
        upload.error = str(problem) if isinstance(problem, UnreadableMediaError) else "the file could not be read"
    if upload.job:
        upload.job.output = {"entityId": upload.asset_id} if upload.asset_id else None
        upload.job.asset_ids = [upload.asset_id] if upload.asset_id else []
        upload.job.error = upload.error
        world.jobs.append(upload.job, Moment(end, FAILURE if upload.error else SUCCESS, 1))


def _uploaded_asset(world: World, upload: Upload, facts: MediaFacts | None, ready_at: float) -> str:
    size = upload.path.stat().st_size
    asset = Asset(
        asset_id=new_id("asset"),
        kind=upload.kind,
        mime_type=mime_type_of(facts, upload.content_type)
        if facts
        else upload.content_type or "application/octet-stream",
        path=upload.path,
        properties=properties_of(facts, size) if facts else {"size": size},
        source=UPLOADED_AS.get(upload.kind, "uploaded"),
        created_at=ready_at,
        ready_at=ready_at,
        facts=facts,
        metadata={"name": upload.file_name},
    )
    return world.assets.add(asset).asset_id

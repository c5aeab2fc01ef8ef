"""/v1/uploads, and the bucket that takes the parts."""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from airflow_provider_scenario.sandbox.backend import intake
from airflow_provider_scenario.sandbox.backend.jobs import Job
from airflow_provider_scenario.sandbox.backend.refusal import RefusalError
from airflow_provider_scenario.sandbox.backend.timeline import PENDING, Moment
from airflow_provider_scenario.sandbox.backend.uploads import Upload
from airflow_provider_scenario.sandbox.web.exchange import body_of, origin, reply, world_of

if TYPE_CHECKING:
    from starlette.requests import Request

KINDS = ("3d", "asset", "audio", "avatar", "image", "model", "text", "video")
PARTS_LIMIT = 1000
LARGEST_FILE = 1 << 50
PART_LIFE_SECONDS = 3600


def _record(request: Request, upload: Upload) -> dict[str, Any]:
    world = world_of(request)
    status = upload.status_at(world.clock.now(), world.settings.upload_seconds)
    record: dict[str, Any] = {
        "id": upload.upload_id,
        "status": status,
        "kind": upload.kind,
        "source": "url" if upload.url else "multipart",
        "fileName": upload.file_name,
        "originalFileName": upload.file_name,
        "authorId": world.author_id,
        "ownerId": world.project_id,
        "createdAt": world.clock.stamp(upload.created_at),
        "updatedAt": world.clock.stamp(upload.completed_at or upload.created_at),
        "contentType": upload.content_type,
        "fileSize": upload.file_size,
        "partsCount": upload.parts or None,
        "jobId": upload.job.job_id if upload.job else None,
        "url": upload.url,
        "entityId": upload.asset_id if status == "imported" else None,
        "errorMessage": upload.error if status == "failed" else None,
    }
    return {name: value for name, value in record.items() if value is not None}


def _part_record(request: Request, upload: Upload, number: int) -> dict[str, Any]:
    world = world_of(request)
    path = f"/bucket/{upload.upload_id}/{number}"
    expires = int(world.clock.server_now()) + PART_LIFE_SECONDS
    return {
        "number": number,
        "url": f"{origin(request)}{path}?{world.signer.query(path, expires)}",
        "expires": world.clock.stamp(world.clock.now() + PART_LIFE_SECONDS),
    }


async def create_upload(request: Request) -> Response:
    """POST /v1/uploads: ask for URLs of parts, or have the server fetch a URL."""
    world = world_of(request)
    body = await body_of(request)
    if body.get("kind") not in KINDS:
        raise RefusalError(400, f'"kind" must be one of [{", ".join(KINDS)}]')
    now = world.clock.now()
    upload = Upload(body["kind"], now, str(body.get("fileName", "file")), world.files)
    if body.get("url"):
        upload.url = str(body["url"])
    else:
        _read_parts(body, upload)
    upload.job = world.jobs.add(Job("upload", now, now, [Moment(now, PENDING, 0)]))
    world.uploads.add(upload)
    record = _record(request, upload)
    if upload.url:
        intake.complete(world, upload, asyncio.get_running_loop())
    else:
        record["parts"] = [_part_record(request, upload, number) for number in range(1, upload.parts + 1)]
    return reply({"upload": record})


def _read_parts(body: dict[str, Any], upload: Upload) -> None:
    for name, kind in (("fileName", str), ("contentType", str), ("fileSize", (int, float)), ("parts", (int, float))):
        if not isinstance(body.get(name), kind):
            raise RefusalError(400, f'"{name}" is required')
    if not 1 <= body["parts"] <= PARTS_LIMIT or not 1 <= body["fileSize"] <= LARGEST_FILE:
        raise RefusalError(400, f'"parts" must be from 1 to {PARTS_LIMIT}, and "fileSize" positive')
    upload.content_type, upload.file_size, upload.parts = body["contentType"], int(body["fileSize"]), int(body["parts"])


async def get_upload(request: Request) -> Response:
    """GET /v1/uploads/{uploadId}."""
    return reply({"upload": _record(request, world_of(request).uploads.get(request.path_params["uploadId"]))})


async def act_on_upload(request: Request) -> Response:
    """POST /v1/uploads/{uploadId}/action: complete."""
    world = world_of(request)
    upload = world.uploads.get(request.path_params["uploadId"])
    if (await body_of(request)).get("action") != "complete":
        raise RefusalError(400, '"action" must be [complete]')
    intake.complete(world, upload, asyncio.get_running_loop())
    return reply({"upload": _record(request, upload)})


async def put_part(request: Request) -> Response:
    """PUT /bucket/{uploadId}/{number}: take the bytes of one part, from anybody with its signed URL and no key."""
    world = world_of(request)
    if "authorization" in request.headers:
        message = b"<Error><Code>InvalidArgument</Code><Message>Only one auth mechanism allowed</Message></Error>"
        return Response(message, 400, media_type="application/xml")
    world.signer.check(request.url.path, dict(request.query_params), world.clock.server_now())
    upload = world.uploads.get(request.path_params["uploadId"])
    number = request.path_params["number"]
    path = upload.part_path(int(number) if number.isdecimal() else 0)
    arriving = path.with_suffix(f"{path.suffix}.arriving")
    digest = hashlib.md5(usedforsecurity=False)
    with arriving.open("wb") as file:
        async for chunk in request.stream():
            digest.update(chunk)
            await asyncio.to_thread(file.write, chunk)
    arriving.replace(path)
    return Response(status_code=200, headers={"ETag": f'"{digest.hexdigest()}"'})

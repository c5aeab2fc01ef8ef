"""/sandbox: the sandbox's own controls, which Scenario does not have. No key is asked for."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, cast

from airflow_provider_scenario.sandbox.backend import production
from airflow_provider_scenario.sandbox.backend.assets import Asset, mime_type_of, properties_of
from airflow_provider_scenario.sandbox.backend.identifiers import new_id
from airflow_provider_scenario.sandbox.backend.refusal import RefusalError
from airflow_provider_scenario.sandbox.backend.timeline import IN_PROGRESS, STATUSES
from airflow_provider_scenario.sandbox.clip import draw_clip, probe
from airflow_provider_scenario.sandbox.settings import LARGEST_NUMBER, SettingsError
from airflow_provider_scenario.sandbox.web.exchange import body_of, reply, world_of
from airflow_provider_scenario.sandbox.web.faults import FaultError
from airflow_provider_scenario.sandbox.web.jobs import job_record

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from airflow_provider_scenario.sandbox.backend.world import World
    from airflow_provider_scenario.sandbox.web.front_door import FrontDoor

SYNTHETIC_MODEL = "model_wan-2-1-1-3b"
JOBS_LIMIT = 100_000
LARGEST_ASSET = 1 << 40


def _door(request: Request) -> FrontDoor:
    return cast("FrontDoor", request.app.state.front_door)


async def get_health(request: Request) -> Response:
    """GET /sandbox/health."""
    return reply({"status": "healthy", "jobs": len(world_of(request).jobs)})


async def get_ledger(request: Request) -> Response:
    """GET /sandbox/ledger: every paid job and the totals."""
    world = world_of(request)
    return reply(world.ledger.as_json(world.clock))


async def get_requests(request: Request) -> Response:
    """GET /sandbox/requests: counts by method and route, and the recent requests."""
    return reply(_door(request).traffic.as_json())


async def get_leaks(request: Request) -> Response:
    """GET /sandbox/leaks: requests that carried the key to the CDN or the bucket."""
    return reply({"leaks": _door(request).traffic.leaks})


async def list_faults(request: Request) -> Response:
    """GET /sandbox/faults."""
    return reply({"faults": [rule.as_json() for rule in _door(request).faults.rules]})


async def add_fault(request: Request) -> Response:
    """POST /sandbox/faults: add one rule, as ``web/faults.py`` describes it."""
    try:
        return reply(_door(request).faults.add(await body_of(request)).as_json(), 201)
    except (FaultError, TypeError) as error:
        raise RefusalError(400, str(error)) from None


async def clear_faults(request: Request) -> Response:
    """DELETE /sandbox/faults."""
    _door(request).faults.rules.clear()
    return reply({"faults": []})


async def get_settings(request: Request) -> Response:
    """GET /sandbox/settings."""
    return reply(world_of(request).settings.as_json())


async def change_settings(request: Request) -> Response:
    """POST /sandbox/settings: a JSON object of those to change."""
    try:
        world_of(request).configure(await body_of(request))
    except SettingsError as error:
        raise RefusalError(400, str(error)) from None
    return reply(world_of(request).settings.as_json())


async def make_jobs(request: Request) -> Response:
    """POST /sandbox/jobs: ``{"count", "status", "seconds", "modelId", "inputs"}``.

    With ``seconds`` the jobs run for so long and succeed; without, they stay in ``status`` (default in-progress).
    Nothing is charged, and no limit applies.
    """
    world, body = world_of(request), await body_of(request)
    count, status = body.get("count", 1), body.get("status", IN_PROGRESS)
    if not isinstance(count, int) or not 1 <= count <= JOBS_LIMIT or status not in STATUSES:
        raise RefusalError(400, f"count must be from 1 to {JOBS_LIMIT}, and status one of {', '.join(STATUSES)}")
    model_id, inputs = body.get("modelId", SYNTHETIC_MODEL), body.get("inputs", {})
    if not isinstance(model_id, str) or not isinstance(inputs, dict):
        raise RefusalError(400, "modelId must be text, and inputs an object")
    _check_number(body, "seconds", LARGEST_NUMBER)
    loop = asyncio.get_running_loop()
    made = [
        production.synthetic_job(world, model_id, status, body.get("seconds"), inputs, loop).job_id
        for _ in range(count)
    ]
    return reply({"jobIds": made}, 201)


def _check_number(body: dict[str, Any], name: str, most: float) -> None:
    value = body.get(name)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if value is not None and not (is_number and 0 <= value <= most):
        raise RefusalError(400, f"{name} must be a number from 0 to {most:g}")


async def set_job(request: Request) -> Response:
    """POST /sandbox/jobs/{jobId}: ``{"status", "progress", "error", "hint"}``; the job stays as it is set."""
    world, body = world_of(request), await body_of(request)
    job = world.jobs.get(request.path_params["jobId"])
    status = body.get("status", "success")
    if status not in STATUSES:
        raise RefusalError(400, f"status must be one of {', '.join(STATUSES)}")
    _check_number(body, "progress", 1)
    if not all(isinstance(body.get(name), str | None) for name in ("error", "hint")):
        raise RefusalError(400, "error and hint must be text")
    job.error, job.hint = body.get("error", job.error), body.get("hint", job.hint)
    production.set_status(world, job, status, body.get("progress"), asyncio.get_running_loop())
    return reply({"job": job_record(world, job, world.clock.now())})


async def add_model(request: Request) -> Response:
    """POST /sandbox/models: offer or replace one, by a record as ``GET /models/{id}`` gives it."""
    body = await body_of(request)
    record = body.get("model", body)
    if not isinstance(record, dict):
        raise RefusalError(400, "a model must be an object")
    inputs = record.get("inputs")
    if not isinstance(record.get("id"), str) or not isinstance(inputs, list):
        raise RefusalError(400, "a model needs an id and inputs")
    if not all(
        isinstance(one, dict) and all(isinstance(one.get(key), str) for key in ("name", "type")) for one in inputs
    ):
        raise RefusalError(400, "each of a model's inputs needs a name and a type")
    world_of(request).catalogue.add(record)
    return reply({"model": world_of(request).catalogue.get(record["id"])}, 201)


async def make_asset(request: Request) -> Response:
    """POST /sandbox/assets: ``{"bytes": n}``, a playable video of so many bytes, mostly padding that players skip."""
    world, size = world_of(request), (await body_of(request)).get("bytes", 1_000_000)
    if not isinstance(size, int) or size > LARGEST_ASSET:
        raise RefusalError(400, f"bytes must be a whole number up to {LARGEST_ASSET}")
    asset = await asyncio.to_thread(_padded_video, world, size)
    world.assets.add(asset)
    return reply({"assetId": asset.asset_id}, 201)


def _padded_video(world: World, size: int) -> Asset:
    identifier, now = new_id("asset"), world.clock.now()
    path = draw_clip(world.files / identifier, seconds=0.5, width=64, height=64)
    padding = size - path.stat().st_size
    # The long form of a box's head is 16 bytes.
    if padding < 16:
        raise RefusalError(400, f"a video has at least {path.stat().st_size + 16} bytes")
    with path.open("ab") as file:
        file.write((1).to_bytes(4, "big") + b"free" + padding.to_bytes(8, "big"))
        file.truncate(size)
    facts = probe(path)
    return Asset(identifier, "video", mime_type_of(facts), path, properties_of(facts, size), "uploaded-video", now, now)


async def expire_urls(request: Request) -> Response:
    """POST /sandbox/expire-urls: every URL signed so far is refused from now on."""
    world_of(request).signer.rotate()
    return reply({"expired": True})


async def reset(request: Request) -> Response:
    """POST /sandbox/reset: back to the first settings; all else is forgotten: jobs, files, money, traffic, faults."""
    world_of(request).reset()
    _door(request).reset()
    return reply({"reset": True})


def explain(base_url: str, key: str, secret: str, control_url: str) -> dict[str, Any]:
    """Tell what a program needs to know to use this sandbox."""
    return {"base_url": base_url, "api_key": key, "api_secret": secret, "control_url": control_url}


def connection_json(base_url: str, key: str, secret: str) -> str:
    """Give the value of an Airflow connection's environment variable."""
    return json.dumps({"conn_type": "scenario", "login": key, "password": secret, "host": base_url})

"""/v1/models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_scenario.sandbox.backend.refusal import RefusalError
from airflow_provider_scenario.sandbox.backend.timeline import RUNNING_SHARE
from airflow_provider_scenario.sandbox.web.exchange import body_of, page_size, reply, world_of

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from airflow_provider_scenario.sandbox.backend.catalogue import Catalogue
    from airflow_provider_scenario.sandbox.backend.world import World

PAGE_SIZE_DEFAULT = 100
PAGE_SIZE_LIMIT = 500


def _catalogue(request: Request) -> Catalogue:
    world = world_of(request)
    if world.settings.models_unavailable:
        raise RefusalError(503, "Service Unavailable")
    return world.catalogue


async def get_model(request: Request) -> Response:
    """GET /v1/models/{modelId}: the only place that tells a model's inputs, and how long its jobs take."""
    record = _catalogue(request).get(request.path_params["modelId"])
    stats = performance_stats(record["capabilities"][0], world_of(request))
    return reply({"model": {"performanceStats": stats, **record}})


def performance_stats(capability: str, world: World) -> dict[str, Any]:
    """Tell how long the sandbox's jobs usually take, as a live record does: medians and upper quartiles."""
    seconds = world.settings.job_seconds
    variant = {
        "capability": capability,
        "variantKey": capability,
        "computedAt": world.clock.stamp(world.started_at),
        "inferenceLatencyP50Sec": round(seconds * RUNNING_SHARE, 3),
        "inferenceLatencyP75Sec": round(seconds * RUNNING_SHARE, 3),
        "totalLatencyP50Sec": seconds,
        "totalLatencyP75Sec": seconds,
    }
    return {"default": capability, "variants": [variant]}


async def list_models(request: Request) -> Response:
    """GET /v1/models: without ``privacy=public`` only models of one's own, of which there are none."""
    rows = _catalogue(request).rows(request.query_params.get("privacy", "private"))
    size = page_size(request, PAGE_SIZE_DEFAULT, PAGE_SIZE_LIMIT)
    start = request.query_params.get("paginationToken", "0")
    if not start.isdecimal():
        raise RefusalError(400, '"paginationToken" is invalid')
    end = int(start) + size
    more = {"nextPaginationToken": str(end)} if end < len(rows) else {}
    return reply({"models": rows[int(start) : end], **more})


async def get_models_in_bulk(request: Request) -> Response:
    """POST /v1/models/get-bulk: ids that do not exist are simply absent from the reply."""
    body = await body_of(request)
    ids = body.get("modelIds")
    if not isinstance(ids, list):
        raise RefusalError(400, '"modelIds" must be an array')
    rows = _catalogue(request).found([str(each) for each in ids])
    if body.get("minimal"):
        rows = [{name: row[name] for name in ("id", "name", "type", "privacy")} for row in rows]
    return reply({"models": rows})

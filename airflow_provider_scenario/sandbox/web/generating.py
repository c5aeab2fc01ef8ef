"""POST /v1/generate/custom/{modelId}."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from airflow_provider_scenario.sandbox.backend import generation, production
from airflow_provider_scenario.sandbox.backend.refusal import RefusalError
from airflow_provider_scenario.sandbox.backend.timeline import SUCCESS
from airflow_provider_scenario.sandbox.web.exchange import body_of, reply, world_of
from airflow_provider_scenario.sandbox.web.jobs import job_record

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

ESTIMATE_STATUS = 269


async def generate(request: Request) -> Response:
    """Run a model, or with ``dryRun`` in the query only tell the price."""
    world = world_of(request)
    model_id = request.path_params["modelId"]
    body = await body_of(request)
    dry_run = request.query_params.get("dryRun")
    if dry_run not in (None, "true", "api", "false"):
        raise RefusalError(400, '"dryRun" must be one of [true, api]')
    estimating = dry_run in ("true", "api") and not world.settings.dry_run_ignored
    judged = generation.judge(world, model_id, body, dry_run=estimating)
    prices = judged.bill.as_reply()
    if estimating:
        return reply({"job": {}, **prices}, ESTIMATE_STATUS)
    job, scene = generation.accept(world, judged, body)
    if scene.ending in (SUCCESS, None):
        files = [asset.asset_id for _, asset in judged.understood.files]
        about = {"parentId": files[0]} if files else {}
        commission = production.Commission(judged.order, scene.outputs, scene.output_status, judged.capability, about)
        production.start(world, job, commission, asyncio.get_running_loop())
    return reply({"job": job_record(world, job, world.clock.now()), **prices})

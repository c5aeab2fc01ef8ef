"""/v1/jobs.

Lists with ``type``, ``types`` or ``status`` are ordered by the last update, the others by creation; the latest first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_scenario.sandbox.backend import timeline
from airflow_provider_scenario.sandbox.backend.jobs import Job, JobFilter
from airflow_provider_scenario.sandbox.backend.refusal import RefusalError, not_found
from airflow_provider_scenario.sandbox.web.exchange import body_of, reply, world_of
from airflow_provider_scenario.sandbox.web.paging import page

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from airflow_provider_scenario.sandbox.backend.world import World

# All types that lists accept; the sandbox makes only custom and upload.
KNOWN_TYPES = frozenset(
    {
        "assets-download",
        "canvas-export",
        "caption",
        "custom",
        "describe-style",
        "detection",
        "embed",
        "flux",
        "flux-model-training",
        "generate-prompt",
        "image-generation",
        "image-prompt-editing",
        "inference",
        "mesh-preview-rendering",
        "model-training",
        "musubi-model-training",
        "openai-image-generation",
        "pixelate",
        "reframe",
        "remove-background",
        "repaint",
        "restyle",
        "segment",
        "skybox-3d",
        "skybox-base-360",
        "skybox-hdri",
        "skybox-upscale-360",
        "splat",
        "texture",
        "translate",
        "upload",
        "upscale",
        "upscale-skybox",
        "upscale-texture",
        "vectorize",
        "workflow",
    }
)


def job_record(world: World, job: Job, time: float) -> dict[str, Any]:
    """Give a job as the API tells it, as it was at a time."""
    position = job.position_at(time)
    now = job.moments[position]
    stamp = world.clock.stamp
    steps = timeline.history(job.moments, position)
    return {
        "jobId": job.job_id,
        "jobType": job.job_type,
        "status": now.status,
        "progress": now.progress,
        "createdAt": stamp(job.created_at),
        "updatedAt": stamp(now.time),
        "statusHistory": [{"status": step.status, "date": stamp(step.time)} for step in steps],
        "authorId": world.author_id,
        "ownerId": world.project_id,
        "metadata": _metadata(job, now.status),
        "billing": {
            **job.bill.as_billing(refunded=job.is_refunded_by(time)),
            **({"disableRefund": True} if job.disable_refund else {}),
        },
    }


def _metadata(job: Job, status: str) -> dict[str, Any]:
    metadata: dict[str, Any] = {"input": job.echo} if job.echo else {}
    if status == timeline.SUCCESS:
        metadata["assetIds"] = job.asset_ids
        if job.output:
            metadata["output"] = job.output
    elif status in timeline.TERMINAL:
        metadata["error"] = job.error or f"The job ended with the status {status}."
        if job.hint:
            metadata["hint"] = job.hint
    return metadata


async def get_job(request: Request) -> Response:
    """GET /v1/jobs/{jobId}."""
    world = world_of(request)
    now = world.clock.now()
    job = world.jobs.get(request.path_params["jobId"])
    if now < job.created_at + world.settings.not_found_seconds:
        raise not_found("Job", job.job_id)
    return reply({"job": job_record(world, job, now)})


async def list_jobs(request: Request) -> Response:
    """GET /v1/jobs."""
    world = world_of(request)
    time = world.clock.now() - world.settings.list_lag_seconds
    wanted = _filter(request, world)
    world.jobs.advance(time)
    jobs, token = page(request, lambda before: world.jobs.listed(wanted, before))
    content: dict[str, Any] = {"jobs": [job_record(world, job, time) for job in jobs]}
    if token:
        content["nextPaginationToken"] = token
    return reply(content)


def _filter(request: Request, world: World) -> JobFilter:
    query = request.query_params
    text = query.get("types") or query.get("type")
    types = frozenset(text.split(",")) if text else None
    if types and types - KNOWN_TYPES:
        raise RefusalError(400, f'"types" contains an unknown type: {sorted(types - KNOWN_TYPES)[0]}')
    status = query.get("status")
    if status is not None and status not in timeline.STATUSES:
        raise RefusalError(400, f'"status" must be one of [{", ".join(timeline.STATUSES)}]')
    moments = {
        name: world.clock.moment(query[name], name) for name in ("updatedAfter", "createdAfter") if query.get(name)
    }
    wanted = JobFilter(types, status, moments.get("updatedAfter"), moments.get("createdAfter"))
    if wanted.by_update and "createdAfter" in moments:
        raise RefusalError(400, '"createdAfter" is not allowed with "status", "type", "types" or "workflowId"')
    if not wanted.by_update and "updatedAfter" in moments:
        raise RefusalError(400, '"updatedAfter" is only allowed with "status", "type", "types" or "workflowId"')
    return wanted


async def act_on_job(request: Request) -> Response:
    """POST /v1/jobs/{jobId}/action: the only action is cancel, and no kind of job here can be canceled."""
    world_of(request).jobs.get(request.path_params["jobId"])
    if (await body_of(request)).get("action") != "cancel":
        raise RefusalError(400, '"action" must be [cancel]')
    raise RefusalError(400, "Cannot cancel this type of job. Action not permitted.")

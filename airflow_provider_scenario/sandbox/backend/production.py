"""A job's files: made by workers beside the server, and the job's end, which waits for them."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from airflow_provider_scenario.sandbox.backend.assets import Asset, mime_type_of, properties_of
from airflow_provider_scenario.sandbox.backend.identifiers import new_id
from airflow_provider_scenario.sandbox.backend.jobs import Job
from airflow_provider_scenario.sandbox.backend.timeline import FAILURE, SUCCESS, TERMINAL, Moment, plan
from airflow_provider_scenario.sandbox.studio.drawing import drawn_picture
from airflow_provider_scenario.sandbox.studio.encoding import write_image
from airflow_provider_scenario.sandbox.studio.media import MediaFacts, probe
from airflow_provider_scenario.sandbox.studio.rendering import Order, render, render_tiny

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Mapping
    from concurrent.futures import Future
    from pathlib import Path
    from typing import Any

    from airflow_provider_scenario.sandbox.backend.world import World

ENDING = {"video": ".mp4", "image": ".png"}


@dataclass(frozen=True, slots=True)
class Product:
    """One finished file."""

    asset_id: str
    path: Path
    facts: MediaFacts
    size: int


@dataclass(frozen=True, slots=True)
class Commission:
    """What the studio shall make for a job, and how the assets of it will be described."""

    order: Order
    outputs: tuple[str, ...]
    """The kinds of the files, in order."""
    output_status: str
    capability: str
    metadata: Mapping[str, Any]
    tiny: bool = False
    """Whether small frames will do, whatever the settings say."""


def start(world: World, job: Job, commission: Commission, loop: asyncio.AbstractEventLoop) -> None:
    """Have a job's files made; when they are there and its time has passed, the job succeeds."""
    era = world.era
    world.in_studio.add(job.job_id)

    def report(work: Future[list[Product]]) -> None:
        loop.call_soon_threadsafe(_deliver, world, era, job, commission, work)

    tiny = commission.tiny or world.settings.render == "tiny"
    world.workers.submit(_make, commission, world.files, tiny).add_done_callback(report)


def _make(commission: Commission, directory: Path, tiny: bool) -> list[Product]:
    products = []
    for number, kind in enumerate(commission.outputs):
        asset_id = new_id("asset")
        path = directory / f"{asset_id}{ENDING[kind]}"
        order = replace(commission.order, seed=commission.order.seed + number)
        if kind == "image":
            write_image(path, drawn_picture(order.size, order.seed, "thumbnail"))
        elif tiny:
            render_tiny(order, path)
        else:
            render(order, path)
        products.append(Product(asset_id, path, probe(path), path.stat().st_size))
    return products


def _deliver(world: World, era: int, job: Job, commission: Commission, work: Future[list[Product]]) -> None:
    if world.era != era:
        return
    world.in_studio.discard(job.job_id)
    now = world.clock.now()
    if job.moments[-1].status in TERMINAL:
        return
    problem = work.exception()
    if problem is not None:
        print(f"sandbox: the video of {job.job_id} could not be made: {problem!r}", file=sys.stderr)
        job.error = f"The sandbox could not make the video: {type(problem).__name__}"
        world.jobs.append(job, Moment(max(job.ends_at, now), FAILURE, 1))
        return
    end = max(job.ends_at, now)
    for index, product in enumerate(work.result()):
        asset = _asset(world, job, commission, product, end)
        if commission.outputs[index] == "video":
            asset.status = commission.output_status
        job.asset_ids.append(world.assets.add(asset).asset_id)
    if end != float("inf"):
        world.jobs.append(job, Moment(end, SUCCESS, 1))


def _asset(world: World, job: Job, commission: Commission, product: Product, end: float) -> Asset:
    inputs = commission.order.inputs
    described = {name: inputs[name] for name in ("prompt", "negativePrompt", "aspectRatio") if inputs.get(name)}
    return Asset(
        asset_id=product.asset_id,
        kind=product.facts.kind,
        mime_type=mime_type_of(product.facts),
        path=product.path,
        properties=properties_of(product.facts, product.size),
        source=commission.capability,
        created_at=end,
        ready_at=end + world.settings.asset_pending_seconds,
        facts=product.facts,
        metadata={
            **described,
            **commission.metadata,
            "modelId": job.model_id,
            "seed": str(commission.order.seed),
            "parentJobId": job.job_id,
        },
    )


def set_status(world: World, job: Job, status: str, progress: float | None, loop: asyncio.AbstractEventLoop) -> None:
    """Put a job into a status now, where it stays. Success waits for the files if they are still being made."""
    now = world.clock.now()
    if status != SUCCESS:
        before = job.moments[job.position_at(now)].progress
        job.ends_at = float("inf")
        world.jobs.move(job, now, Moment(now, status, before if progress is None else progress))
        return
    if job.status_at(now) == SUCCESS:
        return
    job.ends_at = now
    if job.asset_ids:
        for asset_id in job.asset_ids:
            asset = world.assets.get(asset_id)
            asset.created_at = asset.ready_at = now
        world.jobs.move(job, now, Moment(now, SUCCESS, 1))
        return
    # The success comes when the files are there: a moment planned for later would hide it.
    world.jobs.move(job, now, None)
    if job.job_id not in world.in_studio:
        start(world, job, synthetic_commission(job), loop)


def synthetic_commission(job: Job) -> Commission:
    """Give a small video for a job that nobody asked for."""
    order = Order(str(job.model_id), {"prompt": job.job_id, "frameNum": 17}, job.number)
    return Commission(order, ("video",), "success", "txt2video", {}, tiny=True)


def synthetic_job(
    world: World,
    model_id: str,
    status: str,
    seconds: float | None,
    inputs: Mapping[str, Any],
    loop: asyncio.AbstractEventLoop,
) -> Job:
    """Give a job made up for a load test: it stays in ``status``, or from there succeeds after ``seconds``."""
    now = world.clock.now()
    moments = [Moment(now, status, 1 if status == SUCCESS else 0)]
    if seconds is not None:
        moments = plan(now, seconds)
    job = Job("custom", now, float("inf") if seconds is None else now + seconds, moments, model_id)
    job.received, job.echo = dict(inputs), {"modelId": model_id, **inputs}
    if status == SUCCESS and seconds is None:
        job.ends_at, job.moments = now, plan(now, 0)
    world.jobs.add(job)
    if job.ends_at != float("inf"):
        start(world, job, synthetic_commission(job), loop)
    return job

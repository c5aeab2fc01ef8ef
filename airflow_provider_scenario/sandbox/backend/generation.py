"""From a model and a body to a job, or to its price."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_scenario.sandbox.backend import intake, scenes, timeline
from airflow_provider_scenario.sandbox.backend.identifiers import new_seed
from airflow_provider_scenario.sandbox.backend.inputs import Understood, echoed, understand
from airflow_provider_scenario.sandbox.backend.jobs import Job
from airflow_provider_scenario.sandbox.backend.prices import Bill, bill
from airflow_provider_scenario.sandbox.backend.refusal import RefusalError, not_found
from airflow_provider_scenario.sandbox.studio.rendering import Order, SourceFile

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_scenario.sandbox.backend.assets import Asset
    from airflow_provider_scenario.sandbox.backend.scenes import Scene
    from airflow_provider_scenario.sandbox.backend.world import World

NEVER = float("inf")


@dataclass(frozen=True)
class Request:
    """A generation that was judged and found good."""

    record: Mapping[str, Any]
    understood: Understood
    order: Order
    bill: Bill

    @property
    def capability(self) -> str:
        """What the model makes of what: ``txt2video``, ``video2video``, ..."""
        return str(self.record["capabilities"][0])


def judge(world: World, model_id: str, body: Mapping[str, Any], *, dry_run: bool = False) -> Request:
    """Check a body against its model and find the price; refuses what Scenario would refuse."""
    record = world.catalogue.get(model_id)
    if model_id in world.settings.restricted_models:
        plan = {"name": "ModelAccessRestrictedError", "modelId": model_id, "requiredPlan": "cu-max"}
        raise RefusalError(403, "This model is not available on your current plan.", **plan)

    def find_asset(text: str, kind: str) -> Asset:
        if text.startswith("data:"):
            return intake.media_asset(world, intake.decode(text, "file"), kind, "file", keep=not dry_run)
        asset = world.assets.find(text)
        if asset is None or asset.created_at > world.clock.now():
            raise not_found("Asset", text[:60])
        return asset

    if dry_run and not world.settings.dry_run_validates:
        body = {name: value for name, value in body.items() if _fits(record, name, value, find_asset)}
        record = {**record, "inputs": [{**entry, "required": {}} for entry in record["inputs"]]}
    understood = understand(record, body, find_asset)
    seed = understood.complete.get("seed")
    sources = tuple(SourceFile(name, asset.path, asset.facts) for name, asset in understood.files if asset.facts)
    order = Order(model_id, understood.complete, new_seed() if seed is None else int(seed), sources)
    return Request(record, understood, order, bill(order, record["capabilities"][0], world.settings))


def _fits(record: Mapping[str, Any], name: str, value: Any, find_asset: Any) -> bool:
    """Whether one input alone would be accepted."""
    bare = {"inputs": [{**entry, "required": {}} for entry in record["inputs"]]}
    try:
        understand(bare, {name: value}, find_asset)
    except RefusalError:
        return False
    return True


def accept(world: World, request: Request, received: dict[str, Any]) -> tuple[Job, Scene]:
    """Make the job of a judged request and charge it; refuses when the team may not run one more, or cannot pay."""
    now = world.clock.now()
    _check_capacity(world, now)
    if world.ledger.spent(now) + request.bill.total > world.settings.creative_units:
        raise RefusalError(402, "Not enough creative units to run this generation.")
    scene = _cast(world, str(request.understood.complete.get("prompt", "")))
    seconds = world.settings.job_seconds * scene.slowness
    job = Job(
        job_type="custom",
        created_at=now,
        ends_at=NEVER if scene.ending is None else now + seconds,
        moments=timeline.plan(now, seconds, _last_step(scene)),
        model_id=request.order.model_id,
        received=received,
        echo=_echo(world, request),
        bill=request.bill,
        disable_refund=not scene.refunded or request.order.model_id in world.settings.no_refund_models,
        error=scene.error,
        hint=scene.hint,
    )
    if scene.ending in (timeline.FAILURE, timeline.CANCELED):
        job.moments.append(timeline.Moment(job.ends_at, str(scene.ending), job.moments[-1].progress))
    world.last_submission = now
    world.ledger.charge(world.jobs.add(job))
    return job, scene


def _last_step(scene: Scene) -> str:
    return timeline.FINALIZING if scene.ending == timeline.SUCCESS else timeline.IN_PROGRESS


def _check_capacity(world: World, now: float) -> None:
    remaining = world.last_submission + world.settings.cooldown_seconds - now
    if remaining > 0:
        raise RefusalError(429, "cooldown", remainingSeconds=max(round(remaining), 1))
    limit = world.settings.parallel_jobs
    if world.jobs.running(now) >= limit:
        details = {"actionName": "parallelCustomJobs", "actionLimit": limit}
        raise RefusalError(429, "You have reached the limit of parallel jobs of your plan.", details=details)


def _cast(world: World, prompt: str) -> Scene:
    """Give the scene of the prompt, unless a setting makes this job fail."""
    settings = world.settings
    if settings.fail_next_jobs:
        world.configure({"fail_next_jobs": settings.fail_next_jobs - 1})
        return scenes.BROKEN
    if settings.failure_share and random.Random(len(world.jobs)).random() < settings.failure_share:
        return scenes.BROKEN
    return scenes.scene(prompt)


def _echo(world: World, request: Request) -> dict[str, Any]:
    echo = echoed(request.record, request.understood.complete)
    for name in ("prompt", "negativePrompt"):
        text = echo.get(name)
        if isinstance(text, str) and len(text) > world.settings.prompt_echo_limit:
            echo[name] = intake.text_asset(world, text).asset_id
    if any(entry["name"] == "seed" for entry in request.record["inputs"]):
        echo.setdefault("seed", request.order.seed)
    return echo

"""/v1/teams and /v1/usages."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow_provider_scenario.sandbox.backend.prices import as_number
from airflow_provider_scenario.sandbox.backend.refusal import not_found
from airflow_provider_scenario.sandbox.web.exchange import reply, world_of

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

PLAN = "cu-pro"
OTHER_LIMITS = {
    "apiKeys": 10,
    "canvasAssetLayers": 100,
    "canvasAssets": 100,
    "collections": 1000,
    "defaultSeats": 5,
    "downloadAssets": 1000,
    "downloadModel": 10,
    "inferenceBatchSize": 8,
    "maxTrainingDatasets": 10,
    "models": 100,
    "OTPSessions": 5,
    "parallelInferences": 8,
    "parallelTraining": 2,
    "parallelWorkflowRuns": 4,
    "premiumGenerationSamples": 0,
    "projects": 10,
    "scalingFactor": 1,
    "seats": 5,
    "snapshotsRetention": 30,
    "upload": 1000,
}


async def list_teams(request: Request) -> Response:
    """GET /v1/teams: the one team and the one project that the key belongs to."""
    world = world_of(request)
    since = world.clock.stamp(world.started_at)
    dates = {"createdAt": since, "updatedAt": since}
    team = {
        "id": world.team_id,
        "name": "Sandbox team",
        "plan": PLAN,
        "type": "shared",
        "context": {"invitationsCount": 0, "keysCount": 1, "userRole": "key", "usersCount": 1},
        "projects": [{"id": world.project_id, "name": "Sandbox project", **dates}],
        **dates,
    }
    return reply({"teams": [team]})


async def get_limits(request: Request) -> Response:
    """GET /v1/teams/{teamId}/limits."""
    world = world_of(request)
    if request.path_params["teamId"] != world.team_id:
        raise not_found("Team", request.path_params["teamId"])
    settings = world.settings
    today = datetime.fromtimestamp(world.clock.now(), UTC)
    start = today.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    end = start.replace(year=start.year + start.month // 12, month=start.month % 12 + 1)
    values: dict[str, Any] = dict.fromkeys(("canvasAssets", "collections"), 0)
    values |= dict.fromkeys(("apiKeys", "projects", "seats"), 1)
    values["creativeUnits"] = as_number(world.ledger.spent(world.clock.now()))
    limits = {
        **OTHER_LIMITS,
        "creativeUnits": settings.creative_units,
        "parallelCustomJobs": settings.parallel_jobs,
        "minCooldown": settings.cooldown_seconds,
        "maxCooldown": settings.cooldown_seconds,
    }
    period = {"start": world.clock.stamp(start.timestamp()), "end": world.clock.stamp(end.timestamp())}
    return reply({"plan": PLAN, "limits": limits, "values": values, "period": period, "oneShotCreativeUnits": []})


async def list_usages(request: Request) -> Response:
    """GET /v1/usages: what was charged, as activity."""
    world = world_of(request)
    entries = world.ledger.as_json(world.clock)["entries"]
    activity = [
        {
            "action": "custom",
            "data": {"jobId": entry["jobId"], "modelId": entry["modelId"]},
            "projectId": world.project_id,
            "time": entry["createdAt"],
            "userId": world.author_id,
            "creativeUnitsCost": entry["cost"],
        }
        for entry in entries
    ]
    return reply({"activity": activity})

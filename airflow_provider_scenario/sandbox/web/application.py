"""All addresses of the sandbox in one table, and the application that serves them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.routing import Match, Route

from airflow_provider_scenario.sandbox.backend.refusal import RefusalError
from airflow_provider_scenario.sandbox.web import account, assets, cdn, control, generating, jobs, models, uploads
from airflow_provider_scenario.sandbox.web.exchange import guarded, reply, unless_from_a_web_page
from airflow_provider_scenario.sandbox.web.front_door import FrontDoor

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from airflow_provider_scenario.sandbox.backend.world import World

API = (
    ("POST", "/generate/custom/{modelId}", generating.generate),
    ("GET", "/jobs", jobs.list_jobs),
    ("GET", "/jobs/{jobId}", jobs.get_job),
    ("POST", "/jobs/{jobId}/action", jobs.act_on_job),
    ("POST", "/assets/get-bulk", assets.get_assets_in_bulk),
    ("GET", "/assets", assets.list_assets),
    ("POST", "/assets", assets.create_asset),
    ("GET", "/assets/{assetId}", assets.get_asset),
    ("POST", "/assets/{assetId}/download", assets.download_asset),
    ("GET", "/models", models.list_models),
    ("POST", "/models/get-bulk", models.get_models_in_bulk),
    ("GET", "/models/{modelId}", models.get_model),
    ("POST", "/uploads", uploads.create_upload),
    ("GET", "/uploads/{uploadId}", uploads.get_upload),
    ("POST", "/uploads/{uploadId}/action", uploads.act_on_upload),
    ("GET", "/teams", account.list_teams),
    ("GET", "/teams/{teamId}/limits", account.get_limits),
    ("GET", "/usages", account.list_usages),
)
KEYLESS = (
    ("GET", "/cdn/assets/{assetId}", cdn.get_original),
    ("GET", "/cdn/assets-transform/{assetId}", cdn.get_transformed),
    ("GET", "/cdn/thumbnails/{assetId}", cdn.get_thumbnail),
    ("PUT", "/bucket/{uploadId}/{number}", uploads.put_part),
)
CONTROL = (
    ("GET", "/health", control.get_health),
    ("GET", "/ledger", control.get_ledger),
    ("GET", "/requests", control.get_requests),
    ("GET", "/leaks", control.get_leaks),
    ("GET", "/faults", control.list_faults),
    ("POST", "/faults", control.add_fault),
    ("DELETE", "/faults", control.clear_faults),
    ("GET", "/settings", control.get_settings),
    ("POST", "/settings", control.change_settings),
    ("POST", "/jobs", control.make_jobs),
    ("POST", "/jobs/{jobId}", control.set_job),
    ("POST", "/models", control.add_model),
    ("POST", "/assets", control.make_asset),
    ("POST", "/expire-urls", control.expire_urls),
    ("POST", "/reset", control.reset),
)


def _routes() -> list[Route]:
    return [
        *(Route(f"/v1{path}", guarded(endpoint), methods=[method]) for method, path, endpoint in API),
        *(Route(path, endpoint, methods=[method]) for method, path, endpoint in KEYLESS),
        *(
            Route(f"/sandbox{path}", unless_from_a_web_page(endpoint), methods=[method])
            for method, path, endpoint in CONTROL
        ),
    ]


async def _refuse(_: Request, error: Exception) -> Response:
    if not isinstance(error, RefusalError):
        raise error
    return reply(error.body, error.status)


async def _unknown(_: Request, error: Exception) -> Response:
    return reply({"message": str(getattr(error, "detail", "Not Found"))}, getattr(error, "status_code", 404))


def build(world: World, credentials: tuple[str, str], host: str) -> FrontDoor:
    """Give the whole application: the front door, and behind it every address."""
    routes = _routes()
    application = Starlette(routes=routes, exception_handlers={RefusalError: _refuse, 404: _unknown, 405: _unknown})

    def route_of(method: str, path: str) -> str:
        scope = {"type": "http", "method": method, "path": path}
        found = (route.path for route in routes if route.matches(scope)[0] is Match.FULL)
        return next(found, "unknown")

    door = FrontDoor(application, world.clock, route_of)
    application.state.world = world
    application.state.credentials = credentials
    application.state.host = host
    application.state.front_door = door
    return door

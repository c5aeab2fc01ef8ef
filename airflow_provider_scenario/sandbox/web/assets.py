"""/v1/assets."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from airflow_provider_scenario.sandbox.backend import intake
from airflow_provider_scenario.sandbox.backend.refusal import RefusalError, not_found
from airflow_provider_scenario.sandbox.backend.signing import window_end
from airflow_provider_scenario.sandbox.web.exchange import body_of, flag, origin, reply, world_of
from airflow_provider_scenario.sandbox.web.paging import page

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.requests import Request
    from starlette.responses import Response

    from airflow_provider_scenario.sandbox.backend.assets import Asset
    from airflow_provider_scenario.sandbox.backend.world import World

BULK_LIMIT = 200
FORMATS = ("gif", "heif", "jpeg", "jpg", "png", "svg", "webp", "avif", "tif", "tiff", "glb", "fbx", "obj", "mp3", "mp4")


def signed_url(request: Request, path: str) -> str:
    """Give the address of a path on this server, open for a while."""
    world = world_of(request)
    now = world.clock.server_now()
    life = world.settings.url_ttl_seconds
    expires = math.ceil(now + life) if life else window_end(now)
    return f"{origin(request)}{path}?{world.signer.query(path, expires)}"


def asset_url(request: Request, asset: Asset, *, original: bool) -> str:
    """Where an asset's file is: the original, or what Scenario made of it for quicker viewing."""
    folder = "assets" if original or not world_of(request).settings.transformed_urls else "assets-transform"
    return signed_url(request, f"/cdn/{folder}/{asset.asset_id}")


def asset_record(request: Request, asset: Asset, *, original: bool) -> dict[str, Any]:
    """Give an asset as the API tells it."""
    world = world_of(request)
    return {
        "id": asset.asset_id,
        "url": asset_url(request, asset, original=original),
        "kind": asset.kind,
        "mimeType": asset.mime_type,
        "status": asset.status_at(world.clock.now()),
        "properties": asset.properties,
        "metadata": {"kind": asset.kind, "type": asset.source, **asset.metadata},
        **_thumbnail(request, asset),
        "source": asset.source,
        "privacy": "private",
        "ownerId": world.project_id,
        "authorId": world.author_id,
        "createdAt": world.clock.stamp(asset.created_at),
        "updatedAt": world.clock.stamp(asset.created_at),
        "collectionIds": [],
        "tags": [],
        "editCapabilities": [],
    }


def _thumbnail(request: Request, asset: Asset) -> dict[str, Any]:
    if asset.kind not in ("video", "image"):
        return {}
    url = signed_url(request, f"/cdn/thumbnails/{asset.asset_id}")
    return {"thumbnail": {"assetId": asset.asset_id, "url": url}}


def _existing(world: World, asset_id: str) -> Asset | None:
    asset = world.assets.find(asset_id)
    return asset if asset and asset.created_at <= world.clock.now() else None


def _wanted(request: Request) -> Asset:
    asset_id = request.path_params["assetId"]
    asset = _existing(world_of(request), asset_id)
    if asset is None:
        raise not_found("Asset", asset_id)
    return asset


async def get_asset(request: Request) -> Response:
    """GET /v1/assets/{assetId}."""
    return reply({"asset": asset_record(request, _wanted(request), original=flag(request, "originalAssets"))})


async def get_assets_in_bulk(request: Request) -> Response:
    """POST /v1/assets/get-bulk: ids that do not exist are simply absent from the reply."""
    world = world_of(request)
    ids = (await body_of(request)).get("assetIds")
    if not isinstance(ids, list) or not all(isinstance(each, str) for each in ids) or len(ids) > BULK_LIMIT:
        raise RefusalError(400, f'"assetIds" must be an array of at most {BULK_LIMIT} strings')
    found = [asset for each in ids if (asset := _existing(world, each))]
    original = flag(request, "originalAssets")
    return reply({"assets": [asset_record(request, asset, original=original) for asset in found]})


async def list_assets(request: Request) -> Response:
    """GET /v1/assets: the newest first."""
    world = world_of(request)
    query = request.query_params
    types = (query.get("types") or query.get("type") or "").split(",")
    now = world.clock.now()

    def places(before: int | None) -> Iterator[tuple[int, Asset]]:
        for asset in world.assets.newest_first():
            fits = types == [""] or asset.source in types
            if fits and asset.created_at <= now and (before is None or asset.number < before):
                yield asset.number, asset

    assets, token = page(request, places)
    original = flag(request, "originalAssets")
    content: dict[str, Any] = {"assets": [asset_record(request, asset, original=original) for asset in assets]}
    if token:
        content["nextPaginationToken"] = token
    return reply(content)


async def create_asset(request: Request) -> Response:
    """POST /v1/assets: a picture of less than 6 MB, in base64."""
    world = world_of(request)
    body = await body_of(request)
    if not isinstance(body.get("name"), str):
        raise RefusalError(400, '"name" is required')
    if not isinstance(body.get("image"), str):
        raise RefusalError(400, '"image" is required')
    data = intake.decode(body["image"], "image")
    if len(data) >= intake.SMALL_IMAGE_LIMIT:
        raise RefusalError(400, "The image must be smaller than 6 MB; use the uploads endpoint")
    asset = intake.media_asset(world, data, "image", body["name"])
    return reply({"asset": asset_record(request, asset, original=flag(request, "originalAssets"))})


async def download_asset(request: Request) -> Response:
    """POST /v1/assets/{assetId}/download: a URL of the original, or of a picture in another format."""
    asset = _wanted(request)
    wanted = (await body_of(request)).get("targetFormat")
    stored = asset.stored_format
    if wanted is not None and (wanted not in FORMATS or (asset.kind != "image" and wanted != stored)):
        raise RefusalError(400, "Invalid target format")
    return reply({"url": asset_url(request, asset, original=True), "mimeType": asset.mime_type})

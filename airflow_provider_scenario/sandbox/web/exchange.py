"""What every endpoint needs of a request: the world, who asks, the body, and how to answer."""

from __future__ import annotations

import base64
import binascii
import hmac
import ipaddress
import json
import re
from typing import TYPE_CHECKING, Any, cast

from starlette.responses import Response

from airflow_provider_scenario.sandbox.backend.refusal import RefusalError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request

    from airflow_provider_scenario.sandbox.backend.world import World

    Endpoint = Callable[[Request], Awaitable[Response]]

BODY_LIMIT = 10_000_000
PAGE_SIZE_DEFAULT = 50
PAGE_SIZE_LIMIT = 100


def world_of(request: Request) -> World:
    """Give the world that the request is about."""
    return cast("World", request.app.state.world)


def reply(content: Any, status: int = 200) -> Response:
    """Give a JSON reply."""
    return Response(json.dumps(content, separators=(",", ":")), status, media_type="application/json")


def origin(request: Request) -> str:
    """Give the address at which the client reaches this server, without a path."""
    return str(request.base_url).rstrip("/")


async def body_of(request: Request) -> dict[str, Any]:
    """Give the JSON object in the request's body; an empty body counts as an empty object."""
    data, size = bytearray(), 0
    async for chunk in request.stream():  # to its end: a client that still sends would miss the reply
        size += len(chunk)
        if size <= BODY_LIMIT:
            data += chunk
    if size > BODY_LIMIT:
        raise RefusalError(413, "Request Too Long")
    try:
        content = json.loads(data or b"{}")
    except (ValueError, RecursionError):
        raise RefusalError(400, "The request body is not valid JSON") from None
    if not isinstance(content, dict):
        raise RefusalError(400, "The request body must be a JSON object")
    return content


def guarded(endpoint: Endpoint) -> Endpoint:
    """Give the endpoint behind the key check: 401 for a wrong key, 403 for somebody else's project."""

    async def checked(request: Request) -> Response:
        wanted = cast("tuple[str, str]", request.app.state.credentials)
        if not _credentials_match(request.headers.get("authorization", ""), wanted):
            raise RefusalError(401, "Unauthorized")
        if request.query_params.get("projectId", world_of(request).project_id) != world_of(request).project_id:
            raise RefusalError(403, "You do not have access to this project")
        return await endpoint(request)

    return checked


def unless_from_a_web_page(endpoint: Endpoint) -> Endpoint:
    """Give the endpoint behind a check that no page of another site asks: it asks for no key.

    A page of another site names itself in ``Origin``. If its own name leads to this machine, ``Host`` has that name.
    """

    async def checked(request: Request) -> Response:
        host = request.headers.get("host", "")
        if not _is_of_this_machine(host, cast("str", request.app.state.host)):
            raise RefusalError(403, "The sandbox's controls answer by IP address, and by names without a dot")
        if request.headers.get("origin", f"http://{host}") != f"http://{host}":
            raise RefusalError(403, "The sandbox's controls do not answer other web sites")
        return await endpoint(request)

    return checked


def _is_of_this_machine(host: str, own_name: str) -> bool:
    name = host.rpartition(":")[0] if re.search(r":\d*$", host) else host
    try:
        return bool(ipaddress.ip_address(name.strip("[]")))
    except ValueError:
        return name.lower() == own_name.lower() or "." not in name


def _credentials_match(header: str, wanted: tuple[str, str]) -> bool:
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        return False
    try:
        given = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        return False
    return hmac.compare_digest(given, ":".join(wanted).encode())


def flag(request: Request, name: str) -> bool:
    """Give a query parameter that is true or absent."""
    return request.query_params.get(name, "false").lower() == "true"


def page_size(request: Request, default: int = PAGE_SIZE_DEFAULT, limit: int = PAGE_SIZE_LIMIT) -> int:
    """Give the parameter ``pageSize``."""
    text = request.query_params.get("pageSize", str(default))
    if not text.isdecimal() or len(text) > 9 or not 1 <= int(text) <= limit:
        raise RefusalError(400, f'"pageSize" must be a number from 1 to {limit}')
    return int(text)

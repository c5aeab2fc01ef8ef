"""Pages of a list, with opaque tokens, and on request empty or short ones that still carry a token."""

from __future__ import annotations

import base64
import json
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

from airflow_provider_scenario.sandbox.backend.refusal import RefusalError
from airflow_provider_scenario.sandbox.web.exchange import page_size, world_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from starlette.requests import Request

Item = TypeVar("Item")


def page(request: Request, places: Callable[[int | None], Iterator[tuple[int, Item]]]) -> tuple[list[Item], str | None]:
    """Give the items of one page and the token of the next; ``places(before)`` gives all from below a place."""
    settings = world_of(request).settings
    before, empty_left = _read_token(request.query_params.get("paginationToken"), settings.empty_pages)
    if empty_left:
        return [], _token(before, empty_left - 1)
    size = page_size(request)
    if settings.short_pages:
        size = max(size // 2, 1)
    found = list(islice(places(before), size + 1))
    items = [item for _, item in found[:size]]
    more = len(found) > size
    return items, _token(found[size - 1][0], settings.empty_pages) if more else None


def _token(before: int | None, empty_left: int) -> str:
    return base64.b64encode(json.dumps([before, empty_left]).encode()).decode()


def _read_token(token: str | None, empty_pages: int) -> tuple[int | None, int]:
    if not token:
        return None, empty_pages
    try:
        before, empty_left = json.loads(base64.b64decode(token, validate=True))
    except ValueError:
        raise RefusalError(400, '"paginationToken" is invalid') from None
    return before, empty_left

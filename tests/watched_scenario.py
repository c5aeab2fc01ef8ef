"""A Scenario whose jobs are watched: it lags, its clock is off, it sends empty pages, refuses and hangs on demand."""

from __future__ import annotations

import asyncio
import bisect
import contextlib
import datetime
import json
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_scenario.api.calls import Call
from airflow_provider_scenario.api.job import time_of
from airflow_provider_scenario.api.response import Response
from airflow_provider_scenario.api.transport import read_reply
from airflow_provider_scenario.exceptions import ScenarioConfigurationError, ScenarioConnectionError

Moment = tuple[float, str, float]
"""From a time on, a job has this status and this progress."""


@dataclass
class WatchedJob:
    """A job with its whole life, past and to come."""

    id: str
    life: list[Moment]
    has_assets: bool = True
    assets_from: float = 0.0

    def at(self, time: float) -> Moment | None:
        place = bisect.bisect_right(self.life, time, key=lambda moment: moment[0])
        return self.life[place - 1] if place else None


@dataclass(frozen=True)
class Trouble:
    """What goes wrong, with which requests, from when until when.

    :param requests: ``list``, ``job``, the id of one job, or ``open`` for the opening of a client.
    :param kind: An HTTP status, ``garbage``, ``hang``, ``dropped``, ``unreachable``, ``no connection`` or ``bug``.
    """

    requests: str
    kind: int | str
    start: float = 0.0
    end: float = float("inf")
    headers: Mapping[str, str] = field(default_factory=dict)

    def hits(self, request: str, job_id: str, now: float) -> bool:
        return self.requests in (request, job_id) and self.start <= now < self.end


@dataclass
class WatchedScenario:
    """Speaks through the real calls and the real reading of replies.

    :param clock: The true time.
    :param key: The key that is accepted.
    :param known_key: The key that clients are opened with.
    """

    clock: Callable[[], float]
    clock_ahead: float = 0.0
    list_lag: float = 0.0
    empty_pages: int = 0
    page_size: int = 100
    tells_time: bool = True
    key: str = "first"
    known_key: str = "first"
    troubles: list[Trouble] = field(default_factory=list)
    unlisted: set[str] = field(default_factory=set)
    odd_rows: tuple[Any, ...] = ()
    jobs: dict[str, WatchedJob] = field(default_factory=dict)
    requests: list[tuple[float, str]] = field(default_factory=list)
    opened: int = 0
    closed: int = 0

    def add(self, job_id: str, *life: Moment, has_assets: bool = True, assets_from: float = 0.0) -> WatchedJob:
        self.jobs[job_id] = WatchedJob(job_id, sorted(life), has_assets, assets_from)
        return self.jobs[job_id]

    def times(self, kind: str) -> list[float]:
        """When requests came: for ``list``, for any single ``job``, or for the id of one."""
        return [time for time, what in self.requests if kind == what or (kind == "job" and what != "list")]

    async def open(self) -> contextlib.AbstractAsyncContextManager[_Client]:
        await self._suffer("open", "")
        return self._opened()

    @contextlib.asynccontextmanager
    async def _opened(self) -> AsyncIterator[_Client]:
        self.opened += 1
        try:
            yield _Client(self, self.known_key)
        finally:
            self.closed += 1

    async def answer(self, call: Call[Any], key: str) -> Response:
        assert call.method == "GET"
        job_id = "" if call.path == "/jobs" else call.path.removeprefix("/jobs/")
        kind = "job" if job_id else "list"
        self.requests.append((self.clock(), job_id or "list"))
        await asyncio.sleep(0.05)
        suffered = await self._suffer(kind, job_id)
        if suffered is not None:
            return suffered
        if key != self.key:
            return self._reply(401, {"reason": "no such key"})
        return self._one(job_id) if job_id else self._list(call.query)

    async def _suffer(self, kind: str, job_id: str) -> Response | None:
        trouble = next((one for one in self.troubles if one.hits(kind, job_id, self.clock())), None)
        match trouble.kind if trouble else None:
            case None:
                return None
            case "hang":
                await asyncio.sleep(3600)
            case "dropped":
                raise ScenarioConnectionError("it broke")
            case "unreachable":
                raise ScenarioConnectionError("no way there", sent=False)
            case "no connection":
                raise ScenarioConfigurationError("There is no connection scenario_prod.")
            case "bug":
                raise RuntimeError("a bug")
            case "garbage":
                return Response(200, {}, b"<html>")
        assert trouble is not None
        return self._reply(int(trouble.kind), {"reason": "trouble"}, trouble.headers)

    def _one(self, job_id: str) -> Response:
        job = self.jobs.get(job_id)
        moment = job.at(self.clock()) if job else None
        if job is None or moment is None:
            return self._reply(404, {"reason": f"Job {job_id} not found"})
        return self._reply(200, {"job": self._row(job, moment)})

    def _list(self, query: Mapping[str, str]) -> Response:
        assert query["types"] == "custom"
        since = time_of(query["updatedAfter"])
        assert since is not None
        after = since.timestamp() - self.clock_ahead
        token = json.loads(query.get("paginationToken", '{"before": null, "empty": -1}'))
        empty = self.empty_pages if token["empty"] < 0 else token["empty"]
        if empty:
            return self._page([], {**token, "empty": empty - 1})
        as_of = self.clock() - self.list_lag
        listed = [
            ((moment[0], job.id), job, moment)
            for job in self.jobs.values()
            if job.id not in self.unlisted and (moment := job.at(as_of)) and moment[0] > after
        ]
        listed.sort(key=lambda row: row[0], reverse=True)
        if token["before"] is not None:
            listed = [row for row in listed if row[0] < tuple(token["before"])]
        size = min(self.page_size, int(query["pageSize"]))
        more = {"before": listed[size - 1][0], "empty": -1} if len(listed) > size else None
        return self._page([self._row(job, moment) for _, job, moment in listed[:size]], more)

    def _page(self, rows: list[dict[str, Any]], more: dict[str, Any] | None) -> Response:
        return self._reply(
            200, {"jobs": [*self.odd_rows, *rows], **({"nextPaginationToken": json.dumps(more)} if more else {})}
        )

    def _row(self, job: WatchedJob, moment: Moment) -> dict[str, Any]:
        changed, status, progress = moment
        is_told = job.has_assets and self.clock() >= job.assets_from
        made = [f"asset_of_{job.id}"] if status == "success" and is_told else []
        shown = datetime.datetime.fromtimestamp(changed + self.clock_ahead, datetime.UTC)
        return {
            "jobId": job.id,
            "status": status,
            "progress": progress,
            "updatedAt": shown.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "metadata": {"input": {"prompt": "p" * 200, "modelId": "model_1"}, "assetIds": made},
            "billing": {"cuCost": 11},
        }

    def _reply(self, status: int, document: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Response:
        date = datetime.datetime.fromtimestamp(self.clock() + self.clock_ahead, datetime.UTC)
        told = {"date": date.strftime("%a, %d %b %Y %H:%M:%S GMT")} if self.tells_time else {}
        return Response(status, {**told, **(headers or {})}, json.dumps(document).encode())


class _Client:
    """Carries calls as the real one does, with the key it was opened with."""

    def __init__(self, scenario: WatchedScenario, key: str) -> None:
        self._scenario = scenario
        self._key = key

    async def send(self, call: Call[Any], /) -> Any:
        return read_reply(call, await self._scenario.answer(call, self._key))

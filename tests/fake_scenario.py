"""A Scenario in memory: it lags, its clock is off, its rows lack fields, it fails and hangs, all as a test configures.

It speaks through the real calls and the real reading of replies. It knows what the code under test must find out: who
paid for which job, and how each job really goes on.
"""

from __future__ import annotations

import asyncio
import bisect
import contextlib
import datetime
import itertools
import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from airflow_provider_scenario.api.calls import Call
from airflow_provider_scenario.api.job import time_of
from airflow_provider_scenario.api.model import LARGEST_SEED
from airflow_provider_scenario.api.response import Response
from airflow_provider_scenario.exceptions import ScenarioConfigurationError, ScenarioConnectionError

Clock = TypeVar("Clock", bound=Callable[[], float])

Moment = tuple[float, str, float]
"""From a time on, a job has this status and this progress."""

ENDED = ("success", "failure", "canceled")


@dataclass
class FakeJob:
    """A job as it really is.

    :param life: All that becomes of it, past and to come, in order.
    :param payer: Who paid for it.
    :param assets_from: When it tells its outputs at the earliest.
    :param lacks: What its row in the list does not tell: ``seed``, ``input``, ``model``, ``createdAt``, ``id``.
    :param lacks_for_good: Whether its own address does not tell it either.
    """

    id: str
    life: list[Moment]
    payer: str = ""
    model_id: str = "model_1"
    inputs: dict[str, Any] = field(default_factory=lambda: {"prompt": "p" * 200})
    assets_from: float = 0.0
    lacks: frozenset[str] = frozenset()
    lacks_for_good: bool = False

    @property
    def created_at(self) -> float:
        return self.life[0][0]

    @property
    def ends_at(self) -> float | None:
        return next((since for since, status, _ in self.life if status in ENDED), None)

    @property
    def outcome(self) -> str:
        return self.life[-1][1]

    def at(self, time: float) -> Moment | None:
        place = bisect.bisect_right(self.life, time, key=lambda moment: moment[0])
        return self.life[place - 1] if place else None

    def status(self, now: float) -> str:
        return (self.at(now) or self.life[0])[1]

    def ended_badly(self, now: float) -> bool:
        return self.status(now) in ("failure", "canceled")

    def is_finished(self, now: float) -> bool:
        return self.status(now) in ENDED

    def end(self, status: str, now: float) -> None:
        """Let it end now, whatever was to become of it."""
        now = max(now, self.created_at)
        self.life = [one for one in self.life if one[0] <= now and one[1] not in ENDED] + [(now, status, 1.0)]

    def touch(self, now: float) -> None:
        """Let it move to the top of the list."""
        moment = self.at(now)
        if moment is not None:
            bisect.insort_right(self.life, (now, *moment[1:]), key=lambda one: one[0])


@dataclass(frozen=True)
class Fault:
    """What goes wrong, with which requests, from when until when.

    :param requests: ``list``, ``job``, the id of one job, or ``open`` for the opening of a client.
    :param kind: A status with a reply of Scenario's own, ``html`` and a status for a gateway's, ``garbage``, ``hang``,
        ``dropped``, ``unreachable``, ``no connection`` or ``bug``.
    """

    requests: str
    kind: int | str
    start: float = 0.0
    end: float = float("inf")
    headers: Mapping[str, str] = field(default_factory=dict)

    def response(self, scenario: FakeScenario[Any]) -> Response:
        """Return the reply that it makes, or raise what it makes of the request."""
        match self.kind:
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
            case str(gateway):
                return Response(int(gateway.removeprefix("html ")), {}, b"<html>No</html>")
        return scenario.reply(self.kind, {"reason": "a fault"}, self.headers)


@dataclass
class FakeScenario(Generic[Clock]):
    """Scenario's jobs and their list, and what it takes to buy one.

    :param clock: The true time.
    :param latency: Seconds until it answers an asynchronous client.
    :param clock_ahead: Seconds that Scenario's clock is ahead of it.
    :param tells_time: Whether its replies have a ``Date``.
    :param list_lag: Seconds that the list lags behind.
    :param hidden_for: Seconds after its creation in which a job's own address answers 404.
    :param bare_for: Seconds after its success in which a job does not tell its outputs.
    :param page_size: The most rows a page.
    :param empty_pages: Empty pages before each page with rows.
    :param empty_first: Whether before the first page too. Nothing is known to be new where the first page is empty.
    :param odd_rows: What each page begins with.
    :param unlisted: Jobs that the list never shows.
    :param key: The key that is accepted.
    :param known_key: The key that clients are opened with.
    :param echo: How an input comes back.
    :param ending: Gives a new job ``(seconds until it ends or None, outcome, status until then)``.
    :param lacking: Gives what the row of a new job lacks, and whether for good.
    :param largest_seed: The largest seed that its models take; 0 if they take none.
    :param on_accepted: Told of every job that is paid for, before it is there, and of the try that pays.
    """

    clock: Clock
    latency: float = 0.05
    clock_ahead: float = 0.0
    tells_time: bool = True
    list_lag: float = 0.0
    hidden_for: float = 0.0
    bare_for: float = 0.0
    page_size: int = 100
    empty_pages: int = 0
    empty_first: bool = True
    odd_rows: tuple[Any, ...] = ()
    unlisted: set[str] = field(default_factory=set)
    key: str = "first"
    known_key: str = "first"
    faults: list[Fault] = field(default_factory=list)
    echo: Callable[[dict[str, Any]], dict[str, Any]] = dict
    ending: Callable[[], tuple[float | None, str, str]] = lambda: (None, "success", "in-progress")
    lacking: Callable[[], tuple[frozenset[str], bool]] = lambda: (frozenset(), False)
    largest_seed: int = LARGEST_SEED
    on_accepted: Callable[[FakeJob, int], None] = lambda job, try_number: None
    jobs: dict[str, FakeJob] = field(default_factory=dict)
    requests: list[tuple[float, str]] = field(default_factory=list)
    opened: int = 0
    closed: int = 0
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def add(self, job_id: str, *life: Moment, assets_from: float = 0.0) -> FakeJob:
        self.jobs[job_id] = FakeJob(job_id, sorted(life), assets_from=assets_from)
        return self.jobs[job_id]

    def accept(
        self, payer: str, model_id: str, inputs: Mapping[str, Any], *, delay: float = 0.0, try_number: int = 1
    ) -> FakeJob:
        """Let somebody buy a job, which is there some seconds later."""
        seconds, outcome, running = self.ending()
        lacks, for_good = self.lacking()
        created_at = self.clock() + delay
        life = [(created_at, running, 0.5)]
        if seconds is not None:
            life.append((created_at + seconds, outcome, 1.0))
        job = FakeJob(
            f"job_{next(self._numbers)}", life, payer, model_id, dict(inputs), lacks=lacks, lacks_for_good=for_good
        )
        self.on_accepted(job, try_number)
        self.jobs[job.id] = job
        return job

    def paid_by(self, payer: str) -> list[FakeJob]:
        return [job for job in self.jobs.values() if job.payer == payer]

    def times(self, kind: str) -> list[float]:
        """When requests came: for ``list``, for any single ``job``, or for the id of one."""
        return [time for time, what in self.requests if kind == what or (kind == "job" and what != "list")]

    async def open(self) -> contextlib.AbstractAsyncContextManager[AsyncClient]:
        """Open a client, as triggers do."""
        fault = self.fault("open")
        if fault is not None:
            fault.response(self)
        return self._opened()

    @contextlib.asynccontextmanager
    async def _opened(self) -> AsyncIterator[AsyncClient]:
        self.opened += 1
        try:
            yield AsyncClient(self, self.known_key)
        finally:
            self.closed += 1

    def fault(self, *requests: str) -> Fault | None:
        """Return what goes wrong with a request now."""
        now = self.clock()
        return next((one for one in self.faults if one.requests in requests and one.start <= now < one.end), None)

    def answer(self, call: Call[Any], key: str | None = None) -> Response:
        """Answer a GET."""
        assert call.method == "GET"
        if call.path.startswith("/models/"):
            model_id = call.path.removeprefix("/models/")
            seed = {"name": "seed", "type": "number", "max": self.largest_seed}
            inputs = [seed] if self.largest_seed else []
            return self.reply(200, {"model": {"id": model_id, "name": model_id, "inputs": inputs}})
        job_id = id_in(call)
        fault = self.fault("job", job_id) if job_id else self.fault("list")
        if fault is not None:
            return fault.response(self)
        if key not in (None, self.key):
            return self.reply(401, {"reason": "no such key"})
        if not job_id:
            return self._list(call.query)
        job = self.jobs.get(job_id)
        if job is None or job.at(self.clock() - self.hidden_for) is None:
            return self.reply(404, {"reason": f"Job {job_id} not found"})
        return self.reply(200, {"job": self.row(job)})

    def _list(self, query: Mapping[str, str]) -> Response:
        assert query["types"] == "custom"
        since = time_of(query.get("updatedAfter"))
        after = since.timestamp() - self.clock_ahead if since else 0.0
        token = json.loads(query.get("paginationToken", '{"before": null, "empty": -1}'))
        empty = self.empty_pages if token["empty"] < 0 else token["empty"]
        if empty and (self.empty_first or "paginationToken" in query):
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
        return self._page([self.row(job, moment, whole=False) for _, job, moment in listed[:size]], more)

    def _page(self, rows: list[dict[str, Any]], more: dict[str, Any] | None) -> Response:
        token = {"nextPaginationToken": json.dumps(more)} if more else {}
        return self.reply(200, {"jobs": [*self.odd_rows, *rows], **token})

    def row(self, job: FakeJob, moment: Moment | None = None, *, whole: bool = True) -> dict[str, Any]:
        """Return a job as Scenario shows it: as it is now, or as it was."""
        now = self.clock()
        changed, status, progress = moment or job.at(now) or job.life[0]
        has_outputs = status == "success" and now >= max(job.assets_from, (job.ends_at or 0.0) + self.bare_for)
        document = {
            "jobId": job.id,
            "jobType": "custom",
            "status": status,
            "progress": progress,
            "createdAt": self._shown(job.created_at),
            "updatedAt": self._shown(changed),
            "metadata": {
                "input": {**self.echo(job.inputs), "modelId": job.model_id},
                "assetIds": [f"asset_of_{job.id}"] if has_outputs else [],
            },
            "billing": {"cuCost": 11},
        }
        if not whole or job.lacks_for_good:
            _leave_out(document, job.lacks)
        return document

    def _shown(self, time: float) -> str:
        shown = datetime.datetime.fromtimestamp(time + self.clock_ahead, datetime.UTC)
        return shown.isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def reply(self, status: int, document: Mapping[str, Any], more: Mapping[str, str] | None = None) -> Response:
        date = datetime.datetime.fromtimestamp(self.clock() + self.clock_ahead, datetime.UTC)
        headers = {"date": date.strftime("%a, %d %b %Y %H:%M:%S GMT")} if self.tells_time else {}
        return Response(status, {**headers, **(more or {})}, json.dumps(document).encode())


def id_in(call: Call[Any]) -> str:
    """Return the id of the job that a call reads, or nothing if it reads the list."""
    return "" if call.path == "/jobs" else call.path.removeprefix("/jobs/")


def _leave_out(document: dict[str, Any], lacks: frozenset[str]) -> None:
    inputs = document["metadata"]["input"]
    if "seed" in lacks:
        inputs.pop("seed", None)
    if "model" in lacks:
        inputs.pop("modelId")
    if "input" in lacks:
        del document["metadata"]["input"]
    if "createdAt" in lacks:
        del document["createdAt"]
    if "id" in lacks:
        document["jobId"] = {}


class AsyncClient:
    """Carries calls as the real one does, with the key it was opened with."""

    def __init__(self, scenario: FakeScenario[Any], key: str) -> None:
        self._scenario = scenario
        self._key = key

    async def send(self, call: Call[Any], /) -> Any:
        scenario, job_id = self._scenario, id_in(call)
        assert job_id or "updatedAfter" in call.query, "a watcher never reads the whole list"
        scenario.requests.append((scenario.clock(), job_id or "list"))
        await asyncio.sleep(scenario.latency)
        fault = scenario.fault("job", job_id) if job_id else scenario.fault("list")
        if fault is not None and fault.kind == "hang":
            await asyncio.sleep(3600)
        return call.read_reply(scenario.answer(call, self._key))

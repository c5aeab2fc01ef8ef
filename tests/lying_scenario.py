"""A Scenario in memory that tells the truth late, in other words or not at all, and a worker that can die at any step.

It speaks through the real calls and the real reading of replies, so that a purchase meets it as it would the real one.
It knows the truth that the code under test has to guess: who paid for which job.
"""

from __future__ import annotations

import datetime
import itertools
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_scenario.api.calls import Call
from airflow_provider_scenario.api.exchange import result_of
from airflow_provider_scenario.api.job import time_of
from airflow_provider_scenario.api.reply import Reply
from airflow_provider_scenario.exceptions import ScenarioConnectionError
from airflow_provider_scenario.submission.decision import Record

START = 1_790_000_000.0


class Crash(BaseException):
    """The worker died."""


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds > 0, "a wait of no time is a busy loop"
        self.now += seconds


class Steps:
    """Every effect of a worker, in order; it can be told to die before or after one."""

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.die_at: int | None = None
        self.die_when: str | None = None

    def __call__(self, name: str) -> None:
        self.taken.append(name)
        if self.die_at == len(self.taken) - 1 or self.die_when == name:
            raise Crash(name)

    def revive(self) -> None:
        self.taken, self.die_at, self.die_when = [], None, None


class Store:
    """Keeps the record as Airflow does: as JSON."""

    def __init__(self, steps: Steps, clock: Clock) -> None:
        self._steps = steps
        self._clock = clock
        self.text: str | None = None
        self.seconds_to_save = 0.0

    @property
    def record(self) -> Record | None:
        return Record.from_json(json.loads(self.text)) if self.text else None

    def load(self) -> Record | None:
        self._steps("before load")
        record = self.record
        self._steps("after load")
        return record

    def save(self, record: Record) -> None:
        what = _kind_of(record)
        self._steps(f"before saving {what}")
        self._clock.now += self.seconds_to_save
        self.text = json.dumps(record.to_json())
        self._steps(f"after saving {what}")


def _kind_of(record: Record) -> str:
    if record.landed:
        return "landed"
    if record.job_id is not None:
        return "job"
    return "not accepted" if record.intended_at is None else "intent"


@dataclass
class PaidJob:
    """A job as it really is.

    :param payer: Who paid for it.
    :param created_at: When it was accepted, in seconds of the epoch by the true clock.
    :param ends_at: When it ends by itself, or ``None``.
    """

    id: str
    payer: str
    model_id: str
    inputs: dict[str, Any]
    created_at: float
    ends_at: float | None = None
    outcome: str = "success"
    running: str = "in-progress"
    touched_at: float = 0.0

    def status(self, now: float) -> str:
        return self.outcome if self.ends_at is not None and now >= self.ends_at else self.running

    def ended_badly(self, now: float) -> bool:
        return self.status(now) in ("failure", "canceled")


@dataclass
class LyingScenario:
    """Scenario, as far as buying goes.

    :param clock: The true time.
    :param clock_ahead: Seconds that Scenario's clock is ahead of it.
    :param list_lag: Seconds until a job shows up in the list.
    :param hidden_for: Seconds after its creation in which a job's own address answers 404.
    :param page_size: Rows a page; every second page is empty although more follow.
    :param echo: How an input comes back.
    :param fate: Gives a new job ``(seconds until it ends or None, outcome, status until then)``.
    :param on_accepted: Told of every job that is paid for.
    """

    clock: Clock
    clock_ahead: float = 0.0
    list_lag: float = 0.0
    hidden_for: float = 0.0
    page_size: int = 100
    echo: Callable[[dict[str, Any]], dict[str, Any]] = dict
    fate: Callable[[], tuple[float | None, str, str]] = lambda: (None, "success", "in-progress")
    on_accepted: Callable[[PaidJob], None] = lambda job: None
    jobs: list[PaidJob] = field(default_factory=list)
    _numbers: Iterable[int] = field(default_factory=lambda: itertools.count(1))

    def paid_by(self, payer: str) -> list[PaidJob]:
        return [job for job in self.jobs if job.payer == payer]

    def job(self, job_id: str) -> PaidJob:
        return next(job for job in self.jobs if job.id == job_id)

    def accept(self, payer: str, model_id: str, inputs: Mapping[str, Any], *, delay: float = 0.0) -> PaidJob:
        seconds, outcome, running = self.fate()
        created_at = self.clock.now + delay
        job = PaidJob(
            id=f"job_{next(iter(self._numbers))}",
            payer=payer,
            model_id=model_id,
            inputs=dict(inputs),
            created_at=created_at,
            ends_at=None if seconds is None else created_at + seconds,
            outcome=outcome,
            running=running,
        )
        self.jobs.append(job)
        self.on_accepted(job)
        return job

    def row(self, job: PaidJob) -> dict[str, Any]:
        status = job.status(self.clock.now)
        return {
            "jobId": job.id,
            "jobType": "custom",
            "status": status,
            "progress": 1 if status == "success" else 0.5,
            "createdAt": self._shown(job.created_at),
            "updatedAt": self._shown(self._updated_at(job)),
            "metadata": {
                "input": {**self.echo(job.inputs), "modelId": job.model_id},
                "assetIds": [f"asset_of_{job.id}"] if status == "success" else [],
            },
            "billing": {"cuCost": 11},
        }

    def reply(self, status: int, document: Mapping[str, Any]) -> Reply:
        date = datetime.datetime.fromtimestamp(self.clock.now + self.clock_ahead, datetime.UTC)
        headers = {"date": date.strftime("%a, %d %b %Y %H:%M:%S GMT")}
        return Reply(status, headers, json.dumps(document).encode())

    def read(self, call: Call[Any]) -> Reply:
        """Answer a GET."""
        if call.path == "/jobs":
            return self._list(call)
        job_id = call.path.removeprefix("/jobs/")
        now = self.clock.now
        for job in self.jobs:
            if job.id == job_id and now >= job.created_at + self.hidden_for:
                return self.reply(200, {"job": self.row(job)})
        return self.reply(404, {"reason": f"Job {job_id} not found"})

    def _list(self, call: Call[Any]) -> Reply:
        assert call.query["types"] == "custom"
        since = time_of(call.query.get("updatedAfter"))
        after = since.timestamp() - self.clock_ahead if since else 0.0
        now = self.clock.now
        listed = [job for job in self.jobs if job.created_at + self.list_lag <= now and self._updated_at(job) > after]
        listed.sort(key=lambda job: (self._updated_at(job), job.id), reverse=True)
        size = min(self.page_size, int(call.query["pageSize"]))
        page = int(call.query.get("paginationToken") or 0)
        rows = [] if page % 2 else listed[page // 2 * size : (page // 2 + 1) * size]
        more = (page + 1) // 2 * size < len(listed)
        token = {"nextPaginationToken": str(page + 1)} if more else {}
        return self.reply(200, {"jobs": [self.row(job) for job in rows], **token})

    def _updated_at(self, job: PaidJob) -> float:
        ended = job.ends_at is not None and job.ends_at <= self.clock.now
        return max(job.created_at, job.touched_at, job.ends_at or 0.0 if ended else 0.0)

    def _shown(self, moment: float) -> str:
        shown = datetime.datetime.fromtimestamp(moment + self.clock_ahead, datetime.UTC)
        return shown.isoformat(timespec="milliseconds").replace("+00:00", "Z")


REFUSALS = {
    "400": (400, {"reason": "Input prompt is required"}),
    "401": (401, {"reason": "no"}),
    "402": (402, {"reason": "not enough creative units"}),
    "403": (403, {"reason": "no"}),
    "404": (404, {"reason": "no such model"}),
    "409": (409, {"reason": "no"}),
    "429": (429, {"details": {"actionName": "custom", "actionLimit": 2}}),
}

AMBIGUOUS = {
    "dropped": True,
    "dropped unaccepted": False,
    "502": True,
    "502 unaccepted": False,
    "408": True,
    "cut": True,
    "without a job": True,
    "late and dropped": True,
    "timed out": True,
    "timed out unaccepted": False,
}
"""Ends of a POST that leave it open whether it was accepted, and whether it was."""


class Line:
    """What carries one worker's calls: a :class:`~airflow_provider_scenario.submission.submitter.Sender`.

    :param replies: How the next POSTs end; when they are used up, well.
    """

    def __init__(self, scenario: LyingScenario, payer: str, steps: Steps, replies: Iterable[str] = ()) -> None:
        self.scenario = scenario
        self.payer = payer
        self.replies = list(replies)
        self.bodies: list[dict[str, Any]] = []
        self._steps = steps

    def send(self, call: Call[Any], /) -> Any:
        if call.method == "GET":
            what = "LIST" if call.path == "/jobs" else "GET"
            self._steps(f"before {what}")
            reply = self.scenario.read(call)
            self._steps(f"after {what}")
            return result_of(call, reply)
        assert call.path.startswith("/generate/custom/"), call.path
        assert not call.repeatable
        self._steps("before POST")
        self.bodies.append(dict(call.body or {}))
        reply = self._post(call, self.replies.pop(0) if self.replies else "well")
        self._steps("after POST")
        return result_of(call, reply)

    def _post(self, call: Call[Any], end: str) -> Reply:
        scenario, clock = self.scenario, self.scenario.clock
        if end in REFUSALS:
            return scenario.reply(*REFUSALS[end])
        if end == "refused connection":
            raise ScenarioConnectionError("no way there", sent=False)
        assert end == "well" or end in AMBIGUOUS, end
        job = None
        if end == "well" or AMBIGUOUS[end]:
            model_id = call.path.removeprefix("/generate/custom/")
            delay = 25.0 if end == "late and dropped" else 0.0
            job = scenario.accept(self.payer, model_id, call.body or {}, delay=delay)
        if end.startswith("timed out"):
            clock.now += 60.0
        if end in ("well", "cut") and job is not None:
            whole = scenario.reply(200, {"job": scenario.row(job), "creativeUnitsCost": 11})
            return whole if end == "well" else Reply(200, whole.headers, whole.body[:60])
        if end == "without a job":
            return scenario.reply(200, {"creativeUnitsCost": 11})
        if end[:3].isdigit():
            return Reply(int(end[:3]), {}, b"<html>Bad Gateway</html>")
        raise ScenarioConnectionError("it broke", sent=True)

"""A Scenario in memory that tells the truth late, in other words or not at all, and a worker that can die at any step.

It speaks through the real calls and the real reading of replies, so that a submission meets it as it would the real
one. It knows the truth that the code under test has to guess: who paid for which job.
"""

from __future__ import annotations

import datetime
import itertools
import json
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_scenario.api.calls import Call
from airflow_provider_scenario.api.job import time_of
from airflow_provider_scenario.api.model import LARGEST_SEED
from airflow_provider_scenario.api.response import Response
from airflow_provider_scenario.api.transport import read_reply
from airflow_provider_scenario.exceptions import ScenarioConnectionError
from airflow_provider_scenario.submission.record import Intent, NotAccepted, Record, from_dict, to_dict

START = 1_790_000_000.0


class Crash(BaseException):
    """The worker died."""


class Clock:
    """The true time. It passes when it is told to, and never jumps: it serves as the monotonic clock too."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds > 0, "a wait of no time is a busy loop"
        self.now += seconds


class WorkerClock:
    """A worker's wall clock: it is ahead of the true time, and jumps with each reading to the next of some values."""

    def __init__(self, clock: Clock, ahead: Iterable[float] = (0.0,)) -> None:
        self._clock = clock
        self._ahead = itertools.cycle(ahead)

    def __call__(self) -> float:
        return self._clock.now + next(self._ahead)


class Steps:
    """Every effect of a worker, in order; it can be told to die, or to freeze for a while, before or after one.

    :param on_freeze: What happens in the world while the worker is frozen.
    """

    def __init__(self, on_freeze: Callable[[], None] = lambda: None) -> None:
        self.taken: list[str] = []
        self.die_when: tuple[str, int] | None = None
        self.freeze_when: tuple[str, int] | None = None
        self._on_freeze = on_freeze

    def __call__(self, name: str) -> None:
        self.taken.append(name)
        place = (name, self.taken.count(name))
        if self.freeze_when == place:
            self._on_freeze()
        if self.die_when == place:
            raise Crash(name)

    def revive(self) -> None:
        self.taken, self.die_when, self.freeze_when = [], None, None


class Memory:
    """What Airflow keeps of a task's record, as JSON, and the job that it tells its siblings of."""

    def __init__(self) -> None:
        self.text: str | None = None
        self.claimed: str | None = None

    @property
    def record(self) -> Record | None:
        return from_dict(json.loads(self.text)) if self.text else None


class Store:
    """One worker's way to the record.

    :param steps: The worker's steps.
    :param memory: What Airflow keeps. A memory of the worker's own stands for an Airflow without a store.
    :param others: Returns the jobs of other task instances.
    :param is_durable: Whether the next try finds what is saved.
    """

    def __init__(
        self,
        steps: Steps,
        memory: Memory,
        others: Callable[[], Collection[str]] = tuple,
        *,
        is_durable: bool = True,
    ) -> None:
        self._steps = steps
        self._memory = memory
        self._others = others
        self.is_durable = is_durable

    def load(self) -> Record | None:
        self._steps("before load")
        record = self._memory.record
        self._steps("after load")
        return record

    def save(self, record: Record) -> None:
        what = _kind_of(record)
        self._steps(f"before saving {what}")
        self._memory.text = json.dumps(to_dict(record))
        self._steps(f"after saving {what}")

    def jobs_of_others(self) -> Collection[str]:
        return self._others()

    def claim(self, job_id: str | None) -> None:
        self._memory.claimed = job_id


def _kind_of(record: Record) -> str:
    if isinstance(record, NotAccepted):
        return "not accepted"
    if isinstance(record, Intent):
        return "intent"
    return "returned" if record.returned else "job"


@dataclass
class PaidJob:
    """A job as it really is.

    :param payer: Who paid for it.
    :param created_at: When it was accepted, in seconds of the epoch by the true clock.
    :param ends_at: When it ends by itself, or ``None``.
    :param lacks: What its row in the list does not tell: ``seed``, ``input``, ``model``, ``createdAt``, ``id``.
    :param lacks_for_good: Whether its own address does not tell it either.
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
    lacks: frozenset[str] = frozenset()
    lacks_for_good: bool = False

    def status(self, now: float) -> str:
        return self.outcome if self.ends_at is not None and now >= self.ends_at else self.running

    def ended_badly(self, now: float) -> bool:
        return self.status(now) in ("failure", "canceled")

    def is_finished(self, now: float) -> bool:
        return self.ends_at is not None and now >= self.ends_at


@dataclass
class LyingScenario:
    """Scenario, as far as buying goes.

    :param clock: The true time.
    :param clock_ahead: Seconds that Scenario's clock is ahead of it.
    :param list_lag: Seconds until a job shows up in the list.
    :param hidden_for: Seconds after its creation in which a job's own address answers 404.
    :param bare_for: Seconds after its success in which a job does not tell its outputs.
    :param list_out_until: When an outage of the list ends, by the true clock.
    :param page_size: Rows a page; every second page is empty although more follow.
    :param echo: How an input comes back.
    :param fate: Gives a new job ``(seconds until it ends or None, outcome, status until then)``.
    :param lacking: Gives what the row of a new job lacks, and whether for good.
    :param largest_seed: The largest seed that its models take; 0 if they take none.
    :param on_accepted: Told of every job that is paid for, before it is there, and of the try that pays.
    """

    clock: Clock
    clock_ahead: float = 0.0
    list_lag: float = 0.0
    hidden_for: float = 0.0
    bare_for: float = 0.0
    list_out_until: float = 0.0
    page_size: int = 100
    echo: Callable[[dict[str, Any]], dict[str, Any]] = dict
    fate: Callable[[], tuple[float | None, str, str]] = lambda: (None, "success", "in-progress")
    lacking: Callable[[], tuple[frozenset[str], bool]] = lambda: (frozenset(), False)
    largest_seed: int = LARGEST_SEED
    on_accepted: Callable[[PaidJob, int], None] = lambda job, try_number: None
    jobs: list[PaidJob] = field(default_factory=list)
    _numbers: Iterable[int] = field(default_factory=lambda: itertools.count(1))

    def paid_by(self, payer: str) -> list[PaidJob]:
        return [job for job in self.jobs if job.payer == payer]

    def job(self, job_id: str) -> PaidJob:
        return next(job for job in self.jobs if job.id == job_id)

    def accept(
        self, payer: str, model_id: str, inputs: Mapping[str, Any], *, delay: float = 0.0, try_number: int = 1
    ) -> PaidJob:
        seconds, outcome, running = self.fate()
        lacks, for_good = self.lacking()
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
            lacks=lacks,
            lacks_for_good=for_good,
        )
        self.on_accepted(job, try_number)
        self.jobs.append(job)
        return job

    def row(self, job: PaidJob, *, whole: bool = True) -> dict[str, Any]:
        now = self.clock.now
        status = job.status(now)
        has_outputs = status == "success" and now >= (job.ends_at or 0.0) + self.bare_for
        document = {
            "jobId": job.id,
            "jobType": "custom",
            "status": status,
            "progress": 1 if status == "success" else 0.5,
            "createdAt": self._shown(job.created_at),
            "updatedAt": self._shown(self._updated_at(job)),
            "metadata": {
                "input": {**self.echo(job.inputs), "modelId": job.model_id},
                "assetIds": [f"asset_of_{job.id}"] if has_outputs else [],
            },
            "billing": {"cuCost": 11},
        }
        if not whole or job.lacks_for_good:
            _leave_out(document, job.lacks)
        return document

    def reply(self, status: int, document: Mapping[str, Any]) -> Response:
        date = datetime.datetime.fromtimestamp(self.clock.now + self.clock_ahead, datetime.UTC)
        headers = {"date": date.strftime("%a, %d %b %Y %H:%M:%S GMT")}
        return Response(status, headers, json.dumps(document).encode())

    def read(self, call: Call[Any]) -> Response:
        """Answer a GET."""
        if call.path == "/jobs":
            return self._list(call)
        if call.path.startswith("/models/"):
            return self.reply(200, {"model": self._model(call.path.removeprefix("/models/"))})
        job_id = call.path.removeprefix("/jobs/")
        now = self.clock.now
        for job in self.jobs:
            if job.id == job_id and now >= job.created_at + self.hidden_for:
                return self.reply(200, {"job": self.row(job)})
        return self.reply(404, {"reason": f"Job {job_id} not found"})

    def _model(self, model_id: str) -> dict[str, Any]:
        seed = {"name": "seed", "type": "number", "max": self.largest_seed}
        return {"id": model_id, "name": model_id, "inputs": [seed] if self.largest_seed else []}

    def _list(self, call: Call[Any]) -> Response:
        assert call.query["types"] == "custom"
        now = self.clock.now
        if now < self.list_out_until:
            return Response(503, {}, b"<html>Service Unavailable</html>")
        since = time_of(call.query.get("updatedAfter"))
        after = since.timestamp() - self.clock_ahead if since else 0.0
        listed = [job for job in self.jobs if job.created_at + self.list_lag <= now and self._updated_at(job) > after]
        listed.sort(key=lambda job: (self._updated_at(job), job.id), reverse=True)
        size = min(self.page_size, int(call.query["pageSize"]))
        page = int(call.query.get("paginationToken") or 0)
        rows = [] if page % 2 else listed[page // 2 * size : (page // 2 + 1) * size]
        more = (page + 1) // 2 * size < len(listed)
        token = {"nextPaginationToken": str(page + 1)} if more else {}
        return self.reply(200, {"jobs": [self.row(job, whole=False) for job in rows], **token})

    def _updated_at(self, job: PaidJob) -> float:
        ended = job.ends_at is not None and job.ends_at <= self.clock.now
        return max(job.created_at, job.touched_at, job.ends_at or 0.0 if ended else 0.0)

    def _shown(self, moment: float) -> str:
        shown = datetime.datetime.fromtimestamp(moment + self.clock_ahead, datetime.UTC)
        return shown.isoformat(timespec="milliseconds").replace("+00:00", "Z")


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


REFUSALS = {
    "400": (400, {"reason": "Input prompt is required"}),
    "401": (401, {"message": "no"}),
    "402": (402, {"reason": "not enough creative units"}),
    "403": (403, {"error": "no"}),
    "404": (404, {"detail": "no such model"}),
    "409": (409, {"reason": "no"}),
    "422": (422, {"reason": "no"}),
    "429": (429, {"details": {"actionName": "custom", "actionLimit": 2}}),
    "429 cooldown": (429, {"reason": "slow down", "remainingSeconds": 3}),
}
"""Scenario's own refusals of a POST: nothing was accepted."""

SENT_TWICE = {f"twice {name}": reply for name, reply in REFUSALS.items()}
"""A gateway sent the POST twice: Scenario accepted the first, and refused the second."""

GATEWAYS = ("200", "302", "400", "401", "403", "404", "408", "409", "429", "500", "502", "503", "504")
"""Statuses with which a gateway may answer a POST for Scenario, whatever became of it behind."""

ENDS = ("well", "refused connection", "dropped", "timed out", "cut", "without a job", "own 500", "empty 502")
"""Other ends of a POST."""


@dataclass(frozen=True)
class End:
    """How a POST ends.

    :param name: One of :data:`ENDS`, :data:`REFUSALS` or :data:`SENT_TWICE`, or one of :data:`GATEWAYS` with ``html``
        before it.
    :param accepted_after: Where the name leaves it open: how many seconds later it is accepted; ``None`` if never.
    """

    name: str = "well"
    accepted_after: float | None = 0.0


class Line:
    """What carries one worker's calls.

    :param ends: How the next POSTs end; when they are used up, well.
    :param faults: What the next reads of a job meet: a status, which a gateway answers, or ``0`` for a broken
        connection.
    :param try_number: Which try of the task it is.
    """

    def __init__(
        self,
        scenario: LyingScenario,
        payer: str,
        steps: Steps,
        ends: Iterable[End] = (),
        faults: Iterable[int] = (),
        *,
        try_number: int = 1,
    ) -> None:
        self.scenario = scenario
        self.payer = payer
        self.ends = list(ends)
        self.faults = list(faults)
        self.bodies: list[dict[str, Any]] = []
        self.may_have_bought = False
        self._try_number = try_number
        self.steps = steps

    def send(self, call: Call[Any], /) -> Any:
        if call.method == "GET":
            what = "LIST" if call.path == "/jobs" else "MODEL" if call.path.startswith("/models/") else "GET"
            self.steps(f"before {what}")
            reply = self._fault(self.faults.pop(0)) if what == "GET" and self.faults else self.scenario.read(call)
            self.steps(f"after {what}")
            return read_reply(call, reply)
        assert call.path.startswith("/generate/custom/"), call.path
        assert not call.repeatable
        self.steps("before POST")
        self.bodies.append(dict(call.body or {}))
        reply = self._post(call, self.ends.pop(0) if self.ends else End())
        self.steps("after POST")
        return read_reply(call, reply)

    def _fault(self, status: int) -> Response:
        if status == 0:
            raise ScenarioConnectionError("it broke")
        return Response(status, {}, b"<html>No</html>")

    def _post(self, call: Call[Any], end: End) -> Response:
        scenario, clock = self.scenario, self.scenario.clock
        if end.name in REFUSALS:
            return scenario.reply(*REFUSALS[end.name])
        if end.name in SENT_TWICE:
            scenario.accept(self.payer, call.path.rpartition("/")[2], call.body or {}, try_number=self._try_number)
            return scenario.reply(*SENT_TWICE[end.name])
        if end.name == "refused connection":
            raise ScenarioConnectionError("no way there", sent=False)
        self.may_have_bought = True
        if end.name == "timed out":
            clock.now += 60.0
        job = None
        after = 0.0 if end.name in ("well", "cut", "without a job") else end.accepted_after
        if after is not None:
            model_id = call.path.removeprefix("/generate/custom/")
            job = scenario.accept(self.payer, model_id, call.body or {}, delay=after, try_number=self._try_number)
        if end.name in ("well", "cut") and job is not None:
            whole = scenario.reply(200, {"job": scenario.row(job), "creativeUnitsCost": 11})
            return whole if end.name == "well" else Response(200, whole.headers, whole.body[:60])
        if end.name == "without a job":
            return scenario.reply(200, {"creativeUnitsCost": 11})
        if end.name == "own 500":
            return scenario.reply(500, {"reason": "Internal error"})
        if end.name == "empty 502":
            return Response(502, {}, b"")
        if end.name.startswith("html "):
            return Response(int(end.name[5:]), {}, b"<html>Not what was asked for</html>")
        assert end.name in ("dropped", "timed out"), end
        raise ScenarioConnectionError("it broke", sent=True)

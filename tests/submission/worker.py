"""A worker that buys from the fake Scenario, and can die or freeze at any step; and what its requests meet."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any

from airflow_provider_scenario.api.calls import Call
from airflow_provider_scenario.api.response import Response
from airflow_provider_scenario.exceptions import ScenarioConnectionError
from airflow_provider_scenario.submission.record import Intent, NotAccepted, Record, from_dict, to_dict
from tests.fake_scenario import FakeScenario

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


def fake_scenario(clock: Clock | None = None, **options: Any) -> FakeScenario[Clock]:
    """Return a Scenario whose list has an empty page before each page but the first."""
    return FakeScenario(clock or Clock(), empty_pages=1, empty_first=False, **options)


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


class FaultyClient:
    """Carries one worker's calls, and what becomes of them on the way.

    :param ends: How the next POSTs end; when they are used up, well.
    :param faults: What the next reads of a job meet: a status, which a gateway answers, or ``0`` for a broken
        connection.
    :param try_number: Which try of the task it is.
    """

    def __init__(
        self,
        scenario: FakeScenario[Clock],
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
            reply = self._fault(self.faults.pop(0)) if what == "GET" and self.faults else self.scenario.answer(call)
            self.steps(f"after {what}")
            return call.read_reply(reply)
        assert call.path.startswith("/generate/custom/"), call.path
        assert not call.repeatable
        self.steps("before POST")
        self.bodies.append(dict(call.body or {}))
        reply = self._post(call, self.ends.pop(0) if self.ends else End())
        self.steps("after POST")
        return call.read_reply(reply)

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

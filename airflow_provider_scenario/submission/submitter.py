"""Carries out what :mod:`~airflow_provider_scenario.submission.decision` decides: read the record, ask, search, buy."""

from __future__ import annotations

import dataclasses
import logging
import secrets
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Protocol, TypeVar

from airflow_provider_scenario.api import calls
from airflow_provider_scenario.api.calls import Call
from airflow_provider_scenario.api.job import Job, JobStatus
from airflow_provider_scenario.exceptions import (
    ScenarioConnectionError,
    ScenarioDryRunError,
    ScenarioError,
    ScenarioNotFoundError,
    ScenarioServerError,
    ScenarioSubmissionError,
)
from airflow_provider_scenario.outcome import amount, creative_units
from airflow_provider_scenario.submission.decision import (
    Answer,
    Found,
    Gone,
    Land,
    Record,
    Refuse,
    Request,
    Rules,
    Search,
    Submit,
    Wait,
    decide,
)
from airflow_provider_scenario.submission.recovery import candidates, search_from, settled_at

T = TypeVar("T")

_MOST_SUBMISSIONS = 3
_MOST_PAGES = 200

_KEPT = (
    "It is kept as this task's job, and nothing else was bought: clear the task to take what {job_id} makes without "
    "paying again (with durable=False or below Airflow 3.3 a clear would buy anew). Leave out max_cost until that is "
    "mended."
)


class Sender(Protocol):
    """What carries calls: a :class:`~airflow_provider_scenario.api.client.ScenarioClient`."""

    def send(self, call: Call[T], /) -> T:
        """Send a call and return what its reply says."""


class RecordStore(Protocol):
    """Where the record is kept."""

    def load(self) -> Record | None:
        """Return the record, or ``None``."""

    def save(self, record: Record) -> None:
        """Keep the record. Returns only once it is safe."""


@dataclass(frozen=True)
class Bought:
    """What a purchase came to.

    :param job: The job, as last seen.
    :param record: Its record.
    :param is_new: Whether this very try bought it.
    """

    job: Job
    record: Record
    is_new: bool


class Purchase:
    """Buys one generation once, whatever crashed before.

    :param client: Carries the calls.
    :param store: Keeps the record.
    :param rules: The author's wishes for doubtful cases.
    :param before_buying: Checks what has to be right before a submission; raises if it is not. Returns the inputs to
        send, or ``None`` to send the request's own.
    :param check_price: Asks what a submission of these inputs would cost, and raises if that is too much.
    :param claimed: Returns the ids of jobs known to be other tasks'. Asked only when a seed can't tell.
    :param log: Where to say what is done.
    :param clock: Returns seconds of the epoch.
    :param sleep: Waits for seconds, between two searches.
    """

    def __init__(
        self,
        client: Sender,
        store: RecordStore,
        rules: Rules,
        *,
        before_buying: Callable[[], Mapping[str, Any] | None] = lambda: None,
        check_price: Callable[[Mapping[str, Any]], None] = lambda _: None,
        claimed: Callable[[], Collection[str]] = tuple,
        log: Any = None,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._client = client
        self._store = store
        self._rules = rules
        self._before_buying = before_buying
        self._check_price = check_price
        self._claimed = claimed
        self._submissions = 0
        self._log = log or logging.getLogger(__name__)
        self._clock = clock
        self._sleep = sleep

    def settle(self, request: Request, *, max_tries: int) -> Bought:
        """Return the job for a request: the one already bought, or a new one.

        :param request: What is wanted.
        :param max_tries: Airflow's count that tells a clear from a retry.
        :raises ScenarioSubmissionError: if the rules say neither to buy nor to wait.
        :raises ScenarioError: if Scenario refuses, or can't be reached. Then nothing was accepted, or the record tells
            the next try to look for it.
        """
        record = self._store.load()
        answer = self._ask(record)
        while True:
            same_try = self._submissions > 0
            decision = decide(record, request, answer, max_tries=max_tries, rules=self._rules, same_try=same_try)
            match decision:
                case Refuse(reason):
                    raise ScenarioSubmissionError(reason, job_id=record.job_id if record else None)
                case Search():
                    assert record is not None  # noqa: S101 - a search follows an intent
                    answer = self._search(record, request, same_try=same_try)
                case Submit(take, why):
                    ready = self._before_buying()
                    inputs = request.inputs if ready is None else ready
                    draft = self._draft(request, take, max_tries, _jobs_so_far(record, answer))
                    self._price(draft, inputs)
                    if (meanwhile := self._store.load()) != record:
                        # Uploads take minutes: a try that was thought to follow a dead one may have bought meanwhile.
                        record, answer = meanwhile, self._ask(meanwhile)
                        continue
                    self._submissions += 1
                    self._log.info("Submitting take %d to %s: %s.", take, request.model_id, why)
                    record = self._intend(draft, request, inputs)
                    try:
                        return self._submit(record, request.model_id, inputs)
                    except (ScenarioConnectionError, ScenarioServerError) as error:
                        if self._submissions >= _MOST_SUBMISSIONS or not _is_ambiguous(error):
                            raise
                        self._log.warning("%s It may have been accepted all the same: looking for it.", error)
                        answer = None
                case Wait() | Land():
                    assert record is not None  # noqa: S101 - only a record leads here
                    return self._rejoin(record, decision, answer, max_tries)

    def _ask(self, record: Record | None) -> Answer:
        if record is None or record.job_id is None:
            return None
        try:
            return self._client.send(calls.get_job(record.job_id))
        except ScenarioNotFoundError:
            return Gone(self._clock() - (record.intended_at or 0.0))

    def _draft(self, request: Request, take: int, max_tries: int, earlier_jobs: list[str]) -> Record:
        return Record(
            take=take,
            fingerprint=request.fingerprint,
            input_digests=request.digests,
            seed=request.inputs.get("seed"),
            seed_is_ours=False,
            intended_at=None,
            job_id=None,
            max_tries=max_tries,
            earlier_jobs=earlier_jobs,
        )

    def _price(self, draft: Record, inputs: Mapping[str, Any]) -> None:
        """Check the price. A job that the dry run made is this task's from then on: it is paid for."""
        try:
            self._check_price(inputs)
        except ScenarioDryRunError as alarm:
            self._store.save(dataclasses.replace(draft, intended_at=self._clock(), job_id=alarm.job_id))
            message = f"{alarm} {_KEPT.format(job_id=alarm.job_id)}"
            raise ScenarioDryRunError(message, said=alarm.said, job_id=alarm.job_id) from None

    def _intend(self, draft: Record, request: Request, inputs: Mapping[str, Any]) -> Record:
        sent = {name: value for name, value in inputs.items() if value != request.inputs.get(name)}
        record = dataclasses.replace(draft, intended_at=self._clock(), sent=sent)
        if request.needs_our_seed:
            # Not from random: a DAG file that calls random.seed() would draw the same seed for all its tasks.
            seed = 1 + secrets.randbelow(request.largest_seed)
            record = dataclasses.replace(record, seed=seed, seed_is_ours=True)
        self._store.save(record)
        return record

    def _submit(self, record: Record, model_id: str, inputs: Mapping[str, Any]) -> Bought:
        """Send the paid POST, once."""
        seed = {"seed": record.seed} if record.seed_is_ours else {}
        try:
            submission = self._client.send(calls.submit(model_id, {**inputs, **seed}))
        except ScenarioError as error:
            if not _is_ambiguous(error):
                self._store.save(dataclasses.replace(record, intended_at=None))
            raise
        cost = submission.cost
        bought = dataclasses.replace(record, job_id=submission.job.id, charged=_text(cost))
        self._store.save(bought)
        price = "a price it did not tell" if cost is None else creative_units(cost)
        self._log.info("Scenario accepted job %s for %s.", submission.job.id, price)
        return Bought(submission.job, bought, is_new=True)

    def _search(self, record: Record, request: Request, *, same_try: bool) -> Found:
        """Look for a lost submission until it is surely found or would surely have shown up."""
        until = settled_at(record, started=self._clock(), same_try=same_try)
        pause = 2.0
        while True:
            looked_at = self._clock()
            jobs, clock_ahead = self._list(record)
            claimed = () if record.seed_is_ours else {*self._claimed(), *record.earlier_jobs}
            ours = candidates(record, request, jobs, clock_ahead=clock_ahead, claimed=claimed)
            found = Found(ours, settled=looked_at >= until)
            if found.is_conclusive(record):
                return found
            pause = min(pause, max(0.1, until - self._clock()))
            self._log.info("It is not sure yet what became of the submission; looking again in %.0f s.", pause)
            self._sleep(pause)
            pause = min(10.0, pause * 1.5)

    def _list(self, record: Record) -> tuple[list[Job], float]:
        """Return all jobs changed since the intent, and by how many seconds Scenario's clock is ahead."""
        first = self._client.send(calls.list_jobs(page_size=1))
        clock_ahead = first.server_time.timestamp() - self._clock() if first.server_time else 0.0
        since = search_from(record, clock_ahead=clock_ahead)
        jobs: dict[str, Job] = {}
        token: str | None = None
        for _ in range(_MOST_PAGES):
            page = self._client.send(calls.list_jobs(updated_after=since, token=token))
            jobs.update((job.id, job) for job in page.jobs)
            token = page.next_token
            if token is None:
                return list(jobs.values()), clock_ahead
        raise ScenarioSubmissionError(
            f"Scenario's list of jobs since the lost submission did not end after {_MOST_PAGES} pages, so it can't be "
            "told whether it was accepted. Nothing further was bought. Look in Scenario whether it was. If so, write "
            "the job's id as job_id into the task's entry in its Task State Store; if not, delete the entry. Then "
            "clear the task."
        )

    def _rejoin(self, record: Record, decision: Wait | Land, answer: Answer, max_tries: int) -> Bought:
        match decision, answer:
            case Land(job), _:
                pass
            case Wait(), Job() as job:
                pass
            case Wait(), Found((job,)):
                pass
            case _:
                job = self._unseen(record)
        self._log.info("Rejoining job %s (%s), which this task has already bought.", job.id, job.status.value)
        charged = record.charged if record.job_id == job.id else None
        if charged is None and not job.has_ended_badly:
            charged = _text(job.cost)
        rejoined = dataclasses.replace(record, job_id=job.id, max_tries=max_tries, charged=charged)
        if rejoined != record:
            self._store.save(rejoined)
        return Bought(job, rejoined, is_new=False)

    def _unseen(self, record: Record) -> Job:
        """Return a job that Scenario accepted but does not show yet."""
        assert record.job_id is not None  # noqa: S101 - it is waited for by its id
        return Job(record.job_id, JobStatus.PENDING, seed=record.seed)


def _jobs_so_far(record: Record | None, answer: Answer) -> list[str]:
    """Return the jobs known to be of the takes up to now."""
    if record is None:
        return []
    found = [job.id for job in answer.jobs] if isinstance(answer, Found) else []
    jobs = [*record.earlier_jobs, *([record.job_id] if record.job_id else found)]
    return list(dict.fromkeys(jobs))


def _text(cost: Decimal | None) -> str | None:
    return None if cost is None else amount(cost)


def _is_ambiguous(error: ScenarioError) -> bool:
    """Whether Scenario may have accepted a submission that ended in this error."""
    if isinstance(error, ScenarioConnectionError):
        return error.sent
    return isinstance(error, ScenarioServerError)

"""Buy one generation once, whatever crashed before: read the record, ask Scenario, search, send the paid POST."""

from __future__ import annotations

import dataclasses
import datetime
import logging
import secrets
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Protocol

from airflow_provider_scenario.api import calls
from airflow_provider_scenario.api.job import Job
from airflow_provider_scenario.api.job_search import MAX_PAGES, Client, find_in_list, read_pages
from airflow_provider_scenario.exceptions import (
    ScenarioError,
    ScenarioSubmissionError,
    ScenarioTransientError,
)
from airflow_provider_scenario.outcome import amount, creative_units, unreadable_error
from airflow_provider_scenario.submission.decision import (
    OnClear,
    OnStale,
    Refuse,
    Rejoin,
    Search,
    SubmissionPolicy,
    Submit,
    decide,
    submitted_from,
)
from airflow_provider_scenario.submission.record import (
    Baseline,
    Intent,
    NotAccepted,
    Record,
    Submitted,
    Wanted,
    all_jobs,
    facts_of,
    to_dict,
)
from airflow_provider_scenario.submission.recovery import (
    CLOCK_TOLERANCE,
    FRESH_SECONDS,
    SETTLE_SECONDS,
    SearchResult,
    differing_inputs,
    find_earlier,
    find_equal,
    find_submission,
    lacking_seeds,
    list_from,
)
from airflow_provider_scenario.submission.seed import PROVING_SEEDS, TaskKey

MAX_SUBMISSIONS = 3
"""POSTs whose end was ambiguous that one try may send."""

LATE_SECONDS = 120.0
"""Seconds after a try's last look for a job after which it looks again, where no store tells of other tries. Airflow
takes a silent worker for dead after minutes only."""

PATIENCE_SECONDS = 60.0
"""Seconds for which a job, or the job list, may be refused or out before a try gives up."""

_MAX_SINGLE_READS = 20
"""Rows that lack a seed to read one by one after a search."""


class RecordStore(Protocol):
    """Where the record is kept."""

    @property
    def is_durable(self) -> bool:
        """Whether the next try finds what is saved, unless a clear throws it away."""

    def load(self) -> Record | None:
        """Return the record, or ``None``."""

    def save(self, record: Record) -> None:
        """Keep the record. Returns only once it is safe."""

    def jobs_of_others(self) -> Collection[str]:
        """Return the ids of jobs known to be bought by other task instances of the DAG run."""


@dataclass(frozen=True)
class Order:
    """A generation that is to be bought.

    :param generation: Which one, from 1.
    :param reason: Why, for the log.
    :param stored: The record that was stored when it was decided.
    :param earlier_jobs: The jobs of earlier generations.
    """

    generation: int
    reason: str
    stored: Record | None
    earlier_jobs: tuple[str, ...] = ()


@dataclass(frozen=True)
class SubmittedJob:
    """A job that was bought.

    :param job: The job, as last read.
    :param record: Its record.
    :param is_new: Whether this very try bought it.
    """

    job: Job
    record: Submitted
    is_new: bool


class Submitter:
    """Buys one generation once.

    :param client: Sends the calls.
    :param store: Keeps the record.
    :param key: The task instance, from which the seed follows.
    :param policy: The author's wishes for doubtful cases.
    :param log: Where to say what is done.
    :param clock: Returns seconds of the epoch.
    :param monotonic: Returns seconds that no change of the clock moves.
    :param sleep: Waits for seconds.
    """

    def __init__(
        self,
        client: Client,
        store: RecordStore,
        key: TaskKey,
        policy: SubmissionPolicy,
        *,
        log: Any = None,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._client = client
        self._store = store
        self._key = key
        self._policy = policy
        self._ambiguous = 0
        self._stale = 0
        self._is_late = False
        self._has_settled = False
        self._log = log or logging.getLogger(__name__)
        self._clock = clock
        self._monotonic = monotonic
        self._sleep = sleep
        self._looked_at = monotonic()

    def rejoin_or_order(self, wanted: Wanted) -> SubmittedJob | Order:
        """Return the job that was bought already, or the order for one that must be bought.

        A job that was bought is read first, and nothing else: no model record, no file, no price.

        :param wanted: What the author asks for now.
        :raises ScenarioSubmissionError: if it can't be told what was bought, or the policy says neither to buy nor to
            go on.
        :raises ScenarioError: if Scenario does not tell of what was bought. Nothing further was bought.
        """
        stored = self._store.load()
        if stored is None and (self._key.may_have_submitted or self._is_late):
            return self._recall(wanted)
        decided = self._decide(stored, wanted, stored)
        if stored is not None and isinstance(decided, Order) and decided.generation > stored.generation:
            return self._bought_next(stored, decided, wanted) or decided
        return decided

    def buy(
        self, order: Order, wanted: Wanted, model_id: str, inputs: Mapping[str, Any], *, largest_seed: int
    ) -> SubmittedJob | None:
        """Send the paid POST of an order.

        :param order: What is to be bought.
        :param wanted: What the author asks for.
        :param model_id: The model.
        :param inputs: The checked inputs by the API's names, every file an asset.
        :param largest_seed: The largest seed the model takes; 0 if it takes none.
        :return: The job; ``None`` if another try bought meanwhile: then ask :meth:`rejoin_or_order` again.
        :raises ScenarioError: if Scenario refuses, or can't be reached. Then nothing was accepted, or the record tells
            the next try to look for it.
        """
        while True:
            # Uploads take minutes: a try that was thought to follow a dead one may have bought meanwhile.
            if not _is_same(self._store.load(), order.stored):
                return None
            if not self._store.is_durable and self._monotonic() - self._looked_at >= LATE_SECONDS:
                # No store shows what a retry bought while this worker was frozen, but the job list does.
                self._is_late = True
                return None
            self._log.info("Submitting generation %d to %s: %s.", order.generation, model_id, order.reason)
            intent = self._intend(order, wanted, model_id, inputs, largest_seed)
            if intent is None:
                return None
            try:
                return self._post(intent)
            except ScenarioError as error:
                if not is_ambiguous(error):
                    raise
                self._ambiguous += 1
                if self._ambiguous >= MAX_SUBMISSIONS:
                    raise _ambiguous_error(error) from None
                self._log.warning("%s It may have been accepted all the same: looking for it.", error)
            found = self._decide(intent, wanted, intent, same_try=True)
            if isinstance(found, SubmittedJob):
                return found
            order = found

    def keep(self, order: Order, wanted: Wanted, job_id: str, *, seed: int | None, is_ours: bool) -> SubmittedJob:
        """Keep a job that a dry run made, against the API's word: it is paid for, so it is this order's job.

        :param order: What was about to be bought.
        :param wanted: What the author asks for.
        :param job_id: The job.
        :param seed: The seed it was asked for with, if there was one.
        :param is_ours: Whether that seed is ours.
        """
        record = Submitted(
            generation=order.generation,
            digests=wanted.digests,
            seed=seed,
            seed_is_ours=is_ours,
            max_tries=self._key.max_tries,
            earlier_jobs=order.earlier_jobs,
            job_id=job_id,
            submitted_at=self._clock(),
        )
        self._save_job(record)
        return SubmittedJob(self._read_job(record), record, is_new=True)

    # Deciding

    def _decide(
        self, record: Record | None, wanted: Wanted, stored: Record | None, *, same_try: bool = False
    ) -> SubmittedJob | Order:
        found: Job | SearchResult | None = self._read_job(record) if isinstance(record, Submitted) else None
        while True:
            decision = decide(
                record, wanted, found, max_tries=self._key.max_tries, policy=self._policy, same_try=same_try
            )
            match decision:
                case Refuse(reason):
                    job_id = record.job_id if isinstance(record, Submitted) else None
                    raise ScenarioSubmissionError(reason, job_id=job_id)
                case Submit(generation, reason):
                    return Order(generation, reason, stored, _jobs_so_far(record, found))
                case Rejoin(job):
                    return self._rejoin(record, job, same_try=same_try)
                case Search():
                    found = self._search(record)

    def _rejoin(self, record: Record | None, job: Job, *, same_try: bool) -> SubmittedJob:
        submitted = submitted_from(record, job) if isinstance(record, Intent) else record
        if not isinstance(submitted, Submitted):
            raise TypeError("only a job that was bought is rejoined")
        self._log.info("Rejoining job %s (%s), which this task has already bought.", job.id, job.status.value)
        charged = submitted.charged
        if charged is None and not job.has_ended_badly:
            charged = _text(job.cost)
        rejoined = dataclasses.replace(submitted, max_tries=self._key.max_tries, charged=charged)
        if rejoined != record:
            self._save_job(rejoined)
        return SubmittedJob(job, rejoined, is_new=same_try)

    # Asking Scenario

    def _read_job(self, record: Submitted) -> Job:
        """Read a bought job. A refusal is no verdict: it must last a minute, and the job list must confirm it."""
        since = self._monotonic()
        pause = 2.0
        while True:
            try:
                return self._client.send(calls.get_job(record.job_id))
            except ScenarioTransientError as error:
                if self._monotonic() - since < PATIENCE_SECONDS and error.retry_after is None:
                    refusal: ScenarioError = error
                else:
                    raise ScenarioTransientError(
                        f"Job {record.job_id} can't be read just now.\n{error} The job was bought and is paid for: a "
                        "retry looks at it again and pays nothing.",
                        job_id=record.job_id,
                        retry_after=error.retry_after,
                    ) from None
            except ScenarioError as error:
                refusal = error
                if self._monotonic() - since >= PATIENCE_SECONDS:
                    return self._listed(record, error, self._monotonic() - since)
            self._log.warning("Job %s could not be read, which is no verdict on it: %s", record.job_id, refusal)
            self._sleep(pause)
            pause = min(10.0, pause * 1.5)

    def _listed(self, record: Submitted, refusal: ScenarioError, seconds: float) -> Job:
        """Return a job that its own address refuses as the job list shows it."""
        start = datetime.datetime.fromtimestamp(max(0.0, record.submitted_at - CLOCK_TOLERANCE), datetime.UTC)
        try:
            job = find_in_list(self._client, record.job_id, start)
        except ScenarioError:
            job = None
        if job is None:
            raise unreadable_error(record.job_id, refusal, seconds)
        return job

    def _recall(self, wanted: Wanted) -> SubmittedJob | Order:
        """Decide by Scenario's job list alone, where Airflow keeps no record of earlier tries.

        Airflow below 3.3 keeps no record, 3.4 throws it away when a task is cleared, and stores expire. Nothing is
        bought before a job of an earlier try would surely be listed.
        """
        # A durable store without a record tells that nothing was bought since the last clear.
        waits = (not self._store.is_durable or self._key.was_cleared) and self._key.may_have_submitted
        started = self._monotonic()
        pause = 2.0
        while True:
            self._looked_at = self._monotonic()
            settled = not waits or self._has_settled or self._looked_at - started >= SETTLE_SECONDS
            jobs, unreadable = self._patiently(lambda: self._list(self._recall_from()))
            doubts: list[Job] = []
            if settled:
                jobs, doubts = self._with_seeds(wanted, jobs)
            decided = self._decide(self._record_of(wanted, jobs), wanted, None)
            if isinstance(decided, SubmittedJob):
                return decided
            if settled:
                break
            pause = min(pause, max(0.1, SETTLE_SECONDS - (self._monotonic() - started)))
            self._log.info("Airflow keeps no record of this task; looking for its job again in %.0f s.", pause)
            self._sleep(pause)
            pause = min(10.0, pause * 1.5)
        if waits and (doubts or unreadable):
            named = ", ".join(job.id for job in doubts) or f"{unreadable} rows that can't be read"
            raise ScenarioSubmissionError(
                f"An earlier try of this task may have bought a job that Scenario's job list does not show whole: "
                f"{named}.\nNothing further was bought. Look at it in Scenario. Once the list shows its seed, clear "
                "the task."
            )
        self._has_settled = True
        return decided

    def _bought_next(self, stored: Record, order: Order, wanted: Wanted) -> SubmittedJob | Order | None:
        """Return what follows from a job of the next generation, if a frozen worker wrote over the record of it."""
        if not stored.seed_is_ours:
            return None
        jobs, _ = self._patiently(lambda: self._list(self._recall_from()))
        later = self._record_of(wanted, jobs)
        if later is None or later.generation < order.generation or later.max_tries != self._key.max_tries:
            return None
        earlier = (*order.earlier_jobs, *later.earlier_jobs)
        later = dataclasses.replace(
            later, earlier_jobs=tuple(dict.fromkeys(one for one in earlier if one != later.job_id))
        )
        return self._decide(later, wanted, stored)

    def _recall_from(self) -> datetime.datetime | None:
        """Return from when on the job list shows all that this task has bought; ``None`` for all of it."""
        # A clear sets the start of a finished run anew: its jobs are older.
        if self._key.run_started_at is None or self._key.was_cleared:
            return None
        return datetime.datetime.fromtimestamp(max(0.0, self._key.run_started_at - CLOCK_TOLERANCE), datetime.UTC)

    def _with_seeds(self, wanted: Wanted, jobs: list[Job]) -> tuple[list[Job], list[Job]]:
        """Read singly the rows that lack a seed. Return all jobs, and those of them that still lack it."""
        doubts = lacking_seeds(wanted, jobs)
        read = {job.id: self._read_row(job) for job in doubts[:_MAX_SINGLE_READS]}
        whole = [read.get(job.id, job) for job in jobs]
        return whole, lacking_seeds(wanted, whole)

    def _read_row(self, row: Job) -> Job:
        """Return the job of a row of the list as its own address shows it; the row itself if that fails."""
        try:
            return self._client.send(calls.get_job(row.id))
        except ScenarioError:
            return row

    def _record_of(self, wanted: Wanted, jobs: list[Job]) -> Submitted | None:
        """Return the record that earlier tries would have left, as far as their jobs tell."""
        found = find_earlier(self._key, wanted, jobs, changed_too=self._policy.on_stale is OnStale.FAIL)
        if not found:
            return self._equal_record(wanted, jobs)
        job, generation, since_clear = found[-1]
        changed = differing_inputs(wanted.inputs, job)
        self._log.info("Airflow keeps no record of this task. Scenario's job list shows its job %s.", job.id)
        return Submitted(
            generation=generation,
            digests={name: digest for name, digest in wanted.digests.items() if name not in changed},
            seed=job.seed,
            seed_is_ours=True,
            max_tries=self._key.max_tries if since_clear else -1,
            earlier_jobs=tuple(dict.fromkeys(one.id for one, *_ in found[:-1] if one.id != job.id)),
            job_id=job.id,
            submitted_at=job.created_at.timestamp() if job.created_at else self._clock(),
            returned=not since_clear and self._policy.on_clear is OnClear.REGENERATE,
        )

    def _equal_record(self, wanted: Wanted, jobs: list[Job]) -> Submitted | None:
        """Return the record of a job with the author's own seed and inputs, where nothing else can tell."""
        if self._store.is_durable and not self._key.was_cleared:
            return None  # The store tells that nothing was bought.
        since = self._key.run_after if self._key.was_cleared else self._key.run_started_at
        equal = find_equal(wanted, jobs, since=since, claimed=())
        if not equal:
            return None
        others = self._store.jobs_of_others()
        equal = [job for job in equal if job.id not in others]
        alive = [job for job in equal if not job.has_ended_badly]
        if len(alive) > 1:
            raise ScenarioSubmissionError(
                f"Airflow keeps no record of this task, and {len(alive)} jobs at Scenario may be its own: "
                f"{', '.join(job.id for job in alive)}.\nNothing further was bought. Take the one you want by its id "
                "with ScenarioJobSensor, or give another seed."
            )
        if not equal:
            return None
        job = (alive or equal)[-1]
        return Submitted(
            generation=len(equal),
            digests=wanted.digests,
            seed=job.seed,
            max_tries=self._key.max_tries,
            earlier_jobs=tuple(one.id for one in equal if one.id != job.id),
            job_id=job.id,
            submitted_at=job.created_at.timestamp() if job.created_at else self._clock(),
        )

    def seed_of(self, order: Order, inputs: Mapping[str, Any], largest_seed: int) -> int | None:
        """Return the seed of ours that an order is to be sent with; ``None`` if none of ours can tell.

        :param order: What is to be bought.
        :param inputs: The checked inputs.
        :param largest_seed: The largest seed the model takes; 0 if it takes none.
        """
        if largest_seed < PROVING_SEEDS or "seed" in inputs:
            return None
        return self._key.seed(order.generation, largest_seed)

    def _search(self, record: Record | None) -> SearchResult:
        """Look for a lost submission until it is surely found or would surely be listed."""
        if not isinstance(record, Intent):
            raise TypeError("only an intent is searched for")
        started = self._monotonic()
        pause = 2.0
        while True:
            looked_at = self._looked_at = self._monotonic()
            jobs, unreadable = self._patiently(lambda: self._list(list_from(record)))
            claimed = set(record.earlier_jobs)
            if not record.seed_is_ours:
                claimed.update(self._store.jobs_of_others())
            settled = looked_at - started >= SETTLE_SECONDS
            found = find_submission(record, jobs, claimed=claimed, settled=settled, unreadable=unreadable)
            if settled and not found.jobs and found.doubts:
                found = self._read_doubts(record, found, claimed)
            if found.is_conclusive:
                return found
            left = SETTLE_SECONDS - (self._monotonic() - started)
            pause = min(pause, max(0.1, left))
            self._log.info("It is not sure yet what became of the submission; looking again in %.0f s.", pause)
            self._sleep(pause)
            pause = min(10.0, pause * 1.5)

    def _read_doubts(self, record: Intent, found: SearchResult, claimed: Collection[str]) -> SearchResult:
        """Read singly what the list shows too little of."""
        jobs = [self._read_row(job) for job in found.doubts[:_MAX_SINGLE_READS]]
        jobs += found.doubts[_MAX_SINGLE_READS:]
        return find_submission(record, jobs, claimed=claimed, settled=True, unreadable=found.unreadable)

    def _list(self, updated_after: datetime.datetime | None) -> tuple[list[Job], int]:
        """Return all jobs changed since a time, and how many rows could not be read."""
        jobs: dict[str, Job] = {}
        unreadable = 0
        token: str | None = None
        for page in read_pages(self._client, updated_after):
            jobs.update((job.id, job) for job in page.jobs)
            unreadable += page.unreadable
            token = page.next_token
        if token is not None:
            raise ScenarioSubmissionError(
                f"Scenario's job list did not end after {MAX_PAGES} pages, so it can't be told whether this "
                "task's last submission was accepted.\nNothing further was bought. Look for its job in Scenario."
            )
        return list(jobs.values()), unreadable

    def _patiently(self, read: Callable[[], tuple[list[Job], int]]) -> tuple[list[Job], int]:
        """Read the job list; if that fails, again for a minute: nothing is bought while it can't be read."""
        since = self._monotonic()
        pause = 2.0
        while True:
            try:
                return read()
            except ScenarioSubmissionError:
                raise
            except ScenarioError as error:
                if self._monotonic() - since >= PATIENCE_SECONDS:
                    raise ScenarioTransientError(
                        f"Scenario's job list can't be read, so it can't be told whether this task has a job.\n{error} "
                        "Nothing further was bought: a retry looks again.",
                        retry_after=error.retry_after,
                    ) from None
                self._log.warning("Scenario's job list could not be read; trying again in %.0f s. %s", pause, error)
            self._sleep(pause)
            pause = min(10.0, pause * 1.5)

    # Buying

    def _intend(
        self, order: Order, wanted: Wanted, model_id: str, inputs: Mapping[str, Any], largest_seed: int
    ) -> Intent | None:
        """Write the intent down. Return ``None`` if another try wrote meanwhile."""
        ours = self.seed_of(order, inputs, largest_seed)
        given = inputs.get("seed")
        baseline_at = self._monotonic()
        baseline = None if ours is not None else self._baseline()
        intent = Intent(
            generation=order.generation,
            digests=wanted.digests,
            seed=given if ours is None else ours,
            seed_is_ours=ours is not None,
            max_tries=self._key.max_tries,
            earlier_jobs=order.earlier_jobs,
            model_id=model_id,
            inputs=dict(inputs),
            intended_at=self._clock(),
            token=secrets.token_hex(8),
            baseline=baseline,
        )
        # A worker that was frozen meanwhile must not go on: its retry may have searched, and bought. What it wrote over
        # is found again by a search, for which the baseline must be older than the look at the record.
        checked_at = self._monotonic()
        if not _is_same(self._store.load(), order.stored) or checked_at - baseline_at >= PATIENCE_SECONDS:
            return None
        self._store.save(intent)
        is_ours_still = _is_same(self._store.load(), intent)
        if is_ours_still and self._monotonic() - checked_at < FRESH_SECONDS:
            return intent
        self._log.warning("This try was held up, or another one is at work: it looks again before it buys.")
        self._stale += 1
        if self._stale >= MAX_SUBMISSIONS:
            raise ScenarioTransientError(
                f"Airflow took more than {FRESH_SECONDS:.0f} s to store what this task is about to buy, "
                f"{self._stale} times.\nNothing was bought by this try. A retry looks for a job before it buys."
            )
        return None

    def _baseline(self) -> Baseline:
        """Read the newest page of the job list, where no seed of ours will tell whose a job is."""
        try:
            return Baseline.of(self._client.send(calls.list_jobs()))
        except ScenarioError as error:
            raise ScenarioTransientError(
                f"Scenario's job list can't be read, so a lost reply could not be made good.\n{error} Nothing was "
                "bought by this try.",
                retry_after=error.retry_after,
            ) from None

    def _post(self, intent: Intent) -> SubmittedJob:
        """Send the paid POST, once."""
        seed = {"seed": intent.seed} if intent.seed_is_ours else {}
        try:
            submission = self._client.send(calls.submit(intent.model_id, {**intent.inputs, **seed}))
        except ScenarioError as error:
            if not is_ambiguous(error):
                self._save_after(intent, NotAccepted(**facts_of(intent)))
            raise
        cost = submission.cost
        price = "a price it did not tell" if cost is None else creative_units(cost)
        self._log.info("Scenario accepted job %s for %s.", submission.job.id, price)
        bought = dataclasses.replace(submitted_from(intent, submission.job), charged=_text(cost))
        self._save_after(intent, bought)
        return SubmittedJob(submission.job, bought, is_new=True)

    def _save_after(self, intent: Intent, record: Submitted | NotAccepted) -> None:
        """Keep what became of an intent, unless another try has found that out while this worker was frozen."""
        try:
            is_current = _is_same(self._store.load(), intent)
        except Exception:  # noqa: BLE001 - whatever the store raises, the job is paid for
            is_current = True
        if not is_current:
            self._log.warning("Another try of this task has gone on meanwhile: its record is kept.")
        elif isinstance(record, Submitted):
            self._save_job(record)
        else:
            self._store.save(record)

    def _save_job(self, record: Submitted) -> None:
        """Keep a job that was bought. If the store fails, the try goes on: its intent leads the next one to the job."""
        try:
            self._store.save(record)
        except Exception as error:  # noqa: BLE001 - whatever the store raises, the job is paid for
            self._log.warning(
                "Airflow could not store that this task bought job %s (%s). The wait goes on.",
                record.job_id,
                type(error).__name__,
            )


def is_ambiguous(error: ScenarioError) -> bool:
    """Return whether Scenario may have accepted a submission that ended in this error.

    It was surely not accepted only if no byte of it was sent, or if Scenario itself refused it in its own JSON.
    """
    return error.sent and not error.is_refusal


def _ambiguous_error(error: ScenarioError) -> ScenarioError:
    if isinstance(error, ScenarioTransientError):
        return error
    return ScenarioTransientError(
        f"It is not known whether Scenario accepted the submission.\n{error} A retry looks for the job before it buys.",
        retry_after=error.retry_after,
    )


def _jobs_so_far(record: Record | None, found: Job | SearchResult | None) -> tuple[str, ...]:
    """Return the jobs known to be of the generations up to now."""
    if record is None:
        return ()
    jobs = [job.id for job in found.jobs] if isinstance(found, SearchResult) else []
    return tuple(dict.fromkeys((*all_jobs(record), *jobs)))


def _is_same(one: Record | None, other: Record | None) -> bool:
    """Return whether two records are the same once they are stored as JSON."""
    return (one and to_dict(one)) == (other and to_dict(other))


def _text(cost: Decimal | None) -> str | None:
    return None if cost is None else amount(cost)

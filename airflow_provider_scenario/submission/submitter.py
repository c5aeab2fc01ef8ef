"""Buy one generation once, whatever crashed before: read the record, ask Scenario, search, send the paid POST."""

from __future__ import annotations

import dataclasses
import datetime
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from airflow_provider_scenario.api.calls import Client
from airflow_provider_scenario.api.job import Job
from airflow_provider_scenario.api.values import units_or_none
from airflow_provider_scenario.exceptions import ScenarioSubmissionError
from airflow_provider_scenario.submission.decision import (
    Order,
    Refuse,
    Rejoin,
    SubmissionPolicy,
    Submit,
    SubmittedJob,
    decide,
    later_of,
)
from airflow_provider_scenario.submission.earlier_tries import EarlierTries, Listing
from airflow_provider_scenario.submission.job_reader import JobReader
from airflow_provider_scenario.submission.purchase import Purchase
from airflow_provider_scenario.submission.record import (
    Intent,
    NotAccepted,
    Record,
    Submitted,
    Wanted,
    all_jobs,
    is_same,
)
from airflow_provider_scenario.submission.recovery import (
    SearchResult,
    find_duplicate,
    list_start_at,
    list_start_of_submission,
    list_start_of_task,
)
from airflow_provider_scenario.submission.seed import MIN_SEED_RANGE, TaskKey
from airflow_provider_scenario.submission.store import SubmissionStore

LATE_SECONDS = 120.0
"""Without a task state store: seconds after the last poll of the list from which a try lists again before it buys.
Airflow takes a silent worker for dead after minutes only."""

JOB_SHOWN_SECONDS = 5.0
"""Seconds to wait until sibling tasks have pushed the ids of jobs that they have just bought."""


class Submitter:
    """Buys one generation once."""

    def __init__(
        self,
        client: Client,
        store: SubmissionStore,
        key: TaskKey,
        policy: SubmissionPolicy,
        *,
        may_buy: Callable[[], bool] = lambda: True,  # Whether anybody still wants the job: asked right before the POST.
        account: str = "",  # By which connection, project and address the client asks, in words.
        searched: str | None,  # The search that this same try has waited out: one look ends it. None: none.
        may_defer: bool,  # Whether a search may be deferred, so that it holds no worker.
        log: Any,
        clock: Callable[[], float] = time.time,  # Seconds of the epoch.
        monotonic: Callable[[], float] = time.monotonic,  # Seconds that only grow.
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._store = store
        self._key = key
        self._policy = policy
        self._account = account
        self._is_late = False
        self.searched = searched
        self._may_defer = may_defer
        self._log = log
        self._clock = clock
        self._monotonic = monotonic
        self._sleep = sleep
        self._reader = JobReader(client, log, monotonic, sleep)
        self._earlier = EarlierTries(client, self._reader, key, policy, log=log, clock=clock)
        self._purchase = Purchase(
            client,
            store,
            self._reader,
            key,
            may_buy=may_buy,
            account=account,
            log=log,
            clock=clock,
            monotonic=monotonic,
        )

    def rejoin_or_order(self, wanted: Wanted) -> SubmittedJob | Order:
        """Return the job that was bought already, or the order for one that must be bought.

        After any error, such as ``SearchDeferred``, nothing further was bought. ``ScenarioSubmissionError``: it is not
        known what was bought, or the policy says neither to buy nor to go on.
        """
        # What was bought is read first, and nothing else: no model record, no file, no price.
        stored = self._store.load()
        if stored is None and (self._key.may_have_submitted or self._is_late):
            return self._decide_without_record(wanted)
        decided = self._decide(stored, wanted, stored)
        if stored is None or isinstance(decided, SubmittedJob):
            return decided
        return self._job_beside(stored, decided, wanted) or decided

    def job_despite_refusal(self, wanted: Wanted) -> SubmittedJob | None:
        """Return the job of a POST that a gateway sent twice, and of which the second was refused."""
        # Where Airflow keeps no record only this process knows of the refusal, and it may end before the next look. A
        # seed of ours would show the job to the next process too.
        stored = self._store.load()
        is_known_here_only = isinstance(stored, NotAccepted) and stored.refused is not None and not stored.seed_is_ours
        if self._store.is_durable or not is_known_here_only:
            return None
        self._sleep(JOB_SHOWN_SECONDS)
        found = self.rejoin_or_order(wanted)
        return found if isinstance(found, SubmittedJob) else None

    # Deciding

    def _decide(
        self,
        record: Record | None,
        wanted: Wanted,
        stored: Record | None,
        *,
        found: Job | SearchResult | None = None,
        same_try: bool = False,
    ) -> SubmittedJob | Order:
        """Decide by a record. ``stored`` is what the store holds: another, where the record was made of listed jobs."""
        same_try = same_try or (isinstance(record, Intent) and self._has_deferred_for(record))
        if isinstance(record, Submitted):
            found = self._reader.read_bought(record)
        elif isinstance(record, Intent) and found is None:
            found = self._search(record)
        decision = decide(
            record,
            wanted,
            found,
            max_tries=self._key.max_tries,
            policy=self._policy,
            same_try=same_try,
            is_recorded=self._store.is_durable and stored is not None,
        )
        match decision:
            case Refuse(reason):
                raise ScenarioSubmissionError(reason, job_id=record.job_id if isinstance(record, Submitted) else None)
            case Submit(generation, reason):
                return Order(generation, reason, stored, *_jobs_so_far(record, found))
            case Rejoin(submitted, job):
                if isinstance(record, Intent) and not record.seed_is_ours:
                    self._claim(job)
                return self._rejoin(submitted, job, stored, same_try=same_try)

    def _has_deferred_for(self, intent: Intent) -> bool:
        """Whether this very try was about to send it, and has waited since until it would surely be listed."""
        return self.searched == intent.token and intent.try_number == self._key.try_number

    @property
    def _search_name(self) -> str:
        """Names the search for jobs of earlier tries; one for a submission has its token."""
        # Airflow 3.1.0 hands a retry the event of the try before it, so the try is in the name.
        return f"before try {self._key.try_number}"

    def _search(self, lost: Intent) -> SearchResult:
        """Look for a lost submission to the end, on the account that sent it."""
        if not lost.seed_is_ours:
            self._check_account(lost)
        has_waited = self.searched == lost.token
        if self._has_deferred_for(lost):
            self._purchase.came_to_nothing = lost.lost_before + 1
        # What is only in this process's memory would be lost.
        may_defer = self._may_defer and self._store.is_durable
        found = self._reader.search(lost, self._store.jobs_of_others, waits=not has_waited, may_defer=may_defer)
        if not found.jobs:  # Else our seed proves that it is the right account.
            self._check_account(lost)
        return found

    def _check_account(self, lost: Intent) -> None:
        """Refuse to look for a lost submission where it can't be: it would not be found, and be bought again."""
        if lost.account and self._account and lost.account != self._account:
            raise ScenarioSubmissionError(
                f"The last submission of this task was sent by {lost.account}. Now it would be looked for by "
                f"{self._account}.\nIt may have been accepted and paid for, so nothing further was bought.\nSet the "
                "connection back and clear the task: it goes on with its job. Or look for the job in Scenario, delete "
                "the entry scenario_submission in the task's Task State Store, and clear the task: it buys anew."
            )

    def _rejoin(self, submitted: Submitted, job: Job, stored: Record | None, *, same_try: bool) -> SubmittedJob:
        self._log.info("Rejoining job %s (%s), which this task has already bought.", job.id, job.status.value)
        charged = submitted.charged
        if charged is None and not job.has_ended_badly:
            charged = units_or_none(job.cost)
        key = self._key
        rejoined = dataclasses.replace(
            submitted, max_tries=key.max_tries, run_started_at=key.run_started_at, charged=charged
        )
        if not is_same(rejoined, stored):
            self._purchase.save_over(stored, rejoined)
        return SubmittedJob(job, rejoined, is_new=same_try)

    def _claim(self, job: Job) -> None:
        """Take a job that only looks like ours, unless another task of the DAG run takes it at the same time."""
        self._store.claim(job.id)
        if job.id in self._store.jobs_of_others():
            self._store.claim(None)
            raise ScenarioSubmissionError(
                f"Job {job.id} looks like the one that this task lost, but another task of this DAG run takes it too.\n"
                "Nothing further was bought. Clear one of the two tasks; once it has a job, clear the other.",
                job_id=job.id,
            )

    # Looking for what was bought, where the record does not tell

    def _job_beside(self, stored: Record, order: Order, wanted: Wanted) -> SubmittedJob | Order | None:
        """Return what follows from a job that the record does not show; ``None``: none is listed, so buy."""
        key, start = self._key, list_start_of_task(self._key)
        match stored:
            case Submitted(is_proven=False):  # Its job may be another Airflow's, so that ours is still to be found.
                return later_of(order, self._decide_without_record(wanted, stored))
            case NotAccepted() if self._is_late:  # A retry may have bought meanwhile, and no store shows it.
                return later_of(order, self._decide_without_record(wanted, stored))
            case NotAccepted(refused=Intent() as refused, seed_is_ours=False):
                return self._duplicate(stored, refused, wanted)
            case _ if not stored.seed_is_ours:
                return None  # No seed would prove a job.
            case NotAccepted(refused=Intent() as refused):
                return self._hidden_job(stored, order, wanted, list_start_at(refused.intended_at))
            case _ if order.generation > stored.generation:
                return self._hidden_job(stored, order, wanted, start)
            case Intent(max_tries=key.max_tries, run_started_at=key.run_started_at):
                return None  # The search for it has just looked, and nobody has cleared the task since.
            case _:
                return self._hidden_job(stored, order, wanted, start, since_clear=True)

    def _decide_without_record(self, wanted: Wanted, stored: Record | None = None) -> SubmittedJob | Order:
        """Decide by Scenario's job list alone, where Airflow keeps no record of earlier tries."""
        self._is_late = False
        # Airflow below 3.3 keeps no record, 3.4 throws it away when a task is cleared, and stores expire. A durable
        # store without a record means that nothing was bought since the last clear.
        may_have_bought = not self._store.is_durable or self._key.was_cleared
        # Nothing is bought before a job of an earlier try would surely be listed.
        waits = may_have_bought and self._key.may_have_submitted and self.searched != self._search_name
        why = "Airflow keeps no record of this task, which may have a job"
        defer_as = self._search_name if self._may_defer else None
        polls = self._reader.poll(why, waits=waits, defer_as=defer_as)
        for listing in self._earlier.listings(wanted, polls, a_day_further=may_have_bought):
            decided = self._decide(listing.record, wanted, stored)
            if isinstance(decided, SubmittedJob):
                return decided
        if may_have_bought:
            decided = self._decide_without_seed(wanted, listing) or decided
        self.searched = self._search_name
        return decided

    def _decide_without_seed(self, wanted: Wanted, listing: Listing) -> SubmittedJob | Order | None:
        """Decide by the inputs alone, where no seed of ours would prove a job; ``None``: nothing forbids to buy."""
        if listing.record is None and not self._earlier.seed_would_prove(wanted, listing.jobs):
            alike = self._earlier.by_inputs(wanted, listing.jobs, listing.unreadable, self._store.jobs_of_others())
            return None if alike is None else self._decide(alike[0], wanted, None, found=alike[1])
        if doubt := self._earlier.doubt(wanted, listing.jobs, listing.unreadable):
            raise ScenarioSubmissionError(doubt)
        return None

    def _check_first_try(self, wanted: Wanted) -> SubmittedJob | Order:
        """Look once for a job with a seed of ours, where only the try's number says that nothing was bought."""
        # On a busy machine Airflow 3.1 and 3.2 may take a task that deferred for lost, and run it again from its start
        # under the number of the try that was lost.
        jobs, _ = self._reader.list_jobs(list_start_of_task(self._key))
        return self._decide(self._earlier.record(wanted, jobs), wanted, None)

    def _hidden_job(
        self,
        stored: Record,
        order: Order,
        wanted: Wanted,
        start: datetime.datetime | None,
        *,
        since_clear: bool = False,  # Whether only a job since the last clear counts. Twelve bits may agree by chance.
    ) -> SubmittedJob | Order | None:
        """Return what follows from a job that a seed of ours proves, and that the record does not show."""
        # A frozen worker may have written over the record of it. Or a gateway sent a POST twice, and Scenario refused
        # the second since the first runs.
        jobs, _ = self._reader.list_jobs(start)
        whole = self._earlier.with_seeds(wanted, jobs)
        later = self._earlier.record(wanted, whole, stored=stored, since_clear=since_clear)
        if later is None or not later.is_proven:
            return None
        if later.generation < order.generation and not _is_duplicate(later, stored, jobs):
            return None
        earlier = (*order.earlier_jobs, *later.earlier_jobs)
        later = dataclasses.replace(
            later,
            earlier_jobs=tuple(dict.fromkeys(one for one in earlier if one != later.job_id)),
            unproven_jobs=order.unproven_jobs,
        )
        return self._decide(later, wanted, stored)

    def _duplicate(self, stored: NotAccepted, refused: Intent, wanted: Wanted) -> SubmittedJob | Order | None:
        """Return what follows from the job of a POST that a gateway sent twice, where no seed of ours proves it."""
        jobs, _ = self._reader.list_jobs(list_start_of_submission(refused))
        job = find_duplicate(stored, jobs, claimed={*stored.earlier_jobs, *self._store.jobs_of_others()})
        if job is None:
            return None
        self._log.warning("Scenario refused the submission, but may have got it twice: job %s is taken for it.", job.id)
        return self._decide(refused, wanted, stored, found=SearchResult((job,), is_final=True))

    # Buying

    def buy(
        self, order: Order, wanted: Wanted, model_id: str, inputs: Mapping[str, Any], *, largest_seed: int
    ) -> SubmittedJob | None:
        """Send the paid POST of an order; ``None`` if another try bought meanwhile: then ask :meth:`rejoin_or_order`.

        After an error nothing was accepted, or the record leads the next try to look for it. ``SearchDeferred``: what a
        lost reply left open must be looked for later.
        """
        is_first = not (self._store.is_durable or self._key.may_have_submitted or order.stored is not None)
        if is_first and self.seed_of(order, inputs, largest_seed) is not None:
            found = self._check_first_try(wanted)
            if isinstance(found, SubmittedJob):
                return found
            order = found
        while True:
            if not self._store.is_durable and self._monotonic() - self._reader.looked_at >= LATE_SECONDS:
                # No store shows what a retry bought while this worker was frozen, but the job list does.
                self._is_late = True
                return None
            seed = self.seed_of(order, inputs, largest_seed)
            intended = self._purchase.intend(order, wanted, model_id, inputs, own_seed=seed)
            if intended is None:
                return None
            intent, began = intended
            self._log.info("Submitting generation %d to %s: %s.", order.generation, model_id, order.reason)
            bought = self._purchase.send(intent, began, order.stored)
            if bought is not None:
                return bought
            found = self._decide(intent, wanted, intent, same_try=True)
            if isinstance(found, SubmittedJob):
                return found
            order = found

    def keep(self, order: Order, wanted: Wanted, job_id: str, *, seed: int | None, is_ours: bool) -> SubmittedJob:
        """Keep a job that a dry run made, against the API's word: it is paid for, so it is this order's job."""
        record = Submitted(
            generation=order.generation,
            digests=wanted.digests,
            seed=seed,
            seed_is_ours=is_ours,
            max_tries=self._key.max_tries,
            earlier_jobs=order.earlier_jobs,
            unproven_jobs=order.unproven_jobs,
            run_started_at=self._key.run_started_at,
            job_id=job_id,
            submitted_at=self._clock(),
        )
        self._purchase.save_job(record)
        return SubmittedJob(self._reader.read_bought(record), record, is_new=True)

    def seed_of(self, order: Order, inputs: Mapping[str, Any], largest_seed: int) -> int | None:
        """Return the seed of ours that an order is to be sent with; ``None`` if none of ours would prove it."""
        # A model that takes no seed has a largest one of 0.
        if largest_seed < MIN_SEED_RANGE or "seed" in inputs:
            return None
        return self._key.seed(order.generation, largest_seed)


def _jobs_so_far(record: Record | None, found: Job | SearchResult | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the jobs of the generations up to now, and those of them that only look like this task's."""
    if record is None:
        return (), ()
    jobs = found.jobs if isinstance(found, SearchResult) else ()
    # One that looks alike may be a sibling's, which can use it unless it has failed.
    alike = [job.id for job in jobs if not (record.seed_is_ours or job.has_ended_badly)]
    return (
        tuple(dict.fromkeys((*all_jobs(record), *(job.id for job in jobs)))),
        tuple(dict.fromkeys((*record.unproven_jobs, *alike))),
    )


def _is_duplicate(later: Submitted, stored: Record, jobs: Sequence[Job]) -> bool:
    """Whether a job is of the same POST as one that failed, as a gateway has sent it twice, and has not failed."""
    ended_badly = {job.id for job in jobs if job.has_ended_badly}
    return (
        isinstance(stored, Submitted)
        and later.generation == stored.generation
        and stored.job_id in ended_badly
        and later.job_id not in {*ended_badly, *all_jobs(stored)}
    )

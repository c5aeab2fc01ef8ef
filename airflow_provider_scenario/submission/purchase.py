"""Send one paid POST: write down what is about to be sent, send it once, write down what came of it."""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import Callable, Mapping
from typing import Any

from airflow_provider_scenario.api import calls
from airflow_provider_scenario.api.calls import Client
from airflow_provider_scenario.api.values import describe_units, units_or_none
from airflow_provider_scenario.exceptions import ScenarioError, ScenarioTransientError
from airflow_provider_scenario.submission.decision import Order, SubmittedJob, submitted_from
from airflow_provider_scenario.submission.job_reader import JobReader
from airflow_provider_scenario.submission.record import (
    Intent,
    NotAccepted,
    Record,
    Submitted,
    Wanted,
    facts_of,
    is_same,
)
from airflow_provider_scenario.submission.recovery import MAX_INTENT_AGE
from airflow_provider_scenario.submission.seed import TaskKey
from airflow_provider_scenario.submission.store import SubmissionStore

_MAX_BASELINE_AGE = 60.0
"""Seconds after which the list of the jobs before a POST is too old to tell which job came after it."""

MAX_SUBMISSIONS = 3
"""How often one try may begin a submission that comes to nothing certain: a POST with an ambiguous end, or an intent
that was stored too slowly."""


class Purchase:
    """Buys for one try, one POST at a time."""

    def __init__(
        self,
        client: Client,
        store: SubmissionStore,
        reader: JobReader,
        key: TaskKey,
        *,
        may_buy: Callable[[], bool],  # Whether anybody still wants the job: asked right before the POST.
        account: str,  # By which connection, project and address the client asks, in words.
        log: Any,
        clock: Callable[[], float],  # Seconds of the epoch.
        monotonic: Callable[[], float],  # Seconds that no change of the clock moves.
    ) -> None:
        self._client = client
        self._store = store
        self._reader = reader
        self._key = key
        self._may_buy = may_buy
        self._account = account
        self._log = log
        self._clock = clock
        self._monotonic = monotonic
        self.came_to_nothing = 0
        """How many submissions of this try came to nothing certain."""

    def intend(
        self,
        order: Order,
        wanted: Wanted,
        model_id: str,
        inputs: Mapping[str, Any],
        *,
        own_seed: int | None,  # None if no seed of ours would prove whose the job is.
    ) -> tuple[Intent, float] | None:
        """Write down what is to be sent; return it with its baseline's time; ``None``: another try may have written."""
        baseline_at = self._monotonic()
        baseline = None if own_seed is not None else self._reader.baseline()
        intent = Intent(
            generation=order.generation,
            digests=wanted.digests,
            seed=inputs.get("seed") if own_seed is None else own_seed,
            seed_is_ours=own_seed is not None,
            max_tries=self._key.max_tries,
            earlier_jobs=order.earlier_jobs,
            unproven_jobs=order.unproven_jobs,
            run_started_at=self._key.run_started_at,
            model_id=model_id,
            inputs=dict(inputs),
            intended_at=self._clock(),
            token=secrets.token_hex(8),
            baseline=baseline,
            account=self._account,
            try_number=self._key.try_number,
            lost_before=self.came_to_nothing,
        )
        # Uploads take minutes, and a worker may be frozen: its retry may have searched, and bought. What this one wrote
        # over is found again by a search, for which the baseline must be older than the look at the record.
        checked_at = self._monotonic()
        if not is_same(self._store.load(), order.stored):
            return None
        if checked_at - baseline_at < _MAX_BASELINE_AGE:
            self._store.save(intent)
            is_ours_still = is_same(self._store.load(), intent)
            if is_ours_still and self._monotonic() - checked_at < MAX_INTENT_AGE:
                return intent, baseline_at
        self._log.warning("This try was held up, or another one is at work: it looks again before it buys.")
        self.came_to_nothing += 1
        if self.came_to_nothing >= MAX_SUBMISSIONS:
            raise ScenarioTransientError(
                f"Airflow took more than {MAX_INTENT_AGE:.0f} s to store what this task is about to buy, Scenario more "
                f"than {_MAX_BASELINE_AGE:.0f} s to list its jobs, or another try of this task is at work.\n"
                f"{self.came_to_nothing} submissions of this try came to nothing, so it gives up. A retry looks for a "
                "job before it buys."
            )
        return None

    def send(self, intent: Intent, began: float, before: Record | None) -> SubmittedJob | None:
        """Send the paid POST, once; ``None``: it may have been accepted, so look for its job."""
        # If nothing is sent, what was refused before may still show a job.
        not_sent = NotAccepted(**facts_of(intent))
        if isinstance(before, NotAccepted):
            not_sent = dataclasses.replace(not_sent, refused=before.refused, refused_within=before.refused_within)
        if not self._may_buy():
            self.save_over(intent, not_sent)
            raise ScenarioTransientError(
                "The task was ended before it bought anything further. Nothing was paid.", sent=False
            )
        seed = {"seed": intent.seed} if intent.seed_is_ours else {}
        try:
            submission = self._client.send(calls.submit(intent.model_id, {**intent.inputs, **seed}))
        except ScenarioError as error:
            # It was surely not accepted only if no byte of it was sent, or if Scenario itself refused it in its own
            # JSON. Else the intent stays: by it this try, or the next one, looks for the job.
            if error.sent and not error.is_refusal:
                self._came_to_nothing_by(error)
                return None
            # If a gateway sent it twice, the first job may be why: it took the capacity, the last units, the trial.
            refused = NotAccepted(**facts_of(intent), refused=intent, refused_within=self._monotonic() - began)
            self.save_over(intent, refused if error.sent else not_sent)
            raise
        cost = submission.cost
        price = "a price it did not name" if cost is None else describe_units(cost)
        self._log.info("Scenario accepted job %s for %s.", submission.job.id, price)
        bought = dataclasses.replace(submitted_from(intent, submission.job), charged=units_or_none(cost))
        self.save_over(intent, bought)
        return SubmittedJob(submission.job, bought, is_new=True)

    def _came_to_nothing_by(self, error: ScenarioError) -> None:
        """Count a POST of which nobody knows whether it was accepted, and give up after the last."""
        self.came_to_nothing += 1
        if self.came_to_nothing >= MAX_SUBMISSIONS:
            # A plain transient error: on Airflow 3.4 a rate limit or an outage starts no new try, which alone looks.
            raise ScenarioTransientError(
                f"It is not known whether Scenario accepted the submission.\n{error} A retry looks for the job before "
                "it buys.",
                retry_after=error.retry_after,
            ) from None
        self._log.warning("%s It may have been accepted all the same: looking for it.", error)

    def save_over(self, known: Record | None, record: Submitted | NotAccepted) -> None:
        """Keep a record, unless another try wrote over what this one knew while this worker was frozen."""
        try:
            is_current = is_same(self._store.load(), known)
        except Exception:  # noqa: BLE001 - whatever the store raises, the job is paid for
            is_current = True
        if not is_current:
            self._log.warning("Another try of this task has gone on meanwhile: its record is kept.")
        elif isinstance(record, Submitted):
            self.save_job(record)
        else:
            self._store.save(record)

    def save_job(self, record: Submitted) -> None:
        """Keep a job that was bought. If the store fails, the try goes on: its intent leads the next one to the job."""
        try:
            self._store.save(record)
        except Exception as error:  # noqa: BLE001 - whatever the store raises, the job is paid for
            self._log.warning(
                "Airflow could not store that this task bought job %s (%s). The wait goes on.",
                record.job_id,
                type(error).__name__,
            )

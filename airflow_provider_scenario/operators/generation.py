"""What a generate operator does in a task: submit once, poll without holding a worker, finish."""

from __future__ import annotations

import dataclasses
import datetime
import random
import time
from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NoReturn

import pendulum

from airflow_provider_scenario.api.job import Job
from airflow_provider_scenario.exceptions import (
    MAX_RETRY_AFTER,
    ScenarioConcurrencyLimitError,
    ScenarioDryRunError,
    ScenarioError,
    ScenarioRateLimitError,
    ScenarioTransientError,
)
from airflow_provider_scenario.hooks.scenario import ScenarioHook
from airflow_provider_scenario.links import ScenarioJobLink
from airflow_provider_scenario.operators.arguments import policy_of, stringify_paths
from airflow_provider_scenario.operators.file_inputs import FileInputs
from airflow_provider_scenario.outcome import amount, creative_units, job_page, result_of
from airflow_provider_scenario.polling.blocking import final_check, poll_until_done
from airflow_provider_scenario.polling.wait import WaitResult, WaitState, deadline_of
from airflow_provider_scenario.submission.charges import spent_on, with_charge
from airflow_provider_scenario.submission.prepare import checked_request, read_model
from airflow_provider_scenario.submission.pricing import check_price, limit_of, warn_if_dearer
from airflow_provider_scenario.submission.record import Intent, Record, Submitted, Wanted
from airflow_provider_scenario.submission.seed import TaskKey
from airflow_provider_scenario.submission.store import SubmissionStore
from airflow_provider_scenario.submission.submitter import Order, SubmittedJob, Submitter
from airflow_provider_scenario.triggers.progress import report_progress

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_scenario.api.client import ScenarioClient
    from airflow_provider_scenario.api.model import UsualTimes
    from airflow_provider_scenario.operators.generate import ScenarioGenerateOperator

_TIMEOUT_MARGIN = 60.0
_CAPACITY_PAUSE = 15.0


class Generation:
    """One process's part in a task's generation: a deferred task has a part before the wait, and one after it.

    :param operator: What the author asked for.
    :param context: Airflow's task context.
    """

    def __init__(self, operator: ScenarioGenerateOperator, context: Context) -> None:
        self._operator = operator
        self._context = context
        self._log = operator.log
        self._store = SubmissionStore(context, durable=operator.durable)
        self._client: ScenarioClient | None = None
        self._job_id: str | None = None
        self._usual: UsualTimes | None = None
        self._files: FileInputs | None = None

    # Submit

    def submit(self, queued_since: float | None = None) -> SubmittedJob:
        """Return the job of this task: the one that was bought already, or a new one.

        :param queued_since: Seconds of the epoch since when it has waited for capacity. Default: now.
        """
        operator = self._operator
        policy = policy_of(operator.on_lost_submission, operator.on_stale, operator.on_clear)
        stored = self._store.load()
        client = self._open_client(stored)
        wanted = Wanted(operator.model_id, stringify_paths(operator.given_inputs()))
        if stored is not None:
            # A retry begins with its XComs wiped, and mapped siblings and reports go by them.
            self._show(stored)
        submitter = Submitter(client, self._store, TaskKey.of(self._context), policy, log=self._log)
        since = queued_since or time.time()
        submitted: SubmittedJob | None = None
        while submitted is None:
            found = submitter.rejoin_or_order(wanted)
            submitted = found if isinstance(found, SubmittedJob) else self._buy(submitter, found, wanted, client, since)
        if submitted.is_new and (limit := self._limit()) is not None:
            warn_if_dearer(submitted.record.charged, limit, self._log)
        self._announce(submitted.record)
        return submitted

    def _buy(
        self, submitter: Submitter, order: Order, wanted: Wanted, client: ScenarioClient, since: float
    ) -> SubmittedJob | None:
        """Prepare what is to be sent, check its price, and buy it; wait for capacity if there is none."""
        operator = self._operator
        limit = self._limit()
        model = read_model(client, operator.model_id, self._log, is_bought=False)
        self._usual = model.usual
        request = checked_request(model, wanted.inputs, label=operator.input_label)
        files = self._files = self._files or FileInputs(
            client, self._context, label=operator.input_label, log=self._log
        )
        inputs = files.ready(model, request.inputs)
        # A dry run that is taken for a purchase must be found by its seed too.
        seed = submitter.seed_of(order, inputs, request.largest_seed)
        priced = inputs if seed is None else {**inputs, "seed": seed}
        try:
            if limit is not None:
                check_price(client, model, priced, limit, label=operator.input_label, log=self._log)
            self._check_killed()
            return submitter.buy(order, wanted, model.id, inputs, largest_seed=request.largest_seed)
        except ScenarioDryRunError as made:
            # Against the API's word the dry run was a purchase: its job is paid for, so it is this task's job.
            self._log.warning("%s It is kept as this task's job.", made)
            is_ours = seed is not None
            return submitter.keep(order, wanted, str(made.job_id), seed=priced.get("seed"), is_ours=is_ours)
        except ScenarioRateLimitError as busy:
            self._wait_for_capacity(busy, since)
            return None

    def _open_client(self, stored: Record | None) -> ScenarioClient:
        """Return a client. Once something was bought, a connection that can't be used is transient trouble."""
        operator = self._operator
        try:
            self._client = ScenarioHook(operator.scenario_conn_id, operator.project_id).get_conn()
        except ScenarioTransientError:
            raise
        except ScenarioError as error:
            if not isinstance(stored, Submitted | Intent):
                raise
            raise ScenarioTransientError(
                f"This task's job can't be looked at: {error}\nIt may be paid for. Mend the connection: a retry looks "
                "at the job again and pays nothing.",
                job_id=stored.job_id if isinstance(stored, Submitted) else None,
            ) from None
        return self._client

    def _check_killed(self) -> None:
        """Buy nothing that nobody waits for any more."""
        if self._operator.is_killed:
            raise ScenarioTransientError("The task was ended before it bought anything. Nothing was paid.")

    def _limit(self) -> Decimal | None:
        """Return the limit of a purchase that is about to be made; one that was made already asks for none."""
        return limit_of("max_cost", self._operator.max_cost, was_given=self._operator.is_limited)

    def _wait_for_capacity(self, busy: ScenarioRateLimitError, since: float) -> None:
        """Wait until the plan may run another job: that is no error, and uses no try."""
        deadline = since + self._operator.slot_timeout
        if time.time() >= deadline:
            raise busy
        self._log.info("%s Waiting for a free slot, until %s at the latest.", busy, _clock_time(deadline))
        if self._operator.deferrable:
            self._defer_until_free(busy, since, deadline)
        pause = busy.retry_after if busy.retry_after is not None else _CAPACITY_PAUSE
        pause = min(pause, MAX_RETRY_AFTER)
        time.sleep(min(pause * random.uniform(1.0, 1.3), max(0.1, deadline - time.time())))

    def _defer_until_free(self, busy: ScenarioRateLimitError, since: float, deadline: float) -> NoReturn:
        from airflow_provider_scenario.triggers.capacity import ScenarioCapacityTrigger

        self._operator.defer(
            trigger=ScenarioCapacityTrigger(
                scenario_conn_id=self._operator.scenario_conn_id,
                project_id=self._operator.project_id,
                since=since,
                deadline=deadline,
                limit=busy.limit if isinstance(busy, ScenarioConcurrencyLimitError) else None,
                retry_after=busy.retry_after,
            ),
            method_name="execute_when_free",
            timeout=_longest_deferral(deadline),
        )

    def _announce(self, record: Submitted) -> None:
        """Make the job known before the wait: whoever looks for it needs it most if the wait goes wrong."""
        self._show(record)
        self._context["ti"].xcom_push(key=ScenarioJobLink().xcom_key, value=job_page(record.job_id))
        self._log.info("Job %s: %s", record.job_id, job_page(record.job_id))

    def _show(self, record: Record) -> None:
        """Show the job, and all that were bought up to now, as XComs."""
        if isinstance(record, Submitted):
            self._job_id = record.job_id
            self._context["ti"].xcom_push(key="job_id", value=record.job_id)
        self._store.show(record, self._operator.scenario_conn_id, self._operator.project_id)

    # Poll

    def poll(self, submitted: SubmittedJob) -> WaitResult:
        """Wait for a job: in the triggerer if the operator is deferrable, else here.

        :param submitted: The job.
        """
        job = submitted.job
        deadline = self._deadline(submitted.record)
        state = WaitState(job.id, deadline, self._usual)
        result = state.on_job(job, time.time())
        if result is not None:
            self._report(state)
            return result
        if self._operator.deferrable:
            self.defer_until_done(job.id, deadline, since=time.time())
        return self._poll_here(state)

    def resume(self, event: Mapping[str, Any]) -> WaitResult:
        """Return how the wait in the triggerer ended; go on with it here if the triggerer could not.

        :param event: What the trigger said.
        """
        stored = self._store.load()
        told_of = event.get("job_id")  # An event of another trigger has none.
        if isinstance(stored, Submitted) and stored.job_id != told_of:
            self._log.warning("An event of job %s is stale: this task waits for %s.", told_of, stored.job_id)
            self.defer_until_done(stored.job_id, self._deadline(stored))
        result = WaitResult.from_event(dict(event))
        self._job_id = result.job_id
        if result.take_over:
            self._log.warning("%s", result.error)
            self._open_client(stored)
            deadline = self._deadline(stored) if isinstance(stored, Submitted) else time.time() + self._operator.timeout
            return self._poll_here(WaitState(result.job_id, deadline, self._usual))
        return result

    def pending_job_id(self) -> str | None:
        """Return the job that the task waits for; ``None`` if it waits for capacity."""
        stored = self._store.load()
        if not isinstance(stored, Submitted) or stored.returned or stored.max_tries != self._context["ti"].max_tries:
            return None
        return stored.job_id

    def final_check(self, job_id: str) -> WaitResult:
        """Read a job once, after no triggerer gave a sign in time."""
        with self._open_client(self._store.load()) as client:
            return final_check(job_id, client)

    def _poll_here(self, state: WaitState) -> WaitResult:
        if self._client is None:
            raise TypeError("the client is opened before the wait")
        return poll_until_done(state, self._client, self._operator.poll_interval, self._report)

    def _report(self, state: WaitState) -> None:
        report_progress(state, self._context["ti"], self._log)

    def _deadline(self, record: Submitted) -> float:
        operator = self._operator
        started = getattr(self._context["ti"], "start_date", None)
        return deadline_of(
            record.submitted_at,
            operator.timeout,
            started_at=started.timestamp() if started is not None else None,
            execution_timeout=operator.execution_timeout,
        )

    def defer_until_done(self, job_id: str, deadline: float, since: float | None = None) -> NoReturn:
        """Hand the wait to the triggerer.

        :param job_id: The job.
        :param deadline: Seconds of the epoch at which to give up.
        :param since: When the job was last known to run, in seconds of the epoch. Default: nobody knows.
        """
        from airflow_provider_scenario.triggers.job import ScenarioJobTrigger

        self._operator.defer(
            trigger=ScenarioJobTrigger(
                job_id=job_id,
                scenario_conn_id=self._operator.scenario_conn_id,
                project_id=self._operator.project_id,
                deadline=deadline,
                poll_interval=self._operator.poll_interval,
                since=since,
                usual=dataclasses.asdict(self._usual) if self._usual else None,
            ),
            method_name="execute_complete",
            timeout=_longest_deferral(deadline),
        )

    # Finish

    def finish(self, result: WaitResult) -> dict[str, Any]:
        """Return what the job made; if it did not succeed, say what it cost and raise what became of it.

        :param result: How the wait ended.
        """
        stored = self._store.load()
        job = result.job
        if job is not None:
            charged = stored.charged if isinstance(stored, Submitted) and stored.job_id == job.id else None
            job = with_charge(job, charged)
            result = dataclasses.replace(result, job=job)
            if job.has_ended_badly and (spent := spent_on(job)) is not None:
                self._context["ti"].xcom_push(key="cost", value=amount(spent))
        return self.result_of(result.job_or_raise(self._operator.timeout), is_complete=result.has_outputs)

    def result_of(self, job: Job, *, is_complete: bool) -> dict[str, Any]:
        """Return a task's result, and remember that it was returned.

        :param job: The job.
        :param is_complete: Whether the job has its outputs: else a clear must not take it for returned.
        """
        # Read anew: a try that was thought dead must not write over what others have bought meanwhile.
        stored = self._store.load()
        if is_complete and isinstance(stored, Submitted) and stored.job_id == job.id and not stored.returned:
            self._store.save(dataclasses.replace(stored, returned=True))
        price = "a price that Scenario does not tell" if job.cost is None else creative_units(job.cost)
        assets = ", ".join(job.asset_ids) or "none yet"
        self._log.info("Job %s: %s for %s, assets %s.", job.id, job.status.value, price, assets)
        return result_of(dataclasses.replace(job, model_id=job.model_id or self._operator.model_id))

    def stop(self) -> None:
        """End an upload that is under way, and say what becomes of the job: Scenario cancels no video job."""
        if self._files is not None:
            self._files.stop()
        if self._job_id is not None:
            self._log.warning(
                "Job %s runs on and is charged: Scenario can't cancel it. A retry or a clear rejoins it.", self._job_id
            )


def _longest_deferral(deadline: float) -> datetime.timedelta:
    """Return when Airflow is to end a wait whose trigger keeps silent: some time after its deadline."""
    return datetime.timedelta(seconds=max(0.0, deadline - time.time()) + _TIMEOUT_MARGIN)


def _clock_time(epoch: float) -> str:
    return pendulum.from_timestamp(epoch).format("YYYY-MM-DD HH:mm [UTC]")

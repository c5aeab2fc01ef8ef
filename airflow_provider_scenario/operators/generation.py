"""What a generate operator does in a task: buy one generation, once, and wait for it without holding a worker."""

from __future__ import annotations

import dataclasses
import datetime
import random
import time
from collections.abc import Collection, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NoReturn

import pendulum

from airflow_provider_scenario.api import calls
from airflow_provider_scenario.api.job import Job
from airflow_provider_scenario.exceptions import (
    ScenarioConcurrencyLimitError,
    ScenarioDryRunError,
    ScenarioError,
    ScenarioRateLimitError,
    ScenarioTransientError,
)
from airflow_provider_scenario.hooks.scenario import ScenarioHook
from airflow_provider_scenario.links import ScenarioJobLink
from airflow_provider_scenario.operators.arguments import rules_of, stringify_paths
from airflow_provider_scenario.operators.blocking_wait import last_look, wait_here
from airflow_provider_scenario.operators.file_inputs import FileInputs
from airflow_provider_scenario.operators.record_store import record_store, show_purchases
from airflow_provider_scenario.outcome import amount, creative_units, job_page, result_of
from airflow_provider_scenario.polling.wait import Ending, JobWait
from airflow_provider_scenario.submission.charges import spent_on, with_charge
from airflow_provider_scenario.submission.decision import Record, Request
from airflow_provider_scenario.submission.prepare import checked_request, read_model
from airflow_provider_scenario.submission.pricing import check_price, limit_of, warn_if_dearer
from airflow_provider_scenario.submission.submitter import Bought, Purchase
from airflow_provider_scenario.triggers.progress import say_news

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_scenario.api.client import ScenarioClient
    from airflow_provider_scenario.api.model import Model, UsualTimes
    from airflow_provider_scenario.operators.generate import ScenarioGenerateOperator

_TIMEOUT_MARGIN = 60.0
_SLOT_PAUSE = 15.0


class Generation:
    """One process's part in a task's generation: a deferred task has a part before the wait, and one after it.

    :param operator: What the author asked for.
    :param context: Airflow's task context.
    """

    def __init__(self, operator: ScenarioGenerateOperator, context: Context) -> None:
        self._operator = operator
        self._context = context
        self._log = operator.log
        self._records = record_store(context, durable=operator.durable)
        self._client: ScenarioClient | None = None
        self._job_id: str | None = None
        self._usual: UsualTimes | None = None
        self._files: FileInputs | None = None

    # What the operator calls

    def settle(self, queued_since: float | None = None) -> dict[str, Any]:
        """Buy the generation, or rejoin the one already bought; wait for it, and return what it made.

        :param queued_since: Seconds of the epoch since when it has waited for a slot. Default: now.
        """
        operator = self._operator
        rules = rules_of(operator.on_lost_submission, operator.on_stale, operator.on_clear)
        client = self._client = ScenarioHook(operator.scenario_conn_id, operator.project_id).get_conn()
        record = self._records.load()
        if record is None:
            self._limit()
        else:
            # A retry begins with its XComs wiped, and mapped siblings and reports go by them.
            self._show_purchases(record)
        is_bought = record is not None and record.job_id is not None
        model = read_model(client, operator.model_id, self._log, is_bought=is_bought)
        self._usual = model.usual
        request = self._request(client, model, has_begun=record is not None)
        files = self._files = FileInputs(client, self._context, label=operator.input_label, log=self._log)
        purchase = Purchase(
            client,
            self._records,
            rules,
            before_buying=lambda: self._ready(client, model, request, files),
            check_price=lambda inputs: self._check_price(client, model, inputs),
            claimed=self._jobs_of_siblings,
            log=self._log,
        )
        try:
            bought = self._bought(purchase, request, queued_since or time.time())
        except ScenarioDryRunError:
            if (record := self._records.load()) is not None and record.job_id is not None:
                self._announce(record)
            raise
        if bought.is_new and (limit := self._limit()) is not None:
            warn_if_dearer(bought.record.charged, limit, self._log)
        self._announce(bought.record)
        if not operator.wait_for_completion and not bought.job.has_ended_badly:
            return self._land(bought.job)
        return self._wait(bought, client)

    def go_on(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """Return what the job made, after the wait in the triggerer.

        :param event: What the trigger said.
        """
        record = self._records.load()
        told_of = event.get("job_id")
        if record is not None and record.job_id is not None and record.job_id != told_of:
            self._log.warning("An event of job %s is stale: this task waits for %s.", told_of, record.job_id)
            self._defer(record.job_id, (record.intended_at or time.time()) + self._operator.timeout)
        ending = Ending.from_event(dict(event))
        self._job_id = ending.job_id
        return self._conclude(ending, record)

    def awaited_job(self) -> str | None:
        """Return the job of this take if the task waits for it, and ``None`` if it waits for a slot."""
        record = self._records.load()
        if record is None or record.landed or record.max_tries != self._context["ti"].max_tries:
            return None
        return record.job_id

    def look_a_last_time(self, job_id: str) -> dict[str, Any]:
        """Look at the job once, and return what it made."""
        with ScenarioHook(self._operator.scenario_conn_id, self._operator.project_id).get_conn() as client:
            ending = last_look(job_id, client)
        return self._conclude(ending, self._records.load())

    def kill(self) -> None:
        """End an upload that is under way, and ask Scenario to cancel the job."""
        if self._files is not None:
            self._files.stop()
        if self._client is None or self._job_id is None or not self._operator.cancel_on_kill:
            return
        try:
            self._client.send(calls.cancel_job(self._job_id))
        except ScenarioError as refusal:
            reason = refusal.said.reason or refusal
            self._log.warning("Job %s runs on and is charged; Scenario did not cancel it: %s", self._job_id, reason)
        else:
            self._log.info("Scenario was asked to cancel job %s.", self._job_id)

    # Buying

    def _request(self, client: ScenarioClient, model: Model, *, has_begun: bool) -> Request:
        given = stringify_paths(self._operator.given_inputs())
        return checked_request(model, given, client.access, label=self._operator.input_label, has_begun=has_begun)

    def _ready(self, client: ScenarioClient, model: Model, request: Request, files: FileInputs) -> dict[str, Any]:
        """Return the inputs of something that is about to be bought, every file an asset."""
        self._limit()
        self._request(client, model, has_begun=False)
        return files.ready(model, request.inputs)

    def _check_price(self, client: ScenarioClient, model: Model, inputs: Mapping[str, Any]) -> None:
        """Refuse a purchase that costs too much, or that nobody waits for any more."""
        if (limit := self._limit()) is not None:
            check_price(client, model, inputs, limit, label=self._operator.input_label, log=self._log)
        if self._operator.is_killed:
            raise ScenarioTransientError("The task was ended before it bought anything. Nothing was paid.")

    def _limit(self) -> Decimal | None:
        """Return the limit of a purchase that is about to be made; one that was made already asks for none."""
        return limit_of("max_cost", self._operator.max_cost, was_given=self._operator.is_limited)

    def _jobs_of_siblings(self) -> Collection[str]:
        """Return the jobs that other mapped instances of this task have bought in this run."""
        ti = self._context["ti"]
        if ti.map_index is None or ti.map_index < 0:
            return ()
        # Without map_indexes, not even None, Airflow gives those of all instances; a single one it gives bare.
        pulled = ti.xcom_pull(task_ids=ti.task_id, key="job_id")
        return [pulled] if isinstance(pulled, str) else [job_id for job_id in pulled or () if job_id]

    def _bought(self, purchase: Purchase, request: Request, queued_since: float) -> Bought:
        """Buy, or wait for a slot first: finding none free is no error, and uses no try."""
        deadline = queued_since + self._operator.slot_timeout
        while True:
            try:
                return purchase.settle(request, max_tries=self._context["ti"].max_tries)
            except ScenarioRateLimitError as busy:
                if time.time() >= deadline:
                    raise
                self._log.info("%s Waiting for a free slot, until %s at the latest.", busy, _clock_time(deadline))
                if self._operator.deferrable:
                    self._defer_until_free(busy, queued_since, deadline)
                pause = busy.retry_after if busy.retry_after is not None else _SLOT_PAUSE
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

    def _announce(self, record: Record) -> None:
        """Make the job known before the wait: whoever looks for it needs it most if the wait goes wrong."""
        assert record.job_id is not None  # noqa: S101 - a purchase leaves a record with its job
        self._job_id = record.job_id
        self._show_purchases(record)
        self._context["ti"].xcom_push(key=ScenarioJobLink().xcom_key, value=job_page(record.job_id))
        self._log.info("Job %s: %s", record.job_id, job_page(record.job_id))

    def _show_purchases(self, record: Record) -> None:
        """Show the job, and all that were bought up to now, as XComs."""
        if record.job_id is not None:
            self._context["ti"].xcom_push(key="job_id", value=record.job_id)
        charged = {record.job_id: record.charged} if record.job_id and record.charged is not None else {}
        operator = self._operator
        show_purchases(self._context, operator.scenario_conn_id, operator.project_id, record.all_jobs, charged)

    # Waiting

    def _wait(self, bought: Bought, client: ScenarioClient) -> dict[str, Any]:
        job, record = bought.job, bought.record
        deadline = (record.intended_at or time.time()) + self._operator.timeout
        wait = JobWait(job.id, deadline, self._usual)
        ending = wait.saw(job, time.time())
        if ending is None and self._operator.deferrable:
            self._defer(job.id, deadline, since=time.time())
        if ending is None:
            ending = wait_here(wait, client, self._operator.poll_interval, self._tell)
        else:
            self._tell(wait)
        return self._conclude(ending, record)

    def _tell(self, wait: JobWait) -> None:
        say_news(wait, self._context["ti"], self._log)

    def _defer(self, job_id: str, deadline: float, since: float | None = None) -> NoReturn:
        from airflow_provider_scenario.triggers.job import ScenarioJobTrigger

        self._operator.defer(
            trigger=ScenarioJobTrigger(
                job_id=job_id,
                scenario_conn_id=self._operator.scenario_conn_id,
                project_id=self._operator.project_id,
                deadline=deadline,
                poll_interval=self._operator.poll_interval,
                cancel_on_kill=self._operator.cancel_on_kill,
                since=since,
                usual=dataclasses.asdict(self._usual) if self._usual else None,
            ),
            method_name="execute_complete",
            timeout=_longest_deferral(deadline),
        )

    # Handing on

    def _conclude(self, ending: Ending, record: Record | None) -> dict[str, Any]:
        """Hand on the job if it succeeded; else tell what it cost, and raise what became of it."""
        job = ending.job
        if record is not None and job is not None:
            job = with_charge(job, record.charged if record.job_id == job.id else None)
            ending = dataclasses.replace(ending, job=job)
        if job is not None and job.has_ended_badly:
            spent = spent_on(job)
            if spent is not None:
                self._context["ti"].xcom_push(key="cost", value=amount(spent))
        return self._land(ending.succeeded(self._operator.timeout))

    def _land(self, job: Job) -> dict[str, Any]:
        """Hand on the job, and remember that it was.

        The record is read anew: a try that was thought dead must not write over what others have bought meanwhile.
        """
        record = self._records.load()
        if record is not None and record.job_id == job.id and not record.landed:
            self._records.save(dataclasses.replace(record, landed=True))
        result = result_of(dataclasses.replace(job, model_id=job.model_id or self._operator.model_id))
        price = "a price that Scenario does not tell" if job.cost is None else creative_units(job.cost)
        assets = ", ".join(job.asset_ids) or "none yet"
        self._log.info("Job %s: %s for %s, assets %s.", job.id, job.status.value, price, assets)
        return result


def _longest_deferral(deadline: float) -> datetime.timedelta:
    """Return when Airflow is to end a wait whose trigger keeps silent: some time after its deadline."""
    return datetime.timedelta(seconds=max(0.0, deadline - time.time()) + _TIMEOUT_MARGIN)


def _clock_time(epoch: float) -> str:
    return pendulum.from_timestamp(epoch).format("YYYY-MM-DD HH:mm [UTC]")

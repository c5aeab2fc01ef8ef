"""Buys one generation of any model, once, and waits for it without holding a worker."""

from __future__ import annotations

import dataclasses
import datetime
import random
import time
from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NoReturn

import pendulum
from airflow.providers.common.compat.sdk import conf
from airflow.sdk import BaseOperator

from airflow_provider_scenario.api import calls
from airflow_provider_scenario.api.job import Job
from airflow_provider_scenario.buying.charges import spent_on, with_charge
from airflow_provider_scenario.buying.checking import checked_request, read_model
from airflow_provider_scenario.buying.pricing import check_price, limit_of, warn_if_dearer
from airflow_provider_scenario.buying.purchase import Bought, Purchase
from airflow_provider_scenario.buying.submission import OnClear, OnLostSubmission, OnStale, Record, Request
from airflow_provider_scenario.exceptions import (
    ScenarioBusyError,
    ScenarioCapacityError,
    ScenarioDryRunError,
    ScenarioError,
    ScenarioInputError,
    ScenarioPassingError,
)
from airflow_provider_scenario.hooks.scenario import ScenarioHook
from airflow_provider_scenario.links import ScenarioAssetLink, ScenarioJobLink
from airflow_provider_scenario.operators.arguments import rules_of, seconds_of, turned_back
from airflow_provider_scenario.operators.blocking_wait import last_look, wait_here
from airflow_provider_scenario.operators.file_inputs import FileInputs, with_paths_as_text
from airflow_provider_scenario.operators.record_store import record_store, show_purchases
from airflow_provider_scenario.outcome import amount, creative_units, job_page, result_of
from airflow_provider_scenario.retries import permanent_errors_end_the_task, with_retry_policy
from airflow_provider_scenario.watching.waiting import Ending, JobWait

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_scenario.api.client import ScenarioClient
    from airflow_provider_scenario.api.model import UsualTimes
    from airflow_provider_scenario.buying.purchase import RecordStore

_TIMEOUT_MARGIN = 60.0
_SLOT_PAUSE = 15.0


class ScenarioGenerateOperator(BaseOperator):
    """Run any of Scenario's models: buy one generation, wait for it, and return what it made.

    The inputs are checked against the model's record before anything is paid. On Airflow 3.3 and later the purchase
    is remembered in the task state store, so that a retry rejoins the job instead of buying it again, whatever crashed.

    Returns ``{"job_id", "model_id", "asset_id", "asset_ids", "seed", "cost"}``, each also an XCom of its own:
    ``operator.output["asset_id"]`` feeds the next task. ``job_id`` is there as soon as the job is, and ``progress``
    while it is waited for. If the job fails, ``cost`` holds what it cost in the end: nothing if it was refunded.

    :param model_id: The model, such as ``model_wan-2-2-t2v``. Templated.
    :param inputs: Its inputs by the API's names, such as ``{"prompt": "...", "numFrames": 81}``. Templated; values
        that templating turns into text are turned back. An input that takes files takes the id of a Scenario asset, or
        an ``ObjectStoragePath``, an absolute path or a URI such as ``s3://connection@bucket/still.png``: such a file is
        uploaded before anything is paid, once in a DAG run.
    :param scenario_conn_id: The Airflow connection. Default ``scenario_default``. Templated.
    :param project_id: The project to assert. Default: the connection's, else the API key's own. Templated.
    :param max_cost: The most creative units that one purchase may cost: an ``int``, a ``Decimal`` or the text of a
        number, 0 or more; a ``float`` counts as the decimal number that Python prints for it. Then each purchase is
        preceded by a dry run, and above the limit the task ends without paying and without retries. A retry that
        rejoins its job asks for no price. Default: no limit, and no dry run. Templated.
    :param wait_for_completion: Whether to wait. ``False`` submits and returns at once, without assets; a
        ``ScenarioJobSensor`` can wait later. Default ``True``.
    :param deferrable: Whether to wait in the triggerer instead of in a worker. Default: Airflow's
        ``[operators] default_deferrable``.
    :param poll_interval: Seconds between two looks at the job, more than 0, or a ``timedelta``. Default 10.
    :param timeout: Seconds from the submission after which to give up waiting, more than 0, or a ``timedelta``. The job
        runs on. Default 3,600.
    :param slot_timeout: Seconds to wait for a free slot where the plan runs no more jobs at once, more than 0, or a
        ``timedelta``. Waiting for one uses no try. Default 86,400.
    :param durable: Whether to remember the purchase across tries. Default ``True``.
    :param on_lost_submission: What to do if it stays unknown whether Scenario accepted a submission and no job of it
        shows up: ``"resubmit"`` (default) or ``"fail"``.
    :param on_stale: What to do if the inputs changed since an earlier try bought a job: ``"resubmit"`` (default) or
        ``"fail"``.
    :param on_clear: What a clear means after the task had succeeded: ``"regenerate"`` (default) buys a new take,
        ``"reuse"`` hands on the old one.
    :param cancel_on_kill: Whether to ask Scenario to cancel the job if a person ends the task; in a worker also if the
        worker is stopped or ``execution_timeout`` passes. Scenario refuses that for video models: the log then says
        that the job runs on. Default ``True``.
    :raises ScenarioInputError: if inputs are wrong. Nothing is paid.
    :raises ScenarioPriceError: if it would cost more than ``max_cost``. Nothing is paid.
    :raises ScenarioDryRunError: if Scenario took the dry run for a purchase. The job is kept as this task's own.
    :raises ScenarioError: what else went wrong, see :mod:`airflow_provider_scenario.exceptions`.
    """

    template_fields: Sequence[str] = ("model_id", "inputs", "scenario_conn_id", "project_id", "max_cost")
    template_fields_renderers = {"inputs": "json"}  # noqa: RUF012 - Airflow's own pattern
    operator_extra_links = (ScenarioJobLink(), ScenarioAssetLink())
    ui_color = "#e8e4ff"
    uploads_to_scenario = True

    def __init__(
        self,
        *,
        model_id: str,
        inputs: Mapping[str, Any] | None = None,
        scenario_conn_id: str = ScenarioHook.default_conn_name,
        project_id: str | None = None,
        max_cost: Decimal | float | str | None = None,
        wait_for_completion: bool = True,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poll_interval: float | datetime.timedelta = 10.0,
        timeout: float | datetime.timedelta = 3600.0,
        slot_timeout: float | datetime.timedelta = 86400.0,
        durable: bool = True,
        on_lost_submission: str = OnLostSubmission.RESUBMIT.value,
        on_stale: str = OnStale.RESUBMIT.value,
        on_clear: str = OnClear.REGENERATE.value,
        cancel_on_kill: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**with_retry_policy(kwargs))
        self.multiple_outputs = True
        self.model_id = model_id
        self.inputs = inputs
        self.scenario_conn_id = scenario_conn_id
        self.project_id = project_id
        self.max_cost = max_cost
        self._is_limited = max_cost is not None
        self.wait_for_completion = wait_for_completion
        self.deferrable = deferrable
        self.poll_interval = seconds_of("poll_interval", poll_interval)
        self.timeout = seconds_of("timeout", timeout)
        self.slot_timeout = seconds_of("slot_timeout", slot_timeout)
        self.durable = durable
        self.on_lost_submission = on_lost_submission
        self.on_stale = on_stale
        self.on_clear = on_clear
        self.cancel_on_kill = cancel_on_kill
        self._client: ScenarioClient | None = None
        self._job_id: str | None = None
        self._queued_since: float | None = None
        self._store: RecordStore | None = None
        self._usual: UsualTimes | None = None
        self._files: FileInputs | None = None
        self._is_killed = False

    def given_inputs(self) -> dict[str, Any]:
        """Return the author's inputs by the API's names."""
        inputs = self.inputs or {}
        if isinstance(inputs, str):
            inputs = turned_back(inputs)
        if not isinstance(inputs, Mapping):
            raise ScenarioInputError(f"inputs must be a mapping of input names to values, not {self.inputs!r}.")
        return dict(inputs)

    @permanent_errors_end_the_task()
    def execute(self, context: Context) -> dict[str, Any]:
        """Buy the generation, or rejoin the one already bought, and wait for it."""
        rules = rules_of(self.on_lost_submission, self.on_stale, self.on_clear)
        client = self._client = ScenarioHook(self.scenario_conn_id, self.project_id).get_conn()
        records = self._records(context)
        record = records.load()
        has_begun = record is not None
        if record is None:
            self._limit()
        else:
            # A retry begins with its XComs wiped, and mapped siblings and reports go by them.
            self._show_purchases(context, record)
        is_bought = record is not None and record.job_id is not None
        model = read_model(client, self.model_id, self.log, is_bought=is_bought)
        self._usual = model.usual
        given = with_paths_as_text(self.given_inputs())
        request = checked_request(model, given, client.access, label=self.input_label, has_begun=has_begun)
        files = self._files = FileInputs(client, context, label=self.input_label, log=self.log)

        def ready() -> dict[str, Any]:
            self._limit()
            checked_request(model, given, client.access, label=self.input_label)
            return files.ready(model, request.inputs)

        def within_limit(inputs: Mapping[str, Any]) -> None:
            if (limit := self._limit()) is not None:
                check_price(client, model, inputs, limit, label=self.input_label, log=self.log)
            if self._is_killed:
                raise ScenarioPassingError("The task was ended before it bought anything. Nothing was paid.")

        purchase = Purchase(
            client,
            records,
            rules,
            before_buying=ready,
            check_price=within_limit,
            claimed=lambda: self._jobs_of_siblings(context),
            log=self.log,
        )
        try:
            bought = self._settle(purchase, request, context)
        except ScenarioDryRunError:
            self._announce(context)
            raise
        if bought.is_new and (limit := self._limit()) is not None:
            warn_if_dearer(bought.record.charged, limit, self.log)
        self._announce(context)
        if not self.wait_for_completion and not bought.job.has_ended_badly:
            return self._land(context, bought.job)
        return self._wait(context, bought)

    def execute_when_free(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        """Try again after the wait for a slot."""
        self._queued_since = event.get("since")  # An event of another trigger has none.
        return self.execute(context)

    @permanent_errors_end_the_task()
    def execute_complete(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        """Go on after the wait in the triggerer."""
        record = self._records(context).load()
        told_of = event.get("job_id")
        if record is not None and record.job_id is not None and record.job_id != told_of:
            self.log.warning("An event of job %s is stale: this task waits for %s.", told_of, record.job_id)
            self._defer(record.job_id, (record.intended_at or time.time()) + self.timeout)
        ending = Ending.from_event(event)
        self._job_id = ending.job_id
        return self._conclude(context, ending)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Go on after a deferral. If no triggerer gave a sign in time, look at the job once before giving up."""
        try:
            from airflow.sdk.exceptions import TaskDeferralTimeout
        except ImportError:  # Airflow below 3.2
            from airflow.exceptions import TaskDeferralTimeout  # type: ignore[no-redef]
        try:
            return super().resume_execution(next_method, next_kwargs, context)
        except TaskDeferralTimeout:
            record = self._records(context).load()
            if record is None or record.job_id is None or record.landed or record.max_tries != context["ti"].max_tries:
                raise  # What was waited for is a slot for this take, not the job of an earlier one.
        with permanent_errors_end_the_task():
            with ScenarioHook(self.scenario_conn_id, self.project_id).get_conn() as client:
                ending = last_look(record.job_id, client)
            return self._conclude(context, ending)

    def on_kill(self) -> None:
        """Ask Scenario to cancel the job. Speaks to no Airflow API: it runs in a signal handler."""
        self._is_killed = True
        if self._files is not None:
            self._files.stop()
        if self._client is None or self._job_id is None or not self.cancel_on_kill:
            return
        try:
            self._client.send(calls.cancel_job(self._job_id))
        except ScenarioError as refusal:
            reason = refusal.said.reason or refusal
            self.log.warning("Job %s runs on and is charged; Scenario did not cancel it: %s", self._job_id, reason)
        else:
            self.log.info("Scenario was asked to cancel job %s.", self._job_id)

    def input_label(self, name: str) -> str:
        """Return how the author calls an input of the API."""
        return name

    def _limit(self) -> Decimal | None:
        """Return the limit of a purchase that is about to be made; one that was made already asks for none."""
        return limit_of("max_cost", self.max_cost, was_given=self._is_limited)

    def _jobs_of_siblings(self, context: Context) -> Collection[str]:
        """Return the jobs that other mapped instances of this task have bought in this run."""
        ti = context["ti"]
        if ti.map_index is None or ti.map_index < 0:
            return ()
        # Without map_indexes, not even None, Airflow gives those of all instances; a single one it gives bare.
        pulled = ti.xcom_pull(task_ids=ti.task_id, key="job_id")
        return [pulled] if isinstance(pulled, str) else [job_id for job_id in pulled or () if job_id]

    def _settle(self, purchase: Purchase, request: Request, context: Context) -> Bought:
        """Buy, or wait for a slot first: finding none free is no error, and uses no try."""
        self._queued_since = self._queued_since or time.time()
        deadline = self._queued_since + self.slot_timeout
        while True:
            try:
                return purchase.settle(request, max_tries=context["ti"].max_tries)
            except ScenarioBusyError as busy:
                if time.time() >= deadline:
                    raise
                self.log.info("%s Waiting for a free slot, until %s at the latest.", busy, _clock_time(deadline))
                if self.deferrable:
                    self._defer_until_free(busy, self._queued_since, deadline)
                pause = busy.retry_after if busy.retry_after is not None else _SLOT_PAUSE
                time.sleep(min(pause * random.uniform(1.0, 1.3), max(0.1, deadline - time.time())))

    def _defer_until_free(self, busy: ScenarioBusyError, since: float, deadline: float) -> NoReturn:
        from airflow_provider_scenario.triggers.capacity import ScenarioCapacityTrigger

        self.defer(
            trigger=ScenarioCapacityTrigger(
                scenario_conn_id=self.scenario_conn_id,
                project_id=self.project_id,
                since=since,
                deadline=deadline,
                limit=busy.limit if isinstance(busy, ScenarioCapacityError) else None,
                retry_after=busy.retry_after,
            ),
            method_name="execute_when_free",
            timeout=datetime.timedelta(seconds=max(0.0, deadline - time.time()) + _TIMEOUT_MARGIN),
        )

    def _announce(self, context: Context) -> None:
        """Make the job known before the wait: whoever looks for it needs it most if the wait goes wrong."""
        record = self._records(context).load()
        assert record is not None  # noqa: S101 - a purchase leaves a record with its job
        assert record.job_id is not None  # noqa: S101
        self._job_id = record.job_id
        self._show_purchases(context, record)
        context["ti"].xcom_push(key=ScenarioJobLink().xcom_key, value=job_page(record.job_id))
        self.log.info("Job %s: %s", record.job_id, job_page(record.job_id))

    def _show_purchases(self, context: Context, record: Record) -> None:
        """Show the job, and all that were bought up to now, as XComs."""
        if record.job_id is not None:
            context["ti"].xcom_push(key="job_id", value=record.job_id)
        show_purchases(context, self.scenario_conn_id, self.project_id, record.all_jobs)

    def _wait(self, context: Context, bought: Bought) -> dict[str, Any]:
        job, record = bought.job, bought.record
        deadline = (record.intended_at or time.time()) + self.timeout
        wait = JobWait(job.id, deadline, self._usual)
        ending = wait.saw(job, time.time())
        if ending is None and self.deferrable:
            self._defer(job.id, deadline, since=time.time())
        if ending is None:
            assert self._client is not None  # noqa: S101 - execute made it
            ending = wait_here(wait, self._client, self.poll_interval, lambda wait: self._tell(wait, context))
        else:
            self._tell(wait, context)
        return self._conclude(context, ending)

    def _tell(self, wait: JobWait, context: Context) -> None:
        said, progress = wait.news()
        for line in said:
            self.log.info(line)
        if progress is not None:
            context["ti"].xcom_push(key="progress", value=progress)

    def _defer(self, job_id: str, deadline: float, since: float | None = None) -> NoReturn:
        from airflow_provider_scenario.triggers.job import ScenarioJobTrigger

        self.defer(
            trigger=ScenarioJobTrigger(
                job_id=job_id,
                scenario_conn_id=self.scenario_conn_id,
                project_id=self.project_id,
                deadline=deadline,
                poll_interval=self.poll_interval,
                cancel_on_kill=self.cancel_on_kill,
                since=since,
                usual=dataclasses.asdict(self._usual) if self._usual else None,
            ),
            method_name="execute_complete",
            timeout=datetime.timedelta(seconds=max(0.0, deadline - time.time()) + _TIMEOUT_MARGIN),
        )

    def _records(self, context: Context) -> RecordStore:
        if self._store is None:
            self._store = record_store(context, durable=self.durable)
        return self._store

    def _conclude(self, context: Context, ending: Ending) -> dict[str, Any]:
        """Hand on the job if it succeeded; else tell what it cost, and raise what became of it."""
        record, job = self._records(context).load(), ending.job
        if record is not None and job is not None:
            job = with_charge(job, record.charged if record.job_id == job.id else None)
            ending = dataclasses.replace(ending, job=job)
        if job is not None and job.has_ended_badly:
            spent = spent_on(job)
            if spent is not None:
                context["ti"].xcom_push(key="cost", value=amount(spent))
        return self._land(context, ending.succeeded(self.timeout))

    def _land(self, context: Context, job: Job) -> dict[str, Any]:
        """Hand on the job, and remember that it was."""
        store = self._records(context)
        record = store.load()
        if record is not None and not record.landed:
            store.save(dataclasses.replace(record, landed=True))
        result = result_of(dataclasses.replace(job, model_id=job.model_id or self.model_id))
        price = "a price that Scenario does not tell" if job.cost is None else creative_units(job.cost)
        assets = ", ".join(job.asset_ids) or "none yet"
        self.log.info("Job %s: %s for %s, assets %s.", job.id, job.status.value, price, assets)
        return result


def _clock_time(epoch: float) -> str:
    return pendulum.from_timestamp(epoch).format("YYYY-MM-DD HH:mm [UTC]")

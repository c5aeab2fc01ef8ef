"""One process's part in a task that generates: submit, wait, finish, and what it shows meanwhile."""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from airflow_provider_scenario.api.job import Job, job_page
from airflow_provider_scenario.api.validation import check_inputs, file_paths
from airflow_provider_scenario.api.values import describe_units, format_units, units_or_none
from airflow_provider_scenario.exceptions import (
    ScenarioDryRunError,
    ScenarioError,
    ScenarioRateLimitError,
    ScenarioTransientError,
)
from airflow_provider_scenario.hooks.scenario import ScenarioHook
from airflow_provider_scenario.links import ScenarioJobLink, ScenarioPageLink, page_path
from airflow_provider_scenario.polling.blocking import final_check, poll_until_done
from airflow_provider_scenario.polling.progress import report_progress
from airflow_provider_scenario.polling.result import job_result
from airflow_provider_scenario.polling.wait import WaitResult, WaitState, deadline_of
from airflow_provider_scenario.submission.charges import PURCHASES_KEY, PurchaseSummary, spent_on, with_charge
from airflow_provider_scenario.submission.decision import Order, SubmissionPolicy, SubmittedJob
from airflow_provider_scenario.submission.prepare import Clip, check_assets, log_lengths, read_model, refuse
from airflow_provider_scenario.submission.price_check import check_price, limit_of, warn_if_dearer
from airflow_provider_scenario.submission.record import Intent, Record, Submitted, Wanted
from airflow_provider_scenario.submission.seed import TaskKey
from airflow_provider_scenario.submission.store import SubmissionStore
from airflow_provider_scenario.submission.submitter import Submitter

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_scenario.api.client import ScenarioClient
    from airflow_provider_scenario.api.model import Model, UsualTimes
    from airflow_provider_scenario.submission.input_files import InputFiles


@dataclass(frozen=True)
class GenerationRequest:
    """What is to be bought, if nothing was bought yet.

    :param inputs: The model's inputs by the API's names, as plain JSON.
    :param argument_name: Returns what the author calls an input of the API.
    :param max_cost: As the author gave it, and templates rendered it. It is read only before something is bought.
    :param has_limit: Whether the author gave one.
    """

    inputs: Mapping[str, Any]
    argument_name: Callable[[str], str]
    policy: SubmissionPolicy
    max_cost: object
    has_limit: bool

    @property
    def limit(self) -> Decimal | None:
        """The most creative units to pay; ``ScenarioConfigurationError`` if ``max_cost`` is no such number."""
        return limit_of("max_cost", self.max_cost, was_given=self.has_limit)


class NoCapacity(Exception):  # noqa: N818 - the task waits, which is no error
    """Nothing was bought: the plan runs no more jobs now.

    :param searched: The search that this try has ended, if it has ended one.
    """

    def __init__(self, refusal: ScenarioRateLimitError, searched: str | None) -> None:
        super().__init__(refusal, searched)
        self.refusal = refusal
        self.searched = searched


class Generation:
    """One process's part in a task: a deferred task has a part before the wait, and one after it."""

    def __init__(
        self,
        context: Context,
        log: Any,
        *,
        model_id: str,
        scenario_conn_id: str,
        project_id: str | None,  # Named in each request, if there is one.
        durable: bool,  # Whether to remember the purchase across tries.
        poll_interval: float,  # Seconds between two polls.
        timeout: float,  # Seconds from the submission after which to give up the wait.
        execution_timeout: datetime.timedelta | None,
        searched: str | None,  # The search that this same try has waited out.
        may_defer_search: bool,  # Whether a search may raise SearchDeferred, to go on once it is waited out.
    ) -> None:
        self._context = context
        self._log = log
        self._model_id = model_id
        self._scenario_conn_id = scenario_conn_id
        self._project_id = project_id
        self._poll_interval = poll_interval
        self._timeout = timeout
        self._execution_timeout = execution_timeout
        self._searched = searched
        self._may_defer_search = may_defer_search
        self._store = SubmissionStore(context, scenario_conn_id, project_id, durable=durable)
        self._client: ScenarioClient | None = None
        self._submitter: Submitter | None = None
        self._files: InputFiles | None = None
        self._job_id: str | None = None
        self._usual: UsualTimes | None = None
        self._is_stopped = False

    # Submit

    def show_bought(self) -> None:
        """Show as XComs what is known to be bought. Airflow clears XComs on a retry; siblings and reports need them."""
        stored = self._store.load()
        if stored is not None:
            self._show(stored)

    def _show_earlier(self, order: Order) -> None:
        """Show the jobs of earlier generations, where there was no record when this try began."""
        if not self._store.is_durable and order.earlier_jobs:
            self._store.show_jobs(order.earlier_jobs)

    def show_waiting(self, since: float, until: float) -> None:
        """Show since and until when (seconds of the epoch) the task waits for capacity: its page shows its place."""
        self._push_page_link()
        waits = {"since": since, "until": until}
        self._store.show(self._store.load(), waits=waits)

    def show_searching(self) -> None:
        """Show that the task looks for a job that it may have bought."""
        self._push_page_link()
        self._store.show(self._store.load(), is_searching=True)

    def about_paid_job(self, error: ScenarioError) -> ScenarioError:
        """Return an error about what the author gave, naming the job that this task has paid for, if it has one."""
        stored = self._store.load()
        if not isinstance(stored, Submitted) or stored.returned:
            return error
        return type(error)(
            f"{error}\nJob {stored.job_id} of this task is paid for. Correct this and clear the task: with the inputs "
            "that the job was bought with it goes on with the job.",
            job_id=stored.job_id,
        )

    def submit(self, request: GenerationRequest) -> SubmittedJob:
        """Return the job of this task: the one that was bought already, or a new one.

        After :class:`NoCapacity` it may be called again with the same request.
        """
        client = self._client or self._open_client()
        wanted = Wanted(self._model_id, request.inputs)
        if self._submitter is None:
            self._submitter = Submitter(
                client,
                self._store,
                TaskKey.of(self._context),
                request.policy,
                may_buy=lambda: not self._is_stopped,
                account=self._account_of(client),
                searched=self._searched,
                may_defer=self._may_defer_search,
                log=self._log,
            )
        submitted = self._rejoin_or_buy(self._submitter, wanted, request, client)
        limit = request.limit if submitted.is_new else None
        if limit is not None:
            warn_if_dearer(submitted.record.charged, limit, self._log)
        # Before the wait: the job must be known most if the wait goes wrong.
        self._show(submitted.record, max_cost=units_or_none(limit))
        self._log.info("Job %s: %s", submitted.job.id, job_page(submitted.job.id))
        return submitted

    def _rejoin_or_buy(
        self, submitter: Submitter, wanted: Wanted, request: GenerationRequest, client: ScenarioClient
    ) -> SubmittedJob:
        while True:
            found = submitter.rejoin_or_order(wanted)
            if isinstance(found, SubmittedJob):
                return found
            self._show_earlier(found)
            full = None
            try:
                bought = self._buy(submitter, found, wanted, request, client)
            except NoCapacity as error:
                full = error
            if full is not None:  # Not in the handler: its traceback would stand above that of an error of this search.
                bought = submitter.job_despite_refusal(wanted)
                if bought is None:
                    raise full
            if bought is not None:
                return bought

    def _account_of(self, client: ScenarioClient) -> str:
        project = client.config.project_id or "of its key"
        # Another key may lead to another project. A digest distinguishes them, and nobody can read the key from it.
        key = hashlib.sha256(client.config.api_key.encode()).hexdigest()[:8]
        return f"connection {self._scenario_conn_id}, key {key} (digest), project {project}, {client.config.base_url}"

    def _buy(
        self, submitter: Submitter, order: Order, wanted: Wanted, request: GenerationRequest, client: ScenarioClient
    ) -> SubmittedJob | None:
        """Prepare what is to be sent, check its price, and buy it; ``None`` if another try bought meanwhile."""
        limit = request.limit
        model = read_model(client, self._model_id, self._log)
        self._usual = model.usual
        checked = check_inputs(model, wanted.inputs)
        refuse(model, checked.faults, request.argument_name)
        inputs = self._with_assets(client, model, checked.values, request.argument_name)
        # A dry run that makes a job must be found by its seed too.
        seed = submitter.seed_of(order, inputs, model.largest_seed)
        priced = inputs if seed is None else {**inputs, "seed": seed}
        try:
            if limit is not None:
                try:
                    check_price(client, model, priced, limit, argument_name=request.argument_name, log=self._log)
                except ScenarioDryRunError as made:
                    # Against the API's word the dry run was a purchase: its job is paid for, so it is this task's job.
                    self._log.warning("%s It is kept as this task's job.", made)
                    is_ours = seed is not None
                    return submitter.keep(order, wanted, str(made.job_id), seed=priced.get("seed"), is_ours=is_ours)
            self._check_not_stopped()
            return submitter.buy(order, wanted, model.id, inputs, largest_seed=model.largest_seed)
        except ScenarioRateLimitError as busy:
            if not busy.is_refusal:
                raise  # A gateway on the way says so: that is no word about the plan's capacity.
            raise NoCapacity(busy, submitter.searched) from None

    def _with_assets(
        self, client: ScenarioClient, model: Model, inputs: Mapping[str, Any], argument_name: Callable[[str], str]
    ) -> Mapping[str, Any]:
        """Return inputs that can be bought: every file is an asset, and every asset is there and within the limits."""
        clips = dict[str, Clip]()
        if file_paths(model, inputs):
            from airflow_provider_scenario.submission.input_files import InputFiles

            self._files = self._files or InputFiles(client, self._context, argument_name=argument_name, log=self._log)
            self._check_not_stopped()
            inputs, clips = self._files.uploaded(model, inputs), self._files.clips
        assets = check_assets(client, model, inputs, argument_name=argument_name, log=self._log, sleep=self._sleep)
        log_lengths(model, inputs, assets, self._log, argument_name=argument_name, files=clips)
        return inputs

    def _sleep(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0 and not self._is_stopped:
            time.sleep(min(left, 0.5))  # A flag that is looked at: a signal handler must take no lock.
        self._check_not_stopped()

    def _check_not_stopped(self) -> None:
        if self._is_stopped:
            raise ScenarioTransientError("The task was ended before it bought anything. Nothing was paid.")

    def _open_client(self, job_id: str | None = None) -> ScenarioClient:
        """Return a client. Once something was bought, a connection that can't be used is a transient error."""
        try:
            self._client = ScenarioHook(self._scenario_conn_id, self._project_id).get_conn()
        except ScenarioTransientError:
            raise
        except ScenarioError as error:
            stored = self._store.load()
            job_id = stored.job_id if isinstance(stored, Submitted) else job_id
            if job_id is None and not isinstance(stored, Intent):
                raise
            job = f"job {job_id}" if job_id else "job"
            raise ScenarioTransientError(
                f"This task's {job} can't be read: {error}\nIt may be paid for. Correct the connection: a retry reads "
                "the job again and pays nothing.",
                job_id=job_id,
            ) from None
        return self._client

    def _push_page_link(self) -> None:
        """Show the page from now on, before the task defers or ends."""
        self._context["ti"].xcom_push(key=ScenarioPageLink().xcom_key, value=page_path(self._context["ti"]))

    def _show(self, record: Record, max_cost: str | None = None) -> None:
        """Show the job, and all that were bought up to now, as XComs."""
        if isinstance(record, Submitted):
            self._job_id = record.job_id
            self._context["ti"].xcom_push(key="job_id", value=record.job_id)
        self._store.show(record, max_cost=max_cost)

    # Poll

    def result_so_far(self, submitted: SubmittedJob) -> WaitResult | None:
        """Return how the wait ended if the job has ended already, else ``None``."""
        state = self._wait_state(submitted.record)
        result = state.on_job(submitted.job, time.time())
        if result is not None:
            self._report(state)
        return result

    def poll(self, submitted: SubmittedJob) -> WaitResult:
        """Wait in this process for a job that has not ended yet."""
        # Airflow itself pushes links only when the task defers or ends.
        self._context["ti"].xcom_push(key=ScenarioJobLink().xcom_key, value=job_page(submitted.job.id))
        self._push_page_link()
        state = self._wait_state(submitted.record)
        state.on_job(submitted.job, time.time())
        return self._poll(state)

    def other_job(self, event: Mapping[str, Any]) -> Submitted | None:
        """Return the record of the job the task waits for, if a trigger's event is of another one; else ``None``."""
        awaited = self._awaited()
        job_id = event.get("job_id")  # An event of another trigger has none.
        if awaited is None or awaited.job_id == job_id:
            return None
        self._log.warning("An event of job %s is stale: this task waits for %s.", job_id, awaited.job_id)
        return awaited

    def _awaited(self) -> Submitted | None:
        """Return the record of the job that the task waits for; where Airflow keeps none, the wait begins anew."""
        stored = self._store.load()
        if stored is None and (job_id := self.pending_job_id()) is not None:
            tries = self._context["ti"].max_tries
            return Submitted(generation=1, digests={}, max_tries=tries, job_id=job_id, submitted_at=time.time())
        return stored if isinstance(stored, Submitted) else None

    def resume(self, event: Mapping[str, Any]) -> WaitResult:
        """Return how the wait in the triggerer ended; go on with it here if the triggerer could not."""
        result = WaitResult.from_event(dict(event))
        self._job_id = result.job_id
        if result.timed_out:
            # Perhaps only the triggerer could not reach Scenario: the worker has a way out of its own.
            last = self.final_check(result.job_id)
            return result if last.job is None else last
        if not result.take_over:
            return result
        self._log.warning("%s", result.error)
        stored = self._store.load()
        deadline = self._deadline(stored) if isinstance(stored, Submitted) else time.time() + self._timeout
        return self._poll(WaitState(result.job_id, deadline))

    def is_searching(self) -> bool:
        """Return whether the task waits for the end of a search: a job may be paid for."""
        shown = self._shown()
        return shown is not None and shown.is_searching

    def _shown(self) -> PurchaseSummary | None:
        """Return what this try has shown of its purchases. An XCom outlives a deferral."""
        ti = self._context["ti"]
        shown = ti.xcom_pull(key=PURCHASES_KEY, map_indexes=ti.map_index)
        return PurchaseSummary.from_json(shown) if isinstance(shown, Mapping) else None

    def pending_job_id(self) -> str | None:
        """Return the job that the task waits for; ``None`` if it waits for none."""
        shown = self._shown()
        if shown is not None and (shown.waits or shown.is_searching):
            return None  # The record may be of a job of an earlier try, which has failed.
        ti, stored = self._context["ti"], self._store.load()
        if stored is None and not self._store.is_durable:
            job_id = ti.xcom_pull(key="job_id", map_indexes=ti.map_index)  # An XCom outlives a deferral.
            return job_id if isinstance(job_id, str) else None
        if not isinstance(stored, Submitted) or stored.returned or stored.max_tries != ti.max_tries:
            return None
        return stored.job_id

    def final_check(self, job_id: str) -> WaitResult:
        """Read a job once, after no triggerer answered in time."""
        with self._open_client(job_id) as client:
            return final_check(job_id, client)

    def trigger_arguments(self, record: Submitted, *, since: float | None) -> dict[str, Any]:
        """Return the arguments of the trigger that waits for a job."""
        return {
            "job_id": record.job_id,
            "scenario_conn_id": self._scenario_conn_id,
            "project_id": self._project_id,
            "deadline": self._deadline(record),
            "poll_interval": self._poll_interval,
            "since": since,  # When the job was last known to run, in seconds of the epoch; None if nobody knows.
            "usual": dataclasses.asdict(self._usual) if self._usual else None,
        }

    def _poll(self, state: WaitState) -> WaitResult:
        client = self._client or self._open_client(state.job_id)
        return poll_until_done(state, client, self._poll_interval, self._report)

    def _report(self, state: WaitState) -> None:
        report_progress(state, self._context["ti"], self._log)

    def _wait_state(self, record: Submitted) -> WaitState:
        return WaitState(record.job_id, self._deadline(record), self._usual)

    def _deadline(self, record: Submitted) -> float:
        started = getattr(self._context["ti"], "start_date", None)
        return deadline_of(
            record.submitted_at,
            self._timeout,
            started_at=started.timestamp() if started is not None else None,
            execution_timeout=self._execution_timeout,
        )

    # Finish

    def finish(self, result: WaitResult) -> dict[str, Any]:
        """Return what the job made; if it did not succeed, say what it cost and raise what became of it."""
        stored = self._store.load()
        job = result.job
        if job is not None:
            job = with_charge(job, self._charged(stored, job.id))
            result = dataclasses.replace(result, job=job)
            if job.has_ended_badly and (spent := spent_on(job)) is not None:
                self._context["ti"].xcom_push(key="cost", value=format_units(spent))
        return self._result(stored, result.job_or_raise(self._timeout), is_complete=result.has_outputs)

    def _charged(self, stored: Record | None, job_id: str) -> str | None:
        """Return what a job was charged, if that was noted: in the record, else in an XCom, which outlives a wait."""
        if isinstance(stored, Submitted) and stored.job_id == job_id:
            return stored.charged
        shown = None if self._store.is_durable else self._shown()
        return shown.charged.get(job_id) if shown is not None else None

    def finish_without_waiting(self, job: Job) -> dict[str, Any]:
        """Return what a task that does not wait returns: the job itself is its result, whatever it has made yet."""
        return self._result(self._store.load(), job, is_complete=True)

    def _result(self, stored: Record | None, job: Job, *, is_complete: bool) -> dict[str, Any]:
        """Return the result, and note in the record that it was returned, unless it has no outputs yet."""
        # stored must have been read just before this call: another try may have bought meanwhile.
        if is_complete and isinstance(stored, Submitted) and stored.job_id == job.id and not stored.returned:
            self._store.save(dataclasses.replace(stored, returned=True))
        price = "a price that Scenario does not name" if job.cost is None else describe_units(job.cost)
        assets = ", ".join(job.asset_ids) or "none yet"
        self._log.info("Job %s: %s for %s, assets %s.", job.id, job.status.value, price, assets)
        return job_result(dataclasses.replace(job, model_id=job.model_id or self._model_id))

    def stop(self) -> None:
        """Buy nothing more, end an upload, and say what becomes of the job. Safe in a signal handler."""
        self._is_stopped = True
        if self._files is not None:
            self._files.stop()
        if self._job_id is not None:
            self._log.warning(
                "Job %s runs on and is charged: Scenario can't cancel it. A retry or a clear rejoins it.", self._job_id
            )

"""The operator that runs any model."""

from __future__ import annotations

import datetime
import random
import time
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from airflow.providers.common.compat.sdk import conf
from airflow.sdk import BaseOperator

from airflow_provider_scenario.api.values import name_or_none, parse_literal
from airflow_provider_scenario.arguments import MAX_INTERVAL, GivenInputs, plain_inputs, seconds_of
from airflow_provider_scenario.exceptions import (
    MAX_RETRY_AFTER,
    ScenarioConcurrencyLimitError,
    ScenarioConfigurationError,
    ScenarioError,
    ScenarioInputError,
    ScenarioTimeoutError,
)
from airflow_provider_scenario.hooks.scenario import ScenarioHook
from airflow_provider_scenario.links import ScenarioAssetLink, ScenarioJobLink, ScenarioPageLink, showing_errors
from airflow_provider_scenario.polling import CAPACITY_TIMEOUT, DEFERRAL_MARGIN, POLL_INTERVAL, WAIT_TIMEOUT
from airflow_provider_scenario.retry_policy import task_errors, with_retry_policy

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_scenario.submission.decision import SubmissionPolicy, SubmittedJob
    from airflow_provider_scenario.submission.generation import Generation, NoCapacity
    from airflow_provider_scenario.submission.job_reader import SearchDeferred
    from airflow_provider_scenario.submission.record import Submitted

_CAPACITY_PAUSE = 15.0
"""Seconds that a worker waits before it asks for capacity again, where Scenario names no time."""


class ScenarioGenerateOperator(BaseOperator):
    """Run any of Scenario's models: buy one generation, wait for it, and return what it made.

    The inputs are checked against the model's record before anything is paid. On Airflow 3.3 and later the purchase
    is remembered in the task state store, so that a retry rejoins the job instead of buying it again, whatever crashed.

    Returns ``{"job_id", "model_id", "asset_id", "asset_ids", "seed", "cost"}``, each also an XCom of its own:
    ``operator.output["asset_id"]`` feeds the next task. ``job_id`` is there as soon as the job is, and ``progress``
    while it is waited for. If the job fails, ``cost`` holds what it cost in the end: nothing if it was refunded.

    :param model_id: The model, such as ``model_wan-2-2-t2v``. Templated.
    :param inputs: Its inputs by the API's names, such as ``{"prompt": "...", "numFrames": 81}``. Templated; text that a
        template rendered is parsed as JSON or as a Python literal. An input that takes files takes the id of a Scenario
        asset, or an ``ObjectStoragePath``, an absolute path or a URI such as ``s3://connection@bucket/still.png``: such
        a file is uploaded before anything is paid, once in a DAG run.
    :param scenario_conn_id: The Airflow connection. Default ``scenario_default``. Templated.
    :param project_id: The Scenario project to name in each request. Default: the connection's, else the API key's own.
        Templated.
    :param max_cost: The most creative units that one purchase may cost: an ``int``, a ``Decimal`` or the text of a
        number, 0 or more; a ``float`` counts as the decimal number that Python prints for it. Then each purchase is
        preceded by a dry run, and above the limit the task ends without paying and without retries. A retry that
        rejoins its job asks for no price. Default: no limit, and no dry run. Templated.
    :param wait_for_completion: Whether to wait. ``False`` submits and returns at once, without assets; a
        ``ScenarioJobSensor`` can wait later. Default ``True``.
    :param deferrable: Whether to wait in the triggerer instead of in a worker. Default: Airflow's
        ``[operators] default_deferrable``.
    :param poll_interval: Seconds between two polls, more than 0, or a ``timedelta``. Default 10.
    :param timeout: Seconds from the submission after which to give up waiting, more than 0, or a ``timedelta``. The job
        runs on. Default 3,600.
    :param capacity_timeout: Seconds to wait for capacity where the plan runs no more jobs at once, more than 0, or a
        ``timedelta``. That wait uses no try. Default 86,400.
    :param durable: Whether to remember the purchase across tries. Default ``True``.
    :param on_lost_submission: What to do if it stays unknown whether Scenario accepted a submission and no job of it
        shows up: ``"resubmit"`` (default) or ``"fail"``.
    :param on_changed_inputs: What to do if the inputs changed since an earlier try bought a job: ``"resubmit"``
        (default) or ``"fail"``. A mapped instance goes by its map index: if the list it is mapped over gets an item
        at its front, a clear finds the inputs of all instances changed. Without a record and without a seed that
        this package draws, a change can't be noticed.
    :param on_clear: What a clear means after the task had returned its result: ``"regenerate"`` buys a new generation,
        ``"reuse"`` returns the old one. Default: as ``"regenerate"`` where Airflow keeps the record of the purchase
        (3.3; 3.4 with *Keep task state*), else as ``"reuse"``: without a record nobody knows whether a finished job
        was returned, and a clear by mistake must not pay again. Where neither a record nor a seed that this package
        draws shows what was bought before the clear, ``"regenerate"`` returns the old one too.
    :raises ScenarioInputError: if inputs are wrong. Nothing is paid.
    :raises ScenarioCostLimitError: if it would cost more than ``max_cost``. Nothing is paid.
    :raises ScenarioTimeoutError: if the job or the wait for capacity takes longer than its time-out.
    :raises ScenarioError: what else went wrong, see :mod:`airflow_provider_scenario.exceptions`.
    """

    template_fields: Sequence[str] = ("model_id", "inputs", "scenario_conn_id", "project_id", "max_cost")
    template_fields_renderers = {"inputs": "json"}  # noqa: RUF012 - Airflow's own pattern
    operator_extra_links = (ScenarioPageLink(), ScenarioJobLink(), ScenarioAssetLink())
    ui_color = "#e8e4ff"

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
        poll_interval: float | datetime.timedelta = POLL_INTERVAL,
        timeout: float | datetime.timedelta = WAIT_TIMEOUT,
        capacity_timeout: float | datetime.timedelta = CAPACITY_TIMEOUT,
        durable: bool = True,
        on_lost_submission: Literal["resubmit", "fail"] = "resubmit",
        on_changed_inputs: Literal["resubmit", "fail"] = "resubmit",
        on_clear: Literal["regenerate", "reuse"] | None = None,
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
        self.poll_interval = seconds_of("poll_interval", poll_interval, most=MAX_INTERVAL)
        self.timeout = seconds_of("timeout", timeout)
        self.capacity_timeout = seconds_of("capacity_timeout", capacity_timeout)
        self.durable = durable
        self.on_lost_submission = on_lost_submission
        self.on_changed_inputs = on_changed_inputs
        self.on_clear = on_clear
        self._is_killed = False
        self._generation: Generation | None = None
        self._queued_since: float | None = None
        self._is_wait_shown = False
        self._searched: str | None = None
        self._may_defer_search = deferrable

    def api_inputs(self) -> dict[str, Any]:
        """Return the author's inputs by the API's names."""
        inputs = {} if self.inputs is None else self.inputs
        if isinstance(inputs, str):
            inputs = parse_literal(inputs)
        if not isinstance(inputs, Mapping):
            raise ScenarioInputError(f"inputs must be a mapping of input names to values, not {self.inputs!r}.")
        if nameless := [name for name in inputs if not isinstance(name, str)]:
            raise ScenarioInputError(f"inputs must be a mapping of input names to values: {nameless[0]!r} is no name.")
        return dict(inputs)

    def argument_name(self, name: str) -> str:
        """Return how the author calls an input of the API."""
        return name

    @task_errors()
    def execute(self, context: Context) -> dict[str, Any]:
        """Submit the job, or rejoin the one already bought; wait for it without holding a worker; finish."""
        with showing_errors(context):
            run = self._run(context)
            submitted = self._submit(run)
            if not self.wait_for_completion and not submitted.job.has_ended_badly:
                return run.finish_without_waiting(submitted.job)
            result = run.result_so_far(submitted)
            if result is None and self.deferrable:
                self._defer_until_done(run, submitted.record, since=time.time())
            return run.finish(result or run.poll(submitted))

    @task_errors()
    def execute_complete(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        """Finish after the wait in the triggerer."""
        with showing_errors(context):
            run = self._run(context)
            if (record := run.other_job(event)) is not None:
                self._defer_until_done(run, record, since=None)
            return run.finish(run.resume(event))

    def execute_when_free(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        """Try again after the wait for capacity."""
        self._queued_since = event.get("since")  # An event of another trigger has none.
        self._is_wait_shown = self._queued_since is not None
        self._searched = event.get("searched")
        return self.execute(context)

    def execute_after_search(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        """End a search for a job, and go on."""
        self._queued_since = event.get("since")
        self._searched = event.get("searched")
        return self.execute(context)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Go on after a deferral. If no triggerer answered in time, look for the job here before giving up."""
        try:
            from airflow.sdk.exceptions import TaskDeferralTimeout
        except ImportError:  # Airflow below 3.2
            from airflow.exceptions import TaskDeferralTimeout  # type: ignore[no-redef]
        try:
            return super().resume_execution(next_method, next_kwargs, context)
        except TaskDeferralTimeout:
            run = self._run(context)
            job_id = run.pending_job_id()
            if job_id is None and not run.is_searching():
                raise  # The task was waiting for capacity.
        if job_id is None:
            self._may_defer_search = False
            return self.execute(context)
        with task_errors(), showing_errors(context):
            return run.finish(run.final_check(job_id))

    def on_kill(self) -> None:
        """Stop an upload, and buy nothing more. Speaks to no Airflow API: it runs in a signal handler."""
        self._is_killed = True
        if self._generation is not None:
            self._generation.stop()

    def _run(self, context: Context) -> Generation:
        """Return this process's part in the task. It is imported here so that parsing a DAG file stays fast."""
        from airflow_provider_scenario.submission.generation import Generation

        self.project_id = name_or_none(self.project_id)  # A template's Undefined can't be stored as JSON.
        self._generation = Generation(
            context,
            self.log,
            model_id=name_or_none(self.model_id) or "",
            scenario_conn_id=self.scenario_conn_id,
            project_id=self.project_id,
            durable=self.durable,
            poll_interval=self.poll_interval,
            timeout=self.timeout,
            execution_timeout=self.execution_timeout,
            searched=self._searched,
            may_defer_search=self._may_defer_search,
        )
        if self._is_killed:
            self._generation.stop()
        return self._generation

    def _submit(self, run: Generation) -> SubmittedJob:
        """Submit, and wait for capacity for as long as the plan runs no more jobs."""
        from airflow_provider_scenario.submission.generation import GenerationRequest, NoCapacity
        from airflow_provider_scenario.submission.job_reader import SearchDeferred

        if not self._is_wait_shown:  # After a wait for capacity the XComs are still there, with the wait in them.
            run.show_bought()
        try:
            request = GenerationRequest(
                inputs=GivenInputs(plain_inputs(self.api_inputs())),
                argument_name=self.argument_name,
                policy=_policy_of(self.on_lost_submission, self.on_changed_inputs, self.on_clear),
                max_cost=self.max_cost,
                has_limit=self._is_limited,
            )
        except ScenarioError as error:
            raise run.about_paid_job(error) from None
        since = self._queued_since or time.time()
        while True:
            try:
                return run.submit(request)
            except SearchDeferred as search:
                run.show_searching()
                self._defer_search(search)
            except NoCapacity as error:
                full = error
            # Outside of the handler: else its traceback would stand above that of every later error.
            if not self._is_wait_shown:  # An XCom outlives a deferral: a thousand that wait push it once each.
                run.show_waiting(since, since + self.capacity_timeout)
                self._is_wait_shown = True
            self._wait_for_capacity(full, since)

    def _wait_for_capacity(self, full: NoCapacity, since: float) -> None:
        """Wait until the plan may run another job: that is no error, and uses no try."""
        deadline, busy = since + self.capacity_timeout, full.refusal
        if time.time() >= deadline:
            # No rate limit, which Airflow 3.4 would try again without using a retry: this wait has an end.
            raise ScenarioTimeoutError(
                f"No capacity came free within capacity_timeout={self.capacity_timeout:g} s. {busy}\n"
                "Nothing was bought: a retry waits again."
            )
        until = datetime.datetime.fromtimestamp(deadline, datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
        self.log.info("%s Waiting for capacity, until %s at the latest.", busy, until)
        if self.deferrable:
            from airflow_provider_scenario.triggers.capacity import ScenarioCapacityTrigger

            self.defer(
                trigger=ScenarioCapacityTrigger(
                    scenario_conn_id=self.scenario_conn_id,
                    project_id=self.project_id,
                    since=since,
                    deadline=deadline,
                    limit=busy.limit if isinstance(busy, ScenarioConcurrencyLimitError) else None,
                    retry_after=busy.retry_after,
                    searched=full.searched,
                ),
                method_name="execute_when_free",
                timeout=_longest_deferral(deadline),
            )
        pause = min(_CAPACITY_PAUSE if busy.retry_after is None else busy.retry_after, MAX_RETRY_AFTER)
        time.sleep(min(pause * random.uniform(1.0, 1.3), max(0.1, deadline - time.time())))

    def _defer_search(self, search: SearchDeferred) -> NoReturn:
        """Hand the wait for the end of a search to the triggerer."""
        from airflow_provider_scenario.triggers.search import ScenarioSearchTrigger

        self.log.info("The search for a job goes on in %.0f s. No worker is held meanwhile.", search.seconds)
        self.defer(
            trigger=ScenarioSearchTrigger(search=search.search, seconds=search.seconds, since=self._queued_since),
            method_name="execute_after_search",
            # Another triggerer that takes it over begins the wait anew.
            timeout=_longest_deferral(time.time() + 2 * search.seconds),
        )

    def _defer_until_done(self, run: Generation, record: Submitted, *, since: float | None) -> NoReturn:
        """Hand the wait to the triggerer."""
        from airflow_provider_scenario.triggers.job import ScenarioJobTrigger

        arguments = run.trigger_arguments(record, since=since)
        self.defer(
            trigger=ScenarioJobTrigger(**arguments),
            method_name="execute_complete",
            timeout=_longest_deferral(arguments["deadline"]),
        )


def _policy_of(on_lost_submission: str, on_changed_inputs: str, on_clear: str | None) -> SubmissionPolicy:
    """Return how the author wants doubtful cases decided."""
    from airflow_provider_scenario.submission.decision import (
        OnChangedInputs,
        OnClear,
        OnLostSubmission,
        SubmissionPolicy,
    )

    try:
        policy = SubmissionPolicy(
            OnLostSubmission(on_lost_submission),
            OnChangedInputs(on_changed_inputs),
            None if on_clear is None else OnClear(on_clear),
        )
    except ValueError as error:
        raise ScenarioConfigurationError(
            f"{error}: on_lost_submission and on_changed_inputs take 'resubmit' or 'fail', on_clear takes 'regenerate' "
            "or 'reuse'."
        ) from None
    if policy.on_clear is OnClear.REUSE and conf.getboolean("state_store", "clear_on_success", fallback=False):
        raise ScenarioConfigurationError(
            "on_clear='reuse' needs what [state_store] clear_on_success=True makes Airflow forget."
        )
    return policy


def _longest_deferral(deadline: float) -> datetime.timedelta:
    """Return when Airflow is to end a wait whose trigger keeps silent: some time after its deadline."""
    return datetime.timedelta(seconds=max(0.0, deadline - time.time()) + DEFERRAL_MARGIN)

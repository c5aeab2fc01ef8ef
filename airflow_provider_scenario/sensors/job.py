"""Waits for a job that was bought elsewhere."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from airflow import __version__ as airflow_version
from airflow.providers.common.compat.sdk import (
    AirflowException,
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    conf,
)
from airflow.sdk import BaseSensorOperator, PokeReturnValue

from airflow_provider_scenario.api.values import is_no_value, name_or_none
from airflow_provider_scenario.arguments import MAX_INTERVAL, seconds_of
from airflow_provider_scenario.exceptions import (
    ScenarioConfigurationError,
    ScenarioError,
    ScenarioInputError,
    ScenarioJobCanceledError,
    ScenarioJobFailedError,
    ScenarioPermanentError,
    ScenarioTimeoutError,
)
from airflow_provider_scenario.hooks.scenario import ScenarioHook
from airflow_provider_scenario.links import ScenarioAssetLink, ScenarioJobLink, ScenarioPageLink, page_path, show_page
from airflow_provider_scenario.polling import DEFERRAL_MARGIN, POLL_INTERVAL, WAIT_TIMEOUT
from airflow_provider_scenario.retry_policy import clear_locals

# What only a task needs is imported in its functions: Airflow parses a DAG file every half minute.
if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.triggers.base import StartTriggerArgs

    from airflow_provider_scenario.api.config import ClientConfig
    from airflow_provider_scenario.api.model import UsualTimes
    from airflow_provider_scenario.polling.wait import WaitResult, WaitState

_DOUBT_PAUSE = 10.0
"""Seconds between two reads at most while one process of a sensor looks until a doubt is settled."""

_USUAL_TIMEOUT = 10.0
"""Seconds to wait for what a model's jobs usually take: it is only shown."""


class ScenarioJobSensor(BaseSensorOperator):
    """Wait until a job has succeeded, and return what it made.

    A job that ends in ``failure`` or ``canceled`` fails the task at once, without retries: its id will not succeed
    any more. Any other status, also one this provider does not know, is waited on.

    Returns what the generate operators return: ``{"job_id", "model_id", "asset_id", "asset_ids", "seed", "cost"}``,
    each also an XCom of its own.

    :param job_id: The job, mostly ``operator.output["job_id"]``. Templated.
    :param scenario_conn_id: The Airflow connection. Default ``scenario_default``. Templated.
    :param project_id: The Scenario project to name in each request. Default: the connection's, else the API key's own.
        Templated.
    :param deferrable: Whether to wait in the triggerer instead of in a worker. Default: Airflow's
        ``[operators] default_deferrable``.
    :param poke_interval: Seconds between two polls. Default 10.
    :param timeout: Seconds from the sensor's start after which to give up. Default 3,600.
    :param start_from_trigger: Whether to start in the triggerer, and to end there if the job succeeds: then no worker
        has a part in it at all. Needs Airflow 3.3 and a job id that is known before the sensor starts: plain, or a
        template without XComs such as ``"{{ params.job_id }}"``. A mapped sensor starts in a worker all the same.
        Default ``False``.
    :param kwargs: What every Airflow sensor takes, such as ``mode="reschedule"`` or ``soft_fail=True``.
    :raises ScenarioConfigurationError: at parse time, if ``start_from_trigger`` can't work.
    :raises AirflowFailException: with Scenario's error and hint, if the job failed.
    :raises AirflowSensorTimeout: if it was not finished in time.
    :raises ScenarioJobUnreadableError: if Scenario refused for a minute to show the job; the task keeps its retries.
    """

    template_fields: Sequence[str] = ("job_id", "scenario_conn_id", "project_id")
    operator_extra_links = (ScenarioPageLink(), ScenarioJobLink(), ScenarioAssetLink())
    ui_color = "#e8e4ff"

    def __init__(
        self,
        *,
        job_id: str,
        scenario_conn_id: str = ScenarioHook.default_conn_name,
        project_id: str | None = None,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poke_interval: float = POLL_INTERVAL,
        timeout: float = WAIT_TIMEOUT,
        start_from_trigger: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            poke_interval=seconds_of("poke_interval", poke_interval, most=MAX_INTERVAL),
            timeout=seconds_of("timeout", timeout, or_zero=True),
            **kwargs,
        )
        self.multiple_outputs = True
        self.job_id = job_id
        self.scenario_conn_id = scenario_conn_id
        self.project_id = project_id
        self.deferrable = deferrable or start_from_trigger
        self.start_from_trigger = start_from_trigger
        if start_from_trigger:
            self.start_trigger_args = self._start_trigger_args()
        self._state: WaitState | None = None
        self._usual: UsualTimes | None = None
        self._has_asked_usual = False

    def execute(self, context: Context) -> Any:
        """Wait, in the triggerer if deferrable."""
        from airflow_provider_scenario.api.job import job_page

        with self._skipping_if_soft(), _sensor_errors():
            self._check_job_id()
        context["ti"].xcom_push(key="job_id", value=self.job_id)
        context["ti"].xcom_push(key=ScenarioJobLink().xcom_key, value=job_page(self.job_id))
        context["ti"].xcom_push(key=ScenarioPageLink().xcom_key, value=page_path(context["ti"]))
        show_page(context, self.scenario_conn_id, self.project_id, [self.job_id])
        if not self.reschedule:  # There each look is a process of its own.
            self.log.info("Job %s: %s", self.job_id, job_page(self.job_id))
        if not self.deferrable:
            return super().execute(context)
        with self._skipping_if_soft(), _sensor_errors():
            result = self._look(context)
            if result is None:
                self._defer()
            return self._returned(result)

    def poke(self, context: Context) -> PokeReturnValue:
        """Look once; in reschedule mode some more times if the look leaves doubt.

        There each look is made by a process of its own, which does not know for how long the doubt has lasted.
        """
        with _sensor_errors():
            result = self._look(context)
            while result is None and self.reschedule and self._wait_state().is_in_doubt(time.time()):
                time.sleep(min(self.poke_interval, _DOUBT_PAUSE))
                result = self._look(context)
            if result is None:
                return PokeReturnValue(is_done=False)
            return PokeReturnValue(is_done=True, xcom_value=self._returned(result))

    def execute_complete(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        """Go on after the wait in the triggerer, or take it over."""
        from airflow_provider_scenario.polling.wait import WaitResult

        with _sensor_errors():
            self._check_job_id()  # Airflow has rendered it anew.
            result = WaitResult.from_event(event)
            if result.job_id != self.job_id:
                self.log.warning("An event of job %s is stale: this sensor waits for %s.", result.job_id, self.job_id)
                self._defer()
            if result.take_over:
                self.log.warning("%s", result.error)
                result = self._wait_here(context)
            return self._returned(result)

    def _wait_here(self, context: Context) -> WaitResult:
        """Wait in the worker for as long as the sensor's timeout leaves, since the triggerer can't."""
        from airflow_provider_scenario.polling.blocking import pause_of
        from airflow_provider_scenario.polling.wait import WaitState

        started = getattr(context["ti"], "start_date", None)
        deadline = (started.timestamp() if started is not None else time.time()) + self.timeout
        state = self._state = WaitState(self.job_id, deadline, self._usual)
        while (result := self._look(context)) is None:
            time.sleep(pause_of(state, self.poke_interval))
        return result

    def _returned(self, result: WaitResult) -> dict[str, Any]:
        from airflow_provider_scenario.polling.result import CLEAR_LOOKS_AGAIN, job_result

        return job_result(result.job_or_raise(self.timeout, CLEAR_LOOKS_AGAIN))

    def _start_trigger_args(self) -> StartTriggerArgs:
        """Return what Airflow makes the trigger of; it renders the templates in it.

        :raises ScenarioConfigurationError: if it could not: Airflow would leave the task deferred for ever.
        """
        from airflow.triggers.base import BaseTrigger, StartTriggerArgs

        given = {name: getattr(self, name) for name in self.template_fields}
        for name, value in given.items():
            if not isinstance(value, str | None) or "xcom" in (value or "").lower():
                raise ScenarioConfigurationError(
                    f"start_from_trigger=True needs a {name} that is known before the sensor starts, not an XCom: "
                    "Airflow renders it in the triggerer, which reads none. Use deferrable=True in task "
                    f"{self.task_id}."
                )
        if not hasattr(BaseTrigger, "render_template_fields"):  # Airflow 3.3 brought it.
            raise ScenarioConfigurationError(
                f"start_from_trigger=True needs Airflow 3.3, this is {airflow_version}: use deferrable=True in task "
                f"{self.task_id}."
            )
        return StartTriggerArgs(
            trigger_cls="airflow_provider_scenario.triggers.job.ScenarioSensorTrigger",
            trigger_kwargs={**given, "timeout": self.timeout, "poll_interval": self.poke_interval},
            next_method="execute_complete",
            timeout=datetime.timedelta(seconds=self.timeout + DEFERRAL_MARGIN),
        )

    def _check_job_id(self) -> None:
        if not isinstance(self.job_id, str) or is_no_value(self.job_id):
            raise ScenarioInputError(
                f"job_id must be the id of one job, not {self.job_id!r}. To wait for the jobs of a mapped task, map "
                "the sensor over them."
            )
        self.job_id = self.job_id.strip()  # A template may end with a line.

    def _look(self, context: Context) -> WaitResult | None:
        """Look once, and report what is new. Having nothing to look with is a look that failed."""
        from airflow_provider_scenario.polling.blocking import read_job
        from airflow_provider_scenario.polling.progress import report_progress

        state = self._wait_state()
        try:
            with ScenarioHook(self.scenario_conn_id, self.project_id).get_conn() as client:
                result = read_job(state, client)
            if result is None and not self.reschedule:
                self._learn_usual(state, client.config)
        except ScenarioError as error:
            now = time.time()
            result = state.on_error(error, now)
            if result is None and state.asks_list(now):
                result = state.on_unlisted(now)
        report_progress(state, context["ti"], self.log)
        return result

    def _learn_usual(self, state: WaitState, config: ClientConfig) -> None:
        """Ask once how long such jobs usually take, which a job does not tell; the wait does without."""
        from airflow_provider_scenario.api import calls
        from airflow_provider_scenario.api.client import ScenarioClient
        from airflow_provider_scenario.api.retry import RetryConfig

        model_id = state.unknown_model
        if model_id is None or self._has_asked_usual:
            return
        self._has_asked_usual = True
        config = dataclasses.replace(config, timeout=min(config.timeout, _USUAL_TIMEOUT))
        with contextlib.suppress(ScenarioError), ScenarioClient(config, RetryConfig(attempts=1)) as client:
            self._usual = client.send(calls.get_model(model_id)).usual
        if self._usual is not None and not self.deferrable:  # The trigger says it itself.
            state.on_usual(self._usual)

    def _wait_state(self) -> WaitState:
        from airflow_provider_scenario.polling.wait import WaitState

        # Airflow's own sensor keeps the time in poke and reschedule mode: the wait itself has no deadline there.
        self._state = self._state or WaitState(self.job_id, deadline=float("inf"), is_foreign=True)
        return self._state

    def _defer(self) -> NoReturn:
        from airflow_provider_scenario.triggers.job import ScenarioJobTrigger

        self.defer(
            trigger=ScenarioJobTrigger(
                job_id=self.job_id,
                scenario_conn_id=self.scenario_conn_id,
                project_id=name_or_none(self.project_id),
                deadline=time.time() + self.timeout,
                poll_interval=self.poke_interval,
                since=self._wait_state().seen_at,
                usual=dataclasses.asdict(self._usual) if self._usual else None,
            ),
            method_name="execute_complete",
            timeout=datetime.timedelta(seconds=self.timeout + DEFERRAL_MARGIN),
        )

    @contextlib.contextmanager
    def _skipping_if_soft(self) -> Iterator[None]:
        """Heed soft_fail and never_fail before the first deferral, as Airflow does after it."""
        try:
            yield
        except AirflowException as error:
            if self.soft_fail or self.never_fail:
                raise AirflowSkipException(f"Skipped, since the sensor is set to fail softly: {error}") from error
            raise


@contextlib.contextmanager
def _sensor_errors() -> Iterator[None]:
    """Turn Scenario's errors into those that Airflow's sensors know: a retry makes no job succeed that has ended.

    Transient errors stay what they are: the task keeps its retries. No frame of any error keeps its locals.
    """
    try:
        yield
    except BaseException as error:
        clear_locals(error)
        if isinstance(error, ScenarioTimeoutError):
            raise AirflowSensorTimeout(str(error)) from error
        if isinstance(error, ScenarioPermanentError | ScenarioJobFailedError | ScenarioJobCanceledError):
            raise AirflowFailException(str(error)) from error
        raise

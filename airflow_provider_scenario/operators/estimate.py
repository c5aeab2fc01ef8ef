"""Asks what generations would cost, and buys nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from airflow_provider_scenario.api.values import format_units, name_or_none, parse_literal
from airflow_provider_scenario.arguments import GivenInputs, plain_inputs
from airflow_provider_scenario.exceptions import ScenarioDryRunError, ScenarioInputError
from airflow_provider_scenario.hooks.scenario import ScenarioHook
from airflow_provider_scenario.links import show_page, showing_errors
from airflow_provider_scenario.retry_policy import task_errors, with_retry_policy

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_scenario.submission.price_check import Estimate

ALARM_KEY = "scenario_dry_run_alarm"
"""The key in the task's state store under which a job is kept that a dry run made."""

JOBS_KEY = "scenario_dry_run_jobs"
"""The key under which all such jobs of the task are kept, also after a person has deleted the alarm."""


class ScenarioEstimateCostOperator(BaseOperator):
    """Ask what one generation or many would cost, without paying, and stop the DAG above a budget.

    The inputs are checked against the model's record first. Prices are Scenario's own, from dry runs for just these
    inputs; equal sets are asked for once. They are no promise: the purchase itself is held to ``max_cost`` only.

    Returns a list with ``{"inputs": {...}, "cost": "7.25"}`` for each set, in order, so that a mapped stage can be
    expanded over what was priced: ``.expand(inputs=estimate.output.map(lambda priced: priced["inputs"]))``. The XCom
    ``total`` holds their sum and ``count`` their number: ``{{ ti.xcom_pull(task_ids="estimate", key="total") }}`` puts
    the price into the question of an ``ApprovalOperator``. Amounts are creative units as exact decimal text.

    A file must be at Scenario to be priced: inputs that take files take ids of Scenario assets here, no paths or URIs.
    Upload them first with ``ObjectStorageToScenarioOperator``, which costs nothing.

    :param model_id: The model, such as ``model_wan-2-2-t2v``. Templated.
    :param inputs: One set of inputs by the API's names, or a list of sets: what a mapped stage is going to run.
        Templated; values that templating turns into text are turned back.
    :param max_total_cost: The most creative units that all sets may cost together: an ``int``, a ``Decimal`` or the
        text of a number, 0 or more; a ``float`` counts as the decimal number that Python prints for it. Above it
        the task ends without retries. Default: no limit. Templated.
    :param scenario_conn_id: The Airflow connection. Default ``scenario_default``. Templated.
    :param project_id: The Scenario project to name in each request. Default: the connection's, else the API key's own.
        Templated.
    :raises ScenarioConfigurationError: if ``max_total_cost`` is no amount, or a template that came out as ``None``.
    :raises ScenarioInputError: if inputs are wrong, naming the set and the input.
    :raises ScenarioCostLimitError: if the sum is above ``max_total_cost``. Nothing was bought.
    :raises ScenarioDryRunError: if Scenario took a dry run for a purchase. It is not asked again by this task until a
        person deletes the entry ``scenario_dry_run_alarm`` in its Task State Store (Airflow 3.3).
    :raises ScenarioError: what else went wrong, see :mod:`airflow_provider_scenario.exceptions`.
    """

    template_fields: Sequence[str] = ("model_id", "inputs", "max_total_cost", "scenario_conn_id", "project_id")
    template_fields_renderers = {"inputs": "json"}  # noqa: RUF012 - Airflow's own pattern
    ui_color = "#e8e4ff"

    def __init__(
        self,
        *,
        model_id: str,
        inputs: Mapping[str, Any] | Sequence[Mapping[str, Any]] | str,
        max_total_cost: Decimal | float | str | None = None,
        scenario_conn_id: str = ScenarioHook.default_conn_name,
        project_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**with_retry_policy(kwargs))
        self.model_id = model_id
        self.inputs = inputs
        self.max_total_cost = max_total_cost
        self._is_limited = max_total_cost is not None
        self.scenario_conn_id = scenario_conn_id
        self.project_id = project_id

    @task_errors()
    def execute(self, context: Context) -> list[dict[str, Any]]:
        """Ask for the prices, log their sum, and refuse it above the limit."""
        from airflow_provider_scenario.submission.prepare import read_model
        from airflow_provider_scenario.submission.price_check import ask_prices, checked_sets, limit_of, refuse_above

        limit = limit_of("max_total_cost", self.max_total_cost, was_given=self._is_limited)
        sets = self._sets()
        self._refuse_after_an_alarm(context)
        with ScenarioHook(self.scenario_conn_id, self.project_id).get_conn() as client:
            model = read_model(client, name_or_none(self.model_id) or "", self.log)
            try:
                found = ask_prices(client, model, checked_sets(model, sets), self.log)
            except ScenarioDryRunError as alarm:
                try:
                    self._keep(context, str(alarm.job_id))
                except Exception:  # The alarm itself must be raised: it is what ends the task without retries.
                    self.log.exception("Airflow did not take all that is to be remembered of job %s.", alarm.job_id)
                raise
        self._tell(context, found, limit)
        if limit is not None:
            show_page(context, self.scenario_conn_id, self.project_id, max_total_cost=format_units(limit))
        with showing_errors(context):
            refuse_above(limit, found, model)
        return [{"inputs": dict(one), "cost": format_units(cost)} for one, cost in zip(sets, found.costs, strict=True)]

    def _sets(self) -> list[Mapping[str, Any]]:
        given = parse_literal(self.inputs) if isinstance(self.inputs, str) else self.inputs
        one_or_more = [given] if isinstance(given, Mapping) else given
        if isinstance(one_or_more, str | bytes) or not isinstance(one_or_more, Sequence):
            raise ScenarioInputError(
                f"inputs must be a mapping of input names to values, or a list of them: {given!r}."
            )
        sets = [plain_inputs(parse_literal(one) if isinstance(one, str) else one) for one in one_or_more]
        for i, one in enumerate(sets):
            if not isinstance(one, Mapping):
                raise ScenarioInputError(f"inputs[{i}] must be a mapping of input names to values, not {one!r}.")
        return [GivenInputs(one) for one in sets]

    def _tell(self, context: Context, found: Estimate, limit: Decimal | None) -> None:
        allowed = "" if limit is None else f"; max_total_cost={format_units(limit)}"
        self.log.info("%s with %s%s. Nothing was bought.", found, self.model_id, allowed)
        context["ti"].xcom_push(key="total", value=format_units(found.total))
        context["ti"].xcom_push(key="count", value=len(found.costs))

    def _keep(self, context: Context, job_id: str) -> None:
        """Remember a job that a dry run made, for as long as the DAG run is kept; then show it."""
        store: Any = context.get("task_state_store")
        jobs = [*self._jobs(context), job_id]
        try:
            if store is not None:
                from airflow.sdk import NEVER_EXPIRE  # type: ignore[attr-defined]  # missing in its stub

                store.set(ALARM_KEY, job_id, retention=NEVER_EXPIRE)
                store.set(JOBS_KEY, jobs, retention=NEVER_EXPIRE)
        finally:
            self._show(context, jobs)

    def _jobs(self, context: Context) -> list[str]:
        """Return the jobs that dry runs of this task are known to have made, the last one last."""
        store: Any = context.get("task_state_store")
        kept = store.get(JOBS_KEY) if store is not None else None
        return [str(job_id) for job_id in kept or ()]

    def _show(self, context: Context, jobs: Sequence[str]) -> None:
        from airflow_provider_scenario.submission.store import show_purchases

        context["ti"].xcom_push(key="job_id", value=jobs[-1])
        show_purchases(context, self.scenario_conn_id, self.project_id, jobs)

    def _refuse_after_an_alarm(self, context: Context) -> None:
        store, jobs = context.get("task_state_store"), self._jobs(context)
        job_id = store.get(ALARM_KEY) if store is not None else None
        if job_id is not None and str(job_id) not in jobs:
            jobs.append(str(job_id))
        if jobs:
            self._show(context, jobs)
        if job_id is not None:
            raise ScenarioDryRunError(
                f"An earlier dry run of this task made the job {job_id}, which is charged, so no price is asked for "
                f"again. Once that is mended, delete the entry {ALARM_KEY} in this task's Task State Store, then clear "
                "the task.",
                job_id=str(job_id),
            )

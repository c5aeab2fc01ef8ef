"""What a DAG run has spent at Scenario, for a task that reports it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_scenario.api.calls import find_job
from airflow_provider_scenario.hooks.scenario import ScenarioHook
from airflow_provider_scenario.submission.charges import PURCHASES_KEY, JobCost, PurchaseSummary, RunCost, run_cost_of

if TYPE_CHECKING:
    from airflow.sdk import Context

__all__ = ["RunCost", "get_run_cost"]


def get_run_cost(context: Context | Mapping[str, Any] | None = None) -> RunCost:
    """Return what the tasks of this DAG run have spent so far: one read of each job they bought, at Scenario itself.

    Call it in a task that runs after them, with ``trigger_rule="all_done"`` so that failed tasks count too::

        @task(trigger_rule="all_done")
        def report() -> dict:
            return get_run_cost().to_json()

    Counted are the jobs of the generate operators, mapped or not, of all tries and generations, and jobs that dry runs
    have made by mistake. What failed and was refunded counts for nothing; what still runs is counted as
    charged. Canceled jobs stand apart: Scenario does not say whether it refunds them. Where Scenario shows a job but
    not what it cost, what the task noted at the purchase counts. A job that Scenario no longer knows stands apart
    as ``unknown``, with what was noted: it is not known whether it was refunded. Noted is each task's last job only.

    It cannot know of

    - tries before the last one, where a task can't remember them: with ``durable=False``, below Airflow 3.3, or after
      its entry in the Task State Store was deleted (as later versions of Airflow may do at a clear);
    - a submission whose reply was lost, and of which no job had shown up when it was looked for;
    - a task that was cleared or waits for its retry, until it runs again: Airflow wipes its XComs;
    - what other code buys by itself, and fees that Scenario charges beside a job, such as for IP detection.

    :param context: The context of the task that calls. Default: the current one.
    :raises ScenarioError: if Scenario can't be asked. A job that it does not know any more is no error: its status is
        :attr:`~airflow_provider_scenario.submission.charges.ChargeStatus.UNKNOWN`.
    """
    if context is None:
        from airflow.sdk import get_current_context

        context = get_current_context()
    by_access: dict[tuple[str, str | None], list[PurchaseSummary]] = {}
    for one in _shown(context):
        by_access.setdefault((one.scenario_conn_id, one.project_id), []).append(one)
    return run_cost_of([cost for access, shown in by_access.items() for cost in _costs(access, shown)])


def _shown(context: Mapping[str, Any] | Context) -> list[PurchaseSummary]:
    """Return what every task instance of this run shows to have bought."""
    # Without map_indexes, Airflow gives those of all instances of each task; for a task without any, None.
    pulled = context["ti"].xcom_pull(task_ids=sorted(context["dag"].task_ids), key=PURCHASES_KEY)
    rows = [pulled] if isinstance(pulled, Mapping) else pulled or ()
    return [PurchaseSummary.from_json(row) for row in rows if isinstance(row, Mapping)]


def _costs(access: tuple[str, str | None], shown: Sequence[PurchaseSummary]) -> Iterator[JobCost]:
    """Yield what the jobs of one connection and project cost, read with one client."""
    with ScenarioHook(*access).get_conn() as client:
        for one in shown:
            for job_id in one.job_ids:
                job, charged = find_job(client, job_id), one.charged.get(job_id)
                yield JobCost.of(one.task, job_id, job, charged, is_proven=job_id not in one.unproven_jobs)

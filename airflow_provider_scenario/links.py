"""Links from a task to its page in Airflow and its job at Scenario, and what a task leaves for that page."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from airflow.sdk import BaseOperatorLink

from airflow_provider_scenario.api.values import name_or_none
from airflow_provider_scenario.exceptions import ScenarioError

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator, Context
    from airflow.sdk.types import TaskInstanceKey


PAGE_KEY = "scenario"
"""The XCom in which a task that buys nothing gives its page inside Airflow what it needs."""


ERROR_KEY = "scenario_error"
"""The XCom in which a task gives its page the reason of its failure, where no job of it says so."""


class ScenarioPageLink(BaseOperatorLink):
    """Leads to the task's page inside Airflow, which plays the video and shows what it cost."""

    name = "Watch"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:  # noqa: ARG002
        """Return the address, or an empty text where the pages are switched off."""
        return page_path(ti_key)


class ScenarioJobLink(BaseOperatorLink):
    """Leads to the job; there from its submission on."""

    name = "Scenario job"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:  # noqa: ARG002
        """Return the address, or an empty text before there is a job."""
        from airflow_provider_scenario.api.job import job_page

        job_id = _pulled("job_id", ti_key)
        return job_page(job_id) if job_id else ""


class ScenarioAssetLink(BaseOperatorLink):
    """Leads to the job's first output; there once it is done."""

    name = "Scenario asset"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:  # noqa: ARG002
        """Return the address, or an empty text before there is an output."""
        from airflow_provider_scenario.api.asset import asset_page

        asset_id = _pulled("asset_id", ti_key)
        return asset_page(asset_id) if asset_id else ""


def page_path(ti: Any) -> str:
    """Return where a task instance's page is inside Airflow, without the host; empty where pages are switched off.

    :param ti: The task instance, or its key.
    """
    base = _base_of_pages()
    if base is None:
        return ""
    dag_id, run_id, task_id = (quote(part, safe="") for part in (ti.dag_id, ti.run_id, ti.task_id))
    mapped = f"/mapped/{ti.map_index}" if ti.map_index is not None and ti.map_index >= 0 else ""
    return f"{base}/dags/{dag_id}/runs/{run_id}/tasks/{task_id}{mapped}/plugin/scenario"


def watch_markdown(task_id: str) -> str:
    """Return a template that shows a task's video in Markdown, such as an ``ApprovalOperator``'s ``body``.

    It is a small picture, where Scenario has one, and a link to the task's page. Both are behind Airflow's own login,
    and hold no address of the file. Empty where pages are switched off.

    :param task_id: The task that made it, of the same DAG run and not mapped.
    """
    base = _base_of_pages()
    if base is None:
        return ""
    run = "{{ dag.dag_id }}/runs/{{ run_id | urlencode }}/tasks/" + quote(task_id, safe="")
    page = f"{base}/dags/{run}/plugin/scenario"
    return f"[![Watch it]({base}/scenario/dags/{run}/-1/poster)]({page})\n\n[Watch it]({page})"


def _base_of_pages() -> str | None:
    """Return the path that Airflow is mounted at; ``None`` where pages are switched off."""
    from airflow.providers.common.compat.sdk import conf

    if not conf.getboolean("scenario", "pages", fallback=True):
        return None
    return str(urlsplit(conf.get("api", "base_url", fallback="/")).path).rstrip("/")


def show_page(
    context: Mapping[str, Any] | Context,
    scenario_conn_id: str,
    project_id: str | None,
    job_ids: Sequence[str] = (),
    max_total_cost: str | None = None,
) -> None:
    """Push what the page of a task that buys nothing needs, as one small XCom.

    :param context: Airflow's task context.
    :param scenario_conn_id: The connection it looks with.
    :param project_id: The project it asserts.
    :param job_ids: The jobs whose files it shows.
    :param max_total_cost: The limit of what the run may cost, in creative units as decimal text, if it has one.
    """
    project_id = name_or_none(project_id)
    shown = {"scenario_conn_id": scenario_conn_id, "project_id": project_id, "job_ids": list(job_ids)}
    if max_total_cost is not None:
        shown["max_total_cost"] = max_total_cost
    context["ti"].xcom_push(key=PAGE_KEY, value=shown)


@contextlib.contextmanager
def showing_errors(context: Mapping[str, Any] | Context) -> Iterator[None]:
    """Push an error of ours as an XCom for the task's page, and raise it again.

    :param context: Airflow's task context.
    """
    try:
        yield
    except ScenarioError as error:
        with contextlib.suppress(Exception):  # Whatever Airflow says to it, the error itself must come through.
            context["ti"].xcom_push(key=ERROR_KEY, value={"message": str(error)})
        raise


def _pulled(key: str, ti_key: TaskInstanceKey) -> Any:
    from airflow.sdk.execution_time.xcom import XCom

    return XCom.get_value(ti_key=ti_key, key=key)

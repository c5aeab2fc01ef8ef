"""Links from a task to its job and its output in Scenario's web app."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperatorLink

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey


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


def _pulled(key: str, ti_key: TaskInstanceKey) -> Any:
    from airflow.sdk.execution_time.xcom import XCom

    return XCom.get_value(ti_key=ti_key, key=key)

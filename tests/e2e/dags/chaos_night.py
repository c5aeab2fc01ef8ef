"""The DAGs of a night on which everything goes wrong: buy one video and save it, in both ways of waiting."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import DAG
from sudden_death import Crashes, arm_download, arm_purchase, returned

from airflow_provider_scenario.operators.generate import ScenarioGenerateOperator
from airflow_provider_scenario.transfers.scenario_to_object_storage import ScenarioToObjectStorageOperator

if TYPE_CHECKING:
    from airflow.sdk import Context


def crashes_of(context: Context) -> Crashes:
    """The crashes that the run has ordered for a task."""
    params, name = context["params"], context["ti"].task_id
    return Crashes(params["crashes"].get(name, ()), f"{params['crash_folder']}/{name}")


class MortalGenerateOperator(ScenarioGenerateOperator):
    """Buys, and dies where the run says."""

    def execute(self, context: Context) -> dict[str, Any]:
        crashes = crashes_of(context)
        arm_purchase(crashes)
        made = super().execute(context)
        returned(crashes)
        return made

    def execute_complete(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        crashes = crashes_of(context)
        arm_purchase(crashes)
        crashes.at("resumed")
        made = super().execute_complete(context, event)
        returned(crashes)
        return made


class MortalSaveOperator(ScenarioToObjectStorageOperator):
    """Saves, and dies where the run says."""

    def execute(self, context: Context) -> list[dict[str, Any]]:
        arm_download(crashes_of(context))
        return super().execute(context)


for mode in ("deferrable", "blocking"):
    with DAG(
        f"chaos_{mode}",
        schedule=None,
        max_active_runs=200,
        max_active_tasks=200,
        default_args={"retries": 12, "retry_delay": timedelta(seconds=1)},
        params={"crashes": {}, "crash_folder": "", "model_id": "", "prompt": "", "destination": ""},
    ):
        bought = MortalGenerateOperator(
            task_id="buy",
            model_id="{{ params.model_id }}",
            inputs={"prompt": "{{ params.prompt }}"},
            scenario_conn_id="scenario_chaos",
            deferrable=mode == "deferrable",
            poll_interval=1,
            timeout=600,
        )
        MortalSaveOperator(
            task_id="save",
            asset_ids=bought.output["asset_ids"],
            destination="{{ params.destination }}",
            scenario_conn_id="scenario_chaos",
        )

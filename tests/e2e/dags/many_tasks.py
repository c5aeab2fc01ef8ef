"""DAGs of many mapped tasks that ask for the same thing: some crash, others share two slots."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import DAG
from sizes import CRASHING, QUEUEING
from sudden_death import PURCHASE_POINTS, Crashes, arm_purchase, returned

from airflow_provider_scenario.operators.generate import ScenarioGenerateOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

POINTS = [point for point in PURCHASE_POINTS if point != "polling"]
"""A task that waits in the triggerer polls nothing itself."""

MODEL = "model_wan-2-1-1-3b"
INPUTS = {"prompt": "A lighthouse in the fog", "frameNum": 17}


class CrashingOnceOperator(ScenarioGenerateOperator):
    """Buys, and its worker dies once, at the point it is given.

    :param crash: The point, one of `POINTS`.
    """

    def __init__(self, *, crash: str, **rest: Any) -> None:
        super().__init__(**rest)
        self.crash = crash

    def execute(self, context: Context) -> dict[str, Any]:
        crashes = self._crashes(context)
        arm_purchase(crashes)
        made = super().execute(context)
        returned(crashes)
        return made

    def execute_complete(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        crashes = self._crashes(context)
        arm_purchase(crashes)
        crashes.at("resumed")
        made = super().execute_complete(context, event)
        returned(crashes)
        return made

    def _crashes(self, context: Context) -> Crashes:
        return Crashes([self.crash], f"{context['params']['crash_folder']}/{context['ti'].map_index}")


with DAG(
    "many_crashes",
    schedule=None,
    max_active_tasks=100,
    # One crash, and what Airflow's scheduler may end by itself on a busy machine.
    default_args={"retries": 4, "retry_delay": timedelta(seconds=1)},
    params={"crash_folder": "", "connection": "scenario_default"},
):
    CrashingOnceOperator.partial(
        task_id="buy",
        model_id=MODEL,
        inputs=INPUTS,
        scenario_conn_id="{{ params.connection }}",
        deferrable=True,
        poll_interval=1,
    ).expand(crash=[POINTS[number % len(POINTS)] for number in range(CRASHING)])

with DAG(
    "many_in_a_queue",
    schedule=None,
    max_active_tasks=100,
    default_args={"retries": 3},
    params={"connection": "scenario_default"},
):
    ScenarioGenerateOperator.partial(
        task_id="buy",
        model_id=MODEL,
        scenario_conn_id="{{ params.connection }}",
        wait_for_completion=False,
        deferrable=True,
    ).expand(inputs=[INPUTS] * QUEUEING)

"""A night's batch within a budget: price all of it, stop above the limit, generate, save, report what was spent.

Each video is saved as soon as it is made, even if Scenario refuses another one's prompt.
"""

from __future__ import annotations

import datetime
import logging
import os
from typing import Any

from airflow.sdk import DAG, Param, task, task_group

from airflow_provider_scenario.operators.estimate import ScenarioEstimateCostOperator
from airflow_provider_scenario.operators.generate import ScenarioGenerateOperator
from airflow_provider_scenario.run_cost import get_run_cost
from airflow_provider_scenario.transfers.scenario_to_object_storage import ScenarioToObjectStorageOperator

MODEL = "model_wan-2-1-1-3b"

PROMPT = "{{ params.prompts[ti.map_index] }}"
"""The name of a mapped instance. It does not use ``task``, which Airflow 3.1.0 may not have filled yet."""

ROOT = os.environ.get("SCENARIO_VIDEOS", "file:///var/lib/videos")
"""Nothing is saved outside of it, whatever is entered."""

with DAG(
    "night_within_budget",
    description="A night's batch of videos within a budget",
    schedule=None,
    tags=["scenario"],
    params={
        "prompts": Param(
            ["A fox in the snow", "A kite over the sea", "Rain on a tin roof"],
            type="array",
            title="Prompts",
            description="One a line: each becomes a video",
        ),
        "max_total_cost": Param(
            "60", type="string", title="Budget", description="Creative units that the whole night may cost"
        ),
        "destination": Param(
            "output", type="string", title="Destination", description="The folder to save to, below ROOT"
        ),
    },
    default_args={"retries": 2, "retry_delay": datetime.timedelta(minutes=1)},
    doc_md=__doc__,
) as dag:

    @task
    def scenes(params: dict[str, Any]) -> list[dict[str, Any]]:
        return [{"prompt": prompt, "frameNum": 33} for prompt in params["prompts"]]

    estimate = ScenarioEstimateCostOperator(
        task_id="estimate", model_id=MODEL, inputs=scenes(), max_total_cost="{{ params.max_total_cost }}"
    )

    @task_group(prefix_group_id=False)
    def video(inputs: dict[str, Any], max_cost: str) -> None:
        generate = ScenarioGenerateOperator(
            task_id="generate",
            model_id=MODEL,
            inputs=inputs,
            max_cost=max_cost,
            deferrable=True,
            map_index_template=PROMPT,
        )
        ScenarioToObjectStorageOperator(
            task_id="save",
            asset_ids=generate.output["asset_ids"],
            destination="{{ params.destination }}/{{ run_id }}",
            root=ROOT,
            map_index_template=PROMPT,
        )

    # Each one may cost what it was priced at, and no more.
    video.expand_kwargs(estimate.output.map(lambda priced: {"inputs": priced["inputs"], "max_cost": priced["cost"]}))

    @task(trigger_rule="all_done")
    def report() -> dict[str, Any]:
        spending = get_run_cost()
        logging.getLogger(__name__).info("This night: %s.", spending)
        return spending.to_json()

    # Not after the whole group: a video that was not saved still makes the run a failed one.
    dag.get_task("generate") >> report()

"""A person sees the price and says yes before anything is paid; a no leaves the video unmade and nothing charged."""

from __future__ import annotations

import datetime
import os

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import DAG, Param

from airflow_provider_scenario.operators.estimate import ScenarioEstimateCostOperator
from airflow_provider_scenario.operators.generate import ScenarioGenerateOperator
from airflow_provider_scenario.transfers.scenario_to_object_storage import ScenarioToObjectStorageOperator

MODEL = "model_wan-2-1-1-3b"
INPUTS = {"prompt": "{{ params.prompt }}", "frameNum": 33}
PRICE = "{{ ti.xcom_pull(task_ids='estimate', key='total') }}"

ROOT = os.environ.get("SCENARIO_VIDEOS", "file:///var/lib/videos")
"""Nothing is saved outside of it, whatever is entered."""

with DAG(
    "approve_before_paying",
    description="A person sees the price and says yes before anything is paid",
    schedule=None,
    tags=["scenario"],
    params={
        "prompt": Param(
            "A paper boat sails down a rainy street",
            type="string",
            title="Prompt",
            description="What the video shall show",
        ),
        "destination": Param(
            "output", type="string", title="Destination", description="The folder to save to, below ROOT"
        ),
    },
    default_args={"retries": 2, "retry_delay": datetime.timedelta(minutes=1)},
    doc_md=__doc__,
):
    estimate = ScenarioEstimateCostOperator(task_id="estimate", model_id=MODEL, inputs=INPUTS)

    approve = ApprovalOperator(
        task_id="approve",
        subject=f"Pay {PRICE} creative units for this video?",
        body=f"**{MODEL}** shall make:\n\n> {{{{ params.prompt }}}}",
    )

    # Nothing above the price that was approved is paid, should it have risen since.
    generate = ScenarioGenerateOperator(
        task_id="generate", model_id=MODEL, inputs=INPUTS, max_cost=PRICE, deferrable=True
    )

    save = ScenarioToObjectStorageOperator(
        task_id="save",
        asset_ids=generate.output["asset_ids"],
        destination="{{ params.destination }}/{{ run_id }}",
        root=ROOT,
    )

    estimate >> approve >> generate >> save

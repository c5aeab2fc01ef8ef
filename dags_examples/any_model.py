"""Any other model of Scenario's by its id, with its inputs by the API's names."""

from __future__ import annotations

import datetime
import os

from airflow.sdk import DAG, Param

from airflow_provider_scenario.operators.generate import ScenarioGenerateOperator
from airflow_provider_scenario.transfers.scenario_to_object_storage import ScenarioToObjectStorageOperator

ROOT = os.environ.get("SCENARIO_VIDEOS", "file:///var/lib/videos")
"""Nothing is saved outside of it, whatever is entered."""

with DAG(
    "any_model",
    description="Run any of Scenario's models by its id",
    schedule=None,
    tags=["scenario"],
    params={
        "model_id": Param(
            "model_wan-2-2-t2v",
            type="string",
            title="Model",
            description="Its id, as Scenario's web app shows it in the address of the model's page",
        ),
        "inputs": Param(
            {"prompt": "A lighthouse in a storm", "resolution": "480p"},
            type="object",
            title="Inputs",
            description="The model's inputs, by the API's names",
        ),
        "destination": Param(
            "output", type="string", title="Destination", description="The folder to save to, below ROOT"
        ),
    },
    default_args={"retries": 2, "retry_delay": datetime.timedelta(minutes=1)},
    render_template_as_native_obj=True,
    doc_md=__doc__,
):
    generate = ScenarioGenerateOperator(
        task_id="generate", model_id="{{ params.model_id }}", inputs="{{ params.inputs }}", deferrable=True
    )

    ScenarioToObjectStorageOperator(
        task_id="save",
        asset_ids=generate.output["asset_ids"],
        destination="{{ params.destination }}/{{ run_id }}",
        root=ROOT,
    )

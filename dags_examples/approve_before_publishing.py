"""A person watches the video inside Airflow and says yes before it is published; a no leaves it unpublished."""

from __future__ import annotations

import datetime
import os

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import DAG, Param

from airflow_provider_scenario.links import watch_markdown
from airflow_provider_scenario.operators.wan import ScenarioWan21TextToVideoOperator
from airflow_provider_scenario.transfers.scenario_to_object_storage import ScenarioToObjectStorageOperator

ROOT = os.environ.get("SCENARIO_VIDEOS", "file:///var/lib/videos")
"""Nothing is saved outside of it, whatever is entered."""

with DAG(
    "approve_before_publishing",
    description="A person watches the video and says yes before it is published",
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
            "public", type="string", title="Destination", description="The folder to save to, below ROOT"
        ),
    },
    default_args={"retries": 2, "retry_delay": datetime.timedelta(minutes=1)},
    doc_md=__doc__,
):
    generate = ScenarioWan21TextToVideoOperator(
        task_id="generate", prompt="{{ params.prompt }}", frame_num=33, deferrable=True
    )

    approve = ApprovalOperator(
        task_id="approve",
        subject="Publish this video?",
        # A picture and a link to the task's page. The address of the file itself needs no sign-in and works for days:
        # it belongs into no question, log or XCom.
        body=watch_markdown("generate") + "\n\n> {{ params.prompt }}",
    )

    publish = ScenarioToObjectStorageOperator(
        task_id="publish",
        asset_ids=generate.output["asset_ids"],
        destination="{{ params.destination }}/{{ run_id }}",
        root=ROOT,
    )

    generate >> approve >> publish

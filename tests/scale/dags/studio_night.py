"""A studio's night: widen each clip of a bucket, bring it into three shapes, save them, and report what was spent."""

from __future__ import annotations

import datetime
import os
from decimal import Decimal
from typing import Any

from airflow.sdk import DAG, ObjectStoragePath, Param, task, task_group

from airflow_provider_scenario.operators.wan import ScenarioWan22OutpaintingOperator, ScenarioWan22ReframeOperator
from airflow_provider_scenario.run_cost import get_run_cost
from airflow_provider_scenario.transfers.scenario_to_object_storage import ScenarioToObjectStorageOperator

BUCKET = os.environ["STUDIO_BUCKET"]
SHAPES = {"tv": "16:9", "square": "1:1", "phone": "9:16"}

with DAG(
    "studio_night",
    schedule=None,
    max_active_tasks=64,
    description="Two hundred clips, three shapes each, by any number of workers",
    params={"budget": Param("100000", type="string", description="Creative units that the night may cost")},
    default_args={
        "retries": int(os.environ.get("STUDIO_RETRIES", "3")),
        "retry_delay": datetime.timedelta(seconds=25),
        "deferrable": True,
        "poll_interval": 10,
    },
):

    @task
    def clips(params: dict[str, Any]) -> list[dict[str, str]]:
        """List the bucket, and give each job its share of the budget."""
        found = sorted(str(one) for one in ObjectStoragePath(f"{BUCKET}/new").glob("*.mp4"))
        share = Decimal(params["budget"]) / (max(1, len(found)) * (1 + len(SHAPES)))
        return [{"video": one, "max_cost": f"{share:f}"} for one in found]

    @task_group
    def clip(video: str, max_cost: str) -> None:
        wide = ScenarioWan22OutpaintingOperator(
            task_id="widen", video=video, prompt="The same scene, seen from further away", max_cost=max_cost
        )
        made = [
            ScenarioWan22ReframeOperator(
                task_id=name, video=wide.output["asset_id"], aspect_ratio=shape, max_cost=max_cost
            )
            for name, shape in SHAPES.items()
        ]
        ScenarioToObjectStorageOperator(
            task_id="save",
            asset_ids=[job.output["asset_id"] for job in made],
            destination=f"{BUCKET}/saved/{{{{ ti.map_index }}}}",
            root=f"{BUCKET}/saved",
        )

    @task(trigger_rule="all_done")
    def report() -> dict[str, Any]:
        return get_run_cost().to_json()

    clip.expand_kwargs(clips()) >> report()

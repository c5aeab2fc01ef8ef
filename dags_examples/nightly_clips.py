"""Every night: widen each new clip, bring it into three shapes, save all, and write a page that shows them.

New are the clips that came into the folder CLIPS on the day before. What is made of them is saved under the night's
date, beside a page with all videos and what they cost. A night never costs more than ``budget``. A night that is
repeated buys nothing again; nights gone by can be made up for with ``airflow backfill create``.
"""

from __future__ import annotations

import datetime
import html
import json
import logging
import os
from decimal import Decimal
from typing import Any
from urllib.parse import quote, unquote

from airflow.providers.common.compat.sdk import AirflowSkipException
from airflow.sdk import DAG, ObjectStoragePath, Param, task, task_group, teardown

from airflow_provider_scenario.files.storage import folder_at
from airflow_provider_scenario.operators.wan import ScenarioWan22OutpaintingOperator, ScenarioWan22ReframeOperator
from airflow_provider_scenario.run_cost import get_run_cost
from airflow_provider_scenario.transfers.scenario_to_object_storage import ScenarioToObjectStorageOperator

ROOT = os.environ.get("SCENARIO_VIDEOS", "file:///var/lib/videos")
"""Any storage: ``s3://aws_default@bucket/videos`` too."""

CLIPS = f"{ROOT}/new"
SAVED = f"{ROOT}/nightly"
SHAPES = {"tv": "16:9", "square": "1:1", "phone": "9:16"}

with DAG(
    "nightly_clips",
    description="Every night: bring new clips into three shapes, within a budget",
    schedule="@daily",
    start_date=datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC),
    catchup=False,
    max_active_runs=1,
    tags=["scenario"],
    params={
        "prompt": Param(
            "The same scene, seen from further away",
            type="string",
            title="Prompt",
            description="What the widened frame shall show",
        ),
        "resolution": Param(
            "720p",
            type="string",
            enum=["720p", "580p", "480p"],
            title="Resolution",
            description="More pixels cost more",
        ),
        "budget": Param("1500", type="string", title="Budget", description="Creative units that a night may cost"),
    },
    default_args={
        "retries": 2,
        "retry_delay": datetime.timedelta(minutes=1),
        "deferrable": True,
        "on_clear": "reuse",  # a night that is cleared goes on with what it has bought
    },
    doc_md=__doc__,
) as dag:

    @task
    def new_clips(ds: str, data_interval_end: Any, params: dict[str, Any]) -> list[dict[str, str]]:
        """Find the clips of the day before, oldest first: each keeps its map index when the run is cleared."""
        midnight = data_interval_end.start_of("day")
        day = (midnight.subtract(days=1).timestamp(), midnight.timestamp())
        found = [one for one in ObjectStoragePath(CLIPS).glob("*") if one.suffix.lower() in (".mp4", ".mov")]
        came = sorted((one.stat().st_mtime, str(one)) for one in found)
        clips = [video for at, video in came if day[0] <= at < day[1]]
        log = logging.getLogger("airflow.task")
        log.info("%d of %d clips in %s came on %s.", len(clips), len(came), CLIPS, midnight.subtract(days=1).date())
        # Every job may cost its share: one to widen each clip, and one for each shape.
        share = Decimal(params["budget"]) / (max(1, len(clips)) * (1 + len(SHAPES)))
        return [
            {"video": video, "folder": f"{SAVED}/{ds}/{quote(video.rpartition('/')[2])}", "max_cost": f"{share:f}"}
            for video in clips
        ]

    @task
    def unless_saved(video: str, folder: str) -> str:
        """Skip a clip if another run has saved all of it already."""
        if all((ObjectStoragePath(folder) / f"{name}.json").exists() for name in ("wide", *SHAPES)):
            raise AirflowSkipException(f"All of {video} is in {folder}.")
        return video

    @task_group
    def clip(video: str, folder: str, max_cost: str) -> None:
        wide = ScenarioWan22OutpaintingOperator(
            task_id="widen",
            video=unless_saved(video, folder),
            prompt="{{ params.prompt }}",
            resolution="{{ params.resolution }}",
            expand_top=False,
            expand_bottom=False,
            keep_length=True,
            max_cost=max_cost,
        )
        made = {"wide": wide}
        for name, shape in SHAPES.items():
            made[name] = ScenarioWan22ReframeOperator(
                task_id=name,
                video=wide.output["asset_id"],
                aspect_ratio=shape,
                resolution="{{ params.resolution }}",
                keep_length=True,
                max_cost=max_cost,
            )
        for name, job in made.items():
            ScenarioToObjectStorageOperator(
                task_id=f"save_{name}",
                asset_ids=job.output["asset_ids"],
                destination=folder,
                root=ROOT,
                manifest=f"{name}.json",
            )

    # As a teardown it also runs after a clip that failed, and does not hide that from the run's state.
    @teardown
    def write_page(ds: str) -> str | None:
        """Show all that is saved of this night, whichever run saved it."""
        night = ObjectStoragePath(f"{SAVED}/{ds}")
        manifests = [json.loads(one.read_text()) for one in sorted(night.glob("*/*.json"), key=str)]
        if not manifests:
            return None
        page = page_of(ds, manifests, f"This run: {get_run_cost()}.").encode()
        folder_at(night).store("index.html", lambda file: file.write(page), "text/html")
        return str(night / "index.html")

    clip.expand_kwargs(new_clips()) >> write_page()


def page_of(ds: str, manifests: list[dict[str, Any]], spent: str) -> str:
    costs = [Decimal(job["cost"] or 0) for one in manifests for job in one["jobs"]]
    videos = "".join(video_of(file) for one in manifests for file in one["files"])
    total = f"{len(costs)} videos, {sum(costs)} creative units. {html.escape(spent)}"
    return f"<!doctype html><meta charset=utf-8><title>{ds}</title><h1>{ds}</h1><p>{total}</p>{videos}"


def video_of(file: dict[str, Any]) -> str:
    folder, name = file["uri"].split("/")[-2:]
    facts = f"{unquote(folder)}: {file['width']} x {file['height']}, {file['duration']} s"
    return f'<video controls src="{quote(folder)}/{quote(name)}"></video><p>{html.escape(facts)}</p>'

"""A web page beside each new video once it is saved: scheduled on the Airflow asset that `text_to_video` updates.

What was saved is the `extra` of the asset's event; where it comes from is in the manifest that `extra` leads to.
"""

from __future__ import annotations

import datetime
import html
import json
from typing import Any

from airflow.sdk import DAG, Asset, ObjectStoragePath, task

VIDEOS = Asset("scenario_videos")

with DAG(
    "page_for_new_videos",
    schedule=[VIDEOS],
    tags=["scenario"],
    default_args={"retries": 2, "retry_delay": datetime.timedelta(minutes=1)},
    doc_md=__doc__,
) as dag:

    @task
    def write_page(triggering_asset_events: Any) -> list[str]:
        """Write a page for what each event tells of."""
        pages = []
        for event in triggering_asset_events[VIDEOS]:
            manifest = ObjectStoragePath(event.extra["manifest"])
            page = manifest.parent / f"{event.extra['job_id']}.html"
            page.write_text(page_of(json.loads(manifest.read_text())))
            pages.append(str(page))
        return pages

    write_page()


def page_of(manifest: dict[str, Any]) -> str:
    jobs = {job["job_id"]: job for job in manifest["jobs"]}
    figures = []
    for file in manifest["files"]:
        job = jobs[file["job_id"]]
        name, prompt = (html.escape(text) for text in (file["uri"].rpartition("/")[2], job["inputs"]["prompt"]))
        facts = f"{job['model_id']}, seed {job['seed']}, {job['cost']} creative units, {file['duration']} s"
        figures.append(f'<video controls src="{name}"></video><p>{prompt}</p><p>{facts}</p>')
    return "<!doctype html><meta charset=utf-8>" + "".join(figures)

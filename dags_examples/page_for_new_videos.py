"""A web page beside each new video once it is saved: scheduled on the Airflow asset that `text_to_video` updates.

What was saved, and where it comes from, is the `extra` of the asset's event.
"""

from __future__ import annotations

import datetime
import html
from typing import Any

from airflow.sdk import DAG, Asset, ObjectStoragePath, task

from airflow_provider_scenario.files.storage import folder_at

VIDEOS = Asset("scenario_videos", group="scenario")

with DAG(
    "page_for_new_videos",
    description="Write a web page for each new video",
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
            folder, name = ObjectStoragePath(event.extra["uri"]).parent, f"{event.extra['job_id']}.html"
            page = page_of(event.extra).encode()
            folder_at(folder).store(name, lambda file, page=page: file.write(page), "text/html")
            pages.append(str(folder / name))
        return pages

    write_page()


def page_of(video: dict[str, Any]) -> str:
    name, prompt = (html.escape(text) for text in (video["uri"].rpartition("/")[2], video["inputs"]["prompt"]))
    facts = f"{video['model_id']}, seed {video['seed']}, {video['cost']} creative units, {video['duration']} s"
    return f'<!doctype html><meta charset=utf-8><video controls src="{name}"></video><p>{prompt}</p><p>{facts}</p>'

"""The example that runs every night: three days made up for, then one of them again: cleared, and once more by hand."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_scenario.sandbox.clip import draw_clip, probe

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.airflow_server import AirflowServer
    from tests.e2e.shared_runs import Begun, Place

pytestmark = pytest.mark.e2e

DAG_ID = "nightly_clips"
PROMPT = "The same night, seen from further away"
RUN_SECONDS = 240.0
SHAPES = {"square": 1.0, "phone": 9 / 16, "tv": 16 / 9}

CLIPS: dict[str, dict[str, Any]] = {
    "beach {1}.mp4": {"seconds": 1.0, "width": 640, "height": 360},
    "from a phone.mp4": {
        "seconds": 1.5,
        "width": 360,
        "height": 640,
        "frames_per_second": 30,
        "is_from_a_phone": True,
        "seed": 2,
    },
    "square.MOV": {"seconds": 0.75, "width": 480, "height": 480, "frames_per_second": 24, "seed": 3},
}
CAME = {"beach {1}.mp4": 4, "from a phone.mp4": 4, "square.MOV": 3}
"""How many days ago; nothing came two days ago."""


@dataclass
class Nights:
    """What three nights and the repetition of the first have left."""

    airflow: AirflowServer
    folder: Path
    dates: list[str]
    run_ids: list[str]
    repeated: list[str]
    bought: list[dict[str, Any]]
    bought_at_the_end: list[dict[str, Any]]


def begin(place: Place) -> Nights:
    """Make up for three nights, then repeat the first."""
    airflow, root = place.airflow, place.folder.parent
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    (root / "new").mkdir()
    for name, what in CLIPS.items():
        clip = draw_clip(root / "new" / f"{name}.mp4", **what).rename(root / "new" / name)
        came = (today - timedelta(days=CAME[name]) + timedelta(hours=8)).timestamp()
        os.utime(clip, (came, came))
    airflow.wait_for_dag(DAG_ID)
    nights = [today - timedelta(days=days) for days in (3, 2, 1)]
    conf = {"prompt": PROMPT, "resolution": "480p"}
    order = {"dag_id": DAG_ID, "from_date": nights[0].isoformat(), "to_date": nights[-1].isoformat()}
    airflow.api("POST", "backfills", {**order, "dag_run_conf": conf, "max_active_runs": 3})
    run_ids = _runs_of_backfill(airflow, len(nights))
    for run_id in run_ids:
        airflow.wait_for_run(DAG_ID, run_id, timeout=RUN_SECONDS)
    bought = _bought(place)
    airflow.clear(DAG_ID, run_ids[0])
    noon = {"logical_date": (nights[0] + timedelta(hours=12)).isoformat(), "conf": conf}
    by_hand = airflow.api("POST", f"dags/{DAG_ID}/dagRuns", noon)["dag_run_id"]
    repeated = [run_ids[0], by_hand]
    for run_id in repeated:
        airflow.wait_for_run(DAG_ID, run_id, timeout=RUN_SECONDS)
    dates = [night.date().isoformat() for night in nights]
    return Nights(airflow, root / "nightly", dates, run_ids, repeated, bought, _bought(place))


def _runs_of_backfill(airflow: AirflowServer, count: int) -> list[str]:
    """Give the ids of the runs that a backfill has made, the first night first."""
    deadline = time.monotonic() + RUN_SECONDS
    while True:
        runs = airflow.api("GET", f"dags/{DAG_ID}/dagRuns", run_type="backfill", order_by="logical_date")["dag_runs"]
        if len(runs) == count:
            return [run["dag_run_id"] for run in runs]
        assert time.monotonic() < deadline, runs
        time.sleep(0.5)


def _bought(place: Place) -> list[dict[str, Any]]:
    """Give what was paid for these nights, and nothing of what goes on beside them."""
    entries = place.sandbox.ledger()["entries"]
    wide = [entry for entry in entries if entry["inputs"].get("prompt") == PROMPT]
    made = {
        place.airflow.xcom(DAG_ID, run["dag_run_id"], "clip.widen", "asset_id", map_index=place_of_clip)
        for run in place.airflow.api("GET", f"dags/{DAG_ID}/dagRuns")["dag_runs"]
        for place_of_clip in range(2)
    }
    return wide + [entry for entry in entries if entry["inputs"].get("videoUrl") in made - {None}]


@pytest.fixture(scope="module")
def nights(begun: Begun) -> Nights:
    done: Nights = begun[__name__].result()
    return done


def test_each_clip_is_saved_wide_and_in_every_shape_at_its_whole_length(nights: Nights) -> None:
    for run_id in nights.run_ids:
        assert nights.airflow.run(DAG_ID, run_id)["state"] == "success"
    for folder, name in zip(sorted(nights.folder.glob("*/*/")), CLIPS, strict=True):
        assert folder.parent.name == nights.dates[4 - CAME[name]]
        seconds = CLIPS[name]["seconds"]
        facts = sorted(map(probe, folder.glob("*.mp4")), key=lambda one: (one.width or 0) / (one.height or 1))
        assert [one.duration for one in facts] == [pytest.approx(seconds, abs=0.1)] * 4
        shapes = [(one.width or 0) / (one.height or 1) for one in facts]
        for shape in SHAPES.values():
            assert any(one == pytest.approx(shape, rel=0.02) for one in shapes), (name, shapes)
        shown = CLIPS[name]["width"] / CLIPS[name]["height"]
        assert any(one > shown * 1.05 for one in shapes), "wider than the clip as it is shown"


def test_a_page_shows_every_video_of_the_night_and_what_was_spent(nights: Nights) -> None:
    charged = {entry["jobId"]: Decimal(str(entry["charged"])) for entry in nights.bought}
    assert len(charged) == 4 * len(CLIPS)
    total = Decimal(0)
    for night, clips in zip(nights.dates[:2], (2, 1), strict=True):
        page = (nights.folder / night / "index.html").read_text()
        assert page.count("<video") == 4 * clips
        spent = Decimal(page.partition(" videos, ")[2].partition(" creative units")[0])
        total += spent
        assert spent <= 200
    assert total == sum(charged.values())
    assert not (nights.folder / nights.dates[2]).exists(), "nothing came, so there is nothing to show"


def test_a_night_that_is_repeated_buys_nothing(nights: Nights) -> None:
    for run_id in nights.repeated:
        ends = {one["task_id"]: one["state"] for one in nights.airflow.task_instances(DAG_ID, run_id)}
        assert ends.pop("new_clips") == ends.pop("write_page") == "success"
        assert set(ends.values()) == {"skipped"}
    assert [entry["jobId"] for entry in nights.bought_at_the_end] == [entry["jobId"] for entry in nights.bought]

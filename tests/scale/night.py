"""One night of a studio on Celery: is every file there, was each job paid once, and what waited where?

`make scale CLIPS=200` is the calm night. TROUBLE is what goes wrong meanwhile: a name of
:data:`~tests.scale.trouble.TROUBLES`, `mixed` for four of them in one night, or `each` for a night of every one. SEED
draws when, and NIGHTS=5 takes five seeds. Scenario's ledger, the bucket and the manifests are the judges.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import sys
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from decimal import Decimal

import psycopg2
import requests

from airflow_provider_scenario.api import calls
from airflow_provider_scenario.api.client import ScenarioClient
from airflow_provider_scenario.api.config import ClientConfig
from airflow_provider_scenario.polling import POLL_INTERVAL
from tests.scale.set_up import Studio
from tests.scale.trouble import TROUBLES, Trouble, drawn

DAG_ID = "studio_night"
SHAPES = 3
TRIGGERERS = 2
FINISHED = ("success", "failed")


@dataclass
class Night:
    """What came of a night."""

    seconds: float = 0.0
    states: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    waiting_for: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    list_requests: int = 0
    requests: int = 0
    wrong: list[str] = field(default_factory=list)
    by_hand: list[str] = field(default_factory=list)
    restarted: list[str] = field(default_factory=list)
    spent: Decimal = Decimal(0)
    tries: Counter[int] = field(default_factory=Counter)
    lost_tries: int = 0

    def __str__(self) -> str:
        instances, waits = (
            ", ".join(f"{name} {seconds:,.0f} s" for name, seconds in sorted(spent.items(), key=lambda one: -one[1]))
            for spent in (self.states, self.waiting_for)
        )
        lines = [
            f"time           {self.seconds:,.0f} s",
            f"spent          {self.spent} creative units, as the ledger has it",
            f"task instances {instances}",
            f"in triggerers  {waits}",
            f"at Scenario    {self.requests / self.seconds:.2f} requests a second, "
            f"{self.list_requests / self.seconds * 10:.2f} lists in ten seconds by two triggerers",
            f"tries          {', '.join(f'{count} of {number}' for number, count in sorted(self.tries.items()))}",
            f"lost tries     {self.lost_tries} at most that Airflow's scheduler ended by itself",
            f"restarted      {', '.join(self.restarted) or 'nothing'}",
            *(f"by hand        {what}" for what in self.by_hand),
            *(f"WRONG          {what}" for what in self.wrong),
        ]
        return "\n".join(lines)


def run_night(studio: Studio, troubles: list[Trouble], *, seconds: float) -> Night:
    """Run the night to its end, and judge it.

    :param troubles: What goes wrong meanwhile, in order.
    :param seconds: How long the night may take.
    """
    night, airflow, started = Night(), studio.airflow, time.monotonic()
    airflow.wait_for_dag(DAG_ID)
    run_id = airflow.trigger(DAG_ID)
    coming = list(troubles)
    looked = time.monotonic()
    while True:
        time.sleep(1.0)
        night.restarted += studio.tend()
        try:
            (state, instances), triggers = airflow.states(DAG_ID, run_id), airflow.waiting_triggers()
        except psycopg2.OperationalError:
            continue  # PostgreSQL restarts.
        now = time.monotonic()
        passed, looked = now - looked, now
        for name, count in instances.items():
            night.states[name] += count * passed
        for name, count in triggers.items():
            night.waiting_for[name] += count * passed
        if coming and instances["success"] >= coming[0].after * studio.clips * (2 + SHAPES):
            trouble = coming.pop(0)
            print(f"{now - started:5.0f} s  {trouble.name}", flush=True)
            trouble.happen(studio)
            looked = time.monotonic()
        if state in FINISHED:
            # The report runs at all events, so a run is a success whatever failed before it.
            if instances["failed"] and len(night.by_hand) < 3:
                night.by_hand.append(f"cleared what failed: {dict(instances)}")
                airflow.clear(DAG_ID, run_id, only_failed=True)
                continue
            break
        if now - started > seconds:
            night.wrong.append(f"after {seconds:.0f} s the run is {state}: {dict(instances)}")
            break
    night.seconds = time.monotonic() - started
    night.wrong += [f"{trouble.name} never happened" for trouble in coming]
    studio.tend(end=True)
    judge(studio, night, run_id, is_calm=not troubles)
    return night


def judge(studio: Studio, night: Night, run_id: str, *, is_calm: bool) -> None:
    """Compare what was asked for with the ledger, the bucket and the report."""
    ledger, asked = studio.scenario.ledger(), studio.clips * (1 + SHAPES)
    paid, charged = ledger["totals"]["jobs"], Decimal(str(ledger["totals"]["charged"]))
    night.spent = charged - Decimal(str(ledger["totals"]["refunded"]))
    if paid != asked:
        night.wrong.append(f"{asked} jobs were asked for, {paid} were paid")
    counts = studio.scenario.requests()["counts"]
    night.requests, night.list_requests = sum(counts.values()), counts.get("GET /v1/jobs", 0)
    right, objects = count_right_files(studio)
    if not right == objects == studio.clips * SHAPES:
        night.wrong.append(
            f"{right} of {studio.clips * SHAPES} files are as Scenario has them, of {objects} in the bucket"
        )
    night.tries = studio.airflow.tries(DAG_ID, run_id)
    if is_calm and night.list_requests > TRIGGERERS * (night.seconds / POLL_INTERVAL + 1):
        night.wrong.append(f"{night.list_requests} lists are more than one a tick and triggerer")
    # On a busy machine the scheduler may take a task that deferred for lost, and end its try: Airflow's own race.
    night.lost_tries = sum(studio.airflow.ended_by_scheduler(DAG_ID, run_id).values())
    if is_calm and sum((number - 1) * count for number, count in night.tries.items()) > night.lost_tries:
        night.wrong.append("a try failed, though nothing went wrong")
    reported = studio.airflow.xcom(DAG_ID, run_id, "report")
    if reported is None or Decimal(str(reported["spent"])) != night.spent:
        night.wrong.append(f"the report says {reported and reported['spent']}, the ledger {night.spent}")
    shown = studio.airflow.secrets_shown(DAG_ID, secret=studio.scenario.api_secret)
    night.wrong += [f"Airflow shows {name}" for name in shown]


def count_right_files(studio: Studio) -> tuple[int, int]:
    """Return how many files of the manifests are in the bucket as Scenario has them, and how many there are."""
    client, bucket, right, objects = studio.storage.client(), studio.storage.bucket, 0, 0
    scenario = studio.scenario
    config = ClientConfig(scenario.api_key, scenario.api_secret, scenario.base_url)
    with ScenarioClient(config) as api:
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix="saved/"):
            keys = [row["Key"] for row in page.get("Contents", ())]
            objects += sum(key.endswith(".mp4") for key in keys)
            for key in filter(lambda one: one.endswith(".json"), keys):
                for file in json.loads(client.get_object(Bucket=bucket, Key=key)["Body"].read())["files"]:
                    saved = client.get_object(Bucket=bucket, Key=file["uri"].partition(f"{bucket}/")[2])["Body"].read()
                    made = requests.get(str(api.send(calls.get_asset(file["asset_id"])).url), timeout=60).content
                    right += saved == made and hashlib.sha256(made).hexdigest() == file["sha256"]
    return right, objects


def main() -> int:
    """Run one night, or some; 1 if anything was wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=200)
    parser.add_argument("--job-seconds", type=float, default=4.0)
    parser.add_argument("--parallel-jobs", type=int, default=10)
    parser.add_argument("--trouble", default="none", choices=["none", "each", "mixed", *TROUBLES])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--nights", type=int, default=1, help="of each trouble, by as many seeds in a row")
    parser.add_argument("--minutes", type=float, default=60.0, help="how long a night may take")
    given = parser.parse_args()
    troubles = list(TROUBLES) if given.trouble == "each" else [given.trouble]
    nights = [(trouble, seed) for seed in range(given.seed, given.seed + given.nights) for trouble in troubles]
    wrong = 0
    for trouble, seed in nights:
        print(f"{given.clips} clips, trouble: {trouble}, seed {seed}", flush=True)
        with Studio(clips=given.clips, job_seconds=given.job_seconds, parallel_jobs=given.parallel_jobs) as studio:
            night = run_night(studio, drawn(trouble, random.Random(seed)), seconds=given.minutes * 60)
            if night.wrong:
                print(studio.logs()[-20_000:])
        print(f"{night}\n", flush=True)
        wrong += bool(night.wrong)
    print(f"{len(nights)} nights, {wrong} of them wrong")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())

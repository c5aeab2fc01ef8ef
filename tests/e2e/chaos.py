"""A hundred nights on which everything goes wrong: every generation asked for is paid once, and its file is saved.

`make chaos SEED=1 RUNS=100`, or `python -m tests.e2e.chaos --seed 1 --runs 100`. Each mix is drawn from a seed of its
own, the first from SEED, the next from SEED + 1 and so on: how the task waits, where its workers die, what happens to
its POSTs, which of its jobs fail, what a person does to it. Some of them run at once on one Airflow, on PostgreSQL,
whose triggerer and scheduler are killed meanwhile, against a sandbox whose list lags, whose clock is wrong, whose
reads fail in bursts. The sandbox's ledger is the judge.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

from airflow_provider_scenario.sandbox.server import SandboxServer
from tests.e2e.airflow_components import Imported
from tests.e2e.airflow_server import AirflowServer
from tests.e2e.airflow_settings import QUICK_TO_NOTICE_DEATH
from tests.e2e.chaos_mix import CLIENT_TIMEOUT, PARALLELISM, Mix
from tests.e2e.chaos_run import DAG_IDS, Batch, MixRun

DAGS = Path(__file__).with_name("dags")
BATCH = 150
CONNECTION = "scenario_chaos"


@dataclass
class Outcome:
    """What came of all mixes."""

    asked: int = 0
    paid: int = 0
    wrong: list[str] = field(default_factory=list)
    mixes: int = 0
    deaths: int = 0

    def take_in(self, run: MixRun) -> None:
        self.mixes += 1
        self.deaths += run.deaths
        self.asked += run.asked
        self.paid += len(run.paid)
        if run.faults_found:
            self.wrong.append(f"{run.mix.seed}: {'; '.join(run.faults_found)}")

    def __str__(self) -> str:
        return f"{self.mixes} mixes, {self.asked} generations asked, {self.paid} paid"


def run_chaos(
    airflow: AirflowServer, seed: int, runs: int, *, batch: int = BATCH, tell: Callable[[str], None] = print
) -> Outcome:
    """Run the mixes of the seeds from one on, some at once, and tell how each went.

    :param airflow: An Airflow whose parts may be killed, and which is `QUICK_TO_NOTICE_DEATH`.
    """
    outcome = Outcome()
    mixes = [Mix.drawn(each) for each in range(seed, seed + runs)]
    folder = tempfile.TemporaryDirectory(prefix="chaos-", ignore_cleanup_errors=True)  # A task may still save there.
    with folder as name, SandboxServer() as sandbox:
        extra = json.dumps({"request_timeout": CLIENT_TIMEOUT})
        airflow.api("POST", "connections", {**sandbox.connection(), "extra": extra, "connection_id": CONNECTION})
        for dag_id in DAG_IDS:
            airflow.wait_for_dag(dag_id)
        tell(f"{'seed':>5}  {'asked':>5} {'paid':>5} {'tries':>6}  {'result':8} mix")
        for first in range(0, runs, batch):
            started = time.monotonic()
            together = Batch(mixes[first : first + batch], airflow, sandbox, Path(name))
            tell(str(together.weather))
            for run in together.run():
                outcome.take_in(run)
                tell(row(run))
                if run.faults_found:
                    tell(run.log())
            first_seed = together.mixes[0].seed
            outcome.wrong += [f"{first_seed}: a trigger or an event shows {name}" for name in together.secrets_shown]
            tell(f"{first_seed} to {together.mixes[-1].seed}: {time.monotonic() - started:.0f} s")
        shown = airflow.secrets_shown(*DAG_IDS, secret=sandbox.api_secret)
        outcome.wrong += [f"{seed}: Airflow shows {name}" for name in shown]
        airflow.api("DELETE", f"connections/{CONNECTION}")
    return outcome


def row(run: MixRun) -> str:
    """The line of one mix, and below it what is wrong."""
    result = "wrong" if run.faults_found else "right"
    numbers = f"{run.mix.seed:>5}  {run.asked:>5} {len(run.paid):>5} {run.tries:>6}  {result:8} "
    lines = textwrap.wrap(str(run.mix), 110) + [f"! {each}" for each in run.faults_found]
    return numbers + f"\n{'':{len(numbers)}}".join(lines)


def on_one_machine() -> AirflowServer:
    """Return the Airflow on which it runs by default."""
    return AirflowServer(
        DAGS,
        database="postgresql",
        parallelism=PARALLELISM,
        imported=Imported.PROVIDER,
        environment=QUICK_TO_NOTICE_DEATH,
    )


def main(
    start: Callable[[], AbstractContextManager[AirflowServer]] = on_one_machine,
    batch: int = BATCH,
    command: str = "make chaos",
) -> int:
    """Run it from the command line; 1 if anything was wrong.

    :param start: Starts the Airflow on which it runs.
    :param batch: How many run at once by default.
    :param command: What starts it.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1, help="the first mix's seed (default 1)")
    parser.add_argument("--runs", type=int, default=100, help="how many mixes (default 100)")
    parser.add_argument("--batch", type=int, default=batch, help=f"how many run at once (default {batch})")
    given = parser.parse_args()
    with start() as airflow:
        outcome = run_chaos(
            airflow, given.seed, given.runs, batch=given.batch, tell=lambda text: print(text, flush=True)
        )
    print(f"{outcome.deaths} workers died where they were told to")
    print(outcome)
    for each in outcome.wrong:
        mix = int(each.partition(":")[0])
        first = mix - (mix - given.seed) % given.batch
        beside = min(given.batch, given.seed + given.runs - first)
        print(f"WRONG {each}\n  again, with all that ran beside it: {command} SEED={first} RUNS={beside}")
    return 1 if outcome.wrong or outcome.paid != outcome.asked else 0


if __name__ == "__main__":
    sys.exit(main())

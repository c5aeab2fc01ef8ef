"""What waiting costs: this provider's one poll, the http provider's deferrable sensor, and threads over scenario-sdk.

Each contender waits for the same N jobs of the sandbox; meanwhile a hundred of them end, one after the other. The
first two run in a real triggerer, with nothing else of Airflow but its database; ``airflow alone`` is a trigger that
asks nobody and fires when a job would have ended, so that Airflow's own share can be seen. Deferred tasks are put into
the database directly.

Measured for 45 seconds each: requests a second, CPU seconds a minute, memory per waiting job, and the time from a job's
end to the event in Airflow's database (for threads: to the moment they noticed). Needs the dependency group
``benchmark``, PostgreSQL, and about 30 minutes; results of other numbers of
jobs, such as of ``--numbers 100`` and ``--numbers 1000``, are put together.

Run it with: ``python benchmarks/polling.py [--numbers 100,1000,5000] [--seconds 45]``
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psutil

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "polling.json"
sys.path.insert(0, str(HERE.parent))

from airflow_provider_scenario.polling import POLL_INTERVAL  # noqa: E402
from airflow_provider_scenario.sandbox.server import SandboxServer  # noqa: E402
from benchmarks.polling_airflow import TriggererAlone  # noqa: E402
from benchmarks.polling_chart import draw  # noqa: E402

ENDINGS = 75
"""How many jobs end during a measurement, half of all at most."""

LONGEST_START = 120.0
"""Seconds that a contender may take to its first look at every job before the measurement begins all the same."""

ALONE_STARTS_WITHIN = {100: 45.0, 1000: 75.0}
"""Seconds, by number of jobs, after which triggers that ask nobody are all there for sure; 150 for more of them."""

LONGEST_WAIT = 30.0
"""Seconds after a measurement in which late events still count."""

TICK = POLL_INTERVAL

OURS, HTTP, THREADS, ALONE = "scenario", "http sensor", "sdk threads", "airflow alone"


@dataclass
class Result:
    """What one contender needed for N jobs.

    :param requests_a_second: Requests that reached the sandbox.
    :param cpu_seconds_a_minute: Of all processes of the contender: with a triggerer, also Airflow's own work on its
        database and with every event.
    :param trigger_cpu_seconds_a_minute: Of the one process among them that runs the triggers.
    :param megabytes: The memory of those processes that they share with no other.
    :param kilobytes_a_job: What each further job added to it, since the same contender's fewest jobs.
    :param p50: Median seconds from a job's end to its event; ``None`` if fewer than half were noticed in time.
    :param p95: The same for 95 of 100.
    :param noticed: How many of the jobs that ended were noticed before the measurement ended.
    :param start_seconds: How long it took until all waited.
    :param start_requests: Requests up to the beginning of the measurement: what a restart costs, and two ticks.
    """

    contender: str
    jobs: int
    requests_a_second: float
    cpu_seconds_a_minute: float
    trigger_cpu_seconds_a_minute: float
    megabytes: float
    kilobytes_a_job: float | None
    p50: float | None
    p95: float | None
    noticed: int
    ended: int
    start_seconds: float
    start_requests: int


@dataclass
class Run:
    """One measurement in progress."""

    sandbox: SandboxServer
    jobs: list[str]
    seconds: float
    ended: dict[int, float] = field(default_factory=dict)
    begins: float = 0.0

    def moments(self) -> dict[int, float]:
        """When which job ends, by its place: some of them, spread over the time and over the places."""
        number = min(ENDINGS, len(self.jobs) // 2)
        step = len(self.jobs) // number
        return {turn * step: self.begins + (turn + 0.5) * self.seconds / number for turn in range(number)}

    def end_jobs(self) -> None:
        """End the jobs at their moments."""
        for place, moment in self.moments().items():
            time.sleep(max(0.0, moment - time.time()))
            self.sandbox.control("POST", f"/jobs/{self.jobs[place]}", {"status": "failure"})
            self.ended[place] = time.time()

    def measure(
        self, contender: str, processes: list[psutil.Process], events: Callable[[], dict[int, float]]
    ) -> Result:
        """Measure for the time, and then wait a while for late events."""
        if contender == ALONE:
            time.sleep(max(0.0, self.begins - time.time()))
        else:
            self.begins = time.time()
        before, cpu, started = self._asked(), _cpu(processes), time.monotonic()
        of_triggers = _cpu(processes[-1:])
        ending = threading.Thread(target=self.end_jobs)
        ending.start()
        time.sleep(self.seconds)
        passed = time.monotonic() - started
        asked, used, memory = self._asked() - before, _cpu(processes) - cpu, _memory(processes)
        of_triggers = _cpu(processes[-1:]) - of_triggers
        ending.join()
        deadline = time.monotonic() + LONGEST_WAIT
        while not self.ended.keys() <= (heard := events()).keys() and time.monotonic() < deadline:
            time.sleep(1.0)
        late = sorted(heard[place] - ended if place in heard else float("inf") for place, ended in self.ended.items())
        return Result(
            contender,
            len(self.jobs),
            round(asked / passed, 2),
            round(used * 60.0 / passed, 2),
            round(of_triggers * 60.0 / passed, 2),
            round(memory / 2**20, 1),
            None,
            _share(late, 0.5),
            _share(late, 0.95),
            sum(one != float("inf") for one in late),
            len(late),
            0.0,
            before,
        )

    def _asked(self) -> int:
        return sum(self.sandbox.requests()["counts"].values())


def _share(sorted_values: list[float], share: float) -> float | None:
    value = sorted_values[min(len(sorted_values) - 1, int(share * len(sorted_values)))] if sorted_values else None
    return None if value is None or value == float("inf") else round(value, 2)


def _cpu(processes: list[psutil.Process]) -> float:
    return float(sum(sum(process.cpu_times()[:2]) for process in processes))


def _memory(processes: list[psutil.Process]) -> float:
    return float(sum(process.memory_full_info().uss for process in processes))


def trigger_arguments(contender: str, run: Run) -> tuple[str, list[dict[str, Any]]]:
    """Return the class of a contender's trigger, and what each is made with."""
    jobs, now = run.jobs, time.time()
    if contender == OURS:
        given = {"scenario_conn_id": "scenario_default", "deadline": now + 7200, "poll_interval": TICK, "since": now}
        rows = [{"job_id": job_id, **given} for job_id in jobs]
        return "airflow_provider_scenario.triggers.job.ScenarioJobTrigger", rows
    if contender == HTTP:
        rows = [
            {"endpoint": f"/jobs/{job_id}", "http_conn_id": "scenario_http", "poke_interval": TICK} for job_id in jobs
        ]
        return "benchmarks.polling_triggers.HttpJobTrigger", rows
    run.begins = now + ALONE_STARTS_WITHIN.get(len(jobs), 150.0)
    moments = run.moments()
    rows = [{"until": moments.get(place, now + 7200.0)} for place in range(len(jobs))]
    return "benchmarks.polling_triggers.SleepingTrigger", rows


@contextlib.contextmanager
def triggerer(airflow: TriggererAlone, contender: str, run: Run) -> Iterator[float]:
    """Have a real triggerer wait for the jobs; give the seconds until all waited."""
    airflow.defer(*trigger_arguments(contender, run))
    try:
        yield airflow.start_triggers(len(run.jobs))
    finally:
        airflow.stop("triggerer")


def wait_for_looks(run: Run, number: int) -> None:
    """Wait until so many jobs were looked at, but not for ever, and then until all goes its steady way."""
    deadline = time.monotonic() + LONGEST_START
    while time.monotonic() < deadline:
        # The sandbox remembers the last few thousand requests.
        if len({visit["path"] for visit in run.sandbox.requests()["recent"]}) >= 0.95 * number:
            break
        time.sleep(2.0)
    time.sleep(2.5 * TICK)


def with_triggerer(airflow: TriggererAlone, contender: str, run: Run) -> Result:
    """Measure a contender that runs in a triggerer."""
    with triggerer(airflow, contender, run) as start_seconds:
        if contender != ALONE:
            wait_for_looks(run, 1 if contender == OURS else len(run.jobs))
        result = run.measure(contender, airflow.triggerer_processes(), airflow.events)
    result.start_seconds = round(start_seconds, 1)
    return result


def with_threads(run: Run) -> Result:
    """Measure the loop of threads."""
    sandbox = run.sandbox
    given = {"base_url": sandbox.base_url, "api_key": sandbox.api_key, "api_secret": sandbox.api_secret}
    command = [sys.executable, str(HERE / "polling_threads.py")]
    heard: dict[int, float] = {}
    places = {job_id: place for place, job_id in enumerate(run.jobs)}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        lines = process.stdout

        def keep_polling() -> None:
            for line in lines:
                job_id, moment = json.loads(line)
                heard[places[job_id]] = moment

        threading.Thread(target=keep_polling, daemon=True).start()
        process.stdin.write(json.dumps({**given, "jobs": run.jobs, "every": TICK}) + "\n")
        process.stdin.flush()
        wait_for_looks(run, len(run.jobs))
        try:
            return run.measure(THREADS, [psutil.Process(process.pid)], lambda: dict(heard))
        finally:
            process.terminate()


def note_memory_a_job(results: list[Result]) -> None:
    """Note in the last result what each job added to the memory since the same contender's first one."""
    last = results[-1]
    first = next(result for result in results if result.contender == last.contender)
    if last.jobs > first.jobs:
        more = (last.megabytes - first.megabytes) * 1024
        last.kilobytes_a_job = round(more / (last.jobs - first.jobs), 1)


def measure_all(numbers: list[int], contenders: list[str], seconds: float) -> list[Result]:
    """Measure every contender with every number of jobs, one after the other."""
    results = []
    with SandboxServer(render="tiny") as sandbox:
        connection = sandbox.connection()
        http = {**connection, "conn_type": "http"}
        environment = {
            "AIRFLOW_CONN_SCENARIO_DEFAULT": json.dumps(connection),
            "AIRFLOW_CONN_SCENARIO_HTTP": json.dumps(http),
        }
        with TriggererAlone(environment) as airflow:
            for number in numbers:
                for contender in contenders:
                    sandbox.reset()
                    run = Run(sandbox, sandbox.make_jobs(number), seconds)
                    measured = with_threads(run) if contender == THREADS else with_triggerer(airflow, contender, run)
                    results.append(measured)
                    note_memory_a_job(results)
                    print(row(measured), flush=True)
    return results


COLUMNS = (
    ("contender", "contender", "<14", ""),
    ("jobs", "jobs", ">6", ""),
    ("req/s", "requests_a_second", ">8", ".2f"),
    ("CPU s/min", "cpu_seconds_a_minute", ">10", ".2f"),
    ("triggers'", "trigger_cpu_seconds_a_minute", ">10", ".2f"),
    ("MiB", "megabytes", ">7", ".0f"),
    ("KiB/job", "kilobytes_a_job", ">8", ".1f"),
    ("p50 s", "p50", ">6", ".1f"),
    ("p95 s", "p95", ">6", ".1f"),
    ("noticed", "noticed", ">8", ""),
    ("of", "ended", ">5", ""),
    ("at start", "start_requests", ">9", ""),
)


def head() -> str:
    """Return the head of the table."""
    return "".join(f"{title:{width}}" for title, _, width, _ in COLUMNS)


def row(result: Result) -> str:
    """Return a line of the table."""
    values = asdict(result)
    return "".join(
        f"{'-' if values[name] is None else format(values[name], shape):{width}}" for _, name, width, shape in COLUMNS
    )


def main() -> None:
    """Print the table, and write the results and the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--numbers", default="100,1000,5000", help="how many jobs (default 100,1000,5000)")
    parser.add_argument("--contenders", default=",".join((OURS, HTTP, THREADS, ALONE)), help="which, by name")
    parser.add_argument("--seconds", type=float, default=45.0, help="seconds of each measurement (default 45)")
    given = parser.parse_args()
    print(head(), flush=True)
    results = measure_all([int(one) for one in given.numbers.split(",")], given.contenders.split(","), given.seconds)
    rows = with_earlier([asdict(result) for result in results])
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(rows, indent=2) + "\n")
    (HERE / "polling.svg").write_text(draw(rows))


def with_earlier(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows with those that an earlier run left of other numbers of jobs."""
    earlier = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    measured = {row["jobs"] for row in rows}
    return sorted([*(row for row in earlier if row["jobs"] not in measured), *rows], key=lambda row: row["jobs"])


if __name__ == "__main__":
    main()

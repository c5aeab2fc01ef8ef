"""Many runs at once on one Airflow, each driven through what its mix says, and judged by the sandbox's ledger."""

from __future__ import annotations

import hashlib
import itertools
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import httpx

from tests.e2e.airflow_api import FINISHED, AirflowApiError
from tests.e2e.chaos_mix import (
    CLEAR_LANDED,
    CLEAR_WAITING,
    DIES_AGAIN_SECONDS,
    MARK_FAILED,
    POST_FAULTS,
    Mix,
    Weather,
)

if TYPE_CHECKING:
    from airflow_provider_scenario.sandbox.server import SandboxServer
    from tests.e2e.airflow_server import AirflowServer

LOOK_SECONDS = 1.0
ATTEMPTS = 4
BATCH_SECONDS, MIX_SECONDS = 480.0, 8.0
"""How long a batch may take, and how much longer for each of its mixes."""
DAG_IDS = ("chaos_deferrable", "chaos_blocking")
FAILURE = {"error": "The model could not generate the video.", "hint": "Try again later."}
READS = r"^/v1/jobs"


@dataclass
class Sight:
    """How things stand at one look: task instances, runs, paid jobs and secrets in triggers, of the whole batch."""

    instances: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    runs: dict[str, str] = field(default_factory=dict)
    paid: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    secrets: set[str] = field(default_factory=set)

    @classmethod
    def taken(cls, airflow: AirflowServer, sandbox: SandboxServer) -> Sight:
        """Look: a few questions, however many runs there are."""
        sight = cls(secrets=set(airflow.secrets_in_triggers(secret=sandbox.api_secret)))
        sight.runs, sight.instances = airflow.all_states(*DAG_IDS)
        for entry in sandbox.ledger()["entries"]:
            sight.paid.setdefault(entry["modelId"], []).append(entry)
        return sight


class MixRun:
    """One run: driven by `drive`, then judged.

    :param asked: Generations asked for: the first; one more for a clear after success; one for each job that failed.
    """

    def __init__(self, mix: Mix, airflow: AirflowServer, sandbox: SandboxServer, folder: Path) -> None:
        self.mix = mix
        self.asked = 1
        self.faults_found: list[str] = []
        self.is_over = False
        self.sight = Sight()
        self._airflow = airflow
        self._sandbox = sandbox
        self._folder = folder
        self._failures_left = mix.failures
        self._had_landed = False
        self.run_id = self._start()
        self._steps = self._drive()

    def _start(self) -> str:
        mix = self.mix
        self._sandbox.add_model(mix.model)
        for passed, kind in mix.faults:
            path = f"/generate/custom/{mix.model_id}$"
            self._sandbox.add_fault(POST_FAULTS[kind], method="POST", path=path, skip=passed)
        conf = {
            "crashes": {task: list(points) for task, points in mix.crashes.items()},
            "crash_folder": str(self._folder / "crashes"),
            "model_id": mix.model_id,
            "prompt": mix.prompt,
            "destination": (self._folder / "saved").as_uri(),
        }
        run_id = f"chaos-{mix.seed}"
        wanted = {"dag_run_id": run_id, "logical_date": None, "conf": conf}
        patiently(self._airflow.api, "POST", f"dags/{mix.dag_id}/dagRuns", wanted, status_if_done=httpx.codes.CONFLICT)
        return run_id

    # What is seen of it

    @property
    def paid(self) -> list[dict[str, Any]]:
        """Its entries in the ledger, the first one first."""
        return self.sight.paid.get(self.mix.model_id, [])

    @property
    def state(self) -> str:
        """The run's state."""
        return self.sight.runs.get(self.run_id, "unknown")

    def instance(self, task_id: str) -> dict[str, Any]:
        """One of its task instances."""
        return self.sight.instances.get((self.run_id, task_id), {})

    @property
    def tries(self) -> str:
        """How many tries its tasks took."""
        return "+".join(str(self.instance(task_id).get("try_number", 0)) for task_id in ("buy", "save"))

    @property
    def deaths(self) -> int:
        """How many of its workers died as ordered."""
        return sum(1 for mark in (self._folder / "crashes").glob("*/*"))

    @property
    def is_waiting(self) -> bool:
        """Whether its task waits for a job that runs."""
        waits_in = "deferred" if self.mix.deferrable else "running"
        return self.instance("buy").get("state") == waits_in and bool(self.paid) and _runs(self.paid[-1])

    # What is done to it

    def step(self, sight: Sight) -> None:
        """Take in a look, and do what is due."""
        self.sight = sight
        self._fail_jobs()
        self.is_over = self.is_over or next(self._steps, "over") == "over"

    def _fail_jobs(self) -> None:
        """Let the newest job fail, if it still runs at this very moment: a look may be seconds old."""
        if not self._failures_left or not self.paid or not _runs(self.paid[-1]):
            return
        now = next(entry for entry in self._sandbox.ledger()["entries"] if entry["jobId"] == self.paid[-1]["jobId"])
        if _runs(now):
            self._sandbox.set_job(now["jobId"], "failure", **FAILURE)
            self.paid[-1]["status"] = "failure"
            self._failures_left -= 1
            self.asked += 1

    def _drive(self) -> Iterator[None]:
        if self.mix.action in (CLEAR_WAITING, MARK_FAILED):
            while not self.is_waiting and self.state not in FINISHED:
                yield
            if self.state not in FINISHED and self.mix.action == MARK_FAILED:
                arguments = (self.mix.dag_id, self.run_id, "buy", "failed")
                patiently(self._airflow.set_task_state, *arguments, status_if_done=httpx.codes.CONFLICT)
                while self.state not in FINISHED:
                    yield
            if self.state not in FINISHED or self.mix.action == MARK_FAILED:
                yield from self._clear()
                self.asked += self._had_landed
        while self.state not in FINISHED:
            yield
        if self.mix.action == CLEAR_LANDED and self.state == "success":
            self.asked += 1
            yield from self._clear()
            while self.state not in FINISHED:
                yield

    def _clear(self) -> Iterator[None]:
        """Clear the run, and wait until that shows."""
        before = self.instance("buy").get("try_number", 0)
        patiently(self._airflow.clear, self.mix.dag_id, self.run_id, is_repeatable=False)  # A second one may buy again.
        kept = patiently(self._airflow.task_state, self.mix.dag_id, self.run_id, "buy")
        record = kept.get("scenario_submission") or {}
        # Where the job ended just before the clear that was meant to come before its end, that asked for another too.
        self._had_landed = bool(record.get("returned")) and record.get("job_id") == self.paid[-1]["jobId"]
        yield
        while self.state in FINISHED and self.instance("buy").get("try_number", 0) == before:
            yield

    # What became of it

    def judge(self) -> bool:
        """Whether it ended well; `faults_found` tells what is wrong."""
        wrong = self.faults_found
        if self.state != "success":
            wrong.append(
                f"the run is {self.state}, its tasks {self.instance('buy').get('state')} and "
                f"{self.instance('save').get('state')}"
            )
        if len(self.paid) != self.asked:
            wrong.append(f"{len(self.paid)} jobs were paid for {self.asked} generations")
        if self.state == "success" and self.paid:
            wrong.extend(self._wrong_with_the_file())
        return not wrong

    def _wrong_with_the_file(self) -> Iterator[str]:
        last = self.paid[-1]["jobId"]
        reply = httpx.get(
            f"{self._sandbox.base_url}/jobs/{last}",
            auth=(self._sandbox.api_key, self._sandbox.api_secret),
            trust_env=False,
        )
        job = reply.json()["job"]
        made = self._airflow.xcom(self.mix.dag_id, self.run_id, "buy", default={})
        saved = self._airflow.xcom(self.mix.dag_id, self.run_id, "save", default=[])
        if job["status"] != "success":
            yield f"the last job, {last}, ended in {job['status']}"
        if made.get("job_id") != last:
            yield f"the task handed on {made.get('job_id')}, the last job paid is {last}"
        if [file["asset_id"] for file in saved] != job["metadata"].get("assetIds"):
            yield "the files saved are not those of the last job"
        for file in saved:
            path = Path(unquote(urlsplit(file["uri"]).path))
            if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != file["sha256"]:
                yield f"{path} is not there, or not whole"

    def log(self) -> str:
        """All that its tasks said, try by try."""
        lines = []
        for task_id in ("buy", "save"):
            for number in range(1, (self.instance(task_id).get("try_number") or 0) + 1):
                lines.append(f"--- {self.mix.seed} {task_id} try {number}")
                lines.append(self._airflow.log(self.mix.dag_id, self.run_id, task_id, number))
        return "\n".join(lines)


class Batch:
    """Some mixes that run at once, under one weather.

    :param mixes: The mixes; the first one's seed makes the weather.
    """

    def __init__(self, mixes: Sequence[Mix], airflow: AirflowServer, sandbox: SandboxServer, folder: Path) -> None:
        self.mixes = mixes
        self.weather = Weather.drawn(mixes[0].seed)
        self.secrets_shown: set[str] = set()
        self._airflow = airflow
        self._sandbox = sandbox
        self._folder = folder
        self._trouble: list[BaseException] = []

    def run(self) -> list[MixRun]:
        """Run them all to their end, or to the deadline, and judge them."""
        self._sandbox.reset()
        self._sandbox.configure(**self.weather.settings)
        started = time.monotonic()
        stop = threading.Event()
        threads = [
            threading.Thread(target=self._guarded, args=(act, started, stop)) for act in (self._blow, self._burst)
        ]
        deadline = started + BATCH_SECONDS + MIX_SECONDS * len(self.mixes)
        runs = [MixRun(mix, self._airflow, self._sandbox, self._folder / str(mix.seed)) for mix in self.mixes]
        for thread in threads:
            thread.start()
        try:
            while not (all(run.is_over for run in runs) or self._trouble or time.monotonic() > deadline):
                time.sleep(LOOK_SECONDS)
                sight = patiently(Sight.taken, self._airflow, self._sandbox)
                self.secrets_shown |= sight.secrets
                for run in runs:
                    run.step(sight)
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        if self._trouble:
            raise self._trouble[0]
        self._sandbox.clear_faults()
        sight = Sight.taken(self._airflow, self._sandbox)
        for run in runs:
            run.sight = sight
            run.judge()
        return runs

    def _guarded(self, act: Any, started: float, stop: threading.Event) -> None:
        try:
            act(started, stop)
        except BaseException as error:
            self._trouble.append(error)

    def _blow(self, started: float, stop: threading.Event) -> None:
        """Kill parts of Airflow when it is time, and start them anew; the triggerer again and again."""
        # Not the scheduler: its workers die with it, and a search for a lost submission, of minutes, would begin anew.
        again = [at for at, component in self.weather.blows if component == "triggerer"]
        later = ((at + DIES_AGAIN_SECONDS * number, "triggerer") for number in itertools.count(1) for at in again)
        for at, component in itertools.chain(self.weather.blows, later):
            if stop.wait(max(0.0, started + at - time.monotonic())):
                return
            self._airflow.kill(component)
            self._airflow.start(component)

    def _burst(self, started: float, stop: threading.Event) -> None:
        """Let reads fail when it is time, once."""
        # Not again: the last run alone would need minutes to use up a burst.
        for at, count, kind in self.weather.bursts:
            if stop.wait(max(0.0, started + at - time.monotonic())):
                return
            self._sandbox.add_fault(kind, method="GET", path=READS, times=count)


def patiently(
    call: Callable[..., Any], *arguments: Any, status_if_done: int | None = None, is_repeatable: bool = True
) -> Any:
    """Call, and call again while Airflow is too busy to answer or its database fails.

    :param status_if_done: The HTTP status of a repeated call that says an earlier one was heard.
    :param is_repeatable: Whether to call again where the first may have been heard. After an error of the server it
        was not: what it began is rolled back.
    """
    attempt = 0
    while True:
        attempt += 1
        try:
            return call(*arguments)
        except httpx.TransportError:
            if attempt == ATTEMPTS or not is_repeatable:
                raise
        except AirflowApiError as error:
            if attempt > 1 and error.status == status_if_done:
                return None
            if attempt == ATTEMPTS or error.status < httpx.codes.INTERNAL_SERVER_ERROR:
                raise
        time.sleep(LOOK_SECONDS)


def _runs(entry: dict[str, Any]) -> bool:
    return entry["status"] not in ("success", "failure", "canceled")

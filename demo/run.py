"""The main job, seen with one's own eyes: a clip is outpainted, reframed and saved by a real Airflow.

`make demo` runs it. Without credentials it talks to the embedded sandbox; with SCENARIO_SDK_API_KEY and
SCENARIO_SDK_API_SECRET set it uses the real API. VIDEO names the clip to use and KEEP=1 leaves Airflow up.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from demo.report import Progress, address, error_messages, file_facts, lengths, line, saved_files
from tests.e2e.process_group import GUARD_OF_THIS_PROCESS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import FrameType

    from tests.e2e.airflow_api import Record
    from tests.e2e.airflow_server import AirflowServer

DAG_ID = "outpaint_then_reframe"
LAST_TASK = "save"
KEY, SECRET = "SCENARIO_SDK_API_KEY", "SCENARIO_SDK_API_SECRET"
REPOSITORY = Path(__file__).resolve().parents[1]
# Long enough to be seen waiting, short enough for a demo; real jobs take minutes.
SANDBOX_JOB_SECONDS = 14
SANDBOX_RUN_SECONDS = 300.0
REAL_RUN_SECONDS = 3600.0
STOP_SECONDS = 5.0
"""What saves a file into the user's folder may take that long to clean up."""


class UsageError(Exception):
    """What was asked for can't be done, and nothing was started."""


@dataclass(frozen=True, slots=True)
class Order:
    """What the user asked for."""

    video: Path | None
    keep: bool
    is_real: bool
    destination: Path = field(default_factory=lambda: Path.cwd() / "output")

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Order:
        """Read VIDEO, KEEP and the credentials, and refuse what can't work before anything is started."""
        video = Path(environment["VIDEO"]).expanduser().resolve() if environment.get("VIDEO") else None
        if video is not None and not video.is_file():
            raise UsageError(f"There is no video at {video}. Give the path of a file: make demo VIDEO=path/to/clip.mp4")
        given = [name for name in (KEY, SECRET) if environment.get(name)]
        if len(given) == 1:
            missing = SECRET if given == [KEY] else KEY
            raise UsageError(f"{given[0]} is set but {missing} is not. Set both for the real API, or neither.")
        keep = environment.get("KEEP", "").lower() not in ("", "0", "no", "false")
        return cls(video=video, keep=keep, is_real=bool(given))


def main() -> int:
    """Run the demo and return its exit code."""
    signal.signal(signal.SIGTERM, interrupt)
    try:
        order = Order.from_environment(os.environ)
        with ExitStack() as stack:
            return run(order, stack)
    except UsageError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\n  Stopped.")
        return 130


def interrupt(number: int, frame: FrameType | None) -> NoReturn:
    """Make a request to end look like Ctrl-C, so that everything started is ended."""
    raise KeyboardInterrupt


def run(order: Order, stack: ExitStack) -> int:
    """Start everything, run the DAG, tell how it goes and what came of it."""
    started = time.monotonic()
    print("\nOutpaint, then reframe a clip with Scenario on Airflow\n")
    clip = order.video or draw(stack)
    line("Clip", "  ".join(file_facts(clip)) + ("" if order.video else ", drawn for this demo as a phone films"))
    environment = connect(order, stack)
    airflow = start_airflow(environment, stack)
    run_id = airflow.trigger(DAG_ID, {"video": address(clip), "destination": address(order.destination)})
    record = follow(airflow, run_id, REAL_RUN_SECONDS if order.is_real else SANDBOX_RUN_SECONDS)
    code = report(airflow, run_id, record)
    if code == 0:
        line("Length", lengths(clip, airflow.xcom(DAG_ID, run_id, LAST_TASK)))
    line("Total", f"{time.monotonic() - started:.0f} s, Airflow's start included")
    if order.keep:
        keep_up(airflow)
    return code


def draw(stack: ExitStack) -> Path:
    """Draw a clip as a phone makes it: upright only by its mark, and longer than Scenario keeps unless asked to."""
    from airflow_provider_scenario.sandbox.clip import draw_clip

    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="clip-")))
    GUARD_OF_THIS_PROCESS.tell("remove", folder)
    path = folder / "clip.mp4"
    return draw_clip(path, seconds=12, width=270, height=480, text="make demo", is_from_a_phone=True)


def connect(order: Order, stack: ExitStack) -> dict[str, str]:
    """Start the sandbox unless there are credentials; the environment that makes Airflow find either."""
    if order.is_real:
        line("Scenario", f"the real API, with the credentials of {KEY}: generations are billed")
        return {}
    from airflow_provider_scenario.sandbox.server import SandboxServer

    sandbox = stack.enter_context(SandboxServer(job_seconds=SANDBOX_JOB_SECONDS))
    line("Scenario", f"the embedded sandbox at {sandbox.base_url}: no account, nothing is billed")
    line("", f"(set {KEY} and {SECRET} for the real API)")
    return {"AIRFLOW_CONN_SCENARIO_DEFAULT": sandbox.connection_json()}


def start_airflow(environment: dict[str, str], stack: ExitStack) -> AirflowServer:
    """Start Airflow with the example DAGs and wait for ours to be there."""
    from tests.e2e.airflow_server import AirflowServer

    started = time.monotonic()
    airflow = AirflowServer(REPOSITORY / "dags_examples", environment=environment, stop_timeout=STOP_SECONDS)
    line("Airflow", f"starting scheduler, triggerer, API server and DAG processor at {airflow.url}")
    stack.enter_context(airflow)
    airflow.wait_for_dag(DAG_ID)
    line("", f"up after {time.monotonic() - started:.0f} s; watch the run at {airflow.url}/dags/{DAG_ID}")
    return airflow


def follow(airflow: AirflowServer, run_id: str, timeout: float) -> Record:
    """Print what each task does until the run has ended; its record."""
    print()
    progress = Progress(airflow, DAG_ID, run_id)
    for _, task_instances in airflow.watch(DAG_ID, run_id, timeout, every=1.0):
        progress.show(task_instances)
    print()
    return airflow.run(DAG_ID, run_id)


def report(airflow: AirflowServer, run_id: str, record: Record) -> int:
    """Print the saved files, or why there are none; the exit code."""
    if record["state"] != "success":
        for task, message in error_messages(airflow, DAG_ID, run_id):
            line("Failed", f"{task}: {message}")
        line("", "To look at it in Airflow: make demo KEEP=1")
        return 1
    for number, text in enumerate(saved_files(airflow.xcom(DAG_ID, run_id, LAST_TASK))):
        line("" if number else "Saved", text)
    line("Run", f"{record['duration']:.0f} s from start to the last file")
    return 0


def keep_up(airflow: AirflowServer) -> None:
    """Leave Airflow running until the user has seen enough."""
    line("Airflow", f"stays up at {airflow.url} - no login needed; Ctrl-C stops it")
    signal.pause()


if __name__ == "__main__":
    sys.exit(main())

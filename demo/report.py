"""What the demo prints: one aligned line for each thing that changed."""

from __future__ import annotations

import time
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tests.e2e.airflow_api import AirflowApi, Record

ACTIVITIES = {
    "running": "working",
    "deferred": "waiting, no worker held",
    "up_for_reschedule": "waiting, no worker held",
    "up_for_retry": "will try again",
    "success": "done",
    "failed": "failed",
    "upstream_failed": "not run, as a task before it failed",
    "skipped": "skipped",
}
UNFINISHED = frozenset({"running", "deferred", "up_for_reschedule"})


def line(label: str, text: str) -> None:
    """Print one line of the demo, its label in a column of its own."""
    print(f"  {label:<10}{text}", flush=True)


class Progress:
    """Prints a line whenever what a task does has changed."""

    def __init__(self, airflow: AirflowApi, dag_id: str, run_id: str) -> None:
        self._airflow = airflow
        self._dag_id = dag_id
        self._run_id = run_id
        self._started = time.monotonic()
        self._shown: dict[tuple[str, int], str] = {}

    def show(self, task_instances: Iterable[Record]) -> None:
        """Look at every task and print the changed ones."""
        for instance in task_instances:
            if instance["state"] not in ACTIVITIES:
                continue
            name = (instance["task_id"], instance["map_index"])
            text = self._describe(instance)
            if self._shown.get(name) != text:
                self._shown[name] = text
                seconds = int(time.monotonic() - self._started)
                print(f"  {seconds // 60:>3}:{seconds % 60:02}    {instance['task_id']:<24}{text}", flush=True)

    def _describe(self, instance: Record) -> str:
        words = [ACTIVITIES[instance["state"]]]
        if instance["state"] in UNFINISHED:
            where = (self._dag_id, self._run_id, instance["task_id"])
            job_id = self._airflow.xcom(*where, "job_id", instance["map_index"])
            words += [job_id] if job_id else []
            words += progress_words(self._airflow.xcom(*where, "progress", instance["map_index"]))
        elif instance["state"] == "success":
            words.append(f"after {instance['duration']:.0f} s")
        return "  ".join(words)


def progress_words(progress: Any) -> list[str]:
    """A job's status, and how far it is, from what a task keeps in its XCom."""
    if not isinstance(progress, dict):
        return []
    is_under_way = progress["status"] == "in-progress"
    return [progress["status"], *([f"{progress['percent']}%"] if is_under_way else [])]


def error_messages(airflow: AirflowApi, dag_id: str, run_id: str) -> Iterator[tuple[str, str]]:
    """Each failed task with what its log says at the level of an error."""
    for instance in airflow.task_instances(dag_id, run_id):
        if instance["state"] != "failed":
            continue
        entries = airflow.log_entries(
            dag_id, run_id, instance["task_id"], instance["try_number"], instance["map_index"]
        )
        messages = [message_of(entry) for entry in entries if entry.get("level") in ("error", "critical")]
        for message in dict.fromkeys(messages) or ["failed without a message in its log"]:
            yield instance["task_id"], message


def message_of(entry: Record) -> str:
    """What one entry of a log says; of an exception, its type and text rather than the event around it."""
    causes = [f"{each['exc_type']}: {each['exc_value']}" for each in entry.get("error_detail") or []]
    return causes[0] if causes else str(entry["event"])


def saved_files(files: Any) -> list[str]:
    """One line for each file that the last task returned, in columns."""
    uris = [file["uri"] for file in files or []]
    rows = [file_facts(local_path(uri)) if uri.startswith("file:") else [uri] for uri in uris]
    widths = [max(map(len, column)) for column in zip_longest(*rows, fillvalue="")]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows] or ["nothing"]


def lengths(clip: Path, files: Any) -> str:
    """How long the clip is, and what was made of it: whether all of it was kept."""
    before = duration_of(clip)
    videos = [duration_of(local_path(file["uri"])) for file in files or [] if file["uri"].startswith("file:")]
    after = next((seconds for seconds in videos if seconds is not None), None)
    if before is None or after is None:
        return "not known"
    kept = "all of it was kept" if abs(before - after) < 0.2 else "NOT the clip's length"
    return f"{before:.2f} s in, {after:.2f} s out: {kept}"


def duration_of(path: Path) -> float | None:
    """A video's seconds, as read from the file itself."""
    from airflow_provider_scenario.sandbox.clip import UnreadableMediaError, probe

    try:
        return probe(path).duration
    except UnreadableMediaError:
        return None


def local_path(uri: str) -> Path:
    """The path of a `file://` address as Airflow's object storage writes it: nothing in it is escaped."""
    return Path(uri.removeprefix("file://"))


def address(path: Path) -> str:
    """The `file://` address of a path; Airflow's object storage takes `%20` for three characters of the name."""
    return f"file://{path}"


def file_facts(path: Path) -> list[str]:
    """A file's name, size, dimensions and duration, as read from the file itself."""
    from airflow_provider_scenario.sandbox.clip import UnreadableMediaError, probe

    name = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
    words = [str(name), size_in_words(path.stat().st_size)]
    try:
        facts = probe(path)
    except UnreadableMediaError:
        return words
    if facts.width and facts.height:
        words.append(f"{facts.width} x {facts.height}")
    if facts.duration is not None:
        words.append(f"{facts.duration:.2f} s")
    if facts.rate is not None:
        words.append(f"{float(facts.rate):g} frames/s")
    return words


def size_in_words(count: int) -> str:
    """A number of bytes as people say it."""
    size = float(count)
    for unit in ("bytes", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"

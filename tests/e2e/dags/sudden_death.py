"""Workers that end themselves with SIGKILL at named points, once at each; the package knows nothing of it.

What an operator calls is wrapped in the task's own process. There is no workflow in this file: others import it.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

RECORD_KEY = "scenario_submission"
PURCHASE_POINTS = (
    "before-intent",
    "after-intent",
    "in-flight",
    "before-job-id",
    "after-job-id",
    "before-deferral",
    "polling",
    "resumed",
    "before-return",
    "after-return",
)
"""What their names say, in the order in which a purchase comes by.

The intent is the record before the POST, `in-flight` a moment after the POST was sent; the job id comes with the reply
and is stored then; `polling` is before a look at a job by a worker that waits, `resumed` after a wait in the triggerer;
returned is a result that is stored as handed on.
"""

FILE_POINTS = ("half-file", "whole-file")
"""Half of a chunk is written; all is saved but the task has not ended."""

IN_FLIGHT_SECONDS = 0.3


class Crashes:
    """The crashes of one task: each happens once, whichever try comes to its point.

    :param points: Where; a text like ``after 1.5`` is a time, in seconds from the start of a try.
    :param folder: Where to leave a mark for each crash that happened. Made if it is not there.
    """

    known: tuple[str, ...] = (*PURCHASE_POINTS, *FILE_POINTS)

    def __init__(self, points: Iterable[str], folder: Path | str) -> None:
        self.points = set(points)
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        unknown = {point for point in self.points if not point.startswith("after ")}.difference(self.known)
        if unknown:
            raise ValueError(f"there are no crash points {sorted(unknown)}")

    def is_due(self, point: str) -> bool:
        """Whether this crash is wanted and has not happened yet."""
        return point in self.points and not (self.folder / point).exists()

    def at(self, point: str) -> None:
        """End this process at once if this crash is due."""
        if point not in self.points:
            return
        try:
            (self.folder / point).touch(exist_ok=False)
        except FileExistsError:
            return
        os.kill(os.getpid(), signal.SIGKILL)

    def later(self, point: str, seconds: float) -> None:
        """End this process in some seconds if this crash is due then."""
        if self.is_due(point):
            timer = threading.Timer(seconds, self.at, (point,))
            timer.daemon = True
            timer.start()

    def while_in_flight(self) -> None:
        """Called when the POST is about to be sent: what is to end it while it is on its way."""
        self.later("in-flight", IN_FLIGHT_SECONDS)

    def start_clocks(self) -> None:
        """Let the crashes that have a time come, the earliest that is due."""
        due = [point for point in self.points if point.startswith("after ") and self.is_due(point)]
        for point in sorted(due, key=_seconds)[:1]:
            self.later(point, _seconds(point))


def _seconds(point: str) -> float:
    return float(point.removeprefix("after "))


def wrap(owner: type, name: str, before: Callable[..., None] | None, after: Callable[..., None] | None = None) -> None:
    """Have a method of a class call something first, with its arguments, and something else at its end."""
    method = getattr(owner, name)

    def wrapped(*arguments: Any, **named: Any) -> Any:
        if before is not None:
            before(*arguments, **named)
        result = method(*arguments, **named)
        if after is not None:
            after(*arguments, **named)
        return result

    setattr(owner, name, wrapped)


def arm_purchase(crashes: Crashes) -> None:
    """Put the crash points of a purchase in the way of this process.

    They are found by what the package says to Airflow and to Scenario: the record in the task state store, and HTTP
    requests. Where Airflow has no such store, the points around the POST stand for those around the record, and those
    around a result that is handed on are passed by `returned`.
    """
    import requests
    from airflow.sdk import BaseOperator

    store = _state_store()
    was_sent = False

    def before_sending(_: Any, request: Any, **__: Any) -> None:
        if was_sent:
            crashes.at("after-job-id")
        path = urlsplit(request.url).path
        if _is_purchase(request):
            if store is None:
                crashes.at("before-intent")
                crashes.at("after-intent")
            crashes.while_in_flight()
        if request.method == "GET" and "/jobs/" in path:
            crashes.at("polling")

    def after_sending(_: Any, request: Any, **__: Any) -> None:
        nonlocal was_sent
        if store is None and _is_purchase(request):
            was_sent = True
            crashes.at("before-job-id")

    def before_deferral(*_: Any, **__: Any) -> None:
        if was_sent:
            crashes.at("after-job-id")
        crashes.at("before-deferral")

    if store is not None:
        wrap(
            store,
            "set",
            lambda _, key, value, **__: key == RECORD_KEY and crashes.at(f"before-{_stage(value)}"),
            lambda _, key, value, **__: key == RECORD_KEY and crashes.at(f"after-{_stage(value)}"),
        )
    wrap(requests.Session, "send", before_sending, after_sending)
    wrap(BaseOperator, "defer", before_deferral)
    crashes.start_clocks()


def returned(crashes: Crashes) -> None:
    """Pass the points around a result that is handed on, where no record of it is kept."""
    if _state_store() is None:
        crashes.at("before-return")
        crashes.at("after-return")


def _state_store() -> Any:
    """The class of Airflow's task state store, or nothing where Airflow has none."""
    from airflow.sdk.execution_time import context

    return getattr(context, "TaskStateStoreAccessor", None)


def _is_purchase(request: Any) -> bool:
    return request.method == "POST" and "/generate/" in request.url and "dryRun=" not in request.url


def _stage(record: Any) -> str:
    """Tell which record is kept: the intent to buy, a job's id, or a result that was handed on."""
    return "intent" if record.get("job_id") is None else "return" if record.get("returned") else "job-id"


def arm_download(crashes: Crashes) -> None:
    """Put the crash points of a download in the way of this process."""
    from airflow_provider_scenario.files.download import AssetDownloader
    from airflow_provider_scenario.files.file_download import FileDownload

    def half_a_chunk(download: Any, chunk: bytes) -> None:
        if crashes.is_due("half-file"):
            download._file.write(chunk[: len(chunk) // 2])
            download._file.flush()
            crashes.at("half-file")

    wrap(FileDownload, "add", half_a_chunk)
    wrap(AssetDownloader, "save", None, lambda *_, **__: crashes.at("whole-file"))
    crashes.start_clocks()

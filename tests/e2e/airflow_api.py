"""Airflow's REST API, as far as tests and the demo need it."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import httpx

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FINISHED = frozenset({"success", "failed"})
POLL_SECONDS = 1.0
API_SECONDS = 120.0
"""How long a reply may take: on a busy machine Airflow's first ones took more than thirty seconds."""

Record = dict[str, Any]


class AirflowApiError(Exception):
    """Airflow answered a request with an error."""

    def __init__(self, response: httpx.Response) -> None:
        self.status = response.status_code
        super().__init__(f"{response.request.method} {response.request.url.path}: {self.status} {response.text[:500]}")


def path_of(*parts: str | int) -> str:
    """A path whose parts are escaped: run ids carry `+` and `:`."""
    return "/".join(quote(str(part), safe="") for part in parts)


STATE_MISMATCH = "state mismatch"
WORKER_ENDED_WELL = re.compile(r"finished with state success, but the task instance's state attribute is \w+")
KILLED = "Process terminated by signal. Likely out of memory"
"""What Airflow writes into the log of a try whose process was ended with SIGKILL."""


def ended_by_scheduler(events: list[Record], log_of: Callable[[str, int, int], str]) -> Counter[tuple[str, int]]:
    """Count the most tries that the scheduler ended though their process had ended well, by task and map index.

    On a busy machine it may read that the worker of a task that deferred has ended only after the task was queued
    again: it then takes the task for lost, ends its try, and says so in its log of events. The worker that is already
    on its way to the task then starts it anew, writes into the log of the try that was ended, and ends the next try
    too, so each such event counts twice. Airflow says the same of a try whose process was killed, which is none of
    these: that try's own log told so before the event.

    :param log_of: Gives the log of a try, by task, map index and number.
    """
    tries = set()
    for event in events:
        if event["event"] == STATE_MISMATCH and WORKER_ENDED_WELL.search(event["extra"] or ""):
            place = (event["task_id"], -1 if event["map_index"] is None else event["map_index"], event["try_number"])
            if not was_killed_before(log_of(*place), datetime.fromisoformat(event["when"])):
                tries.add(place)
    ended = Counter((each[0], each[1]) for each in tries)
    return ended + ended


def was_killed_before(log: str, moment: datetime) -> bool:
    """Tell whether a try's log says before a moment that its process was killed."""
    killed = (json.loads(line)["timestamp"] for line in log.splitlines() if KILLED in line)
    return any(datetime.fromisoformat(timestamp) <= moment for timestamp in killed)


class AirflowApi:
    """The REST API of one Airflow, as an administrator."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._client = httpx.Client(base_url=url, timeout=API_SECONDS, trust_env=False)
        self._token: str | None = None
        self.credentials: tuple[str, str] | None = None
        """Name and password, where not everybody is an administrator."""

    def _headers(self) -> dict[str, str]:
        if self._token is None:
            self._token = self.token_of(*self.credentials) if self.credentials else self._any_token()
        return {"Authorization": f"Bearer {self._token}", "Accept": "application/json"}

    def _any_token(self) -> str:
        response = self._client.get("/auth/token")
        if response.is_error:
            raise AirflowApiError(response)
        return str(response.json()["access_token"])

    def token_of(self, username: str, password: str) -> str:
        """Sign a user in, and return the token."""
        response = self._client.post("/auth/token", json={"username": username, "password": password})
        if response.is_error:
            raise AirflowApiError(response)
        return str(response.json()["access_token"])

    def api(self, method: str, path: str, json: Any = None, **query: Any) -> Any:
        """Call `/api/v2/<path>` and return the JSON of the reply, or None when it has none."""
        response = self._client.request(method, f"/api/v2/{path}", json=json, params=query, headers=self._headers())
        if response.is_error:
            raise AirflowApiError(response)
        return response.json() if response.content else None

    # Runs

    def wait_for_dag(self, dag_id: str, timeout: float = 120.0) -> Record:
        """Wait until the DAG is parsed; an import error of any file ends the wait when the DAG does not come."""
        deadline = time.monotonic() + timeout
        while True:
            try:
                dag: Record = self.api("GET", f"dags/{path_of(dag_id)}")
            except AirflowApiError as error:
                if error.status != httpx.codes.NOT_FOUND:
                    raise
            else:
                if not dag["is_stale"]:
                    return dag
            if time.monotonic() > deadline:
                raise TimeoutError(f"DAG {dag_id} was not parsed in {timeout:.0f} s. {self.import_errors() or ''}")
            time.sleep(POLL_SECONDS)

    def import_errors(self) -> dict[str, str]:
        """The DAG files that can't be imported, each with its traceback."""
        errors = self.api("GET", "importErrors")["import_errors"]
        return {error["filename"]: error["stack_trace"] for error in errors}

    def trigger(self, dag_id: str, conf: Record | None = None) -> str:
        """Start a run now and return its id.

        On a busy machine Airflow may answer that its database failed: then it has started nothing.
        """
        failed = 0
        while True:
            try:
                run = self.api("POST", f"dags/{path_of(dag_id)}/dagRuns", {"logical_date": None, "conf": conf or {}})
            except AirflowApiError as error:
                failed += 1
                if failed == 3 or "Database error" not in str(error):
                    raise
                time.sleep(POLL_SECONDS)
            else:
                return str(run["dag_run_id"])

    def run(self, dag_id: str, run_id: str) -> Record:
        """The record of one run."""
        record: Record = self.api("GET", f"dags/{path_of(dag_id)}/dagRuns/{path_of(run_id)}")
        return record

    def task_instances(self, dag_id: str, run_id: str) -> list[Record]:
        """The task instances of a run, mapped ones each on its own, in the order they started."""
        base = f"dags/{path_of(dag_id)}/dagRuns/{path_of(run_id)}/taskInstances"
        found: list[Record] = []
        while True:
            page = self.api("GET", base, limit=100, offset=len(found), order_by="start_date")
            found.extend(page["task_instances"])
            if not page["task_instances"] or len(found) >= page["total_entries"]:
                return found

    def watch(
        self, dag_id: str, run_id: str, timeout: float, every: float = POLL_SECONDS
    ) -> Iterator[tuple[Record, list[Record]]]:
        """Look at the run again and again until it has ended: its record and its task instances."""
        deadline = time.monotonic() + timeout
        while True:
            run = self.run(dag_id, run_id)
            task_instances = self.task_instances(dag_id, run_id)
            yield run, task_instances
            if run["state"] in FINISHED:
                return
            if time.monotonic() > deadline:
                states = {(each["task_id"], each["map_index"]): each["state"] for each in task_instances}
                raise TimeoutError(f"run {run_id} of {dag_id} is {run['state']} after {timeout:.0f} s: {states}")
            time.sleep(every)

    def wait_for_run(
        self,
        dag_id: str,
        run_id: str,
        timeout: float = 120.0,
        on_change: Callable[[list[Record]], None] | None = None,
    ) -> Record:
        """Wait until the run has ended and return its record; tell `on_change` of every change of a task."""
        before: object = None
        for _, task_instances in self.watch(dag_id, run_id, timeout):
            now = [(each["id"], each["state"], each["try_number"]) for each in task_instances]
            if now != before and on_change is not None:
                on_change(task_instances)
            before = now
        return self.run(dag_id, run_id)

    def wait_for_state(
        self, dag_id: str, run_id: str, task_id: str, *states: str, map_index: int = -1, timeout: float = 120.0
    ) -> Record:
        """Wait until a task instance is in one of the states and return its record."""
        deadline = time.monotonic() + timeout
        while True:
            instance = self.task_instance(dag_id, run_id, task_id, map_index)
            if instance["state"] in states:
                return instance
            if time.monotonic() > deadline:
                raise TimeoutError(f"{task_id}[{map_index}] is {instance['state']} after {timeout:.0f} s, not {states}")
            time.sleep(POLL_SECONDS)

    # Task instances

    def _instance_path(self, dag_id: str, run_id: str, task_id: str) -> str:
        return f"dags/{path_of(dag_id)}/dagRuns/{path_of(run_id)}/taskInstances/{path_of(task_id)}"

    def task_instance(self, dag_id: str, run_id: str, task_id: str, map_index: int = -1) -> Record:
        """The record of one task instance; `pid` in it is the process that runs it."""
        suffix = "" if map_index < 0 else f"/{map_index}"
        record: Record = self.api("GET", self._instance_path(dag_id, run_id, task_id) + suffix)
        return record

    def xcom(
        self,
        dag_id: str,
        run_id: str,
        task_id: str,
        key: str = "return_value",
        map_index: int = -1,
        default: Any = None,
    ) -> Any:
        """The value of an XCom, or `default` where there is none."""
        path = f"{self._instance_path(dag_id, run_id, task_id)}/xcomEntries/{path_of(key)}"
        try:
            return self.api("GET", path, map_index=map_index, deserialize=True)["value"]
        except AirflowApiError as error:
            if error.status == httpx.codes.NOT_FOUND:
                return default
            raise

    def xcom_keys(self, dag_id: str, run_id: str, task_id: str, map_index: int = -1) -> list[str]:
        """The keys of a task instance's XComs."""
        path = f"{self._instance_path(dag_id, run_id, task_id)}/xcomEntries"
        entries = self.api("GET", path, map_index=map_index, limit=100)["xcom_entries"]
        return sorted(entry["key"] for entry in entries)

    def log_entries(
        self, dag_id: str, run_id: str, task_id: str, try_number: int = 1, map_index: int = -1
    ) -> list[Record]:
        """The structured log of one try: `event`, and mostly `timestamp` and `level`."""
        path = f"{self._instance_path(dag_id, run_id, task_id)}/logs/{try_number}"
        content: list[Record] = self.api("GET", path, map_index=map_index, full_content=True)["content"]
        return content

    def log(self, dag_id: str, run_id: str, task_id: str, try_number: int = 1, map_index: int = -1) -> str:
        """The log of one try as text, everything in it: fields and tracebacks too."""
        lines = []
        for entry in self.log_entries(dag_id, run_id, task_id, try_number, map_index):
            rest = {name: value for name, value in entry.items() if name not in ("timestamp", "level", "event")}
            moment, level = entry.get("timestamp") or "", entry.get("level") or ""
            lines.append(f"{moment} {level:8} {entry['event']} {rest or ''}".strip())
        return "\n".join(lines)

    def extra_links(self, dag_id: str, run_id: str, task_id: str, map_index: int = -1) -> dict[str, str | None]:
        """The links a task instance shows, by name."""
        path = f"{self._instance_path(dag_id, run_id, task_id)}/links"
        links: dict[str, str | None] = self.api("GET", path, map_index=map_index)["extra_links"]
        return links

    def task_state(self, dag_id: str, run_id: str, task_id: str, map_index: int = -1) -> Record:
        """What the task keeps in its state store, by key."""
        path = f"{self._instance_path(dag_id, run_id, task_id)}/state-store"
        rows = self.api("GET", path, map_index=map_index)["task_state_store"]
        return {row["key"]: row["value"] for row in rows}

    def events(self, dag_id: str, run_id: str, event: str) -> list[Record]:
        """What Airflow has written of a run into its own log of events, of one kind."""
        found: list[Record] = []
        while True:
            page = self.api("GET", "eventLogs", dag_id=dag_id, run_id=run_id, event=event, limit=100, offset=len(found))
            found.extend(page["event_logs"])
            if not page["event_logs"] or len(found) >= page["total_entries"]:
                return found

    def clear(self, dag_id: str, run_id: str, *task_ids: str, map_index: int | None = None, **options: Any) -> None:
        """Clear tasks of a run, so that they run again; without names, all of them."""
        body: Record = {"dry_run": False, "only_failed": False, "dag_run_id": run_id, **options}
        if task_ids:
            body["task_ids"] = [task if map_index is None else [task, map_index] for task in task_ids]
        self.api("POST", f"dags/{path_of(dag_id)}/clearTaskInstances", body)

    def set_task_state(self, dag_id: str, run_id: str, task_id: str, state: str, map_index: int = -1) -> None:
        """Mark a task instance as `success`, `failed` or `skipped`, as a user does."""
        suffix = "" if map_index < 0 else f"/{map_index}"
        self.api("PATCH", self._instance_path(dag_id, run_id, task_id) + suffix, {"new_state": state})

    def set_run_state(self, dag_id: str, run_id: str, state: str) -> None:
        """Mark a run as `success` or `failed`, as a user does."""
        self.api("PATCH", f"dags/{path_of(dag_id)}/dagRuns/{path_of(run_id)}", {"state": state})

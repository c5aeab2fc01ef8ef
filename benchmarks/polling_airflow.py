"""A database of Airflow and one real triggerer, with as many deferred tasks as the benchmark wants."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil
import psycopg2

from tests.e2e.airflow_components import Imported
from tests.e2e.airflow_server import AirflowServer
from tests.e2e.process_group import last_lines

REPOSITORY = Path(__file__).resolve().parents[1]
DAG_ID = "polling"


class TriggererAlone(AirflowServer):
    """An Airflow of which only the database and the triggerer run.

    :param environment: Added to what Airflow sees, such as connections.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        folder = Path(__file__).parent
        more = {
            "PYTHONPATH": str(REPOSITORY),
            "AIRFLOW__TRIGGERER__CAPACITY": "10000",
            "AIRFLOW__TRIGGERER__MAX_TRIGGER_TO_SELECT_PER_LOOP": "100",
            "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": json.dumps([_bundle(folder)]),
        }
        # A user's triggerer imports what it needs itself: what ours takes is measured as it would be there.
        super().__init__(folder, database="postgresql", environment={**more, **environment}, imported=Imported.NOTHING)

    def start_all(self) -> None:
        """Make the database, and a run of the DAG whose tasks will wait."""
        try:
            self._prepare()
            self._make_database()
            self._command("dags", "reserialize")
            self._command("dags", "trigger", DAG_ID)
        except BaseException:
            self.stop_all()
            raise

    def _command(self, *arguments: str) -> None:
        process = self.components.start(arguments[1], *arguments)
        if process.wait(120.0) != 0:
            raise RuntimeError(f"airflow {' '.join(arguments)} failed:\n{last_lines(process.text())}")
        process.end()

    def defer(self, classpath: str, arguments: list[dict[str, Any]]) -> None:
        """Put deferred tasks in place of those that are there."""
        described = json.dumps({"classpath": classpath, "arguments": arguments})
        command = [sys.executable, "-m", "benchmarks.polling_tasks"]
        subprocess.run(
            command, input=described, text=True, check=True, env=self._environment, cwd=self.home, capture_output=True
        )

    def start_triggers(self, number: int, timeout: float = 600.0) -> float:
        """Start the triggerer and wait until it runs that many triggers; return the seconds that took."""
        started = time.monotonic()
        for log in (self.home / "logs").rglob("*.trigger.*.log"):
            log.unlink()
        self._launch("triggerer", "triggerer")
        while len(list((self.home / "logs").rglob("*.trigger.*.log"))) < number:
            if time.monotonic() - started > timeout or self.processes["triggerer"].exit_code is not None:
                raise TimeoutError(f"the triggers did not start:\n{last_lines(self.component_log('triggerer'))}")
            time.sleep(0.5)
        return time.monotonic() - started

    def triggerer_processes(self) -> list[psutil.Process]:
        """Return the triggerer's processes; the last one runs the triggers."""
        parent = psutil.Process(self.processes["triggerer"].pid)
        children = parent.children(recursive=True)
        return [parent, *sorted(children, key=lambda child: "serve-logs" not in " ".join(child.cmdline()))]

    def events(self) -> dict[int, float]:
        """When Airflow took in each event, by map index, in seconds of the epoch."""
        sql = """select map_index, extract(epoch from updated_at) from task_instance
                 where map_index >= 0 and state <> 'deferred'"""
        assert self._postgres is not None
        with psycopg2.connect(self._postgres.url.replace("+psycopg2", "")) as connection, connection.cursor() as cursor:
            cursor.execute(sql)
            return {place: float(moment) for place, moment in cursor.fetchall()}


def _bundle(folder: Path) -> dict[str, Any]:
    return {
        "name": "benchmarks",
        "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
        "kwargs": {"path": str(folder)},
    }

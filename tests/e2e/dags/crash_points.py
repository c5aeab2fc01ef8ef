"""DAGs whose workers kill themselves with SIGKILL, each at the points its run names, and once at each of them.

A run buys one generation and saves it. The operators are the package's own; what they call is wrapped in the task's
process, just before it works, so that the package knows nothing of crashes.
"""

from __future__ import annotations

import json
import threading
import time
import urllib.request
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import DAG
from sudden_death import Crashes, arm_download, arm_purchase, returned

from airflow_provider_scenario.operators.generate import ScenarioGenerateOperator
from airflow_provider_scenario.transfers.scenario_to_object_storage import ScenarioToObjectStorageOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

POLL_SECONDS = 0.1


class CrashesOfRun(Crashes):
    """The crashes that a run has ordered, some of them while the sandbox holds the reply to the POST back.

    :param params: The run's.
    """

    known = (*Crashes.known, "in-flight-accepted", "in-flight-not-accepted")

    def __init__(self, params: Mapping[str, Any]) -> None:
        super().__init__(params["crashes"], params["crash_folder"])
        self.model_id = str(params["model_id"])
        self.control_url = str(params["control_url"])

    def while_in_flight(self) -> None:
        """End this process as soon as the sandbox has the POST that is about to be sent, and keeps its reply back."""
        super().while_in_flight()
        for point, has_arrived in (
            ("in-flight-accepted", self._is_accepted),
            ("in-flight-not-accepted", self._is_held),
        ):
            if self.is_due(point):
                threading.Thread(target=self._once, args=(point, has_arrived), daemon=True).start()

    def _once(self, point: str, has_arrived: Callable[[], bool]) -> None:
        while not has_arrived():
            time.sleep(POLL_SECONDS)
        self.at(point)

    def _is_accepted(self) -> bool:
        return any(entry["modelId"] == self.model_id for entry in self._control("/ledger")["entries"])

    def _is_held(self) -> bool:
        return any(fault["hits"] for fault in self._control("/faults")["faults"] if self.model_id in fault["path"])

    def _control(self, path: str) -> Any:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"{self.control_url}{path}", timeout=30) as reply:
            return json.loads(reply.read())


class CrashingGenerateOperator(ScenarioGenerateOperator):
    """Buys, and crashes where the run says."""

    def execute(self, context: Context) -> dict[str, Any]:
        crashes = CrashesOfRun(context["params"])
        arm_purchase(crashes)
        made = super().execute(context)
        returned(crashes)
        return made

    def execute_complete(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        crashes = CrashesOfRun(context["params"])
        arm_purchase(crashes)
        crashes.at("resumed")
        made = super().execute_complete(context, event)
        returned(crashes)
        return made


class CrashingSaveOperator(ScenarioToObjectStorageOperator):
    """Saves, and crashes where the run says."""

    def execute(self, context: Context) -> list[dict[str, Any]]:
        arm_download(CrashesOfRun(context["params"]))
        return super().execute(context)


for mode in ("deferrable", "blocking"):
    with DAG(
        f"crash_{mode}",
        schedule=None,
        max_active_runs=100,
        max_active_tasks=100,
        # Two crashes at most, and what Airflow's scheduler may end by itself on a busy machine.
        default_args={"retries": 4, "retry_delay": timedelta(seconds=1)},
        params={
            "crashes": [],
            "crash_folder": "",
            "model_id": "",
            "control_url": "",
            "destination": "",
            "connection": "scenario_default",
        },
    ):
        bought = CrashingGenerateOperator(
            task_id="buy",
            model_id="{{ params.model_id }}",
            inputs={"prompt": "A lighthouse in the fog", "resolution": "480p"},
            scenario_conn_id="{{ params.connection }}",
            deferrable=mode == "deferrable",
            poll_interval=1,
            timeout=600,
        )
        CrashingSaveOperator(
            task_id="save", asset_ids=bought.output["asset_ids"], destination="{{ params.destination }}"
        )

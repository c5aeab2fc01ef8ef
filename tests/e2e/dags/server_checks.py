"""Small DAGs that show whether the Airflow of the tests does what an Airflow does; nothing of Scenario in them."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.triggers.temporal import TimeDeltaTrigger
from airflow.sdk import BaseOperator, dag, task

if TYPE_CHECKING:
    from airflow.sdk import Context


class ParkOperator(BaseOperator):
    """Waits in the triggerer for some seconds."""

    def __init__(self, *, seconds: float, **rest: Any) -> None:
        super().__init__(**rest)
        self.seconds = seconds

    def execute(self, context: Context) -> None:
        context["ti"].xcom_push(key="parked_for", value=self.seconds)
        self.defer(trigger=TimeDeltaTrigger(timedelta(seconds=self.seconds)), method_name="resume")

    def resume(self, context: Context, event: object) -> dict[str, Any]:
        self.log.info("resumed after the wait")
        return {"seconds": self.seconds, "try": context["ti"].try_number}


@dag(schedule=None)
def check_deferral():
    ParkOperator(task_id="park", seconds=10)


@dag(schedule=None)
def check_mapping():
    @task
    def double(number: int) -> int:
        print(f"doubling {number}")
        return 2 * number

    double.expand(number=[1, 2, 3])


@dag(schedule=None)
def check_kill():
    @task(retries=1, retry_delay=timedelta(seconds=0))
    def sleep_once(ti: Any = None) -> int:
        if ti.try_number == 1:
            time.sleep(600)  # Until the test kills it.
        return ti.try_number

    sleep_once()


@dag(schedule=None)
def check_failure():
    @task
    def fail() -> None:
        raise ValueError("the reason of the failure")

    fail()


check_deferral()
check_mapping()
check_kill()
check_failure()

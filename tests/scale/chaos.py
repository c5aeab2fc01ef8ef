"""The chaos of `make chaos` on Celery, with two of everything: see `tests/e2e/chaos.py`, whose arguments it takes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tests.e2e.airflow_server import AirflowServer
from tests.e2e.chaos import DAGS, main
from tests.scale.set_up import Studio

TASKS_A_WORKER, BATCH = 24, 50


@contextmanager
def on_celery() -> Iterator[AirflowServer]:
    """Start an Airflow on Celery for it."""
    with Studio(DAGS, tasks_a_worker=TASKS_A_WORKER) as studio:
        yield studio.airflow


if __name__ == "__main__":
    sys.exit(main(on_celery, BATCH, "make chaos ON=celery"))

"""The DAG of ``benchmarks/polling.py``: one task, whose instances are put in place already deferred."""

from __future__ import annotations

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG

with DAG("polling", schedule=None):
    EmptyOperator(task_id="wait")

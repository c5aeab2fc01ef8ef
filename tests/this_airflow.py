"""What the Airflow of these tests has, asked for by the thing and not by the version."""

from __future__ import annotations

import importlib
from importlib.resources import files
from typing import Any, get_args

import pytest


def _has(module: str, name: str) -> bool:
    """Whether a module exists and has a name."""
    try:
        return hasattr(importlib.import_module(module), name)
    except ModuleNotFoundError:
        return False


def _clear_options() -> dict[str, Any]:
    from airflow.api_fastapi.core_api.datamodels.task_instances import ClearTaskInstancesBody

    return dict(ClearTaskInstancesBody.model_fields)


def has_task_state_store() -> bool:
    """Whether tasks have a task state store (Airflow 3.3 and newer)."""
    return _has("airflow.sdk.execution_time.context", "TaskStateStoreAccessor")


def has_retry_policies() -> bool:
    """Whether a task may have a retry policy (Airflow 3.3 and newer)."""
    return _has("airflow.sdk", "RetryPolicy")


def masks_on_an_event_loop() -> bool:
    """Whether a secret can be masked without a blocking word to the supervisor (Airflow 3.3.2 and newer)."""
    return _has("airflow.sdk.log", "amask_secret")


def can_reschedule() -> bool:
    """Whether a retry policy may run a task again without using a retry (Airflow 3.4 and newer)."""
    from airflow.sdk import RetryDecision

    return hasattr(RetryDecision, "reschedule")


def is_retried(error: Exception) -> bool:
    """Whether Airflow tries a task of this package's operators again after an error."""
    if not has_retry_policies():
        return not isinstance(error, airflow_exception("AirflowFailException"))
    from airflow_provider_scenario.retry_policy import ScenarioRetryPolicy

    return ScenarioRetryPolicy().evaluate(error, try_number=1, max_tries=2).action.value != "fail"


def assets_have_pages_of_plugins() -> bool:
    """Whether a plugin may add a page to Airflow's assets (Airflow 3.4 and newer)."""
    from airflow.api_fastapi.core_api.datamodels.plugins import BaseDestinationLiteral

    return "asset" in get_args(BaseDestinationLiteral)


def clear_can_keep_task_state() -> bool:
    """Whether a clear says if the task state is kept (Airflow 3.4 and newer); by default it is not."""
    return "keep_task_state" in _clear_options()


def task_state_survives_clear() -> bool:
    """Whether a plain clear of a task keeps its task state (Airflow 3.3 alone)."""
    return has_task_state_store() and not clear_can_keep_task_state()


def airflow_exception(name: str) -> Any:
    """Return one of Airflow's exceptions, wherever this Airflow keeps it."""
    homes = ("airflow.sdk.exceptions", "airflow.exceptions")
    return getattr(importlib.import_module(next(home for home in homes if _has(home, name))), name)


def dag_serialization() -> Any:
    """Return what turns a DAG into a document and back: `to_dict` and `from_dict`."""
    module = importlib.import_module("airflow.serialization.serialized_objects")
    return module.DagSerialization if hasattr(module, "DagSerialization") else module.SerializedDAG


def reads_connection_fields() -> bool:
    """Whether the connection form follows what a provider says of its fields (Airflow 3.2 and newer)."""
    return "conn-fields" in files("airflow").joinpath("provider.yaml.schema.json").read_text()


needs_async_masking = pytest.mark.skipif(
    not masks_on_an_event_loop(), reason="this Airflow masks by blocking words only"
)
"""For a test of how a secret is masked on an event loop without a blocking word."""

needs_connection_fields = pytest.mark.skipif(not reads_connection_fields(), reason="this Airflow's form is fixed")
"""For a test of the connection form."""

needs_retry_policies = pytest.mark.skipif(not has_retry_policies(), reason="this Airflow has no retry policies")
"""For a test of an operator's retry policy."""

STORES = (False, True) if has_task_state_store() else (False,)
"""Without a task state store, and with one where this Airflow has any: for a test of what must hold either way."""

needs_task_state_store = pytest.mark.skipif(not has_task_state_store(), reason="this Airflow has no task state store")
"""For a test of what only a task state store can do."""

"""How Airflow is asked for a connection and told of a secret, in a task and on an event loop.

Words to Airflow's supervisor go the way Airflow's own async helpers go: by its coroutines where it has them, else by
asgiref's ``sync_to_async``. A thread of our own would speak to the supervisor on a loop of its own, which stops the
whole triggerer of Airflow 3.1. What differs between the versions is asked for here, by what there is, and nowhere else.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowNotFoundException

from airflow_provider_scenario.exceptions import (
    ScenarioConfigurationError,
    ScenarioError,
    ScenarioTransientError,
    redact,
)

if TYPE_CHECKING:
    from airflow.sdk import BaseHook, Connection


def read_connection(hook: BaseHook, conn_id: str) -> tuple[Connection, Mapping[str, Any]] | None:
    """Return a connection with its extra, or ``None`` where there surely is none; raise where that is not known."""
    try:
        connection = hook.get_connection(conn_id)
        extra = connection.extra_dejson
    except AirflowNotFoundException:
        fault = _fault_of_backends(conn_id) or _fault_of_supervisor(conn_id)
    except Exception as error:  # noqa: BLE001 - a backend may raise whatever it likes
        fault = _unreadable(conn_id, _words(error))
    else:
        _check_extra(connection, conn_id)
        return connection, extra
    if fault is not None:
        raise fault  # transient: what may hold it does not answer; else a variable can't be read
    return None


async def aread_connection(hook: BaseHook, conn_id: str) -> tuple[Connection, Mapping[str, Any]] | None:
    """Return what :func:`read_connection` does, for use on an event loop."""
    from asgiref.sync import sync_to_async

    if not _masks_on_a_loop() or _runs_without_a_supervisor():
        return await sync_to_async(read_connection)(hook, conn_id)
    try:
        connection = await hook.aget_connection(conn_id)
        extra = await connection.aextra_dejson()
    except AirflowNotFoundException:
        fault = await sync_to_async(_fault_of_backends)(conn_id) or await _afault_of_supervisor(conn_id)
    except Exception as error:  # noqa: BLE001 - a backend may raise whatever it likes
        fault = _unreadable(conn_id, _words(error))
    else:
        _check_extra(connection, conn_id)
        return connection, extra
    if fault is not None:
        raise fault
    return None


def mask_secret(secret: str) -> None:
    """Tell Airflow's log masker, and its supervisor's, of a secret."""
    from airflow.sdk.log import mask_secret as mask

    mask(secret)


async def amask_secret(secret: str) -> None:
    """Do what :func:`mask_secret` does, for use on an event loop."""
    try:
        from airflow.sdk.log import amask_secret as mask
    except ImportError:  # Airflow below 3.3.2
        from asgiref.sync import sync_to_async

        await sync_to_async(mask_secret)(secret)
    else:
        await mask(secret)


def _check_extra(connection: Connection, conn_id: str) -> None:
    """Refuse an extra that is no JSON object: Airflow takes it for an empty one, which may name another project."""
    text = (connection.extra or "").strip()
    try:
        is_object = not text or isinstance(json.loads(text), dict)
    except ValueError:
        is_object = False
    if not is_object:
        raise ScenarioConfigurationError(
            f"The extra of the connection {conn_id} must be a JSON object, such as "
            '{"request_timeout": 60}. Nothing was asked of Scenario.'
        )


def _unreadable(conn_id: str, trouble: str) -> ScenarioTransientError:
    return ScenarioTransientError(
        f"The connection {conn_id} could not be read: {trouble}. Nothing was asked of Scenario. This may pass; if it "
        "stays, look at Airflow's secrets backend and API server.",
        sent=False,
    )


def _fault_of_backends(conn_id: str) -> ScenarioError | None:
    """Return why a connection that was not found may exist all the same; ``None`` if it surely does not."""
    # Airflow passes over a secrets backend that fails, and then says that the connection is not defined.
    for backend in _secrets_backends():
        try:
            if backend.get_connection(conn_id=conn_id):
                return _unreadable(conn_id, "it was found only when it was looked for again")
        except Exception as error:  # noqa: BLE001 - a backend may raise whatever it likes
            if type(backend).__name__ == "EnvironmentVariablesBackend":
                return _broken_variable(conn_id, error)
            return _unreadable(conn_id, _words(error))
    return None


def _fault_of_supervisor(conn_id: str) -> ScenarioError | None:
    """Ask the API server itself: its secrets backend reports every error as "not found"."""
    supervisor = _supervisor()
    if supervisor is None:
        return None
    try:
        answer = supervisor.send(_question(conn_id))
    except Exception as error:  # noqa: BLE001 - as the backend does, which calls it "not found"
        answer = getattr(error, "error", None)
    return _fault_of_answer(conn_id, answer)


async def _afault_of_supervisor(conn_id: str) -> ScenarioError | None:
    """Do what :func:`_fault_of_supervisor` does, for use on an event loop."""
    try:
        answer = await _supervisor().asend(_question(conn_id))
    except Exception as error:  # noqa: BLE001 - as above
        answer = getattr(error, "error", None)
    return _fault_of_answer(conn_id, answer)


def _supervisor() -> Any:
    from airflow.sdk.execution_time import task_runner

    return getattr(task_runner, "SUPERVISOR_COMMS", None)


def _question(conn_id: str) -> Any:
    from airflow.sdk.execution_time.comms import GetConnection

    return GetConnection(conn_id=conn_id)


def _fault_of_answer(conn_id: str, answer: Any) -> ScenarioError | None:
    from airflow.sdk.exceptions import ErrorType

    kind = getattr(answer, "error", None)
    if kind in (ErrorType.API_SERVER_ERROR, ErrorType.GENERIC_ERROR):
        return _unreadable(conn_id, f"Airflow's API server answers {kind.value}")
    return None


def _broken_variable(conn_id: str, error: Exception) -> ScenarioConfigurationError:
    # Airflow's own words may hold the whole URI, with the secret in it.
    return ScenarioConfigurationError(
        f"The variable AIRFLOW_CONN_{conn_id.upper()} can't be read as a connection ({type(error).__name__}). It must "
        "be a JSON object, and its extra must be a JSON object too; or a URI."
    )


def _secrets_backends() -> Iterable[Any]:
    """Return the secrets backends, without Airflow's two own, which answer "not found" to every error."""
    try:
        from airflow.sdk.execution_time.supervisor import ensure_secrets_backend_loaded
    except ImportError:
        return ()
    return [one for one in ensure_secrets_backend_loaded() if type(one).__name__ not in _BACKENDS_WITHOUT_ERRORS]


_BACKENDS_WITHOUT_ERRORS = ("ExecutionAPISecretsBackend", "MetastoreBackend")
"""Airflow's own backends: they answer "not found" whatever is wrong."""


def _masks_on_a_loop() -> bool:
    """Whether this Airflow masks a connection's secrets without a blocking word on the loop: 3.3.2 and later."""
    from airflow.sdk import Connection

    return hasattr(Connection, "aextra_dejson")


def _runs_without_a_supervisor() -> bool:
    """Whether this is `airflow dags test`, which runs triggers too, but reads its database only synchronously."""
    from airflow.sdk.execution_time import task_runner

    return not hasattr(getattr(task_runner, "SUPERVISOR_COMMS", None), "asend")


def _words(error: Exception) -> str:
    """Return an error in words that are fit for a log."""
    text = redact(error).strip().rstrip(".")
    return f"{type(error).__name__}: {text}" if text else type(error).__name__

"""The settings of an Airflow that runs on one machine, quickly and beside others of its kind."""

from __future__ import annotations

import base64
import json
import os
import secrets
import socket
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

NEVER_INHERITED = ("PYTHONDONTWRITEBYTECODE", "PYTHONPATH", "VIRTUAL_ENV", "FORCE_COLOR")

QUICK_TO_NOTICE_DEATH = {
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "30",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "3",
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "5",
    "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "15",
    "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "15",
}
"""Airflow takes five minutes by default to see that a worker's whole machine is gone."""


class Ports(NamedTuple):
    """The ports one Airflow listens on."""

    api: int
    worker_logs: int
    trigger_logs: int


def free_ports(count: int) -> list[int]:
    """Ports nobody listens on now, all different."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def inherited_environment() -> dict[str, str]:
    """This process's environment without what would change how Airflow behaves.

    A developer's own AIRFLOW_HOME, connections and settings are not the test's.
    """
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("AIRFLOW_", "_AIRFLOW")) and name not in NEVER_INHERITED
    }
    for name in ("NO_PROXY", "no_proxy"):
        environment[name] = ",".join(filter(None, [environment.get(name), "localhost", "127.0.0.1", "::1"]))
    environment["SCENARIO_VIDEOS"] = "file:///"  # the examples' root: each test saves in a folder of its own
    return environment


def bundle_list(dags_folders: Sequence[Path]) -> str:
    """The DAG bundles of the given folders, as Airflow's setting wants them."""
    names: set[str] = set()
    bundles = []
    for number, folder in enumerate(dags_folders):
        name = folder.name if folder.name not in names else f"{folder.name}-{number}"
        names.add(name)
        bundles.append(
            {
                "name": name,
                "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
                "kwargs": {"path": str(folder), "refresh_interval": 60},
            }
        )
    return json.dumps(bundles)


def settings(
    *, home: Path, dags_folders: Sequence[Path], ports: Ports, database_url: str, parallelism: int
) -> dict[str, str]:
    """Everything Airflow is told by its environment; keys and secrets are drawn anew each time."""
    url = f"http://localhost:{ports.api}"
    values = {
        "core": {
            "executor": "LocalExecutor",
            "parallelism": parallelism,
            "load_examples": False,
            "dags_are_paused_at_creation": False,
            "simple_auth_manager_all_admins": True,
            "execution_api_server_url": f"{url}/execution/",
            "fernet_key": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
            "test_connection": "Enabled",
        },
        # The server migrates the database itself, once; each component's own check costs time.
        # Some of the API server's requests need two connections at once: if fifteen, the default, all wait for their
        # second one, it stands still for thirty seconds.
        "database": {
            "sql_alchemy_conn": database_url,
            "check_migrations": False,
            "sql_alchemy_pool_pre_ping": False,
            "sql_alchemy_pool_size": 20,
            "sql_alchemy_max_overflow": 80,
        },
        "api": {
            "host": "127.0.0.1",
            "port": ports.api,
            "base_url": url,
            "workers": 1,
            "secret_key": secrets.token_hex(32),
        },
        "api_auth": {"jwt_secret": secrets.token_hex(64)},
        "scheduler": {
            "scheduler_heartbeat_sec": 1,
            "trigger_timeout_check_interval": 1,
        },
        # All files are read at the start, and none changes.
        "dag_processor": {
            "dag_bundle_config_list": bundle_list(dags_folders),
            "refresh_interval": 60,
            "min_file_process_interval": 3600,
            "bundle_refresh_check_interval": 5,
        },
        "logging": {
            "base_log_folder": home / "logs",
            "worker_log_server_port": ports.worker_logs,
            "trigger_log_server_port": ports.trigger_logs,
            "colored_console_log": False,
        },
        # At a beat a running task learns that it was cleared or marked; Airflow's own five seconds are long to wait.
        # A busy machine's API server may take longer to answer than the five seconds that a worker allows it.
        "workers": {"min_heartbeat_interval": 3, "execution_api_timeout": 30},
        "usage_data_collection": {"enabled": False},
    }
    flat = {
        f"AIRFLOW__{section.upper()}__{name.upper()}": str(value)
        for section, options in values.items()
        for name, value in options.items()
    }
    return {"AIRFLOW_HOME": str(home), "PYTHONUNBUFFERED": "1", "NO_COLOR": "1", **flat}

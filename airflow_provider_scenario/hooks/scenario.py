"""An Airflow connection becomes a Scenario client."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import urllib.parse
from collections.abc import Mapping
from typing import TYPE_CHECKING

from airflow.providers.common.compat.sdk import AirflowNotFoundException
from airflow.sdk import BaseHook

from airflow_provider_scenario.api.access import DEFAULT_BASE_URL, DEFAULT_TIMEOUT, Access
from airflow_provider_scenario.api.values import CAME_OUT_EMPTY, is_no_value, name_or_none
from airflow_provider_scenario.exceptions import ScenarioConfigurationError, ScenarioError

if TYPE_CHECKING:
    from airflow.sdk import Connection

    from airflow_provider_scenario.api.async_client import AsyncScenarioClient
    from airflow_provider_scenario.api.client import ScenarioClient
    from airflow_provider_scenario.api.retry import Patience

API_KEY_VARIABLE = "SCENARIO_SDK_API_KEY"
API_SECRET_VARIABLE = "SCENARIO_SDK_API_SECRET"  # noqa: S105 - the name of a variable
BASE_URL_VARIABLE = "SCENARIO_BASE_URL"


class ScenarioHook(BaseHook):
    """Gives the clients of one Scenario project.

    The connection: login is the API key, password the API secret, host the base URL (default
    ``https://api.cloud.scenario.com/v1``); extra may hold ``project_id`` and ``timeout`` (seconds). Where there is no
    such connection, the environment variables of Scenario's own clients are used: ``SCENARIO_SDK_API_KEY``,
    ``SCENARIO_SDK_API_SECRET`` and, if set, ``SCENARIO_BASE_URL``.

    :param scenario_conn_id: The connection's id. Default ``scenario_default``.
    :param project_id: The project to assert on every call; one that came out empty, as ``None``, is none. Default: the
        connection's, else the key's own.
    :raises ScenarioConfigurationError: if the connection's id came out empty.
    """

    conn_name_attr = "scenario_conn_id"
    default_conn_name = "scenario_default"
    conn_type = "scenario"
    hook_name = "Scenario"

    def __init__(self, scenario_conn_id: str = default_conn_name, project_id: str | None = None) -> None:
        super().__init__()
        if is_no_value(scenario_conn_id):
            raise ScenarioConfigurationError(
                f"scenario_conn_id came out empty ({scenario_conn_id!r}), {CAME_OUT_EMPTY}. Nothing was bought: the "
                "connection decides who pays. Mend what it comes from, then clear the task."
            )
        self.scenario_conn_id = scenario_conn_id
        self.project_id = name_or_none(project_id)

    def get_access(self) -> Access:
        """Return where Scenario is and who asks.

        :raises ScenarioConfigurationError: if there is neither such a connection nor the two variables, or if it
            lacks key or secret.
        """
        try:
            connection = self.get_connection(self.scenario_conn_id)
        except AirflowNotFoundException:
            connection = None
        if connection is not None:
            return self._access_from(connection, connection.extra_dejson)
        from airflow.providers.common.compat.sdk import mask_secret

        access = self._access_from_environment()
        mask_secret(access.api_secret)
        return access

    async def get_async_access(self) -> Access:
        """Return what :meth:`get_access` does, for use on an event loop."""
        from airflow.providers.common.compat.connection import get_async_connection, get_async_extra_dejson

        connection: Connection | None = None
        with contextlib.suppress(AirflowNotFoundException):
            connection = await get_async_connection(self.scenario_conn_id)
        if connection is None and _runs_without_a_supervisor():
            with contextlib.suppress(AirflowNotFoundException):
                connection = await asyncio.to_thread(self.get_connection, self.scenario_conn_id)
        if connection is not None:
            return self._access_from(connection, await get_async_extra_dejson(connection))
        access = self._access_from_environment()
        await _mask_secret_on_a_loop(access.api_secret)
        return access

    def get_conn(self) -> ScenarioClient:
        """Return a client for workers; close it after use, or use it as a context manager."""
        from airflow_provider_scenario.api.client import ScenarioClient

        return ScenarioClient(self.get_access())

    async def get_async_conn(self, patience: Patience | None = None) -> AsyncScenarioClient:
        """Return a client for the triggerer; close it after use, or use it as an async context manager.

        :param patience: How long to keep at calls that may be repeated. Default: as the client does.
        """
        from airflow_provider_scenario.api.async_client import AsyncScenarioClient

        return AsyncScenarioClient(await self.get_async_access(), patience)

    def test_connection(self) -> tuple[bool, str]:
        """Make one cheap call that needs a good key, and say what it told.

        :return: Whether the connection works, and which project it leads to, or why not.
        """
        from airflow_provider_scenario.api import calls

        try:
            with self.get_conn() as client:
                client.send(calls.list_models())
                try:
                    projects = client.send(calls.list_projects())
                except ScenarioError:
                    projects = ()
        except ScenarioError as error:
            return False, str(error)
        where = f" ({', '.join(projects)})" if projects else ""
        asserted = f" Every call asserts project {client.access.project_id}." if client.access.project_id else ""
        return True, f"Scenario accepts the API key{where}.{asserted}"

    def _access_from(self, connection: Connection, extra: object) -> Access:
        if not isinstance(extra, Mapping):
            raise ScenarioConfigurationError(
                f'The extra of the connection {self.scenario_conn_id} must be a JSON object, such as {{"timeout": 60}}.'
            )
        if not connection.login or not connection.password:
            raise ScenarioConfigurationError(
                f"The connection {self.scenario_conn_id} needs a login (Scenario's API key) and a password "
                "(its API secret)."
            )
        project_id = extra.get("project_id")
        return Access(
            api_key=connection.login,
            api_secret=connection.password,
            base_url=_base_url(
                connection.host,
                f"The host of the connection {self.scenario_conn_id}",
                port=connection.port,
                schema=connection.schema,
            ),
            project_id=self.project_id or (str(project_id) if project_id else None),
            timeout=_timeout(self.scenario_conn_id, extra.get("timeout")),
        )

    def _access_from_environment(self) -> Access:
        api_key, api_secret = os.environ.get(API_KEY_VARIABLE), os.environ.get(API_SECRET_VARIABLE)
        if not api_key or not api_secret:
            raise ScenarioConfigurationError(
                f"There is no connection {self.scenario_conn_id}, and {API_KEY_VARIABLE} and {API_SECRET_VARIABLE} are "
                "not both set. Add a connection of type scenario: login is the API key, password the API secret."
            )
        return Access(
            api_key=api_key,
            api_secret=api_secret,
            base_url=_base_url(os.environ.get(BASE_URL_VARIABLE), f"The variable {BASE_URL_VARIABLE}"),
            project_id=self.project_id,
        )


async def _mask_secret_on_a_loop(secret: str) -> None:
    """Tell Airflow's log masker of a secret without a blocking word to the supervisor on the event loop."""
    try:
        from airflow.sdk.log import amask_secret
    except ImportError:  # Airflow below 3.3.2
        from airflow.providers.common.compat.sdk import mask_secret

        await asyncio.to_thread(mask_secret, secret)
    else:
        await amask_secret(secret)


def _base_url(host: str | None, where: str, *, port: int | None = None, schema: str | None = None) -> str:
    """Return the base URL that host, port and schema of a connection spell.

    A bare host means https; a schema is the path, unless it is the word http or https.

    :param host: A host, or a whole URL. Default: the public API.
    :param where: What holds the host, for the message.
    :param port: A port, if ``host`` has none.
    :param schema: The path, if ``host`` has none. Default ``v1``.
    :raises ScenarioConfigurationError: if they spell no http or https URL, or one that holds credentials.
    """
    host, schema = (host or "").strip(), (schema or "").strip().strip("/")
    if not host:
        return DEFAULT_BASE_URL
    if schema.lower() in ("http", "https"):
        scheme, schema = schema.lower(), ""
    else:
        scheme = "https"
    try:
        parts = urllib.parse.urlsplit(host if "://" in host else f"{scheme}://{host}")
        given_port, name = parts.port, parts.hostname
    except ValueError:
        given_port, name, parts = None, None, urllib.parse.urlsplit("")
    if parts.scheme not in ("http", "https") or not name or parts.query or parts.fragment:
        raise ScenarioConfigurationError(
            f"{where} must be a host such as api.cloud.scenario.com, or a URL such as {DEFAULT_BASE_URL}."
        )
    if "@" in parts.netloc:
        raise ScenarioConfigurationError(
            f"{where} must not hold credentials: the login is the API key, the password the API secret."
        )
    netloc = f"{parts.netloc}:{port}" if port and given_port is None else parts.netloc
    return f"{parts.scheme}://{netloc}{parts.path.rstrip('/') or '/' + (schema or 'v1')}"


def _timeout(conn_id: str, given: object) -> float:
    if given in (None, ""):
        return DEFAULT_TIMEOUT
    try:
        timeout = float(str(given))
    except ValueError:
        timeout = 0.0
    if not 0 < timeout < math.inf:
        raise ScenarioConfigurationError(
            f"The extra timeout of the connection {conn_id} must be a number of seconds above 0, not {given!r}."
        )
    return timeout


def _runs_without_a_supervisor() -> bool:
    """Whether this is `airflow dags test`, which runs triggers too, but reads its database only synchronously."""
    from airflow.sdk.execution_time import task_runner

    return not hasattr(getattr(task_runner, "SUPERVISOR_COMMS", None), "asend")

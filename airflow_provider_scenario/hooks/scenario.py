"""An Airflow connection becomes a Scenario client."""

from __future__ import annotations

import dataclasses
import ipaddress
import math
import os
import urllib.parse
from collections.abc import Mapping
from typing import TYPE_CHECKING

from airflow.sdk import BaseHook

from airflow_provider_scenario.api.access import DEFAULT_BASE_URL, DEFAULT_TIMEOUT, Access
from airflow_provider_scenario.api.values import CAME_OUT_EMPTY, is_no_value, name_or_none
from airflow_provider_scenario.exceptions import ScenarioConfigurationError, ScenarioError
from airflow_provider_scenario.hooks.airflow_connection import (
    amask_secret,
    aread_connection,
    mask_secret,
    read_connection,
)

if TYPE_CHECKING:
    from airflow.sdk import Connection

    from airflow_provider_scenario.api.client import ScenarioClient
    from airflow_provider_scenario.api.client_thread import ClientThread
    from airflow_provider_scenario.api.retry import Patience

API_KEY_VARIABLE = "SCENARIO_SDK_API_KEY"
API_SECRET_VARIABLE = "SCENARIO_SDK_API_SECRET"  # noqa: S105 - the name of a variable
BASE_URL_VARIABLE = "SCENARIO_BASE_URL"

_STRAY = "\ufeff\u200b\u2060"
"""What files and forms leave around a text besides white space, and no one sees."""

_QUOTES = "\"'`\u2018\u2019\u201c\u201d\u00ab\u00bb"


class ScenarioHook(BaseHook):
    """Gives the clients of one Scenario project.

    The connection: login is the API key, password the API secret, host the base URL (default
    ``https://api.cloud.scenario.com/v1``); extra may hold ``project_id`` and ``timeout`` (seconds). Where there is no
    connection ``scenario_default``, the environment variables of Scenario's own clients stand in for it:
    ``SCENARIO_SDK_API_KEY``, ``SCENARIO_SDK_API_SECRET`` and, if set, ``SCENARIO_BASE_URL``. They stand in for no other
    connection, lest a slip in its name pays from another account.

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

        :raises ScenarioConfigurationError: if there is no such connection (nor, for ``scenario_default``, the two
            variables), or if it lacks key or secret, or holds what can't be used.
        :raises ScenarioTransientError: if the connection can't be read just now, as with a secrets backend that is out.
        """
        found = read_connection(self, self.scenario_conn_id)
        access = self._access_from(*found) if found is not None else self._access_from_environment()
        if found is None or found[0].password != access.api_secret:
            mask_secret(access.api_secret)  # Airflow masks only what its connections hold, as it stands there.
        return access

    async def get_async_access(self) -> Access:
        """Return what :meth:`get_access` does, for use on an event loop."""
        found = await aread_connection(self, self.scenario_conn_id)
        access = self._access_from(*found) if found is not None else self._access_from_environment()
        if found is None or found[0].password != access.api_secret:
            await amask_secret(access.api_secret)
        return access

    def get_conn(self) -> ScenarioClient:
        """Return a client for workers; close it after use, or use it as a context manager."""
        from airflow_provider_scenario.api.client import ScenarioClient

        return ScenarioClient(self.get_access())

    async def get_async_conn(self, patience: Patience | None = None, timeout: float = math.inf) -> ClientThread:
        """Return a client for the triggerer; close it after use, or use it as an async context manager.

        It is the workers' client, in a thread of its own.

        :param patience: How long to keep at calls that may be repeated. Default: as the client does.
        :param timeout: Seconds to wait for each reply, where the connection allows more. Default: as it says.
        """
        from airflow_provider_scenario.api.client_thread import ClientThread

        access = await self.get_async_access()
        return ClientThread(dataclasses.replace(access, timeout=min(access.timeout, timeout)), patience)

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
        where = f"the connection {self.scenario_conn_id}"
        api_key = _cleaned(connection.login, f"The login of {where}")
        api_secret = _cleaned(connection.password, f"The password of {where}")
        if not api_key or not api_secret:
            raise ScenarioConfigurationError(
                f"The connection {self.scenario_conn_id} needs a login (Scenario's API key) and a password "
                "(its API secret)."
            )
        project_id = extra.get("project_id")
        return Access(
            api_key=api_key,
            api_secret=api_secret,
            base_url=_base_url(connection.host, f"The host of {where}", port=connection.port, schema=connection.schema),
            project_id=self.project_id or (str(project_id).strip() if project_id else None) or None,
            timeout=_timeout(self.scenario_conn_id, extra.get("timeout")),
        )

    def _access_from_environment(self) -> Access:
        how = "Add a connection of type scenario: login is the API key, password the API secret."
        if self.scenario_conn_id != self.default_conn_name:
            raise ScenarioConfigurationError(
                f"There is no connection {self.scenario_conn_id}. Correct scenario_conn_id, or add it. {how} The "
                f"variables {API_KEY_VARIABLE} and {API_SECRET_VARIABLE} stand in for {self.default_conn_name} only."
            )
        api_key = _cleaned(os.environ.get(API_KEY_VARIABLE), f"The variable {API_KEY_VARIABLE}")
        api_secret = _cleaned(os.environ.get(API_SECRET_VARIABLE), f"The variable {API_SECRET_VARIABLE}")
        if not api_key or not api_secret:
            raise ScenarioConfigurationError(
                f"There is no connection {self.scenario_conn_id}, and {API_KEY_VARIABLE} and {API_SECRET_VARIABLE} are "
                f"not both set. {how}"
            )
        return Access(
            api_key=api_key,
            api_secret=api_secret,
            base_url=_base_url(os.environ.get(BASE_URL_VARIABLE), f"The variable {BASE_URL_VARIABLE}"),
            project_id=self.project_id,
        )


def _cleaned(text: str | None, where: str) -> str:
    """Return a text without what surrounds it by accident: white space, a line's end, a byte order mark.

    :param where: What holds the text, for the message.
    :raises ScenarioConfigurationError: if it stands in quotes, which may or may not be part of it.
    """
    cleaned = text or ""
    while cleaned != (cleaned := cleaned.strip().strip(_STRAY)):
        pass
    if cleaned and (cleaned[0] in _QUOTES or cleaned[-1] in _QUOTES):
        raise ScenarioConfigurationError(f"{where} stands in quotes: remove the quotes.")
    return cleaned


def _base_url(host: str | None, where: str, *, port: int | None = None, schema: str | None = None) -> str:
    """Return the base URL that host, port and schema of a connection spell.

    A bare host means https; a schema is the path, unless it is the word http or https.

    :param host: A host, or a whole URL. Default: the public API.
    :param where: What holds the host, for the message.
    :param port: A port, if ``host`` has none.
    :param schema: The path, if ``host`` has none. Default ``v1``.
    :raises ScenarioConfigurationError: if they spell no http or https URL, or one that holds credentials, or one over
        which the key would go in clear.
    """
    host, schema = _cleaned(host, where), (schema or "").strip().strip("/")
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
    if parts.scheme == "http" and not _is_loopback(name):
        raise ScenarioConfigurationError(
            f"{where} must be https: over http the API key would go through the network in clear. Only a Scenario on "
            "this machine (localhost), as the sandbox is, may be asked over http."
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


def _is_loopback(name: str) -> bool:
    """Whether a host is this machine."""
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False

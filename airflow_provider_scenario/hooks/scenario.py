"""An Airflow connection becomes a Scenario client, with a verb for each thing that a ``@task`` may want to do."""

from __future__ import annotations

import dataclasses
import math
import os
import re
import urllib.parse
from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseHook

from airflow_provider_scenario.api.config import DEFAULT_BASE_URL, DEFAULT_TIMEOUT, ClientConfig, is_loopback
from airflow_provider_scenario.api.values import CAME_OUT_EMPTY, INVISIBLE, is_no_value, name_or_none
from airflow_provider_scenario.arguments import MAX_INTERVAL, seconds_of
from airflow_provider_scenario.exceptions import (
    ScenarioConfigurationError,
    ScenarioConnectionError,
    ScenarioError,
    ScenarioNotFoundError,
)
from airflow_provider_scenario.hooks.airflow_connection import (
    amask_secret,
    aread_connection,
    mask_secret,
    read_connection,
)
from airflow_provider_scenario.polling import POLL_INTERVAL, WAIT_TIMEOUT

if TYPE_CHECKING:
    from airflow.sdk import Connection, ObjectStoragePath

    from airflow_provider_scenario.api.asset import Asset
    from airflow_provider_scenario.api.client import ClientThread, ScenarioClient
    from airflow_provider_scenario.api.job import Job
    from airflow_provider_scenario.api.retry import RetryConfig

API_KEY_VARIABLE = "SCENARIO_SDK_API_KEY"
API_SECRET_VARIABLE = "SCENARIO_SDK_API_SECRET"  # noqa: S105 - the name of a variable
BASE_URL_VARIABLE = "SCENARIO_BASE_URL"

_CONN_TYPES = ("scenario", "generic", "http", "https", "", None)
"""Types that a connection to Scenario may have. One of another service must not give Scenario its password."""

_EXTRA_FIELDS = ("project_id", "request_timeout")

_QUOTES = "\"'`\u2018\u2019\u201c\u201d\u00ab\u00bb"


class ScenarioHook(BaseHook):
    """Speaks to one Scenario project: submit, wait, download, upload, ask for a price.

    Each verb opens a client of its own; :meth:`get_conn` gives one for many calls. In a DAG prefer the operators: they
    remember what was bought across retries and crashes, which no hook can.

    The connection: login is the API key, password the API secret, host the base URL (default
    ``https://api.cloud.scenario.com/v1``); extra may hold ``project_id`` and ``request_timeout`` (seconds). Where
    there is no connection ``scenario_default``, the environment variables of Scenario's own clients stand in for it:
    ``SCENARIO_SDK_API_KEY``, ``SCENARIO_SDK_API_SECRET`` and, if set, ``SCENARIO_BASE_URL``. They stand in for no other
    connection, so that a typing error in its name never charges another account.

    :param scenario_conn_id: The connection's id. Default ``scenario_default``.
    :param project_id: The Scenario project to name in each request; one that came out empty, as ``None``, is none.
        Default: the connection's, else the key's own.
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
                "connection decides who pays. Correct what it comes from, then clear the task."
            )
        self.scenario_conn_id = scenario_conn_id
        self.project_id = name_or_none(project_id)

    def get_client_config(self) -> ClientConfig:
        """Return where Scenario is and who asks.

        :raises ScenarioConfigurationError: if there is no such connection (nor, for ``scenario_default``, the two
            variables), or if it lacks key or secret, or holds what can't be used.
        :raises ScenarioTransientError: if the connection can't be read just now, as with a secrets backend that is out.
        """
        try:
            return self._read_client_config()
        except ScenarioError as error:
            failure = error
        # The frames it comes from hold the connection, whose repr shows the password.
        raise failure.with_traceback(None)

    async def get_async_client_config(self) -> ClientConfig:
        """Return what :meth:`get_client_config` does, for use on an event loop."""
        try:
            return await self._aread_client_config()
        except ScenarioError as error:
            failure = error
        raise failure.with_traceback(None)  # As above.

    def get_conn(self) -> ScenarioClient:
        """Return a client for workers; close it after use, or use it as a context manager."""
        from airflow_provider_scenario.api.client import ScenarioClient

        return ScenarioClient(self.get_client_config())

    async def get_async_conn(self, retry_config: RetryConfig | None = None, timeout: float = math.inf) -> ClientThread:
        """Return a client for the triggerer; close it after use, or use it as an async context manager.

        It is the workers' client, in a thread of its own.

        :param retry_config: How long to keep at calls that may be repeated. Default: as the client does.
        :param timeout: Seconds to wait for each reply, where the connection allows more. Default: as it says.
        """
        from airflow_provider_scenario.api.client import ClientThread

        config = await self.get_async_client_config()
        return ClientThread(dataclasses.replace(config, timeout=min(config.timeout, timeout)), retry_config)

    def submit(self, model_id: str, inputs: Mapping[str, Any]) -> Job:
        """Buy one generation: one paid POST, never repeated, and remembered by nobody.

        A retry of a task that calls this buys again. ``ScenarioGenerateOperator`` does not.

        :param model_id: The model, such as ``model_wan-2-2-t2v``.
        :param inputs: Its inputs by the API's names. Files are asset ids: see :meth:`upload`.
        :return: The job as it was accepted.
        :raises ScenarioError: if it was not accepted. If the error's ``is_refusal`` is false and ``sent`` is true it
            may have been accepted all the same: look at Scenario's job list before you try again.
        """
        from airflow_provider_scenario.api import calls

        with self.get_conn() as client:
            return client.send(calls.submit(model_id, dict(inputs or {}))).job

    def estimate(self, model_id: str, inputs: Mapping[str, Any]) -> Decimal:
        """Ask what a generation would cost, by a dry run that buys nothing.

        :param model_id: The model.
        :param inputs: Its inputs by the API's names; the price is for just these.
        :return: Creative units.
        :raises ScenarioDryRunError: if Scenario made a job all the same, which is charged.
        :raises ScenarioError: if Scenario refuses the inputs or can't be asked.
        """
        from airflow_provider_scenario.api import calls

        with self.get_conn() as client:
            return client.send(calls.estimate(model_id, inputs))

    def get_job(self, job_id: str) -> Job:
        """Read a job as it is now.

        :param job_id: The job.
        :raises ScenarioError: if it can't be read.
        """
        from airflow_provider_scenario.api import calls

        with self.get_conn() as client:
            return client.send(calls.get_job(job_id))

    def wait_for_job(self, job_id: str, *, poll_interval: float = POLL_INTERVAL, timeout: float = WAIT_TIMEOUT) -> Job:
        """Wait in this process until a job has succeeded. To wait without a worker use ``ScenarioJobSensor``.

        :param job_id: The job.
        :param poll_interval: Seconds between two polls, more than 0. Default 10.
        :param timeout: Seconds from now after which to give up; the job runs on. Default 3,600.
        :return: The job, with the ids of what it made.
        :raises ScenarioError: if it failed, was canceled, or took too long.
        """
        from airflow_provider_scenario.api import calls
        from airflow_provider_scenario.polling.blocking import wait_for_job

        calls.get_job(job_id)  # An id that is none is refused here, and not after a minute.
        poll_interval = seconds_of("poll_interval", poll_interval, most=MAX_INTERVAL)
        timeout = seconds_of("timeout", timeout)
        with self.get_conn() as client:
            return wait_for_job(job_id, client, poll_interval=poll_interval, timeout=timeout, log=self.log)

    def get_asset(self, asset_id: str) -> Asset:
        """Read an asset: its kind, size and a URL that is good for a while. Keep the id, not the URL.

        :param asset_id: The asset.
        :raises ScenarioError: if it can't be read.
        """
        from airflow_provider_scenario.api import calls

        with self.get_conn() as client:
            return client.send(calls.get_asset(asset_id))

    def download(self, asset_id: str, destination: str | ObjectStoragePath, *, asset_timeout: float = 600.0) -> str:
        """Save an asset's file, checked against what Scenario shows of it.

        :param asset_id: The asset.
        :param destination: A folder, or a name with ``{asset_id}``, ``{index}`` and ``{ext}`` in it.
        :param asset_timeout: Seconds to wait for an asset that is still pending. Default 600.
        :return: The file's URI.
        :raises ScenarioError: if it could not be saved whole.
        """
        from airflow_provider_scenario.files.download import AssetDownloader
        from airflow_provider_scenario.files.location import object_path
        from airflow_provider_scenario.files.manifest import ManifestFile
        from airflow_provider_scenario.files.naming import split_destination
        from airflow_provider_scenario.files.storage import folder_at

        asset_timeout = seconds_of("asset_timeout", asset_timeout, or_zero=True)
        base, template = split_destination(str(destination))
        folder = folder_at(object_path(base, "destination"))
        no_manifest = ManifestFile(folder, None, self.log)
        with self.get_conn() as client:
            downloader = AssetDownloader(client, folder, no_manifest, template, self.log, asset_timeout=asset_timeout)
            return downloader.save([asset_id])[0].uri

    def upload(self, source: str | ObjectStoragePath, name: str | None = None, *, import_timeout: float = 600.0) -> str:
        """Make a Scenario asset of a video, image or audio file. It costs nothing.

        :param source: The file: a path or a URI such as ``s3://connection@bucket/clip.mp4``.
        :param name: What Scenario shall call it. Default: the file's name.
        :param import_timeout: Seconds to wait for Scenario's import. Default 600.
        :return: The asset's id.
        :raises ScenarioError: if the file can't be used or sent.
        """
        from airflow_provider_scenario.files.source import find_source
        from airflow_provider_scenario.files.upload import AssetUploader, UploadCache

        import_timeout = seconds_of("import_timeout", import_timeout, or_zero=True)
        found = find_source(source)
        with self.get_conn() as client:
            return AssetUploader(client, UploadCache(None), self.log, import_timeout=import_timeout).upload(found, name)

    def test_connection(self) -> tuple[bool, str]:
        """Make one cheap call that needs a good key, and say what it showed.

        :return: Whether the connection works, and which project it leads to, or why not.
        """
        from airflow_provider_scenario.api import calls

        address = ""
        try:
            with self.get_conn() as client:
                address = client.config.base_url
                client.send(calls.list_models())
                try:
                    projects = client.send(calls.list_projects())
                except ScenarioError:
                    projects = ()
        except ScenarioNotFoundError:
            return False, f"There is no Scenario API at {address}. Check the host (Base URL): its path ends with /v1."
        except ScenarioConnectionError as error:
            return False, f"{error} The host (Base URL) is {address}."
        except ScenarioError as error:
            return False, str(error)
        where = f" ({', '.join(projects)})" if projects else ""
        asserted = f" Each request names project {client.config.project_id}." if client.config.project_id else ""
        return True, f"Scenario accepts the API key{where}.{asserted}"

    def _read_client_config(self) -> ClientConfig:
        found = read_connection(self, self.scenario_conn_id)
        config = self._config_from(*found) if found is not None else self._config_from_environment()
        if found is None or found[0].password != config.api_secret:
            mask_secret(config.api_secret)  # Airflow masks only what its connections hold, as it stands there.
        return config

    async def _aread_client_config(self) -> ClientConfig:
        found = await aread_connection(self, self.scenario_conn_id)
        config = self._config_from(*found) if found is not None else self._config_from_environment()
        if found is None or found[0].password != config.api_secret:
            await amask_secret(config.api_secret)
        return config

    def _config_from(self, connection: Connection, extra: Mapping[str, Any]) -> ClientConfig:
        where = f"the connection {self.scenario_conn_id}"
        if connection.conn_type not in _CONN_TYPES:
            raise ScenarioConfigurationError(
                f"{where.capitalize()} is of type {connection.conn_type!r}, not {self.conn_type!r}. Its login and "
                "password were not sent to Scenario. Name another connection, or correct its type."
            )
        if unknown := sorted(str(name)[:40] for name in extra if name not in _EXTRA_FIELDS):
            self.log.warning(  # A misspelt project_id would buy in another project.
                "The extra of %s has fields that are not used: %s. It may have %s.",
                where,
                ", ".join(unknown),
                " and ".join(_EXTRA_FIELDS),
            )
        api_key = _cleaned(connection.login, f"The login of {where}")
        api_secret = _cleaned(connection.password, f"The password of {where}")
        if not api_key or not api_secret:
            raise ScenarioConfigurationError(
                f"The connection {self.scenario_conn_id} needs a login (Scenario's API key) and a password "
                "(its API secret)."
            )
        return ClientConfig(
            api_key=api_key,
            api_secret=api_secret,
            base_url=_base_url(connection.host, f"The host of {where}", port=connection.port, schema=connection.schema),
            project_id=self.project_id or name_or_none(extra.get("project_id")),
            timeout=_request_timeout(self.scenario_conn_id, extra.get("request_timeout")),
        )

    def _config_from_environment(self) -> ClientConfig:
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
        return ClientConfig(
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
    cleaned = re.sub(rf"^[\s{INVISIBLE}]+|[\s{INVISIBLE}]+$", "", text or "")
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
    if parts.scheme == "http" and not is_loopback(name):
        raise ScenarioConfigurationError(
            f"{where} must be https: over http the API key would go through the network in clear. Only a Scenario on "
            "this machine (localhost), as the sandbox is, may be asked over http."
        )
    netloc = f"{parts.netloc}:{port}" if port and given_port is None else parts.netloc
    return f"{parts.scheme}://{netloc}{parts.path.rstrip('/') or '/' + (schema or 'v1')}"


def _request_timeout(conn_id: str, given: object) -> float:
    if given in (None, ""):
        return DEFAULT_TIMEOUT
    return seconds_of(f"The extra request_timeout of the connection {conn_id}", given)

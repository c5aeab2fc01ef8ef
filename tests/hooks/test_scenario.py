"""An Airflow connection becomes a client."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import uuid
from typing import Any

import pytest

from airflow_provider_scenario.api import calls
from airflow_provider_scenario.api.config import DEFAULT_BASE_URL, ClientConfig
from airflow_provider_scenario.api.retry import RetryConfig
from airflow_provider_scenario.exceptions import (
    ScenarioConfigurationError,
    ScenarioServerError,
    ScenarioTransientError,
)
from airflow_provider_scenario.hooks.scenario import ScenarioHook
from airflow_provider_scenario.sandbox.server import SandboxServer
from tests.this_airflow import needs_async_masking

KEY, SECRET = "api_key_1", "S3cr3t/+:@ü"
VARIABLE = "AIRFLOW_CONN_SCENARIO_DEFAULT"
STRAY = [("", "\n"), (" ", ""), ("\t", "\r\n"), ("\ufeff", "\u00a0\n"), ("", "\u200b ")]


@pytest.fixture(params=["sync", "async"])
def config_of(request: pytest.FixtureRequest) -> Any:
    """Both ways to the access must tell the same."""
    if request.param == "sync":
        return lambda hook: hook.get_client_config()
    return lambda hook: asyncio.run(hook.get_async_client_config())


@pytest.fixture(autouse=True)
def no_ambient_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (VARIABLE, "SCENARIO_SDK_API_KEY", "SCENARIO_SDK_API_SECRET", "SCENARIO_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


def connect(monkeypatch: pytest.MonkeyPatch, name: str = VARIABLE, **fields: Any) -> None:
    connection = {"conn_type": "scenario", "login": KEY, "password": SECRET, **fields}
    monkeypatch.setenv(name, json.dumps(connection))


def test_a_connection_in_json(config_of: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    connect(monkeypatch, host="api.example", extra={"project_id": "proj_1", "request_timeout": 12.5})
    assert config_of(ScenarioHook()) == ClientConfig(KEY, SECRET, "https://api.example/v1", "proj_1", 12.5)


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("scenario://api_key_1:S3cr3t%2F%2B%3A%40%C3%BC@", ClientConfig(KEY, SECRET)),
        (
            "scenario://api_key_1:S3cr3t%2F%2B%3A%40%C3%BC@api.example",
            ClientConfig(KEY, SECRET, "https://api.example/v1"),
        ),
        (
            "scenario://api_key_1:S3cr3t%2F%2B%3A%40%C3%BC@api.example:8443/v2?project_id=proj_1&request_timeout=5",
            ClientConfig(KEY, SECRET, "https://api.example:8443/v2", "proj_1", 5.0),
        ),
        (
            "scenario://api_key_1:S3cr3t%2F%2B%3A%40%C3%BC@http%3A%2F%2Flocalhost%3A8080%2Fv1",
            ClientConfig(KEY, SECRET, "http://localhost:8080/v1"),
        ),
    ],
)
def test_a_connection_as_a_uri(
    config_of: Any, monkeypatch: pytest.MonkeyPatch, uri: str, expected: ClientConfig
) -> None:
    monkeypatch.setenv(VARIABLE, uri)
    assert config_of(ScenarioHook()) == expected


@pytest.mark.parametrize(
    ("fields", "base_url"),
    [
        ({}, DEFAULT_BASE_URL),
        ({"host": ""}, DEFAULT_BASE_URL),
        ({"host": "  "}, DEFAULT_BASE_URL),
        ({"host": "", "port": 0, "schema": ""}, DEFAULT_BASE_URL),
        ({"host": "https://api.cloud.scenario.com/v1"}, DEFAULT_BASE_URL),
        ({"host": "https://api.cloud.scenario.com/v1/"}, DEFAULT_BASE_URL),
        ({"host": "https://api.cloud.scenario.com"}, DEFAULT_BASE_URL),
        ({"host": "https://api.cloud.scenario.com/"}, DEFAULT_BASE_URL),
        ({"host": "api.cloud.scenario.com"}, DEFAULT_BASE_URL),
        ({"host": " api.cloud.scenario.com/ "}, DEFAULT_BASE_URL),
        ({"host": "api.cloud.scenario.com/v1"}, DEFAULT_BASE_URL),
        ({"host": "api.cloud.scenario.com", "port": 0}, DEFAULT_BASE_URL),
        ({"host": "api.cloud.scenario.com", "schema": "v1"}, DEFAULT_BASE_URL),
        ({"host": "api.cloud.scenario.com", "schema": "/v1/"}, DEFAULT_BASE_URL),
        ({"host": "api.cloud.scenario.com", "schema": "https"}, DEFAULT_BASE_URL),
        ({"host": "localhost", "schema": "http", "port": 8080}, "http://localhost:8080/v1"),
        ({"host": "api.example", "port": 8443}, "https://api.example:8443/v1"),
        ({"host": "api.example:9000", "port": 8443}, "https://api.example:9000/v1"),
        ({"host": "http://localhost:8080/v1", "port": 8080}, "http://localhost:8080/v1"),
        ({"host": "http://localhost/v1", "port": 8080}, "http://localhost:8080/v1"),
        ({"host": "http://localhost:8080", "schema": "v2"}, "http://localhost:8080/v2"),
        ({"host": "http://localhost:8080/proxy/v1", "schema": "v2"}, "http://localhost:8080/proxy/v1"),
        ({"host": "http://[::1]:8080"}, "http://[::1]:8080/v1"),
    ],
)
def test_hosts(config_of: Any, monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any], base_url: str) -> None:
    connect(monkeypatch, **fields)
    assert config_of(ScenarioHook()).base_url == base_url


@pytest.mark.parametrize(
    "host",
    [
        "ftp://api.example",
        "https://",
        "https:///v1",
        "https://api.example:port",
        "https://api.example:99999",
        "::1",
        "https://[::1/v1",
        "https://api.example/v1?key=1",
        "https://api.example/v1#here",
    ],
)
def test_a_host_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    connect(monkeypatch, host=host)
    with pytest.raises(ScenarioConfigurationError, match="The host of the connection scenario_default must be a host"):
        ScenarioHook().get_client_config()


def test_credentials_in_the_host_are_refused_and_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    connect(monkeypatch, host="https://somebody:word-of-pass@api.example/v1")
    with pytest.raises(ScenarioConfigurationError, match="must not hold credentials") as caught:
        ScenarioHook().get_client_config()
    assert "word-of-pass" not in str(caught.value)


@pytest.mark.parametrize(
    ("extra", "project_id", "timeout"),
    [
        ({}, None, 60.0),
        ({"project_id": "", "request_timeout": ""}, None, 60.0),
        ({"project_id": None, "request_timeout": None}, None, 60.0),
        ({"project_id": " null ", "request_timeout": " 7 "}, None, 7.0),
        ({"project_id": "proj_1", "request_timeout": 5}, "proj_1", 5.0),
        ({"project_id": 7, "request_timeout": "0.5"}, "7", 0.5),
    ],
)
def test_extras(
    config_of: Any, monkeypatch: pytest.MonkeyPatch, extra: dict[str, Any], project_id: str | None, timeout: float
) -> None:
    connect(monkeypatch, extra=extra)
    config = config_of(ScenarioHook())
    assert (config.project_id, config.timeout) == (project_id, timeout)


@pytest.mark.parametrize("conn_type", ["aws", "postgres", "slack"])
def test_a_connection_of_another_service_is_not_used(
    config_of: Any, monkeypatch: pytest.MonkeyPatch, conn_type: str
) -> None:
    connect(monkeypatch, conn_type=conn_type)
    with pytest.raises(ScenarioConfigurationError, match=f"is of type '{conn_type}', not 'scenario'") as caught:
        config_of(ScenarioHook())
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("conn_type", ["generic", "http", ""])
def test_a_connection_of_a_general_type_may_be_scenarios(
    config_of: Any, monkeypatch: pytest.MonkeyPatch, conn_type: str
) -> None:
    connect(monkeypatch, conn_type=conn_type)
    assert config_of(ScenarioHook()).api_secret == SECRET


def test_a_connection_may_have_any_name(config_of: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    connect(monkeypatch, "AIRFLOW_CONN_SCENARIO_INTERVAL", extra={"request_timeout": 7200})
    assert config_of(ScenarioHook("scenario_interval")).timeout == 7200.0


@pytest.mark.parametrize("timeout", [0, -1, "soon", "nan", "inf", "1e999", 1e12, True, [5]])
def test_a_timeout_that_is_none_is_refused(config_of: Any, monkeypatch: pytest.MonkeyPatch, timeout: Any) -> None:
    connect(monkeypatch, extra={"request_timeout": timeout})
    with pytest.raises(ScenarioConfigurationError, match="request_timeout of the connection scenario_default"):
        config_of(ScenarioHook())


def test_a_field_of_the_extra_that_is_not_used_is_named(
    config_of: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    connect(monkeypatch, extra={"projectId": "proj_1", "request_timeout": 5})
    assert config_of(ScenarioHook()).project_id is None
    said = caplog.text + "".join(capsys.readouterr())
    assert "has fields that are not used: projectId. It may have project_id and request_timeout." in said
    assert "proj_1" not in said


def test_an_extra_that_is_no_json_is_refused(config_of: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Airflow takes it for an empty one: the purchase would be another project's."""
    connect(monkeypatch, extra='{"project_id": "proj_x",}')
    with pytest.raises(ScenarioConfigurationError, match=r"extra .*must be a JSON object") as caught:
        config_of(ScenarioHook())
    assert "proj_x" not in str(caught.value)


def test_an_extra_that_is_no_object_is_refused(config_of: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    connect(monkeypatch, extra="[1]")
    with pytest.raises(ScenarioConfigurationError, match=r"extra .*must be a JSON object"):
        config_of(ScenarioHook())


@pytest.mark.parametrize("text", ['{"login": "api_key_1", ', f"a://b://c://{SECRET}", '{"port": "x"}', "[]"])
def test_a_connection_that_cannot_be_read_is_not_replaced_by_another_key(
    config_of: Any, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv("SCENARIO_SDK_API_KEY", KEY)
    monkeypatch.setenv("SCENARIO_SDK_API_SECRET", SECRET)
    monkeypatch.setenv(VARIABLE, text)
    with pytest.raises(ScenarioConfigurationError, match=r"scenario_default|AIRFLOW_CONN_SCENARIO_DEFAULT") as caught:
        config_of(ScenarioHook())
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("lacking", [{"login": None}, {"password": None}, {"login": ""}, {"password": ""}])
def test_a_connection_without_key_or_secret_is_refused(
    config_of: Any, monkeypatch: pytest.MonkeyPatch, lacking: dict[str, Any]
) -> None:
    # Not even then is another key taken than the one the author meant.
    monkeypatch.setenv("SCENARIO_SDK_API_KEY", KEY)
    monkeypatch.setenv("SCENARIO_SDK_API_SECRET", SECRET)
    connect(monkeypatch, **lacking)
    with pytest.raises(ScenarioConfigurationError, match=r"scenario_default needs a login .* and a password") as caught:
        config_of(ScenarioHook())
    assert SECRET not in str(caught.value)


def test_the_operators_project_goes_before_the_connections(config_of: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    connect(monkeypatch, extra={"project_id": "proj_1"})
    assert config_of(ScenarioHook(project_id="proj_2")).project_id == "proj_2"


def test_another_connection(config_of: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    connect(monkeypatch, "AIRFLOW_CONN_STUDIO", host="studio.example")
    assert config_of(ScenarioHook("studio")).base_url == "https://studio.example/v1"


def test_without_a_connection_scenarios_own_variables_are_used(config_of: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCENARIO_SDK_API_KEY", KEY)
    monkeypatch.setenv("SCENARIO_SDK_API_SECRET", SECRET)
    assert config_of(ScenarioHook(project_id="proj_1")) == ClientConfig(KEY, SECRET, project_id="proj_1")
    monkeypatch.setenv("SCENARIO_BASE_URL", "http://localhost:8080/v1/")
    assert config_of(ScenarioHook()) == ClientConfig(KEY, SECRET, "http://localhost:8080/v1")
    monkeypatch.setenv("SCENARIO_BASE_URL", "ftp://localhost")
    with pytest.raises(ScenarioConfigurationError, match="variable SCENARIO_BASE_URL must be a host"):
        config_of(ScenarioHook())


@pytest.mark.parametrize("present", [[], ["SCENARIO_SDK_API_KEY"], ["SCENARIO_SDK_API_SECRET"]])
def test_neither_connection_nor_variables(config_of: Any, monkeypatch: pytest.MonkeyPatch, present: list[str]) -> None:
    for name in present:
        monkeypatch.setenv(name, SECRET)
    with pytest.raises(ScenarioConfigurationError) as caught:
        config_of(ScenarioHook())
    assert str(caught.value) == (
        "There is no connection scenario_default, and SCENARIO_SDK_API_KEY and SCENARIO_SDK_API_SECRET are not both "
        "set. Add a connection of type scenario: login is the API key, password the API secret."
    )
    assert caught.value.__context__ is None


@pytest.mark.parametrize("conn_id", ["scenario_prodd", "SCENARIO_DEFAULT", "scenario_default "])
def test_the_environments_key_stands_in_for_no_other_connection(
    config_of: Any, monkeypatch: pytest.MonkeyPatch, conn_id: str
) -> None:
    monkeypatch.setenv("SCENARIO_SDK_API_KEY", KEY)
    monkeypatch.setenv("SCENARIO_SDK_API_SECRET", SECRET)
    with pytest.raises(ScenarioConfigurationError, match=f"There is no connection {conn_id}") as caught:
        config_of(ScenarioHook(conn_id))
    assert caught.value.__context__ is None
    assert "scenario_default only" in str(caught.value)


class SealedVault:
    """A secrets backend that is out."""

    def get_connection(self, conn_id: str) -> Any:
        raise ConnectionError("the vault https://me:word-of-pass@vault/v1?token=SeCrEt is sealed")


@pytest.mark.parametrize("conn_id", ["scenario_default", "scenario_prod"])
@pytest.mark.parametrize("with_variables", [False, True])
def test_a_secrets_backend_that_is_out_is_passing_and_no_other_account_pays(
    config_of: Any, monkeypatch: pytest.MonkeyPatch, conn_id: str, with_variables: bool
) -> None:
    from airflow.sdk.execution_time import supervisor

    usual = supervisor.ensure_secrets_backend_loaded
    monkeypatch.setattr(supervisor, "ensure_secrets_backend_loaded", lambda: [SealedVault(), *usual()])
    if with_variables:
        monkeypatch.setenv("SCENARIO_SDK_API_KEY", KEY)
        monkeypatch.setenv("SCENARIO_SDK_API_SECRET", SECRET)
    with pytest.raises(ScenarioTransientError, match=f"{conn_id} could not be read: ConnectionError") as caught:
        config_of(ScenarioHook(conn_id))
    assert caught.value.sent is False
    assert caught.value.__context__ is None
    assert "word-of-pass" not in str(caught.value)
    assert "SeCrEt" not in str(caught.value)


def test_whatever_keeps_a_connection_from_being_read_is_passing(
    config_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Hook(ScenarioHook):
        @classmethod
        def get_connection(cls, conn_id: str) -> Any:
            raise PermissionError("access denied")

        @classmethod
        async def aget_connection(cls, conn_id: str) -> Any:
            raise PermissionError("access denied")

    with pytest.raises(ScenarioTransientError, match="could not be read: PermissionError: access denied"):
        config_of(Hook())


@pytest.mark.parametrize(("before", "after"), STRAY)
@pytest.mark.parametrize("source", ["connection", "variables"])
def test_white_space_around_key_secret_and_host_is_stripped(
    config_of: Any, monkeypatch: pytest.MonkeyPatch, before: str, after: str, source: str
) -> None:
    from airflow.sdk.log import redact

    secret = f"stripped-{uuid.uuid4()}"
    key, given, host = (f"{before}{text}{after}" for text in (KEY, secret, "api.example"))
    if source == "connection":
        connect(monkeypatch, login=key, password=given, host=host)
    else:
        monkeypatch.setenv("SCENARIO_SDK_API_KEY", key)
        monkeypatch.setenv("SCENARIO_SDK_API_SECRET", given)
        monkeypatch.setenv("SCENARIO_BASE_URL", host)
    assert config_of(ScenarioHook()) == ClientConfig(KEY, secret, "https://api.example/v1")
    assert redact(f"<{secret}>") == "<***>"


@pytest.mark.parametrize("quotes", ['""', "''", "\u201c\u201d", "``"])
@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("login", "The login of the connection"),
        ("password", "The password of the connection"),
        ("host", "The host of the connection"),
        ("SCENARIO_SDK_API_KEY", "The variable SCENARIO_SDK_API_KEY"),
        ("SCENARIO_SDK_API_SECRET", "The variable SCENARIO_SDK_API_SECRET"),
        ("SCENARIO_BASE_URL", "The variable SCENARIO_BASE_URL"),
    ],
)
def test_quotes_are_named(config_of: Any, monkeypatch: pytest.MonkeyPatch, quotes: str, what: str, words: str) -> None:
    quoted = f"{quotes[0]}{SECRET}{quotes[1]}"
    if what.isupper():
        monkeypatch.setenv("SCENARIO_SDK_API_KEY", KEY)
        monkeypatch.setenv("SCENARIO_SDK_API_SECRET", SECRET)
        monkeypatch.setenv(what, quoted)
    else:
        connect(monkeypatch, **{what: quoted})
    with pytest.raises(ScenarioConfigurationError, match=f"^{words}.* stands in quotes: remove") as caught:
        config_of(ScenarioHook())
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "fields",
    [
        {"host": "http://api.cloud.scenario.com/v1"},
        {"host": "HTTP://api.cloud.scenario.com"},
        {"host": "api.cloud.scenario.com", "schema": "http"},
        {"host": "http://10.0.0.7:8080"},
        {"host": "http://localhost.example"},
        {"host": "http://[fd00::1]"},
    ],
)
def test_a_key_does_not_go_in_clear(config_of: Any, monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any]) -> None:
    connect(monkeypatch, **fields)
    with pytest.raises(ScenarioConfigurationError, match="must be https: over http the API key"):
        config_of(ScenarioHook())


@pytest.mark.parametrize("host", ["http://localhost:1", "http://127.0.0.9:1", "http://[::1]:1", "http://s.localhost:1"])
def test_this_machine_may_be_asked_over_http(config_of: Any, monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    connect(monkeypatch, host=host)
    assert config_of(ScenarioHook()).base_url == f"{host}/v1"


@pytest.mark.parametrize("source", ["connection", "variables"])
def test_the_secret_is_masked_in_logs_from_then_on(
    config_of: Any, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    from airflow.sdk.log import redact

    secret = f"kept-from-logs-{uuid.uuid4()}"
    if source == "connection":
        connect(monkeypatch, password=secret)
    else:
        monkeypatch.setenv("SCENARIO_SDK_API_KEY", KEY)
        monkeypatch.setenv("SCENARIO_SDK_API_SECRET", secret)
    assert redact(f"a {secret} b") == f"a {secret} b"
    config_of(ScenarioHook())
    assert redact(f"a {secret} b") == "a *** b"


class _Supervisor:
    """Stands where a task or a trigger speaks to its supervisor; knows no connection."""

    def __init__(self) -> None:
        self.sync: list[Any] = []
        self.asynchronous: list[Any] = []

    def send(self, message: Any) -> Any:
        self.sync.append(message)
        return self._answer()

    async def asend(self, message: Any) -> Any:
        self.asynchronous.append(message)
        return self._answer()

    @staticmethod
    def _answer() -> Any:
        from airflow.sdk.exceptions import ErrorType
        from airflow.sdk.execution_time.comms import ErrorResponse

        return ErrorResponse(error=ErrorType.CONNECTION_NOT_FOUND)


class _ApiServerIsOut(_Supervisor):
    """Says so as Airflow does: in 3.1 as an answer, later as an error."""

    def __init__(self, *, raises: bool) -> None:
        super().__init__()
        self.raises = raises

    def _answer(self) -> Any:  # type: ignore[override]
        from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType
        from airflow.sdk.execution_time.comms import ErrorResponse

        out = ErrorResponse(error=ErrorType.API_SERVER_ERROR, detail={"status_code": 503})
        if self.raises:
            raise AirflowRuntimeError(out)
        return out


@pytest.mark.parametrize("raises", [True, False])
@pytest.mark.parametrize("conn_id", ["scenario_default", "scenario_other"])
def test_an_api_server_that_is_out_is_no_missing_connection(
    config_of: Any, monkeypatch: pytest.MonkeyPatch, raises: bool, conn_id: str
) -> None:
    """The environment's account would pay for what another one's connection was to buy."""
    from airflow.sdk.execution_time import task_runner

    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", _ApiServerIsOut(raises=raises), raising=False)
    monkeypatch.setenv("SCENARIO_SDK_API_KEY", KEY)
    monkeypatch.setenv("SCENARIO_SDK_API_SECRET", SECRET)
    with pytest.raises(ScenarioTransientError, match=f"{conn_id} could not be read: Airflow's API server answers"):
        config_of(ScenarioHook(conn_id))


@needs_async_masking
@pytest.mark.parametrize("source", ["connection", "variables"])
def test_on_an_event_loop_the_supervisor_is_never_spoken_to_in_a_blocking_way(
    monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    from airflow.sdk.execution_time import task_runner

    supervisor = _Supervisor()
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", supervisor, raising=False)
    if source == "connection":
        connect(monkeypatch, extra={"request_timeout": 5})
    else:
        monkeypatch.setenv("SCENARIO_SDK_API_KEY", KEY)
        monkeypatch.setenv("SCENARIO_SDK_API_SECRET", SECRET)
    asyncio.run(ScenarioHook().get_async_client_config())
    assert supervisor.sync == []
    assert SECRET in [getattr(message, "value", None) for message in supervisor.asynchronous]


class _OlderSupervisor(_Supervisor):
    """Notes how it is spoken to: as in a triggerer of 3.1, ``send`` must find its way back to the loop."""

    def send(self, message: Any) -> Any:
        from asgiref.sync import async_to_sync

        return async_to_sync(self.asend)(message)

    async def asend(self, message: Any) -> Any:
        self.loops.add(asyncio.get_running_loop())
        return await super().asend(message)

    loops: set[asyncio.AbstractEventLoop]


@pytest.mark.parametrize("source", ["connection", "variables"])
def test_an_older_airflow_is_spoken_to_on_its_own_loop(monkeypatch: pytest.MonkeyPatch, source: str) -> None:
    """On 3.1 a word from a foreign thread runs on a loop of its own, which stops the whole triggerer."""
    from airflow.sdk import Connection, log
    from airflow.sdk.execution_time import task_runner

    supervisor = _OlderSupervisor()
    supervisor.loops = set()
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", supervisor, raising=False)
    monkeypatch.delattr(log, "amask_secret", raising=False)
    monkeypatch.delattr(Connection, "aextra_dejson", raising=False)
    if source == "connection":
        connect(monkeypatch, extra={"request_timeout": 5})
    else:
        monkeypatch.setenv("SCENARIO_SDK_API_KEY", KEY)
        monkeypatch.setenv("SCENARIO_SDK_API_SECRET", SECRET)

    async def read() -> asyncio.AbstractEventLoop:
        assert (await ScenarioHook().get_async_client_config()).api_secret == SECRET
        return asyncio.get_running_loop()

    own = asyncio.run(read())
    assert supervisor.loops == {own}
    assert SECRET in [getattr(message, "value", None) for message in supervisor.asynchronous]


def test_an_older_airflow_masks_too(monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.sdk import log

    monkeypatch.delattr(log, "amask_secret", raising=False)
    monkeypatch.setenv("SCENARIO_SDK_API_KEY", KEY)
    monkeypatch.setenv("SCENARIO_SDK_API_SECRET", "kept-from-older-logs")
    assert asyncio.run(ScenarioHook().get_async_client_config()).api_secret == "kept-from-older-logs"
    assert log.redact("kept-from-older-logs") == "***"


def test_a_good_connection_is_said_to_be_good(scenario_connection: str, sandbox: SandboxServer) -> None:
    assert ScenarioHook(scenario_connection).test_connection() == (
        True,
        "Scenario accepts the API key (Sandbox team / Sandbox project).",
    )
    # Nothing else than two cheap reads.
    assert sandbox.requests()["counts"] == {"GET /v1/models": 1, "GET /v1/teams": 1}


def test_the_project_need_not_be_told(scenario_connection: str, sandbox: SandboxServer) -> None:
    sandbox.add_fault({"type": "status", "code": 403}, path="/teams", times=None)
    assert ScenarioHook(scenario_connection).test_connection() == (True, "Scenario accepts the API key.")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"password": "wrong"}, "login (API key) and password (API secret)"),
        ({"extra": {"project_id": "proj_elsewhere"}}, "Check project_id of the connection"),
        ({"login": ""}, "needs a login"),
        ({"host": "ftp://x"}, "must be a host"),
        ({"extra": {"request_timeout": 0}}, "request_timeout"),
        (
            {"host": "http://127.0.0.1:9/v1"},
            "name it in HTTPS_PROXY. The host (Base URL) is http://127.0.0.1:9/v1.",
        ),
    ],
)
def test_a_bad_connection_is_told_why(
    monkeypatch: pytest.MonkeyPatch, sandbox: SandboxServer, fields: dict[str, Any], words: str
) -> None:
    monkeypatch.setenv(VARIABLE, json.dumps({**sandbox.connection(), **fields}))
    works, why = ScenarioHook().test_connection()
    assert not works
    assert words in why
    assert sandbox.api_secret not in why


def test_an_address_without_an_api_is_named(monkeypatch: pytest.MonkeyPatch, sandbox: SandboxServer) -> None:
    elsewhere = f"{sandbox.base_url.removesuffix('/v1')}/v7"
    monkeypatch.setenv(VARIABLE, json.dumps({**sandbox.connection(), "host": elsewhere}))
    works, why = ScenarioHook().test_connection()
    assert not works
    assert why.startswith(f"There is no Scenario API at {elsewhere}. Check the host")


def test_the_asserted_project_is_told(monkeypatch: pytest.MonkeyPatch, sandbox: SandboxServer) -> None:
    monkeypatch.setenv(VARIABLE, sandbox.connection_json())
    project_id = _project_of(sandbox)
    works, words = ScenarioHook(project_id=project_id).test_connection()
    assert works
    assert words.endswith(f"Each request names project {project_id}.")


def _project_of(sandbox: SandboxServer) -> str:
    from airflow_provider_scenario.api.client import ScenarioClient

    read_teams = calls.Call("read teams", "GET", "/teams", lambda reply: reply.json(), repeatable=True)
    with ScenarioClient(ClientConfig(sandbox.api_key, sandbox.api_secret, sandbox.base_url)) as client:
        return str(client.send(read_teams)["teams"][0]["projects"][0]["id"])


def test_both_clients_work(scenario_connection: str) -> None:
    hook = ScenarioHook(scenario_connection)
    with hook.get_conn() as client:
        assert client.send(calls.list_models()) == ()

    async def send() -> object:
        async with await hook.get_async_conn() as async_client:
            return await async_client.send(calls.list_models())

    assert asyncio.run(send()) == ()


def test_the_async_client_is_as_patient_as_asked(sandbox: SandboxServer, scenario_connection: str) -> None:
    sandbox.add_fault("status", path="/models", times=2)

    async def send() -> None:
        async with await ScenarioHook(scenario_connection).get_async_conn(RetryConfig(attempts=1)) as client:
            await client.send(calls.list_models())

    with pytest.raises(ScenarioServerError):
        asyncio.run(send())
    assert sandbox.faults()[0]["hits"] == 1


def test_importing_the_hook_imports_no_http_library() -> None:
    """Airflow imports a hook's module to show the connection form, and operators import it at every parse."""
    program = (
        "import sys, airflow.sdk; from airflow.sdk import BaseHook; before = set(sys.modules); "
        "import airflow_provider_scenario.hooks.scenario; "
        "print(sorted({'requests', 'urllib3', 'airflow_provider_scenario.api.client'} & (set(sys.modules) - before)))"
    )
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert shown.stdout.splitlines()[-1] == "[]"

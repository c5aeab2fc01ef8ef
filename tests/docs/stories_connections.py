"""What a connection that is wrong, or right, says. Each is run for real: see ``stage.py``."""

from __future__ import annotations

from typing import Any

from airflow_provider_scenario.hooks.scenario import ScenarioHook
from tests.docs.stage import Stage, connect, generating, raised, remembering, story
from tests.task_run import TaskRun


@raised
def no_connection(stage: Stage) -> None:
    stage.patch.delenv("AIRFLOW_CONN_SCENARIO_DEFAULT")
    generating().execute(TaskRun().context)


@raised
def misspelt_connection(stage: Stage) -> None:
    generating(scenario_conn_id="scenario_prod").execute(TaskRun().context)


@raised
def wrong_key(stage: Stage) -> None:
    connect(stage, password="wrong")
    generating().execute(TaskRun().context)


@raised
def wrong_project(stage: Stage) -> None:
    generating(project_id="proj_of_another_team").execute(TaskRun().context)


@raised
def key_in_quotes(stage: Stage) -> None:
    connect(stage, login='"api_key"')
    generating().execute(TaskRun().context)


@raised
def http_host(stage: Stage) -> None:
    connect(stage, host="http://scenario.example.com/v1")
    generating().execute(TaskRun().context)


@remembering  # Without a record the job list is read before the purchase, and the message begins with that.
@raised
def wrong_proxy(stage: Stage) -> None:
    connect(stage, host="https://api.cloud.scenario.com/v1")
    stage.patch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    generating().execute(TaskRun().context)


@remembering
@raised
def no_way_out(stage: Stage) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        stage.patch.delenv(name, raising=False)
    connect(stage, host="https://localhost:9/v1")
    generating().execute(TaskRun().context)


@raised
def proxy_wants_a_password(stage: Stage) -> None:
    from tests.api.proxies import listening, read_head

    def refuse(connection: Any) -> None:
        read_head(connection)
        connection.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")

    connect(stage, host="https://api.cloud.scenario.com/v1")
    with listening(refuse) as port:
        stage.patch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{port}")
        generating().execute(TaskRun().context)


def meet_a_private_authority(stage: Stage) -> None:
    import ssl

    import trustme

    from tests.api.proxies import listening, with_tls

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("localhost").configure_cert(context)
    with listening(with_tls(context, lambda _: None)) as port:
        connect(stage, host=f"https://localhost:{port}/v1")
        generating().execute(TaskRun().context)


@raised
def private_authority(stage: Stage) -> None:
    meet_a_private_authority(stage)


@raised
def bundle_without_the_authority(stage: Stage) -> None:
    import certifi

    stage.patch.setenv("REQUESTS_CA_BUNDLE", certifi.where())
    meet_a_private_authority(stage)


@raised
def missing_bundle(stage: Stage) -> None:
    connect(stage, host="https://api.cloud.scenario.com/v1")
    stage.patch.setenv("REQUESTS_CA_BUNDLE", "/etc/ssl/company.pem")
    generating().execute(TaskRun().context)


@story
def connection_works(stage: Stage) -> str:
    return ScenarioHook().test_connection()[1]


@story
def connection_fails(stage: Stage) -> str:
    connect(stage, password="wrong")
    return ScenarioHook().test_connection()[1]

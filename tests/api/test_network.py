"""What stands between us and Scenario: proxies, certificates, .netrc files, cut files."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import dataclasses
import datetime
import ipaddress
import json
import ssl
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from airflow_provider_scenario.api import calls
from airflow_provider_scenario.api.client import ClientThread, ScenarioClient, check_file_address
from airflow_provider_scenario.api.config import ClientConfig
from airflow_provider_scenario.api.retry import RetryConfig
from airflow_provider_scenario.exceptions import ScenarioConnectionError, ScenarioFileError
from tests.api.conftest import QUICK, Carrier
from tests.api.scripted_server import Answer, Request, closed_port, in_turn, scripted, seconds_taken

NO_MODELS = Answer(body=b'{"models": []}')
SUBMIT = calls.submit("model_1", {"prompt": "a calm sea"})


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 with its key, that nobody has signed."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("certificate") / "server.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + signed.public_bytes(serialization.Encoding.PEM)
    )
    return path


def server_tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


def test_a_certificate_that_nobody_vouches_for_is_refused_before_anything_is_sent(
    carry: Carrier, certificate: Path
) -> None:
    with scripted(NO_MODELS, server_tls(certificate)) as server:
        for call in (calls.list_models(), SUBMIT):
            with pytest.raises(ScenarioConnectionError) as caught:
                carry(ClientConfig("key", "secret", f"{server.url}/v1", timeout=5), call)
            assert caught.value.sent is False
        assert server.requests == []


def test_a_certificate_of_ones_own_can_be_vouched_for(
    carry: Carrier, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    with scripted(NO_MODELS, server_tls(certificate)) as server:
        assert carry(ClientConfig("key", "secret", f"{server.url}/v1"), calls.list_models()) == ()


def test_requests_go_through_the_proxy_of_the_environment(carry: Carrier, monkeypatch: pytest.MonkeyPatch) -> None:
    with scripted(NO_MODELS) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("http_proxy", proxy.url)
        assert carry(ClientConfig("key", "secret", "http://api.scenario.invalid/v1"), calls.list_models()) == ()
        [request] = proxy.requests
        assert request.target == "http://api.scenario.invalid/v1/models?pageSize=1"


def test_a_host_may_be_kept_from_the_proxy(carry: Carrier, monkeypatch: pytest.MonkeyPatch) -> None:
    with scripted(NO_MODELS) as proxy, scripted(NO_MODELS) as server:
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        assert carry(ClientConfig("key", "secret", f"{server.url}/v1"), calls.list_models()) == ()
        assert len(server.requests) == 1
        assert proxy.requests == []


def test_a_tunnel_that_is_refused_carried_nothing_and_shows_the_proxy_no_key(
    carry: Carrier, monkeypatch: pytest.MonkeyPatch
) -> None:
    with scripted(Answer(403, b"blocked")) as proxy:
        monkeypatch.setenv("https_proxy", proxy.url)
        with pytest.raises(ScenarioConnectionError) as caught:
            carry(ClientConfig("key", "secret", "https://api.scenario.invalid/v1", timeout=5), SUBMIT)
        assert caught.value.sent is False
        [request] = proxy.requests
        assert request.method == "CONNECT"
        assert "authorization" not in request.headers


def test_a_proxy_that_is_not_there_carried_nothing(carry: Carrier, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{closed_port()}")
    monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{closed_port()}")
    for scheme in ("http", "https"):
        with pytest.raises(ScenarioConnectionError) as caught:
            carry(ClientConfig("key", "secret", f"{scheme}://api.scenario.invalid/v1", timeout=5), SUBMIT)
        assert caught.value.sent is False


@pytest.fixture
def netrc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials for 127.0.0.1 that are none of Scenario's business."""
    path = tmp_path / "netrc"
    path.write_text("machine 127.0.0.1 login somebody password SeCrEt\n")
    path.chmod(0o600)
    monkeypatch.setenv("NETRC", str(path))


@pytest.mark.usefixtures("netrc")
def test_a_netrc_file_is_not_heeded(carry: Carrier) -> None:
    config = ClientConfig("key", "secret")
    with scripted(NO_MODELS) as server:
        carry(dataclasses.replace(config, base_url=f"{server.url}/v1"), calls.list_models())
        assert [request.headers["authorization"] for request in server.requests] == [config.authorization()]


@pytest.mark.usefixtures("netrc")
def test_neither_key_nor_netrc_go_to_the_cdn() -> None:
    with (
        scripted(Answer(body=b"bytes")) as cdn,
        ScenarioClient(ClientConfig("key", "secret", "http://127.0.0.1")) as client,
    ):
        with client.open_file(f"{cdn.url}/assets/a?Signature=s", start=3) as stream:
            assert b"".join(map(bytes, stream.chunks(2))) == b"bytes"
        assert client.put_part(f"{cdn.url}/part/1?Signature=s", b"content", "video/mp4") == 200
        got, put = cdn.requests
        assert got.target == "/assets/a?Signature=s"
        assert got.headers["range"] == "bytes=3-"
        assert got.headers["accept-encoding"] == "identity"
        assert put.headers["content-type"] == "video/mp4"
        assert put.body == b"content"
        assert not any("authorization" in request.headers for request in cdn.requests)


def test_credentials_in_the_address_do_not_replace_the_key(carry: Carrier) -> None:
    config = ClientConfig("key", "secret")
    with scripted(NO_MODELS) as server:
        base_url = server.url.replace("http://", "http://somebody:SeCrEt@") + "/v1"
        carry(dataclasses.replace(config, base_url=base_url), calls.list_models())
        assert [request.headers["authorization"] for request in server.requests] == [config.authorization()]


@pytest.mark.parametrize(("key", "secret"), [("api_1", "s3cret"), ("schlüssel", "ключ 🔑"), ("", ""), ("a", "b:c:d\n")])
def test_key_and_secret_arrive_as_they_are(carry: Carrier, key: str, secret: str) -> None:
    with scripted(NO_MODELS) as server:
        carry(ClientConfig(key, secret, f"{server.url}/v1"), calls.list_models())
        scheme, _, encoded = server.requests[0].headers["authorization"].partition(" ")
        assert scheme == "Basic"
        assert base64.b64decode(encoded).decode() == f"{key}:{secret}"


@pytest.mark.parametrize(
    ("call", "method", "target", "body"),
    [
        (calls.list_models(), "GET", "/v1/models?pageSize=1&projectId=proj+1%26x", None),
        (
            calls.get_asset("asset_1", original=True),
            "GET",
            "/v1/assets/asset_1?originalAssets=true&projectId=proj+1%26x",
            None,
        ),
        (
            calls.estimate("model/1", {"prompt": "été"}),
            "POST",
            "/v1/generate/custom/model%2F1?dryRun=api&projectId=proj+1%26x",
            {"prompt": "été"},
        ),
        (
            calls.submit("model_1", {"seed": 2**64, "refImageUrls": ["asset_1"], "n": 0.1}),
            "POST",
            "/v1/generate/custom/model_1?projectId=proj+1%26x",
            {"seed": 2**64, "refImageUrls": ["asset_1"], "n": 0.1},
        ),
        (
            calls.list_jobs(
                updated_after=datetime.datetime(2026, 11, 20, 12, 0, 0, 1999, datetime.UTC), token="a+b/c=", page_size=9
            ),
            "GET",
            "/v1/jobs?types=custom&pageSize=9&updatedAfter=2026-11-20T12%3A00%3A00.001Z&paginationToken=a%2Bb%2Fc%3D"
            "&projectId=proj+1%26x",
            None,
        ),
    ],
)
def test_what_goes_over_the_wire(
    carry: Carrier, call: calls.Call[Any], method: str, target: str, body: dict[str, Any] | None
) -> None:
    answer = {"models": [], "asset": {"id": "asset_1"}, "job": {"jobId": "job_1"}, "creativeUnitsCost": 1, "jobs": []}
    if call.query.get("dryRun"):
        answer["job"] = {}
    with scripted(Answer(body=json.dumps(answer).encode())) as server:
        carry(ClientConfig("key", "secret", f"{server.url}/v1", project_id="proj 1&x"), call)
        [request] = server.requests
    assert (request.method, request.target) == (method, target)
    assert (json.loads(request.body) if request.body else None) == body
    assert request.headers["accept"] == "application/json"
    assert request.headers["user-agent"] == "airflow-provider-scenario"
    assert request.headers.get("content-type") == ("application/json" if body is not None else None)


def test_slowness_has_an_end(carry: Carrier) -> None:
    with scripted(Answer(stall=30)) as server:
        config = ClientConfig("key", "secret", f"{server.url}/v1", timeout=0.2)

        def wait() -> None:
            with pytest.raises(ScenarioConnectionError) as caught:
                carry(config, calls.list_models(), RetryConfig(attempts=1))
            assert caught.value.sent is True

        assert seconds_taken(wait) < 10


def test_many_calls_of_one_client_keep_apart() -> None:
    def echo(request: Request) -> Answer:
        return Answer(body=json.dumps({"job": {"jobId": request.target.rpartition("/")[2]}}).encode())

    async def read_all(config: ClientConfig) -> list[str]:
        async with ClientThread(config, QUICK) as client:
            jobs = await asyncio.gather(*(client.send(calls.get_job(f"job_{i}")) for i in range(30)))
            return [job.id for job in jobs]

    with scripted(echo) as server:
        assert asyncio.run(read_all(ClientConfig("key", "secret", f"{server.url}/v1"))) == [
            f"job_{i}" for i in range(30)
        ]


def test_a_cancelled_call_is_not_made_again() -> None:
    async def cancel_soon(config: ClientConfig) -> None:
        async with ClientThread(config, QUICK) as client:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await client.send(calls.list_models())

    with scripted(Answer(stall=30)) as server:
        asyncio.run(cancel_soon(ClientConfig("key", "secret", f"{server.url}/v1")))
        assert len(server.requests) == 1


@pytest.mark.parametrize("answer", [Answer(body=b"x" * 1000, cut=500), Answer(body=b"x" * 1000, cut=1000)])
def test_a_file_that_is_cut_is_not_taken_for_whole(answer: Answer) -> None:
    with (
        scripted(answer) as cdn,
        ScenarioClient(ClientConfig("key", "secret", "http://127.0.0.1")) as client,
        client.open_file(f"{cdn.url}/a?Signature=SeCrEt") as stream,
    ):
        assert int(stream.headers["content-length"]) == 1000
        with pytest.raises(ScenarioConnectionError, match="CDN broke") as caught:
            list(stream.chunks(100))
        assert caught.value.__context__ is None
        assert caught.value.sent


def test_a_redirect_of_the_cdn_is_shown_rather_than_followed() -> None:
    with scripted(Answer(body=b"elsewhere")) as target:
        with (
            scripted(Answer(302, headers={"Location": f"{target.url}/a"})) as cdn,
            ScenarioClient(ClientConfig("key", "secret", "http://127.0.0.1")) as client,
            client.open_file(f"{cdn.url}/a") as stream,
        ):
            assert stream.status == 302
        assert target.requests == []


@pytest.mark.parametrize(
    ("base_url", "is_used"),
    [
        ("http://127.0.0.1:1/v1", True),
        ("http://[::1]:1/v1", True),
        ("http://localhost/v1", True),
        ("http://scenario.localhost/v1", True),
        ("https://api.cloud.scenario.com/v1", False),
        ("https://localhost.example/v1", False),
        ("https://notlocalhost/v1", False),
    ],
)
def test_a_file_is_read_in_clear_only_where_the_connection_may_be(base_url: str, is_used: bool) -> None:
    check_file_address("https://cdn.example/a", base_url)
    refusal = contextlib.nullcontext() if is_used else pytest.raises(ScenarioFileError, match="not https")
    with refusal:
        check_file_address("http://cdn.example/a", base_url)


@pytest.mark.parametrize("url", ["", "not a url", "file:///etc/passwd", "http://127.0.0.1:{port}/a?Signature=SeCrEt"])
def test_a_file_that_can_not_be_reached(url: str) -> None:
    with ScenarioClient(ClientConfig("key", "secret", "http://127.0.0.1")) as client:
        with pytest.raises(ScenarioConnectionError) as caught, client.open_file(url.format(port=closed_port())):
            pass
        assert caught.value.sent is False
        assert "SeCrEt" not in str(caught.value)


def test_the_client_goes_on_after_a_failure(carry: Carrier) -> None:
    script = in_turn(Answer(drop="reset"), Answer(500, b"{}"), Answer(body=b"{}", cut=1), NO_MODELS)
    with scripted(script) as server:
        assert carry(ClientConfig("key", "secret", f"{server.url}/v1", timeout=2), calls.list_models()) == ()
        assert len(server.requests) == 4

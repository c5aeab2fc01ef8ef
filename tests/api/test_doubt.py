"""Whether a purchase that failed may have been accepted: real proxies, real TLS, and the errors that libraries make."""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import requests
import urllib3
from urllib3.exceptions import (
    MaxRetryError,
    NewConnectionError,
    ProtocolError,
    ProxyError,
    ReadTimeoutError,
    SSLError,
)

from airflow_provider_scenario.api import calls
from airflow_provider_scenario.api.config import ClientConfig
from airflow_provider_scenario.api.network import RequestBody, fault_of, may_have_been_sent
from airflow_provider_scenario.exceptions import (
    ScenarioConfigurationError,
    ScenarioConnectionError,
    ScenarioError,
    ScenarioServerError,
)
from tests.api.conftest import Carrier
from tests.api.proxies import dropping, listening, read_head, reset, tunnel_to, with_tls
from tests.api.scripted_server import Answer, closed_port, scripted
from tests.api.test_network import certificate, server_tls

__all__ = ["certificate"]

SUBMIT = calls.submit("model_1", {"prompt": "a calm sea"})
FAR = "api.scenario.invalid"


@pytest.fixture
def opened() -> Iterator[ExitStack]:
    """Keeps servers open until the end of a test."""
    with ExitStack() as stack:
        yield stack


def the_error(carry: Carrier, base_url: str) -> ScenarioError:
    with pytest.raises(ScenarioError) as caught:
        carry(ClientConfig("api_key_of_mine", "secret_of_mine", base_url, timeout=3), SUBMIT)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    return caught.value


@pytest.mark.parametrize(
    "after", [b"", b"HTTP/1.1 200 OK\r\nContent-Le", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"]
)
@pytest.mark.parametrize("rudely", [False, True], ids=["closes", "resets"])
def test_a_forwarding_proxy_that_took_the_request(
    carry: Carrier, monkeypatch: pytest.MonkeyPatch, opened: ExitStack, rudely: bool, after: bytes
) -> None:
    accepted: list[bytes] = []
    port = opened.enter_context(listening(dropping(accepted, rudely=rudely, after=after)))
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{port}")
    error = the_error(carry, f"http://{FAR}/v1")
    assert isinstance(error, ScenarioConnectionError | ScenarioServerError)
    assert error.sent is True
    assert error.is_refusal is False
    assert len(accepted) == 1
    assert b"a calm sea" in accepted[0]


@pytest.mark.parametrize("rudely", [False, True], ids=["closes", "resets"])
def test_a_tunnel_that_breaks_after_the_request(
    carry: Carrier, monkeypatch: pytest.MonkeyPatch, opened: ExitStack, certificate: Path, rudely: bool
) -> None:
    accepted: list[bytes] = []
    far = opened.enter_context(listening(with_tls(server_tls(certificate), dropping(accepted, rudely=rudely))))
    port = opened.enter_context(listening(tunnel_to(far)))
    monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    error = the_error(carry, "https://127.0.0.1/v1")
    assert error.sent is True
    assert len(accepted) == 1


def test_a_tunnel_that_breaks_before_the_request(
    carry: Carrier, monkeypatch: pytest.MonkeyPatch, opened: ExitStack
) -> None:
    def open_and_drop(connection: socket.socket) -> None:
        read_head(connection)
        connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        reset(connection)

    monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{opened.enter_context(listening(open_and_drop))}")
    error = the_error(carry, f"https://{FAR}/v1")
    assert type(error) is ScenarioConnectionError
    assert error.sent is False


@pytest.mark.parametrize(("status", "words"), [(403, "403 Forbidden"), (407, "407 Proxy Authentication Required")])
def test_a_proxy_that_refuses_the_tunnel(
    carry: Carrier, monkeypatch: pytest.MonkeyPatch, status: int, words: str
) -> None:
    with scripted(Answer(status, b"no")) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url.replace("http://", "http://somebody:word-of-pass@"))
        error = the_error(carry, f"https://{FAR}/v1")
    assert error.sent is False
    assert f"the proxy refused ({words})" in str(error)
    assert f"The proxy ({proxy.url}) is named by HTTPS_PROXY" in str(error)
    assert "word-of-pass" not in str(error)


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize(
    ("address", "words"),
    [("http://127.0.0.1:{port}", "Connection refused"), ("http://no-such-proxy.invalid:3128", "name of the proxy")],
)
def test_a_proxy_that_can_not_be_reached(
    carry: Carrier, monkeypatch: pytest.MonkeyPatch, scheme: str, address: str, words: str
) -> None:
    monkeypatch.setenv(f"{scheme}_proxy", address.format(port=closed_port()))
    error = the_error(carry, f"{scheme}://{FAR}/v1")
    assert type(error) is ScenarioConnectionError
    assert error.sent is False
    assert words in str(error)
    assert f"{scheme}_proxy" in str(error)


def test_a_server_that_speaks_no_tls(carry: Carrier) -> None:
    with scripted(Answer()) as server:
        error = the_error(carry, server.url.replace("http://", "https://") + "/v1")
        assert error.sent is False
        assert "TLS failed" in str(error)
        assert server.requests == []


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"ALL_PROXY": "socks5h://somebody:word-of-pass@127.0.0.1:1080"}, "ALL_PROXY names a SOCKS proxy"),
        ({"https_proxy": "socks5://127.0.0.1:1080"}, "https_proxy names a SOCKS proxy"),
        ({"HTTPS_PROXY": "http://"}, "HTTPS_PROXY does not hold the address"),
        ({"HTTPS_PROXY": "http://somebody:word-of-pass@proxy:many"}, "HTTPS_PROXY does not hold the address"),
        ({"HTTPS_PROXY": "http://127.0.0.1:3128 "}, "HTTPS_PROXY does not hold the address"),
        ({"HTTPS_PROXY": "http://[::1"}, "HTTPS_PROXY does not hold the address"),
        ({"HTTPS_PROXY": "telnet://proxy:3128"}, "HTTPS_PROXY does not hold the address"),
        ({"REQUESTS_CA_BUNDLE": "/no/such/file.pem"}, "/no/such/file.pem does not exist"),
        ({"CURL_CA_BUNDLE": "/no/such/file.pem"}, "unset the variable CURL_CA_BUNDLE"),
        ({"REQUESTS_CA_BUNDLE": __file__}, "holds no certificate"),
    ],
    ids=lambda value: "-".join(f"{k}={v}" for k, v in value.items()) if isinstance(value, dict) else None,
)
def test_settings_of_the_machine_that_can_not_work_are_named(
    carry: Carrier, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], words: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with scripted(Answer()) as server:
        error = the_error(carry, f"https://127.0.0.1:{server.server_port}/v1")
    assert type(error) is ScenarioConfigurationError
    assert error.sent is False
    assert words in str(error)
    assert "word-of-pass" not in str(error)


@pytest.mark.parametrize(
    "variables",
    [
        {"NO_PROXY": "localhost,127.0.0.1,::1,fd07:b51a:cc66:f0::/64"},
        {"NO_PROXY": "fd00::/8,[::1],127.0.0.0/8"},
        {"NO_PROXY": "*"},
        {"NO_PROXY": "localhost, 127.0.0.1 , .corp"},
    ],
)
@pytest.mark.parametrize("proxy", ["socks5h://127.0.0.1:1080", "http://127.0.0.1:9 ", "http://127.0.0.1:9"])
def test_a_proxy_that_can_not_work_is_no_trouble_for_a_host_that_needs_none(
    carry: Carrier, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], proxy: str
) -> None:
    for name, value in {"HTTP_PROXY": proxy, "ALL_PROXY": proxy, **variables}.items():
        monkeypatch.setenv(name, value)
    with scripted(Answer(body=b'{"models": []}')) as server:
        assert carry(ClientConfig("key", "secret", f"{server.url}/v1"), calls.list_models()) == ()


@pytest.mark.parametrize("is_proxied", [False, True], ids=["direct", "proxied"])
@pytest.mark.parametrize("location", ["https://[broken/", "http://[::1", "foo://elsewhere", "http://a b/"])
def test_a_redirect_to_no_address_may_have_been_accepted(
    carry: Carrier, monkeypatch: pytest.MonkeyPatch, location: str, is_proxied: bool
) -> None:
    with scripted(Answer(307, b"moved", {"Location": location})) as server:
        if is_proxied:
            monkeypatch.setenv("http_proxy", server.url)
        error = the_error(carry, f"http://{FAR}/v1" if is_proxied else f"{server.url}/v1")
        assert len(server.requests) == 1
    assert error.sent is True
    assert "HTTP 307, which leads elsewhere" in str(error)


def test_a_fault_after_the_body_was_read_is_not_the_fault_of_a_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", __file__)
    body = RequestBody(b"{}")
    body.read()
    for error in (ValueError("odd"), PermissionError(1, "Operation not permitted"), requests.exceptions.InvalidURL()):
        fault = fault_of(error, f"https://{FAR}/v1", body)
        assert fault.sent
        assert not fault.is_permanent


def test_a_firewall_of_this_machine_is_not_taken_for_a_certificate_file(
    carry: Carrier, monkeypatch: pytest.MonkeyPatch, certificate: Path
) -> None:
    def connect(_socket: socket.socket, _address: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    monkeypatch.setattr("socket.socket.connect", connect)
    error = the_error(carry, f"https://127.0.0.1:{closed_port()}/v1")
    assert type(error) is ScenarioConnectionError
    assert error.sent is False
    assert "Operation not permitted" in str(error)


def test_a_certificate_of_nobody_is_named_with_the_variable(
    carry: Carrier, monkeypatch: pytest.MonkeyPatch, certificate: Path
) -> None:
    with scripted(Answer(), server_tls(certificate)) as server:
        error = the_error(carry, f"{server.url}/v1")
    assert error.sent is False
    assert "the certificate is not accepted (self-signed certificate)" in str(error)
    assert "REQUESTS_CA_BUNDLE" in str(error)


def test_an_unknown_name_is_said(carry: Carrier) -> None:
    error = the_error(carry, f"https://{FAR}/v1")
    assert error.sent is False
    assert "the name of the host is not known" in str(error)
    assert "HTTPS_PROXY" in str(error)


POOL = urllib3.HTTPSConnectionPool("api.scenario.invalid")
CONNECTION = urllib3.connection.HTTPSConnection("api.scenario.invalid")


def wrapped(reason: Exception) -> requests.ConnectionError:
    """As requests hands on what urllib3 has given up upon."""
    return requests.ConnectionError(MaxRetryError(POOL, "/v1/jobs?Signature=SeCrEt", reason))


@pytest.mark.parametrize(
    ("error", "sent"),
    [
        (wrapped(NewConnectionError(CONNECTION, "refused")), False),
        (wrapped(ProxyError("no", NewConnectionError(CONNECTION, "refused"))), False),
        (wrapped(ProxyError("no", OSError("Tunnel connection failed: 407 Authenticate"))), False),
        (wrapped(SSLError(ssl.SSLCertVerificationError("no"))), False),
        (requests.exceptions.InvalidProxyURL("no"), False),
        (wrapped(ProxyError("no", http.client.RemoteDisconnected("closed"))), True),
        (wrapped(ProxyError("no", ConnectionResetError(104, "reset"))), True),
        (wrapped(ProxyError("no", TimeoutError("timed out"))), True),
        (wrapped(SSLError(ssl.SSLEOFError(8, "EOF"))), True),
        (wrapped(ProtocolError("aborted", http.client.BadStatusLine("SeCrEt"))), True),
        (requests.ConnectionError(ProtocolError("Tunnel connection failed: 403", ConnectionAbortedError())), True),
        (requests.ReadTimeout(ReadTimeoutError(POOL, "/", "timed out")), True),
        (requests.RequestException(), True),
    ],
    ids=repr,
)
def test_what_the_chain_of_causes_proves(error: Exception, sent: bool) -> None:
    assert may_have_been_sent(error) is sent
    assert "SeCrEt" not in repr(fault_of(error, "https://api.scenario.invalid/v1"))


def test_the_trouble_of_an_earlier_request_proves_nothing() -> None:
    later = requests.ConnectionError(ProtocolError("aborted", ConnectionResetError()))
    later.__context__ = NewConnectionError(CONNECTION, "refused")
    assert may_have_been_sent(later)

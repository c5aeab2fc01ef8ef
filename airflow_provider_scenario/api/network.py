"""What the network may do to a request: a failure, which is put into words, and a reply without end, which is ended.

Words for a failure say whether any of the request was sent, why it failed, and what would help. requests and urllib3
wrap the cause in each other's errors, differently in each version, and their texts hold whole URLs. So the chain of
causes is read here, and only words that can't hold a URL or a secret are handed on.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import math
import os
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import urlsplit

import requests
import requests.utils
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    IncompleteRead,
    LocationValueError,
    NewConnectionError,
    ProxyError,
    ReadTimeoutError,
)
from urllib3.util import parse_url

from airflow_provider_scenario.exceptions import ScenarioConnectionError, redact

FAULTS = (HTTPError, http.client.HTTPException, OSError, ValueError)
"""All that a request may fail with. Not all of it is a RequestException: a missing certificate file is none."""

_BAD_ADDRESS = (
    LocationValueError,
    UnicodeError,
    requests.exceptions.InvalidSchema,
    requests.exceptions.InvalidURL,
    requests.exceptions.MissingSchema,
)

_NEVER_SENT = (
    *_BAD_ADDRESS,
    ConnectTimeoutError,
    NewConnectionError,
    requests.ConnectTimeout,
    socket.gaierror,
    ssl.SSLCertVerificationError,
)
"""Raised only before there is a connection to Scenario, or while its certificate is looked at."""

_TUNNEL_REFUSED = "Tunnel connection failed: "
"""How Python's http.client begins its plain OSError for a proxy that refuses a CONNECT."""

_NO_BUNDLE = "Could not find a suitable TLS CA certificate bundle"
"""How requests begins its plain OSError for a certificate file that is not there."""

_BUNDLE_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


@dataclass(frozen=True)
class Fault:
    """Why a request failed.

    :param reason: The innermost cause, in words without URL or secret.
    :param sent: Whether any of the request may have been sent.
    :param is_permanent: Whether it stays until somebody changes the settings of the machine.
    """

    reason: str
    sent: bool
    advice: str = ""
    is_permanent: bool = False


@dataclass(frozen=True)
class Proxy:
    """The proxy that the environment names for an address.

    :param address: Where it is, without user and password; empty if that is not known.
    """

    variable: str
    address: str


class RequestBody(io.BytesIO):
    """The body of a request that knows whether any of it was asked for."""

    # http.client asks for it only once there is a connection, with its TLS and through its proxy, and the headers are
    # sent: before that, nobody can have accepted the request.
    was_read = False

    def read(self, size: int | None = -1, /) -> bytes:
        """Return the next bytes."""
        self.was_read = True
        return super().read(size)


def _causes_of(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and all that it wraps or was raised from, the outermost first."""
    seen: set[int] = set()
    left: list[object] = [error]
    while left:
        one = left.pop()
        if not isinstance(one, BaseException) or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        # What was merely being handled meanwhile is no cause: it may be the trouble of an earlier request.
        inner = (*one.args, getattr(one, "reason", None), getattr(one, "original_error", None), one.__cause__)
        left.extend(reversed(inner))


def may_have_been_sent(error: BaseException) -> bool:
    """Whether a request that failed may have been sent, at least in part. In doubt it may."""
    # A ProxyError alone proves nothing: urllib3 also wraps what happens after a proxy has taken the request.
    return not any(
        isinstance(cause, _NEVER_SENT) or _tunnel_refusal(cause) or _is_missing_bundle(cause)
        for cause in _causes_of(error)
    )


def fault_of(error: BaseException, url: str, body: RequestBody | None = None) -> Fault:
    """Return what a failed request means, in words that do not repeat its URL."""
    causes = list(_causes_of(error))
    # Once the body was read, whatever went wrong did so after a part of it may have been sent.
    was_read = body is not None and body.was_read
    permanent = None if was_read else _bundle_fault(causes) or _address_fault(causes, url)
    if permanent is not None:
        return permanent
    sent = may_have_been_sent(error) if body is None else was_read
    return Fault(_reason(causes), sent, _advice(causes, url, sent))


def proxy_for(url: str) -> Proxy | None:
    """Return the proxy that the environment names for an address, or ``None``."""
    try:
        scheme = urlsplit(url).scheme.lower()
        named = requests.utils.select_proxy(url, requests.utils.get_environ_proxies(url, no_proxy=None))
    except ValueError:
        return None
    if not named:
        return None
    names = [name for kind in (scheme, "all") for name in (f"{kind}_proxy", f"{kind}_proxy".upper())]
    variable = next((name for name in names if os.environ.get(name)), "the system's settings")
    return Proxy(variable, _shown(named))


def _shown(address: str) -> str:
    """Return a proxy's address without user and password."""
    try:
        parts = parse_url(address if "://" in address else f"http://{address}")
    except (LocationValueError, ValueError):
        return ""
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{parts.host}{port}" if parts.host else ""


def _bundle_fault(causes: list[BaseException]) -> Fault | None:
    """Return the fault of a file of certificates that can't be used, if it is that."""
    variable = next((name for name in _BUNDLE_VARIABLES if os.environ.get(name)), None)
    # A firewall of this machine forbids a connection with the error that a file gives which may not be read.
    if variable is None or any(isinstance(cause, NewConnectionError) for cause in causes):
        return None
    if any(_is_missing_bundle(cause) for cause in causes):
        trouble = "does not exist"
    elif any(getattr(cause, "library", None) in ("X509", "PEM", "ASN1") for cause in causes):
        trouble = "holds no certificate that can be read"
    elif any(isinstance(cause, PermissionError | IsADirectoryError | FileNotFoundError) for cause in causes):
        trouble = "can't be read"
    else:
        return None
    path = redact(os.environ[variable])
    return Fault(
        f"the file of certificates {path} {trouble}",
        sent=False,
        advice=f"Correct or unset the variable {variable}.",
        is_permanent=True,
    )


def _address_fault(causes: list[BaseException], url: str) -> Fault | None:
    """Return the fault of a proxy variable that can't be used, if it is that."""
    if not any(isinstance(cause, _BAD_ADDRESS) or type(cause) is ValueError for cause in causes):
        return None
    proxy = proxy_for(url)
    if proxy is None or not _is_usable(url):
        return None
    if any(isinstance(cause, requests.exceptions.InvalidSchema) and "SOCKS" in str(cause) for cause in causes):
        return Fault(
            f"the variable {proxy.variable} names a SOCKS proxy, and Python's module for SOCKS is not installed",
            sent=False,
            advice="Install requests[socks] for workers and triggerer, or name Scenario's host in NO_PROXY.",
            is_permanent=True,
        )
    return Fault(
        f"the variable {proxy.variable} does not hold the address of a proxy",
        sent=False,
        advice=f"{proxy.variable} must look like http://host:port; or name Scenario's host in NO_PROXY.",
        is_permanent=True,
    )


def _is_usable(url: str) -> bool:
    try:
        parts = parse_url(url)
    except LocationValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.host)


def _reason(causes: list[BaseException]) -> str:
    """Return the innermost cause in words."""
    whose = "the proxy" if any(isinstance(cause, ProxyError) for cause in causes) else "the host"
    for cause in reversed(causes):
        match cause:
            case socket.gaierror():
                return f"the name of {whose} is not known ({cause.strerror or type(cause).__name__})"
            case ssl.SSLCertVerificationError():
                return f"the certificate is not accepted ({getattr(cause, 'verify_message', 'no reason given')})"
            case ssl.SSLError():
                detail = getattr(cause, "reason", None) or type(cause).__name__
                return f"TLS failed ({str(detail).replace('_', ' ').lower()})"
            case ReadTimeoutError() | TimeoutError():
                broken = any(isinstance(one, ConnectTimeoutError) for one in causes)
                return f"{whose} did not let us connect in time" if broken else "no reply came in time"
            case OSError() if not isinstance(cause, requests.RequestException):
                refusal = _tunnel_refusal(cause)
                if refusal:
                    return f"the proxy refused ({redact(refusal)})"
                return redact(cause.strerror or str(cause) or type(cause).__name__)
            case IncompleteRead() | http.client.IncompleteRead():
                return "the reply was cut short"
            case ConnectTimeoutError() if not isinstance(cause, NewConnectionError):
                return f"{whose} did not let us connect in time"
    return type(causes[-1]).__name__


def _advice(causes: list[BaseException], url: str, sent: bool) -> str:
    """Return what would help, with the variable to correct."""
    if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in causes):
        variable = next((name for name in _BUNDLE_VARIABLES if os.environ.get(name)), None)
        if variable is not None:
            return f"The file that {variable} names lacks the authority that signed it, or it is another host."
        return (
            "If a proxy or a company's own certificate authority signed it, name the file of its certificates in "
            "REQUESTS_CA_BUNDLE, for workers and triggerer."
        )
    if sent:
        return ""
    proxy = proxy_for(url)
    if proxy is not None:
        where = f" ({proxy.address})" if proxy.address else ""
        return f"The proxy{where} is named by {proxy.variable}: correct that, or name Scenario's host in NO_PROXY."
    return "Check the host of the connection; if only a proxy leads out of here, name it in HTTPS_PROXY."


def _tunnel_refusal(cause: BaseException) -> str:
    """Return the proxy's status and words, if this is a refused CONNECT."""
    text = str(cause) if type(cause) is OSError else ""
    return text.removeprefix(_TUNNEL_REFUSED) if text.startswith(_TUNNEL_REFUSED) else ""


def _is_missing_bundle(cause: BaseException) -> bool:
    return type(cause) is OSError and str(cause).startswith(_NO_BUNDLE)


_LOOK_SECONDS = 1.0

_LONGEST_PAUSE = 900.0
"""Seconds that a reader may take no more of a file, such as a viewer who has paused a video."""

_current = threading.local()


class ReplyTimeout:
    """Ends the connection of a request whose reply takes too long. Use it as a context manager."""

    def __init__(self, seconds: float) -> None:
        # Seconds from the end of the request to that of the reply, or to the next extend(): the time-outs of requests
        # bound one silence, not a head that trickles for ever.
        self._seconds = seconds
        self._until = math.inf
        self._socket: socket.socket | None = None
        self._is_over = threading.Event()

    def begin(self, connection: socket.socket) -> None:
        """Count from now, since the request has been sent on this connection."""
        self._socket = connection
        self.extend()

    def extend(self) -> None:
        """Count from now, since the reply has come further."""
        self._until = time.monotonic() + self._seconds

    def pause(self) -> None:
        """Allow a long pause until the next :meth:`extend`: the reader has bytes to write, or to show."""
        self._until = time.monotonic() + max(_LONGEST_PAUSE, self._seconds)

    def _end_in_time(self) -> None:
        while not self._is_over.wait(min(_LOOK_SECONDS, self._seconds / 4)):
            if time.monotonic() >= self._until:
                break
        else:
            return
        with contextlib.suppress(OSError):
            if self._socket is not None:
                # Not the socket's own: that of TLS would hand the reader what is still encrypted.
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def __enter__(self) -> Self:
        # Before anything is sent: a process that may start no more threads must not fail after a purchase.
        try:
            threading.Thread(target=self._end_in_time, name="scenario-reply-timeout", daemon=True).start()
        except RuntimeError as error:
            raise ScenarioConnectionError(f"Nothing was sent to Scenario: {error}.", sent=False) from None
        _current.reply_timeout = self
        return self

    def __exit__(self, *exception: object) -> None:
        self._is_over.set()
        _current.reply_timeout = None


def _begin(connection: HTTPConnection) -> None:
    reply_timeout: ReplyTimeout | None = getattr(_current, "reply_timeout", None)
    if reply_timeout is not None and connection.sock is not None:
        reply_timeout.begin(connection.sock)


class _Http(HTTPConnection):
    def getresponse(self) -> Any:
        _begin(self)
        return super().getresponse()


class _Https(HTTPSConnection):
    def getresponse(self) -> Any:
        _begin(self)
        return super().getresponse()


class _HttpPool(HTTPConnectionPool):
    ConnectionCls = _Http


class _HttpsPool(HTTPSConnectionPool):
    ConnectionCls = _Https


class ReplyTimeoutAdapter(HTTPAdapter):
    """Makes connections that a :class:`ReplyTimeout` can end."""

    def init_poolmanager(self, *arguments: Any, **named: Any) -> None:
        """Make the connections without a proxy."""
        super().init_poolmanager(*arguments, **named)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, proxy: str, **named: Any) -> Any:
        """Make the connections by way of a proxy; those of SOCKS are of another kind."""
        manager = super().proxy_manager_for(proxy, **named)
        if not proxy.lower().startswith("socks"):
            manager.pool_classes_by_scheme = _POOLS
        return manager


_POOLS = {"http": _HttpPool, "https": _HttpsPool}

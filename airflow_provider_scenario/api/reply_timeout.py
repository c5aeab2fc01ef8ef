"""Ends replies that never end: the time-outs of requests bound one silence, not a head that trickles for ever."""

from __future__ import annotations

import contextlib
import math
import socket
import threading
import time
from typing import Any, Self

from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from airflow_provider_scenario.exceptions import ScenarioConnectionError

_LOOK_SECONDS = 1.0

_current = threading.local()


class ReplyTimeout:
    """Ends the connection of a request whose reply takes too long. Use it as a context manager.

    :param seconds: Seconds from the end of the request to that of the reply, or to the next :meth:`extend`.
    """

    def __init__(self, seconds: float) -> None:
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

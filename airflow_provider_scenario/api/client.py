"""Carries calls with requests: for workers."""

from __future__ import annotations

import contextlib
import io
import itertools
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import requests
import requests.auth
import tenacity
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError, ProtocolError, ProxyError, SSLError

from airflow_provider_scenario.api.access import CONNECT_TIMEOUT, Access
from airflow_provider_scenario.api.calls import Call
from airflow_provider_scenario.api.exchange import (
    USER_AGENT,
    content_of,
    headers_of,
    keep_secrets_from_log,
    query_of,
    result_of,
)
from airflow_provider_scenario.api.reply import Reply
from airflow_provider_scenario.api.retry import Patience, tenacity_arguments
from airflow_provider_scenario.exceptions import ScenarioConnectionError

T = TypeVar("T")

_LONGEST_CHUNK = 0.5
"""Seconds after which a chunk that is not full is handed on, so that whoever waits for it can tell how far it is."""

_SEND_BUFFER = 4 << 20
"""Bytes that the kernel takes over before they are sent, at most (Linux: ``tcp_wmem``)."""

_SLOWEST_LINE = 16 << 10
"""Bytes a second that a connection with such a buffer sends at least."""

_NO_ADDRESS = (
    requests.ConnectTimeout,
    requests.exceptions.InvalidURL,
    requests.exceptions.MissingSchema,
    requests.exceptions.InvalidSchema,
)


class _OurHeadersOnly(requests.auth.AuthBase):
    """Keeps requests from replacing or adding an Authorization header out of a .netrc file."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        return request


@dataclass(frozen=True)
class FileStream:
    """A file on its way from Scenario's CDN.

    :param status: HTTP status; 206 if it starts where asked.
    :param headers: Headers, names in lower case.
    :param response: The open response. Not shown in the repr: it knows the signed URL.
    """

    status: int
    headers: Mapping[str, str]
    response: requests.Response = field(repr=False)

    def chunks(self, size: int) -> Iterator[memoryview]:
        """Yield the bytes as they come, so that all that came before a cut has been yielded.

        A chunk is good until the one after the next is asked for: two buffers are filled in turn, since a new one for
        each chunk would cost more time than the chunk's way through the network.

        :param size: Bytes a chunk at most. One that comes slowly is yielded before it is full.
        :raises ScenarioConnectionError: if the connection breaks.
        """
        read_into = self._reader()
        for buffer in itertools.cycle((memoryview(bytearray(size)), memoryview(bytearray(size)))):
            filled, trouble, is_over = 0, None, False
            until = time.monotonic() + _LONGEST_CHUNK
            try:
                while filled < size and not is_over and time.monotonic() < until:
                    came = read_into(buffer[filled:])
                    filled, is_over = filled + came, came == 0
            except (requests.RequestException, HTTPError, OSError) as error:
                trouble = type(error).__name__
            if filled:
                yield buffer[:filled]
            if trouble is not None:
                break
            if is_over:
                return
        raise ScenarioConnectionError(f"The connection to Scenario's CDN broke ({trouble}).", sent=True)

    def _reader(self) -> Callable[[memoryview], int]:
        """Return what reads the bytes that are there into a buffer, and returns how many; 0 at the end."""
        raw = self.response.raw
        connection: Any = getattr(raw._fp, "fp", None)
        left: int | None = getattr(raw._fp, "length", None)
        if hasattr(connection, "readinto1") and left is not None:

            def read_into(buffer: memoryview) -> int:
                nonlocal left
                came: int = connection.readinto1(buffer[:left])
                if left and not came:
                    raise ProtocolError(f"{left} bytes are missing")
                left -= came
                return came

            return read_into
        read: Callable[..., bytes] = getattr(raw, "read1", raw.read)  # urllib3 before 2 has no read1

        def copy_into(buffer: memoryview) -> int:
            content = read(len(buffer), decode_content=False)
            buffer[: len(content)] = content
            return len(content)

        return copy_into


class ScenarioClient:
    """A synchronous client of one Scenario project. Use it as a context manager, or call :meth:`close`.

    :param access: Where, and as whom.
    :param patience: How long to keep at calls that may be repeated.
    """

    def __init__(self, access: Access, patience: Patience | None = None) -> None:
        self.access = access
        self._patience = patience or Patience()
        keep_secrets_from_log("urllib3.connectionpool")
        self._session = requests.Session()
        self._session.auth = _OurHeadersOnly()
        self._session.headers.update({"User-Agent": USER_AGENT})

    def send(self, call: Call[T]) -> T:
        """Send a call and return what its reply says.

        :param call: A value of :mod:`airflow_provider_scenario.api.calls`.
        :raises ScenarioError: the error that the reply, or the lack of one, stands for.
        """
        loop = tenacity.Retrying(**tenacity_arguments(call.repeatable, self._patience))
        result: T = loop(self._send_once, call)
        return result

    def _send_once(self, call: Call[T]) -> T:
        access = self.access
        response = self._request(
            call.action,
            call.method,
            access.url(call.path),
            params=query_of(access, call),
            data=content_of(call),
            headers=headers_of(access, call),
            timeout=(CONNECT_TIMEOUT, access.timeout),
        )
        return result_of(call, Reply(response.status_code, _lowered(response.headers), response.content))

    @contextlib.contextmanager
    def open_file(self, url: str, *, start: int = 0) -> Iterator[FileStream]:
        """Open a signed URL of Scenario's CDN. No credentials are sent, and no redirect is followed.

        :param url: An asset's fresh URL.
        :param start: The first byte wanted, 0 or more. The stream's status tells if the CDN heeded it.
        :raises ScenarioConnectionError: if the CDN can't be reached.
        """
        headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={start}-"} if start else {})}
        response = self._request(
            "open a file",
            "GET",
            url,
            headers=headers,
            stream=True,
            timeout=(CONNECT_TIMEOUT, self.access.timeout),
        )
        with response:
            yield FileStream(response.status_code, _lowered(response.headers), response)

    def put_part(self, url: str, content: bytes, content_type: str) -> int:
        """Send one part of an upload to its signed URL, without credentials, and return the HTTP status.

        :raises ScenarioConnectionError: if the connection breaks. A part may be sent again.
        """
        # A file is sent in small pieces, and the time-out for connecting, which also holds while a body is sent, bounds
        # each of them: a slow line may take as long as it needs, a silent one may not. What the kernel still has to
        # send when the last piece was handed to it comes on top of the wait for the reply.
        unsent = min(len(content), _SEND_BUFFER) / _SLOWEST_LINE
        timeout = (self.access.timeout, self.access.timeout + unsent)
        body, headers = io.BytesIO(content), {"Content-Type": content_type}
        return self._request("send a part", "PUT", url, data=body, headers=headers, timeout=timeout).status_code

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def __enter__(self) -> ScenarioClient:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _request(self, action: str, method: str, url: str, **arguments: Any) -> requests.Response:
        """Send one request. A failure is raised without its cause, whose text would hold the URL."""
        try:
            return self._session.request(method, url, allow_redirects=False, **arguments)
        except requests.RequestException as error:
            trouble, sent = type(error).__name__, _may_have_arrived(error)
        raise ScenarioConnectionError(f"Scenario could not be reached to {action} ({trouble}).", sent=sent)


def _may_have_arrived(error: requests.RequestException) -> bool:
    """Whether the request may have reached Scenario: everything but a connection that never came about."""
    if isinstance(error, _NO_ADDRESS):
        return False
    cause = error.args[0] if error.args else None
    reason = getattr(cause, "reason", cause)
    if isinstance(reason, SSLError):
        return not any(isinstance(one, ssl.SSLCertVerificationError) for one in reason.args)
    # urllib3 raises its ProxyError only until the proxy has been reached.
    return not isinstance(reason, NewConnectionError | ConnectTimeoutError | ProxyError)


def _lowered(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}

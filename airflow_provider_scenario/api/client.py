"""The one client: carries calls with requests, for workers as for the triggerer."""

from __future__ import annotations

import contextlib
import io
import ipaddress
import urllib.parse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import requests
import requests.auth
import tenacity
from urllib3.exceptions import HTTPError

from airflow_provider_scenario.api.access import CONNECT_TIMEOUT, Access
from airflow_provider_scenario.api.calls import Call
from airflow_provider_scenario.api.connection_fault import FAULTS, Fault, RequestBody, fault_of
from airflow_provider_scenario.api.exchange import (
    USER_AGENT,
    content_of,
    headers_of,
    keep_secrets_from_log,
    query_of,
    result_of,
)
from airflow_provider_scenario.api.reply import Reply
from airflow_provider_scenario.api.reply_body import SlowBodyError, UnreadableBodyError, read_body
from airflow_provider_scenario.api.retry import Patience, tenacity_arguments
from airflow_provider_scenario.exceptions import (
    ScenarioConfigurationError,
    ScenarioConnectionError,
    ScenarioError,
    ScenarioFileError,
    ScenarioSaid,
    ScenarioServerError,
)

T = TypeVar("T")

_SMALL_CHUNK = 1 << 16

_SEND_BUFFER = 4 << 20
"""Bytes that the kernel takes over before they are sent, at most (Linux: ``tcp_wmem``)."""

_SLOWEST_LINE = 16 << 10
"""Bytes a second that a connection with such a buffer sends at least."""


class _OurHeadersOnly(requests.auth.AuthBase):
    """Keeps requests from replacing or adding an Authorization header out of a .netrc file."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        return request


class _Hidden(str):
    """A text that the frames of requests and urllib3 hold while they wait, and that none of them shows."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"


class _ApiKey(requests.auth.AuthBase):
    """Adds the API key to a request. No frame of ours holds it, and no repr shows it."""

    def __init__(self, access: Access) -> None:
        self._access = access

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = _Hidden(self._access.authorization())
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

    def chunks(self, size: int) -> Iterator[bytes]:
        """Yield the bytes as they come, so that all that came before a cut has been yielded.

        :param size: Bytes a chunk at most. One that comes slowly is yielded before it is full.
        :raises ScenarioConnectionError: if the connection breaks, or is silent for the time-out.
        """
        # urllib3 before 2.1 has no read1: its read waits for a whole chunk, of which a cut would lose the beginning.
        read, amount = getattr(self.response.raw, "read1", None), size
        if read is None:
            read, amount = self.response.raw.read, min(size, _SMALL_CHUNK)
        while True:
            try:
                chunk: bytes = read(amount, decode_content=False)
            except (requests.RequestException, HTTPError, OSError) as error:
                trouble = type(error).__name__
                break
            if not chunk:
                return
            yield chunk
        raise ScenarioConnectionError(f"The connection to Scenario's CDN broke ({trouble}).", sent=True)


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
        self._api_key = _ApiKey(access)
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
        access, content = self.access, content_of(call)
        response = self._request(
            call.action,
            call.method,
            access.url(call.path),
            params=query_of(access, call),
            data=None if content is None else RequestBody(content),
            headers=headers_of(call),
            auth=self._api_key,
            stream=True,
            timeout=(CONNECT_TIMEOUT, access.timeout),
        )
        with response:
            # The body is no local of this frame: it may hold signed URLs.
            reply = Reply(response.status_code, _lowered(response.headers), access.redact(self._read(call, response)))
        return result_of(call, reply)

    def _read(self, call: Call[T], response: requests.Response) -> bytes:
        """Return the body of a reply. Whatever goes wrong with it, the request has arrived."""
        try:
            return read_body(response, seconds=self.access.timeout)
        except UnreadableBodyError as unreadable:
            error: ScenarioError = ScenarioServerError(
                f"Scenario's reply to '{call.action}' (HTTP {response.status_code}) can't be read: it {unreadable}.",
                said=ScenarioSaid(status=response.status_code),
            )
        except SlowBodyError as slow:
            error = ScenarioConnectionError(f"Scenario was too slow to {call.action}: {slow}.")
        except FAULTS as trouble:
            reason = fault_of(trouble, response.url).reason
            error = ScenarioConnectionError(f"Scenario's reply to '{call.action}' did not come whole: {reason}.")
        raise error

    @contextlib.contextmanager
    def open_file(self, url: str, *, start: int = 0) -> Iterator[FileStream]:
        """Open a signed URL of Scenario's CDN. No credentials are sent, and no redirect is followed.

        :param url: An asset's fresh URL.
        :param start: The first byte wanted, 0 or more. The stream's status tells if the CDN heeded it.
        :raises ScenarioConnectionError: if the CDN can't be reached.
        :raises ScenarioFileError: if the URL is not https, unless the API itself is on this machine.
        """
        url = _Hidden(url)
        if not url.lower().startswith("https://") and not _is_loopback(self.access.base_url):
            raise ScenarioFileError(
                "Scenario's reply names a file's address that is not https. It was not fetched, since whoever is on "
                "the way could change it. Check the connection's host, and what stands between here and Scenario."
            )
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

        :raises ScenarioConnectionError: if the connection breaks, or a page answers in the place of the storage. A part
            may be sent again.
        """
        # A file is sent in small pieces, and the time-out for connecting, which also holds while a body is sent, bounds
        # each of them: a slow line may take as long as it needs, a silent one may not. What the kernel still has to
        # send when the last piece was handed to it comes on top of the wait for the reply.
        unsent = min(len(content), _SEND_BUFFER) / _SLOWEST_LINE
        timeout = (self.access.timeout, self.access.timeout + unsent)
        body, headers, url = io.BytesIO(content), {"Content-Type": content_type}, _Hidden(url)
        response = self._request("send a part", "PUT", url, data=body, headers=headers, timeout=timeout)
        if response.ok and "html" in response.headers.get("Content-Type", "").lower():
            # A storage has nothing to show: its reply to a part is empty.
            raise ScenarioConnectionError("A page answers in the place of Scenario's storage.", sent=True)
        return response.status_code

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def __enter__(self) -> ScenarioClient:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _request(
        self, action: str, method: str, url: str, *, data: RequestBody | io.BytesIO | None = None, **arguments: Any
    ) -> requests.Response:
        """Send one request. A failure is raised without its cause, whose text would hold the URL."""
        body = data if isinstance(data, RequestBody) else None
        try:
            return self._session.request(method, url, data=data, allow_redirects=False, **arguments)
        except FAULTS as error:
            fault = fault_of(error, url, body)
        raise _error_of(fault, action)


def _error_of(fault: Fault, action: str) -> ScenarioError:
    """Return the error that a failed request stands for."""
    nothing = "" if fault.sent else " Nothing was sent."
    advice = f" {fault.advice}" if fault.advice else ""
    message = f"Scenario could not be reached to {action}: {fault.reason}.{nothing}{advice}"
    if fault.is_permanent:
        return ScenarioConfigurationError(message, sent=False)
    return ScenarioConnectionError(message, sent=fault.sent)


def _is_loopback(url: str) -> bool:
    """Whether a URL leads to this machine itself."""
    host = urllib.parse.urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower().rstrip(".") == "localhost"


def _lowered(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}

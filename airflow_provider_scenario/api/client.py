"""The one client: carries calls with requests, for workers as for the triggerer."""

from __future__ import annotations

import asyncio
import contextlib
import io
import logging
import time
import urllib.parse
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

import requests
import requests.auth
from urllib3.exceptions import HTTPError

from airflow_provider_scenario.api.calls import Call
from airflow_provider_scenario.api.config import CONNECT_TIMEOUT, ClientConfig, is_loopback
from airflow_provider_scenario.api.network import (
    FAULTS,
    Fault,
    ReplyTimeout,
    ReplyTimeoutAdapter,
    RequestBody,
    fault_of,
)
from airflow_provider_scenario.api.response import (
    ACCEPTED_ENCODING,
    Response,
    SlowBodyError,
    UnreadableBodyError,
    read_body,
)
from airflow_provider_scenario.api.retry import RetryConfig
from airflow_provider_scenario.exceptions import (
    ErrorDetails,
    ScenarioConfigurationError,
    ScenarioConnectionError,
    ScenarioError,
    ScenarioFileError,
    ScenarioServerError,
    redact,
)

T = TypeVar("T")

_MAX_REPLY_BYTES = 1 << 16
"""Bytes beyond which a reply to a part is no storage's."""

_SEND_BUFFER = 4 << 20
"""Bytes that the kernel takes over before they are sent, at most (Linux: ``tcp_wmem``)."""

_SLOWEST_LINE = 16 << 10
"""Bytes a second that a connection with such a buffer sends at least."""


class _WithoutSecrets(logging.Filter):
    """Keeps signed URLs out of a library's log, which tells of odd headers, and at level DEBUG of each request."""

    def filter(self, record: logging.LogRecord) -> bool:
        # A traceback of its own would quote the headers, of which one is the address that a redirect leads to.
        record.msg, record.args, record.exc_info = redact(record.getMessage()), (), None
        return True


_WITHOUT_SECRETS = _WithoutSecrets()


class _Session(requests.Session):
    """Follows no redirect. requests would read its whole body, and fails if ``Location`` holds no address."""

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Return ``None``: no redirect is followed."""


class _OurHeadersOnly(requests.auth.AuthBase):
    """Keeps requests from replacing or adding an Authorization header out of a .netrc file."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        return request


class _Hidden(str):
    """A secret text whose repr is ``'***'``: error reporters send the repr of each frame's locals.

    requests makes a plain text of a URL: see ``retry_policy.clear_locals``.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"


class _ApiKey(requests.auth.AuthBase):
    """Adds the API key to a request. No frame of ours holds it, and no repr shows it."""

    def __init__(self, config: ClientConfig) -> None:
        self._config = config

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = _Hidden(self._config.authorization())
        return request


@dataclass(frozen=True)
class FileStream:
    """A file on its way from Scenario's CDN.

    :param status: HTTP status; 206 if it starts where asked.
    :param headers: Headers, names in lower case. Not shown in the repr: that of a redirect may be a signed URL.
    :param response: The open response. Not shown in the repr: it knows the signed URL.
    """

    status: int
    headers: Mapping[str, str] = field(repr=False)
    response: requests.Response = field(repr=False)
    reply_timeout: ReplyTimeout = field(repr=False)

    def chunks(self, size: int) -> Iterator[bytes]:
        """Yield at most ``size`` bytes at a time as they come, so that all that came before a cut has been yielded."""
        while True:
            self.reply_timeout.extend()
            try:
                chunk: bytes = self.response.raw.read1(size, decode_content=False)
            except (HTTPError, OSError) as error:
                trouble = type(error).__name__  # the connection broke, or was silent for the time-out
                break
            if not chunk:
                return
            self.reply_timeout.pause()
            yield chunk
        raise ScenarioConnectionError(f"The connection to Scenario's CDN broke ({trouble}).", sent=True)


class ScenarioClient:
    """A synchronous client of one Scenario project. Use it as a context manager, or call :meth:`close`.

    :param config: Where, and as whom.
    :param retry_config: How long to keep at calls that may be repeated.
    """

    def __init__(self, config: ClientConfig, retry_config: RetryConfig | None = None) -> None:
        self.config = config
        self._retry_config = retry_config or RetryConfig()
        for name in ("urllib3.connectionpool", "urllib3.connection", "urllib3.util.retry"):
            logging.getLogger(name).addFilter(_WITHOUT_SECRETS)  # Adding it twice changes nothing.
        self._session = _Session()
        for scheme in ("https://", "http://"):
            self._session.mount(scheme, ReplyTimeoutAdapter())
        self._session.auth = _OurHeadersOnly()
        self._api_key = _ApiKey(config)
        self._session.headers.update({"User-Agent": "airflow-provider-scenario"})

    def send(self, call: Call[T]) -> T:
        """Send a call and return what its reply says.

        :param call: A value of :mod:`airflow_provider_scenario.api.calls`.
        :raises ScenarioError: the error that the reply, or the lack of one, stands for.
        """
        attempt = 1
        while True:
            try:
                return self._send_once(call)
            except ScenarioError as error:
                wait = self._retry_config.wait_after(error, attempt, repeatable=call.repeatable)
                if wait is None:
                    raise
            time.sleep(wait)
            attempt += 1

    def _send_once(self, call: Call[T]) -> T:
        config, content = self.config, call.content()
        project = {"projectId": config.project_id} if config.project_id else {}
        json_type = {} if content is None else {"Content-Type": "application/json"}
        with ReplyTimeout(2 * config.timeout):  # at most one until the reply begins, and one until its end
            response = self._request(
                call.action,
                call.method,
                config.url(call.path),
                params={**call.query, **project},
                data=None if content is None else RequestBody(content),
                headers={"Accept": "application/json", "Accept-Encoding": ACCEPTED_ENCODING, **json_type},
                auth=self._api_key,
                stream=True,
                timeout=(CONNECT_TIMEOUT, config.timeout),
            )
            with response:
                # The body is no local of this frame: it may hold signed URLs.
                reply = Response(
                    response.status_code, _lowered(response.headers), config.redact(self._read(call, response))
                )
        return call.read_reply(reply)

    def _read(self, call: Call[T], response: requests.Response) -> bytes:
        """Return the body of a reply. Whatever goes wrong with it, the request has arrived."""
        try:
            return read_body(response, seconds=self.config.timeout)
        except UnreadableBodyError as unreadable:
            error: ScenarioError = ScenarioServerError(
                f"Scenario's reply to '{call.action}' (HTTP {response.status_code}) can't be read: it {unreadable}.",
                details=ErrorDetails(status=response.status_code),
            )
        except SlowBodyError as slow:
            error = ScenarioConnectionError(f"Scenario was too slow to {call.action}: {slow}.")
        except FAULTS as trouble:
            reason = fault_of(trouble, response.url).reason
            error = ScenarioConnectionError(f"Scenario's reply to '{call.action}' did not come whole: {reason}.")
        raise error

    @contextlib.contextmanager
    def open_file(self, url: str, *, start: int = 0, byte_range: str | None = None) -> Iterator[FileStream]:
        """Open a signed URL of Scenario's CDN. No credentials are sent, and no redirect is followed.

        :param url: An asset's fresh URL.
        :param start: The first byte wanted, 0 or more. The stream's status shows whether the CDN heeded it.
        :param byte_range: A whole ``Range`` header, in the place of ``start``.
        :raises ScenarioConnectionError: if the CDN can't be reached.
        :raises ScenarioFileError: if the URL is not https, unless the API itself is on this machine.
        """
        url = _Hidden(url)
        check_file_address(url, self.config.base_url)
        wanted = byte_range or (f"bytes={start}-" if start else None)
        headers = {"Accept-Encoding": "identity", **({"Range": wanted} if wanted else {})}
        with ReplyTimeout(2 * self.config.timeout) as reply_timeout:
            response = self._request(
                "open a file",
                "GET",
                url,
                headers=headers,
                stream=True,
                timeout=(CONNECT_TIMEOUT, self.config.timeout),
            )
            with response:
                yield FileStream(response.status_code, _lowered(response.headers), response, reply_timeout)

    def put_part(self, url: str, content: bytes, content_type: str) -> int:
        """Send one part of an upload to its signed URL, without credentials, and return the HTTP status.

        :raises ScenarioConnectionError: if the connection breaks, or a page answers in the place of the storage. A part
            may be sent again.
        :raises ScenarioFileError: if the URL is not https, unless the API itself is on this machine.
        """
        # A file is sent in small pieces, and the time-out for connecting, which also holds while a body is sent, bounds
        # each of them: a slow line may take as long as it needs, a silent one may not. What the kernel still has to
        # send when the last piece was handed to it comes on top of the wait for the reply.
        unsent = min(len(content), _SEND_BUFFER) / _SLOWEST_LINE
        timeout = (self.config.timeout, self.config.timeout + unsent)
        body, headers, url = io.BytesIO(content), {"Content-Type": content_type}, _Hidden(url)
        check_file_address(url, self.config.base_url)
        with ReplyTimeout(2 * timeout[1]):
            response = self._request(
                "send a part", "PUT", url, data=body, headers=headers, stream=True, timeout=timeout
            )
            with response:
                if response.ok and not _is_storage_reply(response, timeout[1]):
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


def check_file_address(url: str, base_url: str) -> None:
    """Refuse an address of a file that is not https, unless the API itself is on this machine."""
    if not url.lower().startswith("https://") and not is_loopback(urllib.parse.urlsplit(base_url).hostname or ""):
        raise ScenarioFileError(
            "Scenario's reply names a file's address that is not https. It was not used, since anybody on the way "
            "could read and change the file. Check the connection's host, and what stands between here and Scenario."
        )


def _error_of(fault: Fault, action: str) -> ScenarioError:
    """Return the error that a failed request stands for."""
    nothing = "" if fault.sent else " Nothing was sent."
    advice = f" {fault.advice}" if fault.advice else ""
    message = f"Scenario could not be reached to {action}: {fault.reason}.{nothing}{advice}"
    if fault.is_permanent:
        return ScenarioConfigurationError(message, sent=False)
    return ScenarioConnectionError(message, sent=fault.sent)


def _is_storage_reply(response: requests.Response, seconds: float) -> bool:
    """Return whether a reply can be a storage's to a part, which has nothing to show. No more than a little is read."""
    if "html" in response.headers.get("Content-Type", "").lower():
        return False
    try:
        return not read_body(response, seconds=seconds, largest=_MAX_REPLY_BYTES).lstrip().startswith(b"<")
    except (UnreadableBodyError, SlowBodyError, *FAULTS):
        return False


def _lowered(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


_ONCE = RetryConfig(attempts=1)


class ClientThread:
    """Asks Scenario for an event loop. Use it as an async context manager.

    Calls are made one after the other, in a thread that belongs to nobody else: the loop's own threads and asgiref's
    serve others, who must not wait for Scenario. A call that is cancelled amid its request leaves its thread to end by
    itself, and the next call gets a new one.

    :param config: Where, and as whom.
    :param retry_config: How long to keep at calls that may be repeated.
    """

    def __init__(self, config: ClientConfig, retry_config: RetryConfig | None = None) -> None:
        self.config = config
        self._retry_config = retry_config or RetryConfig()
        self._open: tuple[ScenarioClient, ThreadPoolExecutor] | None = None

    async def send(self, call: Call[T]) -> T:
        """Send a call and return what its reply says.

        :param call: A value of :mod:`airflow_provider_scenario.api.calls`.
        :raises ScenarioError: the error that the reply, or the lack of one, stands for.
        """
        # The waits between two attempts are the loop's: a thread that sleeps can't be cancelled.
        attempt = 1
        while True:
            try:
                return await self._send_once(call)
            except ScenarioError as error:
                wait = self._retry_config.wait_after(error, attempt, repeatable=call.repeatable)
                if wait is None:
                    raise
            await asyncio.sleep(wait)
            attempt += 1

    async def _send_once(self, call: Call[T]) -> T:
        if self._open is None:
            executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="scenario-client")
            self._open = ScenarioClient(self.config, _ONCE), executor
        opened = client, executor = self._open
        future = executor.submit(client.send, call)
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            if not future.cancel() and not future.done() and self._open is opened:
                await self.close()  # The thread still waits for the reply.
            raise

    async def close(self) -> None:
        """Let the thread go: it closes its connections as soon as it is free. Nothing is waited for."""
        if self._open is not None:
            client, executor = self._open
            self._open = None
            executor.submit(client.close)
            executor.shutdown(wait=False)

    async def __aenter__(self) -> ClientThread:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()

"""A network from which Scenario is reached only through a proxy that asks for a password, under a private authority.

`Front` serves a sandbox over TLS, under names such as `https://scenario.test` that nobody resolves. `Proxy` lets who
knows the password through to it with CONNECT, and cuts some replies of a name if told so.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ssl
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

import trustme

if TYPE_CHECKING:
    from types import TracebackType

NAME, ROUGH_NAME = "scenario.test", "rough.scenario.test"
USER, PASSWORD = "airflow", "a-password-of-the-proxy"
CHUNK = 65536
APPLICATION_DATA = 0x17
"""The first byte of a TLS record that is no handshake; with TLS 1.2 nothing but HTTP has it."""


class _Server:
    """An asyncio server on a free port of this machine, in a thread of its own."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self._context = context
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self.port = 0

    def __enter__(self) -> Self:
        self._thread.start()
        starting = asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._context)
        self._server = asyncio.run_coroutine_threadsafe(starting, self._loop).result(10)
        self.port = int(self._server.sockets[0].getsockname()[1])
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _close(self) -> None:
        self._server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            await self._handle(reader, writer)
        writer.close()

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        raise NotImplementedError


async def both(first: asyncio.Task[None], second: asyncio.Task[None]) -> None:
    """Wait until one of two ways has ended, and end the other."""
    await asyncio.wait((first, second), return_when=asyncio.FIRST_COMPLETED)
    for task in (first, second):
        task.cancel()
    await asyncio.gather(first, second, return_exceptions=True)


class Front(_Server):
    """Serves a sandbox over TLS, and tells it so, that the addresses it hands out are `https` too.

    :param base_url: The sandbox's.
    :param certificate: For the names it has.
    """

    def __init__(self, base_url: str, certificate: trustme.LeafCert) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        certificate.configure_cert(context)
        super().__init__(context)
        self._sandbox = urlsplit(base_url)

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        theirs, ours = await asyncio.open_connection(self._sandbox.hostname, self._sandbox.port)
        is_new_request = True

        async def ask() -> None:
            nonlocal is_new_request
            while data := await reader.read(CHUNK):
                if is_new_request:
                    while b"\r\n" not in data:
                        data += await reader.read(CHUNK)
                    data = data.replace(b"\r\n", b"\r\nX-Forwarded-Proto: https\r\n", 1)
                    is_new_request = False
                ours.write(data)
                await ours.drain()

        async def answer() -> None:
            nonlocal is_new_request
            while data := await theirs.read(CHUNK):
                is_new_request = True
                writer.write(data)
                await writer.drain()

        try:
            await both(asyncio.create_task(ask()), asyncio.create_task(answer()))
        finally:
            ours.close()


@dataclass
class Way:
    """Where the proxy leads to for one name, and what has passed there.

    :param port: Where that name is.
    :param cut_every: Which reply is cut in the middle, counted over all connections: 10 is the 5th, 15th, 25th and so
        on, 0 is none.
    """

    port: int
    cut_every: int = 0
    tunnels: int = 0
    replies: int = 0
    cuts: int = 0

    def is_cut(self) -> bool:
        """Count one more reply; whether it is one that is cut."""
        self.replies += 1
        is_due = bool(self.cut_every) and self.replies % self.cut_every == self.cut_every // 2
        self.cuts += is_due
        return is_due


class Proxy(_Server):
    """An HTTP proxy with Basic authentication that knows the way to the names it was told of, and to nothing else."""

    def __init__(self) -> None:
        super().__init__()
        self._ways: dict[str, Way] = {}
        self.refused = 0

    @property
    def url(self) -> str:
        return f"http://{USER}:{PASSWORD}@127.0.0.1:{self.port}"

    def lead(self, name: str, port: int, *, cut_every: int = 0) -> Way:
        """Know the way to a name from now on."""
        self._ways[name] = Way(port, cut_every)
        return self._ways[name]

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        token = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        if f"proxy-authorization: basic {token}".lower() not in head.lower():
            self.refused += 1
            refusal = b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\n"
            writer.write(refusal + b"Content-Length: 0\r\nConnection: close\r\n\r\n")
            await writer.drain()
            return
        way = next((way for name, way in self._ways.items() if head.startswith(f"CONNECT {name}:443 ")), None)
        if way is None:
            writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            await writer.drain()
            return
        theirs, ours = await asyncio.open_connection("127.0.0.1", way.port)
        way.tunnels += 1
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await self._tunnel(way, reader, writer, theirs, ours)

    async def _tunnel(
        self,
        way: Way,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        theirs: asyncio.StreamReader,
        ours: asyncio.StreamWriter,
    ) -> None:
        has_asked = False

        async def ask() -> None:
            nonlocal has_asked
            while data := await reader.read(CHUNK):
                has_asked = has_asked or data[0] == APPLICATION_DATA
                ours.write(data)
                await ours.drain()

        async def answer() -> None:
            nonlocal has_asked
            while data := await theirs.read(CHUNK):
                if has_asked:
                    has_asked = False
                    if way.is_cut():
                        writer.write(data[: len(data) // 2])
                        await writer.drain()
                        return
                writer.write(data)
                await writer.drain()

        try:
            await both(asyncio.create_task(ask()), asyncio.create_task(answer()))
        finally:
            ours.close()


class PrivateAuthority:
    """A certificate authority that nobody else knows.

    :param folder: Where its certificate is written.
    """

    def __init__(self, folder: Path) -> None:
        authority = trustme.CA()
        self.certificate = authority.issue_cert(NAME, ROUGH_NAME)
        self.bundle = folder / "authority.pem"
        authority.cert_pem.write_to_path(str(self.bundle))


@dataclass(frozen=True)
class GuardedNetwork:
    """What an Airflow behind the proxy is told of: the proxy, and the authority."""

    proxy: Proxy
    authority: PrivateAuthority

    @property
    def environment(self) -> dict[str, str]:
        return {"HTTPS_PROXY": self.proxy.url, "REQUESTS_CA_BUNDLE": str(self.authority.bundle)}

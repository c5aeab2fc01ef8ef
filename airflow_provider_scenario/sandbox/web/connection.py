"""The server's end of a connection, within reach of the application, so that it can be broken on purpose."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import TYPE_CHECKING, Any, cast

from uvicorn.protocols.http.h11_impl import H11Protocol

if TYPE_CHECKING:
    from starlette.types import Receive, Scope
    from uvicorn.config import Config
    from uvicorn.server import ServerState

# Linger for no time at all: the kernel then sends RST instead of FIN.
NO_LINGER = struct.pack("ii", 1, 0)


class BreakableProtocol(H11Protocol):
    """Uvicorn's HTTP/1.1 protocol that hands itself to the application in the scope's state."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, {**app_state, "connection": self}, _loop)

    def drop(self, *, reset: bool) -> None:
        """Close the connection without a reply: with a TCP reset, or with an orderly end of stream."""
        if reset:
            raw = cast("socket.socket | None", self.transport.get_extra_info("socket"))
            if raw:
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
        self.transport.abort()

    def close_after_sending(self) -> None:
        """Close the connection once the bytes handed over have left."""
        self.transport.close()


def connection_of(scope: Scope) -> BreakableProtocol:
    """Give the connection over which a request came."""
    return cast("BreakableProtocol", scope["state"]["connection"])


async def client_gone(receive: Receive) -> None:
    """Wait until the connection is closed, by either side."""
    while (await receive())["type"] != "http.disconnect":
        pass

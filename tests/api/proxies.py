"""Small real proxies that do as told, and what they stand before."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator

Handler = Callable[[socket.socket], None]


@contextlib.contextmanager
def listening(handle: Handler) -> Iterator[int]:
    """Handle each connection in a thread of its own, and close it then. Gives the port."""
    with socket.create_server(("127.0.0.1", 0), backlog=50) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                threading.Thread(target=handle_one, args=(connection,), daemon=True).start()

        def handle_one(connection: socket.socket) -> None:
            with connection, contextlib.suppress(OSError):
                handle(connection)

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)


def read_head(connection: socket.socket) -> bytes:
    """Read up to the end of the headers, and not a byte further."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        came = connection.recv(1)
        if not came:
            raise ConnectionError
        head += came
    return head


def read_request(connection: socket.socket) -> bytes:
    """Read a whole request."""
    head = read_head(connection)
    lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    left = int(lengths[0].partition(b":")[2]) if lengths else 0
    body = b""
    while len(body) < left:
        body += connection.recv(left - len(body))
    return head + body


def reset(connection: socket.socket) -> None:
    """Have the connection end rudely as soon as it is closed."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def dropping(accepted: list[bytes], *, rudely: bool = False, after: bytes = b"") -> Handler:
    """Take a request whole, note it, and end without an answer, or within it."""

    def handle(connection: socket.socket) -> None:
        accepted.append(read_request(connection))
        if after:
            connection.sendall(after)
        if rudely:
            reset(connection)

    return handle


def tunnel_to(port: int) -> Handler:
    """Do as a CONNECT proxy does, with a port of this machine for every host."""

    def handle(connection: socket.socket) -> None:
        read_head(connection)
        with socket.create_connection(("127.0.0.1", port)) as far:
            connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            join(connection, far)

    return handle


def join(one: socket.socket, other: socket.socket) -> None:
    """Hand on what comes at either end, until one of them ends."""
    back = threading.Thread(target=_pump, args=(other, one), daemon=True)
    back.start()
    _pump(one, other)
    back.join()


def _pump(one: socket.socket, other: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while came := one.recv(65536):
            other.sendall(came)
    for end in (one, other):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


def with_tls(context: ssl.SSLContext, handle: Handler) -> Handler:
    """Handle what comes through TLS."""

    def wrapped(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as secure:
            handle(secure)

    return wrapped

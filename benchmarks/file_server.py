"""A bare Scenario for ``benchmarks/download.py``: asset records, and their files as fast as the kernel hands them out.

All contenders fetch from it. The sandbox's own CDN, written for faults and not for speed, would be what is measured.
Run as a process of its own: ``python -m benchmarks.file_server <folder>`` prints its address. The asset ``asset_x`` is
the file ``x`` in the folder.
"""

from __future__ import annotations

import json
import os
import re
import socket
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Handler(BaseHTTPRequestHandler):
    """Answers ``/v1/assets/asset_x`` and ``/files/x``."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # a reply goes out in two writes; the second would wait 40 ms for the first
    folder = Path()

    def do_GET(self) -> None:
        """Give a record or a file."""
        name = self.path.partition("?")[0].rpartition("/")[2].removeprefix("asset_")
        path = self.folder / Path(name).name
        if not path.is_file():
            self._reply(404, b"{}")
        elif self.path.startswith("/v1/assets/"):
            self._reply(200, json.dumps({"asset": self._record(path)}).encode())
        else:
            self._file(path)

    def _record(self, path: Path) -> dict[str, object]:
        host, port = self.server.server_address[:2]
        return {
            "id": f"asset_{path.name}",
            "url": f"http://{host!s}:{port}/files/{path.name}?Signature=none",
            "kind": "video",
            "mimeType": "video/mp4",
            "status": "success",
            "properties": {"size": path.stat().st_size},
        }

    def _reply(self, status: int, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _file(self, path: Path) -> None:
        size = path.stat().st_size
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")
        first = int(asked[1]) if asked else 0
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(size - first))
        if asked:
            self.send_header("Content-Range", f"bytes {first}-{size - 1}/{size}")
        self.end_headers()
        self.wfile.flush()
        with path.open("rb") as file:
            while first < size:
                first += os.sendfile(self.connection.fileno(), file.fileno(), first, 1 << 24)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's signature
        """Say nothing."""


class Server(ThreadingHTTPServer):
    """Serves each connection in a thread of its own."""

    daemon_threads = True
    request_queue_size = socket.SOMAXCONN

    def handle_error(self, request: object, client_address: object) -> None:
        """Pass over clients that leave."""


if __name__ == "__main__":
    Handler.folder = Path(sys.argv[1])
    with Server(("127.0.0.1", 0), Handler) as server:
        print(f"http://127.0.0.1:{server.server_address[1]}", flush=True)
        server.serve_forever()

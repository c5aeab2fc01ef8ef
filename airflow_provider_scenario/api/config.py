"""Where Scenario is and who asks."""

from __future__ import annotations

import base64
import html
import ipaddress
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NoReturn
from urllib.parse import quote

DEFAULT_BASE_URL = "https://api.cloud.scenario.com/v1"
"""The public API (Scenario's API reference pages)."""

DEFAULT_TIMEOUT = 60.0
"""Seconds to wait for a reply, as Scenario's own client does."""

CONNECT_TIMEOUT = 10.0
"""Seconds to wait for a connection."""

_SHORTEST_SECRET = 8
"""Characters below which a text is too common to be looked for in a reply. Scenario's keys have many more."""


@dataclass(frozen=True)
class ClientConfig:
    """What a client needs to speak to one Scenario project.

    :param api_key: The API key, HTTP Basic's user name. Not shown in the repr.
    :param api_secret: The API secret, HTTP Basic's password. Not shown in the repr.
    :param base_url: The API's address with its version. Default: the public API.
    :param project_id: The Scenario project to name in each request. Default: the one the key belongs to.
    :param timeout: Seconds to wait for each reply, more than 0. Default 60.
    """

    api_key: str = field(repr=False)
    api_secret: str = field(repr=False)
    base_url: str = DEFAULT_BASE_URL
    project_id: str | None = None
    timeout: float = DEFAULT_TIMEOUT

    def serialize(self) -> NoReturn:
        """Refuse to become an XCom, as which Airflow would keep the secret: it asks for a method of this name."""
        raise TypeError("A client's configuration holds the API secret, so it is no result of a task.")

    def authorization(self) -> str:
        """Return the value of the Authorization header."""
        pair = f"{self.api_key}:{self.api_secret}".encode()
        return "Basic " + base64.b64encode(pair).decode("ascii")

    def url(self, path: str) -> str:
        """Return the address of ``path``, which starts with a slash."""
        return self.base_url.rstrip("/") + path

    def redact(self, content: bytes) -> bytes:
        """Return a reply's body without this key and secret: what quotes a request may quote them too."""
        for spelling in sorted(self._spellings(), key=len, reverse=True):
            content = content.replace(spelling, b"***")
        return content

    def _spellings(self) -> Iterator[bytes]:
        pair = f"{self.api_key}:{self.api_secret}".encode()
        encoded = [encode(pair).decode().rstrip("=") for encode in (base64.b64encode, base64.urlsafe_b64encode)]
        for text in (self.api_key, self.api_secret, *encoded):
            if len(text) < _SHORTEST_SECRET:
                continue
            quoted = quote(text, safe="")
            in_json = json.dumps(text)[1:-1]
            for form in (text, quoted, quote(quoted, safe=""), html.escape(text), in_json, text.replace("/", "\\/")):
                yield from (form.encode(), json.dumps(form)[1:-1].encode())


def is_loopback(host: str) -> bool:
    """Return whether a host's name or address is this machine itself."""
    name = host.lower().rstrip(".")
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost" or name.endswith(".localhost")  # RFC 6761

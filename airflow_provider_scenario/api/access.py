"""Where Scenario is and who asks."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field

DEFAULT_BASE_URL = "https://api.cloud.scenario.com/v1"
"""The public API (Scenario's API reference pages)."""

DEFAULT_TIMEOUT = 60.0
"""Seconds to wait for a reply, as Scenario's own client does."""

CONNECT_TIMEOUT = 10.0
"""Seconds to wait for a connection."""


@dataclass(frozen=True)
class Access:
    """What a client needs to speak to one Scenario project.

    :param api_key: The API key, HTTP Basic's user name. Not shown in the repr.
    :param api_secret: The API secret, HTTP Basic's password. Not shown in the repr.
    :param base_url: The API's address with its version. Default: the public API.
    :param project_id: The project to assert on every call. Default: the one the key belongs to.
    :param timeout: Seconds to wait for each reply, more than 0. Default 60.
    """

    api_key: str = field(repr=False)
    api_secret: str = field(repr=False)
    base_url: str = DEFAULT_BASE_URL
    project_id: str | None = None
    timeout: float = DEFAULT_TIMEOUT

    def authorization(self) -> str:
        """Return the value of the Authorization header."""
        pair = f"{self.api_key}:{self.api_secret}".encode()
        return "Basic " + base64.b64encode(pair).decode("ascii")

    def url(self, path: str) -> str:
        """Return the address of ``path``, which starts with a slash."""
        return self.base_url.rstrip("/") + path

"""Signed, expiring URLs in CloudFront's manner: Policy, Signature and Key-Pair-Id in the query."""

from __future__ import annotations

import base64
import binascii
import calendar
import hashlib
import hmac
import json
import secrets
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

from airflow_provider_scenario.sandbox.backend.refusal import RefusalError


class Signer:
    """Signs paths with a key of its own."""

    def __init__(self) -> None:
        self.rotate()
        self.key_pair_id = f"K{secrets.token_hex(6).upper()}"

    def rotate(self) -> None:
        """Take a new key: what was signed so far opens nothing any more."""
        self._key = secrets.token_bytes(32)

    def query(self, path: str, expires: int) -> str:
        """Give the query that opens ``path`` until ``expires`` (seconds since 1970)."""
        statement = {"Resource": f"*{path}*", "Condition": {"DateLessThan": {"AWS:EpochTime": expires}}}
        policy = _encode(json.dumps({"Statement": [statement]}, separators=(",", ":")).encode())
        return urlencode(
            {"Policy": policy, "Signature": self._signature(policy), "Key-Pair-Id": self.key_pair_id}, safe="~"
        )

    def check(self, path: str, query: dict[str, str], now: float) -> None:
        """Let a request pass, or refuse it with 403."""
        policy, signature = query.get("Policy", ""), query.get("Signature", "")
        untouched = hmac.compare_digest(self._signature(policy).encode(), signature.encode())
        if not untouched or query.get("Key-Pair-Id") != self.key_pair_id:
            raise RefusalError(403, "Access Denied")
        try:
            statement = json.loads(_decode(policy))["Statement"][0]
        except (ValueError, KeyError, binascii.Error):
            raise RefusalError(403, "Access Denied") from None
        if statement["Resource"] != f"*{path}*":
            raise RefusalError(403, "Access Denied")
        if statement["Condition"]["DateLessThan"]["AWS:EpochTime"] <= now:
            raise RefusalError(403, "Access Denied: the URL has expired")

    def _signature(self, policy: str) -> str:
        return _encode(hmac.new(self._key, policy.encode(), hashlib.sha256).digest())


def window_end(now: float) -> int:
    """When a URL signed now expires: days 1-7 on the 14th, 8-14 on the 21st, 15-21 on the last, then the next 7th."""
    today = datetime.fromtimestamp(now, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    last = calendar.monthrange(today.year, today.month)[1]
    if today.day <= 7:
        end = today.replace(day=14)
    elif today.day <= 14:
        end = today.replace(day=21)
    elif today.day <= 21:
        end = today.replace(day=last)
    else:
        end = (today.replace(day=last) + timedelta(days=1)).replace(day=7)
    return int(end.timestamp())


def _encode(data: bytes) -> str:
    return base64.b64encode(data).decode().translate(str.maketrans("+=/", "-_~"))


def _decode(text: str) -> bytes:
    return base64.b64decode(text.translate(str.maketrans("-_~", "+=/")))

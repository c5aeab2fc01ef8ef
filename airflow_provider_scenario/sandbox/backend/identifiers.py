"""Identifiers in Scenario's manner: a word, an underscore, 24 letters and digits."""

from __future__ import annotations

import secrets
import string

ALPHABET = string.ascii_letters + string.digits
LENGTH = 24


def new_id(word: str) -> str:
    """Give a new identifier such as ``job_…`` or ``asset_…``."""
    return f"{word}_{''.join(secrets.choice(ALPHABET) for _ in range(LENGTH))}"


def new_seed() -> int:
    """Give a seed as the server draws it when the caller gives none: 0 to 2147483646."""
    return secrets.randbelow(2**31 - 1)

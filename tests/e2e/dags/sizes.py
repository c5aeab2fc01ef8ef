"""How many tasks wait, queue and crash at once: enough to see it in `make test`, the full load in `make load`."""

from __future__ import annotations

import os

FULL_LOAD = "FULL_LOAD"
"""The environment variable that asks for the full load."""

_IS_FULL = os.environ.get(FULL_LOAD) == "1"

CRASHING = 40 if _IS_FULL else 12
QUEUEING = 60 if _IS_FULL else 12
FROM_TRIGGER, FROM_WORKER = (180, 20) if _IS_FULL else (36, 4)

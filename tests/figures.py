"""How often tests try what they draw at random: enough to see it in `make test`, the full figure in `make load`."""

from __future__ import annotations

import os

IS_FULL_LOAD = os.environ.get("FULL_LOAD") == "1"


def figure(usual: int, full: int) -> int:
    """Return the figure that counts in this run."""
    return full if IS_FULL_LOAD else usual

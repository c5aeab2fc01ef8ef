"""What the tests of files share with those of transfers: short waits, and storages."""

from __future__ import annotations

from tests.transfers.conftest import (  # noqa: F401 - fixtures
    bucket,
    context,
    s3_address,
    s3_bucket,
    scenario,
    short_waits,
)

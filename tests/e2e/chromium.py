"""A Chromium of Debian's, driven by Playwright: what a person sees of Airflow's pages."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.e2e.debian import install_package

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser


def install_chromium() -> str:
    """Find Chromium, installing Debian's package where there is none and that is allowed."""
    if (found := shutil.which("chromium")) is not None:
        return found
    install_package("chromium")
    if (found := shutil.which("chromium")) is None:
        raise RuntimeError("Chromium was installed but its program was not found")
    return found


@contextmanager
def chromium() -> Iterator[Browser]:
    """A Chromium without a window, which ends with the block."""
    from playwright.sync_api import sync_playwright

    program = install_chromium()
    with sync_playwright() as playwright:
        # Chromium's own sandbox needs rights that a container has not; it sees nothing but this machine here.
        browser = playwright.chromium.launch(
            executable_path=program, args=["--no-sandbox", "--autoplay-policy=no-user-gesture-required"]
        )
        try:
            yield browser
        finally:
            browser.close()

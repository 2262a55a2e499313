"""A real Chromium, the system's, without a window; driven by playwright, which talks to it through a pipe."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

_NAMES = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Give the browser; each test opens pages of its own in it."""
    program = next((path for name in _NAMES if (path := shutil.which(name))), None)
    if program is None:
        pytest.skip("no Chromium here")
    from playwright.sync_api import sync_playwright

    # Chromium's sandbox refuses to start for root, as in most containers; the pages are ours.
    options = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    with sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=program, args=options)
        yield opened
        opened.close()

"""A headless Chromium of the system, for tests of pages. Needs the Debian package chromium."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = shutil.which("chromium")

#: Opens a page in a browser window of its own and returns it: path of the file, width of the window in pixels.
OpenPage = Callable[..., "Page"]


@pytest.fixture(scope="module")  # not longer, because asyncio.run() fails as long as it is there
def browser() -> Iterator[Browser]:
    """One Chromium for a module."""
    if CHROMIUM is None:
        pytest.skip("no chromium here (Debian: apt-get install chromium)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def open_page(browser: Browser) -> Iterator[OpenPage]:
    """Opens files. At the end the test fails if a page asked for another file or had an error.

    With watch=False nothing is said of that page: it is one that tries what it may not.
    """
    contexts = []
    faults: list[str] = []

    def opened(path: Path, *, width: int = 1280, height: int = 900, watch: bool = True) -> Page:
        context = browser.new_context(viewport={"width": width, "height": height}, accept_downloads=True)
        context.set_default_timeout(60_000)
        contexts.append(context)
        page = context.new_page()
        if watch:
            page.on("pageerror", lambda problem: faults.append(f"error: {problem}"))
            page.on("console", lambda said: faults.append(said.text) if said.type == "error" else None)
            page.on("request", lambda request: _asked(request.url, path, faults))
        page.goto(path.as_uri())
        return page

    yield opened
    for context in contexts:
        context.close()
    assert faults == []


def _asked(url: str, path: Path, faults: list[str]) -> None:
    if url.partition(":")[0] not in ("data", "blob") and url.partition("#")[0] != path.as_uri():
        faults.append(f"asked for {url}")

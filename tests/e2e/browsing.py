"""``python -m app`` and Chromium, for tests: the app on some files, pages on which nothing may go wrong."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROMIUM = next((path for path in map(shutil.which, NAMES) if path is not None), None)
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
)
SECONDS = 300


@contextmanager
def served(arguments: list[str], log: Path, **variables: str) -> Iterator[str]:
    """The address of the app, started by its command; it must not have printed a traceback in the end."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "app", *arguments, "--port", str(port)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
    with log.open("w") as file:
        app = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=file, stderr=file)
    try:
        wait_until_served(f"http://127.0.0.1:{port}/", app, log)
        yield f"http://127.0.0.1:{port}/"
    finally:
        app.terminate()
        app.wait(30)
    assert "Traceback" not in log.read_text()


def wait_until_served(address: str, app: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(4 * SECONDS):
        assert app.poll() is None, log.read_text()
        try:
            urllib.request.urlopen(address, timeout=5).close()
        except OSError:
            time.sleep(0.25)
        else:
            return
    pytest.fail(f"the app did not answer in {SECONDS} s:\n{log.read_text()}")


@contextmanager
def chromium() -> Iterator[Any]:
    """The web browser."""
    api = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install playwright")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS.split())
        yield browser
        browser.close()


@contextmanager
def fresh_page(browser: Any, address: str, **options: Any) -> Iterator[Any]:
    """A page of its own session; a script that fails, or any request off this machine, fails the test."""
    context = browser.new_context(
        **{"locale": "zh-CN", "viewport": {"width": 1280, "height": 900}, "accept_downloads": True, **options}
    )
    context.set_default_timeout(SECONDS * 1000)
    page = context.new_page()
    trouble: list[str] = []
    page.on("pageerror", lambda error: trouble.append(str(error)))
    page.on("request", lambda request: note_foreign(request.url, address, trouble))
    yield page
    context.close()
    assert trouble == []


def note_foreign(url: str, address: str, trouble: list[str]) -> None:
    port = address.rsplit(":", 1)[1].rstrip("/")
    if not url.startswith((address, f"ws://127.0.0.1:{port}/", "data:", "blob:")):
        trouble.append(f"a request to {url}")


SETTLED = (
    "() => document.querySelector('.stApp[data-test-script-state=notRunning] .st-key-help button')"
    " && !document.querySelector('[data-testid=stSkeleton]')"
)
"""The script has run to its end, and Streamlit has loaded the code of all that is on the page."""
PAINTED = (
    f"() => ({SETTLED})() && [...document.images].every("
    "(each) => each.complete || each.getBoundingClientRect().top > innerHeight)"
)
"""And all pictures on the screen are there; those below it load when they are scrolled to."""


def settled(page: Any) -> None:
    """Wait until the page is what a reader would call finished."""
    page.wait_for_function(SETTLED)

"""``python -m app`` in Chromium: the gallery shows captions, a picture's page boxes, and no script runs."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.app.small_collection import HOSTILE, make_collection

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROMIUM = next((path for path in map(shutil.which, NAMES) if path is not None), None)
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
)
SECONDS = 300

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: sudo apt-get install chromium"),
]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The app, started by its command on a small collection."""
    pytest.importorskip("streamlit", reason="needs streamlit: pip install 'tushuo[app]'")
    folder = tmp_path_factory.mktemp("collection")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "app", *make_collection(folder), "--port", str(port)]
    log = folder / "app.log"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
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
    for _ in range(SECONDS):
        assert app.poll() is None, log.read_text()
        try:
            urllib.request.urlopen(address, timeout=5).close()
        except OSError:
            time.sleep(1)
        else:
            return
    pytest.fail(f"the app did not answer in {SECONDS} s:\n{log.read_text()}")


@pytest.fixture
def page(address: str) -> Iterator[Any]:
    """A fresh page with the gallery; a script that fails, or any request off this machine, fails the test."""
    api = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install playwright")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS.split())
        context = browser.new_context(locale="zh-CN", viewport={"width": 1280, "height": 900})
        context.set_default_timeout(SECONDS * 1000)
        opened = context.new_page()
        trouble: list[str] = []
        opened.on("pageerror", lambda error: trouble.append(str(error)))
        opened.on("request", lambda request: note_foreign(request.url, address, trouble))
        opened.goto(address)
        opened.wait_for_selector(".ts-card")
        yield opened
        browser.close()
    assert trouble == []


def note_foreign(url: str, address: str, trouble: list[str]) -> None:
    port = address.rsplit(":", 1)[1].rstrip("/")
    if not url.startswith((address, f"ws://127.0.0.1:{port}/", "data:", "blob:")):
        trouble.append(f"a request to {url}")


def test_the_gallery_leads_to_a_picture_with_boxes_and_its_address_shows_it_again(page: Any) -> None:
    page.get_by_text("一只狗在草地上奔跑").wait_for()
    assert page.locator(".ts-card img").count() == 3

    page.locator(".st-key-view-0 button").click()  # lies over the whole card
    page.wait_for_selector(".ts-figure svg rect")
    assert "picture=a.jpg" in page.url
    assert page.locator(".ts-figure svg rect").count() == 2
    titles = page.locator(".ts-figure svg title").all_text_contents()
    assert sorted(titles) == ["人 0.60", "狗 0.90"]
    image = page.locator(".ts-figure img").bounding_box()
    assert page.locator(".ts-figure svg").bounding_box() == image  # boxes lie where the picture lies,
    seen = Image.open(BytesIO(page.locator(".ts-figure").screenshot())).convert("RGB")
    red, green, _ = seen.getpixel((8, seen.height // 4))
    assert green > 90 > red  # and the picture, all green, is drawn to the edge, though it is a small one
    page.get_by_text("两只狗在玩耍").wait_for()

    page.reload()
    page.wait_for_selector(".ts-figure svg rect")
    assert page.locator(".ts-figure svg rect").count() == 2


def test_hostile_captions_and_names_are_text_and_run_nothing(page: Any) -> None:
    page.locator(".st-key-view-1 button").click()
    page.wait_for_selector(".ts-caption")
    assert page.locator(".ts-caption").first.inner_text() == HOSTILE.replace("\u202e", "\ufffd")
    page.goto(
        page.url.split("?")[0]
        + "?picture=<img src=x onerror=window.pwned=1>&q=<script>window.pwned=1</script>"
    )
    page.get_by_text("没有这张图片。").wait_for()
    assert page.evaluate("window.pwned") is None


def test_a_narrow_screen_shows_the_gallery_without_scrolling_sideways(page: Any) -> None:
    page.set_viewport_size({"width": 400, "height": 800})
    page.wait_for_selector(".ts-card")
    assert page.evaluate("document.documentElement.scrollWidth") <= 400

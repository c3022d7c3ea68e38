"""The browser with the bundled captioner: captions made on the spot, words clicked, pictures tried."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.browsing import CHROMIUM, ROOT, chromium, fresh_page, served, settled

SAMPLES = ROOT / "examples" / "images"
NAMES = ("000000165518.jpg", "000000303818.jpg")
HEATED = (
    "[...document.querySelectorAll('.ts-figure svg rect[fill=\"#ffa200\"]')]"
    ".map((each) => Number(each.getAttribute('fill-opacity')))"
)

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: sudo apt-get install chromium"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("live")
    for name in ("pictures", "temporary", "cache"):
        (folder / name).mkdir()
    for name in NAMES:
        shutil.copy(SAMPLES / name, folder / "pictures" / name)
    return folder


@pytest.fixture(scope="module")
def address(folder: Path) -> Iterator[str]:
    """The app on two pictures and nothing else."""
    pytest.importorskip("streamlit", reason="needs streamlit: pip install 'tushuo[app]'")
    arguments = ["--images", str(folder / "pictures"), "--cache", str(folder / "cache")]
    arguments += ["--notes", str(folder / "notes")]
    with served(arguments, folder / "app.log", TMPDIR=str(folder / "temporary")) as found:
        yield found


@pytest.fixture(scope="module")
def page(address: str) -> Iterator[Any]:
    with chromium() as browser, fresh_page(browser, address) as opened:
        yield opened


def test_a_word_that_is_clicked_lights_up_its_regions_and_another_word_others(
    page: Any, address: str
) -> None:
    page.goto(address)
    page.wait_for_selector(".ts-card")
    settled(page)
    assert page.locator(".ts-card p[lang=zh]").count() == 2  # captions made just now
    page.locator(".st-key-view-1 button").click()
    page.wait_for_selector(".ts-figure svg rect")
    settled(page)
    assert page.evaluate(HEATED) == []
    lit = []
    for word in (0, 2):
        page.locator(".st-key-word button").nth(word).click()
        page.wait_for_url(f"**word={word}**")
        settled(page)
        page.wait_for_selector('.ts-figure svg rect[fill="#ffa200"]')
        lit.append(page.evaluate(HEATED))
    assert max(lit[0]) == max(lit[1]) > 0
    assert lit[0] != lit[1]
    page.locator(".st-key-by button").nth(1).click()
    page.wait_for_url("**by=importance**")
    settled(page)
    assert page.evaluate(HEATED) not in lit
    page.reload()
    page.wait_for_selector('.ts-figure svg rect[fill="#ffa200"]')


def test_an_uploaded_picture_gets_boxes_and_a_caption_and_is_kept_nowhere(
    page: Any, address: str, folder: Path
) -> None:
    page.goto(f"{address}?view=try")
    settled(page)
    before = sorted(path for path in folder.rglob("*") if path.name != "app.log")
    page.locator("input[type=file]").set_input_files(SAMPLES / "000000000285.jpg")
    page.wait_for_selector(".ts-figure svg rect")
    settled(page)
    assert page.locator(".ts-caption").inner_text()
    page.get_by_text("用时").wait_for()
    assert page.locator(".ts-scroll tbody tr").count() == 5
    assert sorted(path for path in folder.rglob("*") if path.name != "app.log") == before
    page.locator("input[type=file]").set_input_files(
        files=[{"name": "picture.jpg", "mimeType": "image/jpeg", "buffer": b"<script>"}]
    )
    page.get_by_text("这张图片不能使用：").wait_for()

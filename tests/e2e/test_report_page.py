"""The report in Chromium: it fits a phone and a desk, speaks two languages, and nothing in it runs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from eval.evaluation import Settings, evaluate_files
from eval.report import render_report
from tests.e2e.browsing import CHROMIUM, FLAGS, ROOT

HOSTILE = (
    """<script>document.title='run'</script><img src=x onerror="document.title='run'">\u202e'"{{ 7*7 }}"""
)

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: sudo apt-get install chromium"),
]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two systems on the sample pictures: people's own captions, and hostile ones of every length."""
    folder = tmp_path_factory.mktemp("report")
    references = ROOT / "examples" / "images" / "captions.json"
    people = [
        {"image_id": each["image_id"], "caption": each["caption"][0], "tags": ["人"]}
        for each in json.loads(references.read_text(encoding="utf-8"))
    ]
    hostile = [{**each, "caption": HOSTILE * (1 + 20 * (number % 3))} for number, each in enumerate(people)]
    for name, captions in (("people", people), ("hostile", hostile)):
        (folder / f"{name}.json").write_text(json.dumps(captions), encoding="utf-8")
    evaluation = evaluate_files(
        [folder / "people.json", folder / "hostile.json"], references, Settings(resamples=100)
    )
    page = render_report(
        evaluation,
        title=f"图说 {HOSTILE}",
        images=references.parent,
        command=f"python -m eval {HOSTILE}",
    )
    (folder / "report.html").write_text(page, encoding="utf-8")
    return folder / "report.html"


@pytest.fixture
def page(report: Path) -> Iterator[Any]:
    """The page; what it asks for, or the browser refuses it, fails the test."""
    api = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install playwright")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS.split())
        opened = browser.new_page()
        trouble: list[str] = []
        opened.on("pageerror", lambda error: trouble.append(str(error)))
        opened.on("console", lambda message: trouble.append(message.text))
        opened.on("request", lambda asked: trouble.append(f"a request to {asked.url}"))
        opened.goto(report.as_uri())
        yield opened
        browser.close()
    assert [
        each for each in trouble if not each.startswith(("a request to file:", "a request to data:"))
    ] == []


@pytest.mark.parametrize(
    ("media", "width"), [("screen", 400), ("screen", 1280), ("screen", 1600), ("print", 718)]
)
def test_nothing_sticks_out_of_the_page(page: Any, media: str, width: int) -> None:
    page.emulate_media(media=media)  # 718 pixels: A4 without margins
    page.set_viewport_size({"width": width, "height": 900})
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_every_picture_is_there_when_the_page_is_and_in_the_shape_it_is_told(page: Any) -> None:
    sizes = page.evaluate(
        "[...document.images].filter((each) => each.checkVisibility())"
        ".map((each) => [each.complete, each.naturalWidth, each.naturalHeight, each.width, each.height])"
    )
    assert len(sizes) > 20
    for complete, width, height, shown_width, shown_height in sizes:
        assert complete
        assert shown_width / shown_height == pytest.approx(width / height, rel=0.02)


def test_one_language_is_seen_at_a_time_and_a_click_changes_it(page: Any) -> None:
    headings = page.locator("h2:visible")
    assert "Scores" in headings.first.inner_text()
    assert page.get_by_text("评测方法").first.is_hidden()
    page.get_by_text("中文", exact=True).click()
    assert headings.first.inner_text() == "得分"
    assert page.get_by_text("评测方法").first.is_visible()


def test_hostile_text_is_shown_and_does_not_run(page: Any) -> None:
    assert page.title().startswith("图说 <script>")
    assert page.locator("article script, article img[src=x], header script").count() == 0
    assert "onerror" in page.locator("p.caption").last.inner_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_in_light_and_dark(page: Any, scheme: str) -> None:
    page.emulate_media(color_scheme=scheme)
    poor = page.evaluate(CONTRASTS)
    assert poor == []


CONTRASTS = """() => {
  const rgba = (colour) => {
    const [r, g, b, a = 1] = colour.match(/[\\d.]+/g).map(Number);
    return [r, g, b, a];
  };
  const over = (top, below, share) => top.slice(0, 3).map((c, i) => c * share + below[i] * (1 - share));
  const light = (colour) => {
    const [r, g, b] = colour.slice(0, 3).map((c) => c / 255)
      .map((c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    const colour = element ? rgba(getComputedStyle(element).backgroundColor) : [255, 255, 255, 1];
    return colour[3] === 1 ? colour : over(colour, behind(element.parentElement), colour[3]);
  };
  const opacity = (element) => element
    ? Number(getComputedStyle(element).opacity) * opacity(element.parentElement) : 1;
  const poor = new Set();
  for (const element of document.querySelectorAll("body *:not(svg *)")) {
    const said = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (!said || !element.checkVisibility() || element.closest(".hidden, .frame")) continue;
    const back = behind(element);
    const front = rgba(getComputedStyle(element).color);
    const [a, b] = [over(front, back, front[3] * opacity(element)), back].map(light);
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (contrast < 4.5) poor.add(`${element.tagName}.${element.className}: ${contrast.toFixed(2)}`);
  }
  return [...poor];
}"""
"""Elements with text of less contrast to what is behind them than WCAG 2.2 AA asks for."""

"""``python -m app`` in Chromium: every view, the keys, addresses that show the same; and no script runs."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from PIL import Image

from app.address import VIEWS
from tests.app.small_collection import HOSTILE, make_collection
from tests.e2e.browsing import CHROMIUM, chromium, fresh_page, served, settled
from tests.e2e.test_report_page import CONTRASTS

HOSTILE_NAME = '"><img src=x onerror=window.pwned=1> $x$ **b** \u202egpj.jpg'
SECRET = b"the secret outside of the folder"

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: sudo apt-get install chromium"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("collection")


@pytest.fixture(scope="module")
def address(folder: Path) -> Iterator[str]:
    """The app on a small collection with hostile captions, tags and names."""
    pytest.importorskip("streamlit", reason="needs streamlit: pip install 'tushuo[app]'")
    arguments = make_collection(folder)
    (folder / "secret.txt").write_bytes(SECRET)
    (folder / "pictures" / "z").mkdir()
    Image.new("RGB", (40, 40), "white").save(folder / "pictures" / "z" / HOSTILE_NAME, "JPEG")
    told = [
        {"image_id": "a.jpg", "caption": HOSTILE, "tags": [HOSTILE]},
        {"image_id": "b.jpg", "caption": "=1+1"},
    ]
    (folder / "<b>third $x$.json").write_text(json.dumps(told), encoding="utf-8")
    at = arguments.index("--references")
    arguments[at:at] = [str(folder / "<b>third $x$.json")]
    with served([*arguments, "--notes", str(folder / "notes")], folder / "app.log") as found:
        yield found


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as found:
        yield found


@pytest.fixture
def page(browser: Any, address: str) -> Iterator[Any]:
    """A fresh page with the gallery."""
    with fresh_page(browser, address) as opened:
        opened.goto(address)
        opened.wait_for_selector(".ts-card")
        settled(opened)
        yield opened


def open_first(page: Any) -> None:
    """The first picture of the gallery; keys are the page's, not those of the button that was clicked."""
    page.locator(".st-key-view-0 button").click()
    page.wait_for_selector(".ts-figure")
    settled(page)
    page.locator(".ts-quiet").first.click()


def test_the_gallery_leads_to_a_picture_with_boxes_and_its_address_shows_it_again(page: Any) -> None:
    page.get_by_text("一只狗在草地上奔跑").wait_for()
    assert page.locator(".ts-card img").count() == 4

    page.locator(".st-key-view-0 button").click()  # lies over the whole card
    page.wait_for_selector(".ts-figure svg rect")
    assert "picture=a.jpg" in page.url
    assert page.locator(".ts-figure svg rect").count() == 2
    titles = page.locator(".ts-figure svg title").all_text_contents()
    assert sorted(titles) == ["人 person 0.60", "狗 dog 0.90"]
    image = page.locator(".ts-figure img").bounding_box()
    assert page.locator(".ts-figure svg").bounding_box() == image  # boxes lie where the picture lies,
    seen = Image.open(BytesIO(page.locator(".ts-figure").screenshot())).convert("RGB")
    red, green, _ = seen.getpixel((8, seen.height // 4))
    assert green > 90 > red  # and the picture, all green, is drawn to the edge, though it is a small one
    page.get_by_text("两只狗在玩耍").wait_for()

    page.reload()
    page.wait_for_selector(".ts-figure svg rect")
    settled(page)
    assert page.locator(".ts-figure svg rect").count() == 2
    page.go_back()
    page.wait_for_selector(".ts-card")


def test_keys_search_turn_mark_vote_and_explain_themselves(page: Any, address: str, folder: Path) -> None:
    page.keyboard.press("/")
    page.keyboard.type("狗")
    page.keyboard.press("Enter")
    page.wait_for_url("**/?q=%E7%8B%97")
    settled(page)
    open_first(page)
    page.keyboard.press("ArrowRight")
    page.wait_for_url("**picture=inner**")
    settled(page)
    page.keyboard.press("m")
    page.locator(".st-key-mark button[kind=primary]").wait_for()
    assert json.loads((folder / "notes" / "marked.json").read_text("utf-8")) == ["inner/狗.jpg"]
    page.keyboard.press("Escape")
    page.wait_for_selector(".ts-card")
    settled(page)
    page.keyboard.press("?")
    page.get_by_role("dialog").get_by_text("显示快捷键").wait_for()

    page.goto(f"{address}?view=compare&picture=a.jpg")
    page.wait_for_selector(".st-key-votes")
    settled(page)
    page.keyboard.press("2")
    page.wait_for_url("**picture=b.jpg**")
    settled(page)
    page.keyboard.press("0")
    page.wait_for_url("**picture=inner**")
    lines = (folder / "notes" / "votes.csv").read_text("utf-8").splitlines()[1:]
    assert [line.split(",")[:2] for line in lines] == [["a.jpg", "second"], ["b.jpg", "tie"]]


def test_keys_that_come_faster_than_pages_are_not_lost(page: Any) -> None:
    open_first(page)
    page.keyboard.press("ArrowRight")
    page.wait_for_url("**picture=b.jpg**")
    page.keyboard.press("ArrowRight")  # while b.jpg is drawn
    page.wait_for_url("**picture=inner**")
    settled(page)
    page.keyboard.press("Escape")
    page.keyboard.press("?")  # while the list is drawn
    page.get_by_role("dialog").get_by_text("显示快捷键").wait_for()
    page.wait_for_selector(".ts-card")
    settled(page)
    page.keyboard.press("Escape")
    page.get_by_role("dialog").wait_for(state="hidden")


def test_a_field_keeps_the_keys_that_are_its_own(page: Any, address: str) -> None:
    page.goto(f"{address}?picture=b.jpg")
    page.wait_for_selector(".ts-figure")
    settled(page)
    page.locator(".st-key-least input").press("ArrowRight")
    page.wait_for_url("**least=0.25**")
    settled(page)
    page.get_by_text("修改描述").first.click()
    page.get_by_label("描述", exact=True).first.fill("一个人")
    page.keyboard.press("Escape")
    settled(page)
    assert page.get_by_label("描述", exact=True).first.input_value() == "一个人"
    assert "picture=b.jpg" in page.url


def test_a_part_of_a_chart_that_is_marked_filters_the_gallery(page: Any, address: str) -> None:
    page.goto(f"{address}?view=statistics&system=second")
    chart = page.locator(".st-key-chart-length-zh svg.marks")
    chart.wait_for()
    settled(page)
    box = chart.bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.55, box["y"] + box["height"] * 0.3)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.97, box["y"] + box["height"] * 0.5, steps=8)
    page.mouse.up()
    page.wait_for_url("**length=**")
    page.locator(".st-key-clear-length button").wait_for()
    settled(page)
    page.locator(".st-key-to-gallery button").click()
    page.wait_for_selector(".ts-card")
    assert "length=" in page.url


def test_the_filtered_pictures_are_taken_away_as_files(page: Any, address: str) -> None:
    page.goto(f"{address}?q=自行车&system=second")
    page.wait_for_selector(".ts-card")
    settled(page)
    page.get_by_role("button", name="导出").click()
    found = {}
    for name in ("CSV", "COCO JSON", "HTML"):
        with page.expect_download() as download:
            page.get_by_role("button", name=name, exact=True).click()
        found[name] = Path(download.value.path()).read_text(encoding="utf-8-sig")
    assert found["CSV"].count("一个人在骑自行车") == 3
    assert [record["image_id"] for record in json.loads(found["COCO JSON"])] == [
        "a.jpg",
        "b.jpg",
        "inner/狗.jpg",
    ]
    assert found["HTML"].count("<article>") == 3


@pytest.mark.parametrize("view", VIEWS)
def test_hostile_captions_tags_and_names_are_text_and_run_nothing(
    browser: Any, address: str, view: str
) -> None:
    with fresh_page(browser, address) as page:
        name = quote(f"z/{HOSTILE_NAME}")
        third = quote("<b>third $x$")
        for query in (
            f"?view={view}&system={third}&tag={quote(HOSTILE)}",
            f"?view={view}&picture={name}&q=<script>",
        ):
            page.goto(address + query)
            settled(page)
            page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
        page.goto(f"{address}?view={view}&picture=a.jpg&system={third}&word=1")
        settled(page)
        if view in ("gallery", "errors", "statistics"):
            said = page.locator(".ts-caption").first.inner_text()
            assert said == HOSTILE.replace("\u202e", "\ufffd")
            assert page.locator(".st-key-word button").first.inner_text().strip() == "<"
        assert page.evaluate("window.pwned") is None
        assert page.locator("img[src=x], .stApp b, .katex, .stMain strong:not(.stAlert strong)").count() == 0


def test_every_view_fits_narrow_and_wide_screens_and_can_be_read_in_light_and_dark(
    browser: Any, address: str
) -> None:
    for scheme, width in (("light", 400), ("dark", 1600)):
        with fresh_page(
            browser, address, color_scheme=scheme, viewport={"width": width, "height": 900}
        ) as page:
            for query in (*(f"view={view}" for view in VIEWS), "picture=a.jpg", "view=compare&picture=a.jpg"):
                page.goto(f"{address}?{query}")
                settled(page)
                assert page.evaluate("document.documentElement.scrollWidth") <= width, query
                own = "[...document.querySelectorAll('[class*=ts-]')].length"
                assert page.evaluate(own) > 0
                assert poor_contrasts(page) == [], (query, scheme)


def poor_contrasts(page: Any) -> list[str]:
    """Of what is ours; Streamlit's own widgets are Streamlit's affair."""
    found: list[str] = page.evaluate(CONTRASTS)
    return [each for each in found if ".ts-" in each or each.startswith("MARK")]


def test_language_and_theme_are_part_of_the_address(browser: Any, address: str) -> None:
    with fresh_page(browser, address, color_scheme="light") as page:
        page.goto(f"{address}?theme=dark&lang=en")
        page.wait_for_function(
            "getComputedStyle(document.querySelector('.stApp')).backgroundColor === 'rgb(23, 22, 20)'"
        )
        page.get_by_text("Captions from").wait_for()
        settled(page)
        assert page.evaluate("document.documentElement.lang") == "en"
        page.locator(".st-key-view-0 button").click()
        page.wait_for_selector(".ts-figure svg")
        assert "theme=dark" in page.url
        page.reload()
        page.wait_for_selector(".ts-figure svg")
        page.wait_for_function(
            "getComputedStyle(document.querySelector('.stApp')).backgroundColor === 'rgb(23, 22, 20)'"
        )


def test_no_address_of_the_server_gives_a_file_outside(address: str) -> None:
    host, port = address.removeprefix("http://").rstrip("/").split(":")
    starts = (
        "",
        "media/",
        "static/",
        "app/static/",
        "component/x/",
        "_stcore/",
        "_stcore/bidi-components/x/",
    )
    ways = (
        "../secret.txt",
        "..%2fsecret.txt",
        "%2e%2e/secret.txt",
        "..\\secret.txt",
        "%00/../secret.txt",
        "secret.txt",
    )
    paths = [f"/{start}{way}" for start in starts for way in ways]
    assert len(paths) >= 40
    for path in paths:
        connection = http.client.HTTPConnection(host, int(port), timeout=30)
        connection.putrequest("GET", path, skip_host=False)  # as it stands: nothing is tidied up
        connection.endheaders()
        answer = connection.getresponse().read()
        assert SECRET not in answer, path
        connection.close()

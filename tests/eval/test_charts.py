"""Charts draw the numbers they are given, at the size these have, in markup that a page can hold."""

import re
from xml.etree import ElementTree

import pytest

from eval.charts import bar, bin_counts, histogram, interval_strip, nice_limit, stacked_bar
from eval.significance import Interval


def elements(svg: str, tag: str) -> list[dict[str, str]]:
    return [dict(element.attrib) for element in ElementTree.fromstring(svg).iter(tag)]


def drawn(svg: str, css: str) -> list[dict[str, str]]:
    return [attributes for attributes in elements(svg, "rect") if attributes["class"] == css]


def test_values_are_counted_in_equal_parts_and_outliers_at_the_ends() -> None:
    assert bin_counts([-1, 0, 0.24, 0.25, 0.5, 0.99, 1, 7], 0, 1, 4) == [3, 1, 1, 3]
    assert bin_counts([], 0, 1, 2) == [0, 0]


@pytest.mark.parametrize(("low", "high", "n_bins"), [(1, 1, 4), (2, 1, 4), (0, 1, 0)])
def test_a_scale_without_extent_is_refused(low: float, high: float, n_bins: int) -> None:
    with pytest.raises(ValueError, match=f"got {low}, {high}, {n_bins}"):
        bin_counts([1.0], low, high, n_bins)


@pytest.mark.parametrize(
    ("value", "limit"), [(1, 1), (1.01, 2), (2.2, 2.5), (3, 5), (7, 10), (0.03, 0.05), (12, 20)]
)
def test_scales_end_at_round_numbers(value: float, limit: float) -> None:
    assert nice_limit(value) == pytest.approx(limit)


def test_bars_are_as_high_as_their_counts() -> None:
    svg = histogram([0, 5, 10], low=0, high=3, top=20, height=118, css="s1", labelled_by="text")
    heights = [float(each["height"]) for each in drawn(svg, "s1")]
    assert heights == [0, 25, 50]
    assert [element.text for element in ElementTree.fromstring(svg).iter("title")] == [
        "0–1: 0",
        "1–2: 5",
        "2–3: 10",
    ]


def test_a_single_picture_among_thousands_is_to_be_seen() -> None:
    svg = histogram([1, 30_000], low=0, high=1, top=30_000, height=118, css="s0", labelled_by="text")
    assert float(drawn(svg, "s0")[0]["height"]) == 1


def test_an_open_end_is_written_on_the_axis_and_the_last_bar() -> None:
    svg = histogram([1, 2], low=0, high=5, top=2, height=60, css="s0", labelled_by="text", open_end=True)
    texts = [element.text for element in ElementTree.fromstring(svg).iter() if element.text]
    assert "≥ 2.5: 2" in texts
    assert texts[-1] == "5+"


def test_a_chart_has_a_name_for_those_who_cannot_see_it_or_is_passed_over() -> None:
    named = ElementTree.fromstring(
        histogram([1], low=0, high=1, top=1, height=60, css="s0", labelled_by='a"b')
    )
    assert (named.get("role"), named.get("aria-labelledby")) == ("img", 'a"b')
    for svg in (bar(0.5, "s0"), stacked_bar([1, 2], ["s0", "s1"]), interval_strip([0.5], [None])):
        assert ElementTree.fromstring(svg).get("aria-hidden") == "true"


@pytest.mark.parametrize(("share", "width"), [(0, 0), (0.25, 25), (1, 100), (1.5, 100)])
def test_a_bar_is_as_long_as_its_share(share: float, width: float) -> None:
    assert float(drawn(bar(share, "human"), "human")[0]["width"]) == width


def test_stacked_parts_fill_the_whole_in_order() -> None:
    svg = stacked_bar([1, 0, 3], ["s0", "tie", "s1"])
    parts = [(part["class"], float(part["x"]), float(part["width"])) for part in elements(svg, "rect")]
    assert parts == [("s0", 0, 25), ("tie", 25, 0), ("s1", 25, 75)]
    assert [float(part["width"]) for part in elements(stacked_bar([0, 0], ["s0", "s1"]), "rect")] == [0, 0]


def test_dots_lie_between_the_ends_of_their_intervals() -> None:
    svg = interval_strip([0.5, 0.25, 0.25], [Interval(0.25, 0.75), Interval(0, 0.5), None])
    dots = [float(dot["cx"]) for dot in elements(svg, "circle")]
    ends = [[float(x) for x in re.findall(r"[MH]([\d.]+)", line["d"])] for line in elements(svg, "path")]
    assert dots[0] == pytest.approx(sum(ends[0]) / 2, abs=0.1)
    assert dots[1] == pytest.approx(ends[0][0], abs=0.1) == dots[2]
    assert len(ends) == 2


def test_equal_numbers_without_intervals_can_be_drawn() -> None:
    assert len(elements(interval_strip([0.0, 0.0], [None, None]), "circle")) == 2

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.address import Filters
from app.choice import chosen, differing, matches, neighbours, pages
from app.index import Index, System
from tests.app.small_index import small_index

IDS = [f"{name}.jpg" for name in "abcdef"]
FIRST = dict(zip(IDS, ["一只狗", "两只Ä猫", "一个人在骑自行车", "一只狗", "狗狗狗狗"], strict=False))
SECOND = {IDS[0]: "一只狗", IDS[1]: "一只猫", IDS[4]: "三只狗"}
PEOPLE = {IDS[0]: ["一只狗", "草地上的狗"], IDS[1]: ["两只猫"], IDS[2]: ["一个男人骑着车", "红色的车"]}
TAGS = {IDS[0]: ["狗", "草"], IDS[1]: ["猫"], IDS[2]: ["人", "自行车"], IDS[5]: ["狗"]}


@pytest.fixture(scope="module")
def index() -> Index:
    return small_index(
        IDS,
        {"first": FIRST, "second": SECOND},
        PEOPLE,
        TAGS,
        {IDS[3]: "val"},
        dict(zip(IDS, [5, 1], strict=False)),
    )


@pytest.fixture(scope="module")
def system(index: Index) -> System:
    return index.systems[0]


def names(index: Index, system: System | None, **filters: object) -> str:
    rows = chosen(index, system, Filters(**filters), frozenset({IDS[1], "elsewhere"}), index.systems)
    return "".join(IDS[row][0] for row in rows)


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ({}, "abcdef"),
        ({"q": " 狗 "}, "ade"),
        ({"q": "草地"}, "a"),  # in a reference
        ({"q": "红色"}, "c"),  # in the last of several
        ({"q": "ä"}, "b"),
        ({"q": "F.JPG"}, "f"),
        ({"q": "jpg"}, "abcdef"),
        ({"q": ".*"}, ""),
        ({"q": "(狗|猫)$", "regex": True}, "abde"),
        ({"q": "^一.狗|红色", "regex": True}, "acd"),
        ({"q": "(狗", "regex": True}, ""),
        ({"tag": ("狗",)}, "af"),
        ({"tag": ("狗", "草")}, "a"),
        ({"tag": ("没有",)}, ""),
        ({"split": "val"}, "d"),
        ({"split": "train"}, ""),
        ({"length": (3.0, None)}, "bc"),
        ({"length": (1.0, 2.0)}, "ade"),
        ({"flag": "marked"}, "b"),
        ({"flag": "repeated"}, "e"),
        ({"flag": "alike"}, "ad"),
        ({"score": (1.0, None)}, "ab"),
        ({"score": (None, 10.0)}, "abc"),  # the others have no score
        ({"differing": True}, "bcde"),
        ({"q": "狗", "tag": ("狗",), "flag": "alike"}, "a"),
    ],
)
def test_filters_leave_the_pictures_that_fit(
    index: Index, system: System, filters: dict[str, object], found: str
) -> None:
    assert names(index, system, **filters) == found


@pytest.mark.parametrize(
    ("sort", "ascending"),
    [("name", "abcdef"), ("length", "adebcf"), ("boxes", "cdefba"), ("cider", "cbadef"), ("alike", "bcefad")],
)
def test_pictures_are_sorted_and_those_without_a_number_come_last(
    index: Index, system: System, sort: str, ascending: str
) -> None:
    assert names(index, system, sort=sort) == ascending
    values = {"length": 5, "cider": 3}.get(sort, 6)
    largest = names(index, system, sort=sort, descending=True)
    assert set(largest[:values]) == set(ascending[:values])
    assert largest[values:] == ascending[values:]


def test_the_difference_is_that_of_the_first_system_to_the_best_other(index: Index, system: System) -> None:
    assert names(index, system, sort="difference", descending=True)[:2] == "ba"
    assert names(index, system, sort="difference")[2:] == "cdef"  # of which not both have a score


def test_without_captions_names_references_and_tags_are_filtered(index: Index) -> None:
    assert names(index, None, q="草地") == "a"
    assert names(index, None, tag=("狗",), score=(1.0, None)) == "af"
    assert names(index, None, flag="repeated") == ""
    assert names(index, None, sort="cider") == "abcdef"


def test_captions_made_just_now_are_found_too(index: Index) -> None:
    rows = chosen(index, None, Filters(q="飞机"), also=frozenset({IDS[4]}))
    assert rows.tolist() == [4]


def test_texts_are_matched_as_they_stand_or_by_a_regular_expression() -> None:
    texts = pa.array(["a.jpg", None, "ÄB"])
    assert matches(texts, ".").tolist() == [True, False, False]
    assert matches(texts, "^äb?$", regex=True).tolist() == [False, False, True]
    assert matches(texts, "*", regex=True).tolist() == [False, False, False]


def test_systems_differ_where_not_all_say_the_same(index: Index) -> None:
    assert differing(index.systems).tolist() == [False, True, True, True, True, False]


@given(st.lists(st.integers(0, 30), unique=True), st.integers(0, 30))
def test_neighbours_are_the_ones_beside(rows: list[int], row: int) -> None:
    before, after, place = neighbours(row, np.array(rows, np.int32))
    if row not in rows:
        assert (before, after, place) == (None, None, None)
        return
    assert place == rows.index(row)
    assert before == (rows[place - 1] if place else None)
    assert after == (rows[place + 1] if place + 1 < len(rows) else None)


def test_a_picture_that_is_none_has_no_neighbours() -> None:
    assert neighbours(None, np.array([0, 1], np.int32)) == (None, None, None)


@given(st.integers(0, 1000), st.integers(1, 100))
def test_every_picture_is_on_a_page_and_no_page_but_the_only_one_is_empty(n_items: int, size: int) -> None:
    n_pages = pages(n_items, size)
    assert n_pages * size >= n_items
    assert n_pages == 1 or (n_pages - 1) * size < n_items


@given(text=st.text(max_size=8) | st.sampled_from(["狗", "只", "车", "草地", "J"]))
def test_search_finds_what_a_plain_search_finds(index: Index, text: str) -> None:
    found = names(index, index.systems[0], q=text)
    wanted = text.strip().casefold()
    if wanted == text.strip().lower():  # other foldings, as of ß, are not ours
        held = {i: [i, FIRST.get(i, ""), *PEOPLE.get(i, ())] for i in IDS}
        assert found == "".join(i[0] for i in IDS if any(wanted in each.casefold() for each in held[i]))

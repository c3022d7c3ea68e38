from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.address import ANY, BASES, COLUMNS, FAULTS, FLAGS, SIZES, SORTS, VIEWS, Address, Filters
from app.index import METRICS

texts = st.text(max_size=20)
lists = st.lists(texts.filter(bool), max_size=4, unique=True).map(tuple)
numbers = st.none() | st.integers(0, 10_000_000).map(lambda number: number / 10_000)
ranges = st.tuples(numbers, numbers)
addresses = st.builds(
    Address,
    view=st.sampled_from(VIEWS),
    picture=texts,
    system=texts,
    against=lists,
    fault=st.sampled_from(FAULTS),
    page=st.integers(1, 99_999),
    size=st.sampled_from(SIZES),
    columns=st.sampled_from(COLUMNS),
    boxes=st.booleans(),
    least=st.integers(0, 100).map(lambda number: number / 100),
    only=lists,
    word=st.none() | st.integers(0, 99),
    of=texts,
    by=st.sampled_from(BASES),
    run=lists,
    lang=st.sampled_from(["", "zh", "en"]),
    theme=st.sampled_from(["", "light", "dark"]),
    filters=st.builds(
        Filters,
        q=texts,
        regex=st.booleans(),
        tag=lists,
        split=texts,
        flag=st.sampled_from(["", *FLAGS]),
        metric=st.sampled_from(METRICS),
        score=ranges,
        length=ranges,
        differing=st.booleans(),
        sort=st.sampled_from(SORTS),
        descending=st.booleans(),
    ),
)
ALL_NAMES = [each.name for kind in (Address, Filters) for each in fields(kind) if each.name != "filters"]


@given(addresses)
def test_an_address_shows_the_same_again(address: Address) -> None:
    assert Address.read(address.query()) == address


def test_what_is_as_usual_is_not_in_the_address() -> None:
    assert Address().query() == {}
    assert Address(page=3).query() == {"page": ["3"]}
    assert Address().changed(tag=("狗", "猫"), score=(0.5, None)).query() == {
        "tag": ["狗", "猫"],
        "score": ["0.5-"],
    }


@given(st.dictionaries(st.sampled_from(ALL_NAMES), st.lists(texts, max_size=3)))
def test_whatever_somebody_types_is_an_address(query: dict[str, list[str]]) -> None:
    address = Address.read(query)
    assert Address.read(address.query()) == address
    assert address.page >= 1


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("page", "-3", 1),
        ("page", "³", 1),
        ("page", "9" * 5000, 1),
        ("size", "1000000", 24),
        ("view", "<script>", "gallery"),
        ("score", "nan-inf", ANY),
        ("score", "1e400-", ANY),
        ("score", "0.25-0.5", (0.25, 0.5)),
        ("length", "-7", (None, 7.0)),
        ("least", "7", 1.0),
        ("boxes", "no", True),
        ("word", "-1", None),
    ],
)
def test_what_is_not_understood_counts_as_not_said(name: str, text: str, value: Any) -> None:
    address = Address.read({name: [text]})
    assert getattr(address, name, None) == value or getattr(address.filters, name, None) == value


def test_another_list_begins_at_its_first_page() -> None:
    there = Address(page=7)
    assert there.changed(q="狗").page == 1
    assert there.changed(fault="longest").page == 1
    assert there.changed(size=60).page == 1
    assert there.changed(picture="a.jpg", lang="en").page == 7
    assert there.changed(q="").page == 7, "nothing was changed"


def test_mistakes_are_listed_worst_first_whatever_the_gallery_is_sorted_by() -> None:
    there = Address(view="errors").changed(q="狗", sort="name")
    assert there.wanted == Filters(q="狗", sort="cider")
    assert there.changed(fault="longest").wanted == Filters(q="狗", sort="length", descending=True)
    assert there.changed(fault="alike").wanted == Filters(q="狗", flag="alike", sort="alike", descending=True)
    assert there.changed(fault="repeated", view="gallery").wanted == Filters(q="狗")

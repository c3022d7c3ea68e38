"""Text of others keeps its characters in their places and loses what cannot be seen."""

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from eval.shown import LONGEST, counted, shown


@given(st.text(st.characters(exclude_categories=[])))
def test_what_is_shown_can_be_sent_and_seen(text: str) -> None:
    found = shown(text)
    found.encode("utf-8")
    assert not [c for c in found if unicodedata.category(c) in ("Cc", "Cs") or c in "\u202e\u2066\u200b"]


def test_direction_overrides_are_made_visible() -> None:
    assert shown("a\u202egnp.exe") == "a\ufffdgnp.exe"


def test_chinese_and_emoji_families_stay_as_they_are() -> None:
    text = "一家人👨\u200d👩\u200d👧在“草地”上。"
    assert shown(text) == text


def test_long_text_is_cut() -> None:
    assert shown("长" * 10_000) == "长" * LONGEST + "…"


@given(st.text(st.characters(exclude_categories=[]), max_size=20))
def test_every_character_stays_where_it_was(text: str) -> None:
    assert len(shown(text)) == len(text)
    assert all(new in (old, " ", "\ufffd") for old, new in zip(text, shown(text), strict=True))


def test_one_thing_has_no_s() -> None:
    assert [counted(number, "picture") for number in (0, 1, 2)] == ["0 pictures", "1 picture", "2 pictures"]

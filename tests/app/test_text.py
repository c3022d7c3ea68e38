from __future__ import annotations

import html
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.labels import LABELS, choose_language, label
from app.text import as_html, as_label
from eval.shown import shown


@given(st.text())
def test_nothing_that_was_written_opens_a_tag_or_ends_an_attribute(text: str) -> None:
    escaped = as_html(text)
    assert not set("<>\"'") & set(escaped)
    assert html.unescape(escaped) == shown(text)


@given(st.text())
def test_a_label_has_no_sign_of_markdown_that_is_not_escaped(text: str) -> None:
    signs = re.sub(r"\\[!-/:-@\[-`{-~]", "", as_label(text))
    assert not re.search(r"[!-/:-@\[-`{-~]", signs)
    assert re.sub(r"\\(.)", r"\1", as_label(text)) == (shown(text).strip() or " ")


@pytest.mark.parametrize(
    ("wanted", "locale", "language"),
    [
        ("zh", "en-US", "zh"),
        ("en", "zh-CN", "en"),
        ("auto", "zh-TW", "zh"),
        ("auto", "fr", "en"),
        ("auto", None, "zh"),
    ],
)
def test_the_language_is_the_wanted_one_else_the_browsers(
    wanted: str, locale: str | None, language: str
) -> None:
    assert choose_language(wanted, locale) == language


def test_every_label_has_the_same_fields_in_both_languages() -> None:
    def names(text: str) -> set[str]:
        return {part.split("}")[0].split(":")[0] for part in text.split("{")[1:]}

    assert [key for key, (zh, en) in LABELS.items() if names(zh) != names(en) or not zh or not en] == []


def test_labels_are_filled_in() -> None:
    assert label("found", "zh", found=2, total=3) == "2 / 3 张图片"
    assert label("found", "en", found=2, total=3) == "2 of 3 pictures"

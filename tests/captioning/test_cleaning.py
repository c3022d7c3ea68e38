"""Cleaning as a whole: order, repetition, counts, duplicates."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import fields, replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from captioning.cleaning import EXAMPLES, STEPS, Cleaner, CleaningConfig

pytest.importorskip("opencc")
pytest.importorskip("datasketch")

NO_STEP = CleaningConfig(**dict.fromkeys(STEPS, False), duplicates="keep")
PIECES = [
    *"一只狗，。！a1 <>/&;#@.:-()'\"\t\n\u3000\xa0\u200b\ufe0f\u200d\u20e3\u0301\u3099",
    *"髮發后後乾干隻只薴苧苎著着瞭藉餘裏蘋麵臺於徵鍾鐘鬆穀",
    *"ＡＢ＜＞＆；＃＠．／：ｶﾞ｡\uf900\u2f00℃½①ﬁ",
    *"😀🏽❤©♂🇨🏴\U000e0067",
    *["<b>", "</b>", "<br>", "<!--", "-->", "<script>", "</script>", "&amp;", "&lt;", "&gt;", "amp;", "lt;"],
    *["&#60;", "&nbsp;", "&#x200b;", "https://", "http:", "//", "www.", "a.cn", "a@b.cn", "mailto:"],
    *["乾坤", "乾燥", "瞭解", "一目瞭然", "藉口", "計畫"],
]
TEXTS = st.lists(st.sampled_from(PIECES) | st.characters(), max_size=25).map("".join)
TRADITIONAL = st.text(st.characters(min_codepoint=0x4E00, max_codepoint=0x9FFF), max_size=20)


def cleaned(text: str, config: CleaningConfig | None = None) -> str:
    return Cleaner(config or CleaningConfig()).clean(text)


def corpus(texts: list[str], **settings: object) -> list[str]:
    return list(Cleaner(CleaningConfig(**settings)).corpus(texts))


def test_every_step_has_a_setting_and_is_on() -> None:
    switches = [each.name for each in fields(CleaningConfig) if each.default is True]
    assert switches == list(STEPS)


def test_without_steps_a_text_stays_as_it_is() -> None:
    assert cleaned(" <b>頭髮\u200b</b> ", NO_STEP) == " <b>頭髮\u200b</b> "


@pytest.mark.parametrize("step", STEPS)
@settings(deadline=None)
@given(text=TEXTS)
def test_what_a_step_cleaned_it_does_not_change_again(step: str, text: str) -> None:
    config = replace(NO_STEP, **{step: True})
    once = cleaned(text, config)
    assert STEPS[step](once) == once


@settings(deadline=None, max_examples=500)
@given(text=TEXTS | TRADITIONAL)
@example("&amp;lt;b&amp;gt;")
@example("＜ｂ＞")
@example("http\u200b://a.cn")
@example("e\u200b\u0301")
@example("薴")
def test_what_was_cleaned_no_step_changes(text: str) -> None:
    once = cleaned(text)
    assert [name for name, step in STEPS.items() if step(once) != once] == []


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("&amp;lt;b&amp;gt;狗&lt;/b&gt;", "狗"),
        ("＜b＞狗＜/b＞", "狗"),
        ("<a href='https://a.cn'>狗</a>见https://a.cn/b。", "狗见。"),
        ("ｗｗｗ．ａ．ｃｎ的狗", "的狗"),
        ("&#128512;狗&#8203;", "狗"),
        ("a@\u200bb.cn", ""),
        ("\uff76\u200b\uff9e", "ガ"),
        ("  我<3你 a < b  ", "我<3你 a < b"),
        ("頭&nbsp;&nbsp;髮", "头 发"),
    ],
)
def test_a_step_that_makes_work_for_another_is_followed_by_it(text: str, wanted: str) -> None:
    assert cleaned(text) == wanted


def test_a_text_counts_once_for_each_step_that_changed_it() -> None:
    cleaner = Cleaner(CleaningConfig())
    assert list(cleaner.corpus(["&amp;lt;b&gt;狗", "狗&lt;", "一只猫", "  ", "😀"])) == [
        "狗",
        "狗<",
        "一只猫",
    ]
    changed = {name: count.texts for name, count in cleaner.changed.items() if count.texts}
    assert changed == {"html": 2, "emoji": 1, "spaces": 1}
    assert (cleaner.n_read, cleaner.n_kept, cleaner.n_changed) == (5, 3, 2)
    assert cleaner.left_out["empty"].texts == 2


def test_the_account_shows_the_first_examples_and_fits_into_json() -> None:
    cleaner = Cleaner(CleaningConfig(duplicates="near"))
    list(cleaner.corpus([f"<b>第{n}只狗</b>" + "狗" * 300 for n in range(EXAMPLES + 3)]))
    account = json.loads(json.dumps(cleaner.account()))
    html = account["changed"]["html"]
    assert html["texts"] == EXAMPLES + 3
    assert len(html["examples"]) == EXAMPLES
    assert html["examples"][0]["before"].startswith("<b>第0只狗</b>狗")
    assert html["examples"][0]["after"].startswith("第0只狗狗")
    assert account["settings"]["duplicates"] == "near"


def test_a_corpus_is_cleaned_text_by_text() -> None:
    texts = Cleaner(CleaningConfig()).corpus(f"第{n}只狗" for n in iter(int, 1))
    assert next(texts) == "第0只狗"


def test_of_equal_texts_the_first_is_kept_after_cleaning() -> None:
    texts = ["一只狗", "<b>一只狗</b>", "一隻狗", "两只狗"]
    assert corpus(texts) == ["一只狗", "两只狗"]
    assert corpus(texts, duplicates="keep") == ["一只狗", "一只狗", "一只狗", "两只狗"]


def test_of_nearly_equal_texts_the_first_is_kept() -> None:
    first, second = "一只棕色的狗在绿色的草地上奔跑", "一只棕色的狗在绿色的草地上奔跑。"
    assert corpus([first, second, "两个人在海边"], duplicates="near") == [first, "两个人在海边"]
    assert corpus([second, first, "两个人在海边"], duplicates="near") == [second, "两个人在海边"]
    assert corpus([first, second]) == [first, second]


@settings(deadline=None, max_examples=50)
@given(texts=st.lists(TEXTS, max_size=12))
def test_a_cleaned_corpus_stays_as_it_is(texts: list[str]) -> None:
    once = corpus(texts, duplicates="near", similarity=0.5)
    assert corpus(once, duplicates="near", similarity=0.5) == once


def test_captions_of_a_picture_lose_only_exact_repetitions() -> None:
    cleaner = Cleaner(CleaningConfig(duplicates="near"))
    captions = ["一只狗在草地上奔跑", "一只狗在草地上奔跑。", " 一隻狗在草地上奔跑", "<br>"]
    assert cleaner.captions(captions) == ("一只狗在草地上奔跑", "一只狗在草地上奔跑。")
    assert cleaner.captions(captions[:1]) == ("一只狗在草地上奔跑",)  # of another picture
    assert {name: count.texts for name, count in cleaner.left_out.items()} == {
        "empty": 1,
        "exact_duplicates": 1,
        "near_duplicates": 0,
    }


def test_the_same_corpus_is_left_whatever_the_hash_seed() -> None:
    program = (
        "from captioning.cleaning import Cleaner, CleaningConfig\n"
        "texts = [f'第{n % 7}只{n % 5}岁的狗和第{n % 11}只猫在草地上' for n in range(200)]\n"
        "print(list(Cleaner(CleaningConfig(duplicates='near', similarity=0.5)).corpus(texts)))\n"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("0", "1", "2")
    }
    assert len(outputs) == 1


@pytest.mark.parametrize("similarity", [0.0, 0.99, float("nan")])
def test_a_similarity_that_finds_nothing_or_everything_is_refused(similarity: float) -> None:
    with pytest.raises(ValueError, match=f"between 0.1 and 0.95, got {similarity}"):
        CleaningConfig(similarity=similarity)

"""Each step of cleaning on cases worked by hand."""

from __future__ import annotations

import sys
import time
import unicodedata

import pytest

from captioning.text_steps import (
    collapse_spaces,
    compose,
    fold_width,
    remove_emails,
    remove_emoji,
    remove_html,
    remove_invisible,
    remove_urls,
    simplify,
)

EVERY_CHARACTER = [chr(code) for code in range(sys.maxunicode + 1)]
HIDDEN = {"Cc", "Co", "Cs"}


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("<b>一只</b>狗", "一只狗"),
        ("一只狗<br/>在跑", "一只狗 在跑"),
        ("<p class=\"a>b\" id='c'>狗</p>", " 狗 "),
        ("<p don't>狗", " 狗"),
        ("<!-- 一只猫 <b> -->狗", "狗"),
        ("狗<!-- 没有结尾", "狗"),
        ("<!DOCTYPE html><?xml version='1.0'?>狗", "  狗"),
        ("狗<script type='a'>if (a < b) { }</script>猫<STYLE>p {}</style>", "狗 猫 "),
        ("狗<script>没有结尾", "狗 "),
        ("3 < 5，a < b，x<3，我<3你", "3 < 5，a < b，x<3，我<3你"),
        ("没有结尾的<b", "没有结尾的<b"),
        ("狗&amp;猫&nbsp;&hellip;&#29399;&#x72D7;", "狗&猫 …狗狗"),
        ("&amp;amp;amp;lt;", "<"),
        ("&#10;&NewLine;", "  "),
        ("AT&T?a=1&copy=2&notit;&;&#;", "AT&T?a=1&copy=2&notit;&;&#;"),
    ],
)
def test_html_becomes_the_text_that_a_browser_shows(text: str, wanted: str) -> None:
    assert remove_html(text) == wanted


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("见https://a.cn/b。好", "见。好"),
        ("见 HTTP://A.CN:80/b?c=1&d=%E7%8B%97#e, 好", "见 , 好"),
        ("（http://a.cn/b）", "（）"),
        ("(see http://a.cn/b_(c).)", "(see .)"),
        ("http://[::1]:80/x", ""),
        ("ftp://a.cn/b/", ""),
        ("www.a.cn的照片", "的照片"),
        ("awww.cute.dog", "awww.cute.dog"),
        ("http://zh.wikipedia.org/wiki/狗", "狗"),
        ("ab http://a.cn cd", "ab  cd"),
        ("http:// 和 https://。", "http:// 和 https://。"),
        ("Node.js 3.5 a/b c:d", "Node.js 3.5 a/b c:d"),
    ],
)
def test_urls_end_where_the_sentence_goes_on(text: str, wanted: str) -> None:
    assert remove_urls(text) == wanted


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("写信给a.b+c@mail.sina.com.cn吧", "写信给吧"),
        ("mailto:a@b.cn。", "。"),
        ("a@b.cn.", "."),
        ("@小明 a@b 3@4.5", "@小明 a@b 3@4.5"),
    ],
)
def test_emails_are_taken_out(text: str, wanted: str) -> None:
    assert remove_emails(text) == wanted


@pytest.mark.parametrize(
    "emoji",
    [
        pytest.param("😀", id="one character"),
        pytest.param("❤️", id="presentation selector"),
        pytest.param("❤", id="without its selector"),
        pytest.param("👍🏽", id="skin tone"),
        pytest.param("👨‍👩‍👧‍👦", id="joined family"),
        pytest.param("👩🏿‍⚕️", id="joined, with skin tone and selector"),
        pytest.param("🏳️‍🌈", id="joined flag"),
        pytest.param("🇨🇳🇹🇼", id="flags of letters"),
        pytest.param("🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f", id="flag of tags"),
        pytest.param("1️⃣#⃣", id="keycaps"),
        pytest.param("©️↔️", id="signs made emoji"),
        pytest.param("🙂‍↔️", id="joined with a sign"),
    ],
)
def test_emoji_go_with_all_they_consist_of(emoji: str) -> None:
    assert remove_emoji(f"一只{emoji}狗{emoji}") == "一只狗"


def test_emoji_between_latin_words_leave_a_space() -> None:
    assert remove_emoji("hot😀dog 狗😀dog") == "hot dog 狗dog"


def test_signs_of_print_are_no_emoji() -> None:
    signs = "©™®℃№★☆♪→↔①㊣※#*0123456789"
    assert remove_emoji(signs) == signs


def test_emoji_are_those_of_unicode() -> None:
    regex = pytest.importorskip("regex")
    emoji = {each for each in regex.findall(r"\p{Emoji}", "".join(EVERY_CHARACTER)) if not each.isascii()}
    removed = {each for each in EVERY_CHARACTER if not remove_emoji(each)}
    assert {each for each in removed - emoji if each < "\U0001f000"} == set()
    signs = emoji - removed
    assert {each for each in signs if remove_emoji(each + "\ufe0f")} == set()
    assert regex.findall(r"\p{Emoji_Presentation}", "".join(signs)) == []


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("一\u200b只\ufeff狗\u00ad", "一只狗"),
        ("\u202e一只狗\u202c", "一只狗"),
        ("一\x00只\x1b狗\x0c在\x85跑", "一只狗 在 跑"),
        ("葛\U000e0100\ue000\U000f0000\ud800", "葛"),
        ("一\t只\r\n狗\u3000", "一\t只\r\n狗\u3000"),
    ],
)
def test_what_nobody_sees_is_taken_out(text: str, wanted: str) -> None:
    assert remove_invisible(text) == wanted


def test_no_control_or_private_character_is_left() -> None:
    left = [
        each for each in remove_invisible("".join(EVERY_CHARACTER)) if unicodedata.category(each) in HIDDEN
    ]
    assert left == ["\t", "\n", "\r"]


def test_compatibility_ideographs_become_the_unified_ones() -> None:
    assert compose("\uf900\U0002f800\uf9dc") == "\u8c48\u4e3d\u9686"
    assert compose("e\u0301 Å") == "é Å"
    assert compose("\ufa0e") == "\ufa0e"  # unified, in spite of its block


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("ＡＢｃ１２％＋＝＠／．", "ABc12%+=@/."),
        ("你好！（３），：；？［］～。、「」《》", "你好！（3），：；？［］～。、「」《》"),
        ("ｱﾎﾟﾛ｡｢ﾌﾞ｣､", "アポロ。「ブ」、"),
        ("￥５￡", "¥5£"),
        ("25℃ 2½ ① ㎡ Ⅳ ㈱ … 〇", "25℃ 2½ ① ㎡ Ⅳ ㈱ … 〇"),
        ("你好,世界!(1)", "你好,世界!(1)"),
        ("\u3000", "\u3000"),
    ],
)
def test_letters_are_half_and_chinese_punctuation_is_full_width(text: str, wanted: str) -> None:
    assert fold_width(text) == wanted


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("頭髮 發現", "头发 发现"),
        ("皇后以後", "皇后以后"),
        ("乾燥 乾杯 乾隆 乾坤", "干燥 干杯 乾隆 乾坤"),
        ("瞭解 瞭望", "了解 瞭望"),
        ("一隻狗和兩隻貓在臺階上", "一只狗和两只猫在台阶上"),
        ("滑鼠、軟體、計程車", "滑鼠、软体、计程车"),
        ("一只狗在草地上奔跑", "一只狗在草地上奔跑"),
    ],
)
def test_traditional_characters_become_simplified_and_words_stay(text: str, wanted: str) -> None:
    pytest.importorskip("opencc")
    assert simplify(text) == wanted


def test_without_opencc_the_message_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    from captioning import text_steps

    monkeypatch.setitem(sys.modules, "opencc", None)
    text_steps._opencc.cache_clear()
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'tushuo\[cleaning\]', or leave .*false"):
        simplify("狗")


def test_white_space_of_every_kind_is_one_space() -> None:
    assert collapse_spaces("\u3000一只\xa0\t 狗\r\n在跑\u2003") == "一只 狗 在跑"


@pytest.mark.parametrize(
    "repeated",
    ["<", "<a ", '<a "', "<!--", "<script>", "a@", "a.", "(", "http://(", "www.", "&amp;", "&", "👍"],
)
def test_no_text_makes_a_step_slow(repeated: str) -> None:
    text = repeated * (200_000 // len(repeated))
    start = time.process_time()
    for step in (remove_html, remove_urls, remove_emails, remove_emoji, remove_invisible, fold_width):
        step(text)
    assert time.process_time() - start < 5

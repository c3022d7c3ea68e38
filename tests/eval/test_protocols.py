"""From a caption to the tokens that are counted, by the name of the protocol."""

import dataclasses
import itertools
import shutil
import unicodedata

import jieba
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.protocols import PROTOCOLS, find_protocol, without_full_stop
from eval.scorer import evaluate
from eval.segmenters import SEGMENTERS


def cut(text: str, protocol: str) -> list[str]:
    return find_protocol(protocol).cut(text)


@pytest.mark.parametrize(
    ("sentence", "words"),
    [
        ("一个穿着裙子的女孩在草地上奔跑", "一个 穿着 裙子 的 女孩 在 草地 上 奔跑"),
        ("两只狗在雪地里玩耍。", "两只 狗 在 雪地 里 玩耍"),
        ("男人在骑车。女人在走路。", "男人 在 骑车 女人 在 走路"),
        ("海边，有三个人！", "海边 ， 有 三个 人 ！"),
        ("一个 男人　在骑 自行车", "一个 男人 在 骑 自行车"),
        ("一件T恤和3.5米的板子", "一件 t恤 和 3.5 米 的 板子"),
        ("写着“STOP”的牌子, 真大...", "写 着 stop 的 牌子 真大"),
        ("１２只Ａ狗", "１ ２ 只 ａ 狗"),
    ],
    ids=[
        "plain",
        "full stop",
        "full stop inside",
        "full-width comma",
        "spaces",
        "latin",
        "quotes",
        "full-width",
    ],
)
def test_jieba_words_follow_the_ai_challenger_rule(sentence: str, words: str) -> None:
    assert cut(sentence, "aic-icc") == words.split(" ")


def test_every_character_is_a_token_but_white_space_and_the_full_stop() -> None:
    assert cut(" 两只 狗　在，OK。\n", "chars") == ["两", "只", "狗", "在", "，", "o", "k"]


def test_given_words_are_split_at_white_space_only() -> None:
    assert cut("一 只  Dog 。　跑", "coco-cn") == ["一", "只", "Dog", "。", "跑"]


@pytest.mark.parametrize("name", PROTOCOLS)
def test_composed_and_decomposed_letters_give_the_same_tokens(name: str) -> None:
    sentence = "一家café的猫"
    assert cut(unicodedata.normalize("NFD", sentence), name) == cut(sentence, name)


@settings(deadline=None)
@given(st.text(max_size=40), st.sampled_from(sorted(PROTOCOLS)))
def test_a_token_is_never_empty_and_never_holds_white_space(text: str, name: str) -> None:
    assert all(token and not any(map(str.isspace, token)) for token in cut(text, name))


@settings(deadline=None)
@given(st.text(alphabet="一个男人狗，。 　aB1", max_size=20))
def test_words_and_characters_cover_the_same_text(text: str) -> None:
    assert "".join(cut(text, "aic-icc")) == "".join(cut(text, "chars"))


@settings(deadline=None)
@given(st.text(alphabet="一个男人骑着自行车狗，！。“”〇㐀aB1", max_size=20), st.data())
def test_spaces_between_chinese_characters_change_no_word(text: str, data: st.DataObject) -> None:
    spaced = text[:1]
    for left, right in itertools.pairwise(text):
        chinese = not (left + right).isascii() and left not in "aB1" and right not in "aB1"
        spaced += (data.draw(st.sampled_from(["", " ", "　", "\n "])) if chinese else "") + right
    assert cut(spaced, "aic-icc") == cut(text, "aic-icc")


def test_spaces_beside_latin_words_stay() -> None:
    assert cut("iPhone 手机 New York 街 道", "aic-icc") == ["iphone", "手机", "new", "york", "街道"]


def test_a_segmenter_that_goes_by_spaces_is_left_them() -> None:
    protocol = find_protocol("aic-icc", "whitespace")
    assert protocol.cut("一只 狗 在 跑。") == ["一只", "狗", "在", "跑"]
    assert protocol.steps[:4] == ("NFC", "strip", "remove 。", "split at white space")


def test_a_sentence_of_full_stops_has_no_token() -> None:
    assert [cut("。 。", name) for name in ("aic-icc", "chars")] == [[], []]


def test_every_protocol_says_what_it_counts_and_where_it_comes_from() -> None:
    for name, protocol in PROTOCOLS.items():
        assert protocol.name == name
        assert protocol.unit and protocol.source and protocol.version()
        assert protocol.segmenter.step in protocol.steps


def test_another_segmenter_changes_the_protocols_name_steps_and_unit() -> None:
    protocol = find_protocol("aic-icc", "chars")
    assert (protocol.name, protocol.unit) == ("aic-icc+chars", "characters")
    assert protocol.steps[:5] == (
        "NFC",
        "strip",
        "remove 。",
        "drop spaces between Chinese characters",
        "drop white space, one token a character",
    )
    assert protocol.cut("“狗”。") == ["狗"]
    scores = evaluate({"1": "狗"}, {"1": ["狗"]}, protocol)
    assert (scores.protocol, scores.segmenter) == ("aic-icc+chars", "chars")


@pytest.mark.parametrize("segmenter", SEGMENTERS)
def test_no_step_is_named_twice(segmenter: str) -> None:
    for name in PROTOCOLS:
        steps = find_protocol(name, segmenter).steps
        assert len(set(steps)) == len(steps)


def test_naming_the_protocols_own_segmenter_changes_nothing() -> None:
    assert find_protocol("aic-icc", "jieba") == PROTOCOLS["aic-icc"]


@pytest.mark.parametrize(
    ("found", "name"),
    [
        ("jieba 0.38, dict.txt sha256 41dc", "aic-icc+jieba-0.38"),
        ("jieba 0.42.1, dict.txt sha256 41dc", "aic-icc+jieba-0.42.1-other-dictionary"),
    ],
    ids=["release", "dictionary"],
)
def test_another_jieba_or_dictionary_is_told_and_loses_the_protocols_name(
    found: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = dataclasses.replace(SEGMENTERS["jieba"], version=lambda: found)
    monkeypatch.setitem(PROTOCOLS, "aic-icc", dataclasses.replace(PROTOCOLS["aic-icc"], segmenter=other))
    message = (
        f"protocol aic-icc is defined by jieba 0.42.1, dict.txt sha256 7197.*; found {found}. These scores go"
    )
    with pytest.warns(UserWarning, match=message):
        scores = evaluate({"1": "狗"}, {"1": ["狗"]})
    assert (scores.protocol, scores.version) == (name, found)


def test_an_unknown_protocol_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="unknown protocol 'aic'; choose from aic-icc, chars, coco-"):
        find_protocol("aic")
    with pytest.raises(ValueError, match="unknown segmenter 'thulac'; choose from chars, jieba, "):
        find_protocol("aic-icc", "thulac")


@pytest.mark.skipif(shutil.which("java") is None, reason="needs Java: apt-get install default-jre-headless")
def test_words_are_those_that_the_official_tool_counts() -> None:
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

    sentences = [
        "一个穿着T恤的男人，在街道上骑自行车。",
        "写着“STOP”和‘禁止通行’的牌子……真大！",
        "三只狗 - 两只猫; 一辆BMW: 好?",
        "书名是《红楼梦》，【图】「左」",
        "他说:'no'，然后...走了——",
    ]
    words = [
        " ".join(jieba.Tokenizer().cut(without_full_stop(sentence), cut_all=False)) for sentence in sentences
    ]
    official = PTBTokenizer().tokenize({i: [{"caption": line}] for i, line in enumerate(words)})
    assert [cut(sentence, "aic-icc") for sentence in sentences] == [
        official[i][0].split() for i in range(len(words))
    ]

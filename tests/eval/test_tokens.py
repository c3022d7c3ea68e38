"""Sentences to words and characters."""

import hashlib
import os
import shutil
import subprocess
import sys
import unicodedata
from pathlib import Path

import jieba
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.tokens import SEGMENTERS, prepare, segment, segmenter_version


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
    assert segment(sentence, "jieba") == words.split(" ")


def test_every_character_is_a_token_but_white_space_and_the_full_stop() -> None:
    assert segment(" 两只 狗　在，OK。\n", "chars") == ["两", "只", "狗", "在", "，", "o", "k"]


def test_given_words_are_split_at_white_space_only() -> None:
    assert segment("一 只  Dog 。　跑", "whitespace") == ["一", "只", "Dog", "。", "跑"]


@pytest.mark.parametrize("name", SEGMENTERS)
def test_composed_and_decomposed_letters_give_the_same_tokens(name: str) -> None:
    sentence = "一家café的猫"
    assert segment(unicodedata.normalize("NFD", sentence), name) == segment(sentence, name)


@given(st.text(max_size=40), st.sampled_from(sorted(SEGMENTERS)))
def test_a_token_is_never_empty_and_never_holds_white_space(text: str, name: str) -> None:
    assert all(token and not any(map(str.isspace, token)) for token in segment(text, name))


@given(st.text(alphabet="一个男人狗，。 　aB1", max_size=20))
def test_words_and_characters_cover_the_same_text(text: str) -> None:
    assert "".join(segment(text, "jieba")) == "".join(segment(text, "chars"))


def test_a_sentence_of_full_stops_has_no_token() -> None:
    assert [segment("。 。", name) for name in ("jieba", "chars")] == [[], []]


def test_words_added_to_jieba_elsewhere_do_not_change_the_cut() -> None:
    before = segment("男人在骑自行车")
    jieba.add_word("男人在骑", freq=10**9)
    try:
        assert jieba.lcut("男人在骑自行车")[0] == "男人在骑"
        assert segment("男人在骑自行车") == before
    finally:
        jieba.del_word("男人在骑")


def test_cutting_reads_and_writes_no_cache_and_says_nothing(tmp_path: Path) -> None:
    code = "from eval.tokens import segment; segment('两只狗')"
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr, list(tmp_path.iterdir())) == ("", "", [])


def test_the_version_names_the_package_and_the_dictionary() -> None:
    digest = hashlib.sha256(Path(jieba.__file__).with_name("dict.txt").read_bytes()).hexdigest()
    assert segmenter_version("jieba") == f"jieba {jieba.__version__}, dict.txt sha256 {digest}"


def test_an_unknown_segmenter_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="unknown segmenter 'thulac'; choose from chars, jieba, whitespace"):
        segment("狗", "thulac")


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
    cut = [" ".join(jieba.Tokenizer().cut(prepare(sentence), cut_all=False)) for sentence in sentences]
    official = PTBTokenizer().tokenize({i: [{"caption": words}] for i, words in enumerate(cut)})
    assert [segment(sentence) for sentence in sentences] == [official[i][0].split() for i in range(len(cut))]

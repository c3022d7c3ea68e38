"""What cuts sentences: jieba as published, characters, white space, and installed packages."""

import hashlib
import os
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType

import jieba
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval import segmenters
from eval.segmenters import SEGMENTERS, Segmenter, find_segmenter

PAIRS = Segmenter(
    name="pairs",
    cut=lambda text: [text[start : start + 2] for start in range(0, len(text), 2)],
    unit="pairs",
    version=lambda: "pairs 1.0",
    step="two characters a token",
)


def cut(text: str, name: str) -> list[str]:
    return find_segmenter(name).cut(text)


@settings(deadline=None)
@given(st.text(max_size=40), st.sampled_from(sorted(SEGMENTERS)))
def test_a_token_is_never_empty_and_never_holds_white_space(text: str, name: str) -> None:
    assert all(token and not any(map(str.isspace, token)) for token in cut(text, name))


def test_words_added_to_jieba_elsewhere_do_not_change_the_cut() -> None:
    before = cut("男人在骑自行车", "jieba")
    jieba.add_word("男人在骑", freq=10**9)
    try:
        assert jieba.lcut("男人在骑自行车")[0] == "男人在骑"
        assert cut("男人在骑自行车", "jieba") == before
    finally:
        jieba.del_word("男人在骑")


def test_the_dictionary_is_read_as_jieba_reads_it() -> None:
    with Path(jieba.__file__).with_name("dict.txt").open("rb") as lines:
        counts, total = jieba.Tokenizer().gen_pfdict(lines)
    ours = segmenters._load_jieba()
    assert counts == ours.FREQ
    assert ours.total == total


def test_cutting_reads_and_writes_no_cache_and_says_nothing(tmp_path: Path) -> None:
    code = "from eval.segmenters import cut_words; cut_words('两只狗')"
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr, list(tmp_path.iterdir())) == ("", "", [])


def test_the_version_names_the_package_and_the_dictionary() -> None:
    digest = hashlib.sha256(Path(jieba.__file__).with_name("dict.txt").read_bytes()).hexdigest()
    assert SEGMENTERS["jieba"].version() == f"jieba {jieba.__version__}, dict.txt sha256 {digest}"


def test_an_unknown_segmenter_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="unknown segmenter 'thulac'; choose from chars, jieba, "):
        find_segmenter("thulac")


def installed(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    point = EntryPoint(name, value, segmenters.ENTRY_POINTS)
    monkeypatch.setattr(
        segmenters, "entry_points", lambda group: [point] if group == "tushuo.segmenters" else []
    )


def test_an_installed_package_adds_a_segmenter(monkeypatch: pytest.MonkeyPatch) -> None:
    package = ModuleType("package_of_pairs")
    package.PAIRS = PAIRS  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "package_of_pairs", package)
    installed(monkeypatch, "pairs", "package_of_pairs:PAIRS")
    assert find_segmenter("pairs") is PAIRS
    with pytest.raises(ValueError, match="choose from chars, jieba, pairs, "):
        find_segmenter("pear")


def test_an_entry_point_that_names_something_else_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, "pears", "builtins:len")
    wanted = (
        r"entry point pears = builtins:len of tushuo.segmenters: found builtin_function_or_method, "
        r"wanted an eval.segmenters.Segmenter named 'pears'"
    )
    with pytest.raises(ValueError, match=wanted):
        find_segmenter("pears")


def test_an_installed_package_cannot_take_the_name_of_one_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, "jieba", "builtins:len")
    assert find_segmenter("jieba") is SEGMENTERS["jieba"]

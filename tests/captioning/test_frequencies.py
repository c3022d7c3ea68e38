"""The file of document frequencies: what it keeps, and whom it refuses."""

from __future__ import annotations

import gzip
import json
import random
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from captioning.frequencies import (
    FrequenciesError,
    read_frequencies,
    reward_protocol,
    reward_tokens,
    write_frequencies,
)
from eval.cider import CiderD
from eval.ngrams import DocumentFrequencies

CHARS = reward_protocol("chars")
CAPTIONS = {"a": ["一只狗", "狗在跑"], "b": ["一只猫"], "c": ["天空"]}


def written(folder: Path) -> Path:
    references = [reward_tokens(CHARS, texts) for texts in CAPTIONS.values()]
    write_frequencies(folder / "f.gz", DocumentFrequencies.of(references), CHARS, [])
    return folder / "f.gz"


def changed(path: Path, **values: Any) -> Path:
    content = json.loads(gzip.decompress(path.read_bytes()))
    path.write_bytes(gzip.compress(json.dumps(content | values).encode()))
    return path


def test_an_n_gram_is_kept_with_the_number_of_its_pictures_if_two_have_it(tmp_path: Path) -> None:
    read = read_frequencies(written(tmp_path), CHARS)
    assert read.n_images == 3
    assert read.protocol == "chars"
    assert read.counts == {("一",): 2, ("只",): 2, ("一", "只"): 2, ("<eos>",): 3}


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**32))
def test_rewards_are_the_same_to_the_bit_after_writing_and_reading(seed: int) -> None:
    rng = random.Random(seed)
    alphabet = "ab\ue000一，\U00020000\ud800"

    def draw() -> list[str]:
        return reward_tokens(CHARS, ["".join(rng.choices(alphabet, k=rng.randrange(8)))])[0]

    references = [[draw() for _ in range(rng.randrange(1, 4))] for _ in range(rng.randrange(1, 6))]
    counted = DocumentFrequencies.of(references, "chars")
    with TemporaryDirectory() as folder:
        write_frequencies(Path(folder, "f.gz"), counted, CHARS, [])
        read = read_frequencies(Path(folder, "f.gz"), CHARS)
    assert read.n_images == counted.n_images
    assert read.counts == {ngram: number for ngram, number in counted.counts.items() if number > 1}
    captions = [draw() for _ in references]
    assert CiderD(references, read).score(captions) == CiderD(references, counted).score(captions)


def test_equal_counts_give_equal_bytes_and_the_sources_are_named(tmp_path: Path) -> None:
    source = tmp_path / "captions.json"
    source.write_text("[]", encoding="utf-8")
    counts = {("b",): 2, ("a",): 3, ("a", "b"): 2}
    for name, items in (("one", counts), ("two", dict(reversed(counts.items())))):
        write_frequencies(tmp_path / name, DocumentFrequencies(counts=items, n_images=9), CHARS, [source])
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    content = json.loads(gzip.decompress((tmp_path / "one").read_bytes()))
    digest = "4f53cda18c2baa0c0354bb5f9a3ecbe5ed12ab4d8e11ba873c2f11161202b945"  # of "[]"
    assert content["sources"] == [{"name": "captions.json", "sha256": digest}]


def test_a_segmenter_of_another_version_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path)
    newer = replace(CHARS, segmenter=replace(CHARS.segmenter, version=lambda: "Unicode 99"))
    with pytest.raises(
        FrequenciesError, match="version 'Unicode [0-9.]+', captions are cut under 'Unicode 99'"
    ):
        read_frequencies(path, newer)


def test_another_protocol_is_refused_with_the_command_that_counts_again(tmp_path: Path) -> None:
    with pytest.raises(FrequenciesError, match="protocol 'chars'.*count_ngrams .*--segmenter jieba"):
        read_frequencies(written(tmp_path), reward_protocol("jieba"))


def test_counts_without_the_closing_end_are_refused(tmp_path: Path) -> None:
    path = changed(written(tmp_path), steps=list(CHARS.steps))
    with pytest.raises(FrequenciesError, match="counted under steps"):
        read_frequencies(path, CHARS)


@pytest.mark.parametrize(
    "values",
    [
        {"counts": {"a": 4}},
        {"counts": {"a": 1}},
        {"counts": {"a": 2.5}},
        {"counts": {"a": True}},
        {"counts": ["a"]},
        {"n_images": "3"},
    ],
)
def test_counts_that_cannot_be_are_refused(tmp_path: Path, values: dict[str, Any]) -> None:
    path = changed(written(tmp_path), **values)
    with pytest.raises(FrequenciesError, match="whole numbers from 2 to n_images"):
        read_frequencies(path, CHARS)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not compressed JSON"),
        (b"{}", "not compressed JSON"),
        (gzip.compress(b"{}")[:-3], "not compressed JSON"),
        (gzip.compress(b"{"), "not compressed JSON"),
        (gzip.compress(b"[" * 100_000), "not compressed JSON"),
        (gzip.compress(b"[1]"), "format None, wanted 'tushuo-ngrams/1'"),
        (gzip.compress(b'{"format": "x"}'), "format 'x', wanted"),
    ],
)
def test_other_files_are_refused_by_name(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "f.gz").write_bytes(content)
    with pytest.raises(FrequenciesError, match=rf"f\.gz: {message}"):
        read_frequencies(tmp_path / "f.gz", CHARS)


def test_a_changed_byte_is_noticed(tmp_path: Path) -> None:
    path = written(tmp_path)
    whole = path.read_bytes()
    middle = len(whole) // 2
    path.write_bytes(whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :])
    with pytest.raises(FrequenciesError):
        read_frequencies(path, CHARS)


def test_a_missing_file_is_answered_with_the_command_that_makes_it(tmp_path: Path) -> None:
    with pytest.raises(FrequenciesError, match="not found; count again: python -m captioning.count_ngrams"):
        read_frequencies(tmp_path / "f.gz", CHARS)


def test_each_segmenter_has_its_protocol_and_unknown_ones_are_answered_with_the_known() -> None:
    names = {name: reward_protocol(name).name for name in ("jieba", "chars", "whitespace")}
    assert names == {"jieba": "aic-icc", "chars": "chars", "whitespace": "coco-cn"}
    with pytest.raises(ValueError, match="unknown segmenter 'words'; choose from chars, jieba"):
        reward_protocol("words")

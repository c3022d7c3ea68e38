from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from captioning.constraints import build_machine, machine_of, read_constraints
from captioning.tokenizer import CaptionTokenizer
from oscar.machines import word_machine

TOKENIZER = CaptionTokenizer.build(["狗在草地上玩飞盘盘子"])


def write(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    return path


def test_a_word_is_the_sequence_of_its_pieces_and_a_list_its_alternatives() -> None:
    frisbee, plate, dog = (TOKENIZER.encode(word) for word in ("飞盘", "盘子", "狗"))
    assert [len(pieces) for pieces in (frisbee, plate, dog)] == [2, 2, 1]
    machine = build_machine(["狗", ["飞盘", "盘子"]], TOKENIZER, max_pieces=3)
    assert machine == word_machine([[dog], [frisbee, plate]])


@pytest.mark.parametrize(
    ("constraints", "message"),
    [
        ("狗", r"must be a list of words, got '狗'; write \['狗'\]"),
        (["猫"], "'猫' cannot be written: the model's vocabulary lacks a piece of it"),
        (["狗", " "], "' ' holds nothing that can be written"),
        (["狗", []], "constraint 1 has no form"),
        (["狗"] * 6, "6 constraints for one picture; at most 5"),
        (["飞盘", ["草地上", "盘子"]], r"take 4 pieces, captions have at most 3 \(max_pieces\)"),
    ],
)
def test_what_no_caption_can_hold_is_refused(constraints: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_machine(constraints, TOKENIZER, max_pieces=3)


def test_constraints_are_everybodys_or_those_of_an_image_id() -> None:
    dog = build_machine(["狗"], TOKENIZER, max_pieces=3)
    assert machine_of("a.jpg", ["狗"], TOKENIZER, max_pieces=3) == dog
    assert machine_of("a.jpg", {"a.jpg": ["狗"]}, TOKENIZER, max_pieces=3) == dog
    assert machine_of("b.jpg", {"a.jpg": ["狗"]}, TOKENIZER, max_pieces=3) is None
    with pytest.raises(ValueError, match="a.jpg: '猫' cannot be written"):
        machine_of("a.jpg", ["猫"], TOKENIZER, max_pieces=3)


def test_a_file_of_constraints_comes_back_as_written(tmp_path: Path) -> None:
    content = {"a.jpg": ["狗", ["飞盘", "盘子"]], "inner/b.jpg": []}
    path = write(tmp_path / "words.json", content)
    assert read_constraints(path, ["a.jpg", "inner/b.jpg", "c.jpg"], TOKENIZER, max_pieces=6) == content


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (["狗"], "wanted an object .* found list"),
        ({"b.jpg": ["狗"]}, "'b.jpg' is none of the 1 pictures"),
        ({"a.jpg": "狗"}, "'a.jpg': wanted a list of words, found '狗'"),
        ({"a.jpg": ["狗", 3]}, "'a.jpg': wanted a word, or a list .* found 3"),
        ({"a.jpg": [["狗", ["飞盘"]]]}, r"'a.jpg': wanted a word, or a list .* found \['狗', \['飞盘'\]\]"),
        ({"a.jpg": [[]]}, r"'a.jpg': wanted a word, or a list .* found \[\]"),
        ({"a.jpg": ["猫"]}, "'a.jpg': '猫' cannot be written"),
    ],
)
def test_a_file_that_asks_for_nonsense_is_refused_with_path_and_picture(
    content: Any, message: str, tmp_path: Path
) -> None:
    path = write(tmp_path / "words.json", content)
    with pytest.raises(ValueError, match=f"words.json: {message}"):
        read_constraints(path, ["a.jpg"], TOKENIZER, max_pieces=6)


@pytest.mark.parametrize("data", [b'{"a.jpg": [', b'{"\xff": []}'])
def test_a_file_that_is_no_json_is_refused(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "words.json").write_bytes(data)
    with pytest.raises(ValueError, match=r"words.json: no UTF-8 JSON: "):
        read_constraints(tmp_path / "words.json", ["a.jpg"], TOKENIZER, max_pieces=6)

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from captioning.lexicon_info import LexiconInfo
from features.tags import Lexicon, LexiconError


def test_a_checkpoint_reads_its_tags_as_it_learned_them_where_the_lexicon_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text('{"dog": "犬", "cat": "猫"}', encoding="utf-8")
    lexicon = Lexicon.load(path, "mine-2", ["cat", "dog"])
    record = json.loads(json.dumps(asdict(LexiconInfo.of(lexicon))))
    path.unlink()
    assert LexiconInfo(**record).lexicon("mine-2") == lexicon


def test_dropped_classes_stay_dropped() -> None:
    lexicon = Lexicon.load("zh", "vg-1600", ["reflection", "dog"])
    assert LexiconInfo.of(lexicon).lexicon("vg-1600").texts == (None, "狗")


def test_a_record_without_names_is_read_with_the_lexicon_of_its_digest() -> None:
    lexicon = Lexicon.load("zh", "voc-20")
    assert LexiconInfo(name="zh", sha256=lexicon.sha256).lexicon("voc-20") == lexicon


def test_a_record_without_names_refuses_another_version_of_the_lexicon() -> None:
    with pytest.raises(
        LexiconError, match="another version of lexicon 'zh' .SHA-256 000000000000, here .*use"
    ):
        LexiconInfo(name="zh", sha256="0" * 64).lexicon("voc-20")

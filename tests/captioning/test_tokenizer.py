from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import BertTokenizer

from captioning.tokenizer import SPECIAL_PIECES, CaptionTokenizer

ALPHABET = "一只狗在草地上跑的人，。！？“”《》（）：abcXYZ0123456789 .,-'éñカタｶＡ１€"


@pytest.fixture(scope="module")
def tokenizer() -> CaptionTokenizer:
    return CaptionTokenizer.build([ALPHABET])


@given(st.text(alphabet=ALPHABET, max_size=40))
def test_decoding_gives_back_the_normalised_text(text: str) -> None:
    tokenizer = CaptionTokenizer.build([ALPHABET])
    assert tokenizer.decode(tokenizer.encode(text)) == CaptionTokenizer.normalise(text)


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("一只 狗 在草地上 跑 。", "一只狗在草地上跑。"),
        ("3 只 狗", "3只狗"),
        ("ABC xyz 12 狗 5 8", "abc xyz 12狗5 8"),
        ("人，狗！（a b）", "人，狗！（a b）"),
    ],
)
def test_only_latin_words_and_numbers_are_spaced(
    tokenizer: CaptionTokenizer, text: str, written: str
) -> None:
    assert tokenizer.decode(tokenizer.encode(text)) == written


def test_continued_pieces_are_joined_and_special_ones_are_silent(tokenizer: CaptionTokenizer) -> None:
    ids = [tokenizer.pieces.index(piece) for piece in ("a", "##b", "##1", "狗")]
    assert tokenizer.decode([tokenizer.cls_id, *ids, tokenizer.mask_id, tokenizer.sep_id, 0]) == "ab1狗"


def test_an_unknown_piece_is_seen(tokenizer: CaptionTokenizer) -> None:
    assert tokenizer.encode("猫狗")[0] == tokenizer.unk_id
    assert tokenizer.decode(tokenizer.encode("猫狗")) == "[UNK]狗"


def test_ids_are_those_of_transformers_bert_tokenizer(tokenizer: CaptionTokenizer, tmp_path: Path) -> None:
    tokenizer.save(tmp_path)
    oracle = BertTokenizer.from_pretrained(tmp_path, do_lower_case=True)
    for text in ("一只狗ABC在 草地。", "Éa 12,3", "カタ 猫"):
        assert tokenizer.encode(text) == oracle.encode(text, add_special_tokens=False)


def test_a_saved_vocabulary_reads_back_the_same(tokenizer: CaptionTokenizer, tmp_path: Path) -> None:
    tokenizer.save(tmp_path)
    assert CaptionTokenizer.from_folder(tmp_path).pieces == tokenizer.pieces
    assert tokenizer.pieces[:5] == SPECIAL_PIECES


def test_a_vocabulary_without_mask_is_refused(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"vocab\.txt: the vocabulary lacks \[MASK\]"):
        CaptionTokenizer.from_folder(tmp_path)


def test_a_vocabulary_that_names_a_piece_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="names 'a' twice"):
        CaptionTokenizer([*SPECIAL_PIECES, "a", "a"])

"""The internal form: pairs as JSON lines."""

from __future__ import annotations

import unicodedata
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from captioning.caption_record import CaptionRecord, SecondText
from captioning.pairs import pair_lines, read_pairs
from eval.problems import Problems

TEXTS = (
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
    .map(lambda text: unicodedata.normalize("NFC", text).strip())
    .filter(bool)
)
WORDS = TEXTS.map(lambda text: unicodedata.normalize("NFC", "".join(text.split()))).filter(bool)
TAGS = st.lists(WORDS, min_size=1, max_size=3).map(" ".join)
SECONDS = st.none() | st.builds(SecondText, text=TAGS, is_answer=st.just(False))
SECONDS |= st.builds(SecondText, text=TEXTS, is_answer=st.just(True))
PAIRS = st.dictionaries(
    st.from_regex(r"[0-9A-Za-z_/猫-]{1,12}(\.jpg)?", fullmatch=True),
    st.lists(st.tuples(TEXTS, SECONDS), min_size=1, max_size=4),
    min_size=1,
    max_size=4,
)


def record(image_id: str, pairs: list[tuple[str, SecondText | None]]) -> CaptionRecord:
    seconds = tuple(second for _, second in pairs)
    return CaptionRecord(
        image_id=image_id,
        captions=tuple(caption for caption, _ in pairs),
        split="train",
        seconds=seconds if any(seconds) else (),
    )


def read(text: str) -> list[CaptionRecord]:
    problems = Problems(path=None)
    found = read_pairs(text, problems)
    assert problems.found == []
    return found.records("train")


@given(PAIRS)
def test_what_is_written_is_read_back(pairs: dict[str, list[tuple[str, SecondText | None]]]) -> None:
    records = [record(image_id, each) for image_id, each in pairs.items()]
    lines = list(pair_lines(records))
    assert all(line.count("\n") == 1 and line.endswith("\n") for line in lines)
    assert read("".join(lines)) == records


@given(PAIRS, st.randoms(use_true_random=False))
def test_the_lines_of_a_picture_may_lie_apart(
    pairs: dict[str, list[tuple[str, SecondText | None]]], random: Random
) -> None:
    records = {image_id: record(image_id, each) for image_id, each in pairs.items()}
    lines = {image_id: list(pair_lines([each])) for image_id, each in records.items()}
    order = [image_id for image_id, each in lines.items() for _ in each]
    random.shuffle(order)
    mixed = "".join(lines[image_id].pop(0) for image_id in order)
    assert {each.image_id: each for each in read(mixed)} == records


def test_answers_that_are_the_same_are_kept_once() -> None:
    line = '{"image_id": "a", "question": "?", "answer": "是"}\n'
    (found,) = read(line * 2)
    assert found.second(0) is found.second(1)

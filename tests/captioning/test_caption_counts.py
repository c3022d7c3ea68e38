"""What captions are counted for, on a case worked by hand."""

from __future__ import annotations

from captioning.caption_counts import CaptionCounts, Spread, count_captions
from captioning.records import CaptionRecord, SecondText
from captioning.tokenizer import SPECIAL_PIECES, CaptionTokenizer

ANSWER = SecondText(text="跑", is_answer=True)
TAGS = SecondText(text="狗", is_answer=False)
RECORDS = [
    CaptionRecord(
        image_id="a",
        captions=("一只狗", "一只狗", "狗在做什么", "狗"),
        split="all",
        seconds=(None, None, ANSWER, TAGS),
    ),
    CaptionRecord(image_id="b", captions=("两只囧囧猫",), split="all"),
    CaptionRecord(image_id="c", captions=("一", "一 a"), split="all", seconds=(TAGS, None)),
]


def spread(least: int, median: int, mean: float, high: int, most: int) -> Spread:
    return Spread(least=least, median=median, mean=mean, high=high, most=most)


def test_everything_is_counted() -> None:
    tokenizer = CaptionTokenizer([*SPECIAL_PIECES, *"一只狗在做什么两a"])
    assert count_captions(RECORDS, tokenizer, max_pieces=4) == CaptionCounts(
        pictures=3,
        captions=7,
        questions=1,
        tagged=2,
        captions_a_picture=spread(1, 2, 7 / 3, 4, 4),
        characters=spread(1, 3, 3.0, 5, 5),  # 3 3 5 1 5 1 3
        pieces=spread(1, 3, 20 / 7, 5, 5),  # 3 3 5 1 5 1 2: white space is no piece
        repeated={"a": 1},
        too_long={"a": 1, "b": 1},
        unknown={"囧": 2, "猫": 1},
        with_unknown=1,
    )


def test_the_same_caption_with_other_tags_is_no_repetition() -> None:
    records = [CaptionRecord(image_id="a", captions=("狗", "狗"), split="all", seconds=(TAGS, None))]
    assert count_captions(records, CaptionTokenizer.build(["狗"]), max_pieces=9).repeated == {}


def test_ninety_nine_of_a_hundred_are_not_greater_than_high() -> None:
    assert Spread.of(range(1, 101)) == spread(1, 50, 50.5, 99, 100)
    assert Spread.of([7]) == spread(7, 7, 7.0, 7, 7)

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.alike import count_alike

WORDS = ["一只", "狗", "在", "草地", "上", "奔跑", "和", "玩耍", "的", "黄"]


def counted(*captions: str) -> list[int]:
    rows = [[WORDS.index(word) for word in caption.split()] for caption in captions]
    return count_alike(pa.array(rows, pa.list_(pa.int32()))).tolist()


@pytest.mark.parametrize(
    ("first", "second", "alike"),
    [
        ("一只 狗 奔跑", "奔跑 狗 一只 狗", True),  # in any order, and repeated
        ("一只 狗 奔跑", "一只 狗 玩耍", False),
        ("一只 狗 奔跑", "一只 黄 狗 奔跑", False),  # 3 / 4
        ("一只 狗 在 奔跑", "一只 黄 狗 在 奔跑", True),  # 4 / 5
        ("一只 狗 在 草地 上 奔跑 和 玩耍", "一只 狗 在 草地 上 奔跑 和 黄", False),  # 7 / 9
        ("一只 狗 在 草地 上 奔跑 和 玩耍 的", "一只 狗 在 草地 上 奔跑 和 玩耍 黄", True),  # 8 / 10
        ("", "", False),  # nothing is said
    ],
)
def test_captions_are_alike_where_at_most_one_word_in_five_is_another(
    first: str, second: str, alike: bool
) -> None:
    assert counted(first, second) == counted(second, first) == [alike, alike]


captions = st.lists(st.integers(0, 11), max_size=14)


@given(st.lists(captions, max_size=25))
def test_each_pair_that_is_alike_is_counted_once_for_both(rows: list[list[int]]) -> None:
    sets = [frozenset(row) for row in rows]

    def alike(one: frozenset[int], other: frozenset[int]) -> bool:
        close = max(len(one - other), len(other - one)) <= 1
        return close and len(one & other) / max(1, len(one | other)) >= 0.8

    expected = [sum(alike(one, other) for other in sets) - alike(one, one) for one in sets]
    assert count_alike(pa.array(rows, pa.list_(pa.int32()))).tolist() == expected

from __future__ import annotations

import numpy as np
import pytest

from app.duels import by_score, n_differing, vote_counts, vote_of
from app.index import Index
from app.notes import TIE
from tests.app.small_index import small_index

PEOPLE = {
    name: [text]
    for name, text in zip("abcd", ["一只狗在跑", "两只猫", "一个人骑车", "红色的花"], strict=True)
}
ALL = np.arange(5, dtype=np.int32)


@pytest.fixture(scope="module")
def index() -> Index:
    return small_index(
        list("abcde"),
        {
            "one": {"a": "一只狗在跑", "b": "狗", "c": "一个人骑车", "e": "花"},
            "two": {"a": "猫", "b": "两只猫", "c": "一个人骑车", "d": "红色的花"},
        },
        PEOPLE,
    )


def test_wins_and_losses_are_counted_where_both_have_a_score(index: Index) -> None:
    one, two = index.systems
    found = by_score(one, two, ALL)
    assert (found.wins, found.ties, found.losses, found.total) == (1, 1, 1, 3)
    other = by_score(two, one, ALL)
    assert (other.wins, other.losses) == (found.losses, found.wins)
    assert by_score(one, two, ALL[:1]).wins == by_score(one, two, ALL[:1]).total == 1
    assert n_differing(index.systems, ALL) == 4
    assert n_differing(index.systems, ALL[2:3]) == 0


def test_votes_count_for_the_systems_that_were_compared() -> None:
    votes = {
        ("a", ("one", "two")): "two",
        ("b", ("two", "one")): TIE,
        ("c", ("one", "two")): "gone",
        ("d", ("one", "two", "three")): "one",
    }
    assert vote_counts(["one", "two"], votes) == {"one": 0, "two": 1, TIE: 1}
    assert vote_of("a", ["two", "one"], votes) == "two"
    assert vote_of("d", ["one", "two"], votes) is None

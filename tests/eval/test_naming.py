"""Which objects a caption names: the cases where a search for the characters would be wrong."""

import pytest

from eval.naming import SAME_OBJECT, Namer, one_name
from eval.protocols import find_protocol

COCO = [
    "人",
    "狗",
    "猫",
    "马",
    "熊",
    "斑马",
    "热狗",
    "泰迪熊",
    "滑板",
    "滑雪板",
    "棒球手套",
    "球",
    "床",
    "餐桌",
]
COCO += [
    "笔记本电脑",
    "公交车",
    "汽车",
    "红绿灯",
    "停车标志",
    "长椅",
    "手机",
    "花瓶",
    "盆栽",
    "雨伞",
    "书",
    "船",
]


def named(caption: str, *vocabulary: str) -> set[str]:
    return set(Namer(vocabulary or COCO).objects(find_protocol("aic-icc").cut(caption)))


@pytest.mark.parametrize(
    ("caption", "objects"),
    [
        ("一只狗在草地上奔跑", {"狗"}),
        ("一个男人拿着热狗", {"人", "热狗"}),
        ("人们走在斑马线上", {"人"}),
        ("两匹斑马在草原上", {"斑马"}),
        ("沙发上有一只泰迪熊", {"泰迪熊"}),
        ("镜头前的马路", set()),
        ("一只戴着棒球手套的手", {"棒球手套"}),
        ("停车标志旁停着一辆汽车", {"停车标志", "汽车"}),
    ],
)
def test_the_longest_name_counts_and_part_of_a_word_does_not(caption: str, objects: set[str]) -> None:
    assert named(caption) == objects


def test_a_longer_name_hides_a_shorter_one_even_if_it_cannot_be_detected() -> None:
    assert named("一只泰迪熊", "熊") == set()
    assert named("桌上有热狗", "狗") == set()


@pytest.mark.parametrize(
    ("caption", "objects"),
    [
        ("公园长椅", {"长椅"}),
        ("两匹马", {"马"}),
        ("一个骑着马的小男孩", {"马", "人"}),
        ("一只小黑猫", {"猫"}),
        ("猫躺在床上", {"猫", "床"}),
        ("桌上放着几本书", {"桌子", "书"}),
        ("一头大象", set()),
    ],
)
def test_numbers_adjectives_and_places_around_a_name_are_no_part_of_it(
    caption: str, objects: set[str]
) -> None:
    assert named(caption) == objects


@pytest.mark.parametrize(
    ("caption", "objects"),
    [
        ("一位女士牵着小狗", {"人", "狗"}),
        ("公共汽车旁的老人", {"公交车", "人"}),
        ("一台电脑", {"电脑"}),
        ("打着伞等交通灯", {"雨伞", "红绿灯"}),
    ],
)
def test_words_for_one_thing_are_one_object(caption: str, objects: set[str]) -> None:
    assert named(caption) == objects


def test_letters_match_in_either_case() -> None:
    assert named("一件红色T恤", "T恤") == named("一件红色t恤", "T恤") == {"T恤"}


def test_what_cannot_be_detected_is_not_named() -> None:
    assert named("天空下的城堡") == set()
    assert named("") == set()


def test_the_table_of_words_leads_to_names_that_are_no_such_words_themselves() -> None:
    assert not SAME_OBJECT.keys() & set(SAME_OBJECT.values())
    assert all(one_name(name) == name for name in SAME_OBJECT.values())

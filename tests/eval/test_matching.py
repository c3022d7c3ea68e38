"""Ids of two files, paired."""

import posixpath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.matching import PICTURE_SUFFIXES, compare_ids, match_ids, shorter_forms
from features.images import IMAGE_SUFFIXES

COCO_NAMES = [
    "42",
    "000000000042",
    "000000000042.jpg",
    "train2017/000000000042.jpg",
    "coco/images/val2014/COCO_val2014_000000000042.jpg",
    "COCO_val2014_000000000042",
    "COCO_val2014_000000000042.jpg",
]


@pytest.mark.parametrize(
    ("predicted", "referenced"),
    [
        ("a.jpg", "a.jpg"),
        ("a", "a.jpg"),
        ("a.jpg", "a"),
        ("val/a.jpg", "a.jpg"),
        ("a", "val/a.jpg"),
        ("val/a", "val/a.JPEG"),
        ("12", "12"),
        ("v1.5", "v1.5.png"),
    ],
)
def test_an_id_and_its_shorter_form_are_one_picture(predicted: str, referenced: str) -> None:
    matches = match_ids([predicted], [referenced])
    assert (matches.references, matches.missing, matches.extra) == ({predicted: referenced}, (), ())


@pytest.mark.parametrize(
    ("predicted", "referenced"),
    [
        ("a.png", "a.jpg"),
        ("train/a.jpg", "val/a.jpg"),
        ("12", "0012.jpg"),
        ("12", "12000000000012.jpg"),
        ("012", "000000000012.jpg"),
        ("000000000012.png", "000000000012.jpg"),
        ("clip1/000000000012.jpg", "clip2/000000000012.jpg"),
        ("clip1/000000000012.jpg", "COCO_val2014_000000000012.jpg"),
        ("MY_COCO_val2014_000000000012", "12"),
        ("A.jpg", "a.jpg"),
        ("v1", "v1.5"),
    ],
)
def test_ids_that_contradict_each_other_are_two_pictures(predicted: str, referenced: str) -> None:
    matches = match_ids([predicted], [referenced])
    assert (matches.references, matches.missing, matches.extra) == ({}, (referenced,), (predicted,))


@pytest.mark.parametrize("predicted", COCO_NAMES)
@pytest.mark.parametrize("referenced", COCO_NAMES)
def test_every_name_that_coco_gives_a_picture_is_that_picture(predicted: str, referenced: str) -> None:
    matches = match_ids([predicted], ["COCO_val2014_000000000041.jpg", referenced])
    assert matches.references == {predicted: referenced}


def test_numbers_of_the_file_are_never_taken_for_those_of_coco() -> None:
    names = ["COCO_val2014_000000000042.jpg", "COCO_val2014_000000000007.jpg"]
    numbers = {"1": names[0], "42": names[1]}
    assert match_ids(["42"], names, numbers).references == {"42": names[1]}
    assert match_ids(["7"], names, numbers).extra == ("7",)
    assert match_ids(["000000000042"], names, numbers).references == {"000000000042": names[0]}


def test_a_coco_number_that_could_be_two_pictures_is_refused() -> None:
    with pytest.raises(ValueError, match="'42' could be any of"):
        match_ids(["42"], ["train2017/000000000042.jpg", "COCO_val2014_000000000042.jpg"])


def test_all_ids_that_fit_badly_are_told_at_once() -> None:
    with pytest.raises(ValueError, match="(?s)^3 problems:.*'a' could be.*'b' could be.*both name 'c'"):
        match_ids(["a", "b", "c", "x/c"], ["a.jpg", "a.png", "b.jpg", "b.gif", "c"])


def test_the_number_of_a_coco_file_stands_for_its_file_name() -> None:
    assert match_ids(["8"], ["b.jpg", "a.jpg"], {"8": "a.jpg", "9": "b.jpg"}).references == {"8": "a.jpg"}


def test_the_same_string_wins_over_a_shorter_form() -> None:
    assert match_ids(["a.jpg"], ["val/a.jpg", "a.jpg"]).references == {"a.jpg": "a.jpg"}


def test_an_id_that_could_be_two_pictures_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'a' could be any of \['a.jpg', 'a.png'\]; write it in full"):
        match_ids(["a"], ["a.jpg", "a.png"])


def test_a_number_that_is_also_the_name_of_another_file_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'8' could be any of \['8.jpg', '9.jpg'\]"):
        match_ids(["8"], ["8.jpg", "9.jpg"], {"8": "9.jpg", "9": "8.jpg"})


def test_two_predictions_of_one_picture_are_refused() -> None:
    with pytest.raises(ValueError, match="'a' and 'x/a.jpg' both name 'a.jpg'"):
        match_ids(["a", "x/a.jpg"], ["a.jpg"])


def test_missing_and_extra_pictures_keep_the_order_of_their_files() -> None:
    matches = match_ids(["z", "b.jpg", "y"], ["d", "b", "c"])
    assert (matches.missing, matches.extra) == (("d", "c"), ("z", "y"))


def test_what_fits_badly_can_be_had_beside_what_fits() -> None:
    matches = compare_ids(["a", "c", "d.jpg", "x/c"], ["a.jpg", "a.png", "c", "d"])
    assert matches.references == {"c": "c", "d.jpg": "d"}
    assert matches.problems == (
        "image id 'a' could be any of ['a.jpg', 'a.png']; write it in full",
        "image ids 'c' and 'x/c' both name 'c'",
    )


def test_every_picture_that_can_be_extracted_may_be_named_without_its_suffix() -> None:
    assert PICTURE_SUFFIXES == IMAGE_SUFFIXES


@given(st.lists(st.sampled_from(["a", ".", "/", ".jpg", ".JPG", ".txt", "狗"]), max_size=6).map("".join))
def test_folders_and_suffixes_are_those_of_posix_paths(image_id: str) -> None:
    forms = {image_id, posixpath.basename(image_id)}
    if posixpath.splitext(image_id)[1].lower() in PICTURE_SUFFIXES:
        forms |= {posixpath.splitext(form)[0] for form in forms}
    assert shorter_forms(image_id) == forms - {image_id}

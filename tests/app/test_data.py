from __future__ import annotations

from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from app.data import (
    Collection,
    best_tags,
    filter_rows,
    neighbours,
    open_collection,
    page_number,
    pages,
    region_names,
    select_rows,
    thumbnail,
)
from app.settings import AppConfig, parse, with_samples
from eval.scorer import evaluate
from features.tags import Tag
from tests.app.small_collection import DOG, PERSON, VOCABULARY, make_collection, regions


@pytest.fixture(scope="module")
def arguments(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return make_collection(tmp_path_factory.mktemp("collection"))


@pytest.fixture(scope="module")
def collection(arguments: list[str]) -> Collection:
    return open_collection(parse(arguments))


def test_captions_are_joined_with_pictures_and_the_rest_is_counted(collection: Collection) -> None:
    assert collection.image_ids == ["a.jpg", "b.jpg", "inner/狗.jpg"]
    first, second = collection.systems
    assert (first.name, list(first.texts), first.unknown) == ("first", ["a.jpg", "b.jpg"], 1)
    assert (second.name, len(second.texts), second.unknown) == ("second", 3, 0)


def test_scores_are_those_of_eval_over_the_pictures_with_references(collection: Collection) -> None:
    first = collection.systems[0]
    assert first.scores is not None
    wanted = evaluate(dict(first.texts), {key: collection.references[key] for key in ("a.jpg", "b.jpg")})
    assert first.scores.overall == wanted.overall
    assert first.picture_scores("a.jpg") == wanted.per_image["a.jpg"]
    assert first.picture_scores("inner/狗.jpg") == {}


def test_a_system_is_found_by_name_and_the_first_stands_for_unknown_names(collection: Collection) -> None:
    assert collection.system("second") is collection.systems[1]
    assert collection.system("../x") is collection.systems[0]
    assert Collection(collection.root, ["a.jpg"]).system(None) is None


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", ["a.jpg", "b.jpg", "inner/狗.jpg"]),
        ("草地上有", ["a.jpg"]),  # only in a reference
        (" 狗 ", ["a.jpg", "inner/狗.jpg"]),  # caption, file name
        ("A.JPG", ["a.jpg"]),
        ("<script>", ["b.jpg"]),
        ("没有", []),
    ],
)
def test_search_reads_captions_references_and_names(
    collection: Collection, text: str, found: list[str]
) -> None:
    assert list(collection.search(text, collection.systems[0].texts)) == found


@pytest.mark.parametrize(
    "image_id",
    [
        "../secret.jpg",
        "inner/../../secret.jpg",
        "/etc/passwd",
        "a.jpg/..",
        "",
        ".",
        "a.jpg\0",
        "%2e%2e/secret.jpg",
    ],
)
def test_an_id_that_is_no_picture_of_the_folder_opens_nothing(collection: Collection, image_id: str) -> None:
    assert image_id not in collection
    with pytest.raises(ValueError, match="no picture"):
        collection.path(image_id)


def test_a_picture_that_becomes_a_link_out_of_the_folder_is_not_opened(tmp_path: Path) -> None:
    config = parse(make_collection(tmp_path))
    opened = open_collection(config)
    (tmp_path / "pictures" / "a.jpg").unlink()
    (tmp_path / "pictures" / "a.jpg").symlink_to(tmp_path / "secret.jpg")
    with pytest.raises(ValueError, match="leads out of"):
        opened.path("a.jpg")


def test_thumbnails_are_small_jpegs(tmp_path: Path) -> None:
    Image.new("RGB", (1000, 500)).save(tmp_path / "large.png")
    with Image.open(BytesIO(thumbnail(tmp_path / "large.png"))) as small:
        assert (small.format, small.size) == ("JPEG", (320, 160))


def test_regions_come_from_the_file_where_it_has_the_picture(collection: Collection) -> None:
    found = collection.regions("a.jpg")
    assert found is not None
    assert found.object_ids.tolist() == [DOG, PERSON, DOG]
    assert collection.regions("inner/狗.jpg") is None


def test_regions_are_named_in_chinese_else_in_english(collection: Collection) -> None:
    found = collection.regions("a.jpg")
    assert found is not None
    assert [tag.text for tag in region_names(found, collection.lexicon, VOCABULARY)] == ["狗", "人", "狗"]
    assert [tag.text for tag in region_names(found, None, VOCABULARY)] == ["dog", "person", "dog"]


NAMES = [Tag("狗", "dog", 0.9), Tag("人", "person", 0.6), Tag("狗", "dog", 0.1)]


def test_boxes_are_chosen_by_score_and_tag() -> None:
    assert filter_rows(NAMES, 0.0, []) == [0, 1, 2]
    assert filter_rows(NAMES, 0.6, []) == [0, 1]
    assert filter_rows(NAMES, 0.0, ["狗"]) == [0, 2]
    assert filter_rows(NAMES, 1.0, []) == []


def test_tags_are_listed_once_with_their_best_score() -> None:
    assert [(tag.text, tag.score) for tag in best_tags(list(reversed(NAMES)), 0.0)] == [
        ("狗", 0.9),
        ("人", 0.6),
    ]


def test_selected_rows_keep_box_and_score_together() -> None:
    found = select_rows(regions("a.jpg", [DOG, PERSON, DOG], [0.9, 0.6, 0.1]), [2, 1])
    assert found.boxes[:, 0].tolist() == [125.0, 65.0]
    assert found.object_scores.tolist() == pytest.approx([0.1, 0.6])
    assert len(select_rows(found, []).boxes) == 0


def test_pages_hold_everything_and_addresses_are_kept_in_range() -> None:
    assert [pages(n, 24) for n in (0, 1, 24, 25, 48)] == [1, 1, 1, 2, 2]
    assert [page_number(text, 3) for text in ("2", "0", "9", "-1", "x", "", "٣", "9" * 5000)] == [
        *(2, 1, 3, 1, 1, 1, 3, 1)
    ]


@given(st.text(max_size=20), st.integers(1, 100))
def test_every_address_names_a_page_that_exists(text: str, n_pages: int) -> None:
    assert 1 <= page_number(text, n_pages) <= n_pages


def test_neighbours_stop_at_the_ends() -> None:
    assert neighbours("b", ["a", "b", "c"]) == ("a", "c")
    assert neighbours("a", ["a", "b", "c"]) == (None, "b")
    assert neighbours("x", ["a"]) == (None, None)


def test_captions_of_other_pictures_are_refused_by_name(tmp_path: Path) -> None:
    make_collection(tmp_path)
    (tmp_path / "other.json").write_text('[{"image_id": "z.jpg", "caption": "狗"}]')
    config = AppConfig(images=tmp_path / "pictures", predictions=(tmp_path / "other.json",))
    with pytest.raises(ValueError, match=r"other\.json: none of its pictures \('z\.jpg'.*holds 'a\.jpg'"):
        open_collection(config)


def test_two_files_of_one_name_are_told_apart(tmp_path: Path) -> None:
    make_collection(tmp_path)
    copy = tmp_path / "copy" / "first.json"
    copy.parent.mkdir()
    copy.write_bytes((tmp_path / "first.json").read_bytes())
    config = AppConfig(images=tmp_path / "pictures", predictions=(tmp_path / "first.json", copy))
    assert [system.name for system in open_collection(config).systems] == ["first", "first (2)"]


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no picture"):
        open_collection(AppConfig(images=tmp_path))


def test_without_arguments_the_samples_are_opened() -> None:
    config = with_samples(AppConfig())
    assert config.images is not None
    assert config.images.parts[-2:] == ("examples", "images")
    assert config.references == config.images / "captions.json"


def test_several_prediction_files_follow_one_flag() -> None:
    config = parse(["--predictions", "a.json", "b.json", "--port", "9000"])
    assert config.predictions == (Path("a.json"), Path("b.json"))
    assert config.port == 9000


@pytest.mark.parametrize("words", [["--port", "0"], ["--language", "fr"], ["--bogus", "1"]])
def test_wrong_usage_is_exit_code_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        parse(words)
    assert stopped.value.code == 2

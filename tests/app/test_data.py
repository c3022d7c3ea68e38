from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from app.data import Collection, open_collection
from app.settings import AppConfig, parse, with_samples
from eval.scorer import evaluate
from features.store import StoreMeta, write_shard
from tests.app.small_collection import DOG, PERSON, VOCABULARY, make_collection, regions
from tests.app.small_index import small_folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("collection")


@pytest.fixture(scope="module")
def collection(folder: Path) -> Collection:
    return open_collection(parse(make_collection(folder)))


def test_captions_are_joined_with_pictures_and_the_rest_is_counted(collection: Collection) -> None:
    index = collection.index
    assert [index.image_id(row) for row in range(len(index))] == ["a.jpg", "b.jpg", "inner/狗.jpg"]
    first, second = collection.systems
    assert (first.name, first.n_captions, first.meta.unknown) == ("first", 2, 1)
    assert (second.name, second.n_captions, second.meta.unknown) == ("second", 3, 0)
    predicted = first.predicted(0)
    assert predicted is not None
    assert (predicted.log_prob, predicted.score) == (-4.5, -0.5)
    assert [each.caption for each in predicted.alternatives] == ["一只狗在草地上奔跑", "两只狗在玩耍"]


def test_scores_are_those_of_eval_over_the_pictures_with_references(collection: Collection) -> None:
    first, people = collection.systems[0], {row: collection.index.references(row) for row in (0, 1)}
    wanted = evaluate(
        {str(row): str(first.caption(row)) for row in people}, {str(row): people[row] for row in people}
    )
    assert first.meta.overall == wanted.overall
    assert first.scores(0)["cider"] == wanted.per_image["0"]["cider"]
    assert first.scores(2) == {}


def test_a_system_is_found_by_name_and_the_first_stands_for_unknown_names(collection: Collection) -> None:
    assert collection.system("second") is collection.systems[1]
    assert collection.system("../x") is collection.systems[0]
    assert small_folder(collection.root, ["a.jpg"]).system(None) is None


TRAVERSALS = [
    *(
        "../secret.jpg",
        "../../secret.jpg",
        "inner/../../secret.jpg",
        "./../secret.jpg",
        "a.jpg/../../secret.jpg",
    ),
    *("/etc/passwd", "//etc/passwd", "/proc/self/environ", "~/.ssh/id_rsa", "file:///etc/passwd"),
    *(
        "%2e%2e/secret.jpg",
        "%2e%2e%2fsecret.jpg",
        "..%2fsecret.jpg",
        "..%5csecret.jpg",
        "%252e%252e/secret.jpg",
    ),
    *("..\\secret.jpg", "\\\\server\\share\\a.jpg", "C:\\secret.jpg", "C:/secret.jpg", "..\\..\\secret.jpg"),
    *("a.jpg\0", "a.jpg\0.png", "\0", "../secret.jpg\0a.jpg", "a.jpg%00", "a.jpg\n", "\n../secret.jpg"),
    *("", ".", "..", "/", "a.jpg/..", "inner/..", "inner/", "inner", "./a.jpg", "//a.jpg", "inner//狗.jpg"),
    *("．．/secret.jpg", "‥/secret.jpg", "..;/secret.jpg", "....//secret.jpg", "link.jpg", "out/secret.jpg"),
]
"""Ways to name what lies outside, or inside by another name; two are links out of the folder."""


@pytest.mark.parametrize("image_id", TRAVERSALS)
def test_an_id_that_is_no_picture_of_the_folder_opens_nothing(tmp_path: Path, image_id: str) -> None:
    arguments = make_collection(tmp_path)
    (tmp_path / "pictures" / "link.jpg").symlink_to(tmp_path / "secret.jpg")
    (tmp_path / "pictures" / "out").symlink_to(tmp_path)
    opened = open_collection(parse(arguments))
    assert image_id not in opened
    with pytest.raises(ValueError, match="no picture"):
        opened.path(image_id)


def test_a_picture_that_becomes_a_link_out_of_the_folder_is_not_opened(tmp_path: Path) -> None:
    opened = open_collection(parse(make_collection(tmp_path)))
    (tmp_path / "pictures" / "a.jpg").unlink()
    (tmp_path / "pictures" / "a.jpg").symlink_to(tmp_path / "secret.jpg")
    with pytest.raises(ValueError, match="leads out of"):
        opened.path("a.jpg")


def test_regions_come_from_the_file_where_it_has_the_picture(collection: Collection) -> None:
    found = collection.regions("a.jpg")
    assert found is not None
    assert found.object_ids.tolist() == [DOG, PERSON, DOG]
    assert collection.regions("inner/狗.jpg") is None
    assert collection.index.regions.tolist() == [3, 1, -1]
    assert sorted(collection.index.tags(0)) == ["人", "狗"]


def test_a_folder_of_shards_is_as_good_as_one_file(collection: Collection, tmp_path: Path) -> None:
    arguments = make_collection(tmp_path)
    shards = tmp_path / "regions.h5.parts"
    shards.mkdir()
    meta = StoreMeta(
        backend="mini", description={}, vocabulary=VOCABULARY, vocabulary_id="voc-20", feature_dim=2
    )
    for name, of in (
        ("0", regions("a.jpg", [DOG, PERSON, DOG], [0.9, 0.6, 0.1])),
        ("1", regions("b.jpg", [PERSON], [0.5])),
    ):
        write_shard(shards / f"{name}.h5", [of], meta)
    arguments[arguments.index("--regions") + 1] = str(shards)
    opened = open_collection(parse(arguments))
    assert opened.index.regions.tolist() == collection.index.regions.tolist()
    assert [opened.index.tags(row) for row in range(3)] == [collection.index.tags(row) for row in range(3)]


def test_tags_beside_captions_stand_for_detections_where_there_is_no_regions_file(tmp_path: Path) -> None:
    make_collection(tmp_path)
    told = [
        {"image_id": "a.jpg", "caption": "一只猫和一只狗", "tags": ["狗"]},
        {"image_id": "b.jpg", "caption": "猫", "tags": ["猫"]},
    ]
    (tmp_path / "told.json").write_text(json.dumps(told), encoding="utf-8")
    opened = open_collection(AppConfig(images=tmp_path / "pictures", predictions=(tmp_path / "told.json",)))
    assert opened.index.tags(0) == ["狗"]
    assert opened.systems[0].undetected(0) == ["猫"]
    assert opened.systems[0].undetected(1) == []


def test_predictions_for_none_of_the_pictures_are_refused(tmp_path: Path) -> None:
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


def indexes(folder: Path) -> list[Path]:
    return sorted((folder / ".tushuo-browser").glob("index-*"))


def test_the_index_is_made_once_and_again_when_a_file_changes(tmp_path: Path) -> None:
    config = parse(make_collection(tmp_path))
    open_collection.__wrapped__(config)
    (first,) = indexes(tmp_path)
    made = (first / "meta.json").stat().st_mtime_ns
    open_collection.__wrapped__(config)
    assert [path.name for path in indexes(tmp_path)] == [first.name]
    assert (first / "meta.json").stat().st_mtime_ns == made
    captions = tmp_path / "second.json"
    captions.write_text(captions.read_text("utf-8").replace("自行车", "马"), "utf-8")
    opened = open_collection.__wrapped__(config)
    assert opened.systems[1].caption(0) == "一个人在骑马"
    assert len(indexes(tmp_path)) == 2


@pytest.mark.parametrize("change", ["picture", "regions", "references"])
def test_every_file_belongs_to_the_key_of_the_index(tmp_path: Path, change: str) -> None:
    config = parse(make_collection(tmp_path))
    open_collection.__wrapped__(config)
    if change == "picture":
        shutil.copy(tmp_path / "secret.jpg", tmp_path / "pictures" / "new.jpg")
    elif change == "regions":
        os.utime(tmp_path / "regions.h5", (1, 1))
    else:
        with (tmp_path / "references.json").open("a") as file:
            file.write("\n")
    open_collection.__wrapped__(config)
    assert len(indexes(tmp_path)) == 2


def test_a_damaged_index_is_made_again(tmp_path: Path) -> None:
    config = parse(make_collection(tmp_path))
    open_collection.__wrapped__(config)
    (first,) = indexes(tmp_path)
    (first / "system-0.arrow").write_bytes(b"ARROW1")
    assert open_collection.__wrapped__(config).systems[0].caption(0) == "一只狗在草地上奔跑"
    assert (first / "system-0.arrow").stat().st_size > 100


def test_an_index_made_in_a_process_of_its_own_is_the_same(
    collection: Collection,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    config = parse(make_collection(tmp_path))
    monkeypatch.setattr("app.data.LARGE", 0)
    opened = open_collection.__wrapped__(config)
    assert "making the index of 3 pictures; this is done once" in capsys.readouterr().err
    assert [system.meta for system in opened.systems] == [system.meta for system in collection.systems]
    assert opened.systems[0].predicted(0) == collection.systems[0].predicted(0)
    (tmp_path / "first.json").write_text("nothing known", encoding="utf-8")
    with pytest.raises(ValueError, match=r"first\.json: found text that starts with 'nothing known'"):
        open_collection.__wrapped__(config)


def test_where_nothing_can_be_written_everything_is_shown_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.cache._can_write", lambda folder: False)
    opened = open_collection.__wrapped__(parse(make_collection(tmp_path)))
    assert opened.cache.path is None
    assert opened.systems[0].n_captions == 2
    assert indexes(tmp_path) == []


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no picture"):
        open_collection(AppConfig(images=tmp_path))


def test_without_arguments_the_samples_are_opened() -> None:
    config = with_samples(AppConfig())
    assert config.images is not None
    assert config.images.parts[-2:] == ("examples", "images")
    assert config.references == config.images / "captions.json"


def test_several_files_follow_one_flag() -> None:
    config = parse(["--predictions", "a.json", "b.json", "--runs", "x", "y", "--port", "9000"])
    assert config.predictions == (Path("a.json"), Path("b.json"))
    assert config.runs == (Path("x"), Path("y"))
    assert config.port == 9000


@pytest.mark.parametrize("words", [["--port", "0"], ["--language", "fr"], ["--bogus", "1"]])
def test_wrong_usage_is_exit_code_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        parse(words)
    assert stopped.value.code == 2

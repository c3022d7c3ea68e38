"""Files put side by side: which pictures are scored, what systems are called, what is wrong, all at once."""

import hashlib
import json
from pathlib import Path

import pytest

from eval.inputs import FilesRefused, read_inputs, system_names

REFERENCES = {"a.jpg": ["两只狗"], "b.jpg": ["一个人", "有人"], "c.jpg": ["风筝"]}


@pytest.fixture
def references(tmp_path: Path) -> Path:
    path = tmp_path / "refs.json"
    listed = [{"image_id": image_id, "caption": captions} for image_id, captions in REFERENCES.items()]
    path.write_text(json.dumps(listed), encoding="utf-8")
    return path


def predictions(folder: Path, name: str, *image_ids: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([{"image_id": each, "caption": "狗"} for each in image_ids]), encoding="utf-8")
    return path


def test_a_picture_is_scored_where_every_system_wrote_about_it(tmp_path: Path, references: Path) -> None:
    one = predictions(tmp_path, "one.json", "c.jpg", "a.jpg", "b.jpg")
    two = predictions(tmp_path, "two.json", "b", "c", "d")
    inputs = read_inputs([one, two], references, allow_missing=True, allow_extra=True)
    assert inputs.references == {"b.jpg": ("一个人", "有人"), "c.jpg": ("风筝",)}
    assert [system.name for system in inputs.systems] == ["one", "two"]
    assert [system.missing for system in inputs.systems] == [(), ("a.jpg",)]
    assert [system.extra for system in inputs.systems] == [(), ("d",)]
    assert inputs.systems[1].captions["b.jpg"].image_id == "b"


def test_a_source_is_known_by_its_hash_and_counts(tmp_path: Path, references: Path) -> None:
    one = predictions(tmp_path, "one.json", *REFERENCES)
    inputs = read_inputs([one], references)
    assert inputs.references_source.sha256 == hashlib.sha256(references.read_bytes()).hexdigest()
    assert (inputs.references_source.n_images, inputs.references_source.n_captions) == (3, 4)
    assert inputs.systems[0].source.sha256 == hashlib.sha256(one.read_bytes()).hexdigest()
    assert inputs.systems[0].source.path == str(one)


def test_the_problems_of_all_files_are_told_at_once(tmp_path: Path, references: Path) -> None:
    broken = tmp_path / "broken.json"
    broken.write_text('[{"image_id": "a.jpg", "caption": ""}]', encoding="utf-8")
    paths = [
        broken,
        predictions(tmp_path, "few.json", "a.jpg"),
        predictions(tmp_path, "twice.json", "a", "b", "c", "a.jpg"),
        predictions(tmp_path, "strange.json", "x", "y"),
        tmp_path / "nowhere.json",
    ]
    with pytest.raises(FilesRefused) as refused:
        read_inputs(paths, references)
    lines = str(refused.value).splitlines()
    assert len(lines) == 5
    assert lines[0].startswith(f"{broken}, record 1, field 'caption'")
    assert f"few.json has no caption for 2 of the 3 pictures in {references}: 'b.jpg', 'c.jpg'." in lines[1]
    assert "twice.json: " in lines[2]
    assert "strange.json and" in lines[3]
    assert "have no picture in common: ids are like 'x' and 'a.jpg'" in lines[3]
    assert "nowhere.json: found no such file or directory" in lines[4]


def test_broken_references_do_not_hide_what_is_wrong_with_predictions(tmp_path: Path) -> None:
    with pytest.raises(FilesRefused) as refused:
        read_inputs([tmp_path / "p.json"], tmp_path / "r.json")
    assert [line.partition(":")[0] for line in str(refused.value).splitlines()] == [
        str(tmp_path / "r.json"),
        str(tmp_path / "p.json"),
    ]


def test_systems_without_a_common_picture_are_refused(tmp_path: Path, references: Path) -> None:
    one, two = predictions(tmp_path, "one.json", "a.jpg"), predictions(tmp_path, "two.json", "b.jpg")
    with pytest.raises(FilesRefused, match="has a caption in each of the 2 files"):
        read_inputs([one, two], references, allow_missing=True)


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["captions.json"], ["captions"]),
        (["x/base.json", "y/large.json"], ["base", "large"]),
        (["x/base/captions.json", "x/large/captions.json"], ["base/captions", "large/captions"]),
        (["run/a/1.json", "run/b/1.json", "run/b/2.json"], ["a/1", "b/1", "b/2"]),
        (["/f/a.json", "/f/a.csv"], ["/f/a.json", "/f/a.csv"]),
        (["图一.json", "图二.json"], ["图一", "图二"]),
    ],
)
def test_a_system_is_called_by_what_tells_its_file_from_the_others(
    paths: list[str], names: list[str]
) -> None:
    assert system_names([Path(path) for path in paths]) == names


def test_a_file_given_twice_is_refused() -> None:
    with pytest.raises(FilesRefused, match=r"p\.json is given twice; wanted a file a system"):
        system_names([Path("p.json"), Path("q.json"), Path("p.json")])

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from app.index import Index, IndexDamaged
from eval.scorer import evaluate
from tests.app.small_index import small_index

IDS = ["a.jpg", "b.jpg", "inner/c.jpg", "狗.jpg"]
FIRST = {"a.jpg": "一只狗在草地上奔跑", "b.jpg": "一个人在 在骑自行车[UNK]"}
SECOND = {"a.jpg": "草地上一只狗在奔跑", "狗.jpg": "一只狗在草地上奔跑奔跑"}
PEOPLE = {"a.jpg": ["一只狗在草地上奔跑", "草地上有一只狗"], "b.jpg": ["一个人骑着自行车"]}


@pytest.fixture(scope="module")
def index() -> Index:
    return small_index(
        IDS,
        {"first": FIRST, "second": SECOND},
        PEOPLE,
        tags={"a.jpg": ["草地", "狗"], "b.jpg": ["自行车"], "狗.jpg": []},
        splits={"a.jpg": "test"},
        counts={"a.jpg": 3},
    )


def test_rows_are_found_by_id_and_ids_by_row(index: Index) -> None:
    assert [index.image_id(row) for row in range(len(index))] == IDS
    assert [index.row(image_id) for image_id in IDS] == [0, 1, 2, 3]
    assert [index.row(other) for other in ("", "a", "../a.jpg", "z", "\0", "狗")] == [None] * 6


def test_a_picture_carries_tags_references_split_and_boxes(index: Index) -> None:
    assert sorted(index.tags(0)) == ["狗", "草地"]
    assert index.references(0) == ("一只狗在草地上奔跑", "草地上有一只狗")
    assert [index.split(row) for row in range(4)] == ["test", "", "inner", ""]
    assert index.regions.tolist() == [3, -1, -1, -1]
    assert index.n_described == 2
    assert dict(index.tag_counts) == {"狗": 1, "自行车": 1, "草地": 1}
    assert index.splits == ["inner", "test"]


def test_scores_are_those_of_eval(index: Index) -> None:
    wanted = evaluate(FIRST, PEOPLE)
    system = index.systems[0]
    assert system.meta.overall == wanted.overall
    for row, image_id in ((0, "a.jpg"), (1, "b.jpg")):
        assert system.scores(row) == {
            metric: wanted.per_image[image_id][metric] for metric in ("cider", "bleu-4", "rouge-l")
        }
    assert system.scores(2) == {}
    assert system.n_captions == 2


def test_a_caption_comes_back_with_its_words_counted(index: Index) -> None:
    first, second = index.systems
    assert first.caption(0) == FIRST["a.jpg"]
    assert first.predicted(2) is None
    words = [index.words[at].as_py() for at in first.column("words")[0].as_py()]
    assert words == ["一只", "狗", "在", "草地", "上", "奔跑"]
    assert first.lengths.tolist()[0] == 6
    assert second.lengths.tolist()[1] == 0


def test_faults_are_found(index: Index) -> None:
    first, second = index.systems
    assert first.numbers("repeated").tolist() == [False, True, False, False]
    assert second.numbers("repeated").tolist() == [False, False, False, True]
    assert first.numbers("unknown").tolist() == [False, True, False, False]
    assert second.numbers("alike").tolist() == [1, 0, 0, 1], "the same words, in another order and repeated"
    assert first.undetected(0) == []
    assert second.undetected(3) == ["狗", "草地"], "nothing was detected there"


def test_what_was_saved_is_what_is_loaded(index: Index, tmp_path: Path) -> None:
    index.save(tmp_path)
    loaded = Index.load(tmp_path, "key")
    assert loaded.meta == index.meta
    for mine, theirs in zip(index.systems, loaded.systems, strict=True):
        assert [mine.predicted(row) for row in range(4)] == [theirs.predicted(row) for row in range(4)]
    assert [loaded.references(row) for row in range(4)] == [index.references(row) for row in range(4)]


@pytest.mark.parametrize("name", ["pictures.arrow", "words.arrow", "system-1.arrow", "meta.json"])
@pytest.mark.parametrize("damage", ["gone", "cut", "other"])
def test_a_damaged_index_is_not_used(index: Index, name: str, damage: str, tmp_path: Path) -> None:
    index.save(tmp_path)
    path = tmp_path / name
    if damage == "gone":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    else:
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, pa.schema([])):
            pass
    with pytest.raises(IndexDamaged, match=tmp_path.name):
        Index.load(tmp_path, "key")


def test_an_index_of_other_files_is_not_used(index: Index, tmp_path: Path) -> None:
    index.save(tmp_path)
    with pytest.raises(IndexDamaged, match="made of other files"):
        Index.load(tmp_path, "another key")

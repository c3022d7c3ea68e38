"""Training data in the original form of every data set, and the parts of a file that a run asks for."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from captioning.records import CaptionRecord, SecondText, file_and_parts, read_caption_file, read_records
from eval.annotations import AnnotationError

Write = Callable[[Any], Path]

AIC_ICC = [
    {"url": "http://img5/8f00f3.jpg", "image_id": "8f00f3.jpg", "caption": ["一个男人", "球场上有男人"]},
    {"url": "http://img5/a1.jpg", "image_id": "a1.jpg", "caption": ["两个女人。"]},
]
COCO_CN = "COCO_val2014_000000043734#0\t两只狗\nCOCO_train2014_000000000009#zhm#3 一盘菜\n"
FLICKR8K_CN = "1000268201_693b08cb0e.jpg#zhc#0 小女孩走进木屋。\n1000268201_693b08cb0e.jpg#zhc#1 一个女孩。\n"
COCO = {
    "info": {"year": 2014},
    "images": [{"id": 9, "file_name": "COCO_train2014_000000000009.jpg", "height": 480, "width": 640}],
    "licenses": [],
    "annotations": [
        {"image_id": 9, "id": 661611, "caption": "一盘菜"},
        {"image_id": 9, "id": 661977, "caption": "西兰花和面包"},
    ],
}
KARPATHY = {
    "dataset": "coco",
    "images": [
        {
            "filepath": "val2014",
            "filename": f"COCO_val2014_{number:012}.jpg",
            "cocoid": number,
            "imgid": number,
            "split": split,
            "sentids": [number],
            "sentences": [{"tokens": ["a"], "raw": f"第{number}张", "imgid": number, "sentid": number}],
        }
        for number, split in ((1, "train"), (2, "restval"), (3, "val"), (4, "test"), (5, "train"))
    ],
}
OSCAR = [
    {"image_id": "391895", "id": 770337, "caption": "一个男人骑摩托车"},
    {"image_id": "522418", "id": 681330, "caption": "女人在切蛋糕"},
    {"image_id": "391895", "id": 771687, "caption": "山路上的摩托车"},
]
CSV = 'image_id,caption\na.jpg,一只狗\nb.jpg,"猫, 还有狗"\na.jpg,草地上的狗\n'
JSON_LINES = '{"image_id": "a.jpg", "caption": ["一只狗", "草地"]}\n{"image_id": "b.jpg", "caption": "猫"}\n'

DATA_SETS: dict[str, tuple[Any, str, dict[str, tuple[str, ...]]]] = {
    "AIC-ICC": (AIC_ICC, "aic-icc", {"8f00f3.jpg": ("一个男人", "球场上有男人"), "a1.jpg": ("两个女人。",)}),
    "COCO-CN": (
        COCO_CN,
        "caption-lines",
        {"COCO_val2014_000000043734": ("两只狗",), "COCO_train2014_000000000009": ("一盘菜",)},
    ),
    "Flickr8k-CN": (
        FLICKR8K_CN,
        "caption-lines",
        {"1000268201_693b08cb0e.jpg": ("小女孩走进木屋。", "一个女孩。")},
    ),
    "COCO captions": (COCO, "coco-captions", {"COCO_train2014_000000000009.jpg": ("一盘菜", "西兰花和面包")}),
    "Karpathy, one split": (
        {"images": KARPATHY["images"][-1:]},
        "karpathy",
        {"val2014/COCO_val2014_000000000005.jpg": ("第5张",)},
    ),
    "Oscar's caption file": (
        OSCAR,
        "caption-list",
        {"391895": ("一个男人骑摩托车", "山路上的摩托车"), "522418": ("女人在切蛋糕",)},
    ),
    "CSV": (CSV, "csv", {"a.jpg": ("一只狗", "草地上的狗"), "b.jpg": ("猫, 还有狗",)}),
    "JSON lines": (JSON_LINES, "jsonl", {"a.jpg": ("一只狗", "草地"), "b.jpg": ("猫",)}),
}


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """A file whose name says nothing; anything but text is written as JSON."""

    def write(content: Any) -> Path:
        path = tmp_path / "data"
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        return path

    return write


@pytest.mark.parametrize("name", DATA_SETS)
def test_a_data_set_is_read_as_it_was_published(write: Write, name: str) -> None:
    content, form, captions = DATA_SETS[name]
    found = read_caption_file(write(content), "train")
    assert found.format == form
    assert found.notes == ()
    assert found.records == tuple(
        CaptionRecord(image_id=image_id, captions=texts, split="train")
        for image_id, texts in captions.items()
    )


def test_captions_come_without_white_space_at_their_ends(write: Write) -> None:
    (record,) = read_records(write([{"image_id": "a", "caption": ["  一只狗\n"]}]), "train")
    assert record.captions == ("一只狗",)


def test_of_a_file_with_splits_the_named_ones_are_read_and_the_others_counted(write: Write) -> None:
    path = write(KARPATHY)
    found = read_caption_file(Path(f"{path}#train+restval"), "train")
    assert [record.captions for record in found.records] == [("第1张",), ("第2张",), ("第5张",)]
    assert found.notes == (f"{path}: 3 of 5 pictures are of the split train + restval",)
    assert [record.captions for record in read_records(Path(f"{path}#test"), "validation")] == [("第4张",)]


def test_several_splits_are_never_read_together_unasked(write: Write) -> None:
    path = write(KARPATHY)
    with pytest.raises(AnnotationError) as caught:
        read_records(path, "train")
    assert str(caught.value) == (
        f"{path}: found several splits (restval: 1, test: 1, train: 2, val: 1), wanted the splits to read "
        f"behind the path, joined by +: {path}#train"
    )


def test_pictures_without_a_split_are_not_taken_for_one(write: Write) -> None:
    images = [*KARPATHY["images"][:1], {"filename": "b.jpg", "sentences": [{"raw": "二"}]}]
    with pytest.raises(AnnotationError, match=r"several splits \(without a split: 1, train: 1\)"):
        read_records(write({"images": images}), "train")


@pytest.mark.parametrize(
    ("content", "part", "message"),
    [
        (KARPATHY, "training", "found no split 'training' among (restval: 1, test: 1, train: 2, val: 1)"),
        (KARPATHY, "train+", "found no split '' among ("),
        (AIC_ICC, "train", "found no splits (format aic-icc), wanted the path without #train"),
        (JSON_LINES, "train", "found no splits (format jsonl), wanted the path without #train"),
    ],
)
def test_a_split_that_is_not_there_is_refused(write: Write, content: Any, part: str, message: str) -> None:
    with pytest.raises(AnnotationError) as caught:
        read_records(Path(f"{write(content)}#{part}"), "train")
    assert message in str(caught.value)


def test_a_file_whose_own_name_has_the_mark_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "captions#1"
    path.write_text(json.dumps(AIC_ICC))
    assert file_and_parts(path) == (path, ())
    assert len(read_records(path, "train")) == 2
    assert file_and_parts(tmp_path / "none#a+b") == (tmp_path / "none", ("a", "b"))


def test_a_file_that_is_not_there_is_named_without_its_part(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match=r"none\.json: found no such file or directory"):
        read_records(tmp_path / "none.json#train", "train")


def test_predictions_are_no_training_data(write: Write) -> None:
    with pytest.raises(
        AnnotationError, match=r"found predictions \(format coco-results\), wanted references"
    ):
        read_records(write([{"image_id": "a", "caption": "狗"}]), "train")


def test_pairs_keep_their_second_texts(write: Write) -> None:
    lines = [
        {"image_id": "a.jpg", "caption": "一只狗", "tags": ["狗", "草地"]},
        {"image_id": "b.jpg", "caption": "一只猫", "tags": []},
        {"image_id": "a.jpg", "question": "狗在做什么？", "answer": " 奔跑 "},
        {"image_id": "a.jpg", "caption": "草地"},
    ]
    records = read_records(write("\n".join(json.dumps(line) for line in lines)), "train")
    assert records == [
        CaptionRecord(
            image_id="a.jpg",
            captions=("一只狗", "狗在做什么？", "草地"),
            split="train",
            seconds=(
                SecondText(text="狗 草地", is_answer=False),
                SecondText(text="奔跑", is_answer=True),
                None,
            ),
        ),
        CaptionRecord(image_id="b.jpg", captions=("一只猫",), split="train"),
    ]


def test_a_single_question_over_several_lines_is_read(write: Write) -> None:
    (record,) = read_records(write('{\n "image_id": 1,\n "question": "谁？",\n "answer": "人"\n}'), "train")
    assert (record.image_id, record.captions, record.second(0)) == (
        "1",
        ("谁？",),
        SecondText(text="人", is_answer=True),
    )

"""Caption and prediction files: what is read of every format."""

import json
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from eval.annotations import (
    FORMATS,
    PredictedCaption,
    ReferenceFile,
    ScoredCaption,
    looks_like_captions,
    read_predictions,
    read_reference_file,
    read_references,
)
from eval.records import MAX_CAPTION

WriteFile = Callable[[Any], Path]


@pytest.fixture
def file(tmp_path: Path) -> WriteFile:
    """Write bytes, text, or anything else as JSON; the name says nothing about the format."""

    def write(content: Any) -> Path:
        path = tmp_path / "captions.txt"
        if not isinstance(content, str | bytes):
            content = json.dumps(content, ensure_ascii=False)
        path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
        return path

    return write


COCO: dict[str, Any] = {
    "images": [{"id": 7, "file_name": "a.jpg"}, {"id": 9, "file_name": "b.jpg"}],
    "annotations": [
        {"id": 1, "image_id": 9, "caption": "两只狗"},
        {"id": 2, "image_id": 7, "caption": "一个男人"},
        {"id": 3, "image_id": 9, "caption": "狗在跑"},
    ],
}
AIC: list[dict[str, Any]] = [
    {"url": "http://x/a.jpg", "image_id": "a.jpg", "caption": ["一个男人"]},
    {"url": "http://x/b.jpg", "image_id": "b.jpg", "caption": ["两只狗", "狗在跑", "雪地里的狗"]},
]
RESULTS: list[dict[str, Any]] = [{"image_id": 7, "caption": "两只狗"}, {"image_id": "b.jpg", "caption": "猫"}]


def test_coco_captions_are_keyed_by_file_name_and_keep_their_numbers(file: WriteFile) -> None:
    references = read_reference_file(file(COCO))
    assert references.captions == {"b.jpg": ("两只狗", "狗在跑"), "a.jpg": ("一个男人",)}
    assert references.numbers == {"7": "a.jpg", "9": "b.jpg"}


def test_coco_captions_without_a_list_of_images_are_keyed_by_number(file: WriteFile) -> None:
    assert read_references(file({"annotations": COCO["annotations"]})).keys() == {"9", "7"}


def test_coco_images_listed_twice_alike_are_one(file: WriteFile) -> None:
    assert read_references(file({**COCO, "images": COCO["images"] * 2})).keys() == {"a.jpg", "b.jpg"}


def test_aic_icc_pictures_have_any_number_of_captions(file: WriteFile) -> None:
    assert read_references(file(AIC)) == {"a.jpg": ("一个男人",), "b.jpg": ("两只狗", "狗在跑", "雪地里的狗")}


@pytest.mark.parametrize(
    "content",
    [
        RESULTS,
        '{"image_id": 7, "caption": "两只狗"}\n\n{"image_id": "b.jpg", "caption": "猫"}\n',
        "image_id,caption\n7,两只狗\nb.jpg,猫\n",
        'score,caption,image_id\r\n,两只狗,7\r\n,"猫",b.jpg',
    ],
    ids=["coco-results", "jsonl", "csv", "csv with other columns"],
)
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["plain", "byte order mark"])
def test_the_format_is_recognised_by_content(file: WriteFile, content: Any, mark: bytes) -> None:
    text = content if isinstance(content, str) else json.dumps(content)
    predictions = read_predictions(file(mark + text.encode("utf-8")))
    assert list(predictions.values()) == [PredictedCaption("7", "两只狗"), PredictedCaption("b.jpg", "猫")]


def test_a_single_record_over_several_lines_is_read(file: WriteFile) -> None:
    assert read_predictions(file('{\n "image_id": "a.jpg",\n "caption": "猫"\n}')).keys() == {"a.jpg"}
    assert read_references(file('{\n "image_id": "a.jpg",\n "caption": ["猫", "狗"]\n}')) == {
        "a.jpg": ("猫", "狗")
    }


EXTRAS: dict[str, Any] = {
    "image_id": "a.jpg",
    "caption": "一只狗",
    "log_prob": -7.5,
    "score": -1,
    "alternatives": [{"caption": "一只狗", "log_prob": -7.5, "score": -1}, {"caption": "狗"}],
    "tags": ["狗", "草地"],
    "of no interest": {"here": 1},
}


@pytest.mark.parametrize("content", [[EXTRAS], json.dumps(EXTRAS)], ids=["coco-results", "jsonl"])
def test_log_probabilities_alternatives_and_tags_are_read(file: WriteFile, content: Any) -> None:
    alternatives = (ScoredCaption("一只狗", -7.5, -1.0), ScoredCaption("狗"))
    expected = PredictedCaption("a.jpg", "一只狗", -7.5, -1.0, alternatives, ("狗", "草地"))
    assert read_predictions(file(content)) == {"a.jpg": expected}


def test_csv_cells_may_hold_commas_line_breaks_numbers_and_lists(file: WriteFile) -> None:
    text = (
        "image_id,caption,log_prob,tags,alternatives\n"
        'a.jpg,"海边,\n有人",-7.5,人|海,海边有人 | 有人\nb.jpg,猫,,,\n'
    )
    assert list(read_predictions(file(text)).values()) == [
        PredictedCaption(
            "a.jpg",
            "海边,\n有人",
            -7.5,
            tags=("人", "海"),
            alternatives=(ScoredCaption("海边有人"), ScoredCaption("有人")),
        ),
        PredictedCaption("b.jpg", "猫"),
    ]


def test_the_apostrophe_before_what_looks_like_a_formula_is_taken_off(file: WriteFile) -> None:
    predictions = read_predictions(file("image_id,caption,score\n'-1.jpg,'=1+1,-2\nb.jpg,'n' 字,\n"))
    assert list(predictions.values()) == [
        PredictedCaption("-1.jpg", "=1+1", score=-2.0),
        PredictedCaption("b.jpg", "'n' 字"),
    ]


def test_captions_come_out_composed(file: WriteFile) -> None:
    decomposed = unicodedata.normalize("NFD", "café里的猫")
    assert read_references(file([{"image_id": "a", "caption": [decomposed]}])) == {"a": ("café里的猫",)}


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16_is_read_where_it_opens_with_its_byte_order_mark(file: WriteFile, encoding: str) -> None:
    text = "\ufeffimage_id,caption\r\na.jpg,两只狗\r\n"
    assert read_predictions(file(text.encode(encoding)))["a.jpg"].caption == "两只狗"


def test_a_caption_of_the_greatest_length_is_read(file: WriteFile) -> None:
    caption = "狗" * MAX_CAPTION
    assert read_predictions(file([{"image_id": "a", "caption": caption}]))["a"].caption == caption


CAPTION_LINES = {
    "Flickr8k": "a.jpg#0\tA dog .\na.jpg#1\tTwo dogs , both #1 .\nb.jpg#0\tA cat .\n",
    "Flickr8k-CN": "b.jpg#zhc#0 一只猫。\r\na.jpg#zhc#0 一只狗。\r\n\r\na.jpg#zhm#0 一条 #1 狗。\r\n",
    "COCO-CN": "COCO_val2014_000000043734#0\t两只狗\nCOCO_train2014_000000000009#zhm#3 一盘菜",
}


@pytest.mark.parametrize(
    ("name", "captions"),
    [
        ("Flickr8k", {"a.jpg": ("A dog .", "Two dogs , both #1 ."), "b.jpg": ("A cat .",)}),
        ("Flickr8k-CN", {"b.jpg": ("一只猫。",), "a.jpg": ("一只狗。", "一条 #1 狗。")}),
        (
            "COCO-CN",
            {"COCO_val2014_000000043734": ("两只狗",), "COCO_train2014_000000000009": ("一盘菜",)},
        ),
    ],
)
def test_lines_of_keys_and_captions_are_read(
    file: WriteFile, name: str, captions: dict[str, tuple[str, ...]]
) -> None:
    assert read_references(file(CAPTION_LINES[name])) == captions


KARPATHY: dict[str, Any] = {
    "dataset": "coco",
    "images": [
        {
            "filepath": "val2014",
            "sentids": [770337, 771687],
            "filename": "COCO_val2014_000000391895.jpg",
            "imgid": 0,
            "split": "test",
            "sentences": [
                {"tokens": ["a", "man"], "raw": "A man.", "imgid": 0, "sentid": 770337},
                {"tokens": ["a", "moped"], "raw": "A moped.", "imgid": 0, "sentid": 771687},
            ],
            "cocoid": 391895,
        },
        {"filename": "b.jpg", "split": "train", "sentences": [{"raw": "A dog."}]},
    ],
}


def test_karpathy_files_keep_their_numbers_and_splits(file: WriteFile) -> None:
    name = "val2014/COCO_val2014_000000391895.jpg"
    assert read_reference_file(file(KARPATHY)) == ReferenceFile(
        captions={name: ("A man.", "A moped."), "b.jpg": ("A dog.",)},
        numbers={"391895": name},
        splits={name: "test", "b.jpg": "train"},
    )


def test_lines_of_references_hold_a_caption_or_a_list(file: WriteFile) -> None:
    lines = [
        {"image_id": "a.jpg", "caption": "狗"},
        {"image_id": 7, "caption": ["猫", "两只猫"]},
        {"image_id": "a.jpg", "caption": "两只狗"},
    ]
    text = "\n".join(json.dumps(line) for line in lines)
    assert read_references(file(text)) == {"a.jpg": ("狗", "两只狗"), "7": ("猫", "两只猫")}


def test_single_captions_with_numbers_of_their_own_are_references(file: WriteFile) -> None:
    rows = [
        {"image_id": "391895", "id": 770337, "caption": "狗"},
        {"image_id": "522418", "id": 681330, "caption": "猫"},
        {"image_id": "391895", "caption": "两只狗"},
    ]
    assert read_references(file(rows)) == {"391895": ("狗", "两只狗"), "522418": ("猫",)}
    assert read_predictions(file(rows[:2])).keys() == {"391895", "522418"}


def test_a_table_of_references_holds_a_caption_a_row(file: WriteFile) -> None:
    text = 'caption,image_id\n"狗, 还有猫",a.jpg\n两只狗,a.jpg\n一|二,b.jpg\n'
    assert read_references(file(text)) == {"a.jpg": ("狗, 还有猫", "两只狗"), "b.jpg": ("一|二",)}


SAMPLES: dict[str, str] = {
    **{name: each.sample for name, each in FORMATS.items()},
    "caption-lines": "a.jpg#zhc#0 …",
    "jsonl": '{"image_id": "a.jpg", "caption": "…"}\n',
    "csv": "image_id,caption\na.jpg,…\n",
}


@pytest.mark.parametrize("name", FORMATS)
def test_the_sample_of_a_format_is_read_as_what_the_format_holds(file: WriteFile, name: str) -> None:
    path = file(SAMPLES[name])
    if FORMATS[name].predictions:
        assert list(read_predictions(path)) == ["a.jpg"]
    if FORMATS[name].references:
        assert list(read_references(path)) == ["a.jpg"]


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_is_told_from_plain_text_by_its_beginning(tmp_path: Path, name: str) -> None:
    path = tmp_path / "captions"
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        path.write_text("\n" + SAMPLES[name], encoding=encoding)
        assert looks_like_captions(path)


@pytest.mark.parametrize(
    "text", ["", "一只狗\n两只猫", "[1] 一只狗", "{一只狗}", "狗 a.jpg#0", "狗" * 100_000]
)
def test_sentences_do_not_look_like_captions(tmp_path: Path, text: str) -> None:
    path = tmp_path / "text"
    path.write_text(text, encoding="utf-8")
    assert not looks_like_captions(path)

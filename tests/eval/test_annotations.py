"""Caption and prediction files: what is read, and what is said about every kind of mistake."""

import json
import re
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from eval.annotations import (
    FORMATS,
    AnnotationError,
    PredictedCaption,
    ScoredCaption,
    read_predictions,
    read_reference_file,
    read_references,
)

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


def test_a_single_record_over_several_lines_is_jsonl(file: WriteFile) -> None:
    assert read_predictions(file('{\n "image_id": "a.jpg",\n "caption": "猫"\n}')).keys() == {"a.jpg"}


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


def test_a_caption_of_ten_thousand_characters_is_read(file: WriteFile) -> None:
    assert len(read_predictions(file([{"image_id": "a", "caption": "狗" * 10_000}]))["a"].caption) == 10_000


def result(**changes: Any) -> list[dict[str, Any]]:
    """A good record, then one with changes."""
    return [RESULTS[0], {"image_id": "b.jpg", "caption": "猫", **changes}]


BAD_PREDICTIONS: dict[str, tuple[Any, str]] = {
    "empty file": ("", "found an empty file, wanted one of the formats coco-captions: "),
    "white space": (" \n\t", "found an empty file, wanted"),
    "plain text": ("一只狗", "found text that starts with '一只狗', wanted one of the formats"),
    "other object": (
        {"scores": 1},
        "found text that starts with '{\"scores\": 1}', wanted one of the formats",
    ),
    "truncated": (
        '[{"image_id": 1, "capt',
        ": found broken JSON (Unterminated string starting at, line 1 column",
    ),
    "key twice": (
        '[{"image_id": 1, "caption": "a", "caption": "b"}]',
        ": found broken JSON (key 'caption' twice in one object), wanted JSON",
    ),
    "not a number": (
        '[{"image_id": 1, "caption": "a", "score": NaN}]',
        ": found broken JSON (NaN is no JSON number), wanted JSON",
    ),
    "too deep": ("[" * 100_000, ": found JSON nested too deep, wanted flat records"),
    "empty list": ([], ": found no record, wanted one or more captions"),
    "no object": ([RESULTS[0], "b"], ', record 2: found "b", wanted an object with image_id and caption'),
    "null record": ([RESULTS[0], None], ", record 2: found null, wanted an object with image_id and caption"),
    "no caption": ([{"image_id": 1}], ", record 1, field 'caption': found no such field, wanted a sentence"),
    "null caption": (result(caption=None), ", record 2, field 'caption': found null, wanted a sentence"),
    "empty caption": (
        result(caption=" "),
        ", record 2, field 'caption': found an empty string, wanted a sentence",
    ),
    "number caption": (result(caption=3), ", record 2, field 'caption': found 3, wanted a sentence"),
    "list caption": (result(caption=["a"]), ", record 2, field 'caption': found [\"a\"], wanted a sentence"),
    "half surrogate": (
        r'[{"image_id": 1, "caption": "\ud83d"}]',
        r", record 1, field 'caption': found half a surrogate pair in '\ud83d', wanted Unicode text",
    ),
    "no id": (
        [{"caption": "a"}],
        ", record 1, field 'image_id': found no such field, wanted a file name or a whole",
    ),
    "empty id": (
        result(image_id=""),
        ", record 2, field 'image_id': found an empty string, wanted a file name or",
    ),
    "broken id": (
        result(image_id=1.5),
        ", record 2, field 'image_id': found 1.5, wanted a file name or a whole",
    ),
    "true id": (
        result(image_id=True),
        ", record 2, field 'image_id': found true, wanted a file name or a whole",
    ),
    "same id": (
        result(image_id=7),
        ", record 2, field 'image_id': found '7' a second time, wanted one caption a",
    ),
    "same id as text": (
        result(image_id="7"),
        ", record 2, field 'image_id': found '7' a second time, wanted one",
    ),
    "text log_prob": (
        result(log_prob="-1"),
        ", record 2, field 'log_prob': found \"-1\", wanted a finite number",
    ),
    "true score": (result(score=True), ", record 2, field 'score': found true, wanted a finite number"),
    "huge score": (
        '[{"image_id": 1, "caption": "a", "score": 1e999}]',
        ", record 1, field 'score': found Infinity, wanted a finite number",
    ),
    "tags as text": (
        result(tags="狗"),
        ", record 2, field 'tags': found \"狗\", wanted a list of one or more strings",
    ),
    "null tag": (result(tags=["狗", None]), ", record 2, field 'tags[1]': found null, wanted a sentence"),
    "alternatives as text": (
        result(alternatives="狗"),
        ", record 2, field 'alternatives': found \"狗\", wanted a list of objects",
    ),
    "bare alternative": (result(alternatives=["狗"]), ', record 2: found "狗", wanted an object'),
    "jsonl line": (
        '{"image_id": 1, "caption": "a"}\n{"image_id": 2, "caption": }\n',
        ", line 2: found broken JSON (Expecting value, column 28)",
    ),
    "jsonl field": (
        '{"image_id": 1, "caption": "a"}\n\n{"image_id": 2}\n',
        ", line 3, field 'caption': found no such field, wanted a sentence",
    ),
    "csv cells": (
        "image_id,caption\n1,a\n2,b,c\n",
        ", line 3: found 1 cells too many, wanted 2 cells; quote a caption that holds a comma",
    ),
    "csv empty cell": (
        "image_id,caption\n1,\n",
        ", line 2, field 'caption': found no such field, wanted a sentence",
    ),
    "csv short row": (
        "image_id,caption\n1\n",
        ", line 2, field 'caption': found no such field, wanted a sentence",
    ),
    "csv number": (
        "image_id,caption,log_prob\n1,a,low\n",
        ", line 2, field 'log_prob': found 'low', wanted a finite number",
    ),
    "csv infinity": (
        "image_id,caption,log_prob\n1,a,inf\n",
        ", line 2, field 'log_prob': found Infinity, wanted a finite number",
    ),
    "csv quote": ('image_id,caption\n1,"a\n', ", line 2: found broken CSV (unexpected end of data), wanted"),
    "csv without caption": ("image_id,text\n1,a\n", ", line 2, field 'caption': found no such field, wanted"),
    "csv header only": ("image_id,caption\n", ": found no record, wanted one or more captions"),
    "GBK": (
        json.dumps(RESULTS, ensure_ascii=False).encode("gb18030"),
        ": found bytes that are not UTF-8 at offset 29, wanted UTF-8; if the file is GBK, convert it: iconv",
    ),
    "references": (
        AIC,
        ": found references (format aic-icc), wanted predictions (format coco-results, jsonl, csv)",
    ),
}


@pytest.mark.parametrize(("content", "message"), BAD_PREDICTIONS.values(), ids=BAD_PREDICTIONS)
def test_a_bad_prediction_file_is_refused_with_the_place(file: WriteFile, content: Any, message: str) -> None:
    path = file(content)
    with pytest.raises(AnnotationError, match=f"^{re.escape(str(path))}.*{re.escape(message)}"):
        read_predictions(path)


def coco(**changes: Any) -> dict[str, Any]:
    return {**COCO, **changes}


BAD_REFERENCES: dict[str, tuple[Any, str]] = {
    "no list": (coco(annotations={}), ", field 'annotations': found dict, wanted a list"),
    "no annotation": (
        coco(annotations=[]),
        ", field 'annotations': found an empty list, wanted one or more captions",
    ),
    "images no list": (coco(images=3), ", field 'images': found int, wanted a list"),
    "image without id": (
        coco(images=[{"file_name": "a"}]),
        ", image 1, field 'id': found no such field, wanted a file name or a whole number",
    ),
    "number twice": (
        coco(images=[{"id": 7, "file_name": "a"}, {"id": 7, "file_name": "b"}]),
        ", image 2, field 'id': found 7 for a second file, wanted one number a file",
    ),
    "file twice": (
        coco(images=[{"id": 7, "file_name": "a"}, {"id": 9, "file_name": "a"}]),
        ", field 'file_name': found 'a' under two ids, wanted one id a file",
    ),
    "unlisted image": (
        coco(annotations=[{"image_id": 8, "caption": "a"}]),
        ", annotation 1, field 'image_id': found '8', wanted an id of the list 'images'",
    ),
    "null caption": (
        coco(annotations=[{"image_id": 7, "caption": None}]),
        ", annotation 1, field 'caption': found null, wanted a sentence",
    ),
    "same picture": (
        [AIC[0], AIC[0]],
        ", record 2, field 'image_id': found 'a.jpg' a second time, wanted one record a picture",
    ),
    "no captions": (
        [AIC[0], {"image_id": "b", "caption": []}],
        ", record 2, field 'caption': found an empty list, wanted a list of one or more strings",
    ),
    "one bare caption": (
        [AIC[0], {"image_id": "b", "caption": "猫"}],
        ", record 2, field 'caption': found \"猫\", wanted a list of one or more strings",
    ),
    "empty caption": (
        [{"image_id": "b", "caption": ["猫", ""]}],
        ", record 1, field 'caption[1]': found an empty string, wanted a sentence",
    ),
    "predictions": (
        RESULTS,
        ": found predictions (format coco-results), wanted references (format coco-captions, aic",
    ),
}


@pytest.mark.parametrize(("content", "message"), BAD_REFERENCES.values(), ids=BAD_REFERENCES)
def test_a_bad_reference_file_is_refused_with_the_place(file: WriteFile, content: Any, message: str) -> None:
    path = file(content)
    with pytest.raises(AnnotationError, match=f"^{re.escape(str(path) + message)}"):
        read_references(path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        AnnotationError, match="none.json: found no such file or directory, wanted a readable file"
    ):
        read_references(tmp_path / "none.json")


def test_an_error_carries_its_parts(file: WriteFile) -> None:
    path = file(result(caption=None))
    with pytest.raises(AnnotationError) as caught:
        read_predictions(path)
    error = caught.value
    parts = (error.path, error.record, error.field, error.found, error.wanted)
    assert parts == (path, 2, "caption", "null", "a sentence")


def test_control_characters_of_a_file_do_not_reach_the_terminal(file: WriteFile) -> None:
    with pytest.raises(AnnotationError) as caught:
        read_predictions(file(result(tags="\x1b[31m狗")))
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("name", [name for name in FORMATS if name not in ("csv", "jsonl")])
def test_the_sample_of_a_format_is_of_that_format(file: WriteFile, name: str) -> None:
    path = file(FORMATS[name].sample)
    read = read_references if FORMATS[name].holds == "references" else read_predictions
    assert list(read(path)) == ["a.jpg"]

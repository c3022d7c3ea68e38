"""What is said about every kind of mistake in a caption file: where, what was found, what was wanted."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from eval.__main__ import main
from eval.annotations import AnnotationError, read_predictions, read_references
from eval.records import MAX_CAPTION

Write = Callable[[Any], Path]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Write bytes, text, or anything else as JSON to the file F of the working folder."""
    monkeypatch.chdir(tmp_path)

    def write(content: Any) -> Path:
        path = Path("F")
        if not isinstance(content, str | bytes):
            content = json.dumps(content, ensure_ascii=False)
        path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
        return path

    return write


RESULTS: list[dict[str, Any]] = [{"image_id": 7, "caption": "两只狗"}, {"image_id": "b.jpg", "caption": "猫"}]
AIC: list[dict[str, Any]] = [
    {"url": "http://x/a.jpg", "image_id": "a.jpg", "caption": ["一个男人"]},
    {"url": "http://x/b.jpg", "image_id": "b.jpg", "caption": ["两只狗", "狗在跑"]},
]
GOOD_LINE = '{"image_id": 1, "caption": "a"}\n'


def result(**changes: Any) -> list[dict[str, Any]]:
    """A good record, then one with changes."""
    return [RESULTS[0], {"image_id": "b.jpg", "caption": "猫", **changes}]


def coco(*annotations: Any, **changes: Any) -> dict[str, Any]:
    images = [{"id": 7, "file_name": "a.jpg"}, {"id": 9, "file_name": "b.jpg"}]
    return {"images": images, "annotations": list(annotations), **changes}


def karpathy(*images: Any) -> dict[str, Any]:
    return {"images": [{"filename": "a.jpg", "sentences": [{"raw": "一"}]}, *images]}


SENTENCE = "wanted a sentence"
ID = "wanted a file name or a whole number"
NO_RECORD = "F: found no record, wanted one or more captions"
PREDICTION_FORMATS = "wanted predictions in one of the formats coco-results: [{"
REFERENCE_FORMATS = "wanted references in one of the formats coco-captions: {"

BAD_PREDICTIONS: dict[str, tuple[Any, str]] = {
    "empty file": ("", f"F: found an empty file, {PREDICTION_FORMATS}"),
    "white space": (" \n\t", f"F: found an empty file, {PREDICTION_FORMATS}"),
    "plain text": ("一只狗", f"F: found text that starts with '一只狗', {PREDICTION_FORMATS}"),
    "other object": (
        {"scores": 1},
        "F: found text that starts with '{\"scores\": 1}', wanted predictions in",
    ),
    "other value": ("3", "F: found text that starts with '3', wanted predictions in"),
    "truncated": (
        '[{"image_id": 1,\n "capt',
        "F, line 2: found broken JSON (Unterminated string starting at, column 2), wanted JSON",
    ),
    "too deep": ("[" * 10_000 + "]" * 10_000, "F: found JSON nested too deep, wanted flat records"),
    "deep objects": ('{"image_id":' * 10_000, "F: found JSON nested too deep, wanted flat records"),
    "deep field": (
        f'[{{"image_id": 1, "caption": {"[" * 900}{"]" * 900}}}]',
        "F: found references (format aic-icc), wanted predictions",
    ),
    "endless number": (f'[{{"image_id": {"1" * 5_000}}}]', "F: found broken JSON (Exceeds the limit"),
    "empty list": ([], NO_RECORD),
    "key twice": (
        '[{"image_id": 1, "caption": "a", "caption": "b"}]',
        "F, record 1, field 'caption': found the key more than once, wanted it once",
    ),
    "no object": ([RESULTS[0], "b"], 'F, record 2: found "b", wanted an object with named fields'),
    "null record": ([None, RESULTS[0]], "F, record 1: found null, wanted an object with named fields"),
    "no caption": ([{"image_id": 1}], f"F, record 1, field 'caption': found no such field, {SENTENCE}"),
    "null caption": (result(caption=None), f"F, record 2, field 'caption': found null, {SENTENCE}"),
    "NaN caption": (result(caption=float("nan")), f"F, record 2, field 'caption': found NaN, {SENTENCE}"),
    "empty caption": (
        result(caption=" "),
        f"F, record 2, field 'caption': found an empty string, {SENTENCE}",
    ),
    "number caption": (result(caption=3), f"F, record 2, field 'caption': found 3, {SENTENCE}"),
    "list caption": (result(caption=["a"]), f"F, record 2, field 'caption': found a list, {SENTENCE}"),
    "object caption": (result(caption={}), f"F, record 2, field 'caption': found an object, {SENTENCE}"),
    "long caption": (
        result(caption="a" * (MAX_CAPTION + 1)),
        "F, record 2, field 'caption': found 10,001 characters, wanted a sentence of 10,000 at most",
    ),
    "half surrogate": (
        r'[{"image_id": 1, "caption": "\ud83d"}]',
        r"F, record 1, field 'caption': found half a surrogate pair in '\ud83d', wanted Unicode text",
    ),
    "no id": ([{"caption": "a"}], f"F, record 1, field 'image_id': found no such field, {ID}"),
    "empty id": (result(image_id=""), f"F, record 2, field 'image_id': found an empty string, {ID}"),
    "broken id": (result(image_id=1.5), f"F, record 2, field 'image_id': found 1.5, {ID}"),
    "true id": (result(image_id=True), f"F, record 2, field 'image_id': found true, {ID}"),
    "same id": (
        result(image_id=7),
        "F, record 2, field 'image_id': found '7' a second time, wanted one caption a picture",
    ),
    "same id as text": (
        result(image_id="7"),
        "F, record 2, field 'image_id': found '7' a second time, wanted one caption a picture",
    ),
    "text log_prob": (
        result(log_prob="-1"),
        "F, record 2, field 'log_prob': found \"-1\", wanted a finite number",
    ),
    "true score": (result(score=True), "F, record 2, field 'score': found true, wanted a finite number"),
    "NaN score": (result(score=float("nan")), "F, record 2, field 'score': found NaN, wanted a finite"),
    "huge score": (
        '[{"image_id": 1, "caption": "a", "score": 1e999}]',
        "F, record 1, field 'score': found Infinity, wanted a finite number",
    ),
    "tags as text": (
        result(tags="狗"),
        "F, record 2, field 'tags': found \"狗\", wanted a list of one or more strings",
    ),
    "null tag": (result(tags=["狗", None]), f"F, record 2, field 'tags[1]': found null, {SENTENCE}"),
    "alternatives as text": (
        result(alternatives="狗"),
        "F, record 2, field 'alternatives': found \"狗\", wanted a list of one or more objects",
    ),
    "bare alternative": (
        result(alternatives=["狗"]),
        "F, record 2, field 'alternatives[0]': found \"狗\", wanted an object",
    ),
    "bad alternative": (
        result(alternatives=[{"caption": "狗"}, {"score": 1}]),
        f"F, record 2, field 'alternatives[1].caption': found no such field, {SENTENCE}",
    ),
    "jsonl line": (
        GOOD_LINE + '{"image_id": 2, "caption": }\n',
        "F, line 2: found broken JSON (Expecting value, column 28), wanted JSON",
    ),
    "jsonl first line": (
        '{"image_id": 2, "capt\n' + GOOD_LINE,
        "F, line 1: found broken JSON (Invalid control character at, column 22), wanted JSON",
    ),
    "jsonl field": (
        GOOD_LINE + '\n{"image_id": 2}\n',
        f"F, line 3, field 'caption': found no such field, {SENTENCE}",
    ),
    "jsonl list": (GOOD_LINE + "[]\n", "F, line 2: found an empty list, wanted an object with named fields"),
    "csv cells": (
        "image_id,caption\n1,a\n2,b,c\n",
        "F, line 3: found 3 cells, wanted 2; quote a caption that holds a comma",
    ),
    "csv empty cell": (
        "image_id,caption\n1,\n",
        f"F, line 2, field 'caption': found an empty string, {SENTENCE}",
    ),
    "csv short row": (
        "image_id,caption\n1\n",
        f"F, line 2, field 'caption': found no such field, {SENTENCE}",
    ),
    "csv row after a long one": (
        'image_id,caption\n1,"a\nb"\n2,\n',
        f"F, line 4, field 'caption': found an empty string, {SENTENCE}",
    ),
    "csv number": (
        "image_id,caption,log_prob\n1,a,low\n",
        "F, line 2, field 'log_prob': found \"low\", wanted a finite number",
    ),
    "csv infinity": (
        "image_id,caption,log_prob\n1,a,inf\n",
        "F, line 2, field 'log_prob': found Infinity, wanted a finite number",
    ),
    "csv quote": (
        'image_id,caption\n1,a\n2,"b\n3,c\n',
        "F, line 3: found broken CSV (unexpected end of data), wanted comma-separated cells",
    ),
    "csv without caption": (
        "image_id,text\n1,a\n2,b\n",
        "F, line 1, field 'caption': found only the columns 'image_id', 'text', wanted it too",
    ),
    "csv with semicolons": (
        "image_id;caption\n1;a\n",
        "F, line 1: found columns separated by semicolons, wanted commas between them",
    ),
    "csv with tabs": (
        "image_id\tcaption\n1\ta\n",
        "F, line 1: found columns separated by tabs, wanted commas between them",
    ),
    "csv column twice": (
        "image_id,caption,caption\n1,a,b\n",
        "F, line 1, field 'caption': found the column more than once, wanted it once",
    ),
    "csv header only": ("image_id,caption\n", NO_RECORD),
    "GBK": (
        json.dumps(RESULTS, ensure_ascii=False).encode("gbk"),
        "F, line 1: found bytes that are not UTF-8 at offset 29, wanted UTF-8; if the file is GBK, "
        "convert it: iconv -f GB18030 -t UTF-8 OLD > NEW",
    ),
    "GBK lines in UTF-8": (
        "image_id,caption\n1,一个女人\n".encode() + "2,一条狗在跑\n".encode("gbk"),
        "F, line 3: found bytes that are not UTF-8 at offset 36, wanted UTF-8; these bytes are damaged or of",
    ),
    "half a character": (
        GOOD_LINE.encode() + '{"image_id": 2, "caption": "狗狗'.encode()[:-1],
        "F, line 2: found bytes that are not UTF-8 at offset 63, wanted UTF-8; these bytes are damaged",
    ),
    "half a UTF-16 character": (
        "\ufeffimage_id,caption\n1,狗\n2,猫".encode("utf-16-le")[:-1],
        "F, line 3: found bytes that are not UTF-16 at offset 48, wanted UTF-8; these bytes are damaged",
    ),
    "references": (
        AIC,
        "F: found references (format aic-icc), wanted predictions (format coco-results, jsonl, csv)",
    ),
}

BAD_REFERENCES: dict[str, tuple[Any, str]] = {
    "empty file": ("", f"F: found an empty file, {REFERENCE_FORMATS}"),
    "empty list": ([], "F: found no caption, wanted one or more captions"),
    "no list": (coco(annotations={}), "F, field 'annotations': found an object, wanted a list"),
    "no annotation": (coco(), "F: found no caption, wanted one or more captions"),
    "list twice": (
        '{"annotations": [], "annotations": [{"image_id": 7, "caption": "a"}]}',
        "F, field 'annotations': found the key more than once, wanted it once",
    ),
    "images no list": (coco(images=3), "F, field 'images': found 3, wanted a list"),
    "image no object": (coco(images=["a"]), 'F, image 1: found "a", wanted an object with named fields'),
    "image without id": (
        coco(images=[{"file_name": "a"}]),
        f"F, image 1, field 'id': found no such field, {ID}",
    ),
    "number twice": (
        coco(images=[{"id": 7, "file_name": "a"}, {"id": 7, "file_name": "b"}]),
        "F, image 2, field 'id': found '7' for a second file, wanted one number a file",
    ),
    "file twice": (
        coco(images=[{"id": 7, "file_name": "a"}, {"id": 9, "file_name": "a"}]),
        "F, image 2, field 'file_name': found 'a' under a second id, wanted one id a file",
    ),
    "unlisted image": (
        coco({"image_id": 8, "caption": "a"}),
        "F, annotation 1, field 'image_id': found '8', wanted an id of the list 'images'",
    ),
    "null annotation caption": (
        coco({"image_id": 7, "caption": None}),
        f"F, annotation 1, field 'caption': found null, {SENTENCE}",
    ),
    "same picture": (
        [AIC[0], AIC[0]],
        "F, record 2, field 'image_id': found 'a.jpg' a second time, wanted one record a picture",
    ),
    "no captions": (
        [AIC[0], {"image_id": "b", "caption": []}],
        "F, record 2, field 'caption': found an empty list, wanted a list of one or more strings",
    ),
    "one bare caption": (
        [AIC[0], {"image_id": "b", "caption": "猫"}],
        "F, record 2, field 'caption': found \"猫\", wanted a list of one or more strings",
    ),
    "empty caption of several": (
        [{"image_id": "b", "caption": ["猫", ""]}],
        f"F, record 1, field 'caption[1]': found an empty string, {SENTENCE}",
    ),
    "karpathy without sentences": (
        karpathy({"filename": "b.jpg"}),
        "F, image 2, field 'sentences': found no such field, wanted a list of one or more objects",
    ),
    "karpathy sentence": (
        karpathy({"filename": "b.jpg", "sentences": [{"tokens": ["一"]}]}),
        f"F, image 2, field 'sentences[0].raw': found no such field, {SENTENCE}",
    ),
    "karpathy number twice": (
        karpathy(
            {"filename": "b.jpg", "cocoid": 7, "sentences": [{"raw": "二"}]},
            {"filename": "c.jpg", "cocoid": 7, "sentences": [{"raw": "三"}]},
        ),
        "F, image 3, field 'cocoid': found '7' for a second file, wanted one number a file",
    ),
    "karpathy picture twice": (
        karpathy({"filename": "a.jpg", "sentences": [{"raw": "二"}]}),
        "F, image 2, field 'filename': found 'a.jpg' a second time, wanted one record a picture",
    ),
    "caption of a list": (
        [{"image_id": "a", "id": 1, "caption": "狗"}, {"image_id": "a", "id": 2, "caption": None}],
        f"F, record 2, field 'caption': found null, {SENTENCE}",
    ),
    "picture of a list": (
        [{"image_id": "a", "id": 1, "caption": "狗"}, {"image_id": [], "id": 2, "caption": "狗"}],
        f"F, record 2, field 'image_id': found an empty list, {ID}",
    ),
    "line without key": (
        "a.jpg#zhc#0 一只狗\n一只猫\n",
        'F, line 2: found "一只猫", wanted a key such as a.jpg#0, a tab or a space, and a caption',
    ),
    "line without caption": (
        "a.jpg#0\t一只狗\na.jpg#1\t\n",
        f"F, line 2, field 'caption': found null, {SENTENCE}",
    ),
    "key of a line twice": (
        "a.jpg#0\t一只狗\nb.jpg#0\t猫\na.jpg#0\t一只狗\n",
        "F, line 3, field 'key': found 'a.jpg#0' as on line 1, wanted a key for every caption",
    ),
    "caption of a line": (
        '{"image_id": 1, "caption": ["a"]}\n{"image_id": 1, "caption": 2}\n',
        f"F, line 2, field 'caption': found 2, {SENTENCE}",
    ),
    "predictions": (
        RESULTS,
        "F: found predictions (format coco-results), wanted references (format coco-captions, karpathy, aic",
    ),
}


@pytest.mark.parametrize(
    ("content", "message", "is_prediction"),
    [(*case, True) for case in BAD_PREDICTIONS.values()]
    + [(*case, False) for case in BAD_REFERENCES.values()],
    ids=[
        *(f"predictions, {name}" for name in BAD_PREDICTIONS),
        *(f"references, {name}" for name in BAD_REFERENCES),
    ],
)
def test_the_command_refuses_a_bad_file_with_the_place_on_one_line(
    write: Write, capsys: pytest.CaptureFixture[str], content: Any, message: str, is_prediction: bool
) -> None:
    path = str(write(content))
    Path("good").write_text(json.dumps(AIC if is_prediction else RESULTS), encoding="utf-8")
    assert main([path, "good"] if is_prediction else ["good", path]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"eval: {message}")
    assert err.count("\n") == 1


def test_all_problems_of_a_file_are_told_at_once(write: Write) -> None:
    content = [
        {"image_id": "a.jpg", "caption": "", "score": "high"},
        None,
        {"caption": "猫", "tags": [1, "狗", ""]},
        {"image_id": 1, "caption": "狗"},
        {"image_id": "1", "caption": ["狗"], "alternatives": [{"caption": None, "log_prob": "?"}]},
    ]
    with pytest.raises(AnnotationError) as caught:
        read_predictions(write(content))
    assert str(caught.value).splitlines() == [
        "10 problems:",
        "F, record 1, field 'caption': found an empty string, wanted a sentence",
        "F, record 1, field 'score': found \"high\", wanted a finite number",
        "F, record 2: found null, wanted an object with named fields",
        "F, record 3, field 'image_id': found no such field, wanted a file name or a whole number",
        "F, record 3, field 'tags[0]': found 1, wanted a sentence",
        "F, record 3, field 'tags[2]': found an empty string, wanted a sentence",
        "F, record 5, field 'caption': found a list, wanted a sentence",
        "F, record 5, field 'alternatives[0].caption': found null, wanted a sentence",
        "F, record 5, field 'alternatives[0].log_prob': found \"?\", wanted a finite number",
        "F, record 5, field 'image_id': found '1' a second time, wanted one caption a picture",
    ]


@pytest.mark.parametrize(
    ("content", "places"),
    [
        ("x.jpg#0 一\nwhat\nx.jpg#1 \nx.jpg#0 二", [2, 3, 4]),
        ('{"image_id": 1, "caption": ""}\n{"image_id"\n3\n{"caption": "a"}', [1, 2, 3, 4]),
        ('image_id,caption\n1,\n,a\n2,b,c\n"3,d', [2, 3, 4, 5]),
        (coco({"image_id": 7}, 3, {"image_id": 8, "caption": "a"}), [1, 2, 3]),
    ],
    ids=["caption lines", "jsonl", "csv", "coco"],
)
def test_every_format_is_read_to_its_end_before_it_is_refused(
    write: Write, content: Any, places: list[int]
) -> None:
    with pytest.raises(AnnotationError) as caught:
        read_references(write(content))
    assert [problem.record for problem in caught.value.problems] == places


def test_of_many_problems_the_text_shows_twenty_and_the_error_keeps_all(write: Write) -> None:
    with pytest.raises(AnnotationError) as caught:
        read_predictions(write([{"image_id": number} for number in range(1000)]))
    lines = str(caught.value).splitlines()
    assert (lines[0], len(lines)) == ("1000 problems, the first 20:", 21)
    assert len(caught.value.problems) == 1000


def test_a_broken_list_of_images_is_not_blamed_on_the_annotations(write: Write) -> None:
    content = coco({"image_id": 7, "caption": "a"}, images=[{"id": None, "file_name": "a.jpg"}])
    with pytest.raises(AnnotationError) as caught:
        read_references(write(content))
    assert [problem.part for problem in caught.value.problems] == ["image"]


def test_a_problem_has_its_parts(write: Write) -> None:
    path = write(result(caption=None))
    with pytest.raises(AnnotationError) as caught:
        read_predictions(path)
    (problem,) = caught.value.problems
    parts = (problem.path, problem.part, problem.record, problem.field, problem.found, problem.wanted)
    assert parts == (path, "record", 2, "caption", "null", "a sentence")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        AnnotationError, match="none.json: found no such file or directory, wanted a readable file"
    ):
        read_references(tmp_path / "none.json")


@pytest.mark.parametrize("caption", ["\x1b[31m狗", ["\x1b[31m狗"], {"\x1b[31m": 1}])
def test_control_characters_of_a_file_do_not_reach_the_terminal(write: Write, caption: Any) -> None:
    with pytest.raises(AnnotationError) as caught:
        read_predictions(write(result(tags=caption, score=caption, image_id=caption)))
    assert all(line.isprintable() for line in str(caught.value).splitlines())

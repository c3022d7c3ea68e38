"""Pre-training corpora of Oscar+ in their original files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from captioning.records import CaptionRecord, SecondText, read_caption_file, read_records
from eval.annotations import AnnotationError
from features.tags import LexiconError
from tests.captioning.corpus_files import LABELS, LINES, SETTINGS, write_corpus


def answer(text: str) -> SecondText:
    return SecondText(text=text, is_answer=True)


def tags(text: str) -> SecondText:
    return SecondText(text=text, is_answer=False)


def seconds(path: Path, which: str, lexicon: str = "zh") -> dict[str, tuple[SecondText | None, ...]]:
    found = read_caption_file(path, "train", tags=which, lexicon=lexicon)
    return {record.image_id: record.seconds for record in found.records}


def test_captions_and_questions_of_all_data_sets_become_records_of_their_pictures(tmp_path: Path) -> None:
    found = read_caption_file(write_corpus(tmp_path), "train")
    assert found.format == "oscar-corpus"
    assert found.notes == ()
    assert found.records == (
        CaptionRecord(
            image_id="42",
            captions=("一只狗在草地上", "草地上的狗", "狗在做什么？"),
            split="train",
            seconds=(None, None, answer("奔跑")),
        ),
        CaptionRecord(image_id="7", captions=("两个人在骑车",), split="train"),
        CaptionRecord(image_id="000123", captions=("海边的日落",), split="train"),
        CaptionRecord(
            image_id="99", captions=("猫是什么颜色？",), split="train", seconds=(answer("黑色 白色"),)
        ),
    )


def test_one_data_set_of_a_corpus_can_be_asked_for(tmp_path: Path) -> None:
    path = write_corpus(tmp_path)
    assert [r.image_id for r in read_records(Path(f"{path}#gqa"), "train")] == ["99"]
    assert [r.image_id for r in read_records(Path(f"{path}#googlecc+gqa"), "train")] == ["000123", "99"]


def test_tags_of_the_label_files_are_chinese_each_once_in_their_order(tmp_path: Path) -> None:
    found = read_caption_file(write_corpus(tmp_path), "train", tags="labels")
    assert {record.image_id: record.seconds for record in found.records} == {
        "42": (tags("狗 草地"), tags("狗 草地"), answer("奔跑")),
        "7": (tags("人 hovercraft"),),
        "000123": (),
        "99": (answer("黑色 白色"),),
    }
    assert found.notes == (
        "lexicon 'zh' has no word for 1 of 4 classes of objects (hovercraft): they keep their English names",
        "1 pictures have no tags in the label files; those of their regions are taken",
    )


def test_true_objects_go_before_detected_ones_where_they_are_asked_for(tmp_path: Path) -> None:
    found = seconds(write_corpus(tmp_path), "gt")
    assert found["42"][:2] == (tags("飞盘"), tags("飞盘"))
    assert found["7"] == (tags("人 hovercraft"),)


def test_tags_are_named_by_the_lexicon_that_is_given(tmp_path: Path) -> None:
    (tmp_path / "mine.json").write_text(json.dumps({"dog": "汪", "grass": "草", "person": "人", "cat": "喵"}))
    found = seconds(write_corpus(tmp_path), "labels", str(tmp_path / "mine.json"))
    assert found["42"][0] == tags("汪 草")
    with pytest.raises(LexiconError, match="no such lexicon file"):
        seconds(write_corpus(tmp_path), "labels", str(tmp_path / "none.json"))


def test_tags_of_the_regions_need_no_label_files(tmp_path: Path) -> None:
    path = write_corpus(tmp_path, labels={})
    assert [record.image_id for record in read_records(path, "train")] == ["42", "7", "000123", "99"]


def test_label_files_are_needed_of_pictures_with_captions_alone(tmp_path: Path) -> None:
    path = write_corpus(tmp_path, labels={"coco": LABELS["coco"]})
    found = read_caption_file(Path(f"{path}#coco+gqa"), "train", tags="gt")
    assert [record.image_id for record in found.records] == ["42", "7", "99"]
    with pytest.raises(AnnotationError) as caught:
        read_caption_file(path, "train", tags="gt")
    assert str(caught.value) == (
        f"{tmp_path}/labels/googlecc/predictions_gt.tsv: found no such file or directory, wanted the labels "
        "of the corpus's pictures"
    )


def test_places_of_lines_are_not_needed_and_not_believed(tmp_path: Path) -> None:
    path = write_corpus(tmp_path)
    before = seconds(path, "labels")
    for name in ("predictions_gt.lineidx", "QA_fileB.lineidx", "imageid2idx.json", "QA_qaid2idx.json"):
        (tmp_path / "labels" / "coco" / name).write_text("nonsense")
    assert seconds(path, "labels") == before


def test_lines_of_data_sets_that_the_corpus_does_not_name_are_counted(tmp_path: Path) -> None:
    path = write_corpus(tmp_path, lines=[*LINES, *[("oi_1_a", "oi_1_a", "一")] * 2, ("sbu_1", "sbu_1", "二")])
    assert read_caption_file(path, "train").notes == (
        f"{tmp_path / 'corpus.tsv'}: lines of data sets that 'corpus' does not name are passed over "
        "(oi: 2, sbu: 1)",
    )


def test_one_id_in_two_data_sets_is_refused_unless_one_of_them_is_asked_for(tmp_path: Path) -> None:
    path = write_corpus(tmp_path, lines=[*LINES, ("gqa_42", "gqa_42", "一只猫")])
    with pytest.raises(AnnotationError) as caught:
        read_records(path, "train")
    assert str(caught.value) == (
        f"{tmp_path / 'corpus.tsv'}: found picture ids that several data sets have (1: 42), wanted one data "
        f"set at a time, with its own regions: {path}#coco, {path}#googlecc, {path}#gqa"
    )
    assert len(read_records(Path(f"{path}#gqa"), "train")) == 2


def test_keys_that_nothing_is_done_with_are_said(tmp_path: Path) -> None:
    path = write_corpus(tmp_path, settings=SETTINGS + "img: x.tsv\nmax_chunks: 3\n")
    assert read_caption_file(path, "train").notes == (f"{path}: passes over the keys img, max_chunks",)


def test_answers_and_tags_are_shared_between_pairs(tmp_path: Path) -> None:
    lines = [("coco_42", "coco_qa_42_1337", f"第{number}问？") for number in range(3)]
    (record,) = read_records(write_corpus(tmp_path, lines=lines), "train")
    assert len({id(second) for second in record.seconds}) == 1


def test_all_problems_of_all_files_of_a_corpus_are_told_at_once(tmp_path: Path) -> None:
    lines = [
        ("coco_42", "coco_42", " "),
        ("coco_42", "coco_7", "一"),
        ("coco", "coco", "二"),
        ("coco_7",),
        ("coco_7", "gqa_7", "三"),
        ("coco_7", "coco_qa_7_404", "四？"),
        ("gqa_99", "gqa_qa_99_6", "五？"),
        ("coco_8", "coco_8", "六"),
        ("coco_9", "coco_9", "七"),
    ]
    path = write_corpus(
        tmp_path,
        lines=lines,
        labels={"coco": {**LABELS["coco"], "9": {"objects": [{"class": None}, "dog"]}}},
        answers={"coco": {"1": {"labels": ["是"]}}, "gqa": {"6": {"labels": []}}},
    )
    with pytest.raises(AnnotationError) as caught:
        read_caption_file(path, "train", tags="labels")
    told = str(caught.value).replace(f"{tmp_path}/", "").splitlines()
    assert told == [
        "10 problems:",
        "corpus.tsv, line 1, field 'text_a': found an empty string, wanted a sentence",
        "corpus.tsv, line 2, field 'label_key': found \"coco_7\", wanted a key of the picture '42' of coco",
        "corpus.tsv, line 3, field 'img_key': found \"coco\", wanted DATASET_…_PICTURE",
        "corpus.tsv, line 4: found 1 columns, wanted 3: img_key, label_key, text_a",
        "corpus.tsv, line 5, field 'label_key': found \"gqa_7\", wanted a key of the picture '7' of coco",
        "corpus.tsv, line 6, field 'label_key': found no line '404' in labels/coco/QA_fileB.tsv, wanted one "
        "with its answer",
        "labels/gqa/QA_fileB.tsv, line 1, field 'labels': found an empty list, wanted a list of one or more "
        "strings",
        'labels/coco/predictions_gt.tsv: found no line "8", wanted one with the labels of the picture',
        "labels/coco/predictions_gt.tsv, line 3, field 'objects[0].class': found null, wanted a sentence",
        "labels/coco/predictions_gt.tsv, line 3, field 'objects[1]': found \"dog\", wanted an object",
    ]

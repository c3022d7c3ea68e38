"""A pre-training corpus of Oscar+ in its original files: for tests only."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

LINES = (
    ("coco_train_42", "coco_train_42", "一只狗在草地上"),
    ("coco_train_42", "coco_train_42", "草地上的狗"),
    ("coco_7", "coco_7", "两个人在骑车"),
    ("coco_42", "coco_qa_42_1337", "狗在做什么？"),
    ("cc_3_000123", "cc_3_000123", "海边的日落"),
    ("gqa_99", "gqa_qa_99_5", "猫是什么颜色？"),
)
"""Captions and questions of three data sets, one of which is in chunks and called by its short name."""
COCO = ({"class": "dog", "rect": [0, 0, 9, 9], "conf": 0.9}, {"class": "grass", "rect": [0, 5, 9, 9]})
LABELS: dict[str, dict[str, Any]] = {
    "coco": {
        "42": {
            "image_h": 10,
            "image_w": 10,
            "objects": [*COCO, COCO[0]],
            "gt_objects": [{"class": "Frisbee"}],
        },
        "7": {"image_h": 10, "image_w": 10, "objects": [{"class": "person"}, {"class": "hovercraft"}]},
    },
    "googlecc": {"000123": {"image_h": 10, "image_w": 10, "objects": []}},
    "gqa": {"99": {"image_h": 10, "image_w": 10, "objects": [{"class": "cat"}]}},
}
ANSWERS: dict[str, dict[str, Any]] = {
    "coco": {"1337": {"labels": ["奔跑"]}},
    "gqa": {"5": {"labels": ["黑色", "白色"]}},
}
SETTINGS = """\
# as VinVL publishes it
corpus: coco_gqa_googlecc
corpus_file: corpus.tsv
image_label_path:
  coco: labels/coco
  gqa: labels/gqa
  googlecc: labels/googlecc
image_feature_path:
  coco: features/coco
  gqa: features/gqa
  googlecc: features/googlecc
"""


def write_corpus(
    folder: Path,
    *,
    settings: str = SETTINGS,
    lines: Sequence[Sequence[str]] = LINES,
    labels: Mapping[str, Mapping[str, Any]] = LABELS,
    answers: Mapping[str, Mapping[str, Any]] = ANSWERS,
) -> Path:
    """All files but the features; the path of the YAML file."""
    folder.mkdir(parents=True, exist_ok=True)
    write_rows(folder / "corpus.tsv", lines)
    for file, contents in (("predictions_gt.tsv", labels), ("QA_fileB.tsv", answers)):
        for data_set, rows in contents.items():
            path = folder / "labels" / data_set / file
            path.parent.mkdir(parents=True, exist_ok=True)
            write_rows(path, [(key, json.dumps(row, ensure_ascii=False)) for key, row in rows.items()])
    path = folder / "corpus.yaml"
    path.write_text(settings, encoding="utf-8")
    return path


def write_rows(path: Path, rows: Sequence[Sequence[str]]) -> None:
    path.write_text("".join("\t".join(row) + "\n" for row in rows), encoding="utf-8")

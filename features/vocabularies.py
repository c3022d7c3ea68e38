"""The class lists that detectors were trained with, in their publishers' order.

Class ids mean nothing without the list that their weights were trained with. The short lists of PASCAL VOC
and COCO stand here. Another is read from beside the weights where one lies there (fine-tuned models have
their own), and otherwise fetched once from where it is published, as weights are:

- Visual Genome's 1,600 objects and 400 attributes of bottom-up attention (Anderson et al., arXiv:1707.07998):
  a text file, one class a line; where a line names several words, separated by commas, the first is the name.
- VinVL's 1,594 objects and 524 attributes (Zhang et al., arXiv:2101.00529): one JSON file with the number of
  each name; number 0 is background.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from features.published import PublishedFile

__all__ = [
    "CLASS_LISTS",
    "COCO_CLASSES",
    "HUB",
    "SHORT_LISTS",
    "VOC_CLASSES",
    "ClassList",
    "load_vocabulary",
    "read_names",
]

VOC_CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable",
    "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
"""PASCAL VOC 2007, in its own order and spelling."""

COCO_CLASSES = (
    "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat", "traffic light",
    "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog", "horse", "sheep", "cow",
    "elephant", "bear", "zebra", "giraffe", "backpack", "umbrella", "handbag", "tie", "suitcase", "frisbee",
    "skis", "snowboard", "sports ball", "kite", "baseball bat", "baseball glove", "skateboard", "surfboard",
    "tennis racket", "bottle", "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple",
    "sandwich", "orange", "broccoli", "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch",
    "potted plant", "bed", "dining table", "toilet", "tv", "laptop", "mouse", "remote", "keyboard",
    "cell phone", "microwave", "oven", "toaster", "sink", "refrigerator", "book", "clock", "vase",
    "scissors", "teddy bear", "hair drier", "toothbrush",
)  # fmt: skip
"""COCO's 80 things, in the order of their ids, without the gaps."""

SHORT_LISTS = {"coco-80": COCO_CLASSES, "voc-20": VOC_CLASSES}
"""Lists that need no file, by vocabulary id."""

HUB = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
"""The Hugging Face hub, or the mirror of it that the user's environment names."""

_GENOME = "data/genome/1600-400-20"
_BOTTOM_UP = (
    f"https://raw.githubusercontent.com/peteanderson80/bottom-up-attention/master/{_GENOME}",
    f"https://raw.githubusercontent.com/airsplay/py-bottom-up-attention/master/demo/{_GENOME}",
)
_VINVL = f"{HUB}/michelecafagna26/vinvl_vg_x152c4/resolve/main/VG-SGG-dicts-vgoi6-clipped.json"


@dataclass(frozen=True, kw_only=True)
class ClassList(PublishedFile):
    """A published list of classes.

    Attributes:
        count: Classes in it, without background.
        table: Which table of a JSON file holds them; empty for a text file.
    """

    count: int
    table: str = ""


CLASS_LISTS: dict[str, ClassList] = {
    "vg-1600": ClassList(
        mirrors=tuple(f"{url}/objects_vocab.txt" for url in _BOTTOM_UP), size_mb=0.015, count=1600
    ),
    "vg-400-attributes": ClassList(
        mirrors=tuple(f"{url}/attributes_vocab.txt" for url in _BOTTOM_UP), size_mb=0.004, count=400
    ),
    "vinvl-1594": ClassList(mirrors=(_VINVL,), size_mb=0.109, count=1594, table="label_to_idx"),
    "vinvl-524-attributes": ClassList(mirrors=(_VINVL,), size_mb=0.109, count=524, table="attribute_to_idx"),
}
"""Published lists by vocabulary id."""


def load_vocabulary(vocabulary_id: str, beside: Path | None = None) -> tuple[str, ...]:
    """English class names in the order of their ids.

    Args:
        vocabulary_id: One of ``SHORT_LISTS`` or ``CLASS_LISTS``.
        beside: A weights file; a list of the published name in its folder goes before the published one.

    Raises:
        ValueError: An unknown vocabulary, or a file that is no such list.
        features.published.WeightsError: The list is not here and cannot be fetched; the message says what
            to put where.
    """
    if vocabulary_id in SHORT_LISTS:
        return SHORT_LISTS[vocabulary_id]
    if vocabulary_id not in CLASS_LISTS:
        known = ", ".join(sorted([*SHORT_LISTS, *CLASS_LISTS]))
        raise ValueError(f"unknown vocabulary {vocabulary_id!r}; choose from {known}")
    listed = CLASS_LISTS[vocabulary_id]
    own = beside.parent / listed.file_name if beside is not None else listed.path
    if own == listed.path or not own.is_file():
        own = listed.fetch(vocabulary_id, f"put it as {listed.file_name} beside the weights")
    return _read(own, listed)


def read_names(path: Path) -> tuple[str, ...]:
    """A user's own class list: a name a line, in the order of the ids.

    Raises:
        ValueError: It is not UTF-8.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8 ({error.reason} at byte {error.start})") from error
    return tuple(line.strip() for line in lines if line.strip())


def _read(path: Path, listed: ClassList) -> tuple[str, ...]:
    try:
        text = path.read_text(encoding="utf-8")
        names = _json_names(text, listed.table) if listed.table else _line_names(text)
    except (ValueError, KeyError, AttributeError) as error:  # JSON and UTF-8 errors are ValueErrors
        raise ValueError(f"{path}: not a class list ({error!r}); wanted is {listed.mirrors[0]}") from error
    if len(names) != listed.count or not all(names):
        raise ValueError(
            f"{path}: {len([name for name in names if name])} class names, wanted are {listed.count} as in "
            f"{listed.mirrors[0]}"
        )
    return names


def _line_names(text: str) -> tuple[str, ...]:
    return tuple(line.split(",")[0].strip().lower() for line in text.splitlines())


def _json_names(text: str, table: str) -> tuple[str, ...]:
    """Names by number, from 1 without gaps; 0 is background or none, where it is listed."""
    numbers = {int(number): str(name) for name, number in json.loads(text)[table].items() if int(number) > 0}
    if sorted(numbers) != list(range(1, len(numbers) + 1)):
        raise ValueError(f"the numbers of {table} have gaps")
    return tuple(numbers[number].strip().lower() for number in sorted(numbers))

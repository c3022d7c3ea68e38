"""Captions of a split, as training reads them."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from pathlib import Path

from eval.annotations import read_references


@dataclass(frozen=True, kw_only=True)
class CaptionRecord:
    """One picture and what people wrote about it."""

    image_id: str
    captions: tuple[str, ...]
    split: str


def read_records(path: Path, split: str) -> list[CaptionRecord]:
    """Records of an annotation file, in the file's order.

    Args:
        path: any format of references in ``eval.annotations.FORMATS``.
        split: a name for messages: "train", "validation".

    Raises:
        eval.annotations.AnnotationError: the file cannot be read, with path, record and field.
    """
    return [
        CaptionRecord(
            image_id=image_id,
            captions=tuple(unicodedata.normalize("NFC", caption.strip()) for caption in captions),
            split=split,
        )
        for image_id, captions in read_references(path).items()
    ]

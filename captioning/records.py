"""Captions of a split, as training reads them."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from pathlib import Path

from eval.annotations import read_references


@dataclass(frozen=True, kw_only=True, slots=True)
class SecondText:
    """What a pre-training pair says beside its caption or question, where a corpus has it."""

    text: str
    """An answer, or object tags separated by spaces."""
    is_answer: bool
    """Whether the first text is a question and this one its answer (arXiv:2101.00529)."""


@dataclass(frozen=True, kw_only=True)
class CaptionRecord:
    """One picture and what people wrote about it."""

    image_id: str
    captions: tuple[str, ...]
    """Captions, or questions, NFC."""
    split: str
    seconds: tuple[SecondText | None, ...] = ()
    """The second text of each caption, None where it is the tags of the regions; empty: all None."""

    def __post_init__(self) -> None:
        if self.seconds and len(self.seconds) != len(self.captions):
            raise ValueError(
                f"picture {self.image_id!r}: {len(self.captions)} captions, {len(self.seconds)} second texts"
            )

    def second(self, which: int) -> SecondText | None:
        """The second text of a caption; None: the tags of the picture's regions."""
        return self.seconds[which] if self.seconds else None


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

"""One picture and its texts: what every reader of training data gives, whatever the format."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass


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
    """The second text of each caption, None: the tags of the picture's regions; empty: all are None."""

    def __post_init__(self) -> None:
        if self.seconds and len(self.seconds) != len(self.captions):
            raise ValueError(
                f"picture {self.image_id!r}: {len(self.captions)} captions, {len(self.seconds)} second texts"
            )

    def second(self, which: int) -> SecondText | None:
        """The second text of a caption; None: the tags of the picture's regions."""
        return self.seconds[which] if self.seconds else None

    def texts(self) -> Iterator[tuple[str, SecondText | None]]:
        """Every caption with its second text."""
        for which, caption in enumerate(self.captions):
            yield caption, self.second(which)


class Gathered:
    """Texts of pictures in the order of a file, in which a picture's may lie apart."""

    def __init__(self) -> None:
        self._captions: dict[str, list[str]] = {}
        self._seconds: dict[str, list[SecondText | None]] = {}

    def __bool__(self) -> bool:
        return bool(self._captions)

    def add(self, image_id: str, caption: str, second: SecondText | None = None) -> None:
        """One more text of a picture."""
        self._captions.setdefault(image_id, []).append(unicodedata.normalize("NFC", caption.strip()))
        self._seconds.setdefault(image_id, []).append(second)

    def incomplete(self) -> Iterator[str]:
        """Pictures of which a text has no second one."""
        return (image_id for image_id, seconds in self._seconds.items() if None in seconds)

    def complete(self, image_id: str, second: SecondText) -> None:
        """Stand in for every second text that the picture does not have yet."""
        self._seconds[image_id] = [each or second for each in self._seconds[image_id]]

    def records(self, split: str) -> list[CaptionRecord]:
        """A record a picture, in the order in which they were first named."""
        return [
            CaptionRecord(
                image_id=image_id,
                captions=tuple(captions),
                split=split,
                seconds=tuple(self._seconds[image_id]) if any(self._seconds[image_id]) else (),
            )
            for image_id, captions in self._captions.items()
        ]

"""What is said of one picture, and what captions and references have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from app.build import PROTOCOL
from eval.overlap import overlap_marks
from eval.protocols import find_protocol
from eval.report_pictures import Piece, pieces
from eval.shown import shown


@dataclass(frozen=True, kw_only=True)
class Overlaps:
    """Texts in pieces, each with the length of the n-gram in common that it belongs to."""

    captions: tuple[tuple[Piece, ...], ...]
    """Each held against all references."""
    references: tuple[tuple[Piece, ...], ...]
    """Each held against all captions."""


@lru_cache(maxsize=256)
def overlaps(captions: tuple[str, ...], references: tuple[str, ...]) -> Overlaps:
    """Marks of the n-grams of up to four words that captions and references share."""
    said, people = _cut(captions), _cut(references)
    return Overlaps(captions=_pieces(said, people), references=_pieces(people, said))


_Cut = tuple[str, list[str]]
"""Text as it is shown, and its words."""


def _cut(texts: Sequence[str]) -> list[_Cut]:
    visible = [shown(text) for text in texts]
    return [(text, find_protocol(PROTOCOL).cut(text)) for text in visible]


def _pieces(texts: Sequence[_Cut], others: Sequence[_Cut]) -> tuple[tuple[Piece, ...], ...]:
    words = [other for _, other in others]
    return tuple(pieces(text, overlap_marks(text, tokens, words)) for text, tokens in texts)

"""What a caption and its references have in common, as marks on their characters.

A mark is a pair of positions and the length of the n-gram it stands for, never markup: a page, an app or a
terminal draws it as it likes.
"""

import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from eval.metrics import Tokens

LONGEST_N = 4
"""As in BLEU-4 and CIDEr."""


@dataclass(frozen=True)
class Mark:
    """Characters ``start`` to ``end`` (not included) of a text belong to an n-gram of ``n`` tokens."""

    start: int
    end: int
    n: int
    """Length of the longest n-gram in common that holds them: 1..4."""


def overlap_marks(text: str, tokens: Tokens, others: Sequence[Tokens]) -> tuple[Mark, ...]:
    """The parts of a text that stand in one of the others too, in order and apart from each other.

    Tokens share a mark if they stand in the same n-gram and in none that is longer; a mark of several
    tokens covers what lies between them. Tokens that the protocol has rewritten cannot be found in the text
    and carry no mark.

    Args:
        text: A caption or a reference, as it will be shown.
        tokens: Of the text, by the protocol of the score.
        others: Tokens of the references of a caption, or of the captions that a reference is held against.
    """
    lengths, joined = _longest_matches(tokens, others)
    marks: list[Mark] = []
    open_mark = False  # whether the next token may go on with the last mark
    for place, n, goes_on in zip(token_places(text, tokens), lengths, joined, strict=True):
        if place is None or not n:
            open_mark = False
            continue
        if marks and place[0] < marks[-1].end:  # the second token of one character: İ in lower case is two
            continue
        if open_mark and goes_on and marks[-1].n == n:
            marks[-1] = Mark(marks[-1].start, place[1], n)
        else:
            marks.append(Mark(*place, n))
        open_mark = True
    return tuple(marks)


def token_places(text: str, tokens: Tokens) -> list[tuple[int, int] | None]:
    """Where each token stands in its text: first character and the one after the last.

    A protocol may lower the case, compose accents and drop punctuation or white space before it cuts, so
    letters are compared decomposed and without case, and characters that no token holds count as absent. A
    token that is still not found, such as the ``-LRB-`` that stands for a bracket, has no place.
    """
    wanted = {letter for token in tokens for letter in _letters(token)}
    letters: list[str] = []
    origins: list[int] = []  # the character of the text that a letter comes from; ß gives two
    for position, character in enumerate(text):
        for letter in _letters(character):
            if letter in wanted:
                letters.append(letter)
                origins.append(position)
    searched = "".join(letters)
    places: list[tuple[int, int] | None] = []
    start = 0
    for token in tokens:
        folded = _letters(token)
        found = searched.find(folded, start)
        if found < 0:
            places.append(None)
            continue
        start = found + len(folded)
        places.append((origins[found], origins[start - 1] + 1))
    return places


def _letters(text: str) -> str:
    return unicodedata.normalize("NFD", text.casefold())


def _longest_matches(tokens: Tokens, others: Sequence[Tokens]) -> tuple[list[int], list[bool]]:
    """For each token, the longest n-gram in common (0: none) and whether one holds the token before too.

    An n-gram matches as often as one of the others has it, as BLEU counts. Longer n-grams take their tokens
    first, and what they have taken is no longer there for other places.
    """
    lengths = [0] * len(tokens)
    joined = [False] * len(tokens)
    for n in range(min(LONGEST_N, len(tokens)), 0, -1):
        left: Counter[tuple[str, ...]] = Counter()
        for other in others:
            left |= Counter(_ngrams(other, n))
        starts = range(len(tokens) - n + 1)
        # sorted keeps the order of the text among those that are taken, and among those that are not
        for start in sorted(starts, key=lambda start: 0 in lengths[start : start + n]):
            ngram = tuple(tokens[start : start + n])
            if left[ngram] <= 0:
                continue
            left[ngram] -= 1
            for position in range(start, start + n):
                lengths[position] = max(lengths[position], n)
            for position in range(start + 1, start + n):
                joined[position] = True
    return lengths, joined


def _ngrams(tokens: Tokens, n: int) -> list[tuple[str, ...]]:
    return [tuple(tokens[start : start + n]) for start in range(len(tokens) - n + 1)]

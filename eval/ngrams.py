"""The n-grams of captions and of human captions, counted once for BLEU and CIDEr.

Tokens are numbered in the order of their first appearance. An n-gram is the pair of two numbers, its first
n - 1 tokens' and its last token's, kept as one 64-bit key: sorting the keys of all sentences together brings
equal n-grams together and numbers them, exactly and for any n, without a Python object for each.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from eval.metrics import Tokens

MAX_N = 4
_LAST_BITS = 31
_LAST = (1 << _LAST_BITS) - 1

Ints = NDArray[np.signedinteger[Any]]
PLACE = np.int32
"""Of sentences, tokens and counts, of which none has 2 ** 31; with keys in 64 bits, half a million sentences
take a third less memory."""
Ngram = tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class DocumentFrequencies:
    """In how many pictures' references each n-gram occurs; the rarer, the more it weighs.

    Attributes:
        counts: N-gram of 1 to 4 tokens -> number of pictures.
        n_images: Pictures counted.
        protocol: What cut the references, by its name in `eval.protocols.PROTOCOLS`; captions cut by another
            one cannot be scored with these. Empty where the tokens were given.
    """

    counts: Mapping[Ngram, int]
    n_images: int
    protocol: str = ""

    def __post_init__(self) -> None:
        most = max(self.counts.values(), default=0)
        if self.n_images < most:
            raise ValueError(f"an n-gram occurs in {most} pictures, but n_images is {self.n_images}")

    @classmethod
    def of(cls, references: Sequence[Sequence[Tokens]], protocol: str = "") -> "DocumentFrequencies":
        """Counts the n-grams of each picture once, whether one of its references holds them or several."""
        counts: Counter[Ngram] = Counter()
        for sentences in references:
            counts.update(set(chain.from_iterable(map(_ngrams, sentences))))
        return cls(counts=counts, n_images=len(references), protocol=protocol)


@dataclass(frozen=True, kw_only=True, slots=True)
class Ngrams:
    """The n-grams of one length: K distinct ones; E, if one counts once for each sentence that holds it.

    Attributes:
        keys: (K,) ascending. The index of an n-gram is its number.
        example: (K,) where an occurrence begins in `Sentences.tokens`.
        number: (E,) ascending.
        sentence: (E,) ascending for each number.
        count: (E,) how often the sentence holds the n-gram.
        start: (E,) where its first occurrence in the sentence begins.
    """

    keys: Ints
    example: Ints
    number: Ints
    sentence: Ints
    count: Ints
    start: Ints


class Sentences:
    """S sentences and their n-grams.

    Attributes:
        tokens: Of all sentences, one after the other.
        lengths: (S,) tokens of each.
        vocabulary: Token -> number.
        ngrams: Of 1 to 4 tokens.
    """

    def __init__(self, sentences: Sequence[Tokens]) -> None:
        self.tokens = list(chain.from_iterable(sentences))
        self.lengths = np.fromiter(map(len, sentences), np.int64, len(sentences))
        self.vocabulary: dict[str, int] = _Numbers()
        self.ngrams = tuple(self._count())

    def __len__(self) -> int:
        return len(self.lengths)

    def _count(self) -> Iterator[Ngrams]:
        token = np.fromiter(map(self.vocabulary.__getitem__, self.tokens), PLACE, len(self.tokens))
        sentence = np.repeat(np.arange(len(self), dtype=PLACE), self.lengths)
        ends = self.lengths.cumsum(dtype=PLACE)
        # tokens from here to the sentence's end
        left = np.repeat(ends, self.lengths) - np.arange(len(token), dtype=PLACE)
        # of the n-gram that begins at each token, so far of the empty one
        number = np.zeros(len(token), np.int64)
        for n in range(1, MAX_N + 1):
            start = np.flatnonzero(left >= n)
            keys = number[start] << _LAST_BITS | token[start + n - 1]
            order = keys.argsort(kind="stable")  # equal n-grams stay in the order of sentences
            start, keys = start[order], keys[order]
            is_new = _changes(keys)
            number[start] = is_new.cumsum() - 1
            first = np.flatnonzero(is_new | _changes(sentence[start]))
            yield Ngrams(
                keys=keys[is_new],
                example=start[is_new],
                number=number[start[first]],
                sentence=sentence[start[first]],
                count=np.diff(first, append=len(start)).astype(PLACE),
                start=start[first].astype(PLACE),
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class Held:
    """Which pictures' references hold which n-grams of one length: U pairs of an n-gram and a picture.

    Attributes:
        pairs: (U,) ascending, number of the n-gram x pictures + picture.
        first: (U + 1,) where the references of a pair begin among the E of `Ngrams`; the last is E.
        n_pictures: (K,) for each n-gram.
    """

    pairs: Ints
    first: Ints
    n_pictures: Ints


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """Where the n-grams of captions, of one length, occur among the references.

    Attributes:
        number: (K,) of each distinct n-gram, its number among the references' n-grams; -1 if none holds it.
        pair: (E,) of each n-gram with its caption's picture, index in `Held.pairs`; -1 if no reference of
            that picture holds it.
    """

    number: Ints
    pair: Ints


class References(Sequence[Sequence[Tokens]]):
    """The human captions of N pictures, prepared once for any number of scores.

    Attributes:
        document_frequencies: By which CIDEr weighs n-grams, if not by those of the references.
        sizes: (N,) captions of each picture.
        first: (N,) its first sentence.
    """

    def __init__(
        self,
        pictures: Sequence[Sequence[Tokens]],
        document_frequencies: DocumentFrequencies | None = None,
    ) -> None:
        for index, sentences in enumerate(pictures):
            if not sentences:
                raise ValueError(f"picture {index} has no reference; wanted one or more")
        self._pictures = pictures
        self.document_frequencies = document_frequencies
        self.sizes = np.fromiter(map(len, pictures), np.int64, len(pictures))
        self.first = self.sizes.cumsum() - self.sizes

    @classmethod
    def of(cls, pictures: Sequence[Sequence[Tokens]]) -> "References":
        """The same where they are prepared already."""
        return pictures if isinstance(pictures, References) else cls(pictures)

    def __len__(self) -> int:
        return len(self._pictures)

    @overload
    def __getitem__(self, index: int) -> Sequence[Tokens]: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Sequence[Tokens]]: ...
    def __getitem__(self, index: int | slice) -> Sequence[Tokens] | Sequence[Sequence[Tokens]]:
        return self._pictures[index]

    @cached_property
    def sentences(self) -> Sentences:
        """The references of all pictures, one after the other."""
        return Sentences([tokens for sentences in self._pictures for tokens in sentences])

    @cached_property
    def held(self) -> tuple[Held, ...]:
        """For n-grams of 1 to 4 tokens."""
        picture = np.repeat(np.arange(len(self)), self.sizes)  # of each sentence
        return tuple(self._hold(ngrams, picture) for ngrams in self.sentences.ngrams)

    def _hold(self, ngrams: Ngrams, picture: Ints) -> Held:
        pairs = ngrams.number * len(self) + picture[ngrams.sentence]
        first = np.flatnonzero(_changes(pairs))
        return Held(
            pairs=pairs[first],
            first=np.append(first, len(pairs)).astype(PLACE),
            n_pictures=np.bincount(ngrams.number[first], minlength=len(ngrams.keys)),
        )

    def find(self, candidates: Sentences, pictures: Ints) -> Iterator[Found]:
        """Look up the n-grams of captions, of 1 token, of 2, and so on.

        Args:
            candidates: Captions.
            pictures: (S,) the picture of each.
        """
        known = self.sentences.vocabulary
        token = np.array([known.get(token, -1) for token in candidates.vocabulary], np.int64)
        number = np.zeros(1, np.int64)  # of the empty n-gram, with which all others begin
        for theirs, ours, held in zip(candidates.ngrams, self.sentences.ngrams, self.held, strict=True):
            before, last = number[theirs.keys >> _LAST_BITS], token[theirs.keys & _LAST]
            keys = np.where((before < 0) | (last < 0), -1, before << _LAST_BITS | last)
            number = _find(keys, ours.keys)
            numbers = number[theirs.number]
            pairs = np.where(numbers < 0, -1, numbers * len(self) + pictures[theirs.sentence])
            yield Found(number=number, pair=_find(pairs, held.pairs))


def _ngrams(tokens: Tokens) -> list[Ngram]:
    shifted = [tokens[start:] for start in range(MAX_N)]
    return [ngram for n in range(1, MAX_N + 1) for ngram in zip(*shifted[:n], strict=False)]


class _Numbers(dict[str, int]):
    """Gives each new token the next number."""

    def __missing__(self, token: str) -> int:
        self[token] = number = len(self)
        return number


def _changes(values: Ints) -> NDArray[np.bool_]:
    """Where a value differs from the one before it; the first does."""
    changes = np.ones(len(values), np.bool_)
    np.not_equal(values[1:], values[:-1], out=changes[1:])
    return changes


def _find(wanted: Ints, among: Ints) -> Ints:
    """Index of each wanted value among ascending ones; -1 where it is missing."""
    if not len(among):
        return np.full(len(wanted), -1)
    index = np.minimum(among.searchsorted(wanted), len(among) - 1)
    return np.where(among[index] == wanted, index, -1)

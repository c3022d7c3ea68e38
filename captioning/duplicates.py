"""Texts that were there before, word for word or nearly. The first one is kept, whatever the hash seed.

What they remember grows with the texts they keep, and so bounds the corpus: about 100 bytes a text for exact
ones, 5,000 more for near ones at the default similarity.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datasketch import MinHash

GRAM = 3
"""Characters of a gram: about one and a half Chinese words."""
PERMUTATIONS = 128
SEED = 88


class ExactDuplicates:
    """Remembers texts by hashes of 128 bits, which no two of a billion texts share by chance."""

    def __init__(self) -> None:
        self._seen: set[bytes] = set()

    def find(self, text: str, *among: str) -> str | None:
        """The equal text that came before; None where there was none, and then this one is remembered.

        Args:
            text: The text.
            among: What names the group it is of: only texts of one group are compared.
        """
        group = "".join(f"{len(name)}:{name}" for name in among)  # lengths: no two groups are written alike
        digest = hashlib.blake2b((group + text).encode(), digest_size=16).digest()
        if digest in self._seen:
            return text
        self._seen.add(digest)
        return None


class NearDuplicates:
    """Remembers texts to find later ones that share most of their character 3-grams with one of them.

    MinHash with locality-sensitive hashing (Mining of Massive Datasets, chapter 3) names the candidates and
    may miss some; each is then compared gram by gram, so nothing is taken for alike that is not.
    """

    def __init__(self, similarity: float) -> None:
        """Remember nothing yet.

        Args:
            similarity: Least Jaccard index of the two sets of grams, above 0 and below 1.

        Raises:
            ModuleNotFoundError: datasketch is not installed.
        """
        try:
            from datasketch import MinHash, MinHashLSH
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                "near-duplicates need datasketch: pip install 'tushuo[cleaning]', or duplicates=exact"
            ) from error
        self.similarity = similarity
        self._empty = MinHash(num_perm=PERMUTATIONS, seed=SEED)
        # A candidate too many costs a comparison, one too few is a duplicate kept: hence the weights.
        self._index = MinHashLSH(threshold=similarity, num_perm=PERMUTATIONS, weights=(0.1, 0.9))
        self._kept: list[str] = []

    def find(self, text: str) -> str | None:
        """The first text before that is alike; None where there was none, and then this one is remembered."""
        grams = grams_of(text)
        sketch = self._sketch(grams)
        for place in sorted(self._index.query(sketch)):
            if jaccard(grams, grams_of(self._kept[place])) >= self.similarity:
                return self._kept[place]
        self._index.insert(len(self._kept), sketch, check_duplication=False)
        self._kept.append(text)
        return None

    def _sketch(self, grams: set[str]) -> MinHash:
        sketch = self._empty.copy()
        sketch.update_batch([gram.encode() for gram in grams])
        return sketch


class NearDuplicatesAmong:
    """`NearDuplicates` within groups, each of them small: the texts of a picture.

    Every text is compared with all that were kept of its group, so none is missed.
    """

    def __init__(self, similarity: float) -> None:
        """Remember nothing yet.

        Args:
            similarity: Least Jaccard index of the two sets of grams, above 0 and below 1.
        """
        self.similarity = similarity
        self._kept: dict[tuple[str, ...], list[str]] = {}

    def find(self, text: str, *among: str) -> str | None:
        """The first text before that is alike; None where there was none, and then this one is remembered.

        Args:
            text: The text.
            among: What names the group it is of.
        """
        grams = grams_of(text)
        kept = self._kept.setdefault(among, [])
        for other in kept:
            if jaccard(grams, grams_of(other)) >= self.similarity:
                return other
        kept.append(text)
        return None


def grams_of(text: str) -> set[str]:
    """The 3-grams of a text; of a shorter one, the text."""
    return {text[start : start + GRAM] for start in range(max(len(text) - GRAM + 1, 1))}


def jaccard(first: set[str], second: set[str]) -> float:
    """Share of common grams among all of both, 0 to 1."""
    return len(first & second) / len(first | second)

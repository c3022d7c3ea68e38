"""CIDEr-D (arXiv:1411.5726, section 5.2): consensus of a caption with the human captions of its picture.

A caption is compared with each reference of its picture by the cosine of their tf-idf weighted n-grams, for n
of 1 to 4. An n-gram counts no more often than the reference holds it (clipping), and a caption of another
length is punished by a Gaussian of sigma 6. The score is the mean over n and references, times ten: 0 to 10.
This is what the COCO server and pycocoevalcap compute and call CIDEr.

`CiderD` prepares references once and then scores any number of captions: as the metric of `eval.metrics`, and
as the reward of self-critical training.
"""

import math
import operator
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

Tokens = list[str]
Ngram = tuple[str, ...]

MAX_N = 4
SIGMA = 6.0
SCALE = 10.0

END = "<eos>"
"""Token that closes captions and references where CIDEr-D is a reward. Without it, captions that break off
("a man riding a") are rewarded for n-grams they did not complete (arXiv:2305.12254)."""


@dataclass(frozen=True, kw_only=True)
class DocumentFrequencies:
    """In how many pictures' references each n-gram occurs; the rarer, the more it weighs.

    Attributes:
        counts: N-gram of 1 to 4 tokens -> number of pictures.
        n_images: Pictures counted.
        segmenter: What cut the references, by its name in `eval.segmenters.SEGMENTERS`; captions cut by
            another one cannot be scored with these. Empty where the tokens were given.
    """

    counts: Mapping[Ngram, int]
    n_images: int
    segmenter: str = ""

    def __post_init__(self) -> None:
        most = max(self.counts.values(), default=0)
        if self.n_images < most:
            raise ValueError(f"an n-gram occurs in {most} pictures, but n_images is {self.n_images}")

    @classmethod
    def of(cls, references: Sequence[Sequence[Tokens]], segmenter: str = "") -> "DocumentFrequencies":
        """Counts the n-grams of each picture once, whether one of its references holds them or several."""
        counts: Counter[Ngram] = Counter()
        for sentences in references:
            counts.update({ngram for tokens in sentences for counted in _ngrams(tokens) for ngram in counted})
        return cls(counts=counts, n_images=len(references), segmenter=segmenter)

    @cached_property
    def idf(self) -> list[float]:
        """Weight of an n-gram by the number of its pictures; one never seen weighs as one seen once."""
        return [math.log(max(1, self.n_images) / max(1, count)) for count in range(self.n_images + 1)]


def original_reward_tokens(text: str) -> Tokens:
    """What the original Oscar makes of captions and references before CIDEr-D rewards.

    One ASCII full stop at the end goes, `END` is appended, white space separates. Chinese captions must
    therefore come with spaces between their tokens, and keep a closing 。
    """
    return [*text.strip().removesuffix(".").split(), END]


class CiderD:
    """Scores captions of known pictures, about 15,000 a second on one core.

    The references are prepared once. A picture with five of them takes about 70 kB: where all pictures of a
    training set are too many, give ``document_frequencies`` and prepare those of a batch at a time.
    """

    def __init__(
        self,
        references: Sequence[Sequence[Tokens]],
        document_frequencies: DocumentFrequencies | None = None,
    ) -> None:
        """Weighs the n-grams of every reference.

        Args:
            references: One or more sentences for each picture.
            document_frequencies: Of other pictures, such as a training set's. Without them they are counted
                in ``references`` ("corpus" mode of other programs): the score of a caption then depends on
                the whole set, and is 0 where there is only one picture.

        Raises:
            ValueError: A picture has no reference.
        """
        frequencies = document_frequencies or DocumentFrequencies.of(references)
        self._counts, self._idf = frequencies.counts, frequencies.idf
        self._pictures = [self._prepare(index, sentences) for index, sentences in enumerate(references)]

    def score(self, candidates: Sequence[Tokens], pictures: Sequence[int] | None = None) -> list[float]:
        """CIDEr-D of each caption, in 0 to 10; an empty caption scores 0.

        Args:
            candidates: Captions, cut as the references were.
            pictures: Index of the picture of each caption; as many captions of one picture as wanted.
                Without it, caption i is of picture i, and there is one for each picture.

        Raises:
            ValueError: As many captions as pictures were wanted, and that is not what came.
        """
        chosen = range(len(self._pictures)) if pictures is None else pictures
        if len(chosen) != len(candidates):
            raise ValueError(f"{len(candidates)} captions for {len(chosen)} pictures; wanted one for each")
        return [
            self._score(tokens, self._pictures[index])
            for tokens, index in zip(candidates, chosen, strict=True)
        ]

    def _prepare(self, index: int, sentences: Sequence[Tokens]) -> "_Picture":
        if not sentences:
            raise ValueError(f"picture {index} has no reference; CIDEr-D compares with one or more")
        holders: dict[Ngram, list[_Holder]] = {}
        for row, tokens in enumerate(sentences):
            for counted in _ngrams(tokens):
                idf = [self._idf[self._counts.get(ngram, 0)] for ngram in counted]
                norm = math.hypot(*map(operator.mul, counted.values(), idf))
                for (ngram, count), weight in zip(counted.items(), idf, strict=True):
                    if weight:
                        holders.setdefault(ngram, []).append((row, count, weight**2 * count / norm))
        return _Picture(holders=holders, lengths=tuple(len(tokens) for tokens in sentences))

    def _score(self, tokens: Tokens, picture: "_Picture") -> float:
        lengths, holders, counts, idf = picture.lengths, picture.holders, self._counts, self._idf
        cosines = [0.0] * len(lengths)  # summed over n, one for each reference
        for counted in _ngrams(tokens):
            norm = math.hypot(*[count * idf[counts.get(ngram, 0)] for ngram, count in counted.items()])
            for ngram, count in counted.items():
                for row, held, weight in holders.get(ngram, ()):
                    cosines[row] += min(count, held) * weight / norm
        total = sum(
            cosine * math.exp(-((len(tokens) - length) ** 2) / (2 * SIGMA**2))
            for cosine, length in zip(cosines, lengths, strict=True)
        )
        return SCALE * total / (MAX_N * len(lengths))


_Holder = tuple[int, int, float]
"""A reference's row, how often it holds an n-gram, and idf^2 x that number / the reference's norm."""


@dataclass(frozen=True, slots=True)
class _Picture:
    holders: dict[Ngram, list[_Holder]]
    """N-gram -> the references that hold it."""
    lengths: tuple[int, ...]
    """Tokens of each reference."""


def _ngrams(tokens: Tokens) -> list[Counter[Ngram]]:
    """How often each n-gram occurs, for n of 1 to 4."""
    shifted = [tokens[start:] for start in range(MAX_N)]
    return [Counter(zip(*shifted[:n], strict=False)) for n in range(1, MAX_N + 1)]

"""CIDEr (arXiv:1411.5726): consensus of a caption with the human captions of its picture.

A caption is compared with each reference of its picture by the cosine of their tf-idf weighted n-grams, for n
of 1 to 4; the score is the mean over n and references. `Cider` is that (equations 1 to 3). `CiderD` (section
5.2) is harder to game: an n-gram counts no more often than the reference holds it (clipping), and a caption
of another length is punished by a Gaussian of sigma 6. CIDEr-D is what the COCO server and pycocoevalcap
compute and call CIDEr. Both are given times ten, 0 to 10, as there. Tokens count as they are, not stemmed.

Both prepare references once and then score any number of captions: as metrics, and `CiderD` as the reward of
self-critical training.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from eval.metrics import Score, Tokens
from eval.ngrams import MAX_N, DocumentFrequencies, Found, Held, Ints, References, Sentences

Floats = NDArray[np.float64]

SIGMA = 6.0
SCALE = 10.0

END = "<eos>"
"""Token that closes captions and references where CIDEr-D is a reward. Without it, captions that break off
("a man riding a") are rewarded for n-grams they did not complete (arXiv:2305.12254)."""


def cider(candidates: Sequence[Tokens], references: Sequence[Sequence[Tokens]]) -> Score:
    """CIDEr as the COCO server computes it, which is CIDEr-D.

    Words are weighted by how few pictures' references hold them: a single picture scores 0 whatever its
    caption, and a score depends on the whole set that was scored.
    """
    return Score.of_means({"cider": CiderD(references).score(candidates)})


def cider_unclipped(candidates: Sequence[Tokens], references: Sequence[Sequence[Tokens]]) -> Score:
    """CIDEr as the paper first defines it, without clipping and length penalty; times ten."""
    return Score.of_means({"cider-unclipped": Cider(references).score(candidates)})


def original_reward_tokens(text: str) -> Tokens:
    """What the original Oscar makes of captions and references before CIDEr-D rewards.

    One ASCII full stop at the end goes, `END` is appended, white space separates. Chinese captions must
    therefore come with spaces between their tokens, and keep a closing 。
    """
    return [*text.strip().removesuffix(".").split(), END]


class Cider:
    """CIDEr of captions of known pictures.

    The references are prepared once, N pictures with S of them. Where all pictures of a training set are too
    many to be kept (a picture with five references takes about 10 kB), give ``document_frequencies`` and
    prepare those of a batch at a time.
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
                in ``references`` ("corpus" mode of other programs), unless these came with their own: the
                score of a caption then depends on the whole set, and is 0 where there is only one picture.

        Raises:
            ValueError: A picture has no reference.
        """
        self._references = References.of(references)
        self._frequencies = document_frequencies or self._references.document_frequencies
        self._n_images = self._frequencies.n_images if self._frequencies else len(references)
        known = self._references.sentences
        self._weights: list[Floats] = []  # one for each n-gram of each reference
        for n, (ngrams, held) in enumerate(zip(known.ngrams, self._references.held, strict=True), 1):
            idf = self._idf(known, n, held.n_pictures)[ngrams.number]
            norms = _norms(ngrams.count * idf, ngrams.sentence, len(known))
            self._weights.append(idf**2 * ngrams.count / norms[ngrams.sentence])

    def score(self, candidates: Sequence[Tokens], pictures: Sequence[int] | None = None) -> list[float]:
        """The score of each caption, in 0 to 10; an empty caption scores 0.

        Args:
            candidates: C captions, cut as the references were.
            pictures: Index of the picture of each caption; as many captions of one picture as wanted.
                Without it, caption i is of picture i, and there is one for each picture.

        Raises:
            ValueError: As many captions as pictures were wanted, and that is not what came.
        """
        chosen = range(len(self._references)) if pictures is None else pictures
        if len(chosen) != len(candidates):
            raise ValueError(f"{len(candidates)} captions for {len(chosen)} pictures; wanted one for each")
        captions, picture = Sentences(candidates), np.asarray(chosen, np.int64)  # (C,)
        # A row for each caption and each reference of its picture: R of them.
        n_rows = self._references.sizes[picture]
        first_row = n_rows.cumsum() - n_rows
        caption = np.repeat(np.arange(len(captions)), n_rows)  # (R,)
        to_row = first_row - self._references.first[picture]  # (C,) what leads from a reference to its row
        reference = np.arange(len(caption)) - to_row[caption]  # (R,)

        cosines = np.zeros(len(caption))  # summed over n
        for n, found in enumerate(self._references.find(captions, picture), 1):
            own, theirs, products = self._products(captions, found, n)
            cosines += np.bincount(to_row[own] + theirs, products, minlength=len(cosines))
        longer = captions.lengths[caption] - self._references.sentences.lengths[reference]
        totals = np.bincount(caption, cosines * self._likeness(longer), minlength=len(captions))
        return (SCALE * totals / (MAX_N * n_rows)).tolist()

    def _products(self, captions: Sentences, found: Found, n: int) -> tuple[Ints, Ints, Floats]:
        """What the n-grams of captions add to the cosines.

        Returns:
            Each (M,): caption, reference of its picture, product of the weights of an n-gram that both hold.
        """
        ngrams, references = captions.ngrams[n - 1], self._references.sentences.ngrams[n - 1]
        held = self._references.held[n - 1]
        n_pictures = np.append(held.n_pictures, 0)[found.number]  # the last is for those never seen, -1
        idf = self._idf(captions, n, n_pictures)[ngrams.number]
        # In the order of the text, so that a sum ends in the same bits whatever else is scored.
        order = ngrams.start.argsort()
        norms = _norms((ngrams.count * idf)[order], ngrams.sentence[order], len(captions))
        own, theirs = _meetings(order[found.pair[order] >= 0], found.pair, held)
        overlap = self._overlap(ngrams.count[own], references.count[theirs])
        caption = ngrams.sentence[own]
        products = overlap * self._weights[n - 1][theirs] / norms[caption]
        return caption, references.sentence[theirs], products

    def _overlap(self, count: Ints, held: Ints) -> Ints:
        """How often an n-gram of a caption counts for a reference, from how often each holds it."""
        return count

    def _likeness(self, longer: Ints) -> Floats:
        """Factor for a caption that is so many tokens longer than a reference."""
        return np.ones(len(longer))

    def _idf(self, sentences: Sentences, n: int, n_pictures: Ints) -> Floats:
        """(K,) weight of each distinct n-gram; one never seen weighs as one seen once.

        Args:
            sentences: Which hold them.
            n: Their length.
            n_pictures: (K,) in how many pictures' references they occur.
        """
        if self._frequencies:
            counts, tokens = self._frequencies.counts, sentences.tokens
            examples = sentences.ngrams[n - 1].example.tolist()
            n_pictures = np.array([counts.get(tuple(tokens[at : at + n]), 0) for at in examples], np.int64)
        return np.log(max(1, self._n_images) / np.maximum(1, n_pictures))


class CiderD(Cider):
    """CIDEr-D of captions of known pictures; see `Cider`."""

    def _overlap(self, count: Ints, held: Ints) -> Ints:
        return np.minimum(count, held)

    def _likeness(self, longer: Ints) -> Floats:
        return np.exp(longer**2 / (-2 * SIGMA**2))


def _norms(weights: Floats, sentence: Ints, n_sentences: int) -> Floats:
    """Euclidean norm of each sentence's weights; 1 where all are 0, for they are divided by it."""
    norms = np.sqrt(np.bincount(sentence, weights**2, minlength=n_sentences))
    norms[norms == 0] = 1
    return norms


def _meetings(entry: Ints, pair: Ints, held: Held) -> tuple[Ints, Ints]:
    """Every n-gram of a caption with every reference of its picture that holds it.

    Args:
        entry: Indices of the n-grams that meet one.
        pair: (E,) what they meet, as `eval.ngrams.Found` has it.
        held: The references' side.

    Returns:
        Index among the captions' n-grams and among the references', both (M,).
    """
    first = held.first[pair[entry]]
    n_holders = held.first[pair[entry] + 1] - first
    before = n_holders.cumsum() - n_holders
    holder = np.arange(n_holders.sum()) + np.repeat(first - before, n_holders)
    return np.repeat(entry, n_holders), holder

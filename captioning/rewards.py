"""The reward of self-critical training: CIDEr-D of any captions of the training pictures."""

from __future__ import annotations

from collections.abc import Sequence

from captioning.folders import sha256_of
from captioning.frequencies import read_frequencies, reward_protocol, reward_tokens
from captioning.records import CaptionRecord
from captioning.scst_config import ScstConfig
from eval.cider import CiderD
from eval.ngrams import DocumentFrequencies
from eval.segmentation import SegmentationCache, already_cut


class Rewards:
    """CIDEr-D, 0 to 10, of captions against all human captions of their pictures.

    Captions and references end in ``eval.cider.END``. The human captions are cut once, here; their n-grams
    are weighed once for the pictures of a step, for those of a whole training set fill gigabytes.
    """

    def __init__(self, records: Sequence[CaptionRecord], config: ScstConfig) -> None:
        """Cuts the human captions, and reads or counts document frequencies.

        Raises:
            ValueError: the segmenter is unknown, or the document frequencies are not for it.
        """
        self.protocol = reward_protocol(config.segmenter)
        given = config.frequencies
        read = None if given is None else read_frequencies(given, self.protocol)
        texts = [caption for record in records for caption in record.captions]
        cut = already_cut(self.protocol, [texts], known=SegmentationCache.of_user())
        self.references = {record.image_id: reward_tokens(cut, record.captions) for record in records}
        self.frequencies = read or DocumentFrequencies.of([*self.references.values()], self.protocol.name)
        self.identity = [
            self.protocol.name,
            self.protocol.version(),
            "" if given is None else sha256_of(given),
        ]
        """What decides the rewards besides the captions."""

    def __str__(self) -> str:
        """One line for the log."""
        return (
            f"rewards: CIDEr-D on {self.protocol.unit} (protocol {self.protocol.name}, "
            f"{self.protocol.version()}), document frequencies of {self.frequencies.n_images} pictures"
        )

    def score(self, image_ids: Sequence[str], captions: Sequence[Sequence[str]]) -> list[list[float]]:
        """Rewards of the captions of each picture, in order; one without a word gets 0."""
        scorer = CiderD([self.references[image_id] for image_id in image_ids], self.frequencies)
        texts = [text for of_picture in captions for text in of_picture]
        pictures = [row for row, of_picture in enumerate(captions) for _ in of_picture]
        distinct = list(dict.fromkeys(texts))  # the samples of a good captioner are often equal
        tokens = dict(zip(distinct, reward_tokens(self.protocol, distinct), strict=True))
        scores = iter(scorer.score([tokens[text] for text in texts], pictures))
        return [[next(scores) for _ in of_picture] for of_picture in captions]

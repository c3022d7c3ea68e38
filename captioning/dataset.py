"""Captioned pictures with their regions, and padded batches of both.

Which captions, masks and swaps a picture's turn brings is a function of the seed and the turn alone, and
``captioning.schedule`` says whose turns a step holds: a batch is never the result of the batches before it,
so a run may stop and go on anywhere, in any number of processes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from captioning.batches import (
    Batch,
    CaptionBatch,
    PairBatch,
    PrefixBatch,
    SampleBatch,
    collate_captions,
    collate_pairs,
    collate_prefix,
)
from captioning.config import Objective, TrainConfig
from captioning.examples import (
    CaptionExample,
    Match,
    PairExample,
    PrefixExample,
    Stream,
    caption_pieces,
    choose_captions,
    cut_pair,
    dense_example,
    draw_match,
    draw_other,
    draws,
    pair_example,
    region_rows,
    sparse_example,
    tag_pieces,
)
from captioning.limits import Limits
from captioning.precision import side_processes
from captioning.records import CaptionRecord
from captioning.schedule import Item
from captioning.tokenizer import CaptionTokenizer
from features.store import Regions, RegionStore
from features.tags import Lexicon

DONOR_DRAWS = 10
"""microsoft/Oscar, datasets/oscar_tsv.py."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """One data set: captions with their regions."""

    records: tuple[CaptionRecord, ...]
    """Joined: each picture has regions and a caption."""
    store: RegionStore
    weight: float = 1.0


class CaptionedPictures:
    """Pictures of one or several data sets with their regions, tags and captions, as examples.

    Pictures are counted through all data sets: ``index``. A picture that two data sets hold counts twice.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        lexicon: Lexicon,
        tokenizer: CaptionTokenizer,
        config: TrainConfig,
    ) -> None:
        """Takes joined records; regions are read on first use and then kept while memory allows."""
        self.sources = tuple(sources)
        self.records = tuple(record for source in sources for record in source.records)
        self.lexicon = lexicon
        self.tokenizer = tokenizer
        self.config = config
        self.limits = Limits.of(config)
        limit = self.limits.caption_pieces
        self.captions = [[caption_pieces(c, tokenizer, limit) for c in r.captions] for r in self.records]
        self.first_caption = np.cumsum([0, *(len(captions) for captions in self.captions)])
        self.answers = self._find_answers()
        """Numbers, over all captions, of the questions that have an answer."""
        self._first_index = np.cumsum([0, *(len(source.records) for source in sources)])
        self._tags: dict[tuple[int, int], NDArray[np.int64]] = {}
        self._regions: dict[int, Regions] = {}
        self._memory_left = int(config.data.memory_gb * 1e9) // max(1, side_processes(config.data.workers))

    def __len__(self) -> int:
        """The number of pictures."""
        return len(self.records)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """(n,) pieces of each picture's longest caption."""
        return np.array([max(len(caption) for caption in captions) for captions in self.captions])

    def regions(self, index: int) -> Regions:
        """Regions of a picture."""
        regions = self._regions.get(index)
        if regions is None:
            source = int(np.searchsorted(self._first_index, index, side="right")) - 1
            regions = self.sources[source].store.regions(self.records[index].image_id)
            if self._memory_left > regions.features.nbytes:
                self._memory_left -= regions.features.nbytes
                self._regions[index] = regions
        return regions

    def tags(self, index: int, limits: Limits | None = None) -> NDArray[np.int64]:
        """(G,) tag pieces of a picture, with [SEP]."""
        key = index, (limits or self.limits).tag_pieces
        if key not in self._tags:
            prefix = replace(self.config.data.prefix, max_tag_pieces=key[1])
            self._tags[key] = tag_pieces(self.regions(index), self.lexicon, self.tokenizer, prefix)
        return self._tags[key]

    def prefix(self, index: int, limits: Limits | None = None) -> PrefixExample:
        """What the model reads of a picture; equals ``prefix_example`` of its regions."""
        limits = limits or self.limits
        rows = region_rows(self.regions(index), limits.regions)
        return PrefixExample(tag_ids=self.tags(index, limits), region_features=rows)

    def batch(self, objective: Objective, items: Sequence[Item], limits: Limits | None = None) -> Batch:
        """Some pictures as an objective reads them."""
        limits = limits or self.limits
        if objective == "pretrain":
            return self.pair_batch(items, limits)
        if objective == "scst":
            return self.sample_batch(items, limits)
        return self.caption_batch(items, limits)

    def caption_batch(self, items: Sequence[Item], limits: Limits | None = None) -> CaptionBatch:
        """Captions of some pictures, masked for these turns."""
        limits = limits or self.limits
        chosen = self._choose(items)
        examples = [self._caption_example(items[row], which, limits) for row, which in chosen]
        return CaptionBatch(
            image_ids=self._names(items),
            prefix=self._prefixes(items, limits),
            captions=collate_captions(examples, [row for row, _ in chosen], self.tokenizer.pad_id),
            n_captions=len(examples),
        )

    def pair_batch(self, items: Sequence[Item], limits: Limits | None = None) -> PairBatch:
        """Captions of some pictures with tags, masked, and some of them swapped, for these turns."""
        limits = limits or self.limits
        chosen = self._choose(items)
        return collate_pairs(
            self._names(items),
            [self._pair_example(items[row], which, limits) for row, which in chosen],
            [row for row, _ in chosen],
            [region_rows(self.regions(item.index), limits.regions) for item in items],
            self.tokenizer.pad_id,
        )

    def sample_batch(self, items: Sequence[Item], limits: Limits | None = None) -> SampleBatch:
        """Some pictures, and what decides the captions that will be drawn of them in these turns."""
        rngs = (draws(self.config.seed, Stream.SAMPLE, item.epoch, item.index) for item in items)
        return SampleBatch(
            image_ids=self._names(items),
            prefix=self._prefixes(items, limits or self.limits),
            seeds=tuple(int(rng.integers(2**62)) for rng in rngs),
            n_captions=len(items) * self.config.scst.samples,
        )

    def _names(self, items: Sequence[Item]) -> tuple[str, ...]:
        return tuple(self.records[item.index].image_id for item in items)

    def _prefixes(self, items: Sequence[Item], limits: Limits) -> PrefixBatch:
        return collate_prefix([self.prefix(item.index, limits) for item in items], self.tokenizer.pad_id)

    def _choose(self, items: Sequence[Item]) -> list[tuple[int, int]]:
        """Row of the picture and number of the caption, for all captions that these turns read."""
        kept, chosen = self.config.data.captions_per_picture, []
        for row, item in enumerate(items):
            rng = draws(self.config.seed, Stream.CHOICE, item.epoch, item.index)
            chosen += [(row, which) for which in choose_captions(len(self.captions[item.index]), kept, rng)]
        return chosen

    def _caption_example(self, item: Item, which: int, limits: Limits) -> CaptionExample:
        pieces = self.captions[item.index][which][: limits.caption_pieces - 2]
        if self.config.loss.masking == "dense":
            return dense_example(pieces, self.tokenizer)
        rng = draws(self.config.seed, Stream.MASK, item.epoch, self._number(item.index, which))
        return sparse_example(pieces, self.tokenizer, self.config.loss, rng)

    def _pair_example(self, item: Item, which: int, limits: Limits) -> PairExample:
        number = self._number(item.index, which)
        rng = draws(self.config.seed, Stream.SWAP, item.epoch, number)
        match = draw_match(self.config.loss, rng)
        first, second = self._first(item.index, which, limits), self._second(item.index, which, limits)
        if match == Match.WRONG_SECOND:
            second = self._wrong_second(item.index, which, limits, rng)
        elif match == Match.WRONG_FIRST:
            donor = self._donor(item.index, rng)
            first = self._first(donor, int(rng.integers(len(self.captions[donor]))), limits)
        rng = draws(self.config.seed, Stream.MASK, item.epoch, number)
        first, second = cut_pair(first, second, limits.pair_pieces)
        return pair_example(first, second, match, self.tokenizer, self.config.loss, rng)

    def _first(self, index: int, which: int, limits: Limits) -> NDArray[np.int64]:
        return self.captions[index][which][: limits.caption_pieces - 2]

    def _second(self, index: int, which: int, limits: Limits) -> NDArray[np.int64]:
        """The corpus's own second text, or the tags of the picture's regions; without [SEP]."""
        given = self.records[index].second(which)
        if given is None:
            return self.tags(index, limits)[:-1]
        return np.array(self.tokenizer.encode(given.text)[: limits.tag_pieces - 1], dtype=np.int64)

    def _wrong_second(
        self, index: int, which: int, limits: Limits, rng: np.random.Generator
    ) -> NDArray[np.int64]:
        """A second text of another pair, as ``loss.wrong_second`` says."""
        kind, own = self.config.loss.wrong_second, self.records[index].second(which)
        if kind == "answer" and own is not None and own.is_answer and len(self.answers) > 1:
            place = int(np.searchsorted(self.answers, self._number(index, which)))
            number = int(self.answers[draw_other(len(self.answers), place, rng)])
            donor = int(np.searchsorted(self.first_caption, number, side="right")) - 1
            return self._second(donor, number - int(self.first_caption[donor]), limits)
        donor = self._donor(index, rng)
        taken = int(rng.integers(len(self.captions[donor])))
        if kind == "any" and rng.random() < 0.5:
            return self._first(donor, taken, limits)
        return self._second(donor, taken, limits)

    def _donor(self, own: int, rng: np.random.Generator) -> int:
        """Another picture; drawn again, up to ten times, where data sets share pictures, as in Oscar+."""
        for _ in range(DONOR_DRAWS):
            donor = draw_other(len(self), own, rng)
            if self.records[donor].image_id != self.records[own].image_id:
                break
        return donor

    def _number(self, index: int, which: int) -> int:
        """Of a caption, over all captions."""
        return int(self.first_caption[index]) + which

    def _find_answers(self) -> NDArray[np.int64]:
        numbers = [
            self._number(index, which)
            for index, record in enumerate(self.records)
            for which, second in enumerate(record.seconds)
            if second is not None and second.is_answer
        ]
        return np.array(numbers, dtype=np.int64)

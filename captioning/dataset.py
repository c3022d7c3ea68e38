"""Captions joined with a regions file, and padded batches of both.

Which pictures, captions, masks and swaps make up step s is a function of (seed, s) alone: a batch is never
the result of the batches before it, so a run may stop and go on anywhere, in any number of processes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
import torch
from numpy.typing import NDArray

from captioning.batches import (
    Batch,
    CaptionBatch,
    PairBatch,
    SampleBatch,
    collate_captions,
    collate_pairs,
    collate_prefix,
)
from captioning.config import TrainConfig
from captioning.examples import (
    CaptionExample,
    Match,
    PairExample,
    PrefixExample,
    Stream,
    caption_pieces,
    choose_captions,
    dense_example,
    draw_donor,
    draw_match,
    draws,
    pair_example,
    region_rows,
    sparse_example,
    tag_pieces,
)
from captioning.records import CaptionRecord
from captioning.tokenizer import CaptionTokenizer
from features.stop import end_with_parent
from features.store import Regions, RegionStore
from features.tags import Lexicon


@dataclass(frozen=True, kw_only=True)
class Join:
    """Captioned pictures that have regions, and what either side lacks."""

    records: tuple[CaptionRecord, ...]
    without_regions: tuple[str, ...]
    without_captions: tuple[str, ...]

    def report(self) -> list[str]:
        """One line a lack, with its number and first ten names."""
        lacks = (
            (self.without_regions, "captioned pictures without regions are left out"),
            (self.without_captions, "pictures of the regions file have no captions in this split"),
        )
        return [f"{len(names)} {what}: {_first_ten(names)}" for names, what in lacks if names]


def join(records: Sequence[CaptionRecord], store: RegionStore) -> Join:
    """Matches captions with regions by picture id.

    Raises:
        ValueError: no picture has both, with ids of either side.
    """
    found = tuple(record for record in records if record.image_id in store and record.captions)
    without_regions = tuple(record.image_id for record in records if record.image_id not in store)
    if not found:
        raise ValueError(
            f"none of the {len(records)} captioned pictures has regions; captions name "
            f"{_first_ten([record.image_id for record in records])}; the regions file has "
            f"{_first_ten(store.image_ids)}. Extract the pictures that the captions are of."
        )
    captioned = {record.image_id for record in records}
    names = (PurePosixPath(image_id) for image_id in store.image_ids)
    return Join(
        records=found,
        without_regions=without_regions,
        without_captions=tuple(str(n) for n in names if captioned.isdisjoint((str(n), n.name, n.stem))),
    )


def _first_ten(names: Sequence[str]) -> str:
    return ", ".join(names[:10]) + (", …" if len(names) > 10 else "")


class CaptionedPictures:
    """Pictures with their regions, tags and captions, as examples."""

    def __init__(
        self,
        records: Sequence[CaptionRecord],
        store: RegionStore,
        lexicon: Lexicon,
        tokenizer: CaptionTokenizer,
        config: TrainConfig,
    ) -> None:
        """Takes joined records; regions are read on first use and then kept while memory allows."""
        self.records = tuple(records)
        self.store = store
        self.lexicon = lexicon
        self.tokenizer = tokenizer
        self.config = config
        limit = config.model.max_caption_pieces
        self.captions = [[caption_pieces(c, tokenizer, limit) for c in r.captions] for r in self.records]
        self.first_caption = np.cumsum([0, *(len(captions) for captions in self.captions)])
        self._tags: dict[int, NDArray[np.int64]] = {}
        self._regions: dict[int, Regions] = {}
        self._memory_left = int(config.data.memory_gb * 1e9) // max(1, config.data.workers)

    def __len__(self) -> int:
        """The number of pictures."""
        return len(self.records)

    def regions(self, index: int) -> Regions:
        """Regions of a picture."""
        regions = self._regions.get(index)
        if regions is None:
            regions = self.store.regions(self.records[index].image_id)
            if self._memory_left > regions.features.nbytes:
                self._memory_left -= regions.features.nbytes
                self._regions[index] = regions
        return regions

    def tags(self, index: int) -> NDArray[np.int64]:
        """(G,) tag pieces of a picture, with [SEP]."""
        if index not in self._tags:
            regions = self.regions(index)
            self._tags[index] = tag_pieces(regions, self.lexicon, self.tokenizer, self.config.data.prefix)
        return self._tags[index]

    def prefix(self, index: int) -> PrefixExample:
        """What the model reads of a picture; equals ``prefix_example`` of its regions."""
        rows = region_rows(self.regions(index), self.config.data.prefix.max_regions)
        return PrefixExample(tag_ids=self.tags(index), region_features=rows)

    def caption_batch(self, epoch: int, indices: Sequence[int]) -> CaptionBatch:
        """Captions of some pictures, masked for this epoch."""
        examples, pictures = [], []
        for row, index in enumerate(indices):
            for which in self._choose(epoch, index):
                examples.append(self._caption_example(epoch, index, which))
                pictures.append(row)
        pad = self.tokenizer.pad_id
        return CaptionBatch(
            image_ids=tuple(self.records[index].image_id for index in indices),
            prefix=collate_prefix([self.prefix(index) for index in indices], pad),
            captions=collate_captions(examples, pictures, pad),
            n_captions=len(examples),
        )

    def pair_batch(self, epoch: int, indices: Sequence[int]) -> PairBatch:
        """Captions of some pictures with tags, masked, and some of them swapped, for this epoch."""
        examples, pictures = [], []
        for row, index in enumerate(indices):
            for which in self._choose(epoch, index):
                examples.append(self._pair_example(epoch, index, which))
                pictures.append(row)
        return collate_pairs(
            [self.records[index].image_id for index in indices],
            examples,
            pictures,
            [self.prefix(index).region_features for index in indices],
            self.tokenizer.pad_id,
        )

    def sample_batch(self, epoch: int, indices: Sequence[int]) -> SampleBatch:
        """Some pictures, and what decides the captions that will be drawn of them in this epoch."""
        rngs = (draws(self.config.seed, Stream.SAMPLE, epoch, index) for index in indices)
        return SampleBatch(
            image_ids=tuple(self.records[index].image_id for index in indices),
            prefix=collate_prefix([self.prefix(index) for index in indices], self.tokenizer.pad_id),
            seeds=tuple(int(rng.integers(2**62)) for rng in rngs),
            n_captions=len(indices) * self.config.scst.samples,
        )

    def _choose(self, epoch: int, index: int) -> Sequence[int]:
        rng = draws(self.config.seed, Stream.CHOICE, epoch, index)
        return choose_captions(len(self.captions[index]), self.config.data.captions_per_picture, rng)

    def _caption_example(self, epoch: int, index: int, which: int) -> CaptionExample:
        pieces = self.captions[index][which]
        if self.config.loss.masking == "dense":
            return dense_example(pieces, self.tokenizer)
        rng = draws(self.config.seed, Stream.MASK, epoch, int(self.first_caption[index]) + which)
        return sparse_example(pieces, self.tokenizer, self.config.loss, rng)

    def _pair_example(self, epoch: int, index: int, which: int) -> PairExample:
        number = int(self.first_caption[index]) + which
        rng = draws(self.config.seed, Stream.SWAP, epoch, number)
        match = draw_match(self.config.loss, rng)
        caption, tags = self.captions[index][which], self.tags(index)
        if match != Match.TRUE:
            donor = draw_donor(len(self), index, rng)
            if match == Match.WRONG_TAGS:
                tags = self.tags(donor)
            else:
                caption = self.captions[donor][int(rng.integers(len(self.captions[donor])))]
        rng = draws(self.config.seed, Stream.MASK, epoch, number)
        return pair_example(caption, tags, match, self.tokenizer, self.config.loss, rng)


@dataclass(frozen=True, kw_only=True)
class BatchPlan:
    """Which pictures each step reads: every picture once an epoch, in an order drawn for the epoch."""

    n_pictures: int
    batch_size: int
    seed: int
    rank: int = 0
    world_size: int = 1

    @property
    def steps_per_epoch(self) -> int:
        """Steps after which every picture was seen once more."""
        return -(-self.n_pictures // self.batch_size)

    def step(self, step: int) -> tuple[int, list[int]]:
        """Epoch and pictures of a step, counted from 0; of the pictures, this process's share."""
        epoch, position = divmod(step, self.steps_per_epoch)
        order = draws(self.seed, Stream.ORDER, epoch, 0).permutation(self.n_pictures)
        batch = order[position * self.batch_size : (position + 1) * self.batch_size]
        return epoch, [int(index) for index in batch[self.rank :: self.world_size]]


class StepBatches(torch.utils.data.Dataset[Batch]):
    """Item s is the batch of step s."""

    def __init__(self, pictures: CaptionedPictures, plan: BatchPlan) -> None:
        """Takes the pictures and their order."""
        self.pictures = pictures
        self.plan = plan

    def __getitem__(self, step: int) -> Batch:
        """The batch of a step, counted from 0."""
        epoch, indices = self.plan.step(step)
        if self.pictures.config.objective == "pretrain":
            return self.pictures.pair_batch(epoch, indices)
        if self.pictures.config.objective == "scst":
            return self.pictures.sample_batch(epoch, indices)
        return self.pictures.caption_batch(epoch, indices)

    def from_step(self, step: int, workers: int) -> Iterator[Batch]:
        """Batches of this and all later steps, without end."""
        forever = range(step, 2**62)
        loader = torch.utils.data.DataLoader(
            self, batch_size=None, sampler=forever, num_workers=workers, worker_init_fn=end_with_parent
        )
        return iter(loader)

"""Captions for any number of pictures: part by part, so that memory stays flat and a killed run goes on.

The regions of a part's pictures are found first; pictures of like length then share a batch, because what is
padded costs as much as what is real. The batches depend on the part's pictures alone, never on where an
earlier run ended, so a resumed run writes the bytes of one that never stopped.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from captioning.caption_progress import Progress
from captioning.captioner import Captioner
from captioning.constraints import Constraints
from captioning.decode_config import DecodeConfig
from captioning.examples import tag_pieces
from captioning.parts import CaptionParts, Part
from captioning.prediction_files import record_of
from captioning.sources import Source
from features.stop import StopRequest
from features.store import Regions


@dataclass
class Report:
    """How the parts of a shard came about.

    Attributes:
        captions: Pictures with a caption, from earlier runs too.
        failed: Pictures without, and why.
        signal: SIGINT or SIGTERM, where one ended it early.
    """

    captions: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)
    signal: int | None = None

    def add(self, part: Part) -> None:
        """Count a part."""
        self.captions += len(part.records)
        self.failed += part.failed.items()


@dataclass(frozen=True, kw_only=True)
class BulkRun:
    """What to caption.

    Attributes:
        source: The pictures.
        captioner: Writes the captions.
        decode: How they are searched for.
        constraints: Words that the captions of some pictures must hold, by picture id.
        parts: Where they go; claimed by the caller.
        batch_size: Pictures a batch.
    """

    source: Source
    captioner: Captioner
    decode: DecodeConfig
    constraints: Constraints
    parts: CaptionParts
    batch_size: int

    def run(self, stop: StopRequest) -> Report:
        """Make the parts of the shard that are not finished; after a signal, no further batch.

        Raises:
            captioning.captioner.DetectorMismatch: Regions that the captioner does not read.
            OSError: The disk; what was sealed before stays.
        """
        report = Report()
        progress = Progress(self._left(), sys.stderr)
        for number in self.parts.own:
            part = self.parts.read(number)
            if stop.signal is None and len(part) < len(self.parts.window(number)):
                self._make(number, part, stop, progress)
            report.add(part)
        progress.close()
        report.signal = stop.signal
        return report

    def _left(self) -> int:
        """Pictures without a caption yet; says how many have one."""
        n_pictures = n_done = 0
        for number in self.parts.own:
            n_pictures += len(self.parts.window(number))
            n_done += len(self.parts.read(number))
        if n_done:
            self.parts.say(f"{n_done} of {n_pictures} pictures are already captioned")
        return n_pictures - n_done

    def _make(self, number: int, part: Part, stop: StopRequest, progress: Progress) -> None:
        """Add what a part does not hold yet, and seal it."""
        regions: list[Regions] = []
        failed: dict[str, str] = {}
        window = self.parts.window(number)
        for image_id, found in zip(window, self.source.regions(window, self.captioner), strict=True):
            if stop.signal is not None:
                return
            if isinstance(found, Regions):
                regions.append(found)
            elif image_id not in part:
                failed[image_id] = str(found)
        part.failed.update(failed)
        progress.step(len(failed))
        for batch in self._batches(regions):
            missing = [picture for picture in batch if picture.image_id not in part]
            for caption in self.captioner.caption_regions(missing, self.decode, self.constraints):
                if caption.text:
                    part.records[caption.image_id] = record_of(caption)
                else:
                    part.failed[caption.image_id] = "the model wrote an empty caption"
            progress.step(len(missing))
            if stop.signal is not None:
                break
        self.parts.seal(number, part)

    def _batches(self, regions: Sequence[Regions]) -> Iterator[list[Regions]]:
        """Pictures with about as many regions and tag pieces, together."""
        captioner = self.captioner

        def length(picture: Regions) -> tuple[int, int]:
            config = captioner.info.prefix
            n_regions = min(len(picture.features), config.max_regions)
            return n_regions, len(tag_pieces(picture, captioner.lexicon, captioner.tokenizer, config))

        ordered = sorted(regions, key=length)
        for start in range(0, len(ordered), self.batch_size):
            yield ordered[start : start + self.batch_size]

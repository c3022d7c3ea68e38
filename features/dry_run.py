"""``--dry_run``: what an extraction would take, from a few of its pictures. Nothing is written."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

from features.decoding import Failure, PictureDataset, Prepared, cores
from features.extraction import Extraction
from features.output import Output
from features.pipeline import Detector, form_batches
from features.room import SAMPLE, DiskNeed
from features.schema import Regions

__all__ = ["Estimate", "estimate"]


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What an extraction would take.

    Attributes:
        pictures: Found in the folder.
        missing: Of those, without a result yet.
        todo: Of those, to be done by this shard.
        sampled: Extracted for this estimate.
        failed: Of those, not usable.
        decode_seconds: A picture, in one process.
        model_seconds: A picture.
        seconds: The whole run.
        disk: Room; None where no picture could be used.
    """

    pictures: int
    missing: int
    todo: int
    sampled: int
    failed: int
    decode_seconds: float
    model_seconds: float
    seconds: float
    disk: DiskNeed | None

    def lines(self) -> Iterator[str]:
        """For the user."""
        yield f"{self.pictures} pictures, {self.todo} to extract"
        if not self.sampled:
            return
        yield (
            f"{self.sampled} of them tried: {1e3 * self.decode_seconds:.0f} ms a picture to decode, "
            f"{1e3 * self.model_seconds:.0f} ms in the model, {self.failed} failed"
        )
        if self.disk is None:
            yield "none of them could be used, so there is no estimate"
            return
        minutes, seconds = divmod(round(self.seconds), 60)
        yield f"about {minutes // 60}:{minutes % 60:02d}:{seconds:02d} hours; {self.disk}"


def estimate(extraction: Extraction, processes: int = 1, *, shared_cores: bool) -> Estimate:
    """Decode and extract a few of the missing pictures, spread over all.

    Args:
        extraction: Would run so.
        processes: Devices that would share it.
        shared_cores: Whether the detector runs on the cores that decode.

    Raises:
        features.locks.OutputError: The output was extracted differently.
    """
    output = Output.open(extraction.out, extraction.meta, repair=False)
    windows = extraction.windows(output)
    n_missing = sum(len(window.missing) for window in windows)
    own = [window for window in windows if extraction.shard.owns(window.number)]
    todo = [name for window in own for name in window.image_ids if name in window.missing]
    sample = todo[:: max(1, len(todo) // SAMPLE)][:SAMPLE]
    pictures = PictureDataset(extraction.root, sample, extraction.backend.preprocessor)
    started = time.perf_counter()
    decoded = [pictures[number] for number in range(len(sample))]
    decoding = (time.perf_counter() - started) / max(1, len(sample))
    records, model = _detect(extraction, decoded)
    if shared_cores:
        a_picture = model + decoding / cores()
    else:
        a_picture = max(model, decoding / max(1, extraction.workers))
    return Estimate(
        pictures=len(extraction.image_ids) + len(extraction.unusable),
        missing=n_missing,
        todo=len(todo),
        sampled=len(sample),
        failed=len(sample) - len(records),
        decode_seconds=decoding,
        model_seconds=model,
        seconds=a_picture * len(todo) / processes,
        disk=DiskNeed.of(output, n_missing, records) if records else None,
    )


def _detect(extraction: Extraction, decoded: list[Prepared | Failure]) -> tuple[list[Regions], float]:
    """What a detector that has warmed up finds, and its seconds a picture."""
    detector = Detector(extraction.backend)
    found: list[Regions | Failure] = []
    for again in range(2):
        found, detector.seconds = [], 0.0
        for item in form_batches(decoded, extraction.batch_size, extraction.boxes):
            found += [item] if isinstance(item, Failure) else detector.regions(item)
            if not again:
                break
    records = [result for result in found if isinstance(result, Regions)]
    return records, detector.seconds / max(1, len(records))

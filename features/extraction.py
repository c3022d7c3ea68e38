"""One extraction from a list of pictures to a finished regions file: resumed, interruptible, reported."""

from __future__ import annotations

import resource
import signal
import sys
import time
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

from features.backends.base import Backend
from features.output import Output, ShardWriter, locked
from features.pipeline import Failure, ModelClock, decode_pictures, detect_regions
from features.progress import ExtractionProgress, say
from features.schema import Regions, StoreMeta

__all__ = ["Extraction", "Report", "StopRequest", "peak_memory"]

OK, SOME_FAILED = 0, 3


class WorkerLost(RuntimeError):
    """A decode process was killed."""


class StopRequest:
    """Notes SIGINT and SIGTERM instead of dying of them; a second one ends the process at once."""

    def __init__(self) -> None:
        self.signal: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopRequest:
        self._before = {
            number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)
        }
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self.signal = number
        for other in self._before:
            signal.signal(other, signal.SIG_DFL)


@dataclass
class Report:
    """How an extraction went.

    Attributes:
        ok: Pictures of the folder whose regions are in the file.
        failed: Pictures of the folder that could not be used -> reason.
        extracted: Pictures this run worked on.
        seconds: This run took, from the first picture to the finished file.
        model_seconds: Of those, inside the detector.
        signal: SIGINT or SIGTERM, where one ended the run early.
    """

    ok: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    extracted: int = 0
    seconds: float = 0.0
    model_seconds: float = 0.0
    signal: int | None = None

    @property
    def exit_code(self) -> int:
        """Of the command."""
        if self.signal is not None:
            return 128 + self.signal
        return SOME_FAILED if self.failed else OK


@dataclass(frozen=True, kw_only=True)
class Extraction:
    """What to do.

    Attributes:
        root: Folder of the pictures.
        image_ids: All pictures, sorted; those that are already done are passed over.
        unusable: Pictures of the folder whose names alone make them fail -> reason.
        backend: The detector.
        meta: What the file will say about it.
        out: The regions file.
        batch_size: Pictures a batch, at most.
        workers: Decode processes.
        shard_size: Pictures a shard.
        overwrite: Start over.
        retry_failed: Try pictures again that are recorded as failed.
    """

    root: Path
    image_ids: list[str]
    unusable: dict[str, str]
    backend: Backend
    meta: StoreMeta
    out: Path
    batch_size: int
    workers: int
    shard_size: int
    overwrite: bool
    retry_failed: bool

    def run(self) -> Report:
        """Extract what is missing and merge it into the file.

        Raises:
            features.output.OutputError: Another writer, or an output that was extracted differently.
            features.schema.StoreError: A shard that changed on disk.
            WorkerLost: A decode process was killed; what was done is sealed.
            OSError: The disk; what was sealed before stays.
        """
        self.out.parent.mkdir(parents=True, exist_ok=True)
        started = time.perf_counter()
        with locked(self.out), StopRequest() as stop:
            output = Output.open(self.out, self.meta, overwrite=self.overwrite)
            for note in output.notes:
                say(note)
            chunks = self._missing(output)
            n_missing = sum(map(len, chunks))
            present = len(output.done.intersection(self.image_ids))
            if present:
                say(f"{present} of {len(self.image_ids)} pictures are already extracted")
            report = Report(extracted=n_missing)
            self._extract(chunks, output, report, stop)
            if report.signal is None:
                output.finish()
            wanted = [*self.image_ids, *self.unusable]
            report.ok = len(output.done.intersection(wanted))
            report.failed = {name: output.failed[name] for name in wanted if name in output.failed}
            report.seconds = time.perf_counter() - started
        return report

    def _missing(self, output: Output) -> list[list[str]]:
        """Pictures to do, by shard.

        Shards are cut from the whole list, so that a run that goes on after a crash forms the same
        batches, and so the same numbers, as one that never stopped.
        """
        past = output.done if self.retry_failed else output.done | output.failed.keys()
        ids, size = self.image_ids, self.shard_size
        cut = [ids[start : start + size] for start in range(0, len(ids), size)]
        return [missing for chunk in cut if (missing := [name for name in chunk if name not in past])]

    def _extract(self, chunks: list[list[str]], output: Output, report: Report, stop: StopRequest) -> None:
        todo = [name for chunk in chunks for name in chunk]
        stream = decode_pictures(self.root, todo, self.backend.preprocessor, min(self.workers, len(todo)))
        clock = ModelClock()
        writer = ShardWriter(output)
        try:
            writer.write([], {name: why for name, why in self.unusable.items() if name not in output.failed})
            output.failed.update(self.unusable)
            with ExtractionProgress(len(todo)) as progress:
                for chunk in chunks:
                    records: list[Regions] = []
                    failed: dict[str, str] = {}
                    try:
                        results = detect_regions(
                            islice(stream, len(chunk)), self.backend, self.batch_size, clock
                        )
                        for result in results:
                            if isinstance(result, Failure):
                                failed[result.image_id] = result.reason
                            else:
                                records.append(result)
                            progress.count(failed=isinstance(result, Failure))
                            if stop.signal is not None:
                                break
                    finally:  # whatever ended the loop, what is done is sealed
                        writer.write(records, failed)
                        output.done.update(regions.image_id for regions in records)
                        output.failed.update(failed)
                        for regions in records:
                            output.failed.pop(regions.image_id, None)
                    if stop.signal is not None:
                        break
        except RuntimeError as error:
            if "DataLoader worker" not in str(error):
                raise
            if stop.signal is None:
                reason = str(error).splitlines()[0]
                raise WorkerLost(
                    f"a decode process ended unexpectedly ({reason}), usually for want of memory; what was "
                    "done is sealed. Run the same command again, with fewer --workers."
                ) from error
        finally:
            try:
                writer.wait()
            finally:
                writer.close()
        report.signal = stop.signal
        report.model_seconds = clock.seconds


def peak_memory() -> tuple[float, float]:
    """Largest resident memory of this process, and of the largest of its ended children, in MB."""
    unit = 1e6 if sys.platform == "darwin" else 1e3  # bytes on macOS, kilobytes elsewhere
    own, child = (
        resource.getrusage(who).ru_maxrss / unit for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    return own, child

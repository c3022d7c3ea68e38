"""One extraction from a list of pictures to a finished regions file: resumed, interruptible, reported.

decode processes -> batches (a thread) -> detector (a few threads) -> sealed files (a thread) -> merge
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

from features.allocator import give_back_freed_memory
from features.backends.base import Backend, exact_convolutions
from features.compression import Compression
from features.decoding import Failure, decode_pictures
from features.given_boxes import GivenBoxes
from features.locks import OutputError, Shard, door, locked
from features.output import Output, ShardWriter
from features.pipeline import Batch, Detector, DetectorBroken, ahead, form_batches, side_by_side
from features.progress import ExtractionProgress, n_pictures, say
from features.report import Report
from features.room import SAMPLE, DiskNeed
from features.schema import Regions, StoreMeta
from features.stop import StopRequest

__all__ = ["Counter", "Extraction", "TooManyFailures", "WorkerLost"]

_BATCHES_AHEAD = 2
"""Formed while the detector works; more would only hold memory."""


class WorkerLost(RuntimeError):
    """A process of the extraction was killed."""


class TooManyFailures(ValueError):
    """More pictures could not be used than the user allows."""


class Counter(Protocol):
    """Where an extraction tells of each picture."""

    def count(self, *, failed: bool) -> None:
        """One more is through."""


@dataclass(frozen=True, kw_only=True)
class Window:
    """Pictures in a row, of which batches are formed.

    Attributes:
        number: Counted from 0.
        image_ids: All of them, so that a run that goes on forms the batches of one that never stopped.
        missing: Those that have no result yet.
    """

    number: int
    image_ids: list[str]
    missing: frozenset[str]


@dataclass(kw_only=True)
class _Results:
    records: list[Regions] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)

    def clear(self) -> None:
        self.records.clear()
        self.failed.clear()


@dataclass(frozen=True, kw_only=True)
class Extraction:
    """What to do.

    Attributes:
        root: Folder of the pictures.
        image_ids: All pictures, of every shard, sorted; those that are already done are passed over.
        unusable: Pictures of the folder whose names alone make them fail -> reason.
        backend: The detector.
        meta: What the file will say about it.
        out: The regions file.
        batch_size: Pictures a batch, at most.
        workers: Decode processes.
        shard_size: Pictures a window, and so a sealed file.
        shard: Which of the windows are done here.
        boxes: To describe, instead of those that the detector finds.
        compression: Of the feature vectors of the regions file.
        overwrite: Start over.
        retry_failed: Try pictures again that are recorded as failed.
        max_errors: Pictures of this run that may fail; None allows all.
        wait: For another extraction of the same output, instead of refusing.
        progress: Makes the counter of so many pictures.
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
    shard: Shard = field(default_factory=Shard)
    boxes: GivenBoxes | None = None
    compression: Compression | None = None
    overwrite: bool = False
    retry_failed: bool = False
    max_errors: int | None = None
    wait: bool = False
    progress: Callable[[int], AbstractContextManager[Counter]] = ExtractionProgress

    def run(self) -> Report:
        """Extract what is missing and merge it into the file.

        Raises:
            features.locks.OutputError: Another writer, an output that was extracted differently, or too
                small a disk.
            features.schema.StoreError: A sealed file that changed on disk.
            TooManyFailures, features.pipeline.DetectorBroken: What was done is sealed.
            WorkerLost: A decode process was killed; what was done is sealed.
            OSError: The disk; what was sealed before stays.
        """
        self.out.parent.mkdir(parents=True, exist_ok=True)
        started = time.perf_counter()
        with locked(self.out, self.shard, wait=self.wait, say=say), StopRequest() as stop:
            output = self.look()
            for note in output.notes:
                say(note)
            report = _Run(self, output, stop).extract()
            if report.signal is None:
                began = time.perf_counter()
                report.complete = output.finish(
                    [*self.image_ids, *self.unusable], compression=self.compression
                )
                report.merge_seconds = time.perf_counter() - began
        wanted = [*self.image_ids, *self.unusable]
        report.ok = len(output.done.intersection(wanted))
        report.failed = {name: output.failed[name] for name in wanted if name in output.failed}
        report.others = len((output.done | output.failed.keys()).difference(wanted))
        report.seconds = time.perf_counter() - started
        return report

    def look(self, *, repair: bool = True) -> Output:
        """What is there already; see :meth:`Output.open`."""
        with door(self.out):
            return Output.open(self.out, self.meta, overwrite=self.overwrite, shard=self.shard, repair=repair)

    def windows(self, output: Output) -> list[Window]:
        """The windows of all shards that are not done."""
        past = output.done if self.retry_failed else output.done | output.failed.keys()
        merged = output.merged & past
        ids, size = [name for name in self.image_ids if name not in merged], self.shard_size
        windows = (
            Window(number=number, image_ids=cut, missing=frozenset(cut) - past)
            for number, start in enumerate(range(0, len(ids), size))
            if (cut := ids[start : start + size])
        )
        return [window for window in windows if window.missing]


class _Run:
    """The work of one shard between looking at an output and finishing it."""

    def __init__(self, extraction: Extraction, output: Output, stop: StopRequest) -> None:
        self._todo = extraction
        self._output = output
        self._stop = stop
        self._report = Report()
        self._detector = Detector(extraction.backend)
        self._errors = 0
        windows = extraction.windows(output)
        self._n_missing = sum(len(window.missing) for window in windows)
        self._windows = [window for window in windows if extraction.shard.owns(window.number)]
        self._room_is_known = False

    def extract(self) -> Report:
        """Do every window; what is done when something goes wrong is sealed."""
        report, todo = self._report, self._todo
        report.extracted = sum(len(window.missing) for window in self._windows)
        if present := len(self._output.done.intersection(todo.image_ids)):
            say(f"{present} of {len(todo.image_ids)} pictures are already extracted")
        writer = ShardWriter(self._output)
        try:
            self._record_unusable(writer)
            with (
                exact_convolutions(),  # in all lanes: one that ends would restore what others still need
                todo.progress(report.extracted) as progress,
                closing(self._batches()) as batches,
            ):
                items = _timed(batches, report)
                for window in self._windows:
                    self._do(window, items, writer, progress)
                    give_back_freed_memory()
                    if self._stop.signal is not None:
                        break
        except TooManyFailures as error:
            n_done = n_pictures(len(self._output.done))
            raise TooManyFailures(
                f"{error} {n_done} sealed so far; run the same command to go on."
            ) from error
        except RuntimeError as error:
            if "DataLoader worker" not in str(error):
                raise
            if self._stop.signal is None:
                raise WorkerLost(
                    f"a decode process ended unexpectedly ({str(error).splitlines()[0]}), usually for want "
                    "of memory; what was done is sealed. Run the same command again, with fewer --workers."
                ) from error
        finally:
            try:
                writer.wait()
            finally:
                writer.close()
        report.signal = self._stop.signal
        report.model_seconds = self._detector.seconds / todo.backend.lanes
        return report

    def _record_unusable(self, writer: ShardWriter) -> None:
        unusable = {name: why for name, why in self._todo.unusable.items() if name not in self._output.failed}
        if unusable and self._todo.shard.index == 0:
            for name, why in unusable.items():
                self._count_error(name, why)
            writer.write([], unusable, window=0)
            self._output.failed.update(unusable)

    def _batches(self) -> Generator[Batch | Failure | None, None, None]:
        """The batches of every window in turn, formed ahead; None ends a window."""
        todo = self._todo
        image_ids = [name for window in self._windows for name in window.image_ids]
        decoded = decode_pictures(
            todo.root, image_ids, todo.backend.preprocessor, min(todo.workers, len(image_ids))
        )

        def formed() -> Iterator[Batch | Failure | None]:
            for window in self._windows:
                yield from form_batches(islice(decoded, len(window.image_ids)), todo.batch_size, todo.boxes)
                yield None

        return ahead(formed(), _BATCHES_AHEAD)

    def _do(
        self,
        window: Window,
        items: Iterable[Batch | Failure | None],
        writer: ShardWriter,
        progress: Counter,
    ) -> None:
        """One window; whatever ends it early, what is done of it is sealed."""
        results, output = _Results(), self._output
        try:
            for result in self._results(window, items):
                if isinstance(result, Failure):
                    results.failed[result.image_id] = result.reason
                    self._count_error(result.image_id, result.reason)
                else:
                    output.check_layout(result)
                    results.records.append(result)
                    self._check_room(results.records)
                progress.count(failed=isinstance(result, Failure))
            self._check_room(results.records, at_least=1)
        except (TooManyFailures, DetectorBroken):
            results.failed.clear()  # they are tried again when their cause is gone
            raise
        except OutputError:
            results.clear()  # the disk is too small for them, or they do not fit to the others
            raise
        finally:
            started = time.perf_counter()
            writer.write(results.records, results.failed, window.number)
            self._report.writing_seconds += time.perf_counter() - started
            output.done.update(regions.image_id for regions in results.records)
            output.failed.update(results.failed)
            for regions in results.records:
                output.failed.pop(regions.image_id, None)

    def _results(
        self, window: Window, items: Iterable[Batch | Failure | None]
    ) -> Iterator[Regions | Failure]:
        """What becomes of a window's missing pictures; after a signal, of no further batch."""

        def wanted() -> Iterator[Batch | Failure]:
            for item in items:
                if item is None or self._stop.signal is not None:
                    return
                pictures = [item] if isinstance(item, Failure) else item.pictures
                if not window.missing.isdisjoint(picture.image_id for picture in pictures):
                    yield item  # else done by an earlier run

        def found(item: Batch | Failure) -> list[Regions | Failure]:
            return [item] if isinstance(item, Failure) else list(self._detector.regions(item))

        for results in side_by_side(found, wanted(), self._todo.backend.lanes):
            yield from (result for result in results if result.image_id in window.missing)

    def _count_error(self, image_id: str, reason: str) -> None:
        self._errors += 1
        allowed = self._todo.max_errors
        if allowed is not None and self._errors > allowed:
            raise TooManyFailures(
                f"{image_id}: {reason}. {n_pictures(self._errors)} could not be used, allowed: {allowed}. "
                "Repair or remove it, or allow it (--on_error record, or a higher --max_errors)."
            )

    def _check_room(self, records: list[Regions], at_least: int = SAMPLE) -> None:
        """Once, from the first pictures: before anything is written."""
        if not self._room_is_known and len(records) >= at_least:
            DiskNeed.of(self._output, self._n_missing, records).check(self._output.path)
            self._room_is_known = True


def _timed(items: Iterable[Batch | Failure | None], report: Report) -> Iterator[Batch | Failure | None]:
    """The items; the report gets the seconds that they were waited for."""
    iterator = iter(items)
    end: Any = object()
    while True:
        started = time.perf_counter()
        item = next(iterator, end)
        report.waiting_seconds += time.perf_counter() - started
        if item is end:
            return
        yield item

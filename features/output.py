"""The output of an extraction: what is already there, one writer at a time, and the merge at the end.

``regions.h5`` is being made in ``regions.h5.parts``, a folder of sealed shards. Every run looks at both
first, so an extraction that was interrupted goes on where it stopped.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from features.schema import Regions, StoreError, StoreMeta
from features.shards import merge_shards, sync_folder, write_shard
from features.store_file import StoreFile

__all__ = ["Output", "OutputError", "ShardWriter", "locked"]

_SHARD = re.compile(r"shard-(\d{5,})\.h5(\.tmp)?")


class OutputError(ValueError):
    """The output cannot be continued; the message says what to do."""


@contextmanager
def locked(out: Path) -> Iterator[None]:
    """Hold the hidden file ``.OUT.lock`` beside ``out``, so that nobody else writes it.

    The file stays: removing a lock lets two writers in.

    Raises:
        OutputError: Somebody else does; the message gives the process.
    """
    path = out.with_name(f".{out.name}.lock")
    holder = path.read_text(encoding="ascii", errors="replace").strip() if path.is_file() else ""
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise OutputError(
            f"{out} is being written by another extraction (process {holder or 'unknown'}); wait for it, "
            "or choose another --out."
        ) from error
    try:
        path.write_text(f"{os.getpid()}\n", encoding="ascii")
        yield
    finally:
        path.write_text("", encoding="ascii")
        lock.release()


@dataclass
class Output:
    """A regions file in the making.

    Attributes:
        path: The regions file.
        meta: Of this run.
        done: Pictures whose regions are sealed.
        failed: Pictures recorded as unusable -> reason.
        shards: Sealed shards not yet merged.
        notes: What a user should hear about what was found.
    """

    path: Path
    meta: StoreMeta
    done: set[str]
    failed: dict[str, str]
    shards: list[Path]
    notes: list[str]

    @property
    def parts(self) -> Path:
        """Folder of the shards."""
        return self.path.with_name(self.path.name + ".parts")

    @staticmethod
    def open(path: Path, meta: StoreMeta, *, overwrite: bool = False) -> Output:
        """Look at what is there.

        Args:
            path: The regions file.
            meta: Of this run; what is there must have its fingerprint.
            overwrite: Delete what is there instead.

        Raises:
            OutputError: It was extracted differently, or is no regions file.
        """
        output = Output(path, meta, set(), {}, [], [])
        if overwrite:
            output._delete()
        if path.exists():
            try:
                output._take(StoreFile(path))
            except StoreError as error:
                raise OutputError(f"{error} To replace it, run again with --overwrite.") from error
        for shard in output._found_shards():
            if shard.suffix == ".tmp":  # a writer was killed here
                shard.unlink()
                continue
            try:
                output._take(StoreFile(shard))
            except StoreError as error:
                output.notes.append(f"{error} The shard is deleted and its pictures are extracted again.")
                shard.unlink()
                continue
            output.shards.append(shard)
        output.failed = {name: why for name, why in output.failed.items() if name not in output.done}
        return output

    def _found_shards(self) -> list[Path]:
        if not self.parts.is_dir():
            return []
        return sorted(path for path in self.parts.iterdir() if _SHARD.fullmatch(path.name))

    def _take(self, file: StoreFile) -> None:
        try:
            if file.meta.fingerprint != self.meta.fingerprint:
                raise OutputError(
                    f"{file.path} was extracted differently: {differences(file.meta, self.meta)}. "
                    "Use the same settings, choose another --out, or start over with --overwrite."
                )
            self.done.update(file.image_ids)
            self.failed.update(file.failed)
        finally:
            file.close()

    def _delete(self) -> None:
        self.path.unlink(missing_ok=True)
        for shard in self._found_shards():
            shard.unlink()

    def next_shard(self) -> Path:
        """A name for one more shard."""
        self.parts.mkdir(parents=True, exist_ok=True)
        last = max((int(match[1]) for s in self.shards if (match := _SHARD.fullmatch(s.name))), default=-1)
        return self.parts / f"shard-{last + 1:05d}.h5"

    def finish(self) -> None:
        """Merge file and shards into the file, then remove the shards.

        Raises:
            StoreError: A shard whose bytes changed on disk.
            OSError: The disk; nothing that was sealed is lost.
        """
        if self.shards:
            present = [self.path] if self.path.exists() else []
            merge_shards([*present, *self.shards], self.path)
            for shard in self.shards:
                shard.unlink()
            self.shards.clear()
        if self.parts.is_dir() and not any(self.parts.iterdir()):
            self.parts.rmdir()
        sync_folder(self.path.parent)


def differences(found: StoreMeta, wanted: StoreMeta) -> str:
    """What sets two extractions apart, in words."""
    if found.backend != wanted.backend:
        return f"by the back end {found.backend!r}, this run uses {wanted.backend!r}"
    keys = sorted(found.description.keys() | wanted.description.keys())
    changed = [
        f"{key} {_short(found.description.get(key))} (now {_short(wanted.description.get(key))})"
        for key in keys
        if found.description.get(key) != wanted.description.get(key)
    ]
    return "with " + ", ".join(changed or ["another class vocabulary"])


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 100 else f"{text[:97]}…"


class ShardWriter:
    """Seals shards in a thread, one at a time, while the detector goes on."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="shard-writer")
        self._pending: Future[None] | None = None

    def write(self, records: list[Regions], failed: dict[str, str]) -> None:
        """Hand over one shard; waits for the one before, and raises what that one met."""
        self.wait()
        if not records and not failed:
            return
        path = self._output.next_shard()
        self._pending = self._pool.submit(write_shard, path, records, self._output.meta, failed)
        self._output.shards.append(path)

    def wait(self) -> None:
        """Until everything handed over is sealed.

        Raises:
            OSError: The disk.
        """
        if self._pending is not None:
            pending, self._pending = self._pending, None
            try:
                pending.result()
            except BaseException:
                self._output.shards.pop()
                raise

    def close(self) -> None:
        """End the thread."""
        self._pool.shutdown()

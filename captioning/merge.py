"""The end of a captioning run: its sealed parts become the output, in the order of the pictures."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from captioning.caption_progress import listing
from captioning.folders import fsync
from captioning.parts import MERGED, CaptionParts, delete_parts, failures_file
from captioning.prediction_files import prediction_file, write_failures
from features.locks import door, parts_folder

Failures = Sequence[tuple[str, str]]
"""Picture ids, and why they have no caption."""


@dataclass(frozen=True, kw_only=True)
class Merged:
    """What a finished output holds: captions, and all pictures without one."""

    captions: int
    failures: Failures


def merge(parts: CaptionParts, unusable: Failures) -> Merged | None:
    """Write the output and remove the parts; memory holds one part at a time.

    Args:
        parts: Claimed by the caller.
        unusable: Pictures that no part knows of, because they failed before.

    Returns:
        What was written; None where another shard has merged, or is still to do it.

    Raises:
        ValueError: No picture has a caption; then nothing is written, and the parts are removed.
        OutputError: A part that changed on disk.
        OSError: The disk; no part is lost.
    """
    out, n_shards = parts.out, parts.shard.count
    # A single shard has claimed all there is. Of several that end together, one merges; the lock stays.
    with nullcontext() if n_shards == 1 else door(out):
        if out.exists():
            return None
        failures, missing = list(unusable), []
        for number in range(len(parts)):
            window, part = parts.window(number), parts.read(number)
            if len(part) < len(window):
                missing.append(number)
            failures += ((name, part.failed[name]) for name in window if name in part.failed)
        if missing:
            shards = sorted({number % n_shards for number in missing})
            parts.say(f"not done yet: shard {', '.join(map(str, shards))} of {n_shards}")
            return None
        n_captions = len(parts.image_ids) + len(unusable) - len(failures)
        if not n_captions:
            _remove(parts.folder)
            raise ValueError(f"no picture could be captioned, nothing was written:\n{listing(failures)}")
        if failures:
            write_failures(failures_file(out), failures)
        _write_captions(parts)
        _remove(parts.folder)
        return Merged(captions=n_captions, failures=failures)


def finished_before(out: Path) -> bool:
    """Whether an output that exists was merged by a run that was killed before all its parts were removed.

    What is left of them is removed then.
    """
    folder = parts_folder(out)
    if not folder.is_dir() or (any(folder.iterdir()) and not (folder / MERGED).exists()):
        return False
    _remove(folder)
    return True


def _write_captions(parts: CaptionParts) -> None:
    with prediction_file(parts.out) as write:
        for number in range(len(parts)):
            records = parts.read_sealed(number).records
            for image_id in parts.window(number):
                if image_id in records:
                    write(records[image_id])
        (parts.folder / MERGED).touch()  # from here on, a file under the output's name is made of these parts
        fsync(parts.folder)


def _remove(folder: Path) -> None:
    delete_parts(folder, locks=True)
    if not any(folder.iterdir()):
        folder.rmdir()
    fsync(folder.parent)

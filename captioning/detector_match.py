"""A captioner understands the regions of one detector only: what is said when others come."""

from __future__ import annotations

import shlex
from pathlib import Path

from captioning.checkpoints import DetectorInfo
from features.store import RegionStore


class DetectorMismatch(ValueError):
    """Regions of another detector than the checkpoint's; the message ends with the command to run."""


def detector_of(store: RegionStore) -> DetectorInfo:
    """The detector that made a regions file."""
    return DetectorInfo(
        backend=store.backend,
        fingerprint=store.fingerprint,
        feature_dim=store.feature_dim,
        vocabulary_id=store.vocabulary_id,
        has_globals=store.has_globals,
    )


def describe(detector: DetectorInfo) -> str:
    """A detector in one line of a message."""
    vectors = "with" if detector.has_globals else "no"
    return (
        f"{detector.backend}, fingerprint {detector.fingerprint[:12]}, width {detector.feature_dim}, "
        f"vocabulary {detector.vocabulary_id}, {vectors} whole-picture vectors"
    )


def extract_command(detector: DetectorInfo, images: str, old: Path | None = None) -> str:
    """The command that makes regions this checkpoint reads; never over the old file."""
    name = f"regions-{detector.backend}.h5" if old is None else f"{old.stem}-{detector.backend}.h5"
    out = name if old is None else str(old.with_name(name))
    quoted = [shlex.quote(word) for word in (images, out, detector.backend)]
    return "python -m features.extract --images {} --out {} --backend {}".format(*quoted)

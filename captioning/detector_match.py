"""A captioner understands the regions of one detector only: what is said when others come."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from captioning.checkpoints import DetectorInfo
from features.store import IMPORTED, RegionStore


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
        options=dict(store.meta.run.get("options", {})),
    )


def check_detector(store: RegionStore, wanted: DetectorInfo, those: str, otherwise: str = "") -> None:
    """Prove that a regions file comes from the detector that a model knows.

    Args:
        store: the regions.
        wanted: the model's detector.
        those: for the message, whose regions are wanted: "checkpoint mini was trained on".
        otherwise: what else its reader may do.

    Raises:
        DetectorMismatch: another detector, vocabulary, width or selection; with the command to run.
    """
    found = detector_of(store)
    if found != wanted and len(store):
        images = store.attributes["run"].get("images", "DIR")
        raise DetectorMismatch(
            f"{store.path}: these regions come from another detector than those that {those}.\n"
            f"  found:  {describe(found)}\n  wanted: {describe(wanted)}\n"
            f"Extract them again:\n  {extract_command(wanted, str(images), store.path)}"
            + (f"\n{otherwise}" if otherwise else "")
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
    if detector.backend == IMPORTED:
        return f"python -m features.import_tsv FOLDER {shlex.quote(out)} --detector NAME"
    words = ["--images", images, "--out", out, "--backend", detector.backend, *_flags(detector.options)]
    return "python -m features.extract " + " ".join(map(shlex.quote, words))


def _flags(options: Mapping[str, Any]) -> Iterator[str]:
    """The flags of features.extract that ask for these options."""
    for name, value in options.items():
        if name == "overrides":
            for rule, number in value.items():
                yield from (f"--selection.{rule}", str(number))
        elif value is True:
            yield f"--{name}"
        elif value:
            yield from (f"--{name}", str(value))

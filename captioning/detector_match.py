"""A captioner understands the regions of one detector only: what is said when others come."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from captioning.checkpoints import INFO, DetectorInfo
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


def check_initial(folder: Path, initial: DetectorInfo, store: RegionStore) -> None:
    """Prove that training goes on with regions of the detector that the initial weights know.

    Args:
        folder: of the initial weights.
        initial: what their ``tushuo.json`` says.
        store: the regions to train on.

    Raises:
        DetectorMismatch: they are another detector's, of the same width or not.
    """
    found = detector_of(store)
    if found != initial and len(store):
        images = str(store.attributes["run"].get("images", "DIR"))
        raise DetectorMismatch(
            f"{store.path}: these regions come from another detector than those that init {folder} learned "
            f"to read.\n  found:  {describe(found)}\n  wanted: {describe(initial)}\n"
            f"Extract them again:\n  {extract_command(initial, images, store.path)}\n"
            f"If it shall learn to read the new ones, give a copy of the folder without {INFO}."
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

"""``python -m features.selfcheck --reference x.npz --image a.jpg``: does a detector give published features?

The reference is one picture's npz file (``x`` and ``bbox``, as bottom-up attention's extractors write it, or
``features`` and ``boxes``). Exit codes: 0 the same boxes and vectors, 3 something differs (the rules are
named), 2 wrong usage, 1 nothing could be compared.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from features.arguments import parse_config
from features.backends.base import BACKENDS, DetectorOptions, load_backend
from features.comparison import Closeness, Comparison, Reference, compare
from features.images import ImageError, read_image
from features.progress import printable
from features.regions import PROFILES

__all__ = ["SelfcheckConfig", "main"]

OK, FATAL, DIFFERS = 0, 1, 3


@dataclass(frozen=True, kw_only=True)
class SelfcheckConfig:
    """Compare a detector with published features of one picture."""

    reference: Path
    """The published npz file."""
    image: Path
    """The picture that it was made from."""
    backend: str
    """The detector to compare."""
    weights: Path | None = None
    """Its weights file."""
    profile: str | None = None
    """Its selection profile, where it is not the back end's own."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1."""

    def __post_init__(self) -> None:
        if self.backend not in BACKENDS:
            raise ValueError(f"unknown back end {self.backend!r}; choose from {', '.join(sorted(BACKENDS))}")
        if self.profile is not None and self.profile not in PROFILES:
            raise ValueError(f"unknown profile {self.profile!r}; choose from {', '.join(sorted(PROFILES))}")


def _table(found: Comparison) -> Iterator[str]:
    yield f"regions: {found.n_reference} in the reference, {found.n_ours} here"
    yield f"boxes of the reference: {found.box_form}; {found.found_again:.0%} found again (IoU 0.9 or more)"
    yield f"{'vectors':<34}{'pairs':>7}{'cosine':>9}{'least':>9}{'max abs':>10}"
    for name, close in (
        ("of regions that overlap (IoU 0.5)", found.matched),
        ("at the reference's boxes", found.at_their_boxes),
        ("… with red and blue swapped", found.colours_swapped),
    ):
        yield _row(name, close)
    if found.labels_agree is None:
        yield "classes: none to compare (pickled ones are not read)"
    else:
        yield f"classes: {found.labels_agree:.0%} of the overlapping regions agree"


def _row(name: str, close: Closeness) -> str:
    return f"{name:<34}{close.pairs:>7}{close.cosine:>9.4f}{close.least_cosine:>9.4f}{close.max_abs:>10.4f}"


def _read(path: Path) -> Image.Image:
    try:
        return read_image(path)
    except ImageError as error:
        raise ImageError(f"{path}: {error}") from error


def main(argv: list[str] | None = None) -> int:
    """The command; returns its exit code."""
    config: SelfcheckConfig = parse_config("features.selfcheck", SelfcheckConfig, argv)
    try:
        reference = Reference.load(config.reference)
        image = _read(config.image)
        options = DetectorOptions(profile=config.profile)
        backend = load_backend(config.backend, config.weights, config.device, options)
        found = compare(reference, image, backend)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"error: {printable(str(error))}\n")
        return FATAL
    differences = found.differences()
    verdict = differences or ["the same: boxes, vectors and order are those of this detector"]
    for line in [*_table(found), *(f"-> {line}" for line in verdict)]:
        sys.stdout.write(line + "\n")
    return DIFFERS if differences else OK


if __name__ == "__main__":
    sys.exit(main())

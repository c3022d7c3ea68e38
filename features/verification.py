"""What is wrong with a regions file: all of it, each with what can be done.

A reader refuses a file at the first thing that is wrong. Here it is opened by the same code, which notes what
it would refuse and goes on; then bytes are compared with their checksums, and every region is looked at.
Memory stays flat: rows are read in blocks of some ten thousand.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np

from features.schema import KNOWN_NAMES, StoreError, box_geometry
from features.shards import changed_datasets
from features.store_file import AGAIN, StoreFile, whole_number

__all__ = ["Examined", "Problem", "examine"]

_ROWS_AT_ONCE = 1 << 14
_PIXEL = 0.01  # boxes that were scaled back may round to just outside of the picture
_GEOMETRY = 1e-5  # of numbers in [0, 1]

LEAVE_OUT = "leaves the picture out and records it as failed"
RECOMPUTE = "recomputes it from boxes and picture sizes"
REWRITE = "writes the file anew"


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        what: In words.
        picture: The picture it concerns, where it is one.
        cure: What ``--repair`` does about it; None where nothing helps but another extraction.
    """

    what: str
    picture: str | None = None
    cure: str | None = None


@dataclass(kw_only=True)
class Examined:
    """A regions file and what is wrong with it.

    Attributes:
        path: The file.
        problems: Everything found; empty for a good file.
        file: What could be opened of it, or None.
        bad_rows: Rows of pictures that a repair leaves out -> why.
    """

    path: Path
    problems: list[Problem] = field(default_factory=list)
    file: StoreFile | None = None
    bad_rows: dict[int, str] = field(default_factory=dict)

    @property
    def repairable(self) -> bool:
        """Whether something can be saved: the file opens, and every problem has a cure."""
        return self.file is not None and all(problem.cure for problem in self.problems)

    def note(self, what: str, cure: str | None = None) -> None:
        """Add a problem of the whole file."""
        self.problems.append(Problem(what=what, cure=cure))

    def leave_out(self, row: int, what: str) -> None:
        """Add a problem of one picture that only its absence cures."""
        assert self.file is not None  # noqa: S101  (pictures are looked at after opening)
        self.problems.append(Problem(what=what, picture=self.file.image_ids[row], cure=LEAVE_OUT))
        self.bad_rows.setdefault(row, what)


class _LenientFile(StoreFile):
    """Notes what a reader would refuse, and goes on."""

    def __init__(self, path: Path, refused: list[tuple[str, str | None]]) -> None:
        self.refused = refused  # reason, dataset
        super().__init__(path)

    def _refuse(self, reason: str, dataset: str | None = None) -> None:
        self.refused.append((reason, dataset))


def examine(path: Path) -> Examined:
    """Find everything that is wrong with a regions file; never raises for what a file holds."""
    found = Examined(path=path)
    refused: list[tuple[str, str | None]] = []
    try:
        found.file = file = _LenientFile(path, refused)
    except StoreError as error:
        refused.append((str(error), None))
    for reason, dataset in refused:
        what = reason.removeprefix(f"{path}: ").removesuffix(f". {AGAIN}")  # which verify says once
        found.note(what, RECOMPUTE if dataset == "geometry" else None)
    if found.file is None:
        return found
    for name, change in changed_datasets(file):
        found.note(change, RECOMPUTE if name == "geometry" else None)
    for name in sorted(set(file.names).difference(KNOWN_NAMES)):
        found.note(f"holds {name!r}, which no regions file has")
    _examine_names(found, file)
    if not any(dataset not in (None, "geometry") for _, dataset in refused):
        try:
            _examine_pictures(found, file)
            for first, last in _blocks(file):
                _examine_rows(found, file, first, last)
        except OSError as error:
            found.note(f"compressed vectors cannot be read: {error}")
    return found


def _examine_names(found: Examined, file: StoreFile) -> None:
    counts = {"num_images": len(file.image_ids), "num_failed": len(file.failed)}
    for name, count in counts.items():  # num_regions is the length of every row dataset
        if whole_number(file.attributes.get(name)) != count:
            found.note(f"{name} says {file.attributes.get(name)}, the file holds {count}", REWRITE)
    if file.image_ids != sorted(file.image_ids):
        found.note("pictures are not in the order of their ids", REWRITE)
    for name in sorted(set(file.failed).intersection(file.image_ids)):
        found.problems.append(Problem(what="is extracted and recorded as failed", picture=name, cure=REWRITE))
    for vocabulary in (file.meta.vocabulary, file.meta.attribute_vocabulary):
        if empty := sum(not name.strip() for name in vocabulary):
            found.note(f"{empty} of {len(vocabulary)} class or attribute names are empty")
    seen: Counter[str] = Counter()
    for row, name in enumerate(file.image_ids):
        seen[name] += 1
        if seen[name] > 1:
            found.leave_out(row, "its id occurs twice; the first is kept")
        elif not name or PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            found.leave_out(row, "its id is no path inside a folder")


def _examine_pictures(found: Examined, file: StoreFile) -> None:
    sizes = np.asarray(file.rows["image_sizes"])
    for row in np.flatnonzero((sizes < 1).any(1)).tolist():
        found.leave_out(row, f"it is {sizes[row, 1]} pixels wide and {sizes[row, 0]} high")
    if "globals" in file.rows:
        step = max(1, _ROWS_AT_ONCE // 8)
        for start in range(0, len(sizes), step):
            vectors = file.rows["globals"][start : start + step]
            for row in np.flatnonzero(~np.isfinite(vectors).all(1)).tolist():
                found.leave_out(start + row, "its global vector holds NaN or Inf")
    if "num_proposals" in file.rows:
        counts = np.asarray(file.rows["num_proposals"])
        for row in np.flatnonzero(counts < np.diff(file.offsets)).tolist():
            found.leave_out(row, f"it has more regions than its {counts[row]} proposals")


def _blocks(file: StoreFile) -> Iterator[tuple[int, int]]:
    """Runs of pictures that own a bounded number of rows, as first and last + 1."""
    first = 0
    for row in range(len(file.image_ids)):
        if file.offsets[row + 1] - file.offsets[first] > _ROWS_AT_ONCE and row > first:
            yield first, row
            first = row
    if first < len(file.image_ids):
        yield first, len(file.image_ids)


@dataclass(frozen=True)
class _Block:
    """Rows of a run of pictures.

    Attributes:
        rows: Dataset name -> its rows.
        sides: (N, 2) float32 width and height of each row's picture.
        same: (N - 1,) bool, whether a row and the next are of one picture.
        n_classes, n_attributes: Sizes of the vocabularies.
    """

    rows: dict[str, np.ndarray]
    sides: np.ndarray
    same: np.ndarray
    n_classes: int
    n_attributes: int


def _per_row(wrong: np.ndarray) -> np.ndarray:
    """(N, …) bool -> (N,) bool, whether any of a row is wrong."""
    return np.asarray(wrong.any(axis=tuple(range(1, wrong.ndim))))


def _outside(scores: np.ndarray) -> np.ndarray:
    return _per_row(~((scores >= 0) & (scores <= 1)))  # NaN is outside too


def _beyond(ids: np.ndarray, least: int, end: int) -> np.ndarray:
    return _per_row((ids < least) | (ids >= end))


def _rising(block: _Block) -> np.ndarray:
    scores = block.rows["object_scores"]
    return np.concatenate([[False], (np.diff(scores) > 0) & block.same])[: len(scores)]


def _out_of_picture(block: _Block) -> np.ndarray:
    boxes = block.rows["boxes"]
    return _per_row((boxes < -_PIXEL) | (boxes > np.tile(block.sides, 2) + _PIXEL))


_ROW_CHECKS: tuple[tuple[str, str, Callable[[_Block], np.ndarray]], ...] = (
    (
        "features",
        "features of {} regions hold NaN or Inf",
        lambda b: _per_row(~np.isfinite(b.rows["features"])),
    ),
    ("boxes", "boxes of {} regions hold NaN or Inf", lambda b: _per_row(~np.isfinite(b.rows["boxes"]))),
    ("boxes", "boxes of {} regions reach out of the picture", _out_of_picture),
    (
        "boxes",
        "boxes of {} regions end before they begin",
        lambda b: _per_row(b.rows["boxes"][:, 2:] < b.rows["boxes"][:, :2]),
    ),
    (
        "object_ids",
        "object ids of {} regions are not in the vocabulary",
        lambda b: _beyond(b.rows["object_ids"], 0, b.n_classes),
    ),
    ("object_scores", "scores of {} regions are not in [0, 1]", lambda b: _outside(b.rows["object_scores"])),
    ("object_scores", "{} regions score more than the region before them", _rising),
    (
        "attribute_ids",
        "attribute ids of {} regions are not in the vocabulary",
        lambda b: _beyond(b.rows["attribute_ids"], -1, b.n_attributes),
    ),
    (
        "attribute_scores",
        "attribute scores of {} regions are not in [0, 1]",
        lambda b: _outside(b.rows["attribute_scores"]),
    ),
    (
        "class_ids",
        "class ids of {} regions are not in the vocabulary",
        lambda b: _beyond(b.rows["class_ids"], 0, b.n_classes),
    ),
    (
        "class_scores",
        "class scores of {} regions are not in [0, 1]",
        lambda b: _outside(b.rows["class_scores"]),
    ),
    (
        "class_scores",
        "class scores of {} regions are not best first",
        lambda b: _per_row(np.diff(b.rows["class_scores"], axis=1) > 0),
    ),
)


def _examine_rows(found: Examined, file: StoreFile, first: int, last: int) -> None:
    start, stop = int(file.offsets[first]), int(file.offsets[last])
    counts = np.diff(file.offsets[first : last + 1])
    pictures = np.repeat(np.arange(first, last), counts)  # (N,) row of the picture
    sizes = np.asarray(file.rows["image_sizes"])[pictures].astype(np.float32)
    block = _Block(
        rows={name: np.asarray(rows[start:stop]) for name, rows in file.per_region},
        sides=sizes[:, ::-1],
        same=pictures[1:] == pictures[:-1],
        n_classes=len(file.meta.vocabulary),
        n_attributes=len(file.meta.attribute_vocabulary),
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        for dataset, text, check in _ROW_CHECKS:
            if dataset in block.rows:
                for picture, n_regions in Counter(pictures[check(block)].tolist()).items():
                    found.leave_out(picture, text.format(n_regions))
        if "geometry" in block.rows:
            for picture, n_regions in Counter(pictures[_other_geometry(block)].tolist()).items():
                what = f"geometry of {n_regions} regions is not that of their boxes"
                found.problems.append(Problem(what=what, picture=file.image_ids[picture], cure=RECOMPUTE))


def _other_geometry(block: _Block) -> np.ndarray:
    wanted = box_geometry(block.rows["boxes"], block.sides[:, 0], block.sides[:, 1])
    same = np.isclose(block.rows["geometry"], wanted, rtol=0, atol=_GEOMETRY, equal_nan=True)
    return _per_row(~same) & ~_per_row(block.sides < 1)

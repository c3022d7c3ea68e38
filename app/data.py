"""Files to what the page shows: pictures, regions, captions, references and scores, joined by picture.

Nothing here knows the page. A `Collection` is opened once, does not change, and is shared by all sessions.
Only ids that were found below the picture folder lead to a file, and only through
`features.images.picture_path`; whatever an address says is looked up among them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property, lru_cache
from io import BytesIO
from pathlib import Path

from PIL import Image

from app.settings import AppConfig
from eval.annotations import PredictedCaption, read_predictions, read_reference_file
from eval.matching import match_ids
from eval.metrics import Scores
from eval.scorer import evaluate
from features.images import find_images, picture_path, read_image
from features.store import Regions, RegionStore
from features.tags import Lexicon, LexiconError, Tag

THUMBNAIL_SIDE = 320
PICTURE_SIDE = 1280


@dataclass(frozen=True, kw_only=True)
class System:
    """The captions of one file.

    Attributes:
        name: Of the file, made unique.
        captions: Picture id -> caption.
        scores: Of the pictures that have references; None where none has.
        unknown: Number of captions of pictures that are not in the folder.
    """

    name: str
    captions: Mapping[str, PredictedCaption]
    scores: Scores | None
    unknown: int

    @cached_property
    def texts(self) -> Mapping[str, str]:
        """Picture id -> caption text."""
        return {image_id: predicted.caption for image_id, predicted in self.captions.items()}

    def picture_scores(self, image_id: str) -> Mapping[str, float]:
        """Metric -> score of one picture; empty where it has no references or no caption."""
        return {} if self.scores is None else self.scores.per_image.get(image_id, {})


class Collection:
    """Everything that was opened.

    Attributes:
        root: Folder of the pictures.
        image_ids: Sorted.
        systems: Captions by file, in the order given.
        references: Picture id -> human captions.
        store: Regions, where a file was given.
        lexicon: Chinese names of the regions' classes; None where their vocabulary has none.
    """

    def __init__(
        self,
        root: Path,
        image_ids: Sequence[str],
        systems: Sequence[System] = (),
        references: Mapping[str, tuple[str, ...]] | None = None,
        store: RegionStore | None = None,
        lexicon: Lexicon | None = None,
    ) -> None:
        """Takes what `open_collection` has read."""
        self.root = root
        self.image_ids = image_ids
        self._known = frozenset(image_ids)
        self.systems = tuple(systems)
        self.references = references or {}
        self.store = store
        self.lexicon = lexicon

    def __contains__(self, image_id: str) -> bool:
        """Whether there is a picture of that id."""
        return image_id in self._known

    def system(self, name: str | None) -> System | None:
        """The system of that name, else the first; None where there is none."""
        first = self.systems[0] if self.systems else None
        return next((system for system in self.systems if system.name == name), first)

    def search(self, text: str, captions: Mapping[str, str]) -> Sequence[str]:
        """Pictures whose id, caption or references hold the text, whatever its case; all for an empty one."""
        wanted = text.strip().casefold()
        if not wanted:
            return self.image_ids
        return [
            image_id
            for image_id in self.image_ids
            if any(wanted in shown.casefold() for shown in self._texts(image_id, captions))
        ]

    def _texts(self, image_id: str, captions: Mapping[str, str]) -> Iterator[str]:
        yield image_id
        yield captions.get(image_id, "")
        yield from self.references.get(image_id, ())

    def path(self, image_id: str) -> Path:
        """The file of a picture.

        Raises:
            ValueError: The id is not one of ours, or its file has come to lie outside the folder.
        """
        if image_id not in self._known:
            raise ValueError(f"no picture {image_id!r} in {self.root}")
        return picture_path(self.root, image_id)

    def regions(self, image_id: str) -> Regions | None:
        """A picture's regions, where the regions file holds it."""
        return self.store.regions(image_id) if self.store is not None and image_id in self.store else None


@cache
def open_collection(config: AppConfig) -> Collection:
    """Read everything that the settings name; once a process.

    Raises:
        OSError, ValueError: A file that is missing, broken or of another kind; the message says which.
    """
    assert config.images is not None  # noqa: S101  (with_samples)
    image_ids = find_images(config.images)
    if not image_ids:
        raise ValueError(f"{config.images}: holds no picture; give a folder with pictures: --images DIR")
    store = None if config.regions is None else RegionStore(config.regions)
    lexicon = None if store is None else find_lexicon(store)  # reads the file: errors show before the work
    references: Mapping[str, tuple[str, ...]] = {}
    numbers: Mapping[str, str] = {}
    if config.references is not None:
        references, numbers = _read_references(config.references, image_ids)
    systems: list[System] = []
    for path in config.predictions:
        name = _unique(path.stem, [system.name for system in systems])
        systems.append(_read_system(path, name, image_ids, references, numbers))
    return Collection(config.images, image_ids, systems, references, store, lexicon)


def _read_references(
    path: Path, image_ids: Sequence[str]
) -> tuple[dict[str, tuple[str, ...]], dict[str, str]]:
    """Captions by picture id, and the picture ids of a COCO file's numbers."""
    read = read_reference_file(path)
    try:
        theirs = match_ids(image_ids, read.captions).references
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    ours = {name: image_id for image_id, name in theirs.items()}
    numbers = {number: ours[name] for number, name in read.numbers.items() if name in ours}
    return {image_id: read.captions[name] for image_id, name in theirs.items()}, numbers


def _read_system(
    path: Path,
    name: str,
    image_ids: Sequence[str],
    references: Mapping[str, tuple[str, ...]],
    numbers: Mapping[str, str],
) -> System:
    predictions = read_predictions(path)
    try:
        matches = match_ids(predictions, image_ids, numbers)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    captions = {ours: predictions[theirs] for theirs, ours in matches.references.items()}
    if not captions:
        first = ", ".join(map(repr, list(predictions)[:3]))
        raise ValueError(
            f"{path}: none of its pictures ({first}, …) is in the folder, which holds {image_ids[0]!r}, …; "
            "give the folder that the captions are of: --images DIR"
        )
    scored = {image_id: p.caption for image_id, p in captions.items() if image_id in references}
    scores = evaluate(scored, {image_id: references[image_id] for image_id in scored}) if scored else None
    return System(name=name, captions=captions, scores=scores, unknown=len(matches.extra))


def _unique(name: str, taken: Sequence[str]) -> str:
    names = [name, *(f"{name} ({number})" for number in range(2, len(taken) + 2))]
    return next(each for each in names if each not in taken)


def find_lexicon(store: RegionStore) -> Lexicon | None:
    """The Chinese lexicon of a store's vocabulary; None where there is none, and names stay English."""
    try:
        return Lexicon.load("zh", store.vocabulary_id, store.vocabulary)
    except LexiconError:
        return None


def region_names(regions: Regions, lexicon: Lexicon | None, vocabulary: Sequence[str]) -> list[Tag]:
    """What each region is called, in the order of the regions; English where there is no Chinese name."""
    names = []
    for object_id, score in zip(regions.object_ids.tolist(), regions.object_scores.tolist(), strict=True):
        english = vocabulary[object_id]
        chinese = lexicon.chinese(object_id) if lexicon is not None else None
        names.append(Tag(text=chinese or english, name=english, score=score))
    return names


def filter_rows(names: Sequence[Tag], min_score: float, only: Sequence[str]) -> list[int]:
    """Rows of the regions that score enough and, where ``only`` names any, are called so."""
    return [
        row for row, name in enumerate(names) if name.score >= min_score and (not only or name.text in only)
    ]


def select_rows(regions: Regions, rows: Sequence[int]) -> Regions:
    """The same picture with some of its regions."""
    kept = list(rows)
    return replace(
        regions,
        features=regions.features[kept],
        boxes=regions.boxes[kept],
        geometry=regions.geometry[kept],
        object_ids=regions.object_ids[kept],
        object_scores=regions.object_scores[kept],
    )


def best_tags(names: Sequence[Tag], min_score: float) -> list[Tag]:
    """One tag a text, with its best score, best first."""
    best: dict[str, Tag] = {}
    for name in sorted(names, key=lambda tag: -tag.score):
        if name.score >= min_score:
            best.setdefault(name.text, name)
    return list(best.values())


@lru_cache(maxsize=2048)  # about 15 KB each
def thumbnail(path: Path) -> bytes:
    """A small JPEG of a picture.

    Raises:
        features.images.ImageError: The file is no usable picture.
    """
    return jpeg(read_image(path), THUMBNAIL_SIDE)


@lru_cache(maxsize=32)
def picture(path: Path) -> bytes:
    """A JPEG of at most `PICTURE_SIDE` pixels a side; raises as `thumbnail` does."""
    return jpeg(read_image(path), PICTURE_SIDE)


def jpeg(image: Image.Image, side: int) -> bytes:
    """The picture as JPEG bytes, made smaller where it is larger than ``side`` pixels."""
    image = image.copy()
    image.thumbnail((side, side))
    file = BytesIO()
    image.save(file, "JPEG", quality=85)
    return file.getvalue()


def pages(n_items: int, page_size: int) -> int:
    """Number of pages; 1 where there is nothing."""
    return max(1, -(-n_items // page_size))


def page_number(text: str, n_pages: int) -> int:
    """The page that an address names, from 1; the nearest one there is, and 1 for what is no number."""
    return min(max(int(text), 1), n_pages) if text.isdecimal() and len(text) < 10 else 1


def neighbours(image_id: str, among: Sequence[str]) -> tuple[str | None, str | None]:
    """The pictures before and after in a list; None at its ends, and where the list does not hold it."""
    if image_id not in among:
        return None, None
    at = among.index(image_id)
    return (among[at - 1] if at else None, among[at + 1] if at + 1 < len(among) else None)

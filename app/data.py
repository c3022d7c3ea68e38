"""Files to what the page shows: pictures, regions, captions, references and scores, joined by picture.

Nothing here knows the page. A `Collection` is opened once, does not change, and is shared by all sessions.
Only ids that were found below the picture folder lead to a file, and only through
`features.images.picture_path`; whatever an address says is looked up among them.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from app.boxes import find_lexicon
from app.build import Detected, build_index, index_key
from app.cache import CacheFolder
from app.index import Index, System
from app.settings import AppConfig
from app.sources import Captions, read_references, read_systems
from eval.tag_recall import MIN_SCORE, detections_of_predictions
from features.images import find_images, picture_path
from features.store import Regions, RegionStore
from features.tags import Lexicon


class Collection:
    """Everything that was opened.

    Attributes:
        root: Folder of the pictures.
        index: What is known of every picture.
        cache: Where thumbnails are kept.
        store: Regions, where a file was given.
        lexicon: Chinese names of the regions' classes; None where their vocabulary has none.
    """

    def __init__(
        self,
        root: Path,
        index: Index,
        cache: CacheFolder,
        store: RegionStore | None = None,
        lexicon: Lexicon | None = None,
    ) -> None:
        """Takes what `open_collection` has read."""
        self.root = root
        self.index = index
        self.cache = cache
        self.store = store
        self.lexicon = lexicon
        self._reading = threading.Lock()

    def __contains__(self, image_id: str) -> bool:
        """Whether there is a picture of that id."""
        return self.index.row(image_id) is not None

    @property
    def systems(self) -> tuple[System, ...]:
        """Captions by file, in the order given."""
        return self.index.systems

    def system(self, name: str | None) -> System | None:
        """The system of that name, else the first; None where there is none."""
        first = self.systems[0] if self.systems else None
        return next((system for system in self.systems if system.name == name), first)

    def path(self, image_id: str) -> Path:
        """The file of a picture.

        Raises:
            ValueError: The id is not one of ours, or its file has come to lie outside the folder.
        """
        if image_id not in self:
            raise ValueError(f"no picture {image_id!r} in {self.root}")
        return picture_path(self.root, image_id)

    def regions(self, image_id: str) -> Regions | None:
        """A picture's regions, where the regions file holds it."""
        with self._reading:  # of many shards only some are open at a time
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
    folder = CacheFolder.beside(config)
    files = (config.references, *config.predictions)
    key = index_key(image_ids, files, () if store is None else store_files(store.path))
    index = folder.index(key, lambda: _build(config, key, image_ids, store, lexicon))
    return Collection(config.images, index, folder, store, lexicon)


def _build(
    config: AppConfig, key: str, image_ids: Sequence[str], store: RegionStore | None, lexicon: Lexicon | None
) -> Index:
    references = read_references(config.references, image_ids)
    systems = read_systems(config.predictions, image_ids, references.numbers)
    detected = (
        detected_in_captions(systems) if store is None else detected_in_regions(image_ids, store, lexicon)
    )
    return build_index(key, image_ids, systems, references, detected)


def store_files(path: Path) -> list[Path]:
    """A regions file, or the shards of a folder."""
    return sorted(path.glob("*.h5")) if path.is_dir() else [path]


def detected_in_regions(image_ids: Sequence[str], store: RegionStore, lexicon: Lexicon | None) -> Detected:
    """The tags of regions that score enough to be tags, by their Chinese names, else by the English ones."""
    names = [
        (lexicon.chinese(at) if lexicon is not None else None) or english
        for at, english in enumerate(store.vocabulary)
    ]
    tags: dict[str, frozenset[str]] = {}
    counts: dict[str, int] = {}
    for image_id in image_ids:
        if image_id in store:
            ids, scores = store.objects(image_id)
            tags[image_id] = frozenset(names[at] for at in ids[scores >= MIN_SCORE].tolist())
            counts[image_id] = len(ids)
    vocabulary = frozenset(text for text in lexicon.texts if text) if lexicon is not None else frozenset()
    return Detected(tags=tags, counts=counts, vocabulary=vocabulary)


def detected_in_captions(systems: Sequence[Captions]) -> Detected:
    """The tags that stand beside the captions of the first file that has any."""
    for system in systems:
        if found := detections_of_predictions(system.predictions):
            return Detected(tags=found.objects, counts={}, vocabulary=found.vocabulary)
    return Detected(tags={}, counts={}, vocabulary=frozenset())

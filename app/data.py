"""Files to what the page shows: pictures, regions, captions, references and scores, joined by picture.

Nothing here knows the page. A `Collection` is opened once, does not change, and is shared by all sessions.
Only ids that were found below the picture folder lead to a file, and only through
`features.images.picture_path`; whatever an address says is looked up among them.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from concurrent.futures.process import BrokenProcessPool, ProcessPoolExecutor
from functools import cache
from multiprocessing import get_context
from pathlib import Path

from app.boxes import find_lexicon
from app.build import Detected, build_index
from app.cache import CacheFolder
from app.index import Index, System
from app.keys import index_key
from app.settings import AppConfig
from app.sources import read_references, read_systems
from eval.tag_recall import MIN_SCORE
from features.images import find_images, picture_path
from features.store import Regions, RegionStore
from features.tags import Lexicon

LARGE = 20_000_000
"""Bytes of caption files from which on another process makes the index; its memory is gone with it."""


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
    inputs = _Inputs(config)
    folder = CacheFolder.beside(config)
    index = folder.load(inputs.key)
    if index is None and folder.path is not None and inputs.n_bytes > LARGE:
        _make_in_a_process_of_its_own(config, len(inputs.image_ids))
        index = folder.load(inputs.key)
    if index is None:
        index = folder.keep(inputs.index())
    return Collection(inputs.root, index, folder, inputs.store, inputs.lexicon)


class _Inputs:
    """What the settings name, found and opened; captions are read only where there is no index."""

    def __init__(self, config: AppConfig) -> None:
        assert config.images is not None  # noqa: S101  (with_samples)
        self.config = config
        self.root = config.images
        self.image_ids = find_images(config.images)
        if not self.image_ids:
            raise ValueError(f"{config.images}: holds no picture; give a folder with pictures: --images DIR")
        self.store = None if config.regions is None else RegionStore(config.regions)
        # reads the file: errors show before the work
        self.lexicon = None if self.store is None else find_lexicon(self.store)
        captions = (config.references, *config.predictions)
        self.key = index_key(
            self.image_ids, captions, [] if self.store is None else store_files(self.store.path)
        )
        self.n_bytes = sum(path.stat().st_size for path in captions if path is not None and path.is_file())

    def index(self) -> Index:
        """Made of the files."""
        references = read_references(self.config.references, self.image_ids)
        systems = read_systems(self.config.predictions, self.image_ids, references.numbers)
        return build_index(self.key, self.image_ids, systems, references, self._detected())

    def _detected(self) -> Detected | None:
        return None if self.store is None else detected_in_regions(self.image_ids, self.store, self.lexicon)


def _make_in_a_process_of_its_own(config: AppConfig, n_pictures: int) -> None:
    """Keep an index that takes much memory to make, which this process then never holds."""
    sys.stderr.write(f"app: making the index of {n_pictures} pictures; this is done once\n")
    try:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            problem = pool.submit(_make, config).result()
    except BrokenProcessPool as error:
        raise ChildProcessError(
            "the process that makes the index was killed, probably for want of memory; open fewer files"
        ) from error
    if problem:
        raise ValueError(problem)


def _make(config: AppConfig) -> str:
    """Make and keep the index; what is wrong with the files, as exceptions of readers cannot all be sent."""
    try:
        CacheFolder.beside(config).keep(_Inputs(config).index())
    except (OSError, ValueError) as error:
        return str(error)
    return ""


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

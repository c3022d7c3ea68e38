"""An index of a few pictures without any file: for tests only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from app.build import Detected, build_index
from app.cache import CacheFolder
from app.data import Collection
from app.index import Index
from app.sources import Captions, References
from eval.annotations import PredictedCaption

NOTHING = References(captions={}, numbers={}, splits={})


def small_index(
    image_ids: Sequence[str],
    systems: Mapping[str, Mapping[str, str]] | None = None,
    references: Mapping[str, Sequence[str]] | None = None,
    tags: Mapping[str, Sequence[str]] | None = None,
    splits: Mapping[str, str] | None = None,
    counts: Mapping[str, int] | None = None,
    key: str = "key",
) -> Index:
    """Built as from files; captions by system and picture, tags by picture."""
    found = {image_id: frozenset(names) for image_id, names in (tags or {}).items()}
    return build_index(
        key,
        sorted(image_ids),
        [
            Captions(
                name=name,
                predictions={each: PredictedCaption(each, text) for each, text in captions.items()},
                unknown=0,
            )
            for name, captions in (systems or {}).items()
        ],
        References(
            captions={each: tuple(texts) for each, texts in (references or {}).items()},
            numbers={},
            splits=splits or {},
        ),
        Detected(
            tags=found,
            counts=counts or {},
            vocabulary=frozenset[str]().union(*found.values()),
        ),
    )


def small_folder(root: Path, image_ids: Sequence[str]) -> Collection:
    """The pictures of a folder, of which nothing else is known; nothing is kept on the disk."""
    return Collection(root, small_index(image_ids), CacheFolder(path=None))

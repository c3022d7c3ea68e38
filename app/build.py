"""The index, made of files: captions joined with pictures, cut into words, scored, searched for faults.

It is kept under a key that is the hash of all it was made of, so that a changed file is never shown with the
scores of the one before.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa

from app.index import METRICS, PICTURES, SYSTEM, WORDS, Index, Meta, SystemMeta
from app.sources import Captions, References
from eval.annotations import PredictedCaption
from eval.diversity import UNKNOWN, repeats
from eval.metrics import Scores
from eval.naming import Namer, one_name
from eval.protocols import Protocol, find_protocol
from eval.scorer import Scorer
from eval.segmentation import SegmentationCache, already_cut
from eval.segmenters import jieba_version

PROTOCOL = "aic-icc"
"""The headline protocol; its words are also what lengths are counted in."""


ROWS = 4096
"""Of a table, made at a time."""


@dataclass(frozen=True, kw_only=True)
class Detected:
    """What was detected in the pictures, or told to the captioner."""

    tags: Mapping[str, frozenset[str]]
    """Picture id -> tags; a picture that nobody looked at is missing."""
    counts: Mapping[str, int]
    """Picture id -> number of boxes."""
    vocabulary: frozenset[str]
    """All tags that there could be, by which captions are searched for objects."""


def index_key(image_ids: Sequence[str], captions: Iterable[Path | None], stores: Iterable[Path]) -> str:
    """Hash of all that an index is made of.

    Args:
        image_ids: Of the pictures.
        captions: Captions and references, in order; they are read whole.
        stores: Regions files and shards; these may have any size, so their size and time stand for them.
    """
    digest = hashlib.sha256(json.dumps([_code(), jieba_version(), list(image_ids)]).encode())
    for path in captions:
        digest.update(b"\0")
        if path is not None and path.is_file():  # else its reader will say so
            with path.open("rb") as file:
                digest.update(path.name.encode("utf-8", "surrogatepass"))
                digest.update(hashlib.file_digest(file, "sha256").digest())
    for path in stores:
        status = path.stat()
        digest.update(
            f"\0{path.name}\0{status.st_size}\0{status.st_mtime_ns}".encode("utf-8", "backslashreplace")
        )
    return digest.hexdigest()


def build_index(
    key: str,
    image_ids: Sequence[str],
    systems: Sequence[Captions],
    references: References,
    detected: Detected,
) -> Index:
    """Join, cut, score.

    Raises:
        ValueError: References hold no token.
    """
    protocol = _protocol(systems, references)
    scores = _scores(systems, references, protocol)
    words: dict[str, int] = {}
    namer = Namer(detected.vocabulary)
    tables, metas = [], []
    for system in systems:
        columns = _Columns(protocol.cut, words, namer, detected)
        tables.append(columns.table(image_ids, system.predictions, scores[system.name]))
        metas.append(_system_meta(system, scores[system.name]))
    tags = sorted(frozenset[str]().union(*detected.tags.values()))
    return Index(
        Meta(key=key, systems=tuple(metas), tags=tuple(tags)),
        _pictures(image_ids, references, detected, tags),
        tables,
        pa.table({"word": pa.array(list(words), pa.string())}, schema=WORDS),
    )


def _protocol(systems: Sequence[Captions], references: References) -> Protocol:
    """`PROTOCOL`, which knows every sentence."""
    sentences: list[set[str]] = [{each.caption for each in system.predictions.values()} for system in systems]
    sentences.append(set(chain.from_iterable(references.captions.values())))
    # Other processes begin by importing the main module, which must be a command's, not a page's.
    alone = threading.current_thread() is not threading.main_thread()
    return already_cut(
        find_protocol(PROTOCOL),
        sentences,
        known=SegmentationCache.of_user(),
        processes=1 if alone else os.cpu_count() or 1,
    )


def _scores(
    systems: Sequence[Captions], references: References, protocol: Protocol
) -> dict[str, Scores | None]:
    """Of each system over the pictures of which it has captions and people have; None where there is none."""
    scorers: dict[frozenset[str], Scorer] = {}
    found: dict[str, Scores | None] = {}
    for system in systems:
        pictures = frozenset(system.predictions.keys() & references.captions.keys())
        if not pictures:
            found[system.name] = None
            continue
        if pictures not in scorers:
            scorers[pictures] = Scorer({each: references.captions[each] for each in pictures}, protocol)
        texts = {image_id: system.predictions[image_id].caption for image_id in pictures}
        found[system.name] = scorers[pictures].score(texts)
    return found


def _system_meta(system: Captions, scores: Scores | None) -> SystemMeta:
    return SystemMeta(
        name=system.name,
        unknown=system.unknown,
        overall=scores.overall if scores else {},
        scored=scores.n_images if scores else 0,
        unit=scores.unit if scores else "",
        version=scores.version if scores else "",
    )


class _Columns:
    """The table of one system, filled picture by picture."""

    def __init__(
        self, cut: Callable[[str], list[str]], words: dict[str, int], namer: Namer, detected: Detected
    ) -> None:
        self._cut = cut
        self._words = words  # word -> row, shared by the systems and added to
        self._namer = namer
        self._detected = detected

    def table(
        self, image_ids: Sequence[str], predictions: Mapping[str, PredictedCaption], scores: Scores | None
    ) -> pa.Table:
        """A row for each picture."""
        twins = Counter(frozenset(self._cut(predicted.caption)) for predicted in predictions.values())
        per_image = scores.per_image if scores else {}

        def row(image_id: str) -> dict[str, Any]:
            numbers = {
                metric: value for metric, value in per_image.get(image_id, {}).items() if metric in METRICS
            }
            if image_id not in predictions:
                return _NOTHING
            said = self._said(image_id, predictions[image_id])
            alike = twins[frozenset(self._cut(predictions[image_id].caption))] - 1
            return _NOTHING | numbers | said | {"alike": alike}

        return _table(SYSTEM, image_ids, row)

    def _said(self, image_id: str, predicted: PredictedCaption) -> dict[str, Any]:
        tokens = self._cut(predicted.caption)
        detected = self._detected.tags.get(image_id)
        named = self._namer.objects(tokens) if detected is not None else frozenset()
        missing = named - frozenset(map(one_name, detected or ()))
        return {
            "caption": predicted.caption,
            "log_prob": predicted.log_prob,
            "score": predicted.score,
            "alternatives": [
                {"caption": each.caption, "log_prob": each.log_prob, "score": each.score}
                for each in predicted.alternatives
            ],
            "words": [self._words.setdefault(token, len(self._words)) for token in tokens],
            "repeated": repeats(tokens),
            "unknown": UNKNOWN in predicted.caption,
            "undetected": sorted(missing),
        }


_NOTHING: dict[str, Any] = {
    "caption": None,
    "log_prob": None,
    "score": None,
    "alternatives": [],
    **dict.fromkeys(METRICS, float("nan")),
    "words": [],
    "repeated": False,
    "unknown": False,
    "alike": 0,
    "undetected": [],
}
"""The row of a picture without a caption."""


def _pictures(
    image_ids: Sequence[str], references: References, detected: Detected, tags: Sequence[str]
) -> pa.Table:
    place = {tag: at for at, tag in enumerate(tags)}

    def row(image_id: str) -> dict[str, Any]:
        return {
            "image_id": image_id,
            "split": references.splits.get(image_id) or _first_folder(image_id),
            "regions": detected.counts.get(image_id, -1),
            "tags": sorted(place[tag] for tag in detected.tags.get(image_id, ())),
            "references": references.captions.get(image_id, ()),
        }

    return _table(PICTURES, image_ids, row)


def _table(schema: pa.Schema, image_ids: Sequence[str], row: Callable[[str], dict[str, Any]]) -> pa.Table:
    """A table of one chunk, made some rows at a time: before they are columns they are large."""
    batches = [
        pa.RecordBatch.from_pylist([row(each) for each in image_ids[start : start + ROWS]], schema)
        for start in range(0, len(image_ids), ROWS)
    ]
    return pa.Table.from_batches(batches, schema).combine_chunks()


def _first_folder(image_id: str) -> str:
    folder, slash, _ = image_id.partition("/")
    return folder if slash else ""


@cache
def _code() -> str:
    """Of all that makes an index: one that an older version made is not taken for this one's."""
    ours = [files("app") / f"{name}.py" for name in ("build", "data", "index", "sources")]
    theirs = [each for each in files("eval").iterdir() if each.name.endswith(".py")]
    digest = hashlib.sha256()
    for source in (*ours, *sorted(theirs, key=lambda each: each.name)):
        digest.update(source.read_bytes())
    return digest.hexdigest()

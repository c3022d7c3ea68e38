"""The index, made of files: captions joined with pictures, cut into words, scored, searched for faults."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from math import nan
from typing import Any

import pyarrow as pa

from app.alike import count_alike
from app.index import METRICS, PICTURES, SYSTEM, WORDS, Index, Meta, SystemMeta
from app.sources import Captions, References
from eval.diversity import UNKNOWN, repeats
from eval.metrics import Scores
from eval.naming import Namer, one_name
from eval.protocols import Protocol, find_protocol
from eval.scorer import Scorer
from eval.segmentation import SegmentationCache, already_cut
from eval.tag_recall import detections_of_predictions
from features.allocator import give_back_freed_memory

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


def build_index(
    key: str,
    image_ids: Sequence[str],
    systems: Iterable[Captions],
    references: References,
    detected: Detected | None = None,
) -> Index:
    """Join, cut, score.

    Args:
        key: Of the index.
        image_ids: Of the pictures, sorted.
        systems: Taken one at a time: of a file only columns are kept when the next is read.
        references: What people said.
        detected: In the pictures; without it the tags beside the captions of the first system that has any.
            Who calls had better not keep it.

    Raises:
        ValueError: References hold no token, or a file of captions cannot be used.
    """
    words: dict[str, int] = {}
    written, told = _write_all(systems, image_ids, words)
    detected = detected or told or Detected(tags={}, counts={}, vocabulary=frozenset())
    tags = sorted(frozenset[str]().union(*detected.tags.values()))
    pictures = _pictures(image_ids, references, detected, tags)
    missing = _Missing(list(words), detected)
    undetected = [missing.column(image_ids, each.table) for each in written]
    del told, detected, missing
    give_back_freed_memory()  # to whoever counts the references, which takes most
    scored = list(_scored(written, image_ids, references))
    return Index(
        Meta(key=key, systems=tuple(meta for meta, _ in scored), tags=tuple(tags)),
        pictures,
        [
            _joined(each.table, metrics, faults)
            for each, (_, metrics), faults in zip(written, scored, undetected, strict=True)
        ],
        pa.table({"word": pa.array(list(words), pa.string())}, schema=WORDS),
    )


@dataclass(frozen=True, kw_only=True)
class _Written:
    """What one system wrote, without what needs more than its file."""

    name: str
    unknown: int
    table: pa.Table
    """A row a picture, with the columns of `_SAID` and how many captions are alike."""

    def texts(self, image_ids: Sequence[str]) -> dict[str, str]:
        """Picture id -> caption.

        Taken from the table: a string of the file that is kept keeps the memory around it, which would be all
        of the file's.
        """
        pairs = zip(image_ids, self.table.column("caption").to_pylist(), strict=True)
        return {image_id: text for image_id, text in pairs if text is not None}


def _write_all(
    systems: Iterable[Captions], image_ids: Sequence[str], words: dict[str, int]
) -> tuple[list[_Written], Detected | None]:
    """All systems as columns, and the tags beside the captions of the first that has any."""
    written, told = [], None
    for system in systems:
        written.append(_write(system, image_ids, words))
        if told is None and (found := detections_of_predictions(system.predictions)) is not None:
            told = Detected(tags=found.objects, counts={}, vocabulary=found.vocabulary)
        del system  # before the next one is read
    return written, told


_SAID = pa.schema([each for each in SYSTEM if each.name not in (*METRICS, "alike", "undetected")])


def _write(system: Captions, image_ids: Sequence[str], words: dict[str, int]) -> _Written:
    """The captions of a system as columns; ``words`` (word -> row) is added to."""
    cut = _protocol([{each.caption for each in system.predictions.values()}]).cut

    def row(image_id: str) -> dict[str, Any]:
        predicted = system.predictions.get(image_id)
        if predicted is None:
            return _NOTHING
        tokens = cut(predicted.caption)
        return {
            "caption": predicted.caption,
            "log_prob": predicted.log_prob,
            "score": predicted.score,
            "alternatives": [vars(each) for each in predicted.alternatives],
            "words": [words.setdefault(token, len(words)) for token in tokens],
            "repeated": repeats(tokens),
            "unknown": UNKNOWN in predicted.caption,
        }

    table = _table(_SAID, image_ids, row)
    alike = count_alike(table.column("words").chunk(0))
    return _Written(
        name=system.name,
        unknown=system.unknown,
        table=table.append_column(SYSTEM.field("alike"), pa.array(alike)),
    )


_NOTHING: dict[str, Any] = {
    "caption": None,
    "log_prob": None,
    "score": None,
    "alternatives": [],
    "words": [],
    "repeated": False,
    "unknown": False,
}
"""The row of a picture without a caption."""


def _protocol(sentences: Sequence[Collection[str]]) -> Protocol:
    """`PROTOCOL`, which knows the sentences of each file."""
    # Other processes begin by importing the main module, which must be a command's, not a page's.
    alone = threading.current_thread() is not threading.main_thread()
    return already_cut(
        find_protocol(PROTOCOL),
        sentences,
        known=SegmentationCache.of_user(),
        processes=1 if alone else os.cpu_count() or 1,
    )


def _scored(
    written: Sequence[_Written], image_ids: Sequence[str], references: References
) -> Iterator[tuple[SystemMeta, dict[str, pa.Array]]]:
    """Each system's scores over the pictures of which it has captions and people have, as columns."""
    said = [each.texts(image_ids) for each in written]
    protocol = _protocol(
        [set(chain.from_iterable(references.captions.values())), *(set(texts.values()) for texts in said)]
    )
    scorers: dict[frozenset[str], Scorer] = {}
    for system, texts in zip(written, said, strict=True):
        pictures = frozenset(texts.keys() & references.captions.keys())
        scores = None
        if pictures:
            if pictures not in scorers:
                scorers[pictures] = Scorer({each: references.captions[each] for each in pictures}, protocol)
            scores = scorers[pictures].score({each: texts[each] for each in pictures})
        yield _system_meta(system, scores), _metrics(scores, image_ids)


def _system_meta(system: _Written, scores: Scores | None) -> SystemMeta:
    return SystemMeta(
        name=system.name,
        unknown=system.unknown,
        overall=scores.overall if scores else {},
        scored=scores.n_images if scores else 0,
        unit=scores.unit if scores else "",
        version=scores.version if scores else "",
    )


def _metrics(scores: Scores | None, image_ids: Sequence[str]) -> dict[str, pa.Array]:
    """A column a metric; NaN where a picture has no score."""
    per_image = scores.per_image if scores else {}
    return {
        metric: pa.array([per_image[each][metric] if each in per_image else nan for each in image_ids])
        for metric in METRICS
    }


class _Missing:
    """Objects that captions name and that were not detected."""

    def __init__(self, words: Sequence[str], detected: Detected) -> None:
        self._words = words
        self._detected = detected.tags
        self._namer = Namer(detected.vocabulary)

    def column(self, image_ids: Sequence[str], table: pa.Table) -> dict[str, pa.Array]:
        """The objects of each row, sorted."""
        rows = chain.from_iterable(
            batch.column("words").to_pylist() for batch in table.to_batches(max_chunksize=ROWS)
        )
        found = (self._of(image_id, words) for image_id, words in zip(image_ids, rows, strict=True))
        return {"undetected": pa.array(found, SYSTEM.field("undetected").type, size=len(image_ids))}

    def _of(self, image_id: str, words: Sequence[int]) -> list[str]:
        tags = self._detected.get(image_id)
        if tags is None:  # nobody looked
            return []
        named = self._namer.objects([self._words[word] for word in words])
        return sorted(named - frozenset(map(one_name, tags)))


def _joined(table: pa.Table, *more: Mapping[str, pa.Array]) -> pa.Table:
    """The table with more columns, in the order of `SYSTEM`."""
    for columns in more:
        for name, values in columns.items():
            table = table.append_column(SYSTEM.field(name), values)
    return table.select(SYSTEM.names)


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

"""The index: pictures x systems as columns, so that a hundred thousand pictures are filtered at a glance.

It is made once by `app.build` and read by mapping its Arrow files into memory: what nobody looks at stays on
the disk. Row i of every table is picture i, in the order of the ids.

===================  ========================================================================================
``pictures.arrow``   image_id, split (of the references' file, else the first folder), regions (-1: not in
                     the regions file), tags (rows of the list of tags), references
``system-N.arrow``   caption (null: none), log_prob, score, alternatives; bleu-4, rouge-l, cider (NaN: no
                     references); words (rows of the list of words), repeated, unknown, alike (how many other
                     pictures have nearly the same caption), undetected (objects named, not detected)
``words.arrow``      every word of a caption of any system
``meta.json``        the key, and what is true of all: tags, names, numbers of all pictures together
===================  ========================================================================================
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from eval.annotations import PredictedCaption, ScoredCaption

Floats = NDArray[np.float64]
Ints = NDArray[np.int32]
Mask = NDArray[np.bool_]

METRICS = ("cider", "bleu-4", "rouge-l")
"""The scores of a picture, the first being what pictures are ranked by."""

_ALTERNATIVE = pa.struct([("caption", pa.string()), ("log_prob", pa.float64()), ("score", pa.float64())])
PICTURES = pa.schema(
    [
        ("image_id", pa.string()),
        ("split", pa.string()),
        ("regions", pa.int32()),
        ("tags", pa.list_(pa.int32())),
        ("references", pa.list_(pa.string())),
    ]
)
SYSTEM = pa.schema(
    [
        ("caption", pa.string()),
        ("log_prob", pa.float64()),
        ("score", pa.float64()),
        ("alternatives", pa.list_(_ALTERNATIVE)),
        *((metric, pa.float64()) for metric in METRICS),
        ("words", pa.list_(pa.int32())),
        ("repeated", pa.bool_()),
        ("unknown", pa.bool_()),
        ("alike", pa.int32()),
        ("undetected", pa.list_(pa.string())),
    ]
)
WORDS = pa.schema([("word", pa.string())])


class IndexDamaged(ValueError):
    """Files that are no index of this program; it is made again."""


@dataclass(frozen=True, kw_only=True)
class SystemMeta:
    """What is true of all captions of a system."""

    name: str
    """Of the file, made unique."""
    unknown: int
    """Captions of pictures that are not in the folder."""
    overall: dict[str, float]
    """Metric -> score of all pictures with references; empty where there are none."""
    scored: int
    """Pictures with references."""
    unit: str
    """What the scores count."""
    version: str
    """Of the segmenter."""


@dataclass(frozen=True, kw_only=True)
class Meta:
    """What is true of the whole index."""

    key: str
    """Hash of all that it was made of; see `app.keys.index_key`."""
    systems: tuple[SystemMeta, ...]
    tags: tuple[str, ...]
    """Every tag of any picture, sorted."""

    def to_json(self) -> str:
        """`from_json` reads it back."""
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Meta:
        """Raises KeyError, TypeError or ValueError where it is something else."""
        values = json.loads(text)
        systems = tuple(SystemMeta(**each) for each in values["systems"])
        return cls(key=values["key"], systems=systems, tags=tuple(values["tags"]))


class System:
    """The captions of one file, by row."""

    def __init__(self, meta: SystemMeta, table: pa.Table) -> None:
        self.meta = meta
        self.name = meta.name
        self._table = table

    def column(self, name: str) -> pa.Array:
        """A column as one Arrow array."""
        return _column(self._table, name)

    def numbers(self, name: str) -> NDArray[Any]:
        """(N,) of a column of numbers, not copied."""
        return self.column(name).to_numpy(zero_copy_only=False)

    @cached_property
    def captioned(self) -> Mask:
        """(N,) where there is a caption."""
        return self.column("caption").is_valid().to_numpy(zero_copy_only=False)

    @cached_property
    def n_captions(self) -> int:
        """Pictures of the folder with a caption."""
        return int(self.captioned.sum())

    @cached_property
    def lengths(self) -> Ints:
        """(N,) words; 0 where there is no caption."""
        return pc.list_value_length(self.column("words")).to_numpy(zero_copy_only=False)

    @cached_property
    def has_undetected(self) -> Mask:
        """(N,) where the caption names an object that was not detected."""
        return pc.list_value_length(self.column("undetected")).to_numpy(zero_copy_only=False) > 0

    def caption(self, row: int) -> str | None:
        """The text of one picture's caption."""
        return self.column("caption")[row].as_py()

    def predicted(self, row: int) -> PredictedCaption | None:
        """One picture's caption with its alternatives; None where there is none."""
        text = self.caption(row)
        if text is None:
            return None
        others = self.column("alternatives")[row].as_py()
        return PredictedCaption(
            image_id="",
            caption=text,
            log_prob=self.column("log_prob")[row].as_py(),
            score=self.column("score")[row].as_py(),
            alternatives=tuple(ScoredCaption(**each) for each in others),
        )

    def scores(self, row: int) -> dict[str, float]:
        """Metric -> score of one picture; empty where it has no references or no caption."""
        found = {metric: float(self.numbers(metric)[row]) for metric in METRICS}
        return {metric: value for metric, value in found.items() if not np.isnan(value)}

    def undetected(self, row: int) -> list[str]:
        """Objects that the caption names and that were not detected."""
        return self.column("undetected")[row].as_py()


class Index:
    """Pictures and systems by row."""

    def __init__(self, meta: Meta, pictures: pa.Table, systems: Sequence[pa.Table], words: pa.Table) -> None:
        """Takes the tables as the module describes them.

        Raises:
            IndexDamaged: They are not.
        """
        self.meta = meta
        self._pictures = pictures
        _check("pictures", pictures, PICTURES)
        _check("words", words, WORDS)
        if len(systems) != len(meta.systems):
            raise IndexDamaged(f"{len(systems)} tables for {len(meta.systems)} systems")
        for table in systems:
            _check("system", table, SYSTEM, len(pictures))
        self.systems = tuple(map(System, meta.systems, systems))
        self.words = _column(words, "word")

    def __len__(self) -> int:
        return len(self._pictures)

    def column(self, name: str) -> pa.Array:
        """A column of the pictures as one Arrow array."""
        return _column(self._pictures, name)

    @cached_property
    def regions(self) -> Ints:
        """(N,) boxes; -1 where the regions file does not hold the picture."""
        return self.column("regions").to_numpy(zero_copy_only=False)

    @cached_property
    def splits(self) -> list[str]:
        """All there are, without the empty one."""
        return sorted(set(self.column("split").unique().to_pylist()) - {""})

    @cached_property
    def n_described(self) -> int:
        """Pictures that people described."""
        lengths = pc.list_value_length(self.column("references"))
        return int(np.count_nonzero(lengths.to_numpy(zero_copy_only=False)))

    @cached_property
    def tag_counts(self) -> Mapping[str, int]:
        """Tag -> pictures that have it, the most frequent first."""
        counts = np.bincount(self.column("tags").flatten().to_numpy(), minlength=len(self.meta.tags))
        order = np.argsort(-counts, kind="stable")
        return {self.meta.tags[at]: int(counts[at]) for at in order}

    def image_id(self, row: int) -> str:
        """Of the picture of a row."""
        return self.column("image_id")[row].as_py()

    def row(self, image_id: str) -> int | None:
        """Of a picture; None where the folder has none of that id."""
        ids = self.column("image_id")
        at = bisect_left(range(len(ids)), image_id, key=lambda row: ids[row].as_py())
        return at if at < len(ids) and ids[at].as_py() == image_id else None

    def references(self, row: int) -> tuple[str, ...]:
        """What people said of a picture."""
        return tuple(self.column("references")[row].as_py())

    def tags(self, row: int) -> list[str]:
        """A picture's tags."""
        return [self.meta.tags[tag] for tag in self.column("tags")[row].as_py()]

    def split(self, row: int) -> str:
        """Which part of the data set a picture is in."""
        return self.column("split")[row].as_py()

    def save(self, folder: Path) -> None:
        """Write the files into an empty folder."""
        tables = {"pictures": self._pictures, "words": pa.table([self.words], schema=WORDS)}
        tables |= {f"system-{at}": system._table for at, system in enumerate(self.systems)}
        for name, table in tables.items():
            with (
                pa.OSFile(str(folder / f"{name}.arrow"), "wb") as file,
                pa.ipc.new_file(file, table.schema) as writer,
            ):
                writer.write_table(table, max_chunksize=max(1, len(table)))
        (folder / "meta.json").write_text(self.meta.to_json(), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path, key: str) -> Index:
        """Map the files of a folder into memory.

        Raises:
            IndexDamaged: They are missing, broken, or were made of something else than ``key`` says.
        """
        try:
            meta = Meta.from_json((folder / "meta.json").read_text(encoding="utf-8"))
            if meta.key != key:
                raise IndexDamaged(f"{folder}: made of other files")
            names = ["pictures", "words", *(f"system-{at}" for at in range(len(meta.systems)))]
            pictures, words, *systems = (_mapped(folder / f"{name}.arrow") for name in names)
            return cls(meta, pictures, systems, words)
        except (OSError, KeyError, TypeError, ValueError, pa.ArrowException) as error:
            raise IndexDamaged(f"{folder}: {error}") from error


def _mapped(path: Path) -> pa.Table:
    with pa.memory_map(str(path)) as file:
        table = pa.ipc.open_file(file).read_all()
    table.validate(full=True)
    return table


def _check(name: str, table: pa.Table, schema: pa.Schema, n_rows: int | None = None) -> None:
    if not table.schema.equals(schema) or n_rows not in (None, len(table)):
        raise IndexDamaged(f"{name}: found {len(table)} rows of {table.schema}; wanted {n_rows} of {schema}")


def _column(table: pa.Table, name: str) -> pa.Array:
    chunks = table.column(name).chunks
    if len(chunks) == 1:
        return chunks[0]
    return pa.concat_arrays(chunks) if chunks else pa.array([], table.schema.field(name).type)

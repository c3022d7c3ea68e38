"""Object tags in Chinese: class ids of a regions file, read through a versioned lexicon.

A regions file holds class ids and scores only; their Chinese names are looked up when it is
read, so that a better translation never needs another extraction. A lexicon is a TSV file with
the columns ``vocab id en zh canonical_id drop``: ``canonical_id`` merges synonyms (the class is
then called what that class is called), ``drop`` = 1 hides a class that says nothing in a caption.
"""

from __future__ import annotations

import csv
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from features.store import Regions

__all__ = ["Lexicon", "LexiconError", "Tag", "tags_of"]

_COLUMNS = ["vocab", "id", "en", "zh", "canonical_id", "drop"]
_VERSION = re.compile(r"#.*\bversion (\d+)")


class LexiconError(ValueError):
    """A lexicon that does not exist, cannot be read, or belongs to another vocabulary."""


@dataclass(frozen=True)
class Tag:
    """One object named.

    Attributes:
        text: Chinese.
        name: The English class name.
        score: Of the best region so named, in [0, 1].
    """

    text: str
    name: str
    score: float


@dataclass(frozen=True)
class Lexicon:
    """Chinese names of one vocabulary's classes; row i belongs to object id i.

    Attributes:
        name: "zh", or the path of a user's own file.
        vocabulary_id: "voc-20", "coco-80".
        version: Of the file, counted up with every change.
        sha256: Of the file's bytes; recorded by every model that read tags through it.
        english: Class names.
        texts: Chinese names after merging; None where the class is dropped.
    """

    name: str
    vocabulary_id: str
    version: int
    sha256: str
    english: tuple[str, ...]
    texts: tuple[str | None, ...]

    @staticmethod
    def load(name_or_path: str | Path = "zh", vocabulary_id: str = "voc-20") -> Lexicon:
        """Read a lexicon: "zh" is ours, anything else is the path of a TSV file.

        Raises:
            LexiconError: No such vocabulary or file (the message lists those that exist), or broken lines.
        """
        if str(name_or_path) == "zh":
            folder = files("features") / "lexicons"
            source: Traversable = folder / f"{vocabulary_id}.tsv"
            known = sorted(f.name.removesuffix(".tsv") for f in folder.iterdir() if f.name.endswith(".tsv"))
            if vocabulary_id not in known:
                raise LexiconError(
                    f"no Chinese lexicon for the vocabulary {vocabulary_id!r}; there are {', '.join(known)}"
                )
        else:
            source = Path(name_or_path)
            if not source.is_file():
                raise LexiconError(f"{source}: no such lexicon file; 'zh' is the one that is included")
        return _parse(str(name_or_path), str(source), source.read_bytes(), vocabulary_id)

    def chinese(self, object_id: int) -> str | None:
        """What a class is called in a caption; None where it is dropped."""
        return self.texts[object_id]

    def check(self, vocabulary: Sequence[str]) -> None:
        """Prove that the lexicon was made for these classes.

        Raises:
            LexiconError: Another number of classes, or another name in a row.
        """
        if len(vocabulary) != len(self.english):
            raise LexiconError(
                f"lexicon {self.name!r} names {len(self.english)} classes ({self.vocabulary_id}), "
                f"the regions have {len(vocabulary)}; use the lexicon of their vocabulary"
            )
        for row, (ours, theirs) in enumerate(zip(self.english, vocabulary, strict=True)):
            if ours != theirs:
                raise LexiconError(
                    f"lexicon {self.name!r} calls class {row} {ours!r}, the regions call it {theirs!r}; "
                    "use the lexicon of their vocabulary"
                )


def _parse(name: str, path: str, data: bytes, vocabulary_id: str) -> Lexicon:
    try:
        lines = data.decode("utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise LexiconError(f"{path}: not UTF-8 ({error.reason} at byte {error.start})") from error
    version = _VERSION.match(lines[0]) if lines else None
    if version is None or lines[1:2] != ["\t".join(_COLUMNS)]:
        raise LexiconError(
            f"{path}: not a lexicon; wanted is a first line '# … version N' and then the columns "
            f"{' '.join(_COLUMNS)}, separated by tabs"
        )
    rows = list(csv.DictReader(lines[1:], delimiter="\t", quoting=csv.QUOTE_NONE))
    for number, row in enumerate(rows):
        where = f"{path}, line {number + 3}"
        if None in row or None in row.values() or row["drop"] not in ("0", "1"):
            raise LexiconError(f"{where}: wanted are {len(_COLUMNS)} columns, drop being 0 or 1")
        if row["vocab"] != vocabulary_id or row["id"] != str(number):
            raise LexiconError(
                f"{where}: found class {row['id']} of {row['vocab']!r}, wanted class {number} of "
                f"{vocabulary_id!r}; ids count from 0 without gaps"
            )
        if not row["canonical_id"].isdecimal() or int(row["canonical_id"]) >= len(rows):
            raise LexiconError(f"{where}: canonical_id {row['canonical_id']!r} is no class of the file")
        if not row["zh"].strip() and row["drop"] == "0":
            raise LexiconError(f"{where}: class {row['en']!r} has no Chinese name; write one, or drop = 1")
    texts: list[str | None] = []
    for row in rows:
        canonical = rows[int(row["canonical_id"])]
        texts.append(None if "1" in (row["drop"], canonical["drop"]) else canonical["zh"].strip())
    return Lexicon(
        name=name,
        vocabulary_id=vocabulary_id,
        version=int(version[1]),
        sha256=hashlib.sha256(data).hexdigest(),
        english=tuple(row["en"] for row in rows),
        texts=tuple(texts),
    )


def tags_of(
    regions: Regions,
    lexicon: Lexicon,
    *,
    min_score: float = 0.2,
    max_tags: int | None = None,
    keep_duplicates: bool = False,
) -> list[Tag]:
    """Tags of a picture, best first.

    Args:
        regions: Of the picture.
        lexicon: For the vocabulary of their object ids.
        min_score: Regions below are not named; 0.2 is the threshold of bottom-up attention.
        max_tags: Cut after this many.
        keep_duplicates: One tag a region, as the original Oscar has it; otherwise one a Chinese word.
    """
    tags: list[Tag] = []
    seen: set[str] = set()
    order = sorted(range(len(regions.object_ids)), key=lambda row: -float(regions.object_scores[row]))
    for row in order:
        object_id, score = int(regions.object_ids[row]), float(regions.object_scores[row])
        text = lexicon.chinese(object_id)
        if score < min_score or text is None or (text in seen and not keep_duplicates):
            continue
        seen.add(text)
        tags.append(Tag(text=text, name=lexicon.english[object_id], score=score))
    return tags[:max_tags]

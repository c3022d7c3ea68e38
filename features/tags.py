"""Object tags in Chinese: class ids of a regions file, read through a versioned lexicon.

A regions file holds class ids and scores only; their Chinese names are looked up when it is
read, so that a better translation never needs another extraction. A lexicon is a TSV file with
the columns ``vocab id en zh canonical_id drop``: ``canonical_id`` merges synonyms (the class is
then called what that class is called), ``drop`` = 1 hides a class that says nothing in a caption.

The rows of a file whose ``vocab`` is a vocabulary's id are that vocabulary's classes, in order. A
file with ``words`` there is a glossary: classes are looked up in it by their English names, so that
one glossary serves the overlapping class lists of Visual Genome. JSON files of English: Chinese, such
as ``chinese_label.json`` of Mengzi-Oscar, are glossaries too.
"""

from __future__ import annotations

import csv
import hashlib
import json
import re
import warnings
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
_WORDS = "words"
"""Stands in the column ``vocab`` of a glossary."""
_GLOSSARIES = {
    "objects": "objects",
    "vg-1600": "objects",
    "vinvl-1594": "objects",
    "vg-400-attributes": "attributes",
    "vinvl-524-attributes": "attributes",
}
"""Our glossary of each vocabulary that has no file of its own; "objects" is any list of classes."""


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
    """Chinese names of one vocabulary's classes; row i belongs to object (or attribute) id i.

    Attributes:
        name: "zh", or the path of a user's own file.
        vocabulary_id: "voc-20", "vg-1600".
        version: Of the file, counted up with every change; 0 for JSON, which has none.
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
    def load(
        name_or_path: str | Path = "zh", vocabulary_id: str = "voc-20", classes: Sequence[str] | None = None
    ) -> Lexicon:
        """Read a lexicon: "zh" is ours, anything else is the path of a TSV or JSON file.

        Args:
            name_or_path: "zh" or a file.
            vocabulary_id: Of the class list.
            classes: English names by id, as the regions file has them. They must be those of a file in
                order; in a glossary they are looked up, and one that it lacks keeps its English name, with
                a warning.

        Raises:
            LexiconError: No such vocabulary or file (the message lists those that exist), broken lines,
                other classes than the file's, or a glossary without ``classes`` to look up.
        """
        name = str(name_or_path)
        source = _included(vocabulary_id) if name == "zh" else Path(name_or_path)
        if not source.is_file():
            raise LexiconError(f"{source}: no such lexicon file; 'zh' is the one that is included")
        data = source.read_bytes()
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError as error:
            raise LexiconError(f"{source}: not UTF-8 ({error.reason} at byte {error.start})") from error
        read = _parse_json if source.name.endswith(".json") else _parse_tsv
        version, is_glossary, names = read(str(source), text, vocabulary_id)
        if is_glossary:
            english, texts = _look_up(names, classes, name, vocabulary_id)
        else:
            english, texts = tuple(names), tuple(names.values())
            _check(english, english if classes is None else classes, name, vocabulary_id)
        return Lexicon(
            name=name,
            vocabulary_id=vocabulary_id,
            version=version,
            sha256=hashlib.sha256(data).hexdigest(),
            english=english,
            texts=texts,
        )

    def chinese(self, object_id: int) -> str | None:
        """What a class is called in a caption; None where it is dropped."""
        return self.texts[object_id]


_Names = dict[str, str | None]
"""English name -> Chinese name, None where the class is dropped; in the order of the file."""


def _included(vocabulary_id: str) -> Traversable:
    folder = files("features") / "lexicons"
    found = {f.name.removesuffix(".tsv") for f in folder.iterdir() if f.name.endswith(".tsv")}
    known = sorted(found - set(_GLOSSARIES.values()) | set(_GLOSSARIES))
    if vocabulary_id not in known:
        raise LexiconError(
            f"no Chinese lexicon for the vocabulary {vocabulary_id!r}; there are {', '.join(known)}"
        )
    return folder / f"{_GLOSSARIES.get(vocabulary_id, vocabulary_id)}.tsv"


def _parse_tsv(path: str, text: str, vocabulary_id: str) -> tuple[int, bool, _Names]:
    """Version, whether the file is a glossary, and its names."""
    lines = text.splitlines()
    version = _VERSION.match(lines[0]) if lines else None
    if version is None or lines[1:2] != ["\t".join(_COLUMNS)]:
        raise LexiconError(
            f"{path}: not a lexicon; wanted is a first line '# … version N' and then the columns "
            f"{' '.join(_COLUMNS)}, separated by tabs"
        )
    rows = list(csv.DictReader(lines[1:], delimiter="\t", quoting=csv.QUOTE_NONE))
    is_glossary = bool(rows) and rows[0]["vocab"] == _WORDS
    vocab = _WORDS if is_glossary else vocabulary_id
    seen: set[str] = set()
    for number, row in enumerate(rows):
        where = f"{path}, line {number + 3}"
        if None in row or None in row.values() or row["drop"] not in ("0", "1"):
            raise LexiconError(f"{where}: wanted are {len(_COLUMNS)} columns, drop being 0 or 1")
        if row["vocab"] != vocab or row["id"] != str(number):
            raise LexiconError(
                f"{where}: found class {row['id']} of {row['vocab']!r}, wanted class {number} of "
                f"{vocab!r}; ids count from 0 without gaps"
            )
        if not row["canonical_id"].isdecimal() or int(row["canonical_id"]) >= len(rows):
            raise LexiconError(f"{where}: canonical_id {row['canonical_id']!r} is no class of the file")
        if not row["zh"].strip() and row["drop"] == "0":
            raise LexiconError(f"{where}: class {row['en']!r} has no Chinese name; write one, or drop = 1")
        if row["en"] in seen:
            raise LexiconError(f"{where}: class {row['en']!r} is named a second time")
        seen.add(row["en"])
    names: _Names = {}
    for row in rows:
        canonical = rows[int(row["canonical_id"])]
        names[row["en"]] = None if "1" in (row["drop"], canonical["drop"]) else canonical["zh"].strip()
    return int(version[1]), is_glossary, names


def _parse_json(path: str, text: str, vocabulary_id: str) -> tuple[int, bool, _Names]:
    """As `_parse_tsv`, of a JSON object English: Chinese, which has no version and drops no class."""
    try:
        names = json.loads(text)
    except json.JSONDecodeError as error:
        raise LexiconError(f"{path}: not JSON ({error})") from error
    if not isinstance(names, dict):
        raise LexiconError(f"{path}: not a lexicon; wanted is one JSON object of English: Chinese")
    for english, chinese in names.items():
        if not isinstance(chinese, str) or not chinese.strip():
            raise LexiconError(f"{path}: {english!r} is called {chinese!r}; wanted is a Chinese name")
    return 0, True, {english: chinese.strip() for english, chinese in names.items()}


def _look_up(
    names: _Names, classes: Sequence[str] | None, name: str, vocabulary_id: str
) -> tuple[tuple[str, ...], tuple[str | None, ...]]:
    """The classes, and what a glossary calls each."""
    if classes is None:
        raise LexiconError(
            f"lexicon {name!r} knows the words of {vocabulary_id} but not their order; "
            "give the class names of the regions file (classes=store.vocabulary)"
        )
    missing = [each for each in classes if each not in names]
    if missing:
        shown = ", ".join(missing[:5]) + (", …" if len(missing) > 5 else "")
        warnings.warn(
            f"lexicon {name!r} has no word for {len(missing)} of {len(classes)} classes of "
            f"{vocabulary_id} ({shown}): they keep their English names",
            stacklevel=3,
        )
    return tuple(classes), tuple(names.get(each, each) for each in classes)


def _check(ours: Sequence[str], theirs: Sequence[str], name: str, vocabulary_id: str) -> None:
    """Prove that a file in order was made for these classes."""
    if len(theirs) != len(ours):
        raise LexiconError(
            f"lexicon {name!r} names {len(ours)} classes ({vocabulary_id}), "
            f"the regions have {len(theirs)}; use the lexicon of their vocabulary"
        )
    for row, (our, their) in enumerate(zip(ours, theirs, strict=True)):
        if our != their:
            raise LexiconError(
                f"lexicon {name!r} calls class {row} {our!r}, the regions call it {their!r}; "
                "use the lexicon of their vocabulary"
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

"""What people write while they look: marks, corrections, votes, saved views. Never over an original.

Everything lies in one folder, each thing in a file of its own that other programs can read:

===========================  =============================================================================
``corrections/SYSTEM.json``  COCO results, one record a picture: ``image_id``, ``caption`` (as corrected),
                             ``original``, ``note`` (who, when, why: whatever its author says)
``votes.csv``                a line a vote: ``image_id``, ``best``, ``systems``; of a picture and its systems
                             the last line counts
``marked.json``              list of picture ids
``views.json``               name -> the address behind the question mark
===========================  =============================================================================
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from functools import cache
from io import StringIO
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from app.settings import AppConfig
from eval.lines import cell_text, plain_cell

TIE = "tie"
"""What a vote says that finds no caption the best."""
VOTE_COLUMNS = ("image_id", "best", "systems")
LONGEST_FILE = 120
"""Characters of a file's name, of which one that is not ASCII takes nine."""
LONGEST_NAME = 60

T = TypeVar("T")
Votes = dict[tuple[str, tuple[str, ...]], str]
"""(Picture, systems compared) -> the best of them, or `TIE`."""


class NotesRefused(Exception):
    """Something cannot be written or read; the message says what and why."""


@dataclass(frozen=True, kw_only=True)
class Correction:
    """A caption as somebody would have it."""

    image_id: str
    caption: str
    original: str
    note: str


class Notes:
    """The folder, shared by all sessions of a process; a file that somebody else changed is read again."""

    def __init__(self, folder: Path) -> None:
        """Nothing is written before somebody writes."""
        self.folder = folder
        self._lock = threading.RLock()
        self._known: dict[Path, tuple[tuple[int, int] | None, Any]] = {}

    def _read(self, path: Path, parse: Callable[[Path], T]) -> T:
        """What a file holds, or held when it was last read and has not changed since."""
        with self._lock:
            state = _state(path)
            known = self._known.get(path)
            if known is None or known[0] != state:
                known = self._known[path] = (state, parse(path))
            held: T = known[1]
            return held

    @classmethod
    def beside(cls, config: AppConfig) -> Notes:
        """The folder that the settings name, else ``tushuo-notes`` beside the captions, else right here."""
        output = config.predictions[0].parent if config.predictions else Path()
        return cls(config.notes or output / "tushuo-notes")

    @property
    def marked(self) -> frozenset[str]:
        """Pictures that somebody marked."""
        return self._read(self.folder / "marked.json", _marked)

    def mark(self, image_id: str, on: bool) -> None:
        """Mark a picture, or take its mark away."""
        with self._lock:
            marked = self.marked | {image_id} if on else self.marked - {image_id}
            _write(self.folder / "marked.json", sorted(marked))

    def corrections(self, system: str) -> Mapping[str, Correction]:
        """Of one system's captions, by picture."""
        return self._read(self._corrections_path(system), _corrections)

    def correct(self, system: str, correction: Correction) -> None:
        """Keep a corrected caption; one that is empty or as the original takes the correction back."""
        with self._lock:
            found = {**self.corrections(system), correction.image_id: correction}
            if correction.caption.strip() in ("", correction.original):
                del found[correction.image_id]
            _write(self._corrections_path(system), [asdict(found[each]) for each in sorted(found)])

    def _corrections_path(self, system: str) -> Path:
        name = quote(system, safe=" ()", errors="surrogateescape")
        if len(name) > LONGEST_FILE:  # where two are cut to the same, their hashes tell them apart
            name = f"{name[:LONGEST_FILE]}-{hashlib.sha256(name.encode()).hexdigest()[:16]}"
        return self.folder / "corrections" / f"{name}.json"

    @property
    def votes(self) -> Votes:
        """All that count."""
        return self._read(self.folder / "votes.csv", _votes)

    def vote(self, image_id: str, systems: Sequence[str], best: str) -> None:
        """Add a vote."""
        path = self.folder / "votes.csv"
        with self._lock, _refusing(path):
            _ = self.votes  # a file that is something else is not written to
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a", encoding="utf-8", newline="") as file:
                table = csv.writer(file)
                if not file.tell():
                    table.writerow(VOTE_COLUMNS)
                table.writerow(map(cell_text, (image_id, best, "|".join(systems))))
                file.flush()
                os.fsync(file.fileno())

    @property
    def views(self) -> dict[str, dict[str, list[str]]]:
        """Name -> query of an address, in the order saved."""
        return self._read(self.folder / "views.json", _views)

    def save_view(self, name: str, query: Mapping[str, Sequence[str]] | None) -> None:
        """Keep an address under a name; None forgets it."""
        name = name.strip()[:LONGEST_NAME]
        with self._lock:
            saved = {each: found for each, found in self.views.items() if each != name}
            if query is not None and name:
                saved[name] = {key: list(texts) for key, texts in query.items()}
            _write(self.folder / "views.json", saved)


@cache
def open_notes(config: AppConfig) -> Notes:
    """One folder a process, for all sessions."""
    return Notes.beside(config)


def _marked(path: Path) -> frozenset[str]:
    return frozenset(map(str, _json(path, list)))


def _corrections(path: Path) -> dict[str, Correction]:
    records = [each for each in _json(path, list) if isinstance(each, dict)]
    names = [each.name for each in fields(Correction)]
    found = [Correction(**{name: str(each.get(name, "")) for name in names}) for each in records]
    return {each.image_id: each for each in found}


def _votes(path: Path) -> Votes:
    found: Votes = {}
    for number, row in enumerate(csv.reader(StringIO(_text(path), newline="")), start=1):
        if len(row) != len(VOTE_COLUMNS):
            raise NotesRefused(f"{path}, record {number}: wanted are the columns {', '.join(VOTE_COLUMNS)}")
        image_id, best, systems = map(plain_cell, row)
        if number > 1:
            found[image_id, tuple(systems.split("|"))] = best
    return found


def _views(path: Path) -> dict[str, dict[str, list[str]]]:
    return {
        str(name): {str(key): list(map(str, texts)) for key, texts in query.items()}
        for name, query in _json(path, dict).items()
        if isinstance(query, dict) and all(isinstance(texts, list) for texts in query.values())
    }


def _state(path: Path) -> tuple[int, int] | None:
    """By which a changed file is known; None where there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size


def _write(path: Path, value: object) -> None:
    """JSON, whole or not at all."""
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    with _refusing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with aside.open("w", encoding="utf-8") as file:
                file.write(json.dumps(value, ensure_ascii=False, indent=1) + "\n")
                file.flush()
                os.fsync(file.fileno())
            aside.replace(path)
        finally:
            aside.unlink(missing_ok=True)


def _text(path: Path) -> str:
    """The text of a file; none where there is no file."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeError) as error:
        raise NotesRefused(_reason(path, error)) from error


def _json(path: Path, kind: type) -> Any:
    text = _text(path)
    try:
        value = json.loads(text) if text else kind()
    except ValueError as error:
        raise NotesRefused(f"{path}: broken JSON ({error})") from error
    if not isinstance(value, kind):
        raise NotesRefused(f"{path}: wanted a JSON {kind.__name__}, found {type(value).__name__}")
    return value


@contextmanager
def _refusing(path: Path) -> Iterator[None]:
    """Turns what goes wrong with a file into `NotesRefused`."""
    try:
        yield
    except (OSError, UnicodeError) as error:
        raise NotesRefused(_reason(path, error)) from error


def _reason(path: Path, error: Exception) -> str:
    return f"{path}: {getattr(error, 'strerror', None) or error}"

"""Captions of an unfinished run: sealed parts in the folder ``OUT.parts``.

The pictures of a run are cut, in their order, into windows of one size; a part holds what became of one
window. It is a JSONL file that appears under its name complete or not at all: the run it belongs to and the
pictures that failed, a record a caption, and a last line with the SHA-256 of all before. A run that starts
again reads the parts and goes on; shards share the folder. `captioning.merge` makes the output of them.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from captioning.prediction_files import Record, json_line, replaced_file
from features.locks import OutputError, Shard, held, parts_folder

FORMAT = "tushuo-caption-part/1"
RUN, MERGED = "run.json", "merged"
_OURS = re.compile(r"part-\d{5,}\.jsonl|run\.json|merged|shard-\d+-of-\d+\.lock|\..+\.partial")


@dataclass(kw_only=True)
class Part:
    """What became of the pictures of one window so far, by picture id."""

    records: dict[str, Record] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def __contains__(self, image_id: str) -> bool:
        return image_id in self.records or image_id in self.failed

    def __len__(self) -> int:
        return len(self.records) + len(self.failed)


@dataclass(frozen=True, kw_only=True)
class CaptionParts:
    """The parts of one output, counted from 0 as its windows are.

    Attributes:
        out: The captions.
        settings: What decides them, by name, besides the pictures.
        image_ids: All pictures, of every shard.
        part_size: Pictures a part, at most.
        shard: Which of the parts this process makes.
        say: Tells the user.
    """

    out: Path
    settings: Mapping[str, Any]
    image_ids: Sequence[str]
    part_size: int
    shard: Shard
    say: Callable[[str], None]

    @property
    def size(self) -> int:
        """Pictures a part; fewer where a full part each would leave a shard without work."""
        return min(self.part_size, -(-len(self.image_ids) // self.shard.count))

    def __len__(self) -> int:
        return -(-len(self.image_ids) // self.size)

    @property
    def own(self) -> range:
        """The parts of this shard."""
        return range(self.shard.index, len(self), self.shard.count)

    def window(self, number: int) -> Sequence[str]:
        """The pictures of a part."""
        return self.image_ids[number * self.size : (number + 1) * self.size]

    @property
    def folder(self) -> Path:
        """Where the parts are."""
        return parts_folder(self.out)

    @cached_property
    def run(self) -> dict[str, Any]:
        """What a folder of parts is bound to; a run that differs in any of it may not go on with them."""
        digest = hashlib.sha256("\n".join(self.image_ids).encode()).hexdigest()
        run = {
            **self.settings,
            "pictures": f"{len(self.image_ids)} (SHA-256 of their ids {digest[:16]})",
            "part_size": self.size,
            "shards": self.shard.count,
        }
        return dict(json.loads(json_line(run)))  # as it is read back: a tuple becomes a list

    @contextmanager
    def claimed(self, *, overwrite: bool = False) -> Iterator[None]:
        """Hold this shard's share of the folder, so that nobody else writes it.

        Args:
            overwrite: Delete the output and its parts first.

        Raises:
            OutputError: Somebody else holds it, the folder belongs to another run, or the file system has
                no locks.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = self.folder / f"shard-{self.shard.index}-of-{self.shard.count}.lock"
        with held(lock, self.out, timeout=0):
            if overwrite:
                self.out.unlink(missing_ok=True)
                failures_file(self.out).unlink(missing_ok=True)
                delete_parts(self.folder, locks=False)
            self._bind()
            yield

    def _bind(self) -> None:
        """The folder belongs to this run, if it holds captions of no other."""
        path = self.folder / RUN
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            found = {}
        if found == self.run:
            return
        if any(self.folder.glob("part-*.jsonl")):
            raise OutputError(
                f"{self.folder} holds the captions of another run: {_differences(found, self.run)}. "
                "Use the same settings, choose another --out, or start over with --overwrite."
            )
        with replaced_file(path) as file:
            file.write(json_line(self.run) + "\n")

    def read(self, number: int) -> Part:
        """A part as it was sealed; an empty one where there is none, or none that can be trusted."""
        try:
            return self.read_sealed(number)
        except FileNotFoundError:
            return Part()
        except OutputError as error:
            self.say(f"{error} It is deleted, and its pictures are captioned again.")
            self._path(number).unlink()
            return Part()

    def read_sealed(self, number: int) -> Part:
        """A part as it was sealed.

        Raises:
            FileNotFoundError: There is none.
            OutputError: It is not what was sealed, or belongs to another run.
        """
        path = self._path(number)
        data = path.read_bytes()
        *body, seal = data.splitlines(keepends=True) or [b""]
        if not body or seal != _seal(b"".join(body)):
            raise OutputError(f"{path}: the part was cut, or its bytes changed on disk ({len(data)} bytes).")
        head, *records = map(json.loads, body)
        if head.get("format") != FORMAT or head.get("run") != self.run:
            raise OutputError(f"{path}: a part of another run.")
        return Part(records={record["image_id"]: record for record in records}, failed=head["failed"])

    def seal(self, number: int, part: Part) -> None:
        """Write a part; what was sealed of it before stays until all of it is on the disk.

        Raises:
            OSError: The disk.
        """
        head = {"format": FORMAT, "run": self.run, "failed": part.failed}
        body = "".join(json_line(line) + "\n" for line in (head, *part.records.values()))
        with replaced_file(self._path(number)) as file:
            file.write(body + _seal(body.encode()).decode())

    def _path(self, number: int) -> Path:
        return self.folder / f"part-{number:05d}.jsonl"


def failures_file(out: Path) -> Path:
    """Beside the captions, the table of the pictures that have none."""
    return out.with_name(out.name + ".failures.csv")


def delete_parts(folder: Path, *, locks: bool) -> None:
    """Delete what runs put into a folder; the mark of the merge goes last, so a kill in between shows."""
    ours = (path for path in folder.iterdir() if _OURS.fullmatch(path.name))
    for path in sorted(ours, key=lambda path: path.name == MERGED):
        if locks or path.suffix != ".lock":
            path.unlink()


def _seal(body: bytes) -> bytes:
    return (json_line({"sha256": hashlib.sha256(body).hexdigest()}) + "\n").encode()


def _differences(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    names = [name for name in {**found, **wanted} if found.get(name) != wanted.get(name)]
    return ", ".join(f"{name} {found.get(name)} (now {wanted.get(name)})" for name in names)

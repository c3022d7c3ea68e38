"""Captions of an unfinished run: sealed parts in the folder ``OUT.parts``.

The pictures of a run are cut, in their order, into windows of one size; a part holds what became of one
window. It is a JSONL file that appears under its name complete or not at all: the run it belongs to and the
pictures that failed, a record a caption, and a last line with the SHA-256 of all before. A run that starts
again reads the parts and goes on; shards share the folder. `captioning.merge` makes the output of them.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from captioning.prediction_files import Record, json_line, replaced_file

FORMAT = "tushuo-caption-part/1"
RUN, MERGED = "run.json", "merged"
_OURS = re.compile(r"part-\d{5,}\.jsonl|run\.json|merged|shard-\d+-of-\d+\.lock|\..+\.partial")


class PartsError(ValueError):
    """An output that cannot be continued; the message says what to do."""


@dataclass(frozen=True, kw_only=True)
class Shard:
    """Every ``count``-th part of a run, from part ``index`` on."""

    index: int = 0
    count: int = 1

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Read ``i/N``.

        Raises:
            ValueError: It is not that, or i is not below N.
        """
        match = re.fullmatch(r"(\d+)/(\d+)", text)
        if match is None or int(match[1]) >= int(match[2]):
            raise ValueError(f"shard must be i/N, i counting from 0 to N - 1, such as 0/4; got {text!r}")
        return cls(index=int(match[1]), count=int(match[2]))

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"


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
            PartsError: Somebody else holds it, or the folder belongs to another run.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with locked(self.folder / f"shard-{self.shard.index}-of-{self.shard.count}.lock", wait=False):
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
            raise PartsError(
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
        except PartsError as error:
            self.say(f"{error} It is deleted, and its pictures are captioned again.")
            self._path(number).unlink()
            return Part()

    def read_sealed(self, number: int) -> Part:
        """A part as it was sealed.

        Raises:
            FileNotFoundError: There is none.
            PartsError: It is not what was sealed, or belongs to another run.
        """
        path = self._path(number)
        data = path.read_bytes()
        *body, seal = data.splitlines(keepends=True) or [b""]
        if not body or seal != _seal(b"".join(body)):
            raise PartsError(f"{path}: the part was cut, or its bytes changed on disk ({len(data)} bytes).")
        head, *records = map(json.loads, body)
        if head.get("format") != FORMAT or head.get("run") != self.run:
            raise PartsError(f"{path}: a part of another run.")
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


def parts_folder(out: Path) -> Path:
    """Beside the captions, the folder of the parts they are made from."""
    return out.with_name(out.name + ".parts")


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


@contextmanager
def locked(path: Path, *, wait: bool) -> Iterator[None]:
    """Hold a lock file.

    Raises:
        PartsError: Somebody else does, and this one does not wait; the message gives the process.
    """
    lock = FileLock(path)
    try:
        lock.acquire(timeout=-1 if wait else 0)
    except Timeout as error:
        holder = path.read_text(encoding="ascii", errors="replace").strip() or "unknown"
        raise PartsError(
            f"{path}: another run (process {holder}) writes these captions; wait for it, or choose "
            "another --out."
        ) from error
    try:
        path.write_text(f"{os.getpid()}\n", encoding="ascii")
        yield
    finally:
        lock.release()

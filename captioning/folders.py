"""Folders and files that are there whole or not at all, whenever their writer dies."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def written_aside(folder: Path) -> Iterator[Path]:
    """A new folder beside ``folder``, to be filled; it takes its place when the block ends without an error.

    Raises:
        OSError: the disk is full or not writable; an earlier folder of that name is untouched.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    put_back(folder)
    aside = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir()
    try:
        yield aside
        if folder.exists():
            shutil.rmtree(_replaced(folder), ignore_errors=True)
            folder.rename(_replaced(folder))
        aside.rename(folder)
    except BaseException:
        put_back(folder)
        shutil.rmtree(aside, ignore_errors=True)
        raise
    fsync(folder.parent)
    shutil.rmtree(_replaced(folder), ignore_errors=True)


def put_back(folder: Path) -> None:
    """Undoes the first half of a replacement whose writer did not come to the second."""
    if not folder.exists() and _replaced(folder).exists():
        _replaced(folder).rename(folder)


def _replaced(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.replaced")


@contextmanager
def file_written_aside(path: Path) -> Iterator[Path]:
    """A name beside ``path`` to write a file to, which takes its place when the block ends without an error.

    What a killed writer leaves is overwritten by the next; two at a time would need a lock.

    Raises:
        OSError: the disk is full or not writable; an earlier file of that name is untouched.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.partial")
    try:
        yield aside
        fsync(aside)
        aside.replace(path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    fsync(path.parent)


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Readable JSON, UTF-8."""
    text = json.dumps(values, ensure_ascii=False, indent=1, default=str)
    path.write_text(text + "\n", encoding="utf-8")


def sha256_of(path: Path) -> str:
    """Of a file's bytes, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fsync(path: Path) -> None:
    """Brings a file, or the names in a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""Outputs of commands that never replace anything: made in a hidden place, renamed when they are whole."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from features.shards import fsync

__all__ = ["files_of", "written_aside"]


@contextmanager
def written_aside(out: Path) -> Iterator[Path]:
    """A hidden place beside ``out`` for a file or folder that is renamed to it when it is whole.

    Args:
        out: Must not exist; it appears complete and synced, or not at all.

    Raises:
        FileExistsError: It does.
    """
    if out.exists():
        raise FileExistsError(
            f"{out}: is there already and is not replaced; name another output or remove it"
        )
    aside = out.with_name(f".{out.name}.unfinished")
    out.parent.mkdir(parents=True, exist_ok=True)
    _remove(aside)  # of a run that was killed
    try:
        yield aside
        for path in files_of(aside):
            fsync(path)
        os.replace(aside, out)
    except BaseException:
        _remove(aside)
        raise
    fsync(out.parent)


def files_of(path: Path) -> list[Path]:
    """A file itself, or every file below a folder."""
    return [path] if path.is_file() else [found for found in path.rglob("*") if found.is_file()]


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)

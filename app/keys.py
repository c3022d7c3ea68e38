"""The key of an index: the hash of all it was made of.

A changed file is thereby never shown with the scores of the one before.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path

from eval.segmenters import jieba_version


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


@cache
def _code() -> str:
    """Of all that makes an index: one that an older version made is not taken for this one's."""
    ours = [files("app") / f"{name}.py" for name in ("alike", "build", "data", "index", "sources")]
    theirs = [each for each in files("eval").iterdir() if each.name.endswith(".py")]
    digest = hashlib.sha256()
    for source in (*ours, *sorted(theirs, key=lambda each: each.name)):
        digest.update(source.read_bytes())
    return digest.hexdigest()

"""What the browser keeps so as not to make it twice: the index and thumbnails. It may be deleted at any time.

It lies beside the captions, in the hidden folder ``.tushuo-browser``; where that cannot be written, in the
user's cache folder; where that cannot be written either, nothing is kept.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from app.index import Index, IndexDamaged
from app.settings import AppConfig

NAME = ".tushuo-browser"
INDEXES_KEPT = 4
"""Of several collections that share a cache folder, or of several states of one."""


@dataclass(frozen=True, kw_only=True)
class CacheFolder:
    """A folder that only holds what can be made again."""

    path: Path | None
    """None where no folder can be written."""

    @classmethod
    def beside(cls, config: AppConfig) -> CacheFolder:
        """The folder that the settings name, else the one beside the captions, else the user's."""
        if config.cache is not None:
            return cls(path=config.cache if _can_write(config.cache) else None)
        output = next((path.parent for path in (*config.predictions, config.regions) if path), None)
        home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tushuo" / "browser"
        places = [home] if output is None else [output / NAME, home]
        return cls(path=next(filter(_can_write, places), None))

    def load(self, key: str) -> Index | None:
        """The index of that key; None where it is not there, or is there but damaged."""
        if self.path is None:
            return None
        try:
            return Index.load(self._folder(key), key)
        except IndexDamaged:
            return None

    def keep(self, index: Index) -> Index:
        """Write an index; the same one, read back where that is possible: mapped, it takes no memory."""
        if self.path is None:
            return index
        try:
            _write(index, self._folder(index.meta.key))
            _forget_others(self.path)
        except OSError:  # a full disk costs the next start its time, not this one its pages
            return index
        return self.load(index.meta.key) or index

    def _folder(self, key: str) -> Path:
        assert self.path is not None  # noqa: S101  (asked before)
        return self.path / f"index-{key[:32]}"

    def file(self, name: str, make: Callable[[], bytes]) -> bytes:
        """The bytes kept under a name, made where there are none."""
        if self.path is None:
            return make()
        digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
        path = self.path / "thumbnails" / digest[:2] / digest[2:40]
        try:
            return path.read_bytes()
        except OSError:
            data = make()
        aside = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}.part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            aside.write_bytes(data)
            aside.replace(path)
        except OSError:
            with suppress(OSError):
                aside.unlink()
        return data


def _can_write(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK | os.X_OK)


def _write(index: Index, folder: Path) -> None:
    aside = folder.with_name(f"{folder.name}.{os.getpid()}.part")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir()
    try:
        index.save(aside)
        shutil.rmtree(folder, ignore_errors=True)
        aside.replace(folder)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise


def _forget_others(cache: Path) -> None:
    """Remove the indexes made longest ago, but a few."""
    others = sorted(cache.glob("index-*"), key=lambda each: each.stat().st_mtime_ns, reverse=True)
    for old in others[INDEXES_KEPT:]:
        shutil.rmtree(old, ignore_errors=True)

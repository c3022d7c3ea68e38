"""Files that others publish: mirrors tried in order, a whole file or none, the same file as at its first use.

A file keeps its place in torch's own cache, so what torchvision downloaded before is used and not
fetched twice, and what was copied there by hand is found. Some publishers state digits of the SHA-256 (in
the file's name); the whole digest is computed at first use and pinned in the user's folder, and a file
that later differs from its pin is refused.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import urllib.request
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

from rich.console import Console
from rich.progress import wrap_file

__all__ = ["PublishedFile", "WeightsError", "pins_file"]

_TIMEOUT_SECONDS = 30
_CHUNK_BYTES = 1 << 20


class WeightsError(ValueError):
    """Weights, or a file that belongs to them, that cannot be fetched or are not what they were."""


@dataclass(frozen=True, kw_only=True)
class PublishedFile:
    """One downloadable file.

    Attributes:
        mirrors: URLs of the same bytes, tried in this order.
        size_mb: Of the download, in millions of bytes, for the message.
        save_as: Name in the cache, where that of the first mirror says too little.
    """

    mirrors: tuple[str, ...]
    size_mb: float
    save_as: str = ""

    @property
    def file_name(self) -> str:
        """Name in the cache."""
        return self.save_as or self.mirrors[0].rsplit("/", 1)[-1]

    @property
    def hash_prefix(self) -> str:
        """First digits of the SHA-256, which PyTorch states as ``name-<digits>.pth``; empty for others."""
        found = re.search(r"-([0-9a-f]{8,64})\.", self.file_name)
        return found[1] if found else ""

    @property
    def path(self) -> Path:
        """Place in torch's cache, whether or not it is there."""
        import torch  # here, since most class lists are in no such place

        return Path(torch.hub.get_dir()) / "checkpoints" / self.file_name

    def fetch(self, name: str, otherwise: str) -> Path:
        """The file, downloaded where it is not there, proved to be the one of its first use.

        Args:
            name: What it is called in messages and among the pins.
            otherwise: What else can be done where no mirror answers, to end the message.

        Raises:
            WeightsError: No mirror gives it (each is named with its failure), or it is not the publisher's,
                or it changed since its first use.
        """
        if not self.path.is_file():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._download(name, otherwise)
        self._check_pin(name)
        return self.path

    def _download(self, name: str, otherwise: str) -> None:
        failures = []
        for url in self.mirrors:
            try:
                self._download_from(url)
                return
            except (OSError, HTTPException) as error:  # URLError and its kin are OSErrors
                failures.append(f"{url}: {error}")
        raise WeightsError(
            f"{name} could not be downloaded ({'; '.join(failures)}). Fetch it ({self.size_mb:g} MB) from "
            f"there on a machine with a connection and put it at {self.path}, or {otherwise}."
        )

    def _download_from(self, url: str) -> None:
        """Write aside, prove, rename: what is interrupted leaves nothing."""
        aside = self.path.with_name(f"{self.path.name}.{os.getpid()}.part")
        digest = hashlib.sha256()
        try:
            with urllib.request.urlopen(url, timeout=_TIMEOUT_SECONDS) as answer, aside.open("wb") as file:
                if answer.headers.get_content_type() == "text/html":
                    raise OSError("it answers with a web page")
                length = answer.headers["Content-Length"]
                total = int(length) if length else int(self.size_mb * 1e6)
                console = Console(stderr=True)
                with wrap_file(
                    answer, total, description=self.file_name, console=console, transient=True
                ) as counted:
                    while chunk := counted.read(_CHUNK_BYTES):
                        digest.update(chunk)
                        file.write(chunk)
                if length and file.tell() != total:
                    raise OSError(f"it broke off after {file.tell()} of {total} bytes")
                if not digest.hexdigest().startswith(self.hash_prefix):
                    raise OSError(
                        f"its SHA-256 is {digest.hexdigest()[:12]}…, its publisher states {self.hash_prefix}…"
                    )
                file.flush()
                os.fsync(file.fileno())
            aside.replace(self.path)
        finally:
            aside.unlink(missing_ok=True)

    def _check_pin(self, name: str) -> None:
        with self.path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if not digest.startswith(self.hash_prefix):
            raise WeightsError(
                f"{self.path}: SHA-256 {digest[:12]}…, its publisher states {self.hash_prefix}…; delete it "
                "to fetch it again."
            )
        pins_path = pins_file()
        pins = json.loads(pins_path.read_text(encoding="utf-8")) if pins_path.is_file() else {}
        pinned = pins.get(name, {}).get("sha256")
        if pinned is None:
            pins[name] = {"sha256": digest, "file": self.file_name}
            pins_path.parent.mkdir(parents=True, exist_ok=True)
            aside = pins_path.with_name(f"{pins_path.name}.{os.getpid()}.tmp")
            aside.write_text(json.dumps(pins, indent=1, sort_keys=True) + "\n", encoding="utf-8")
            aside.replace(pins_path)
        elif pinned != digest:
            raise WeightsError(
                f"{self.path}: SHA-256 {digest[:12]}… is not the {pinned[:12]}… of its first use. Delete it "
                f"to fetch it again; if the change is meant, remove {name!r} from {pins_path}."
            )


def pins_file() -> Path:
    """Where first digests are pinned."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "tushuo" / "weights.json"

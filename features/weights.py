"""Weights that are fetched: where they come from, where they are kept, and that they stay the same.

A file keeps its place in torch's own cache, so what torchvision downloaded before is used and not
fetched twice. Publishers of the files below state eight hexadecimal digits of the SHA-256 (in the
file's name); the whole digest is computed at first use and pinned in the user's folder, and a file
that later differs from its pin is refused.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

import torch

from features.backends.base import file_sha256

__all__ = ["REGISTRY", "WeightsEntry", "WeightsError", "best_backend", "cached", "fetch", "pins_file"]


class WeightsError(ValueError):
    """Weights that cannot be fetched or are not what they were."""


@dataclass(frozen=True, kw_only=True)
class WeightsEntry:
    """One downloadable weights file.

    Attributes:
        backend: Which back end reads it.
        url: Of the publisher.
        size_mb: Of the download, for the message.
        box_ap: On COCO val2017, as the publisher states it.
    """

    backend: str
    url: str
    size_mb: int
    box_ap: float

    @property
    def file_name(self) -> str:
        """Name in the cache."""
        return self.url.rsplit("/", 1)[-1]

    @property
    def hash_prefix(self) -> str | None:
        """First digits of the SHA-256, stated by the publisher as ``name-<digits>.pth``."""
        found = re.search(r"-([0-9a-f]{8,64})\.", self.file_name)
        return found[1] if found else None

    @property
    def path(self) -> Path:
        """Place in torch's cache, whether or not it is there."""
        return Path(torch.hub.get_dir()) / "checkpoints" / self.file_name


REGISTRY: dict[str, WeightsEntry] = {
    "fasterrcnn_resnet50_fpn_v2": WeightsEntry(
        backend="torchvision",
        url="https://download.pytorch.org/models/fasterrcnn_resnet50_fpn_v2_coco-dd69338a.pth",
        size_mb=167,
        box_ap=46.7,
    ),
    "fasterrcnn_resnet50_fpn": WeightsEntry(
        backend="torchvision",
        url="https://download.pytorch.org/models/fasterrcnn_resnet50_fpn_coco-258fb6c6.pth",
        size_mb=160,
        box_ap=37.0,
    ),
}
"""Weights by name, best first within a back end; ``--weights NAME`` takes one of them."""


def cached(backend: str) -> Path | None:
    """The best weights of a back end that this machine already has."""
    return next((e.path for e in REGISTRY.values() if e.backend == backend and e.path.is_file()), None)


def fetch(name: str) -> Path:
    """The file of a registry entry, downloaded where it is not there, proved to be the one of its first use.

    Raises:
        WeightsError: An unknown name, no connection, or a file that is not the publisher's or changed since.
    """
    if name not in REGISTRY:
        raise WeightsError(
            f"unknown weights {name!r}; choose from {', '.join(sorted(REGISTRY))}, or name a file"
        )
    entry = REGISTRY[name]
    if not entry.path.is_file():
        entry.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(entry.url, str(entry.path), hash_prefix=entry.hash_prefix)
        except (OSError, RuntimeError) as error:  # URLError is an OSError; a wrong hash is a RuntimeError
            raise WeightsError(
                f"{name}: {entry.url} could not be downloaded ({error}). Fetch it ({entry.size_mb} MB) on a "
                f"machine with a connection and put it at {entry.path}, or name a file with --weights."
            ) from error
    _check_pin(name, entry)
    return entry.path


def pins_file() -> Path:
    """Where first digests are pinned."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "tushuo" / "weights.json"


def _check_pin(name: str, entry: WeightsEntry) -> None:
    digest = file_sha256(entry.path)
    if entry.hash_prefix and not digest.startswith(entry.hash_prefix):
        raise WeightsError(
            f"{entry.path}: SHA-256 {digest[:12]}…, its publisher states {entry.hash_prefix}…; delete it to "
            "fetch it again."
        )
    path = pins_file()
    pins = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    pinned = pins.get(name, {}).get("sha256")
    if pinned is None:
        pins[name] = {"sha256": digest, "url": entry.url}
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_name(f"{path.name}.{os.getpid()}.tmp")
        aside.write_text(json.dumps(pins, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        aside.replace(path)
    elif pinned != digest:
        raise WeightsError(
            f"{entry.path}: SHA-256 {digest[:12]}… is not the {pinned[:12]}… of its first use. Delete it to "
            f"fetch it again; if the change is meant, remove {name!r} from {path}."
        )


def best_backend() -> str:
    """What ``--backend auto`` means here: the best back end whose weights are present.

    Raises:
        FileNotFoundError: None has weights here; nothing is ever run with random ones.
    """
    if cached("torchvision") is not None:
        return "torchvision"
    from features.backends.mini import bundled_weights

    if bundled_weights().is_file():
        return "mini"
    raise FileNotFoundError(
        f"no back end has weights here: {bundled_weights()} (mini, part of the package) is missing, and "
        "torchvision's are not downloaded. Install tushuo again, or run with --backend torchvision to "
        "download them."
    )

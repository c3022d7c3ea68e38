"""Extractions as a subject of torture, and what they leave behind."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import h5py
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from features.backends.base import BACKENDS, Detections, load_backend
from features.extract import main
from features.store import RegionStore
from tests.features.fake import FakeBackend, assert_equal
from tests.torture.processes import ended, fork

SOME_FAILED = 3  # every folder here holds a broken picture
UNSEEN = {"run"}  # attributes that tell of time, command and machine
FILE = "regions.h5"


def load_all() -> None:
    """Make an extraction cost little in the children: load what one loads, and go through one.

    One thread: a pool of threads would not survive the fork.
    """
    torch.set_num_threads(1)
    loaded = {"mini": load_backend("mini", device="cpu"), "fake": FakeBackend()}
    for name in loaded:
        BACKENDS[name] = lambda *_, name=name: loaded[name]
    with TemporaryDirectory() as folder, redirect_stdout(StringIO()), redirect_stderr(StringIO()):
        make_pictures(Path(folder, "images"), 2)
        words = ["--images", f"{folder}/images", "--out", f"{folder}/regions.h5", "--workers", "0"]
        for name in loaded:
            main([*words, "--backend", name, "--overwrite"])


class Extraction:
    """Extractions of the same pictures to ``regions.h5`` in a place."""

    good = (SOME_FAILED,)

    def __init__(self, folder: Path, n_pictures: int, words: Sequence[str], n_before: int = 0) -> None:
        """Make pictures, and run the command undisturbed.

        Args:
            folder: For the pictures, and for what others are compared with.
            n_pictures: That can be read.
            words: Of the command line besides --images and --out.
            n_before: Of the pictures, those whose finished file is there when a run begins.

        Raises:
            RuntimeError: The undisturbed run fails.
        """
        self.said = folder / "said.txt"
        self._words = ["--images", str(folder / "images"), *words]
        make_pictures(folder / "images", n_pictures)
        self._before = self._undisturbed(folder / "before", "--limit", str(n_before)) if n_before else None
        self._wanted = contents(self._undisturbed(folder / "undisturbed"))

    def _undisturbed(self, place: Path, *more: str) -> Path:
        place.mkdir()
        code = ended(fork(main, [*self._words, *more, "--out", str(place / FILE)], self.said))
        if code not in self.good:
            raise RuntimeError(f"the undisturbed run ended with {code}:\n{self.said.read_text('utf-8')}")
        return place / FILE

    def begin(self, place: Path) -> None:
        if self._before is not None:
            shutil.copy(self._before, place / FILE)

    def start(self, place: Path, first: Callable[[], None] = lambda: None) -> int:
        return fork(main, [*self._words, "--out", str(place / FILE)], self.said, first)

    def broken(self, place: Path) -> str | None:
        if self._before is None:
            return None
        with RegionStore(self._before) as old, RegionStore(place / FILE) as new:
            for name in old.image_ids:
                try:
                    assert_equal(new.regions(name), old.regions(name))
                except (AssertionError, ValueError) as error:
                    return f"{name} was lost: {error}"
        return None

    def difference(self, place: Path) -> str | None:
        found, wanted = contents(place / FILE), self._wanted
        differing = sorted(name for name in found.keys() | wanted if found.get(name) != wanted.get(name))
        return f"the file differs in {', '.join(differing)}" if differing else None

    def left_behind(self, place: Path) -> list[str]:
        return sorted(set(os.listdir(place)) - {FILE, f".{FILE}.lock"})  # the lock stays by design


def make_pictures(folder: Path, n_pictures: int) -> None:
    """Small pictures of different noise and one file that is none."""
    random = np.random.default_rng(20)
    (folder / "子").mkdir(parents=True)
    for number in range(n_pictures):
        pixels = random.integers(0, 256, (48, 64, 3), np.uint8)
        Image.fromarray(pixels).save(folder / ("子" if number % 2 else "") / f"{number}.png")
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")


def count_pictures(backend: str, log: Path) -> None:
    """Add one byte to ``log`` for every picture that the detector is given from now on."""
    detector = BACKENDS[backend](None, torch.device("cpu"), None)  # type: ignore[arg-type]
    detect = detector.detect

    def counted(batch: Tensor, *more: Any, **named: Any) -> list[Detections]:
        with log.open("ab") as file:
            file.write(bytes(len(batch)))
        return detect(batch, *more, **named)

    detector.detect = counted  # type: ignore[method-assign]


def contents(path: Path) -> dict[str, Any]:
    """Every dataset and attribute of a regions file but those that tell of the run."""
    found: dict[str, Any] = {}

    def note(name: str, item: h5py.Dataset | h5py.Group) -> None:
        found.update({f"{name}@{key}": value for key, value in item.attrs.items() if key not in UNSEEN})
        if isinstance(item, h5py.Dataset):
            found[name] = (
                item.dtype,
                item.shape,
                item[()].tolist() if item.dtype.kind == "O" else item[()].tobytes(),
            )

    with h5py.File(path, "r") as file:
        note("", file)
        file.visititems(note)
    return {name: value.tolist() if isinstance(value, np.generic) else value for name, value in found.items()}

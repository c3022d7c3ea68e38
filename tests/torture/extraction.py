"""The extract command in children of this process, which has loaded all it needs; and what it left behind.

Start-up is most of a short extraction. A child forked from a process that has imported torch and read the
weights of the mini detector starts at once, and everything else is real: the command line, the decode
workers, the files, the signals.
"""

from __future__ import annotations

import os
import sys
import traceback
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
from tests.features.fake import FakeBackend

SOME_FAILED = 3  # every folder here holds a broken picture
UNSEEN = {"run"}  # attributes that tell of time, command and machine


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


def make_pictures(folder: Path, n_pictures: int) -> None:
    """Small pictures of different noise and one file that is none."""
    random = np.random.default_rng(20)
    (folder / "子").mkdir(parents=True)
    for number in range(n_pictures):
        pixels = random.integers(0, 256, (48, 64, 3), np.uint8)
        Image.fromarray(pixels).save(folder / ("子" if number % 2 else "") / f"{number}.png")
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")


def fork(argv: Sequence[str], said: Path, first: Callable[[], None] = lambda: None) -> int:
    """Start the command in a process group of its own; returns its process id.

    Args:
        argv: Of the command.
        said: Gets what it prints.
        first: Called in the child before the command.
    """
    ready, tell = os.pipe()
    child = os.fork()
    if child:
        os.close(tell)
        os.read(ready, 1)
        os.close(ready)
        return child
    code = 70
    try:
        os.setsid()
        for stream in (1, 2):
            os.dup2(os.open(said, os.O_WRONLY | os.O_CREAT | os.O_APPEND), stream)
        os.write(tell, b"1")
        first()
        code = main(list(argv))
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def ended(child: int) -> int:
    """Wait for a child: its exit code, or minus the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def run(argv: Sequence[str], said: Path, first: Callable[[], None] = lambda: None) -> int:
    """The command from beginning to end."""
    return ended(fork(argv, said, first))


def undisturbed(argv: Sequence[str], out: Path, said: Path) -> dict[str, Any]:
    """What the command writes when nobody disturbs it.

    Raises:
        RuntimeError: It fails all the same.
    """
    if (code := run([*argv, str(out)], said)) != SOME_FAILED:
        raise RuntimeError(f"the undisturbed run ended with {code}:\n{said.read_text('utf-8')}")
    return contents(out)


def run_again(
    argv: Sequence[str],
    out: Path,
    said: Path,
    wanted: dict[str, Any],
    first: Callable[[], None] = lambda: None,
) -> str | None:
    """Run the command once more after a disturbance.

    Returns:
        What is not as after the undisturbed run; None where all is.
    """
    said.write_text("")
    if (code := run([*argv, str(out)], said, first)) != SOME_FAILED:
        return f"run again, it ended with {code}: {said.read_text('utf-8')[-500:]}"
    if problem := difference(out, wanted):
        return problem
    left = sorted(set(os.listdir(out.parent)) - {out.name, f".{out.name}.lock"})  # the lock stays by design
    return f"left behind: {', '.join(left)}" if left else None


def difference(out: Path, wanted: dict[str, Any]) -> str | None:
    """Which datasets and attributes of a regions file are not the wanted ones; None where all are."""
    found = contents(out)
    differing = sorted(name for name in found.keys() | wanted.keys() if found.get(name) != wanted.get(name))
    return f"the file differs in {', '.join(differing)}" if differing else None


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

"""The caption command in a process that dies by SIGKILL at a given point: for tests only."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from captioning.caption import main
from captioning.captioner import Caption, Captioner
from captioning.parts import CaptionParts
from features.store import Regions

CHECKPOINT = "TESTS_KILLED_CHECKPOINT"
"""Environment variable: a checkpoint, loaded once by the process from which all others are forked."""
if CHECKPOINT in os.environ:
    torch.set_num_threads(1)  # a pool of threads would not survive the fork
    _LOADED = Captioner.from_pretrained(os.environ[CHECKPOINT])
    Captioner.from_pretrained = lambda *_: _LOADED  # type: ignore[method-assign, assignment]


def caption(argv: Sequence[str], log: Path, calls: Synchronized[int], die_at: int | None) -> None:
    """Run the command, and exit with its code.

    Args:
        argv: Of the command.
        log: Gets a line for every picture that the model captions.
        calls: Counts every call of a function, Python's or C's, from the claim of the parts on.
        die_at: The call before which the process kills itself.
    """
    n_calls = 0

    def count(_frame: FrameType, event: str, _argument: Any) -> None:
        nonlocal n_calls
        if event in ("call", "c_call"):
            n_calls += 1
            if n_calls == die_at:
                os.kill(os.getpid(), signal.SIGKILL)

    real_claimed, real_caption_regions = CaptionParts.claimed, Captioner.caption_regions

    def claimed(self: CaptionParts, *, overwrite: bool = False) -> AbstractContextManager[None]:
        sys.setprofile(count)
        return real_claimed(self, overwrite=overwrite)

    def caption_regions(self: Captioner, regions: Sequence[Regions], *settings: Any) -> list[Caption]:
        with log.open("a", encoding="utf-8") as file:
            file.writelines(f"{picture.image_id}\n" for picture in regions)
        return real_caption_regions(self, regions, *settings)

    for owner, method in ((CaptionParts, claimed), (Captioner, caption_regions)):
        setattr(owner, method.__name__, method)
    code = main(list(argv))
    sys.setprofile(None)
    calls.value = n_calls
    sys.exit(code)

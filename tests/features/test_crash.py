"""kill -9 at every step of writing: the next run ends with the file of an undisturbed one."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import pytest

from features.output import Output
from features.shards import write_shard
from tests.features.fake import META, make_regions

CHUNKS = [[make_regions(f"{chunk}/{number}.jpg", number) for number in range(2)] for chunk in range(2)]


def extract(out: Path) -> None:
    """What an extraction does to the disk."""
    output = Output.open(out, META)
    for chunk in CHUNKS:
        if missing := [regions for regions in chunk if regions.image_id not in output.done]:
            path = output.next_shard()
            write_shard(path, missing, META, {f"{missing[0].image_id}.bad": "broken"})
            output.shards.append(path)
    output.finish()


def killed_at(step: int, out: Path) -> bool:
    """Extract in a child that is killed before its so-manieth step; False if it ended before."""
    child = os.fork()
    if child == 0:
        count = 0

        def counted(function: Callable[..., Any]) -> Callable[..., Any]:
            def call(*args: Any, **kwargs: Any) -> Any:
                nonlocal count
                count += 1
                if count == step:
                    os.kill(os.getpid(), signal.SIGKILL)
                return function(*args, **kwargs)

            return call

        for owner, names in (
            (os, ("fsync", "replace")),
            (Path, ("unlink", "mkdir", "rmdir")),
            (h5py.Group, ("create_dataset",)),
            (h5py.File, ("close",)),
        ):
            for name in names:
                setattr(owner, name, counted(getattr(owner, name)))
        try:
            extract(out)
        except BaseException as error:
            sys.stderr.write(f"{error!r}\n")
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_writer_killed_at_any_step_and_run_again_ends_with_the_same_bytes(tmp_path: Path) -> None:
    extract(tmp_path / "undisturbed.h5")
    wanted = (tmp_path / "undisturbed.h5").read_bytes()
    step = 1
    while True:
        folder = tmp_path / str(step)
        folder.mkdir()
        was_killed = killed_at(step, folder / "regions.h5")
        extract(folder / "regions.h5")
        assert (folder / "regions.h5").read_bytes() == wanted, f"killed before step {step}"
        assert [path.name for path in folder.iterdir()] == ["regions.h5"], f"killed before step {step}"
        if not was_killed:
            break
        step += 1
    assert step > 40  # shards, their renames, the merge and the cleaning up were all interrupted

"""The folder of a run: its checkpoints by step, the links ``last`` and ``best``, and who may write it."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

from accelerate import PartialState
from torch import distributed

from captioning.checkpoints import CheckpointError, read_step, verify_checkpoint
from captioning.event_log import CURVES_FOLDER, LOG_FILE
from captioning.folders import fsync, put_back
from features.locks import held

LAST, BEST = "last", "best"
LOCK = ".lock"
"""Held by the process that writes the folder; the file stays, see ``features.locks``."""
_STEP_FOLDER = re.compile(r"step-(\d{8,})")
_LITTER = (".*.partial", ".step-*.removed", ".step-*.replaced")


def is_main_process() -> bool:
    """Whether this process writes the run's folder: of those that a launcher started, the first."""
    return bool(PartialState().is_main_process)


@contextmanager
def claimed(run: Path) -> Iterator[None]:
    """Holds a run's folder against other runs; the other processes of this one need not.

    Raises:
        OutputError: another process is training in it, whose number the message gives.
        OSError: the folder cannot be made or written.
    """
    if is_main_process():
        run.mkdir(parents=True, exist_ok=True)
    with held(run / LOCK, run, timeout=0) if is_main_process() else nullcontext():
        yield


def refuse_different_steps(run: Path, step: int) -> None:
    """Makes sure that all processes of a run go on from one checkpoint; every one of them has to ask.

    Raises:
        CheckpointError: they found different ones, where the folder is not shared by all machines.
    """
    if not (distributed.is_available() and distributed.is_initialized()):
        return
    steps: list[int] = [0] * distributed.get_world_size()
    distributed.all_gather_object(steps, step)
    if len(set(steps)) > 1:
        raise CheckpointError(
            f"{run}: the processes go on from different steps: {', '.join(map(str, steps))} (by rank). "
            "It must be a folder that all machines share; where it is, give the same command again."
        )


def step_folder(run: Path, step: int) -> Path:
    """The folder of a step's checkpoint."""
    return run / f"step-{step:08d}"


def steps_taken(folder: Path) -> int:
    """Steps that a checkpoint's weights took, by the name of its folder."""
    return int("".join(filter(str.isdigit, folder.name)))


def checkpoints(run: Path) -> list[Path]:
    """All checkpoint folders of a run, newest first, whole or not."""
    if not run.is_dir():
        return []
    folders = [path for path in run.iterdir() if _STEP_FOLDER.fullmatch(path.name) and not path.is_symlink()]
    return sorted(folders, key=steps_taken, reverse=True)


def recover(run: Path) -> None:
    """Puts back checkpoints that a writer moved away and did not live to replace."""
    for moved in run.glob(".step-*.replaced"):
        put_back(run / moved.name.removeprefix(".").removesuffix(".replaced"))


def newest_checkpoint(run: Path) -> tuple[Path | None, list[str]]:
    """The newest checkpoint that verifies, and why newer ones were passed over."""
    passed_over: list[str] = []
    for folder in checkpoints(run):
        try:
            verify_in_run(folder)
        except CheckpointError as error:
            passed_over.append(str(error))
        else:
            return folder, passed_over
    return None, passed_over


def verify_in_run(folder: Path) -> None:
    """Compares every file with the manifest, and the step with the folder's name.

    Raises:
        CheckpointError: a file is missing, changed or cut, or the folder is another step's.
    """
    verify_checkpoint(folder)
    step = read_step(folder)
    if step != steps_taken(folder):
        raise CheckpointError(f"{folder}: holds step {step}; the folder was renamed or swapped with another")


def damage_of_best(run: Path, verified: Path) -> str | None:
    """What is wrong with the run's best checkpoint, of which another one is no copy.

    Args:
        run: the folder.
        verified: a checkpoint that need not be looked at again.
    """
    best = run / BEST
    if not best.is_symlink() or best.resolve() == verified.resolve():
        return None
    try:
        verify_in_run(best.resolve())
    except CheckpointError as error:
        return str(error)
    return None


def clear(run: Path) -> None:
    """Removes all that an earlier run left in the folder."""
    for folder in checkpoints(run):
        shutil.rmtree(folder)
    for name in (LAST, BEST, LOG_FILE):
        (run / name).unlink(missing_ok=True)
    shutil.rmtree(run / CURVES_FOLDER, ignore_errors=True)
    _remove_litter(run)


def settle(run: Path, step: int, best_step: int | None, keep_last: int) -> None:
    """Lets ``last`` and ``best`` stand for the checkpoints of these steps, and removes older ones and litter.

    What is newer than ``step`` is damaged (else the run would be there), and left to be looked at; training
    writes it anew.

    Args:
        run: the folder.
        step: of the checkpoint that was written, or that the run goes on from.
        best_step: of the best one, if any was validated.
        keep_last: newest checkpoints kept, besides the best.
    """
    last = step_folder(run, step)
    point(run, LAST, last)
    kept = set()
    if best_step is not None and step_folder(run, best_step).is_dir():
        kept.add(step_folder(run, best_step))
        point(run, BEST, step_folder(run, best_step))
    older = [folder for folder in checkpoints(run) if steps_taken(folder) <= step]
    for folder in older[keep_last:]:
        if folder not in kept:
            _retire(folder)
    _remove_litter(run)


def point(run: Path, name: str, folder: Path) -> None:
    """Lets ``run/name`` stand for a checkpoint, in one atomic step."""
    aside = run / f".{name}.partial"
    aside.unlink(missing_ok=True)
    aside.symlink_to(folder.name, target_is_directory=True)
    aside.replace(run / name)
    fsync(run)


def _retire(folder: Path) -> None:
    """Puts a checkpoint out of sight, at once: whenever its remover dies, none is left in part."""
    with suppress(OSError):  # one checkpoint too many is no reason to end a run
        folder.rename(folder.with_name(f".{folder.name}.removed"))


def _remove_litter(run: Path) -> None:
    """Removes what was to be removed, and what writers left that were killed.

    What cannot be removed waits for the next time: on NFS that is a checkpoint which somebody is reading.
    """
    for pattern in _LITTER:
        for litter in run.glob(pattern):
            if litter.is_symlink() or litter.is_file():
                litter.unlink()
            else:
                shutil.rmtree(litter, ignore_errors=True)

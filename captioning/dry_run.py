"""``--dry_run``: what a run would take, from a few of its batches. Nothing is written.

Memory of a step is a line over the positions of its batch (captions, tags and regions with their padding):
attention is quadratic in the length of a sequence only, and lengths are bounded by the settings. The line is
drawn through two small batches whose peaks are measured, and read at the largest batch that is found.
"""

from __future__ import annotations

import math
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch

from captioning.batch_contents import BatchContents, contents_of
from captioning.batches import Batch, PairBatch, to_device
from captioning.config import TrainConfig
from captioning.dataset import StepBatches
from captioning.estimate import Estimate, Memory
from captioning.memory import peak_bytes, size_of
from captioning.progress import Progress
from captioning.runs import Run, prepare
from captioning.trainer import Trainer

PROBES = (4, 16)
"""Pictures of the two batches that are measured, fewer where a step has fewer."""
LOOKED_AT = 20
"""Batches of the first epoch among which the largest is sought …"""
LOOKING_SECONDS = 10.0
"""… for so long at most."""
STEP_SECONDS = 10.0
"""A whole step is timed if it is likely to take no longer than this."""
_COPIES = 2
"""Checkpoint folders beside those kept: the best one, and the one that is being written."""


def estimate(config: TrainConfig) -> Estimate:
    """Reads the data, makes the model, and tries a few batches on it.

    Raises:
        ValueError: the run could not start; the message says what to do.
    """
    run = prepare(replace(config, overwrite=False))
    trainer = Trainer(run, Progress())
    looked = _look(trainer)
    tried = _try(trainer, looked.largest)
    workers, loading = config.data.workers, looked.seconds
    step = tried.seconds + loading if not workers else max(tried.seconds, loading / workers)
    taken, total = trainer.counters.step, trainer.total_steps
    seconds = math.inf if total is None else (total - taken) * step
    if config.max_seconds is not None:
        seconds = min(seconds, config.max_seconds - trainer.counters.seconds)
    left = max(0, round(seconds / step) if total is None else total - taken)
    validations, checkpoints = _pauses(run, trainer.plan.steps_per_epoch, taken, taken + left)
    parameters = list(trainer.model.parameters())
    weights = size_of(parameters)
    return Estimate(
        data=tuple(_data_lines(run, looked)),
        parameters=sum(parameter.numel() for parameter in parameters),
        trained=sum(parameter.numel() for parameter in parameters if parameter.requires_grad),
        steps_per_epoch=trainer.plan.steps_per_epoch,
        steps_taken=taken,
        total_steps=total,
        validations=validations,
        checkpoints=checkpoints,
        memory=Memory(
            weights=weights,
            gradients=tried.gradients,
            optimizer=tried.optimizer,
            activations=tried.activations,
            there=_memory_there(trainer.device),
        ),
        looked_at=len(looked.contents),
        checkpoint_bytes=weights + tried.optimizer,
        checkpoints_kept=min(config.keep_last, checkpoints) + _COPIES,
        disk_free=_disk_free(config.out),
        step_seconds=tried.seconds,
        whole_steps=tried.whole,
        load_seconds=looked.seconds,
        seconds=max(0.0, seconds),
    )


@dataclass(frozen=True, kw_only=True)
class _Looked:
    """Some batches of the first epoch."""

    contents: tuple[BatchContents, ...]
    n_pictures: int
    n_regions: int
    largest: Batch
    seconds: float
    """To read and pad one."""


@dataclass(frozen=True, kw_only=True)
class _Tried:
    """What some steps told."""

    gradients: int
    optimizer: int
    activations: int | None
    seconds: float
    whole: bool


def _look(trainer: Trainer) -> _Looked:
    """Batches spread over the first epoch."""
    batches, start = StepBatches(trainer.run.training, trainer.plan), time.monotonic()
    n_steps = trainer.plan.steps_per_epoch
    largest = batches[0]
    contents: list[BatchContents] = []
    n_pictures = n_regions = 0
    for step in range(0, n_steps, max(1, n_steps // LOOKED_AT)):
        batch = batches[step]
        contents.append(contents_of(batch))
        n_pictures += len(batch.image_ids)
        mask = batch.region_mask if isinstance(batch, PairBatch) else batch.prefix.region_mask
        n_regions += int(mask.sum())
        if contents[-1].positions > _positions(largest):
            largest = batch
        if time.monotonic() - start > LOOKING_SECONDS:
            break
    return _Looked(
        contents=tuple(contents),
        n_pictures=n_pictures,
        n_regions=n_regions,
        largest=largest,
        seconds=(time.monotonic() - start) / len(contents),
    )


def _try(trainer: Trainer, largest: Batch) -> _Tried:
    """Steps on two small batches, and on the largest one if that is cheap."""
    plan = trainer.plan
    size = min(plan.batch_size, plan.n_pictures)
    batches = [
        StepBatches(trainer.run.training, replace(plan, batch_size=min(n, size), rank=0, world_size=1))[0]
        for n in PROBES
    ]
    _step(trainer, batches[0])  # makes the optimizer's state, and warms up
    peaks = [peak_bytes(trainer.device, partial(_step, trainer, batch)) for batch in batches]
    gradients = size_of(p for p in trainer.model.parameters() if p.requires_grad)
    optimizer = size_of(
        value
        for state in trainer.optimizer.state.values()
        for value in state.values()
        if isinstance(value, torch.Tensor)
    )
    activations = None
    if peaks[0] is not None and peaks[1] is not None:
        at = [_positions(batch) for batch in batches]
        peak = _line(at[0], peaks[0], at[1], peaks[1], _positions(largest))
        activations = max(0, round(peak) - gradients)
    seconds = _step(trainer, batches[1]) * _positions(largest) / _positions(batches[1])
    whole = seconds <= STEP_SECONDS
    if whole:
        seconds = _step(trainer, largest)
    return _Tried(
        gradients=gradients, optimizer=optimizer, activations=activations, seconds=seconds, whole=whole
    )


def _step(trainer: Trainer, batch: Batch) -> float:
    """One step, with its update, and the seconds that it took."""
    start = time.monotonic()
    trainer.objective.train()
    losses = trainer.objective(to_device(batch, trainer.device), trainer.counters.step)
    trainer.accelerator.backward(losses["loss"])
    clip = trainer.config.optim.clip_norm
    float(trainer.accelerator.clip_grad_norm_(trainer.objective.parameters(), clip))
    trainer.prepared_optimizer.step()
    trainer.prepared_optimizer.zero_grad()
    losses["loss"].item()  # waits for the device
    return time.monotonic() - start


def _positions(batch: Batch) -> int:
    return contents_of(batch).positions


def _line(x1: float, y1: float, x2: float, y2: float, x: float) -> float:
    """The value at x of the line through two points; of a flat one where they are the same."""
    return y2 if x1 == x2 else y1 + (y2 - y1) * (x - x1) / (x2 - x1)


def _pauses(run: Run, steps_per_epoch: int, taken: int, end: int) -> tuple[int, int]:
    """Validations and checkpoints between two steps; the end of a run has both."""
    config = run.config
    every = None if run.validation is None else config.validation.every or steps_per_epoch
    validations = _multiples(every, taken, end)
    saves = validations | _multiples(config.save_every, taken, end)
    if every is None and config.save_every is None:
        saves = _multiples(steps_per_epoch, taken, end)
    return len(validations), len(saves | ({end} if end > taken else set()))


def _multiples(every: int | None, taken: int, end: int) -> set[int]:
    """Steps in (taken, end] at which something is due; the last one always is."""
    return (
        set()
        if every is None or end <= taken
        else {*range(taken - taken % every + every, end + 1, every), end}
    )


def _data_lines(run: Run, looked: _Looked) -> Iterator[str]:
    for name, pictures in (("training", run.training), ("validation", run.validation)):
        if pictures is not None:
            n_pieces = sum(len(pieces) for captions in pictures.captions for pieces in captions)
            yield (
                f"{name}: {len(pictures):,} pictures, {int(pictures.first_caption[-1]):,} captions, "
                f"{n_pieces:,} word pieces"
            )
    contents = looked.contents
    padding = 1 - sum(each.filled for each in contents) / sum(each.positions for each in contents)
    yield (
        f"batches: {looked.n_regions / looked.n_pictures:.1f} regions a picture, "
        f"{sum(each.captions for each in contents) / len(contents):.1f} captions a step, "
        f"padding {padding:.0%}"
    )


def _memory_there(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _disk_free(out: Path) -> int:
    return shutil.disk_usage(next(folder for folder in out.absolute().parents if folder.is_dir())).free

"""``--dry_run``: what a run would take, from a few of its steps. Nothing is written.

Memory of a step is a line over the positions of its largest part (captions, tags and regions with their
padding): attention is quadratic in the length of a sequence only, and lengths are bounded by the settings.
The line is drawn through two small batches whose peaks are measured, and read at the largest part that is
found. Time is that of the step with this part, by its positions.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

import torch

from captioning.batch_contents import BatchContents, contents_of
from captioning.checkpoint_room import CheckpointRoom
from captioning.config import TrainConfig
from captioning.estimate import Estimate, Memory
from captioning.gradients import gradients
from captioning.limits import Limits
from captioning.memory import peak_bytes, size_of
from captioning.precision import side_processes
from captioning.runs import Run, prepare
from captioning.schedule import BatchPlan
from captioning.step_batches import StepBatches, StepParts
from captioning.trainer import Trainer

PROBES = (4, 16)
"""Pictures of the two batches that are measured, fewer where a part of a step has fewer."""
LOOKED_AT = 20
"""Steps looked at, spread over an epoch of each stage …"""
LOOKING_SECONDS = 10.0
"""… for so long at most."""
STEP_SECONDS = 10.0
"""A whole step is timed if it is likely to take no longer than this."""


def estimate(config: TrainConfig) -> Estimate:
    """Reads the data, makes the model, and tries a few steps on it.

    With a launcher, every process must call it; each estimates its own share.

    Raises:
        ValueError: the run could not start; the message says what to do.
    """
    run = prepare(replace(config, dry_run=True))
    room = CheckpointRoom.of_run(config, run.model)
    trainer = Trainer(run, None)
    looked = _look(trainer)
    tried = _try(trainer, looked)
    steps, seconds = _left(trainer, looked, tried.seconds / _positions(looked.largest))
    taken = trainer.counters.step
    validations, checkpoints = _pauses(run, trainer.plan, taken, taken + steps)
    parameters = list(trainer.model.parameters())
    average = [] if trainer.average is None else trainer.average.weights.values()
    weights, averages = size_of(parameters), size_of(average)
    n_steps = max(1, steps)
    return Estimate(
        data=tuple(_data_lines(run, looked)),
        parameters=sum(parameter.numel() for parameter in parameters),
        trained=sum(parameter.numel() for parameter in parameters if parameter.requires_grad),
        steps_per_epoch=trainer.plan.steps_per_epoch(taken),
        steps_taken=taken,
        total_steps=trainer.total_steps,
        validations=validations,
        checkpoints=checkpoints,
        memory=Memory(
            weights=weights,
            gradients=tried.gradients,
            optimizer=tried.optimizer,
            average=averages,
            activations=tried.activations,
            there=_memory_there(trainer.device),
        ),
        looked_at=len(looked.contents),
        room=room,
        step_seconds=seconds / n_steps,
        whole_steps=tried.whole,
        load_seconds=looked.seconds,
        seconds=seconds if steps else 0.0,
    )


@dataclass(frozen=True, kw_only=True)
class _Looked:
    """Some steps of a run, this process's share of them."""

    contents: tuple[BatchContents, ...]
    stage_positions: tuple[float, ...]
    """Mean of a step in each stage."""
    n_pictures: int
    n_regions: int
    """Of the main objective's batches."""
    largest: StepParts
    """The step with the largest part."""
    largest_step: int
    seconds: float
    """To read and pad one."""


@dataclass(frozen=True, kw_only=True)
class _Tried:
    """What some steps told."""

    gradients: int
    optimizer: int
    activations: int | None
    seconds: float
    """Of the largest step."""
    whole: bool


def _look(trainer: Trainer) -> _Looked:
    plan, start = trainer.plan, time.monotonic()
    batches = StepBatches(trainer.run.training, plan, trainer.workers.rank)
    largest, largest_step = batches[0], 0
    contents: list[list[BatchContents]] = [[] for _ in plan.stages]
    n_pictures = n_regions = 0
    for number, stage in enumerate(plan.stages):
        epoch = plan.steps_per_epoch(stage.first_step)
        for step in range(stage.first_step, stage.first_step + epoch, max(1, epoch // LOOKED_AT)):
            parts = batches[step]
            contents[number].append(contents_of(parts))
            for batch in (next(iter(part.values())) for part in parts):
                n_pictures += len(batch.image_ids)
                n_regions += int(batch.masks[-1].sum())
            if _largest_part(parts) > _largest_part(largest):
                largest, largest_step = parts, step
            if time.monotonic() - start > LOOKING_SECONDS * (number + 1) / len(plan.stages):
                break
    every = [each for of_stage in contents for each in of_stage]
    return _Looked(
        contents=tuple(every),
        stage_positions=tuple(
            sum(each.positions for each in of_stage) / len(of_stage) for of_stage in contents
        ),
        n_pictures=n_pictures,
        n_regions=n_regions,
        largest=largest,
        largest_step=largest_step,
        seconds=(time.monotonic() - start) / len(every),
    )


def _try(trainer: Trainer, looked: _Looked) -> _Tried:
    """Steps on two small batches, and on the largest one if that is cheap."""
    small, larger = (_probe(trainer, looked.largest_step, n) for n in PROBES)
    trainer.shared.wrapped.train()
    _step(trainer, small)  # makes the optimizer's state, and warms up
    peaks = [peak_bytes(trainer.device, partial(_step, trainer, parts)) for parts in (small, larger)]
    gradients = size_of(p for p in trainer.model.parameters() if p.requires_grad)
    optimizer = size_of(
        value
        for state in trainer.optimizer.state.values()
        for value in state.values()
        if isinstance(value, torch.Tensor)
    )
    activations = None
    if peaks[0] is not None and peaks[1] is not None:
        sizes = [_largest_part(parts) for parts in (small, larger, looked.largest)]
        activations = max(0, round(_line(sizes[0], peaks[0], sizes[1], peaks[1], sizes[2])) - gradients)
    seconds = _step(trainer, larger) * _positions(looked.largest) / _positions(larger)
    whole = trainer.workers.of_first(seconds <= STEP_SECONDS)  # all take it, or none
    if whole:
        seconds = _step(trainer, looked.largest)
    return _Tried(
        gradients=gradients, optimizer=optimizer, activations=activations, seconds=seconds, whole=whole
    )


def _probe(trainer: Trainer, step: int, n_pictures: int) -> StepParts:
    """A smaller step: the first pictures of this one's share, twice where steps have several parts.

    In the second part of a step the gradients of the first are there already.
    """
    plan, pictures, config = trainer.plan, trainer.run.training, trainer.config
    items = plan.part(step, trainer.workers.rank * config.accumulate)[:n_pictures]
    limits = Limits.of(config, plan.stage(step).lengths)
    part = {name: pictures.batch(name, items, limits) for name in config.objectives}
    return [part] * min(2, config.accumulate)


def _step(trainer: Trainer, parts: StepParts) -> float:
    """One step, with its update, and the seconds that it took."""
    start = time.monotonic()
    gradients(trainer.shared, parts, trainer.counters.step, trainer.config.seed)
    trainer.shared.clip(trainer.config.optim.clip_norm)
    trainer.shared.update()
    if trainer.device.type == "cuda":
        torch.cuda.synchronize(trainer.device)
    return time.monotonic() - start


def _left(trainer: Trainer, looked: _Looked, seconds_a_position: float) -> tuple[int, float]:
    """Steps that are still to come, and their seconds."""
    plan, taken, total = trainer.plan, trainer.counters.step, trainer.total_steps
    workers, limit = side_processes(trainer.config.data.workers), trainer.config.max_seconds
    steps, seconds = 0, 0.0
    ends = [stage.first_step for stage in plan.stages[1:]] + [total or 0]
    for stage, end, positions in zip(plan.stages, ends, looked.stage_positions, strict=True):
        n_steps = max(0, end - max(taken, stage.first_step))
        step = seconds_a_position * positions
        step = max(step, looked.seconds / workers) if workers else step + looked.seconds
        if limit is not None:
            in_time = max(0, round((limit - trainer.counters.seconds) / step))
            n_steps = in_time if total is None else min(n_steps, in_time)
        steps, seconds = steps + n_steps, seconds + n_steps * step
    return steps, seconds


def _pauses(run: Run, plan: BatchPlan, taken: int, end: int) -> tuple[int, int]:
    """Validations and checkpoints between two steps; the end of a run has both."""
    config = run.config
    last = {end} if end > taken else set()
    epochs = _epoch_ends(plan, taken, end)
    validations: set[int] = set()
    if run.validation is not None:
        every = config.validation.every
        validations = last | (epochs if every is None else _multiples(every, taken, end))
    saves = validations | last
    if config.save_every is not None:
        saves |= _multiples(config.save_every, taken, end)
    elif run.validation is None:
        saves |= epochs
    return len(validations), len(saves)


def _epoch_ends(plan: BatchPlan, taken: int, end: int) -> set[int]:
    """Steps in (taken, end] that are multiples of an epoch's, as their stage counts it."""
    found: set[int] = set()
    ends = [stage.first_step for stage in plan.stages[1:]] + [end]
    for stage, until in zip(plan.stages, ends, strict=True):
        every = plan.steps_per_epoch(stage.first_step)
        found |= _multiples(every, max(taken, stage.first_step), min(end, until))
    return found


def _multiples(every: int, taken: int, end: int) -> set[int]:
    return set(range(taken - taken % every + every, end + 1, every))


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
        f"steps: {looked.n_regions / looked.n_pictures:.1f} regions a picture, "
        f"{sum(each.captions for each in contents) / len(contents):.1f} captions, padding {padding:.0%}"
    )


def _positions(parts: StepParts) -> int:
    return contents_of(parts).positions


def _largest_part(parts: StepParts) -> int:
    return max(_positions([part]) for part in parts)


def _line(x1: float, y1: float, x2: float, y2: float, x: float) -> float:
    """The value at x of the line through two points; of a flat one where they are the same."""
    return y2 if x1 == x2 else y1 + (y2 - y1) * (x - x1) / (x2 - x1)


def _memory_there(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")

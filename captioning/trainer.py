"""The training loop: steps, validations, checkpoints, and a clean end on a signal.

A killed run that goes on ends with the bits of the uninterrupted one: batches are a function of (seed, step),
dropout is seeded by (seed, step, part of the step), the learning rate is a function of the step, and a
checkpoint holds the rest.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from signal import SIGINT, SIGTERM

import torch
from accelerate.utils import broadcast_object_list
from safetensors.torch import load_model
from torch import Tensor

from captioning.batch_contents import contents_of
from captioning.checkpoints import MODEL, TrainingState, write_checkpoint
from captioning.gradients import gradients
from captioning.guard import Guard, TrainingError
from captioning.optim import (
    TIME_STEPS,
    WeightAverage,
    learning_rate_factor,
    make_optimizer,
    set_learning_rate,
)
from captioning.parallel import Workers
from captioning.precision import PrecisionChoice, choose_precision, pick_device, side_processes
from captioning.progress import Progress
from captioning.recent import Recent
from captioning.run_folder import refuse_different_steps, settle, step_folder
from captioning.runs import Run, plain
from captioning.schedule import BatchPlan, Mixture, stages_of, total_steps
from captioning.state import Counters, capture, restore
from captioning.step_batches import StepBatches, StepParts
from captioning.steps import Learning
from captioning.validation import SHOWN_CAPTIONS, validate
from features.stop import StopRequest

__all__ = ["Trainer", "TrainingError", "plan_of"]


class Trainer:
    """One run from its resume point to its end, in this process and, with a launcher, in others like it."""

    def __init__(self, run: Run, progress: Progress | None) -> None:
        """Puts model and optimizer on the device, in the state of the checkpoint if there is one.

        Args:
            run: what is trained on what.
            progress: where to tell of it; None in all processes but the first.
        """
        config = run.config
        self.run, self.config, self.progress = run, config, progress
        self.stop_request = StopRequest()
        choice = _precision_of(run, pick_device(config.device))
        self.precision = choice.name
        self.workers = Workers(pick_device(config.device), choice.name, config.parallel)
        self.device = self.workers.device
        self.model = run.model
        if run.resume:
            load_model(self.model, run.resume.folder / MODEL, strict=True)
        self.model.to(self.device)  # type: ignore[arg-type]  # transformers wraps it without its types
        if config.gradient_checkpointing:
            self.model.activation_checkpointing_enable()
        learning = Learning(self.model, run.steps, config.objectives)
        self.workers.shard(learning)
        self.optimizer = make_optimizer(self.model, config.optim)
        decay = config.optim.ema_decay
        self.average = None if decay is None else WeightAverage(self.model, decay)
        self.counters = Counters()
        if run.resume:
            self.counters = restore(run.resume, self.model, self.optimizer, self.average)
        self.guard = Guard(config.guard, config.out, progress.fault if progress else None)
        if run.resume and "guard" in run.resume.state.values:
            self.guard.load(run.resume.state.values["guard"])
        self.saved_step = self.counters.step
        refuse_different_steps(config.out, self.counters.step)
        self.shared = self.workers.prepare(learning, self.optimizer)
        scaler = self.workers.accelerator.scaler
        if run.resume and scaler is not None and (kept := run.resume.state.values["scaler"]):
            scaler.load_state_dict(kept)  # a run that goes on in fp16 has none, and looks for its scale
        self.plan = plan_of(run, self.workers.count)
        self.total_steps = total_steps(config, len(self.plan.mixture))
        by_time = config.max_seconds is not None or self.total_steps is None
        self.rate_factor = learning_rate_factor(
            config.optim, TIME_STEPS if by_time or self.total_steps is None else self.total_steps
        )
        self.recent = Recent()
        if progress:
            for line in self._first_words(choice):
                progress.say(line)

    def train(self) -> int | None:
        """Takes steps until the end of the run or a signal, then saves.

        Returns:
            None at the end; the signal's number if one stopped the run.

        Raises:
            TrainingError: the guard stopped the run.
        """
        batches = StepBatches(self.run.training, self.plan, self.workers.rank).from_step(
            self.counters.step, side_processes(self.config.data.workers), pin=self.device.type == "cuda"
        )
        self.shared.wrapped.train()
        with self.stop_request:
            while True:
                signal = self._agree()
                validated = False
                if signal is None and self._validation_due():
                    validated = self._validate()
                    if not validated:  # cut short: stop here, so that the run that goes on makes up for it
                        signal = self._agree()
                stop = signal is not None or self._is_done()
                if validated or (self.counters.step > self.saved_step and (stop or self._save_due())):
                    self._save()
                if stop:
                    return signal
                self._step(batches)

    def _agree(self) -> int | None:
        """The signal that any process got; and the time of a step, which must be the same on all."""
        number = self.stop_request.signal or 0
        if self.workers.count == 1:
            return number or None
        got = [number == SIGINT, number == SIGTERM, self.counters.seconds]
        interrupted, terminated, seconds = self.workers.sums(got)
        self.counters.seconds = seconds / self.workers.count
        if terminated:
            return SIGTERM
        return SIGINT if interrupted else None

    def _step(self, batches: Iterator[StepParts]) -> None:
        """One optimizer step."""
        start = time.monotonic()
        counters, config = self.counters, self.config
        parts = next(batches)
        waited = time.monotonic() - start
        rate = config.optim.learning_rate * self.rate_factor(self._rate_step())
        set_learning_rate(self.optimizer, rate)
        means = gradients(self.shared, parts, counters.step, config.seed)
        norm = self.shared.clip(config.optim.clip_norm)
        if self._is_sound(means["loss"], norm):
            self.shared.update()
            if self.average is not None:
                self.average.update(self.model, counters.step)
        else:
            self.shared.drop()
        counters.step += 1
        seconds = time.monotonic() - start
        counters.seconds += seconds
        contents = contents_of(parts, drawn_pieces=means.get("pieces", means.get("scst/pieces", 0.0)))
        self.recent.add(seconds, waited, contents, {**means, "grad_norm": norm})
        self._tell_step(rate)

    def _is_sound(self, loss: float, norm: float) -> bool:
        """Whether the update shall be made. Loss and norm are those of all processes, so all judge alike."""
        step, plan, records = self.counters.step, self.plan, self.run.training.records
        if step and step == plan.stage(step).first_step:
            self.guard.forget_level()
        return not self.guard.skips(
            step=step + 1,
            loss=loss,
            grad_norm=norm,
            image_ids=lambda: [records[item.index].image_id for item in plan.items(step)],
            scaled=self.workers.accelerator.scaler is not None,
        )

    def _rate_step(self) -> int:
        """The coming step; with a limit of time, the share of the run that has gone, in TIME_STEPS."""
        if self.config.max_seconds is None:
            return self.counters.step + 1
        return 1 + int(self._share_gone() * (TIME_STEPS - 1))

    def _share_gone(self) -> float:
        shares = []
        if self.config.max_seconds is not None:
            shares.append(self.counters.seconds / self.config.max_seconds)
        if self.total_steps is not None:
            shares.append(self.counters.step / self.total_steps)
        return min(1.0, max(shares))

    def _is_done(self) -> bool:
        patience = self.config.validation.patience
        return self._share_gone() >= 1 or (patience is not None and self.counters.stale >= patience)

    def _validation_due(self) -> bool:
        if self.run.validation is None or self.counters.step == self.counters.validated_step:
            return False
        every = self.config.validation.every or self._steps_per_epoch()
        return self.counters.step % every == 0 or self._is_done()

    def _save_due(self) -> bool:
        every = self.config.save_every
        if every is None and self.run.validation is None:
            every = self._steps_per_epoch()
        return every is not None and self.counters.step % every == 0

    def _steps_per_epoch(self) -> int:
        return self.plan.steps_per_epoch(max(0, self.counters.step - 1))

    def _averaged(self) -> AbstractContextManager[None]:
        """The model has the weights that are validated and released: their average, where there is one."""
        return nullcontext() if self.average is None else self.average.in_place(self.model)

    def _validate(self) -> bool:
        """Scores the model; False if a signal cut it short."""
        if self.run.validation is None:
            return False
        with self._averaged(), self.shared.unsharded():
            found = validate(
                self.model,
                self.run.validation,
                self.config,
                self.workers,
                stop=lambda: self.stop_request.signal is not None,
            )
        if found is None:
            return False
        best = self.counters.count_validation(found.main, found.scores)
        if self.progress:
            shown = dict(list(found.captions.items())[:SHOWN_CAPTIONS])
            self.progress.scores(self.counters.step, found.scores, best, shown)
        return True

    def _save(self) -> None:
        """Writes this step's checkpoint, points ``last`` and ``best`` at theirs, removes old ones."""
        counters, out = self.counters, self.config.out
        self.saved_step = counters.step
        scaler = self.workers.accelerator.scaler
        others = {
            "precision": self.precision,
            "processes": self.workers.count,
            "guard": self.guard.state(),
            "scaler": None if scaler is None else scaler.state_dict(),
            "config": plain(self.config),
            "data": self.run.data,
        }
        state = capture(counters, self.model, self.optimizer, self.average, others)
        with self._averaged():
            weights = self.shared.gathered()
            if self.workers.is_first:
                self._write(out, state, weights)

    def _write(self, out: Path, state: TrainingState, weights: dict[str, Tensor] | None) -> None:
        counters = self.counters
        scores = counters.scores if counters.validated_step == counters.step else {}
        write_checkpoint(
            step_folder(out, counters.step),
            model=self.model,
            weights=weights,
            tokenizer=self.run.tokenizer,
            info=dataclasses.replace(self.run.info, step=counters.step, scores=dict(scores)),
            state=state,
        )
        settle(out, counters.step, counters.best_step, self.config.keep_last)

    def _first_words(self, choice: PrecisionChoice) -> Iterator[str]:
        """What a run begins with."""
        pictures, config = self.run.training, self.config
        n_parameters = sum(p.numel() for p in self.model.parameters() if p.requires_grad)
        learned = ", ".join(
            name if len(config.objectives) == 1 else f"{name} (weight {weight:g})"
            for name, weight in config.objectives.items()
        )
        yield (
            f"{learned}: {n_parameters / 1e6:.1f} M trained parameters, "
            f"{len(self.run.tokenizer)} pieces, {len(pictures)} pictures with "
            f"{int(pictures.first_caption[-1])} captions, {self._steps_per_epoch()} steps an epoch, "
            f"{self._limit()}"
        )
        yield f"device {self.device}, precision {choice.name} ({choice.reason})"
        if self.workers.count > 1:
            yield f"{self.workers.count} processes, {config.parallel}"
        if self.run.resume is None:
            return
        was = self.run.resume.state.values
        now = {
            "threads": torch.get_num_threads(),
            "processes": self.workers.count,
            "precision": self.precision,
            "parallel": config.parallel,
            "gradient_checkpointing": config.gradient_checkpointing,
        }
        for name, value in now.items():
            before = was.get(name, was["config"].get(name))
            if before != value:
                yield f"{name}: {value}, was {before}; the weights will differ from those of an unbroken run"

    def _limit(self) -> str:
        """When the run ends."""
        limits = [] if self.total_steps is None else [f"{self.total_steps} steps"]
        if self.config.max_seconds is not None:
            limits.append(f"{self.config.max_seconds:g} seconds in training steps")
        return " or ".join(limits) + " in all"

    def _tell_step(self, rate: float) -> None:
        """The first process tells of its share of the step, times their number; the others are as fast."""
        share, counters = self._share_gone(), self.counters
        for_good = counters.step % self.config.log_every == 0
        if self.progress:
            eta = counters.seconds * (1 - share) / share if share else None
            means = self.recent.means(self.workers.count)
            values = {"epoch": self.plan.epoch(counters.step), "learning_rate": rate, **means}
            self.progress.live(counters.step, self.total_steps, share, eta, values)
            if for_good:
                self.progress.step(counters.step, self.total_steps, eta, values)
        if for_good:
            self.recent = Recent()


def plan_of(run: Run, n_processes: int) -> BatchPlan:
    """Which pictures each step of a run reads.

    Raises:
        ValueError: a step has fewer pictures than it must be divided into.
    """
    config, pictures = run.config, run.training
    mixture = Mixture(
        [len(source.records) for source in pictures.sources],
        [source.weight for source in pictures.sources],
        config.seed,
    )
    return BatchPlan(
        mixture,
        stages_of(config, total_steps(config, len(mixture))),
        window=config.data.length_window,
        lengths=pictures.lengths,
        parts=n_processes * config.accumulate,
    )


def _precision_of(run: Run, device: torch.device) -> PrecisionChoice:
    """The first process's choice, for all; a resumed run keeps what was measured when it began."""
    if run.resume and run.config.precision == "auto":
        return PrecisionChoice(name=run.resume.state.values["precision"], reason="as the run began")
    choice: PrecisionChoice = broadcast_object_list([choose_precision(run.config.precision, device)])[0]
    return choice

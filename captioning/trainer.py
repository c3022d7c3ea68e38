"""The training loop: steps, validations, checkpoints, and a clean end on a signal.

A killed run that goes on ends with the bits of the uninterrupted one: batches are a function of (seed, step),
dropout is seeded by (seed, step, process) before every step, the learning rate is a function of the step, and
a checkpoint holds the rest.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Iterator

import torch
from accelerate import Accelerator
from torch import Tensor

from captioning.batches import Batch, to_device
from captioning.checkpoints import write_checkpoint
from captioning.config import TrainConfig
from captioning.dataset import BatchPlan, StepBatches
from captioning.examples import Stream, draws
from captioning.optim import TIME_STEPS, learning_rate_factor, make_optimizer, set_learning_rate
from captioning.precision import PrecisionChoice, choose_precision, pick_device
from captioning.progress import Progress, Recent
from captioning.run_folder import refuse_different_steps, settle, step_folder
from captioning.runs import Run, plain
from captioning.state import Counters, capture, restore
from captioning.steps import Objective
from captioning.validation import SHOWN_CAPTIONS, validate
from features.stop import StopRequest


class TrainingError(RuntimeError):
    """Training cannot go on; the message names the step and what is left of the run."""


class Trainer:
    """One run from its resume point to its end."""

    def __init__(self, run: Run, progress: Progress) -> None:
        """Puts model and optimizer on the device, in the state of the checkpoint if there is one."""
        config = run.config
        self.run, self.config, self.progress = run, config, progress
        self.stop_request = StopRequest()
        device = pick_device(config.device)
        choice = _precision_of(run, device)
        self.precision = choice.name
        self.accelerator = Accelerator(
            mixed_precision="no" if choice.name == "fp32" else choice.name, cpu=device.type == "cpu"
        )
        self.device = self.accelerator.device
        self.model = run.model.to(self.device)
        if config.gradient_checkpointing:
            self.model.activation_checkpointing_enable()
        self.optimizer = make_optimizer(self.model, config.optim)
        self.counters = restore(run.resume, self.model, self.optimizer) if run.resume else Counters()
        self.saved_step = self.counters.step
        refuse_different_steps(config.out, self.counters.step)
        self.objective, self.prepared_optimizer = self.accelerator.prepare(
            Objective(self.model, run.step), self.optimizer
        )
        if run.resume and self.accelerator.scaler is not None:
            self.accelerator.scaler.load_state_dict(run.resume.state.values["scaler"])
        self.plan = BatchPlan(
            n_pictures=len(run.training),
            batch_size=config.batch_size,
            seed=config.seed,
            rank=self.accelerator.process_index,
            world_size=self.accelerator.num_processes,
        )
        self.total_steps = total_steps(config, self.plan.steps_per_epoch)
        by_time = config.max_seconds is not None or self.total_steps is None
        self.rate_factor = learning_rate_factor(
            config.optim, TIME_STEPS if by_time or self.total_steps is None else self.total_steps
        )
        self.recent = Recent()
        self._tell_start(choice)

    def train(self) -> int | None:
        """Takes steps until the end of the run or a signal, then saves.

        Returns:
            None at the end; the signal's number if one stopped the run.

        Raises:
            TrainingError: loss or gradient are not numbers.
        """
        batches = StepBatches(self.run.training, self.plan).from_step(
            self.counters.step, self.config.data.workers
        )
        self.objective.train()
        with self.stop_request:
            while True:
                validated = self._validation_due() and self._validate()
                stop = self.stop_request.signal is not None or self._is_done()
                if validated or (self.counters.step > self.saved_step and (stop or self._save_due())):
                    self._save()
                if stop:
                    return self.stop_request.signal
                self._step(batches)

    def _step(self, batches: Iterator[Batch]) -> None:
        """One optimizer step."""
        start = time.monotonic()
        counters, config = self.counters, self.config
        batch = next(batches)
        waited = time.monotonic() - start
        rate = config.optim.learning_rate * self.rate_factor(self._rate_step())
        set_learning_rate(self.optimizer, rate)
        seed = draws(config.seed, Stream.DROPOUT, counters.step, self.accelerator.process_index)
        torch.manual_seed(int(seed.integers(2**62)))
        losses: dict[str, Tensor] = self.objective(to_device(batch, self.device), counters.step)
        self._refuse_nan("loss", losses["loss"].item(), batch)
        self.accelerator.backward(losses["loss"])
        norm = float(self.accelerator.clip_grad_norm_(self.objective.parameters(), config.optim.clip_norm))
        if self.precision != "fp16":  # there, infinite gradients are expected and answered by the scaler
            self._refuse_nan("gradient norm", norm, batch)
        self.prepared_optimizer.step()
        self.prepared_optimizer.zero_grad()
        counters.step += 1
        seconds = time.monotonic() - start
        counters.seconds += seconds
        values = {name: value.item() for name, value in losses.items()}
        self.recent.add(seconds, waited, batch.n_captions, {**values, "grad_norm": norm})
        if counters.step % config.log_every == 0:
            self._tell_step(rate)

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
        every = self.config.validation.every or self.plan.steps_per_epoch
        return self.stop_request.signal is None and (self.counters.step % every == 0 or self._is_done())

    def _save_due(self) -> bool:
        every = self.config.save_every
        if every is None and self.run.validation is None:
            every = self.plan.steps_per_epoch
        return every is not None and self.counters.step % every == 0

    def _validate(self) -> bool:
        """Scores the model; False if a signal cut it short."""
        if self.run.validation is None:
            return False
        found = validate(
            self.model,
            self.run.validation,
            self.config,
            stop=lambda: self.stop_request.signal is not None,
        )
        if found is None:
            return False
        best = self.counters.count_validation(found.main, found.scores)
        shown = dict(list(found.captions.items())[:SHOWN_CAPTIONS])
        self.progress.scores(self.counters.step, found.scores, best, shown)
        return True

    def _save(self) -> None:
        """Writes this step's checkpoint, points ``last`` and ``best`` at theirs, removes old ones."""
        counters = self.counters
        self.saved_step = counters.step
        if not self.accelerator.is_main_process:
            return
        scores = counters.scores if counters.validated_step == counters.step else {}
        scaler = self.accelerator.scaler
        others = {
            "precision": self.precision,
            "processes": self.accelerator.num_processes,
            "scaler": None if scaler is None else scaler.state_dict(),
            "config": plain(self.config),
            "data": self.run.data,
        }
        write_checkpoint(
            step_folder(self.config.out, counters.step),
            model=self.model,
            tokenizer=self.run.tokenizer,
            info=dataclasses.replace(self.run.info, step=counters.step, scores=dict(scores)),
            state=capture(counters, self.model, self.optimizer, others),
        )
        settle(self.config.out, counters.step, counters.best_step, self.config.keep_last)

    def _refuse_nan(self, name: str, value: float, batch: Batch) -> None:
        if math.isfinite(value):
            return
        step = self.counters.step + 1
        left = step_folder(self.config.out, self.saved_step) if self.saved_step else "none was written yet"
        raise TrainingError(
            f"step {step}: the {name} is {value} (pictures {', '.join(batch.image_ids[:10])}). "
            f"Last good checkpoint: {left}. Lower optim.learning_rate, or look at these pictures' features."
        )

    def _tell_start(self, choice: PrecisionChoice) -> None:
        pictures, say = self.run.training, self.progress.say
        n_parameters = sum(p.numel() for p in self.model.parameters() if p.requires_grad)
        say(
            f"{self.config.objective}: {n_parameters / 1e6:.1f} M trained parameters, "
            f"{len(self.run.tokenizer)} pieces, {len(pictures)} pictures with "
            f"{int(pictures.first_caption[-1])} captions, {self.plan.steps_per_epoch} steps an epoch"
        )
        say(f"device {self.device}, precision {choice.name} ({choice.reason})")
        if self.run.resume is None:
            return
        was = self.run.resume.state.values
        now = {"threads": torch.get_num_threads(), "processes": self.accelerator.num_processes}
        for name, number in now.items():
            if was[name] != number:
                say(f"{name}: {number}, were {was[name]}; the weights will differ in their last bits")

    def _tell_step(self, rate: float) -> None:
        share, counters = self._share_gone(), self.counters
        eta = counters.seconds * (1 - share) / share if share else None
        epoch = counters.step / self.plan.steps_per_epoch
        values = {"epoch": epoch, "learning_rate": rate, **self.recent.means()}
        self.progress.step(counters.step, self.total_steps, eta, values)
        self.recent = Recent()


def total_steps(config: TrainConfig, steps_per_epoch: int) -> int | None:
    """Steps after which a run ends; None if time alone ends it."""
    limits = [] if config.steps is None else [config.steps]
    if config.epochs is not None:
        limits.append(max(1, math.ceil(config.epochs * steps_per_epoch)))
    return min(limits, default=None)


def _precision_of(run: Run, device: torch.device) -> PrecisionChoice:
    """A resumed run keeps the precision that was measured when it began."""
    if run.resume and run.config.precision == "auto":
        return PrecisionChoice(name=run.resume.state.values["precision"], reason="as the run began")
    return choose_precision(run.config.precision, device)

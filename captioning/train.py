"""``python -m captioning.train``: trains a captioner, or pre-trains what a captioner starts from.

Without arguments a small captioner is trained for about a minute on the bundled samples. A run that was
stopped goes on when the same command is given again.
"""

from __future__ import annotations

import signal
import sys

import yaml
from accelerate import PartialState

from captioning.checkpoint_room import CheckpointRoom
from captioning.config import TrainConfig
from captioning.dry_run import estimate
from captioning.event_log import LOG_FILE, cut_log, write_errors_told_once
from captioning.folders import file_written_aside
from captioning.guard import TrainingError
from captioning.precision import pick_device
from captioning.progress import open_progress
from captioning.run_folder import BEST, LAST, claimed, settle
from captioning.runs import Run, plain, prepare
from captioning.state import Counters
from captioning.trackers import check_trackers
from captioning.trainer import Trainer
from features.arguments import Arguments, make_parser

CONFIG_FILE = "config.yaml"
EXIT_FATAL = 1
EXIT_SIGNAL = 128
"""Added to a signal's number: 130 after Ctrl-C, 143 after SIGTERM."""


def parser() -> Arguments:
    """Flags, YAML and help from the dataclasses of ``captioning.config``."""
    return make_parser("captioning.train", TrainConfig, description=__doc__)


def train(config: TrainConfig) -> int | None:
    """Runs or resumes one training run.

    Returns:
        None at the end; a signal's number if one stopped it, after a checkpoint.

    Raises:
        ValueError: the run cannot start: data, settings or checkpoints; the message says what to do.
        TrainingError: the guard stopped it: a loss that is no number, or that jumped.
    """
    check_trackers(config.track)
    processes = PartialState(cpu=pick_device(config.device).type == "cpu")
    with claimed(config.out), write_errors_told_once():
        return _train(config, processes)


def _train(config: TrainConfig, processes: PartialState) -> int | None:
    with processes.main_process_first():  # it may have to remove an earlier run
        run = prepare(config)
    if not processes.is_main_process:
        return Trainer(run, None).train()
    notes = [*run.notes, *begin(run)]
    step = run.resume.state.values["counters"]["step"] if run.resume else 0
    with open_progress(run, step, sys.stdout) as progress:
        for note in notes:
            progress.say(note)
        trainer = Trainer(run, progress)
        number = trainer.train()
        progress.say(_last_words(config, trainer.counters, number))
    return number


def begin(run: Run) -> list[str]:
    """Puts the run's folder in order, whatever a killed process left half done, for the steps to come.

    Returns:
        What to tell of it.

    Raises:
        OSError: it cannot be written, or has no room for a checkpoint.
    """
    config, told = run.config, None
    counters = Counters(**run.resume.state.values["counters"]) if run.resume else Counters()
    if run.resume:
        settle(config.out, counters.step, counters.best_step, config.keep_last)
    if config.steps is None or counters.step < config.steps:
        told = CheckpointRoom.of_run(config, run.model).check(config.out)
    cut_log(config.out / LOG_FILE, counters.step, counters.validated_step)
    with file_written_aside(config.out / CONFIG_FILE) as aside:
        aside.write_text(yaml.safe_dump(plain(config), sort_keys=False), encoding="utf-8")
    return [told] if told else []


def _dry_run(config: TrainConfig) -> None:
    processes = PartialState(cpu=pick_device(config.device).type == "cpu")
    lines = list(estimate(config).lines())
    if processes.is_main_process:
        sys.stdout.write("\n".join(lines) + "\n")


def _last_words(config: TrainConfig, counters: Counters, number: int | None) -> str:
    if number is not None:
        return f"stopped by signal {number} at step {counters.step}; the same command goes on"
    if counters.best is not None:
        return f"done: best at step {counters.best_step}: {config.out / BEST}"
    return f"done: step {counters.step}: {config.out / LAST}"


def main(argv: list[str] | None = None) -> int:
    """Parses, trains, and turns what happened into an exit code."""
    config: TrainConfig = parser().settings(argv)
    try:
        if config.dry_run:
            _dry_run(config)
            return 0
        number = train(config)
    except KeyboardInterrupt:  # before the first step; later ones save first
        return EXIT_SIGNAL + signal.SIGINT
    except (ValueError, OSError, TrainingError) as error:
        unnamed = isinstance(error, OSError) and error.errno is not None and error.filename is None
        where = f"{config.out}: " if unnamed else ""  # a full disk does not say whose write it refused
        sys.stderr.write(f"captioning.train: {where}{error}\n")
        return EXIT_FATAL
    return 0 if number is None else EXIT_SIGNAL + number


if __name__ == "__main__":
    sys.exit(main())

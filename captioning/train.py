"""``python -m captioning.train``: trains a captioner, or pre-trains what a captioner starts from.

Without arguments a small captioner is trained for about a minute on the bundled samples. A run that was
stopped goes on when the same command is given again.
"""

from __future__ import annotations

import signal
import sys

import yaml
from accelerate import PartialState
from jsonargparse import ArgumentParser, set_parsing_settings

from captioning.checkpoint_room import CheckpointRoom
from captioning.config import TrainConfig
from captioning.event_log import LOG_FILE, cut_log, write_errors_told_once
from captioning.folders import file_written_aside
from captioning.precision import pick_device
from captioning.progress import Progress
from captioning.run_folder import BEST, LAST, claimed, settle
from captioning.runs import Run, plain, prepare
from captioning.settings_file import SettingsFile
from captioning.state import Counters
from captioning.trainer import Trainer, TrainingError

CONFIG_FILE = "config.yaml"
EXIT_FATAL = 1
EXIT_SIGNAL = 128
"""Added to a signal's number: 130 after Ctrl-C, 143 after SIGTERM."""


def parser() -> ArgumentParser:
    """Flags, YAML and help from the dataclasses of ``captioning.config``."""
    set_parsing_settings(docstring_parse_attribute_docstrings=True)
    made = ArgumentParser(
        prog="python -m captioning.train",
        usage="%(prog)s [--config FILE] [--SETTING VALUE ...]",  # 60 settings would bury an error message
        description=__doc__,
    )
    made.add_argument("--config", action=SettingsFile, help="YAML file with any of the settings below")
    made.add_class_arguments(TrainConfig, nested_key=None)
    return made


def train(config: TrainConfig) -> int | None:
    """Runs or resumes one training run.

    Returns:
        None at the end; a signal's number if one stopped it, after a checkpoint.

    Raises:
        ValueError: the run cannot start: data, settings or checkpoints; the message says what to do.
        TrainingError: the loss is not a number.
    """
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
    with Progress(config.out, step, sys.stdout) as progress:
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
        copies = (
            2 if config.optim.ema_decay is None else 3
        )  # the optimizer's, and weights beside their average
        room = CheckpointRoom.of(config.out, run.model, copies=copies, keep_last=config.keep_last)
        told = room.check(config.out)
    cut_log(config.out / LOG_FILE, counters.step, counters.validated_step)
    with file_written_aside(config.out / CONFIG_FILE) as aside:
        aside.write_text(yaml.safe_dump(plain(config), sort_keys=False), encoding="utf-8")
    return [told] if told else []


def _last_words(config: TrainConfig, counters: Counters, number: int | None) -> str:
    if number is not None:
        return f"stopped by signal {number} at step {counters.step}; the same command goes on"
    if counters.best is not None:
        return f"done: best at step {counters.best_step}: {config.out / BEST}"
    return f"done: step {counters.step}: {config.out / LAST}"


def main(argv: list[str] | None = None) -> int:
    """Parses, trains, and turns what happened into an exit code."""
    command = parser()
    parsed = command.parse_args(argv)
    try:
        settings = vars(command.instantiate(parsed))
        config = TrainConfig(**{name: value for name, value in settings.items() if name != "config"})
    except ValueError as error:
        command.error(str(error))
    try:
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

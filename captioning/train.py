"""``python -m captioning.train``: trains a captioner, or pre-trains what a captioner starts from.

Without arguments a small captioner is trained for about a minute on the bundled samples. A run that was
stopped goes on when the same command is given again.
"""

from __future__ import annotations

import sys

import yaml

from captioning.checkpoints import BEST, LAST
from captioning.config import TrainConfig
from captioning.progress import Progress
from captioning.runs import plain, prepare
from captioning.trainer import Trainer, TrainingError
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
        TrainingError: the loss is not a number.
    """
    run = prepare(config)
    step = run.resume.state.values["counters"]["step"] if run.resume else 0
    with Progress(config.out, step, sys.stdout) as progress:
        (config.out / CONFIG_FILE).write_text(
            yaml.safe_dump(plain(config), sort_keys=False), encoding="utf-8"
        )
        for note in run.notes:
            progress.say(note)
        trainer = Trainer(run, progress)
        number = trainer.train()
        counters = trainer.counters
        if number is not None:
            progress.say(f"stopped by signal {number} at step {counters.step}; the same command goes on")
        elif counters.best is not None:
            progress.say(f"done: best at step {counters.best_step}: {config.out / BEST}")
        else:
            progress.say(f"done: step {counters.step}: {config.out / LAST}")
    return number


def main(argv: list[str] | None = None) -> int:
    """Parses, trains, and turns what happened into an exit code."""
    config: TrainConfig = parser().settings(argv)
    try:
        number = train(config)
    except (ValueError, OSError, TrainingError) as error:
        sys.stderr.write(f"captioning.train: {error}\n")
        return EXIT_FATAL
    return 0 if number is None else EXIT_SIGNAL + number


if __name__ == "__main__":
    sys.exit(main())

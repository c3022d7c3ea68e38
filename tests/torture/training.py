"""Training runs as a subject of torture, and what they leave behind."""

from __future__ import annotations

import hashlib
import json
import logging
import mmap
import os
import shutil
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from functools import partial
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from captioning.checkpoints import CheckpointError
from captioning.config import TrainConfig
from captioning.event_log import CURVES_FOLDER, LOG_FILE
from captioning.run_folder import BEST, LAST, checkpoints, step_folder, steps_taken, verify_in_run
from captioning.runs import plain
from captioning.train import main
from eval.scorer import Scorer
from tests.captioning.small_run import CAPTIONS, small_config
from tests.torture.faults import FAULTS, Counter, Wanted
from tests.torture.processes import Command, ended, fork

OBJECTIVES = ("caption", "scst", "pretrain")
STEPS = 6
SAVE_EVERY = 2
RUN = "run"
Before = Literal["killed", "stopped"]
BEFORE: dict[Before, int] = {"killed": 2, "stopped": 4}
"""Steps of the checkpoint that is there. A run that is killed has told of later steps; one that is stopped
before a validation saves without its score, and saves the step once more when it has it."""
TOLD_ONCE = ("step", "validation")
"""Events of the log that tell of a step."""


def load_all() -> None:
    """Make a run cost little in the children: load what one loads. No step is taken here.

    One thread: a pool of threads would not survive the fork.
    """
    torch.set_num_threads(1)
    logging.getLogger("tensorboard").setLevel(logging.ERROR)  # it tells of every run that was killed
    Scorer({name: texts for name, texts in CAPTIONS.items()}, protocol="aic-icc")  # reads the dictionary
    with TemporaryDirectory() as folder, redirect_stdout(StringIO()), redirect_stderr(StringIO()):
        config = small_config(Path(folder))
        settings = Path(folder, "settings.json")
        settings.write_text(json.dumps(plain(config)), encoding="utf-8")
        main(["--config", str(settings), "--data.regions", f"{folder}/none.h5"])


class Training:
    """Runs of one objective to ``run`` in a place, with the same data and settings.

    Attributes:
        argv: Words of the command line but the run's folder.
        out: The undisturbed run's folder.
    """

    good = (0,)
    command: Command = staticmethod(main)

    def __init__(
        self,
        folder: Path,
        objective: str = "caption",
        *,
        workers: int = 0,
        keep_last: int = 1,
        before: Before | None = None,
        more: Sequence[str] = (),
    ) -> None:
        """Make data, and run the command undisturbed.

        Args:
            folder: For the data, and for what others are compared with.
            objective: Of the runs.
            workers: Processes that prepare batches.
            keep_last: Newest checkpoints kept.
            before: What was done to a run of the same settings, which is there when a run begins.
            more: Words of the command line.

        Raises:
            RuntimeError: The undisturbed run fails.
        """
        folder.mkdir(exist_ok=True)
        self.said = folder / "said.txt"
        init = None
        if objective == "scst":
            captioner = small_config(folder, validation=False, steps=2)
            init = str(self._finish(folder / "captioner", self._words(folder, captioner)) / LAST)
        config = small_config(folder, objective=objective, steps=STEPS, save_every=SAVE_EVERY, init=init)
        data = replace(config.data, workers=workers)
        config = replace(config, data=data, log_every=1, keep_last=keep_last)
        self.argv = [*self._words(folder, config), *more]
        self._before = self._interrupted(before, folder / "before") if before else None
        self._n_before = BEFORE[before] if before else 0
        self.out = self._finish(folder / "undisturbed", self.argv)
        self._wanted = contents(self.out)

    def _words(self, folder: Path, config: TrainConfig) -> list[str]:
        settings = folder / f"{config.objective}.json"
        settings.write_text(json.dumps(plain(config)), encoding="utf-8")
        return ["--config", str(settings)]

    def _finish(self, place: Path, argv: list[str]) -> Path:
        place.mkdir()
        code = ended(self._start(argv, place))
        if code != 0:
            raise RuntimeError(f"the undisturbed run ended with {code}:\n{self.said.read_text('utf-8')}")
        return place / RUN

    def _interrupted(self, before: Before, place: Path) -> Path:
        place.mkdir()
        if before == "killed":
            following = f".{step_folder(Path(), BEFORE['killed'] + SAVE_EVERY).name}"
            of_it: Wanted = lambda path: path.name.startswith(following)  # noqa: E731
            first, code = Counter(1, FAULTS["SIGKILL"], mmap.mmap(-1, 5), of_it).install, -signal.SIGKILL
        else:
            first, code = partial(_stop_when_told, BEFORE["stopped"]), 128 + signal.SIGTERM
        if ended(self.start(place, first)) != code:
            raise RuntimeError(f"the run was not {before}:\n{self.said.read_text('utf-8')}")
        return place / RUN

    def begin(self, place: Path) -> None:
        if self._before is not None:
            shutil.copytree(self._before, place / RUN, symlinks=True)

    def start(self, place: Path, first: Callable[[], None] = lambda: None) -> int:
        return self._start(self.argv, place, first)

    def _start(self, argv: list[str], place: Path, first: Callable[[], None] = lambda: None) -> int:
        return fork(self.command, [*argv, "--out", str(place / RUN)], self.said, first)

    def broken(self, place: Path) -> str | None:
        run = place / RUN
        moved = run.glob(".step-*.replaced")  # and its place empty, for the moment that a renaming takes
        found = checkpoints(run) or sorted(moved, key=steps_taken)
        if not found or steps_taken(found[0]) < self._n_before:
            return f"of {self._n_before} steps the checkpoint was lost"
        if not (run / LAST).is_dir() and not any(run.glob(".step-*.replaced")):
            return "last stands for nothing"
        for folder in found:
            try:
                verify_in_run(folder)
            except CheckpointError as error:
                return f"a checkpoint is in its place and not whole: {error}"
        return None

    def difference(self, place: Path) -> str | None:
        found, wanted = contents(place / RUN), self._wanted
        differing = sorted(name for name in found.keys() | wanted if found.get(name) != wanted.get(name))
        if not differing:
            return None
        one, other = (str(of.get(differing[0]))[:200] for of in (found, wanted))
        return f"{', '.join(differing)} differ: {differing[0]} is {one}, wanted {other}"

    def left_behind(self, place: Path) -> list[str]:
        return sorted(set(os.listdir(place / RUN)) - set(os.listdir(self.out)))


class _Stopping:
    """A stream that asks its own process to stop when it is told of a step."""

    def __init__(self, stream: Any, step: int) -> None:
        self._stream, self._step = stream, step

    def write(self, text: str) -> int:
        event = json.loads(text)
        if (event.get("event"), event.get("step")) == ("step", self._step):
            os.kill(os.getpid(), signal.SIGTERM)
        return int(self._stream.write(text))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _stop_when_told(step: int) -> None:
    sys.stdout = _Stopping(sys.stdout, step)  # type: ignore[assignment]


def contents(run: Path) -> dict[str, Any]:
    """What a run has made: hashes of weights and tensors, counters, settings, and the steps that it told."""
    found: dict[str, Any] = {
        name: os.readlink(run / name) for name in (LAST, BEST) if (run / name).is_symlink()
    }
    for path in (run / LAST).iterdir():
        if path.suffix != ".json":
            found[path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
        elif path.name != "manifest.json":
            found[path.name] = _lasting(json.loads(path.read_text("utf-8")))
    events = [json.loads(line) for line in (run / LOG_FILE).read_text("utf-8").split("\n") if line]
    found["log"] = [(event["event"], event["step"]) for event in events if event["event"] in TOLD_ONCE]
    curves = EventAccumulator(str(run / CURVES_FOLDER), size_guidance={"scalars": 0}).Reload()
    for tag in curves.Tags()["scalars"]:
        steps = [point.step for point in curves.Scalars(tag)]
        # What is hidden of a killed run begins behind its last step, so a validation of that very step, which
        # is repeated where it was not saved, is there twice.
        found[f"curve {tag}"] = sorted(set(steps)) if tag.startswith("validation/") else steps
    return found


def _lasting(value: Any) -> Any:
    """Settings and counters without what tells of time and place."""
    if not isinstance(value, Mapping):
        return value
    return {key: _lasting(each) for key, each in value.items() if key != "out" and "seconds" not in key}

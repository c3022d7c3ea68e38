"""What a run says while it trains: to its stream, to its log, and to whatever draws its curves."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, TextIO

from captioning.console import JsonLines, Sink, Terminal, step_line
from captioning.event_log import LOG_FILE
from captioning.guard import Fault
from captioning.runs import Run, plain
from captioning.sample_pictures import SamplePictures
from captioning.trackers import TRACKERS, Tracker

SCHEMA = 1
"""Of the events in docs/formats.md; counts up where a key changes its meaning."""

_OF_OPTIMIZER = ("learning_rate", "grad_norm")
_OF_SPEED = ("captions_per_second", "pieces_per_second", "data_wait", "padding")


class Progress:
    """Hands events to sinks, numbers and samples to trackers; without any it keeps silent."""

    def __init__(
        self,
        sinks: Sequence[Sink] = (),
        trackers: Sequence[Tracker] = (),
        samples: SamplePictures | None = None,
    ) -> None:
        """Takes open sinks and trackers, and closes them.

        Args:
            sinks: the stream of the command, and the log.
            trackers: what draws curves.
            samples: the pictures of the captions that a validation writes; needed where there are some.
        """
        self._sinks, self._trackers, self._samples = tuple(sinks), tuple(trackers), samples

    def __enter__(self) -> Progress:
        """Itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Closes everything."""
        for sink in self._sinks:
            sink.close()
        for tracker in self._trackers:
            tracker.close()

    def start(self, step: int, settings: Mapping[str, Any]) -> None:
        """Tells that a process begins.

        Args:
            step: steps taken before; what log and curves have beyond them, a killed process took.
            settings: of the run.
        """
        for tracker in self._trackers:
            tracker.settings(settings, step)
        self._tell({"event": "start", "schema": SCHEMA, "step": step})

    def say(self, message: str) -> None:
        """Tells something that has no numbers."""
        self._tell({"event": "note", "message": message}, message)

    def live(
        self, step: int, total_steps: int | None, share: float, eta: float | None, values: Mapping[str, float]
    ) -> None:
        """Shows a person how the step went; nothing is kept.

        Args:
            step: steps taken.
            total_steps: steps to take, if the run is limited by steps.
            share: of the run that is done, 0 to 1.
            eta: seconds until the end, if known.
            values: numbers by name.
        """
        for sink in self._sinks:
            sink.live({"step": step, "steps": total_steps, "eta_seconds": eta, **values}, share)

    def step(
        self, step: int, total_steps: int | None, eta: float | None, values: Mapping[str, float]
    ) -> None:
        """Tells how training goes, for good; the arguments are those of ``live``."""
        for tracker in self._trackers:
            tracker.scalars({_curve(name): value for name, value in values.items()}, step)
        event = {"event": "step", "step": step, "steps": total_steps, "eta_seconds": eta, **values}
        self._tell(event, step_line(event))

    def scores(self, step: int, scores: Mapping[str, float], best: bool, captions: Mapping[str, str]) -> None:
        """Tells a validation, with some captions as they are."""
        for tracker in self._trackers:
            tracker.scalars({f"validation/{name}": value for name, value in scores.items()}, step)
            if captions and self._samples is not None:
                tracker.samples(self._samples.of(captions), step)
        numbers = "  ".join(f"{name} {value:.3f}" for name, value in scores.items())
        lines = [f"step {step}  validation  {numbers}{'  (best so far)' if best else ''}"]
        lines += [f"    {image_id}: {caption}" for image_id, caption in captions.items()]
        event = {"event": "validation", "step": step, "best": best, **scores, "captions": dict(captions)}
        self._tell(event, "\n".join(lines))

    def fault(self, fault: Fault, message: str) -> None:
        """Tells what the guard found."""
        event = {
            "event": "fault",
            "kind": fault.kind,
            "action": fault.action,
            "step": fault.step,
            "since": fault.since,
            "values": dict(fault.values),
            "pictures": list(fault.image_ids),
            "message": message,
        }
        self._tell(event, "" if fault.action == "stop" else message)  # else the command's last word says it

    def _tell(self, event: Mapping[str, Any], readable: str = "") -> None:
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        for sink in self._sinks:
            sink.tell({"event": event["event"], "time": now, **event}, readable)


def open_progress(run: Run, step: int, stream: TextIO) -> Progress:
    """What the settings ask for: the stream, the run's log, its trackers.

    Args:
        run: its folder is made.
        step: steps taken before.
        stream: standard output: lines for people on a terminal, else JSON lines.
    """
    config = run.config
    config.out.mkdir(parents=True, exist_ok=True)
    log = JsonLines((config.out / LOG_FILE).open("a", encoding="utf-8"), owned=True)
    progress = Progress(
        sinks=(Terminal(stream) if stream.isatty() else JsonLines(stream), log),
        trackers=[TRACKERS[name](config.out, step) for name in config.track],
        samples=None if run.validation is None else SamplePictures(config.data.images, run.validation),
    )
    progress.start(step, plain(config))
    return progress


def _curve(name: str) -> str:
    """The curve of a number: its group, which TensorBoard shows as a section, and its name."""
    group = "optim" if name in _OF_OPTIMIZER else "speed" if name in _OF_SPEED else "train"
    return f"{group}/{name}"

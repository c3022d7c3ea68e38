"""What a run says while it trains: lines for people, JSON lines for programs, TensorBoard for curves."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TextIO

from torch.utils.tensorboard import SummaryWriter

from captioning.event_log import CURVES_FOLDER, LOG_FILE


@dataclass
class Recent:
    """Sums since the last line of progress."""

    steps: int = 0
    seconds: float = 0.0
    waited: float = 0.0
    captions: int = 0
    sums: dict[str, float] = field(default_factory=dict)

    def add(self, seconds: float, waited: float, captions: int, values: Mapping[str, float]) -> None:
        """Counts one step: its time, the part of it spent waiting for data, its captions and numbers."""
        self.steps += 1
        self.seconds += seconds
        self.waited += waited
        self.captions += captions
        for name, value in values.items():
            self.sums[name] = self.sums.get(name, 0.0) + value

    def means(self) -> dict[str, float]:
        """Means over the steps, captions a second, and the share of time spent waiting for data."""
        return {
            **{name: total / self.steps for name, total in self.sums.items()},
            "captions_per_second": self.captions / self.seconds,
            "data_wait": self.waited / self.seconds,
        }


class Progress:
    """Writes events to a stream, to ``log.jsonl`` and, numbers only, to TensorBoard.

    On a terminal an event is a readable line; otherwise, and always in ``log.jsonl``, it is a JSON object.
    """

    def __init__(self, run: Path, step: int, stream: TextIO) -> None:
        """Opens the run's log for appending; curves beyond ``step``, of a run that was killed, are cut."""
        run.mkdir(parents=True, exist_ok=True)
        self._stream = stream
        self._readable = stream.isatty()
        self._log = (run / LOG_FILE).open("a", encoding="utf-8")
        self._curves = SummaryWriter(str(run / CURVES_FOLDER), purge_step=step + 1)

    def __enter__(self) -> Progress:
        """Itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Closes the files."""
        self._log.close()
        self._curves.close()

    def say(self, message: str) -> None:
        """Tells something that has no numbers."""
        self._write({"event": "note", "message": message}, message)

    def step(
        self, step: int, total_steps: int | None, eta: float | None, values: Mapping[str, float]
    ) -> None:
        """Tells how training goes.

        Args:
            step: steps taken.
            total_steps: steps to take, if the run is limited by steps.
            eta: seconds until the end, if known.
            values: numbers by name.
        """
        for name, value in values.items():
            self._curves.add_scalar(f"train/{name}", value, step)
        event = {"event": "step", "step": step, "steps": total_steps, "eta_seconds": eta, **values}
        numbers = "  ".join(f"{name} {value:.4g}" for name, value in values.items())
        until = "" if eta is None else f"  {_clock(eta)} left"
        self._write(event, f"step {step}{f'/{total_steps}' if total_steps else ''}  {numbers}{until}")

    def scores(self, step: int, scores: Mapping[str, float], best: bool, captions: Mapping[str, str]) -> None:
        """Tells a validation, with some captions as they are."""
        for name, value in scores.items():
            self._curves.add_scalar(f"validation/{name}", value, step)
        for image_id, caption in captions.items():
            self._curves.add_text(f"captions/{image_id}", caption, step)
        numbers = "  ".join(f"{name} {value:.3f}" for name, value in scores.items())
        lines = [f"step {step}  validation  {numbers}{'  (best so far)' if best else ''}"]
        lines += [f"    {image_id}: {caption}" for image_id, caption in captions.items()]
        event = {"event": "validation", "step": step, "best": best, **scores, "captions": dict(captions)}
        self._write(event, "\n".join(lines))

    def _write(self, event: Mapping[str, object], readable: str) -> None:
        line = json.dumps(event, ensure_ascii=False)
        self._log.write(line + "\n")
        self._log.flush()
        self._curves.flush()  # of a run that is killed, the curves too reach to its last checkpoint
        self._stream.write((readable if self._readable else line) + "\n")
        self._stream.flush()


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"

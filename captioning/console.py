"""Where a run's events are told: to people on a terminal, or to programs as JSON lines."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, Protocol, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.text import Text

from eval.shown import shown

FIRST = ("loss",)
LAST = ("grad_norm", "learning_rate", "captions_per_second", "pieces_per_second", "data_wait", "padding")
"""Numbers of a line in this order; the parts of the loss stand between."""
_SHORT = {
    "learning_rate": "lr",
    "grad_norm": "|gradient|",
    "captions_per_second": "captions/s",
    "pieces_per_second": "pieces/s",
    "data_wait": "waiting",
}
_SHARES = ("data_wait", "padding")


def json_line(event: Mapping[str, Any]) -> str:
    """An event as a line of JSON; numbers that JSON does not know are null."""
    return json.dumps(_finite(event), ensure_ascii=False, allow_nan=False) + "\n"


class Sink(Protocol):
    """Something that events are written to."""

    def tell(self, event: Mapping[str, Any], readable: str) -> None:
        """Takes an event, and the lines that say it to people."""

    def live(self, event: Mapping[str, Any], share: float) -> None:
        """Shows a step's numbers until the next step; ``share`` of the run is done, 0 to 1."""

    def close(self) -> None:
        """Nothing more will come."""


class JsonLines:
    """Events for programs."""

    def __init__(self, stream: TextIO, *, owned: bool = False) -> None:
        """Takes an open stream, and closes it in the end if it is ``owned``."""
        self._stream, self._owned = stream, owned

    def tell(self, event: Mapping[str, Any], readable: str) -> None:
        """Writes an event."""
        self._stream.write(json_line(event))
        self._stream.flush()

    def live(self, event: Mapping[str, Any], share: float) -> None:
        """Nothing: programs read what is kept."""

    def close(self) -> None:
        """Closes an owned stream."""
        if self._owned:
            self._stream.close()


class Terminal:
    """Events for people: lines that stay, and below them one that is replaced at every step."""

    def __init__(self, stream: TextIO) -> None:
        """Takes an open terminal; nothing moves before the first step."""
        self._console = Console(file=stream, highlight=False, markup=False, soft_wrap=True)
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=20),
            TextColumn("{task.percentage:3.0f}%"),
            TextColumn("{task.fields[numbers]}", markup=False),
            console=self._console,
            refresh_per_second=4,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._task = self._bar.add_task("", total=1.0, numbers="")

    def tell(self, event: Mapping[str, Any], readable: str) -> None:
        """Writes lines that stay."""
        for line in readable.splitlines():
            self._console.print(Text(shown(line)))

    def live(self, event: Mapping[str, Any], share: float) -> None:
        """Replaces the moving line."""
        self._bar.start()
        self._bar.update(self._task, completed=share, description=steps_of(event), numbers=_moving(event))

    def close(self) -> None:
        """Takes the moving line away and gives the cursor back."""
        self._bar.stop()


def steps_of(event: Mapping[str, Any]) -> str:
    """Steps taken, of how many where that is known."""
    return f"step {event['step']}" + (f"/{event['steps']}" if event["steps"] else "")


def step_line(event: Mapping[str, Any]) -> str:
    """A step's event for people: ``step 10/100  epoch 0.83  loss 7.5 …  1:02 left``."""
    named = {*FIRST, *LAST, "event", "time", "step", "steps", "eta_seconds", "epoch"}
    names = [*FIRST, *(name for name in event if name not in named), *LAST]
    numbers = [f"epoch {event['epoch']:.2f}"] if "epoch" in event else []
    numbers += [_number(name, event[name]) for name in names if name in event]
    return "  ".join([steps_of(event), *numbers, *_left(event)])


def clock(seconds: float) -> str:
    """Hours, minutes and seconds: 3:05, 1:02:45, 12 d 3:00:00."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours}:{minutes:02}:{rest:02}"
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _moving(event: Mapping[str, Any]) -> str:
    shown_names = ("loss", "captions_per_second", "pieces_per_second")
    return "  ".join([*(_number(name, event[name]) for name in shown_names if name in event), *_left(event)])


def _left(event: Mapping[str, Any]) -> list[str]:
    return [] if event["eta_seconds"] is None else [f"{clock(event['eta_seconds'])} left"]


def _number(name: str, value: float) -> str:
    if name in _SHARES:
        return f"{_SHORT.get(name, name)} {value:.0%}"
    if name.endswith("_per_second"):
        return f"{value:,.0f} {_SHORT[name]}" if value >= 10 else f"{value:.2g} {_SHORT[name]}"
    return f"{_SHORT.get(name, name)} {value:.4g}"


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {name: _finite(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return value

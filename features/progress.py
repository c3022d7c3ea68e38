"""What an extraction says while it runs, on stderr: a live line for people, JSON lines for programs."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from types import TracebackType
from typing import TextIO

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

__all__ = ["ExtractionProgress", "n_pictures", "printable"]

_SECONDS_BETWEEN_LINES = 5.0


def printable(text: str) -> str:
    """Text that cannot command a terminal: control characters are written as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def n_pictures(count: int) -> str:
    """A count with its noun."""
    return f"{count} picture" if count == 1 else f"{count} pictures"


class _RateColumn(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:.1f} pictures/s")


class ExtractionProgress:
    """Counts pictures; use as a context manager around the run."""

    def __init__(self, total: int, stream: TextIO | None = None) -> None:
        """Says nothing before it is entered.

        Args:
            total: Pictures to extract.
            stream: Where to; stderr by default.
        """
        self._stream = stream or sys.stderr
        self._total = total
        self._ok = self._failed = 0
        self._started = self._last_line = time.monotonic()
        self._live: Progress | None = None
        if self._stream.isatty():
            self._live = Progress(
                TextColumn("extracting"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[failed]}"),
                _RateColumn(),
                TextColumn("eta"),
                TimeRemainingColumn(),
                console=Console(file=self._stream),
            )
            self._task = self._live.add_task("", total=total, failed="")

    def __enter__(self) -> ExtractionProgress:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def expect(self, more: int) -> None:
        """So many pictures more are to be extracted."""
        self._total += more
        if self._live is not None:
            self._live.update(self._task, total=self._total)

    def count(self, *, failed: bool) -> None:
        """One more picture is through."""
        self._failed += failed
        self._ok += not failed
        if self._live is not None:
            text = f"{self._failed} failed" if self._failed else ""
            self._live.update(self._task, advance=1, failed=text)
        elif time.monotonic() - self._last_line >= _SECONDS_BETWEEN_LINES:
            self._last_line = time.monotonic()
            self._write_line()

    def _write_line(self) -> None:
        done = self._ok + self._failed
        rate = done / max(time.monotonic() - self._started, 1e-9)
        event = {
            "event": "progress",
            "ok": self._ok,
            "failed": self._failed,
            "total": self._total,
            "pictures_per_second": round(rate, 2),
            "eta_seconds": round((self._total - done) / rate, 1),
        }
        self._stream.write(json.dumps(event) + "\n")
        self._stream.flush()


def say(message: str, stream: TextIO | None = None) -> None:
    """A note to the user: a line on a terminal, else a JSON line among the others."""
    stream = stream or sys.stderr
    line = (
        printable(message)
        if stream.isatty()
        else json.dumps({"event": "note", "message": message}, ensure_ascii=False)
    )
    stream.write(line + "\n")
    stream.flush()


def failure_lines(failed: dict[str, str], limit: int = 20) -> Iterator[str]:
    """The pictures that could not be used, with reasons; the first so many."""
    for name in sorted(failed)[:limit]:
        yield f"failed: {printable(name)}: {printable(failed[name])}"
    if len(failed) > limit:
        yield f"… and {len(failed) - limit} more; all are listed in the file (RegionStore.failed)"

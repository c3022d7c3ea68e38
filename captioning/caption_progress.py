"""What captioning says while it runs."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import TextIO

MOST_LISTED = 20
"""Failures named on the terminal; all of them are in the failures file."""


def listing(failures: Sequence[tuple[str, str]]) -> str:
    """The first failures, a line each, fit for a terminal."""
    lines = [f"  {image_id!r}: {reason}" for image_id, reason in failures[:MOST_LISTED]]
    if len(failures) > MOST_LISTED:
        lines.append(f"  and {len(failures) - MOST_LISTED} more")
    return "\n".join(lines)


class Progress:
    """Count, rate and time left: one moving line on a terminal, else a JSON line every few seconds."""

    def __init__(self, total: int, stream: TextIO) -> None:
        """Starts the clock."""
        self._total, self._stream, self._done = total, stream, 0
        self._live = stream.isatty()
        self._pause = 0.2 if self._live else 5.0
        self._start = self._last = time.monotonic()

    def step(self, n: int = 1) -> None:
        """So many pictures more."""
        self._done += n
        if time.monotonic() - self._last >= self._pause:
            self._say()

    def close(self) -> None:
        """The last word."""
        self._say("\n" if self._live else "")

    def _say(self, end: str = "") -> None:
        if not self._done:  # no rate yet
            return
        self._last = time.monotonic()
        rate = self._done / max(self._last - self._start, 1e-9)
        left = (self._total - self._done) / max(rate, 1e-9)
        if self._live:
            line = f"\rcaptioning {self._done}/{self._total}  {rate:.1f} pictures/s  {left:.0f} s left  {end}"
        else:
            event = {"event": "progress", "done": self._done, "total": self._total}
            line = (
                json.dumps(event | {"pictures_per_second": round(rate, 2), "eta_seconds": round(left, 1)})
                + "\n"
            )
        self._stream.write(line)
        self._stream.flush()

"""What a run has told of itself, in its folder; a run that goes on takes back what it will tell again."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from captioning.folders import file_written_aside

LOG_FILE = "log.jsonl"
CURVES_FOLDER = "tensorboard"


def cut_log(path: Path, step: int, validated_step: int) -> None:
    """Removes the events of steps that were lost with a killed run, and a line that was not finished.

    Every step is then told once, by the process that took it for good. Notes, and the faults that ended a
    process, stay: they belong to the run's history.

    Args:
        path: ``log.jsonl``; it may not be there yet.
        step: of the checkpoint that the run goes on from; 0 at the beginning.
        validated_step: of the last validation that this checkpoint knows of.
    """
    if not path.exists():
        return
    with path.open(encoding="utf-8", errors="replace", newline="\n") as file:
        lines = list(file)  # not splitlines: a caption may hold U+2028
    kept = [line for line in lines if _stays(line, step, validated_step)]
    if len(kept) < len(lines):
        with file_written_aside(path) as aside:
            aside.write_text("".join(kept), encoding="utf-8", newline="\n")


@contextmanager
def write_errors_told_once() -> Iterator[None]:
    """Lets no thread print an error of writing: TensorBoard's hands it to the next call, which raises it."""
    before = threading.excepthook

    def tell(failure: threading.ExceptHookArgs) -> None:
        if not isinstance(failure.exc_value, OSError):
            before(failure)

    threading.excepthook = tell
    try:
        yield
    finally:
        threading.excepthook = before


def _stays(line: str, step: int, validated_step: int) -> bool:
    if not line.endswith("\n"):
        return False
    try:
        event: Any = json.loads(line)
    except ValueError:
        return False
    if not isinstance(event, Mapping) or "step" not in event:
        return isinstance(event, Mapping)
    if event.get("event") == "fault" and event.get("action") == "stop":  # why the run had to be started again
        return True
    return event["step"] <= (validated_step if event.get("event") == "validation" else step)

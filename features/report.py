"""How an extraction went: counts, where its time went, and the exit code that follows."""

from __future__ import annotations

import resource
import sys
from dataclasses import dataclass, field

__all__ = ["Report", "peak_memory"]

OK, SOME_FAILED, SIGNAL = 0, 3, 128
"""Exit codes; a signal's number is added to the last."""


@dataclass
class Report:
    """How an extraction went.

    Attributes:
        ok: Pictures of the folder whose regions are sealed, by whichever shard.
        failed: Pictures of the folder that could not be used -> reason.
        others: Pictures of the file that this run was not asked for.
        extracted: Pictures this run worked on.
        seconds: This run took, from the first picture to the finished file.
        model_seconds: Of those, inside the detector.
        waiting_seconds: Of those, waiting for decoded pictures.
        writing_seconds: Of those, waiting for the disk.
        merge_seconds: Of those, making the file of the sealed ones, at the end.
        signal: SIGINT or SIGTERM, where one ended the run early.
        complete: Whether the regions file is finished; another shard may have to do that.
    """

    ok: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    others: int = 0
    extracted: int = 0
    seconds: float = 0.0
    model_seconds: float = 0.0
    waiting_seconds: float = 0.0
    writing_seconds: float = 0.0
    merge_seconds: float = 0.0
    signal: int | None = None
    complete: bool = False

    @property
    def exit_code(self) -> int:
        """Of the command."""
        if self.signal is not None:
            return SIGNAL + self.signal
        return SOME_FAILED if self.failed else OK


def peak_memory() -> tuple[float, float]:
    """Largest resident memory of this process, and of the largest of its ended children, in MB."""
    unit = 1e6 if sys.platform == "darwin" else 1e3  # bytes on macOS, kilobytes elsewhere
    own, child = (
        resource.getrusage(who).ru_maxrss / unit for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    return own, child

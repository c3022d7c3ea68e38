"""Room on the disk for the checkpoints of a run, known before its first step."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from captioning.config import TrainConfig
from captioning.run_folder import checkpoints

_MB = 1e6


@dataclass(frozen=True, kw_only=True)
class CheckpointRoom:
    """Room that a run's checkpoints take, in bytes."""

    checkpoint: int
    """One of them."""
    at_most: int
    """Those that are kept, and one that is being written."""
    present: int
    """Those that are there already."""
    free: int
    """On the disk of the run's folder."""

    @staticmethod
    def of_run(config: TrainConfig, model: nn.Module) -> CheckpointRoom:
        """Estimates for a run, whose folder need not be there yet."""
        copies = 2 if config.optim.ema_decay is None else 3  # Adam's; and weights beside their average
        return CheckpointRoom.of(config.out, model, copies=copies, keep_last=config.keep_last)

    @staticmethod
    def of(run: Path, model: nn.Module, *, copies: int, keep_last: int) -> CheckpointRoom:
        """Estimates.

        Args:
            run: the folder.
            model: whose weights are written.
            copies: numbers that are kept of a trained weight besides itself: 2 for Adam.
            keep_last: newest checkpoints kept, besides the best.
        """
        existing = next(path for path in (run, *run.absolute().parents) if path.is_dir())
        there = [_bytes_of(folder) for folder in checkpoints(run)]
        weights = sum(parameter.nbytes for parameter in model.parameters())
        trained = sum(parameter.nbytes for parameter in model.parameters() if parameter.requires_grad)
        one = max([weights + copies * trained, *there])
        return CheckpointRoom(
            checkpoint=one,
            at_most=one * (keep_last + 2),
            present=sum(there),
            free=shutil.disk_usage(existing).free,
        )

    def check(self, run: Path) -> str | None:
        """What to tell where the disk may become too small.

        Raises:
            OSError: it has no room for a single checkpoint.
        """
        need = f"a checkpoint of this run takes {self.checkpoint / _MB:.1f} MB"
        cure = "Make room, choose an --out on another disk, or keep fewer checkpoints (--keep_last)."
        if self.free < self.checkpoint:
            raise OSError(f"{run}: {need}, the disk has {self.free / _MB:.1f} MB free. {cure}")
        if self.present + self.free < self.at_most:
            return (
                f"{need}, up to {self.at_most / _MB:.1f} MB are there at once, the disk has "
                f"{self.free / _MB:.1f} MB free. {cure}"
            )
        return None


def _bytes_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir() if path.is_file())

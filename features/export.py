"""``python -m features.export REGIONS OUT --format oscar``: a regions file as other projects read it.

The formats stand in ``features.export_formats``. The output is written aside and renamed when it is whole;
what is there is never replaced. Exit codes: 0 all pictures, 3 some cannot be written in the format (they
are listed), 2 wrong usage, 1 nothing was written.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path

from features.arguments import parse_config
from features.aside import files_of, written_aside
from features.export_formats import FORMATS
from features.progress import failure_lines, printable
from features.store import RegionStore

__all__ = ["ExportConfig", "Exported", "export", "main"]

OK, FATAL, SOME_FAILED = 0, 1, 3


@dataclass(frozen=True, kw_only=True)
class ExportConfig:
    """Write the regions of a regions file in the format of another project."""

    regions: Path
    """The regions file, or the folder of shards of an unfinished extraction."""
    out: Path
    """What to write: a folder (oscar, npz) or a file (m2) that does not exist yet."""
    format: str = "oscar"
    """oscar (TSV folder), m2 (HDF5 of Meshed-Memory Transformer), npz (a file a picture)."""

    def __post_init__(self) -> None:
        if self.format not in FORMATS:
            raise ValueError(f"unknown format {self.format!r}; choose from {', '.join(FORMATS)}")


@dataclass(frozen=True, kw_only=True)
class Exported:
    """How an export went.

    Attributes:
        n_pictures: Written.
        left_out: Pictures that the format cannot hold -> reason.
        n_bytes: Of the output.
        seconds: It took.
    """

    n_pictures: int
    left_out: dict[str, str]
    n_bytes: int
    seconds: float


def export(config: ExportConfig) -> Exported:
    """Do what the command does, less its last words.

    Raises:
        features.schema.StoreError: The regions file cannot be read.
        OSError: The output exists, or the disk.
    """
    started = time.perf_counter()
    with RegionStore(config.regions) as store, written_aside(config.out) as aside:
        left_out = FORMATS[config.format](store, aside)
        n_pictures = len(store) - len(left_out)
    return Exported(
        n_pictures=n_pictures,
        left_out=left_out,
        n_bytes=sum(path.stat().st_size for path in files_of(config.out)),
        seconds=time.perf_counter() - started,
    )


def main(argv: list[str] | None = None) -> int:
    """The command; returns its exit code."""
    config: ExportConfig = parse_config("features.export", ExportConfig, argv, positional=("regions", "out"))
    try:
        done = export(config)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"error: {printable(str(error))}\n")
        return FATAL
    for line in failure_lines(done.left_out, limit=len(done.left_out)):
        sys.stdout.write(line + "\n")
    sys.stdout.write(
        f"{done.n_pictures} pictures written / {len(done.left_out)} left out -> {printable(str(config.out))} "
        f"({config.format}, {done.n_bytes / 1e6:.1f} MB, {done.seconds:.1f} s)\n"
    )
    return SOME_FAILED if done.left_out else OK


if __name__ == "__main__":
    sys.exit(main())

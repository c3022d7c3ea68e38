"""``python -m features.verify REGIONS…``: everything that is wrong with regions files, and what can be saved.

Exit codes: 0 every file is good, 1 problems were found (they are listed, repaired or not; a missing file is
one), 2 wrong usage.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from features.arguments import parse_config
from features.progress import printable
from features.repair import repair
from features.schema import StoreError
from features.store_file import AGAIN, StoreFile
from features.verification import Examined, Problem, examine

__all__ = ["VerifyConfig", "main", "why_unanswered"]

OK, PROBLEMS = 0, 1
PATIENCE = 60.0
"""Seconds for opening a file; a million pictures take three."""
SHOWN = 100  # problems a file on a terminal; --json has all


@dataclass(frozen=True, kw_only=True)
class VerifyConfig:
    """List everything that is wrong with regions files; write what can be saved to a new one."""

    regions: list[Path]
    """Regions files, or folders of sealed shards."""
    repair: Path | None = None
    """Write the good pictures of the one file to this new file: geometry is recomputed, pictures with bad
    rows become failures, which `features.extract --retry-failed` extracts again."""
    json: bool = False
    """Print the findings as JSON."""

    def __post_init__(self) -> None:
        if not any(path.exists() for path in self.regions):
            raise ValueError(f"{self.regions[0]}: no such file or folder")
        for path in self.regions:
            if path.is_dir() and not any(path.glob("*.h5")):
                raise ValueError(f"{path}: a folder without sealed shards (*.h5)")
        if self.repair is not None and (len(self.regions) > 1 or self.regions[0].is_dir()):
            raise ValueError("--repair takes one regions file")
        if self.repair is not None and self.repair.exists():
            raise ValueError(f"{self.repair}: is there already and is not replaced; name another output")

    @property
    def files(self) -> list[Path]:
        """Every file to look at."""
        return [
            file for path in self.regions for file in (sorted(path.glob("*.h5")) if path.is_dir() else [path])
        ]


def main(argv: list[str] | None = None) -> int:
    """The command; returns its exit code."""
    config: VerifyConfig = parse_config("features.verify", VerifyConfig, argv, positional=("regions",))
    report: list[dict[str, Any]] = []
    for path in config.files:
        silence = why_unanswered(path) if path.exists() else Problem(what="no such file or folder")
        found = Examined(path=path, problems=[silence]) if silence else examine(path)
        outcome = _repair(found, config.repair) if config.repair and found.problems else None
        report.append(_as_json(found, outcome))
        if not config.json:
            for line in _lines(found, outcome):
                sys.stdout.write(printable(line) + "\n")
        if found.file is not None:
            found.file.close()
    if config.json:
        sys.stdout.write(json.dumps(report, ensure_ascii=False, indent=1) + "\n")
    return PROBLEMS if any(one["problems"] for one in report) else OK


def _open(path: Path) -> None:
    with suppress(StoreError):  # which is an answer too
        StoreFile(path)


def why_unanswered(path: Path, seconds: float = PATIENCE) -> Problem | None:
    """Open a file in a process of its own, because HDF5 runs for ever on some damaged files.

    Args:
        path: Of a regions file.
        seconds: To wait for it.

    Returns:
        What is wrong, where the process does not come back or dies of it.
    """
    process = get_context("spawn").Process(target=_open, args=(path,))
    process.start()
    process.join(seconds)
    if process.exitcode == 0:
        return None
    ended = f"kills the process (exit code {process.exitcode})"
    if process.exitcode is None:
        process.kill()
        process.join()
        ended = f"does not come back within {seconds:g} s"
    return Problem(what=f"HDF5 {ended} when it opens the file; its structure is damaged")


def _repair(found: Examined, out: Path) -> str:
    try:
        n_saved = repair(found, out)
    except (OSError, ValueError) as error:
        return f"nothing was written: {error}"
    return f"{n_saved} pictures saved, {len(found.bad_rows)} left out -> {out}"


def _as_json(found: Examined, outcome: str | None) -> dict[str, Any]:
    return {
        "path": str(found.path),
        **_counts(found),
        "problems": [asdict(problem) for problem in found.problems],
        "repairable": found.repairable,
        "repair": outcome,
    }


def _counts(found: Examined) -> dict[str, int]:
    if found.file is None:
        return {"pictures": 0, "regions": 0, "failed": 0}
    return {
        "pictures": len(found.file.image_ids),
        "regions": int(found.file.offsets[-1]),
        "failed": len(found.file.failed),
    }


def _lines(found: Examined, outcome: str | None) -> Iterator[str]:
    if not found.problems:
        counts = _counts(found)
        yield (
            f"{found.path}: good ({counts['pictures']} pictures, {counts['regions']} regions, "
            f"{counts['failed']} recorded as failed)"
        )
        return
    cure = "can be repaired with --repair OUT"
    if not found.repairable:
        cure = f"cannot be repaired. {AGAIN}" if found.path.exists() else "nothing to repair"
    yield f"{found.path}: {len(found.problems)} problems; {cure}"
    for problem in found.problems[:SHOWN]:
        where = f"{problem.picture}: " if problem.picture is not None else ""
        yield f"  {where}{problem.what} [{f'--repair {problem.cure}' if problem.cure else 'not repairable'}]"
    if len(found.problems) > SHOWN:
        yield f"  … and {len(found.problems) - SHOWN} more; --json lists all"
    if outcome:
        yield f"  {outcome}"


if __name__ == "__main__":
    sys.exit(main())

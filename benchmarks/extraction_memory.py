"""Memory of `features.extract` over time, for few pictures and for many: does it stay flat?

    python -m benchmarks.extraction_memory --plot docs/img/extraction_memory.svg --out JSON

The samples are repeated as hard links in a folder. Every second the kernel is asked what the command and its
decode processes hold: memory of their own (anonymous pages; those that a fork shares count once), and all
that is resident, with the pages of mapped files that the kernel may take back at any time. The merge at the
end maps the sealed shards: there the second figure grows with the pictures, and the first should not. Linux
only. 20,000 pictures take a quarter of an hour on two cores; flags that this program does not know go to
features.extract.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.captioning_at_scale import link_samples
from benchmarks.line_plot import Line, line_plot
from benchmarks.machine import machine
from benchmarks.results import tell

SETTLED = 0.25
"""Share of a run after which its buffers have their size: what grows later grows with the pictures."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """What all processes of the command held at one moment, in MB (10^6 bytes)."""

    seconds: float
    own_mb: float
    resident_mb: float


def watch(process: subprocess.Popen[str], every: float) -> list[Sample]:
    """Sample until the process ends."""
    started = time.monotonic()
    samples = []
    while process.poll() is None:
        held = [_held(pid) for pid in _family(process.pid)]
        samples.append(
            Sample(
                seconds=time.monotonic() - started,
                own_mb=sum(one.get("Pss_Anon", 0) for one in held) / 1e3,
                resident_mb=sum(one.get("Pss", 0) for one in held) / 1e3,
            )
        )
        time.sleep(every)
    return [
        sample for sample in samples if sample.resident_mb
    ]  # none is left of a process that has just ended


def _family(pid: int) -> list[int]:
    """A process and all below it."""
    try:
        text = " ".join(path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/children"))
    except OSError:  # it has just ended
        return []
    return [pid, *(member for child in text.split() for member in _family(int(child)))]


def _held(pid: int) -> Mapping[str, float]:
    """Kilobytes (1,024 bytes) a kind, shared pages divided among those that share them, as 10^3 bytes."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return {}
    return {name: int(kb) * 1.024 for name, kb in re.findall(r"^(\w+): +(\d+) kB", text, re.MULTILINE)}


def extract(n_pictures: int, every: float, words: Sequence[str]) -> tuple[list[Sample], str]:
    """Run the command over so many links; its samples and its last words."""
    with tempfile.TemporaryDirectory(dir=".", prefix=".extraction_memory-") as folder:
        link_samples(Path(folder, "links"), n_pictures)
        command = ["features.extract", "--images", f"{folder}/links", "--out", f"{folder}/regions.h5"]
        with tempfile.TemporaryFile("w+") as said:
            process = subprocess.Popen(
                [sys.executable, "-m", *command, *words], stdout=said, stderr=said, text=True
            )
            samples = watch(process, every)
            said.seek(0)
            text = said.read()
    if process.returncode != 0:
        sys.exit(f"features.extract failed:\n{text}")
    return samples, text.splitlines()[-1]


def figures(samples: Sequence[Sample], last_words: str) -> dict[str, Any]:
    """Peaks, and what was added after the buffers had their size."""
    settled = samples[int(len(samples) * SETTLED)]
    return {
        "said": last_words,
        "seconds": round(samples[-1].seconds, 1),
        "own_mb_a_quarter_in": round(settled.own_mb),
        "peak_own_mb": round(max(sample.own_mb for sample in samples)),
        "peak_resident_mb": round(max(sample.resident_mb for sample in samples)),
        "own_mb": " ".join(f"{sample.own_mb:.0f}" for sample in samples),
        "resident_mb": " ".join(f"{sample.resident_mb:.0f}" for sample in samples),
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print, write, plot."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pictures", type=int, nargs="+", default=[1_000, 20_000])
    parser.add_argument("--every", type=float, default=1.0, help="seconds between samples")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--plot", type=Path, help="SVG")
    arguments, words = parser.parse_known_args(argv)
    words = words or ["--backend", "mini"]
    runs = {number: extract(number, arguments.every, words) for number in arguments.pictures}
    if arguments.plot:
        lines = [
            Line(
                label=f"{number:,} pictures, {kind}",
                points=[(sample.seconds / 60, getattr(sample, field)) for sample in samples],
                colour=colour,
            )
            for (number, (samples, _)), colours in zip(runs.items(), COLOURS * len(runs), strict=False)
            for (kind, field), colour in zip(KINDS.items(), colours, strict=True)
        ]
        arguments.plot.write_text(
            line_plot("Memory of features.extract", "minutes", "MB", lines), encoding="utf-8"
        )
    result = {
        "what": f"python -m features.extract {' '.join(words)}, samples repeated; PSS of all its processes",
        "machine": machine(),
        "seconds_between_samples": arguments.every,
        "runs": {f"{number} pictures": figures(*run) for number, run in runs.items()},
    }
    tell(result, arguments.out)


KINDS = {"its own": "own_mb", "with mapped files": "resident_mb"}
COLOURS = [("#d9480f", "#ffc078"), ("#1864ab", "#74c0fc")]  # a dark and a light one a run

if __name__ == "__main__":
    main()

"""Thousands of spoilt regions files are opened in a child process: none crashes it or passes for good.

HDF5 2.0 itself runs for ever on some damaged heaps of strings (5 of 2,000); those children are ended.
"""

from __future__ import annotations

import os
import queue
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import pytest

from features.store import write_shard
from tests.features.fake import META, make_regions, with_options

MUTATIONS = int(os.environ.get("TUSHUO_FUZZ", "300"))
"""The full run is 2,000 a file."""
SECONDS = 5.0  # that one file may take
START = 60.0  # of a child on a busy machine


class Child:
    """A process that opens mutations from a number on, and says a line for each."""

    def __init__(self, path: Path, first: int) -> None:
        command = [sys.executable, "-m", "tests.features.fuzz_store", str(path), str(first), str(MUTATIONS)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.put(line.rstrip())
        self.lines.put("")

    def next_line(self, seconds: float) -> str | None:
        """What it says next; empty where it ended, None where it hangs."""
        try:
            return self.lines.get(timeout=seconds)
        except queue.Empty:
            return None

    def end(self) -> int:
        self.process.kill()
        return self.process.wait()


@pytest.mark.parametrize("compression", [None, "zstd"])
def test_a_spoilt_file_is_refused_or_has_the_numbers_that_were_written(
    tmp_path: Path, compression: str | None
) -> None:
    path = tmp_path / "r.h5"
    records = [with_options(make_regions(f"{number}.jpg", 1 + number % 3)) for number in range(12)]
    write_shard(path, records, META, {"bad.jpg": "empty file"}, compression=compression)
    outcomes: Counter[str] = Counter()
    defects: list[str] = []
    number, child, patience = 0, Child(path, 0), START
    while number < MUTATIONS:
        line = child.next_line(patience)
        patience = SECONDS
        if line:
            said = line.split(" ", 1)[1]
            outcomes[said] += 1
            if said not in ("good", "refused"):
                defects.append(line)
            number += 1
            continue
        code = child.end()
        if line is None:
            outcomes["hangs"] += 1
        else:
            defects.append(f"{number} ends the process ({code})")
        number, patience = number + 1, START
        child = Child(path, number)
    child.end()
    assert defects == []
    assert outcomes["hangs"] <= MUTATIONS / 100
    assert outcomes["refused"] > MUTATIONS / 4
    assert outcomes["good"] > 0  # bytes that nothing stands on

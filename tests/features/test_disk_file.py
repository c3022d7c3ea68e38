from __future__ import annotations

import errno
import itertools
import os
from pathlib import Path

import h5py
import numpy as np
import pytest

from features.disk_file import DiskFile

ROWS = np.arange(60_000, dtype=np.float16).reshape(200, 300)


def write(file: h5py.File) -> None:
    for number in range(3):
        file.create_dataset(f"rows/{number}", data=ROWS + number)
    file.create_dataset("names", data=["红", "绿"] * 5000, dtype=h5py.string_dtype())
    file.attrs["complete"] = 1
    assert file["names"][9999].decode() == "绿"  # it can be read back at any time


def test_hdf5_writes_there_what_it_writes_anywhere(tmp_path: Path) -> None:
    with DiskFile(tmp_path / "a.h5") as disk:
        with h5py.File(disk, "w") as file:
            write(file)
        disk.sync()
    with h5py.File(tmp_path / "a.h5") as file:
        np.testing.assert_array_equal(file["rows/2"], ROWS + 2)
        assert file["names"].asstr()[:2].tolist() == ["红", "绿"]
        assert file["rows/0"].id.get_offset() is not None  # contiguous, so readers can map it


class FailingDisk:
    """Takes so many writes, a share of one more, and nothing after it."""

    def __init__(self, n_good: int, share: float) -> None:
        self.n_good = n_good
        self.share = share
        self.n_calls = 0
        self.pwrite = os.pwrite

    def write(self, descriptor: int, data: memoryview, at: int) -> int:
        self.n_calls += 1
        n_taken = len(data)
        if self.n_calls > self.n_good:
            n_taken = int(self.share * n_taken) if self.n_calls == self.n_good + 1 else 0
        if n_taken == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return self.pwrite(descriptor, data[:n_taken], at)


@pytest.mark.parametrize("share", [0, 0.5])
def test_a_disk_that_fails_at_any_write_is_told_by_check_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, share: float
) -> None:
    for n_good in itertools.count():
        failing = FailingDisk(n_good, share)
        with monkeypatch.context() as patch, DiskFile(tmp_path / "a.h5") as disk:
            patch.setattr(os, "pwrite", failing.write)
            with h5py.File(disk, "w") as file:
                write(file)
            if failing.n_calls <= n_good:
                disk.sync()
                break
            with pytest.raises(OSError, match=r"\[Errno 28\] No space left on device: '.*a\.h5'"):
                disk.sync()
    assert n_good > 5

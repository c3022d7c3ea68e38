"""Whether two regions files hold the same, in every bit of every dataset."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
import torch

TOLD_APART = {"run"}  # how a file came about: time, command, device


def assert_same_file(found: Path, wanted: Path) -> None:
    """Equal datasets and attributes, less the record of the run."""
    with h5py.File(found) as ours, h5py.File(wanted) as theirs:
        names: list[str] = []
        theirs.visit(names.append)
        also: list[str] = []
        ours.visit(also.append)
        assert also == names
        for name in names:
            if isinstance(theirs[name], h5py.Dataset):
                np.testing.assert_array_equal(ours[name][...], theirs[name][...], err_msg=name)
        for name in theirs.attrs.keys() - TOLD_APART:
            assert ours.attrs[name] == theirs.attrs[name], name


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """So many threads for torch: products that are cut for other numbers of them round otherwise."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)

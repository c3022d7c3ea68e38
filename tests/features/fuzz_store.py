"""``python -m tests.features.fuzz_store FILE FIRST LAST``: opens spoilt copies of a regions file, one a line.

Mutation n of a file is the same everywhere. It is ``refused`` (by name, as a reader shall), or ``good``: then
the verifier found nothing and every number is the one that was written. Anything else is a defect, and said.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np

from features.store import RegionStore, StoreError
from features.store_file import StoreFile
from features.verification import examine


def mutated(data: bytes, number: int) -> bytes:
    """A copy with 1 to 4 bytes changed, mostly among the first and last, where HDF5 keeps its structure."""
    random = np.random.default_rng(number)
    spoilt = bytearray(data)
    for _ in range(random.integers(1, 5)):
        edge = min(len(data), 4096)
        places = (random.integers(edge), len(data) - 1 - random.integers(edge), random.integers(len(data)))
        spoilt[places[random.integers(3)]] = random.integers(256)
    return bytes(spoilt)


def outcome(path: Path, original: StoreFile) -> str:
    """``good``, ``refused``, or what is wrong with how the file was read."""
    problems = examine(path).problems
    try:
        with RegionStore(path) as store:
            for image_id in store.image_ids:
                store.regions(image_id)
    except StoreError:
        return "refused" if problems else "refused by the reader, and the verifier found nothing"
    if problems:
        return "refused"
    rows = StoreFile(path).rows
    changed = [name for name in original.rows if not np.array_equal(original.rows[name], rows[name], True)]
    return f"the verifier found nothing, and {', '.join(changed)} changed" if changed else "good"


def main() -> None:
    """Open mutations FIRST to LAST - 1 of FILE."""
    path, first, last = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    original, data = StoreFile(path), path.read_bytes()
    with tempfile.TemporaryDirectory() as folder:
        for number in range(first, last):
            spoilt = Path(folder, f"{number}.h5")
            spoilt.write_bytes(mutated(data, number))
            try:
                said = outcome(spoilt, original)
            except Exception as error:
                said = f"{type(error).__name__}: {error}"
            sys.stdout.write(f"{number} {said}\n".replace("\n", " ") + "\n")
            sys.stdout.flush()
            spoilt.unlink()


if __name__ == "__main__":
    main()

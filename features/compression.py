"""The one compression of regions files, zstd of the feature vectors, by the optional package hdf5plugin.

Raw float16 reads several times faster and is the default; zstd is for archives and slow disks.
"""

from __future__ import annotations

from typing import Any

import h5py

__all__ = ["Compression", "chunked", "missing_filter"]

Compression = str
"""Name of a compression; ``zstd`` is the only one."""

_ZSTD = 32015  # its number in the registry of HDF5 filters
_ROWS_A_CHUNK = 32
_LEVEL = 3  # zstd's own default
_INSTALL = "zstd needs the package hdf5plugin: pip install 'tushuo[zstd]'"


def chunked(compression: Compression | None, shape: tuple[int, ...]) -> dict[str, Any]:
    """Arguments of ``create_dataset`` for the feature vectors; none for raw, contiguous ones.

    Raises:
        ValueError: An unknown compression, or its package is not installed.
    """
    if compression is None or 0 in shape:
        return {}
    if compression != "zstd":
        raise ValueError(f"unknown compression {compression!r}; choose zstd, or none")
    try:
        import hdf5plugin
    except ImportError as error:
        raise ValueError(_INSTALL) from error
    chunks = (min(_ROWS_A_CHUNK, shape[0]), *shape[1:])
    return {"chunks": chunks, "shuffle": True, **hdf5plugin.Zstd(clevel=_LEVEL)}


def missing_filter(dataset: h5py.Dataset) -> str | None:
    """Why a dataset cannot be decompressed here, and what to do; None where it can."""
    filters = dataset.id.get_create_plist()
    for number in range(filters.get_nfilters()):
        code, _, _, name = filters.get_filter(number)
        if h5py.h5z.filter_avail(code):
            continue
        if code != _ZSTD:
            return f"filter {code} ({name.decode(errors='replace')}) is not known; wanted is raw or zstd"
        try:
            import hdf5plugin  # noqa: F401  (registers its filters)
        except ImportError:
            return _INSTALL
    return None

"""Pickles that hold numpy arrays in dictionaries, read without calling anything that they name.

detectron2 and py-bottom-up-attention publish weights as pickles. A pickle may name any function for its
reader to call; here the few names that numpy's arrays are written with lead to the small classes below, and
every other name is refused. numpy's own part in unpickling is not used, for it trusts the states it is given.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["read_array_pickle"]

_NUMBERS = frozenset(("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1"))


def read_array_pickle(path: Path) -> dict[str, Any]:
    """A pickled dictionary of arrays, strings, numbers, and dictionaries of them.

    Raises:
        pickle.UnpicklingError: It names anything else, or is no dictionary; a broken pickle can raise any
            other exception as well.
    """
    with path.open("rb") as file:
        content = _ArrayUnpickler(file, encoding="latin1").load()  # Python 2 wrote some of them
    if not isinstance(content, dict):
        raise pickle.UnpicklingError(f"it holds a {type(content).__name__}, not a dictionary")
    return {
        name: {key: _unwrapped(one) for key, one in value.items()}
        if isinstance(value, dict)
        else _unwrapped(value)
        for name, value in content.items()
    }


def _unwrapped(value: Any) -> Any:
    return value.values if isinstance(value, _Array) else value


class _DType:
    """``numpy.dtype``: plain numbers only, since a state could make any other what it likes."""

    def __init__(self, code: str, *_: object) -> None:
        if code not in _NUMBERS:
            raise pickle.UnpicklingError(f"it holds an array of {code!r}, not of numbers")
        self.numpy = np.dtype(code)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.numpy = self.numpy.newbyteorder(state[1])


class _Array:
    """``numpy.ndarray``, made empty (``_reconstruct``) and then given its state."""

    values: np.ndarray

    def __init__(self, *_: object) -> None:
        pass

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, column_major, data = state
        raw = data.encode("latin1") if isinstance(data, str) else data
        self.values = _from_buffer(raw, dtype, shape, "F" if column_major else "C").values


def _from_buffer(data: bytes, dtype: _DType, shape: tuple[int, ...], order: Any) -> _Array:
    made = _Array()
    values = np.frombuffer(data, dtype.numpy).reshape(shape, order=order)
    made.values = values.astype(dtype.numpy.newbyteorder("="), order="C")
    return made


def _scalar(dtype: _DType, data: bytes | str) -> Any:
    raw = data.encode("latin1") if isinstance(data, str) else data
    return np.frombuffer(raw, dtype.numpy)[0]


def _latin1(text: str, encoding: str) -> bytes:
    """How Python 3 writes bytes in the oldest protocols (``_codecs.encode``)."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"it holds text in {encoding!r}, not bytes")
    return text.encode("latin1")


def _no_bytes() -> bytes:
    """How they write ``b""`` (``bytes``, called without arguments)."""
    return b""


_ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _DType,
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy.core.multiarray", "scalar"): _scalar,
    ("numpy.core.numeric", "_frombuffer"): _from_buffer,
    ("_codecs", "encode"): _latin1,
    ("__builtin__", "bytes"): _no_bytes,
    ("collections", "OrderedDict"): dict,
}


class _ArrayUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """What a name stands for here."""
        found = _ALLOWED.get((module.replace("numpy._core", "numpy.core"), name))
        if found is None:
            raise pickle.UnpicklingError(f"it names {module}.{name}; only arrays are read")
        return found

from __future__ import annotations

import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from features.state_files import read_state

ARRAYS: dict[str, np.ndarray] = {
    "rows": np.arange(6, dtype=np.float32).reshape(2, 3),
    "columns": np.asfortranarray(np.arange(6, dtype=np.float64).reshape(2, 3)),
    "half": np.array([1.5, -2.0], np.float16),
    "big endian": np.array([1, 2, 3], ">i4"),
    "flags": np.array([True, False]),
    "one": np.array(7, np.int64),
    "none": np.zeros((0, 4), np.float32),
}


def write_pickle(path: Path, content: Any, protocol: int = 4) -> Path:
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    return path


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_arrays_come_out_as_they_were_pickled(tmp_path: Path, protocol: int) -> None:
    content = {"model": OrderedDict(ARRAYS), "__author__": "someone", "iteration": np.int64(3)}
    found = read_state(write_pickle(tmp_path / "w.pkl", content, protocol))
    assert found.ignored == ("__author__", "iteration")
    assert list(found.tensors) == list(ARRAYS)
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(found.tensors[name].numpy(), array)
        assert (
            found.tensors[name].dtype == torch.from_numpy(array.astype(array.dtype.newbyteorder("="))).dtype
        )


def test_the_older_name_of_numpys_module_is_known(tmp_path: Path) -> None:
    data = pickle.dumps({"a": np.float32([1, 2])}, protocol=2)
    old = data.replace(b"numpy._core.", b"numpy.core.")
    (tmp_path / "w.pkl").write_bytes(old)
    assert old != data
    assert read_state(tmp_path / "w.pkl").tensors["a"].tolist() == [1, 2]


PYTHON_2 = rb"""(dS'a'
cnumpy.core.multiarray
_reconstruct
(cnumpy
ndarray
(I0
tS'b'
tR(I1
(I2
tcnumpy
dtype
(S'u1'
I0
I1
tR(I3
S'|'
NNNI-1
I-1
I0
tbI00
S'\x01\xc8'
tbs."""
"""{"a": numpy.array([1, 200], "u1")}: Python 2 wrote the bytes of an array as a plain string."""


def test_what_python_2_wrote_is_read(tmp_path: Path) -> None:
    (tmp_path / "w.pkl").write_bytes(PYTHON_2)
    assert read_state(tmp_path / "w.pkl").tensors["a"].tolist() == [1, 200]


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".bin"])
def test_a_training_programs_checkpoint_gives_its_model_and_names_the_rest(
    tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f"w{suffix}"
    state = {"a": torch.arange(3.0)}
    torch.save({"model": state, "optimizer": {"state": {0: torch.ones(1)}}, "iteration": 9}, path)
    found = read_state(path)
    assert found.tensors["a"].tolist() == [0, 1, 2]
    assert found.ignored == ("optimizer", "iteration")
    torch.save(state, path)
    assert read_state(path).ignored == ()


def test_safetensors_are_read(tmp_path: Path) -> None:
    save_file({"a": torch.arange(3.0)}, tmp_path / "w.safetensors")
    assert read_state(tmp_path / "w.safetensors").tensors["a"].tolist() == [0, 1, 2]


class Evil:
    """Touches a canary when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("canary"),))


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".bin", ".pkl", ".safetensors"])
@pytest.mark.parametrize("content", [Evil(), {"model": {"a": Evil()}}, {"a": Evil()}, {Evil(): 1}])
def test_code_in_a_weights_file_is_never_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, content: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    path = Path(f"evil{suffix}")
    write_pickle(path, content, protocol=2)
    with pytest.raises(ValueError, match=f"{path.name}: cannot be read as weights"):
        read_state(path)
    if suffix != ".pkl":
        torch.save(content, path)
        with pytest.raises(ValueError, match=f"{path.name}: cannot be read as weights"):
            read_state(path)
    assert not Path("canary").exists()
    pickle.loads(pickle.dumps(Evil()))  # the canary does sing
    assert Path("canary").exists()


@pytest.mark.parametrize(
    "data",
    [
        b"cbuiltins\neval\n(S'1'\ntR.",
        b"cnumpy\nload\n(S'x'\ntR.",
        b"cnumpy.core.multiarray\n_reconstruct.__globals__\n.",
        b"(S'x'\nibuiltins\neval\n.",
        b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93.",
        b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00aX\x03\x00\x00\x00zip\x86R.",
        b"\x80\x02cnumpy\ndtype\nX\x02\x00\x00\x00O8\x85R.",
        b"\x82\x01.",
        b"Pid\n.",
    ],
)
def test_names_persistent_ids_and_odd_types_are_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "w.pkl").write_bytes(data)
    with pytest.raises(ValueError, match="w.pkl: cannot be read as weights"):
        read_state(tmp_path / "w.pkl")


def test_an_array_of_objects_is_refused_and_named(tmp_path: Path) -> None:
    path = write_pickle(tmp_path / "w.pkl", {"a": np.array([{}, None], object)})
    with pytest.raises(ValueError, match="it holds an array of 'O8', not of numbers"):
        read_state(path)


@pytest.mark.parametrize("suffix", [".pth", ".bin", ".pkl", ".safetensors"])
def test_a_cut_off_file_is_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"w{suffix}"
    tensors = {"a": torch.zeros(1000)}
    if suffix == ".pkl":
        write_pickle(path, {"a": np.zeros(1000, np.float32)})
    elif suffix == ".safetensors":
        save_file(tensors, path)
    else:
        torch.save(tensors, path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ValueError, match=f"w{suffix}: cannot be read as weights"):
        read_state(path)


@pytest.mark.parametrize(
    "content", [["list"], {}, {"model": {}}, {"epoch": 3}, {"a": torch.zeros(1), "b": "x"}]
)
def test_what_is_no_state_dict_is_refused(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(ValueError, match="w.pth: holds no state dict"):
        read_state(tmp_path / "w.pth")


def test_another_kind_of_file_is_answered_with_those_that_are_read(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"w.caffemodel: .*ending in .safetensors, .pth, .pt, .bin, .pkl .caffe"
    ):
        read_state(tmp_path / "w.caffemodel")


def test_a_missing_file_stays_a_missing_file(tmp_path: Path) -> None:
    for suffix in (".pth", ".pkl", ".safetensors"):
        with pytest.raises(FileNotFoundError):
            read_state(tmp_path / f"w{suffix}")

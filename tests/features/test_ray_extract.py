from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from features.extract import main
from tests.features.same_file import torch_threads
from tests.torture.extraction import contents, make_pictures

SOME_FAILED = 3


def words(images: Path, out: Path, *more: str) -> list[str]:
    sizes = ["--batch-size", "2", "--shard-size", "2", "--workers", "0"]
    return ["--images", str(images), "--out", str(out), "--backend", "mini", *sizes, *more]


def holder(parts: Path) -> int | None:
    """Process of an actor that is at a shard, once another shard is sealed."""
    if not any(parts.glob("shard-*.h5")):
        return None
    for lock in parts.glob("shard-*.lock"):
        if text := lock.read_text("ascii").strip():
            return int(text)
    return None


def test_two_actors_of_which_one_is_killed_end_with_the_file_of_one_run(tmp_path: Path) -> None:
    make_pictures(tmp_path / "images", 24)
    with torch_threads(1):  # as the actors have
        assert main(words(tmp_path / "images", tmp_path / "alone" / "regions.h5")) == SOME_FAILED
    out = tmp_path / "together" / "regions.h5"
    command = [sys.executable, "-m", "features.extract", *words(tmp_path / "images", out, "--ray", "2")]
    # Ray's processes are niced by default, and would starve on a machine that works.
    environment = os.environ | {"RAY_worker_niceness": "0", "OMP_NUM_THREADS": "1"}
    with (tmp_path / "said.txt").open("w") as said:
        driver = subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT, env=environment)
        killed = None
        while killed is None and driver.poll() is None:
            time.sleep(0.02)
            killed = holder(out.parent / "regions.h5.parts")
        if killed is not None:
            os.kill(killed, signal.SIGKILL)
        code = driver.wait(timeout=300)
    text = (tmp_path / "said.txt").read_text("utf-8")
    assert code == SOME_FAILED, text
    assert killed not in (None, driver.pid)
    assert contents(out) == contents(tmp_path / "alone" / "regions.h5")
    assert sorted(os.listdir(out.parent)) == [".regions.h5.lock", "regions.h5"]
    assert re.search(r"24 ok / 1 failed -> .*regions\.h5", text)


@pytest.mark.parametrize(
    "more", [["--ray", "0"], ["--ray", "2", "--shard", "0/2"], ["--ray", "2", "--device", "cuda:1"]]
)
def test_what_ray_divides_itself_is_wrong_usage(
    more: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(words(tmp_path, tmp_path / "r.h5", *more))
    assert caught.value.code == 2
    assert "ray" in capsys.readouterr().err


def test_without_ray_the_install_command_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_pictures(tmp_path / "images", 1)
    monkeypatch.setitem(sys.modules, "ray", None)
    assert main(words(tmp_path / "images", tmp_path / "r.h5", "--ray", "1")) == 1
    assert capsys.readouterr().err.endswith("error: Ray is not installed: pip install 'tushuo[ray]'\n")

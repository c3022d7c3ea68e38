from __future__ import annotations

import dataclasses
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from torch import distributed

import captioning.run_folder
from captioning.checkpoints import CheckpointError, read_captioner, write_checkpoint
from captioning.run_folder import (
    checkpoints,
    claimed,
    clear,
    damage_of_best,
    newest_checkpoint,
    point,
    recover,
    refuse_different_steps,
    settle,
    step_folder,
    steps_taken,
)
from features.locks import OutputError
from tests.captioning.small_captioner import write_small_checkpoint

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with checkpoints of the steps 1 to 4."""
    folder = tmp_path_factory.mktemp("run")
    read = read_captioner(write_small_checkpoint(folder / "small"))
    for step in (1, 2, 3, 4):
        info = dataclasses.replace(read.info, step=step)
        write_checkpoint(step_folder(folder, step), model=read.model, tokenizer=read.tokenizer, info=info)
    shutil.rmtree(folder / "small")
    return folder


@pytest.fixture
def copy(run: Path, tmp_path: Path) -> Path:
    return shutil.copytree(run, tmp_path / "run")


def damage(folder: Path) -> None:
    os.truncate(folder / "model.safetensors", 10)


def steps(run: Path) -> list[int]:
    return [steps_taken(folder) for folder in checkpoints(run)]


def test_the_newest_whole_checkpoint_is_found_and_damage_is_told(copy: Path) -> None:
    (copy / ".step-00000200.partial").mkdir()
    assert newest_checkpoint(copy) == (step_folder(copy, 4), [])
    damage(step_folder(copy, 4))
    (step_folder(copy, 3) / "manifest.json").unlink()
    found, passed_over = newest_checkpoint(copy)
    assert found == step_folder(copy, 2)
    assert len(passed_over) == 2
    assert "step-00000004/model.safetensors: 10 bytes" in passed_over[0]
    assert "step-00000003/manifest.json: missing" in passed_over[1]


def test_a_folder_that_bears_another_steps_name_is_passed_over(copy: Path) -> None:
    step_folder(copy, 4).rename(copy / "aside")
    step_folder(copy, 3).rename(step_folder(copy, 4))
    (copy / "aside").rename(step_folder(copy, 3))
    found, passed_over = newest_checkpoint(copy)
    assert found == step_folder(copy, 2)
    assert "step-00000004: holds step 3; the folder was renamed or swapped" in passed_over[0]
    assert "step-00000003: holds step 4" in passed_over[1]


def test_a_checkpoint_that_a_killed_writer_moved_away_is_put_back(copy: Path) -> None:
    step_folder(copy, 4).rename(copy / ".step-00000004.replaced")
    (copy / ".step-00000003.replaced").mkdir()  # its writer died later
    recover(copy)
    assert newest_checkpoint(copy) == (step_folder(copy, 4), [])
    assert steps(copy) == [4, 3, 2, 1]
    assert [path.name for path in copy.glob(".*")] == [".step-00000003.replaced"]


def test_the_last_the_best_and_nothing_else_is_kept(copy: Path) -> None:
    for litter in (".step-00000009.partial", ".step-00000003.replaced", ".step-00000001.removed"):
        (copy / litter).mkdir()
    (copy / ".last.partial").symlink_to("step-00000003")
    (copy / ".log.jsonl.partial").write_text("half", encoding="utf-8")
    settle(copy, 4, 2, keep_last=1)
    assert sorted(os.listdir(copy)) == ["best", "last", "step-00000002", "step-00000004"]


def test_links_stand_for_the_steps_that_are_named(copy: Path) -> None:
    settle(copy, 4, 2, keep_last=2)
    assert steps(copy) == [4, 3, 2]
    assert read_captioner(copy / "last").info.step == 4
    assert read_captioner(copy / "best").info.step == 2


def test_a_good_checkpoint_is_never_removed_for_a_damaged_newer_one(copy: Path) -> None:
    damage(step_folder(copy, 4))
    damage(step_folder(copy, 3))
    settle(copy, 2, None, keep_last=1)  # the run goes on from 2
    assert newest_checkpoint(copy)[0] == step_folder(copy, 2)
    assert steps(copy) == [4, 3, 2]
    assert os.readlink(copy / "last") == "step-00000002"


def test_a_damaged_best_checkpoint_is_told(copy: Path) -> None:
    assert damage_of_best(copy, step_folder(copy, 4)) is None
    point(copy, "best", step_folder(copy, 2))
    assert damage_of_best(copy, step_folder(copy, 4)) is None
    damage(step_folder(copy, 2))
    assert "step-00000002/model.safetensors: 10 bytes" in str(damage_of_best(copy, step_folder(copy, 4)))
    assert damage_of_best(copy, step_folder(copy, 2)) is None


def test_a_run_that_starts_anew_leaves_nothing_of_the_earlier_one(copy: Path) -> None:
    settle(copy, 4, 2, keep_last=4)
    (copy / "log.jsonl").write_text("{}\n", encoding="utf-8")
    (copy / "tensorboard").mkdir()
    clear(copy)
    assert os.listdir(copy) == []


HOLDER = """
import signal, sys
from pathlib import Path
from captioning.run_folder import claimed
with claimed(Path(sys.argv[1])):
    print("held", flush=True)
    signal.pause()
"""


def test_a_second_run_is_refused_with_the_process_of_the_first_until_that_is_gone(tmp_path: Path) -> None:
    run = tmp_path / "new" / "run"
    first = subprocess.Popen([sys.executable, "-c", HOLDER, str(run)], cwd=ROOT, stdout=subprocess.PIPE)
    assert first.stdout is not None
    assert first.stdout.readline() == b"held\n"
    with (
        pytest.raises(OutputError, match=rf"run is being written by another run \(process {first.pid}\)"),
        claimed(run),
    ):
        pass
    first.send_signal(signal.SIGKILL)
    first.wait()
    first.stdout.close()
    with claimed(run):
        assert (run / ".lock").read_text(encoding="ascii") == f"{os.getpid()}\n"


def test_only_the_first_process_of_a_run_holds_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with claimed(tmp_path / "run"):
        with monkeypatch.context() as patch:
            patch.setattr(captioning.run_folder, "is_main_process", lambda: False)
            with claimed(tmp_path / "run"):
                pass
        with pytest.raises(OutputError, match="is being written"), claimed(tmp_path / "run"):
            pass


def test_processes_that_go_on_from_different_steps_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_different_steps(tmp_path, 4)  # alone

    def gathered(steps: list[int], step: int) -> None:
        steps[:] = [step, 4, 4]

    monkeypatch.setattr(distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(distributed, "get_world_size", lambda: 3)
    monkeypatch.setattr(distributed, "all_gather_object", gathered)
    refuse_different_steps(tmp_path, 4)
    with pytest.raises(CheckpointError, match=r"different steps: 0, 4, 4 \(by rank\)\. It must be a folder"):
        refuse_different_steps(tmp_path, 0)

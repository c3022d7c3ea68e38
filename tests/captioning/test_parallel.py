"""Processes and accumulated parts: whoever computes a step, it is the step of one large batch."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedType

from captioning.checkpoints import MODEL, STATE_TENSORS
from captioning.run_folder import step_folder
from captioning.train import main
from tests.captioning.shared_runs import (
    PROCESSES,
    WAYS,
    events,
    figures,
    run_each_way,
    run_in_processes,
    states,
    weights,
)
from tests.captioning.small_run import alone

TOLERANCE = 1e-6


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """Each run in one process, in two, in two with FSDP, and in one with two accumulated parts -> folder."""
    return run_each_way(tmp_path_factory.mktemp("parallel"))


@pytest.fixture
def unmet() -> Iterator[None]:
    """No process has met others yet, so accelerate reads its environment anew."""
    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


def settings(runs: Mapping[str, Path]) -> list[str]:
    """What a command needs to take the steps of the dense runs."""
    return ["--config", str(runs["dense, ddp"].parents[1] / "dense-ddp.yaml")]


def assert_same_end(found: Path, wanted: Path) -> None:
    """Weights, optimizer states and averages agree."""
    for read in (weights, states):
        right, got = read(wanted), read(found)
        assert got.keys() == right.keys()
        for key, value in got.items():
            torch.testing.assert_close(
                value, right[key], rtol=0, atol=TOLERANCE, msg=lambda m, k=key: f"{k}: {m}"
            )


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ["dense", "sparse", "pretrain", "two-way", "scst", "both", "stages"])
def test_shared_out_steps_are_those_of_one_large_batch(runs: Mapping[str, Path], name: str, way: str) -> None:
    whole, shared = runs[f"{name}, whole"], runs[f"{name}, {way}"]
    assert_same_end(shared, whole)
    for got, right in zip(figures(shared), figures(whole), strict=True):
        # The self-critical loss adds up terms of both signs to some 1e-4, where rounding is a larger share.
        assert got == pytest.approx(right, rel=TOLERANCE, abs=TOLERANCE / 10)


def test_a_run_with_two_contrast_classes_begins_with_a_guess_between_two(runs: Mapping[str, Path]) -> None:
    first = figures(runs["two-way, whole"])[0]
    assert first["match"] == pytest.approx(math.log(2), abs=0.05)


def test_processes_go_on_from_a_checkpoint_to_the_same_bits(runs: Mapping[str, Path]) -> None:
    files, resumed = [], {}
    for way in ("ddp", "fsdp"):
        straight = runs[f"pretrain, {way}"]
        resumed[way] = straight.with_name(f"{way}-resumed")
        shutil.copytree(straight, resumed[way], symlinks=True)
        for step in (4, 6):
            shutil.rmtree(step_folder(resumed[way], step))
        settings = straight.parents[1] / f"pretrain-{way}.yaml"
        values = json.loads(settings.read_text(encoding="utf-8")) | {"out": str(resumed[way])}
        files.append(str(settings.with_name(f"resumed-{way}.yaml")))
        Path(files[-1]).write_text(json.dumps(values), encoding="utf-8")
    run_in_processes([str(Path(__file__).with_name("two_processes.py")), *files])
    for way, run in resumed.items():
        for name in (MODEL, STATE_TENSORS):
            wanted = step_folder(runs[f"pretrain, {way}"], 6) / name
            assert (step_folder(run, 6) / name).read_bytes() == wanted.read_bytes()


def test_accelerate_launch_takes_the_same_steps_whatever_it_is_set_up_for(
    runs: Mapping[str, Path], tmp_path: Path
) -> None:
    # With --cpu accelerate starts one process, whatever their number; those of --multi_gpu meet over gloo.
    launch = f"-m accelerate.commands.launch --multi_gpu --num_processes {PROCESSES} --num_machines 1"
    own = "--main_process_port 0 --mixed_precision bf16 --dynamo_backend no"
    run_in_processes(
        ["-m", "captioning.train", *settings(runs), "--out", str(tmp_path / "launched")],
        launch=f"{launch} {own}".split(),
        environment={"ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "4", "HF_HOME": str(tmp_path)},
    )
    assert f"{PROCESSES} processes, ddp" in [e.get("message") for e in events(tmp_path / "launched")]
    assert_same_end(tmp_path / "launched", runs["dense, whole"])


@pytest.mark.usefixtures("unmet")
@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "4"),
        ("ACCELERATE_MIXED_PRECISION", "bf16"),
        ("ACCELERATE_DYNAMO_BACKEND", "inductor"),
    ],
)
def test_no_variable_of_accelerate_changes_a_bit_of_a_run(
    runs: Mapping[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    assert main([*settings(runs), "--out", str(tmp_path / "run")]) == 0
    wanted = runs["dense, whole"] / "last" / MODEL
    assert (tmp_path / "run" / "last" / MODEL).read_bytes() == wanted.read_bytes()


@pytest.mark.parametrize(
    ("variable", "name"),
    [
        ("ACCELERATE_USE_FSDP", "FSDP"),
        ("ACCELERATE_USE_DEEPSPEED", "DeepSpeed"),
        ("ACCELERATE_USE_MEGATRON_LM", "Megatron-LM"),
        ("ACCELERATE_USE_PARALLELISM_CONFIG", "a parallelism config"),
    ],
)
def test_models_shared_by_accelerate_itself_are_refused(
    monkeypatch: pytest.MonkeyPatch, variable: str, name: str
) -> None:
    monkeypatch.setenv(variable, "true")
    with pytest.raises(ValueError, match=rf"set up for {name} \({variable}=true\).*--parallel fsdp"):
        alone()


@pytest.mark.parametrize("kind", [DistributedType.FSDP, DistributedType.XLA])
def test_only_plain_processes_are_accepted(monkeypatch: pytest.MonkeyPatch, kind: DistributedType) -> None:
    monkeypatch.setattr(Accelerator, "distributed_type", kind)
    with pytest.raises(ValueError, match=f"distributed type {kind.value}.*--parallel fsdp"):
        alone()

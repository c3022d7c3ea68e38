"""Steps of the original's optimizer, in the order of the original's loop, as recorded from it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from captioning.config import OptimConfig
from captioning.optim import OriginalAdamW, learning_rate_factor, set_learning_rate

GOLDEN = Path(os.environ.get("GOLDEN_DIR", Path(__file__).parents[1] / "golden"))
RUNS = [
    (path, run)
    for path in sorted(GOLDEN.glob("optim*/optim.json"))
    for run in json.loads(path.read_text(encoding="utf-8"))
]


@pytest.mark.parametrize(
    ("path", "run"), RUNS, ids=[f"{path.parent.name}-{run['name']}" for path, run in RUNS]
)
def test_golden_optimizer_takes_the_steps_of_the_original(path: Path, run: dict[str, Any]) -> None:
    recorded, name = load_file(path.with_suffix(".safetensors")), run["name"]
    weight, bias = (nn.Parameter(recorded[f"{name}_{letter}0"].clone()) for letter in "wb")
    groups: list[dict[str, object]] = [
        {"params": [weight], "weight_decay": run["weight_decay_w"]},
        {"params": [bias], "weight_decay": run["weight_decay_b"]},
    ]
    optimizer = OriginalAdamW(groups, lr=run["lr"], betas=tuple(run["betas"]), eps=run["eps"])
    config = OptimConfig(
        kind="adamw_original",
        schedule=name.split("_")[0],
        warmup_share=run["warmup_steps"] / run["t_total"],
    )
    factor = learning_rate_factor(config, run["t_total"])
    for step, (rate, norm) in enumerate(
        zip(run["lr_used_at_step"], run["grad_norm_before_clip"], strict=True), start=1
    ):
        set_learning_rate(optimizer, run["lr"] * factor(step))
        assert optimizer.param_groups[0]["lr"] == pytest.approx(rate, rel=1e-12, abs=1e-15)
        weight.grad, bias.grad = recorded[f"{name}_gw{step}"].clone(), recorded[f"{name}_gb{step}"].clone()
        clipped = nn.utils.clip_grad_norm_([weight, bias], run["max_grad_norm"])
        assert clipped.item() == pytest.approx(norm, rel=1e-5)
        optimizer.step()
        for letter, ours in (("w", weight), ("b", bias)):
            torch.testing.assert_close(ours.data, recorded[f"{name}_{letter}{step}"], rtol=0, atol=1e-6)

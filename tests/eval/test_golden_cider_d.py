"""CIDEr-D rewards and the loss made of them, as the original Oscar code computed them."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from eval.cider import CiderD, original_reward_tokens
from oscar.objectives import self_critical_loss

GOLDEN = Path(os.environ.get("GOLDEN_DIR", Path(__file__).parents[1] / "golden"))
CASES = [
    (f"{path.parent.name}-{index}-{case['baseline']}", case)
    for path in sorted(GOLDEN.glob("scst*/scst.json"))
    for index, case in enumerate(json.loads(path.read_text(encoding="utf-8")))
    if case["kind"] == "captions_ciderD_corpus_df"
]
cases = pytest.mark.parametrize("case", [case for _, case in CASES], ids=[name for name, _ in CASES])


def scores(case: dict[str, Any]) -> list[float]:
    """Of the samples, picture by picture, then of the greedy captions where they are the baseline.

    The original counts document frequencies over the captions of a call: each brings the references of its
    picture once more.
    """
    greedy = case["greedy"] if case["baseline"] == "greedy" else []
    captions = [*case["samples"], *greedy]
    pictures = [row // case["samples_per_image"] for row in range(len(case["samples"]))]
    pictures += range(len(greedy))
    references = [[original_reward_tokens(text) for text in case["gt"][picture]] for picture in pictures]
    return CiderD(references).score([original_reward_tokens(text) for text in captions])


@cases
def test_golden_cider_d_of_every_caption(case: dict[str, Any]) -> None:
    assert scores(case) == pytest.approx(case["ciderD_scores"], rel=1e-9, abs=1e-9)


@cases
def test_golden_self_critical_loss_from_captions(case: dict[str, Any]) -> None:
    shape = (case["batch"], case["samples_per_image"])
    n_samples = shape[0] * shape[1]
    rewards = torch.tensor(scores(case), dtype=torch.float32)
    log_probs = torch.tensor(case["sample_logprobs"]).reshape(shape)
    baseline = rewards[n_samples:] if case["baseline"] == "greedy" else None
    loss = self_critical_loss(log_probs, rewards[:n_samples].reshape(shape), baseline)
    assert loss.item() == pytest.approx(case["loss"], rel=1e-5)
    assert rewards[:n_samples].mean().item() == pytest.approx(case["get_score"], rel=1e-5)

"""How fast captions are written: BERT-base size, 21,128 pieces, 30 tag pieces, 50 regions, 20 steps.

    OMP_NUM_THREADS=2 python -m benchmarks.decoding --peer ../Oscar --out benchmarks/results/decoding.json

Regions and tags in, ids out, with seeded weights. Every measurement is a process of its own, ours and the
original's in turn; minima count, as machines have slow phases. Beside each figure stand the rate of a square
matrix product in the same process and the share of it that the run's own operations reached. Both sides
search by the original's rules; how many of their captions are equal is told. "original, cached" is its own
cache of hidden states, which writes wrong captions with several beams. --peer is a checkout of
microsoft/Oscar, see `benchmarks.original`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks import workload
from benchmarks.machine import DTYPES
from benchmarks.processes import dtypes, figures, in_turn, original, ours, run, timed
from oscar.original import generate


@dataclass(frozen=True)
class Scenario:
    """How many pictures are decoded at once, and how."""

    batch: int
    beams: int
    exact: bool = True
    """Is the original's exact way measured too? At batch 32 it would take minutes a run."""


SCENARIOS = {
    "greedy, batch 8": Scenario(8, 1),
    "beam 5, batch 8": Scenario(8, 5),
    "beam 5, batch 1": Scenario(1, 5),
    "beam 5, batch 32": Scenario(32, 5, exact=False),
}


def measure(folder: Path, name: str, dtype: str) -> dict[str, Any]:
    """Ours, in this process."""
    scenario = SCENARIOS[name]
    model, inputs = workload.load(folder, DTYPES[dtype])
    tags, regions = inputs["tag_ids"][: scenario.batch], inputs["region_features"][: scenario.batch]
    real_tags = torch.ones_like(tags, dtype=torch.bool)
    real_regions = torch.ones(regions.shape[:2], dtype=torch.bool)

    @torch.inference_mode()
    def write() -> list[list[int]]:
        prefix = model.bert.encode_prefix(tags, real_tags, regions, real_regions)
        found = generate(model, prefix, beam_width=scenario.beams, max_pieces=workload.STEPS - 1)
        return [list(best[0].piece_ids) for best in found]

    return timed(write, dtype)


def compare(name: str, folder: Path, peer: Path | None, rounds: int) -> dict[str, Any]:
    """One scenario, ours and the original's."""
    scenario = SCENARIOS[name]
    commands = {f"ours, {dtype}": ours(__spec__.name, folder, name, dtype) for dtype in dtypes()}
    if peer is not None:
        task = ("decode", "--batch", str(scenario.batch), "--beams", str(scenario.beams), "--repeats", "1")
        if scenario.exact:
            commands["original, exact"] = original(peer, folder, *task)
        commands["original, cached"] = original(peer, folder, *task, "--cached")
    turns = [1 if command == "original, exact" else rounds for command in commands]  # it takes minutes
    measured = dict(zip(commands, in_turn(list(commands.values()), turns), strict=True))
    result: dict[str, Any] = {side: figures(runs, scenario.batch) for side, runs in measured.items()}
    ids = measured["ours, fp32"]["out"]
    for side, runs in measured.items():
        if side != "ours, fp32":
            equal = sum(a == b for a, b in zip(ids, runs["out"], strict=True))
            result[side]["captions_equal_to_ours_fp32"] = f"{equal} of {scenario.batch}"
            result[side]["ours_fp32_is_faster"] = round(
                runs["seconds"] / measured["ours, fp32"]["seconds"], 2
            )
    return result


if __name__ == "__main__":
    run(__doc__, SCENARIOS, measure, compare)

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

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import workload
from benchmarks.machine import DTYPES, fast_bf16, gemm_gflops, machine, peak_megabytes
from benchmarks.processes import arguments, figures, in_turn, inputs_folder, original, ours
from benchmarks.results import tell

REPEATS = 5


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
    from oscar.original import generate

    scenario = SCENARIOS[name]
    model, inputs = workload.load(folder, DTYPES[dtype])
    tags, regions = inputs["tag_ids"][: scenario.batch], inputs["region_features"][: scenario.batch]
    real_tags = torch.ones_like(tags, dtype=torch.bool)
    real_regions = torch.ones(regions.shape[:2], dtype=torch.bool)

    @torch.inference_mode()
    def run() -> list[list[int]]:
        prefix = model.bert.encode_prefix(tags, real_tags, regions, real_regions)
        found = generate(model, prefix, beam_width=scenario.beams, max_pieces=workload.STEPS - 1)
        return [list(best[0].piece_ids) for best in found]

    with FlopCounterMode(display=False) as counter:
        run()
    rate, seconds, out = gemm_gflops(DTYPES[dtype]), [], []
    for _ in range(REPEATS):
        start = time.perf_counter()
        out = run()
        seconds.append(time.perf_counter() - start)
    return {
        "seconds": seconds,
        "gemm_gflops": max(rate, gemm_gflops(DTYPES[dtype])),
        "gflop": counter.get_total_flops() / 1e9,
        "peak_mb": peak_megabytes(),
        "out": out,
    }


def compare(name: str, folder: Path, peer: Path | None, rounds: int) -> dict[str, Any]:
    """One scenario, ours and the original's."""
    scenario = SCENARIOS[name]
    commands = {f"ours, {dtype}": ours(__spec__.name, folder, name, dtype) for dtype in _dtypes()}
    if peer is not None:
        task = ("decode", "--batch", str(scenario.batch), "--beams", str(scenario.beams), "--repeats", "1")
        if scenario.exact:
            commands["original, exact"] = original(peer, folder, *task)
        commands["original, cached"] = original(peer, folder, *task, "--cached")
    turns = [1 if command == "original, exact" else rounds for command in commands]  # it takes minutes
    measured = dict(zip(commands, in_turn(list(commands.values()), turns), strict=True))
    result: dict[str, Any] = {side: figures(run, scenario.batch) for side, run in measured.items()}
    ids = measured["ours, fp32"]["out"]
    for side, run in measured.items():
        if side != "ours, fp32":
            equal = sum(a == b for a, b in zip(ids, run["out"], strict=True))
            result[side]["captions_equal_to_ours_fp32"] = f"{equal} of {scenario.batch}"
            result[side]["ours_fp32_is_faster"] = round(run["seconds"] / measured["ours, fp32"]["seconds"], 2)
    return result


def _dtypes() -> list[str]:
    return ["fp32", "bf16"] if fast_bf16() else ["fp32"]


def main() -> None:
    """Compare, print, write."""
    given = arguments(__doc__).parse_args()
    if given.one:
        folder, name, dtype = given.one
        print(json.dumps(measure(Path(folder), name, dtype)))
        return
    names = [name for name in SCENARIOS if (given.only or "") in name]
    with inputs_folder() as folder:
        scenarios = {name: compare(name, folder, given.peer, given.rounds) for name in names}
    tell({"what": __doc__.splitlines()[0], "machine": machine(), "scenarios": scenarios}, given.out)


if __name__ == "__main__":
    main()

"""The gradient of a step, whoever computes its parts."""

from __future__ import annotations

import torch

from captioning.batches import to_device
from captioning.examples import Stream, draws
from captioning.parallel import Shared
from captioning.step_batches import StepParts


def gradients(shared: Shared, parts: StepParts, step: int, seed: int) -> dict[str, float]:
    """Computes this process's share of a step's gradient, part by part.

    Each mean is weighed by its share of the units (words, pairs, samples) of the whole step, over all parts
    and processes: the gradient is that of one batch.

    Args:
        shared: the model; its gradients are empty before.
        parts: of this process.
        step: steps taken before.
        seed: of the run.

    Returns:
        ``loss`` and the means of its parts over the whole step, the same on all processes.
    """
    learning, workers = shared.learning, shared.workers
    names = list(learning.parts)
    counts = [learning.counts(batches) for batches in parts]
    here = [sum(of[name] for of in counts) for name in names]
    units = {name: max(1.0, total) for name, total in zip(names, workers.sums(here), strict=True)}
    sums = torch.zeros(len(names), dtype=torch.float64)
    for number, (batches, of_part) in enumerate(zip(parts, counts, strict=True)):
        # A part's dropout is its own, whichever process computes it.
        rng = draws(seed, Stream.DROPOUT, step, workers.rank * len(parts) + number)
        torch.manual_seed(int(rng.integers(2**62)))
        with shared.reducing(last=number == len(parts) - 1):
            on_device = {name: to_device(batch, workers.device) for name, batch in batches.items()}
            means = shared.means(on_device, step)
            weighed = [
                part.weight * of_part[name] / units[name] * means[name]
                for name, part in learning.parts.items()
                if part.weight
            ]
            # Gradients are averaged over processes.
            shared.backward(torch.stack(weighed).sum() * workers.count)
        values = torch.stack([means[name].detach().float() for name in names]).cpu().double()
        sums += values * torch.tensor([of_part[name] for name in names])
    found = {
        name: total / units[name] for name, total in zip(names, workers.sums(sums.tolist()), strict=True)
    }
    return {"loss": sum(learning.parts[name].weight * mean for name, mean in found.items()), **found}

"""Memory that tensors take while something is computed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor
from torch.profiler import ProfilerActivity, profile


def size_of(tensors: Iterable[Tensor]) -> int:
    """Bytes of tensors, those that share their storage counted once; of shared-out ones, what is here."""
    own = [tensor.to_local() if isinstance(tensor, DTensor) else tensor for tensor in tensors]
    storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in own}
    return sum(storages.values())


def peak_bytes(device: torch.device, work: Callable[[], object]) -> int | None:
    """Most bytes that tensors took at once during the work, beyond those that were there before.

    On a CPU the profiler tells every allocation of torch; what libraries allocate by themselves (oneDNN's
    scratch, threads' stacks) is not in it.

    Returns:
        None on a device that does not tell.
    """
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        work()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    if device.type != "cpu":
        return None
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # it tells on stderr that there is no GPU
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        work()
    results = recorded.profiler.kineto_results if recorded.profiler is not None else None
    if results is None:
        return None
    changes = [(event.start_ns(), event.nbytes()) for event in results.events() if event.name() == "[memory]"]
    taken = most = 0
    for _, change in sorted(changes, key=lambda each: each[0]):
        taken += change
        most = max(most, taken)
    return most

"""The processes of a run: how they share the model, add up their numbers and agree on what to do.

Without a launcher (torchrun, accelerate launch) there is one process and nothing here waits for anybody.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, TypeVar, cast

import torch
from accelerate import Accelerator
from accelerate.utils import (
    DistributedType,
    GradientAccumulationPlugin,
    broadcast_object_list,
    gather_object,
)
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard

from captioning.batches import Batch
from captioning.config import Objective, Parallel, Precision
from captioning.optim import whole
from captioning.steps import Learning, Means

T = TypeVar("T")

_TAKES_OVER = {
    "ACCELERATE_USE_FSDP": "FSDP",
    "ACCELERATE_USE_DEEPSPEED": "DeepSpeed",
    "ACCELERATE_USE_MEGATRON_LM": "Megatron-LM",
    "ACCELERATE_USE_PARALLELISM_CONFIG": "a parallelism config",
}
"""What ``accelerate launch`` sets by its flags and its configuration. Without GPUs accelerate then does
something else, so the kind of processes that it reports does not tell."""


class Workers:
    """All processes of a run, this one among them."""

    def __init__(self, device: torch.device, precision: Precision, parallel: Parallel) -> None:
        """Meets the other processes.

        What accelerate finds in its environment and configuration for precision, accumulation and compilation
        is not taken: the run's own settings decide.

        Args:
            device: its type is that of all processes.
            precision: of the products.
            parallel: how several processes share the model.

        Raises:
            ValueError: accelerate is set up to share the model in its own way; fp16 with FSDP, whose
                gradients cannot be scaled here.
        """
        for variable, name in _TAKES_OVER.items():
            if os.environ.get(variable, "").lower() == "true":
                raise _wrong_set_up(f"{name} ({variable}=true)")
        self.accelerator = Accelerator(
            mixed_precision="no" if precision == "fp32" else precision,
            cpu=device.type == "cpu",
            # num_steps would divide every gradient: a step's parts are weighed in captioning.gradients.
            gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=1),
            dynamo_backend="no",
        )
        kind = self.accelerator.distributed_type
        if kind != DistributedType.NO and not kind.value.startswith("MULTI_"):
            raise _wrong_set_up(f"distributed type {kind.value}")
        self.shards = parallel == "fsdp" and self.count > 1
        if self.shards and precision == "fp16":
            raise ValueError("parallel=fsdp trains in bf16 or fp32; set precision, or parallel=ddp for fp16")

    @property
    def count(self) -> int:
        """Processes of the run."""
        return self.accelerator.num_processes

    @property
    def rank(self) -> int:
        """Number of this process, from 0."""
        return self.accelerator.process_index

    @property
    def is_first(self) -> bool:
        """Whether this process is the one that talks and writes."""
        return self.accelerator.is_main_process

    @property
    def device(self) -> torch.device:
        """Of this process."""
        return self.accelerator.device

    def shard(self, learning: Learning) -> None:
        """With FSDP2, share out weights, and with them gradients and optimizer state (arXiv:2304.11277).

        One group of all weights: they are whole while a step computes, and sharded from then on.
        """
        if self.shards:
            fully_shard(learning, mesh=init_device_mesh(self.device.type, (self.count,)))

    def prepare(self, learning: Learning, optimizer: torch.optim.Optimizer) -> Shared:
        """Model and optimizer as this run uses them."""
        if self.shards:
            return Shared(self, learning, learning, self.accelerator.prepare_optimizer(optimizer))
        wrapped, prepared = self.accelerator.prepare(learning, optimizer)
        return Shared(self, learning, wrapped, prepared)

    def sums(self, numbers: Sequence[float]) -> list[float]:
        """The numbers of all processes added up; the same on each, to the bit."""
        if self.count == 1:
            return list(numbers)
        # MPS has no float64, and processes that share a Mac's GPU are not a case.
        added = self.accelerator.reduce(torch.tensor(numbers, dtype=torch.float64, device=self.device), "sum")
        return cast(list[float], cast(Tensor, added).tolist())

    def of_first(self, value: T) -> T:
        """The first process's value, on all."""
        return cast(T, broadcast_object_list([value])[0])

    def all(self, value: T) -> list[T]:
        """Everybody's values, in the order of their numbers."""
        return cast(list[T], gather_object([value]))


def _wrong_set_up(found: str) -> ValueError:
    return ValueError(
        f"accelerate is set up for {found}, which would take the model out of the trainer's hands. Start it "
        "with accelerate launch --multi_gpu or torchrun; --parallel fsdp shares weights out"
    )


class Shared:
    """The model that all processes train, and its optimizer."""

    def __init__(self, workers: Workers, learning: Learning, wrapped: nn.Module, optimizer: Any) -> None:
        """See `Workers.prepare`."""
        self.workers, self.learning, self.wrapped, self.optimizer = workers, learning, wrapped, optimizer

    def means(self, batches: Mapping[Objective, Batch], step: int) -> Means:
        """Of the parts of the loss, in mixed precision."""
        with self.workers.accelerator.autocast():
            return cast(Means, self.wrapped(batches, step))

    def reducing(self, last: bool) -> AbstractContextManager[None]:
        """Around forward and backward of a part of a step; gradients are added up behind the last only."""
        if isinstance(self.wrapped, FSDPModule):
            self.wrapped.set_requires_gradient_sync(last)
            return nullcontext()
        return nullcontext() if last else self.workers.accelerator.no_sync(self.wrapped)

    def backward(self, loss: Tensor) -> None:
        """Adds this part's gradients."""
        self.workers.accelerator.backward(loss)

    def clip(self, limit: float) -> float:
        """Scales the gradient down to the limit; its norm before, the same on all processes."""
        norm = self.workers.accelerator.clip_grad_norm_(self.wrapped.parameters(), limit)
        return float(norm.full_tensor() if hasattr(norm, "full_tensor") else norm)

    def update(self) -> None:
        """The optimizer's step; no gradient is left."""
        self.optimizer.step()
        self.optimizer.zero_grad()

    def drop(self) -> None:
        """Leaves the step's update out; no gradient is left."""
        if self.workers.accelerator.scaler is not None:  # it leaves it out by itself, and wants to be asked
            self.optimizer.step()
        self.optimizer.zero_grad()

    def gathered(self) -> dict[str, Tensor] | None:
        """With FSDP, all weights on the CPU, for which every process must ask; else None: they are whole."""
        if not isinstance(self.wrapped, FSDPModule):
            return None
        return {name: whole(parameter) for name, parameter in self.learning.model.named_parameters()}

    @contextmanager
    def unsharded(self) -> Iterator[None]:
        """All weights of the model are in each process inside the block. Every process must enter it."""
        if not isinstance(self.wrapped, FSDPModule):
            yield
            return
        self.wrapped.unshard()
        try:
            yield
        finally:
            self.wrapped.reshard()

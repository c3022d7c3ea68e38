"""Small C4 detectors: every convention of a variant, few blocks, channels and classes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from features.backends.c4.network import C4Network
from features.backends.c4.variants import VARIANTS, Variant

PUBLISHED = dict(VARIANTS)  # tests may put small ones into the table
SMALL: dict[str, Any] = {
    "blocks": (1, 2, 1, 2),
    "channels": 8,
    "bottleneck": 8,
    "rpn_channels": 16,
    "classes": 7,
    "post_nms": 20,
}


def small(name: str, **changes: Any) -> Variant:
    """The variant of this name, shrunk."""
    full = PUBLISHED[name]
    attributes = 5 if full.attributes else 0
    groups = 2 if full.groups > 1 else 1
    return replace(full, **{**SMALL, "attributes": attributes, "groups": groups, **changes})


def random_state(variant: Variant, seed: int = 0) -> dict[str, Tensor]:
    """Weights in native names, batch norms apart, that keep activations and scores alive."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    with torch.device("meta"):
        shapes = {name: tuple(value.shape) for name, value in C4Network(variant).state_dict().items()}
    state: dict[str, Tensor] = {}
    for name, shape in shapes.items():
        if not name.startswith(("trunk.", "head.layer4.")):
            state[name] = normal(*shape) * (0.1 if name.startswith(("head.classes", "rpn.conv")) else 0.02)
        elif name.endswith(".weight"):
            conv, norm = names_apart(name.removesuffix(".weight"))
            fan_in = shape[1] * shape[2] * shape[3]
            state[f"{conv}.weight"] = normal(*shape) * (2 / fan_in) ** 0.5
            state[f"{norm}.weight"] = 1 + 0.1 * normal(shape[0])
            state[f"{norm}.bias"] = 0.1 * normal(shape[0])
            state[f"{norm}.running_mean"] = 0.1 * normal(shape[0])
            state[f"{norm}.running_var"] = 0.5 + torch.rand(shape[0], generator=generator)
    state["trunk.conv1.weight"] /= 50  # pixels less their mean are some fifties
    return state


def names_apart(folded: str) -> tuple[str, str]:
    """Name of a folded convolution -> of the convolution and of the batch norm it was."""
    if folded.endswith("downsample"):
        return f"{folded}.0", f"{folded}.1"
    return folded, folded[::-1].replace("vnoc", "nb", 1)[::-1]


def network(variant: Variant, seed: int = 0) -> C4Network:
    """A detector with random weights."""
    return C4Network.from_state(variant, random_state(variant, seed))

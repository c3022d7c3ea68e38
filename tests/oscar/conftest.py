"""Small random models and inputs."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from oscar.configuration import OscarConfig
from oscar.modeling import OscarForCaptioning
from tests.oscar.small_pictures import Pictures, two_pictures

SIZES: dict[str, Any] = {
    "vocab_size": 40,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 64,
    "img_feature_dim": 14,
    "max_caption_pieces": 12,
    "pad_token_id": 0,
    "unk_token_id": 1,
    "cls_token_id": 2,
    "sep_token_id": 3,
    "mask_token_id": 4,
}


def randomise(model: nn.Module, seed: int, scale: float = 0.3) -> None:
    """Give every parameter, biases and norms included, a value of its own, so that errors show."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator) * scale
            parameter.copy_(1 + noise if "LayerNorm.weight" in name else noise)


@pytest.fixture
def make_config() -> Callable[..., OscarConfig]:
    """A tiny configuration, with changes."""
    return lambda **changes: OscarConfig(**{**SIZES, **changes})


@pytest.fixture
def make_captioner(make_config: Callable[..., OscarConfig]) -> Callable[..., OscarForCaptioning]:
    """A tiny random captioning model in eval mode."""

    def make(seed: int = 0, scale: float = 0.3, **changes: Any) -> OscarForCaptioning:
        model = OscarForCaptioning(make_config(**changes))
        randomise(model, seed, scale)
        return model.eval()

    return make


@pytest.fixture
def pictures() -> Pictures:
    """Two pictures; the second has less of everything."""
    return two_pictures()

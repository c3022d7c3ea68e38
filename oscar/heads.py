"""What stands on the encoder: the pooled vector, the word head and the match head."""

import torch
from torch import Tensor, nn
from transformers.activations import ACT2FN

from oscar.configuration import OscarConfig
from oscar.linear import Linear, linear


class Pooler(nn.Module):
    """tanh(Linear) of the first position."""

    def __init__(self, config: OscarConfig) -> None:
        super().__init__()
        self.dense = Linear(config.hidden_size, config.hidden_size)

    def forward(self, hidden: Tensor) -> Tensor:
        """(B, L, D) -> (B, D)."""
        return torch.tanh(self.dense(hidden[:, 0]))


class WordTransform(nn.Module):
    """Linear, activation, LayerNorm before the vocabulary."""

    def __init__(self, config: OscarConfig) -> None:
        super().__init__()
        self.dense = Linear(config.hidden_size, config.hidden_size)
        self.activation = ACT2FN[config.hidden_act]
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, hidden: Tensor) -> Tensor:
        """(..., D) -> (..., D)."""
        return self.LayerNorm(self.activation(self.dense(hidden)))


class WordHead(nn.Module):
    """One logit per piece of the vocabulary; `decoder.weight` is the word table if tied."""

    def __init__(self, config: OscarConfig) -> None:
        super().__init__()
        self.transform = WordTransform(config)
        self.decoder = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))

    def forward(self, hidden: Tensor) -> Tensor:
        """(..., D) -> (..., V)."""
        return linear(self.transform(hidden), self.decoder.weight, self.bias)


class Heads(nn.Module):
    """Names as in BERT: cls.predictions.* and, for pre-training, cls.seq_relationship.*."""

    def __init__(self, config: OscarConfig, match: bool) -> None:
        super().__init__()
        self.predictions = WordHead(config)
        if match:
            self.seq_relationship = nn.Linear(config.hidden_size, config.num_contrast_classes)

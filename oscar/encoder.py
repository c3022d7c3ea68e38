"""BERT's layers (arXiv:1810.04805) with BERT's parameter names, over sequences and over caption streams.

Shapes as in `oscar.attention`.
"""

from collections.abc import Callable
from typing import Any, cast

from torch import Tensor, nn
from transformers.activations import ACT2FN

from oscar.attention import KeysValues, SelfAttention, Trace
from oscar.configuration import OscarConfig
from oscar.linear import Linear
from oscar.packing import Packing


class AddNorm(nn.Module):
    """Linear, dropout, residual, LayerNorm: the end of both halves of a layer."""

    def __init__(self, width_in: int, config: OscarConfig) -> None:
        super().__init__()
        self.dense = Linear(width_in, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, hidden: Tensor, residual: Tensor) -> Tensor:
        """(B, T, width_in) and (B, T, D) -> (B, T, D)."""
        return self.LayerNorm(self.dropout(self.dense(hidden)) + residual)


class Attention(nn.Module):
    """Names as in BERT: attention.self.*, attention.output.*."""

    def __init__(self, config: OscarConfig) -> None:
        super().__init__()
        self.self = SelfAttention(config)
        self.output = AddNorm(config.hidden_size, config)


class Intermediate(nn.Module):
    """The widening half of the feed-forward part."""

    def __init__(self, config: OscarConfig) -> None:
        super().__init__()
        self.dense = Linear(config.hidden_size, config.intermediate_size)
        self.activation = ACT2FN[config.hidden_act]

    def forward(self, hidden: Tensor) -> Tensor:
        """(B, T, D) -> (B, T, intermediate_size)."""
        return self.activation(self.dense(hidden))


class OscarLayer(nn.Module):
    """Attention, then feed-forward."""

    def __init__(self, config: OscarConfig) -> None:
        super().__init__()
        self.attention = Attention(config)
        self.intermediate = Intermediate(config)
        self.output = AddNorm(config.intermediate_size, config)

    def _feed_forward(self, attended: Tensor, hidden: Tensor, trace: Trace | None) -> Tensor:
        hidden = self.attention.output(attended, hidden)
        hidden = self.output(self.intermediate(hidden), hidden)
        if trace is not None:
            trace.hidden_states.append(hidden)
        return hidden

    def forward(
        self,
        hidden: Tensor,
        mask: Tensor | None,
        own: KeysValues | None = None,
        packing: Packing | None = None,
        trace: Trace | None = None,
    ) -> Tensor:
        """(B, T, D) or packed, and an additive mask that broadcasts to (B, N, T, T) -> as `hidden`.

        `own` are the keys and values of `hidden`, where they were needed before.
        """
        if own is None:
            own = self.attention.self.keys_values(hidden, packing)
        return self._feed_forward(self.attention.self(hidden, own, mask, packing, trace), hidden, trace)

    def read(
        self,
        hidden: Tensor,
        prefix: KeysValues,
        prefix_mask: Tensor,
        own_mask: Tensor,
        past: KeysValues | None = None,
        last: int | None = None,
        rows: Tensor | None = None,
        packing: Packing | None = None,
        trace: Trace | None = None,
    ) -> tuple[Tensor, KeysValues]:
        """One layer of the caption streams.

        Args:
            hidden: (C, T, D) or packed; this and the masks as in `SelfAttention.read`.
            prefix: (B, N, P, d).
            prefix_mask: additive.
            own_mask: additive, (C or 1, 1, T, past + T).
            past: keys and values of the stream's earlier positions, read before its own T.
            last: compute only the last positions of each stream; the others are only read.
            rows: (C, T), packed (N,), bool: compute only these positions.
            packing: of the streams, if `hidden` is packed; not together with `past` or `last`.
            trace: where to keep weights and result.

        Returns:
            (C, last or T, D) or packed, the chosen rows alone if any were; and the stream's keys and values,
            past included.
        """
        own = self.attention.self.keys_values(hidden, packing)
        if past is not None:
            own = past.append(own)
        if last is not None:
            hidden, own_mask = hidden[:, -last:], own_mask[:, :, -last:]
        attended = self.attention.self.read(hidden, prefix, prefix_mask, own, own_mask, packing, trace)
        if rows is not None:
            attended, hidden = attended[rows], hidden[rows]
        return self._feed_forward(attended, hidden, trace), own


class OscarEncoder(nn.Module):
    """The stack of layers."""

    gradient_checkpointing = False
    """Switched by transformers' `activation_checkpointing_enable()` and `_disable()`."""
    _gradient_checkpointing_func: Callable[..., Any]

    def __init__(self, config: OscarConfig) -> None:
        super().__init__()
        self.layer = nn.ModuleList(OscarLayer(config) for _ in range(config.num_hidden_layers))

    @property
    def layers(self) -> list[OscarLayer]:
        """The layers, bottom first."""
        return cast(list[OscarLayer], list(self.layer))

    def run(self, part: Callable[..., Any], *given: Any, trace: Trace | None = None, **options: Any) -> Any:
        """What `part`, a layer or its `read`, returns for what is given.

        With gradient checkpointing (arXiv:1604.06174), in training and without a trace, nothing inside it is
        kept for the backward pass, which runs it again.
        """
        if self.gradient_checkpointing and self.training and trace is None:
            # The reentrant kind, if somebody enabled it, would lose the gradients of keys and values.
            return self._gradient_checkpointing_func(part, *given, use_reentrant=False, **options)
        return part(*given, trace=trace, **options)

    def forward(self, hidden: Tensor, mask: Tensor | None, trace: Trace | None = None) -> Tensor:
        """(B, L, D) and an additive mask that broadcasts to (B, N, L, L) -> (B, L, D)."""
        if trace is not None:
            trace.hidden_states.append(hidden)
        for layer in self.layers:
            hidden = self.run(layer, hidden, mask, trace=trace)
        return hidden

    def keys_values(self, hidden: Tensor, mask: Tensor, packing: Packing | None) -> list[KeysValues]:
        """What every layer shows of a sequence that reads itself; the last layer computes nothing else."""
        shown = []
        for layer in self.layers:
            shown.append(layer.attention.self.keys_values(hidden, packing).contiguous())
            if len(shown) < len(self.layer):
                hidden = self.run(layer, hidden, mask, shown[-1], packing)
        return shown

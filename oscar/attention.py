"""Self-attention with BERT's parameter names (arXiv:1810.04805), and a second way through it.

`SelfAttention.forward` reads a whole sequence. `SelfAttention.read` runs caption streams whose evidence (tags
and regions, the prefix) was encoded before: several streams of one picture attend to the same keys and
values, without a copy for each, and to their own.

Shapes: B pictures, W streams of each, C = B * W streams, T positions of a stream, P prefix positions,
S own positions read by a stream (earlier ones and its T), N heads, d = D / N. Packed sequences are one long
row of their real positions, see `oscar.packing`.
"""

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional

from oscar.configuration import OscarConfig
from oscar.linear import Linear
from oscar.packing import Packing

# Added to a score that may not be read. Far below any score, so that exp() gives exactly 0; finite, so that a
# row that may read nothing stays a number; inside float16. (The original adds -10,000.)
MASKED = -30_000.0


def additive_mask(allowed: Tensor, dtype: torch.dtype) -> Tensor:
    """Bool "may read" -> what is added to the attention scores: 0 or MASKED, same shape."""
    return torch.zeros(allowed.shape, dtype=dtype, device=allowed.device).masked_fill_(~allowed, MASKED)


@dataclass(frozen=True)
class KeysValues:
    """What one layer lets be read: keys and values, (B, N, positions, d) each."""

    keys: Tensor
    values: Tensor

    def contiguous(self) -> "KeysValues":
        """The same, laid out so that products with them need no copy."""
        return KeysValues(self.keys.contiguous(), self.values.contiguous())

    def select(self, index: Tensor) -> "KeysValues":
        """Rows `index` of the first dimension, in that order."""
        return KeysValues(self.keys.index_select(0, index), self.values.index_select(0, index))

    def append(self, other: "KeysValues") -> "KeysValues":
        """The positions of `other` behind these."""
        return KeysValues(
            torch.cat([self.keys, other.keys], dim=2), torch.cat([self.values, other.values], dim=2)
        )

    def first(self, n_positions: int) -> "KeysValues":
        """The first positions alone."""
        return KeysValues(self.keys[:, :, :n_positions], self.values[:, :, :n_positions])


@dataclass(frozen=True)
class Trace:
    """What happened inside, for whoever hands one in.

    It is our `output_attentions` and `output_hidden_states`. With a trace attention is computed step by step,
    because only then there are weights to see: slower, and equal up to rounding.
    """

    attentions: list[Tensor] = field(default_factory=list)
    """Of each layer, (B, N, reader, read), before dropout; rows sum to 1. A stream reads [prefix | own]."""
    hidden_states: list[Tensor] = field(default_factory=list)
    """The embedded sequence, then what each layer made of it, (B, L, D) or packed."""


class SelfAttention(nn.Module):
    """Scaled dot-product attention with query, key and value projections."""

    def __init__(self, config: OscarConfig) -> None:
        super().__init__()
        self.heads = config.num_attention_heads
        self.dropout = config.attention_probs_dropout_prob
        width = config.hidden_size
        self.query = Linear(width, width)
        self.key = Linear(width, width)
        self.value = Linear(width, width)

    def _split(self, projected: Tensor, packing: Packing | None) -> Tensor:
        """(B, T, D) or packed -> (B, N, T, d)."""
        padded = projected if packing is None else packing.unpack(projected)
        return padded.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def _join(self, attended: Tensor, packing: Packing | None) -> Tensor:
        """(B, N, T, d) -> (B, T, D) or packed: `_split` undone."""
        joined = attended.transpose(1, 2).flatten(2)
        return joined if packing is None else packing.pack(joined)

    def keys_values(self, hidden: Tensor, packing: Packing | None = None) -> KeysValues:
        """(B, T, D) or packed -> keys and values (B, N, T, d)."""
        return KeysValues(self._split(self.key(hidden), packing), self._split(self.value(hidden), packing))

    def forward(
        self,
        hidden: Tensor,
        own: KeysValues,
        mask: Tensor | None,
        packing: Packing | None = None,
        trace: Trace | None = None,
    ) -> Tensor:
        """(B, T, D) or packed, its keys and values, an additive mask to (B, N, T, T) -> as `hidden`."""
        query = self._split(self.query(hidden), packing)
        if trace is None:
            attended = functional.scaled_dot_product_attention(
                query,
                own.keys,
                own.values,
                attn_mask=mask,
                dropout_p=self.dropout if self.training else 0.0,
            )
        else:
            scores = query @ own.keys.transpose(2, 3) / math.sqrt(query.shape[-1])
            weights = (scores if mask is None else scores + mask).softmax(dim=3)
            trace.attentions.append(weights)
            attended = functional.dropout(weights, self.dropout, self.training) @ own.values
        return self._join(attended, packing)

    def read(
        self,
        hidden: Tensor,
        prefix: KeysValues,
        prefix_mask: Tensor,
        own: KeysValues,
        own_mask: Tensor,
        packing: Packing | None = None,
        trace: Trace | None = None,
    ) -> Tensor:
        """Attend to the picture's prefix and to the stream's own positions, as one softmax.

        scaled_dot_product_attention would need prefix and own keys in one tensor, a copy for every stream;
        here the queries of a picture's streams stand side by side before its one prefix. For training this
        was no slower: 4 heads x 64, 160 streams, 0.16 s against 0.20 s a layer forward and backward.

        Args:
            hidden: (C, T, D) or packed, the streams of a picture side by side.
            prefix: (B, N, P, d), C = B * W.
            prefix_mask: additive, (B, 1, 1, P).
            own: (C, N, S, d).
            own_mask: additive, (C or 1, 1, T, S).
            packing: of the streams, if `hidden` is packed.
            trace: where to keep the weights.

        Returns:
            As `hidden`.
        """
        query = self._split(self.query(hidden), packing)  # (C, N, T, d)
        query = query / math.sqrt(query.shape[-1])
        to_prefix = _side_by_side(query, len(prefix.keys)) @ prefix.keys.transpose(2, 3)  # (B, N, W * T, P)
        to_prefix = _apart(to_prefix + prefix_mask, len(query))  # (C, N, T, P)
        to_own = query @ own.keys.transpose(2, 3) + own_mask  # (C, N, T, S)
        weights = torch.cat([to_prefix, to_own], dim=3).softmax(dim=3)
        if trace is not None:
            trace.attentions.append(weights)
        weights = functional.dropout(weights, self.dropout, self.training)
        of_prefix, of_own = weights.split([to_prefix.shape[3], to_own.shape[3]], dim=3)
        attended = _apart(_side_by_side(of_prefix, len(prefix.keys)) @ prefix.values, len(query))
        attended = attended + of_own @ own.values  # (C, N, T, d)
        return self._join(attended, packing)


def _side_by_side(streams: Tensor, pictures: int) -> Tensor:
    """(B * W, N, T, x) -> (B, N, W * T, x)."""
    return streams.unflatten(0, (pictures, -1)).transpose(1, 2).flatten(2, 3)


def _apart(pictures: Tensor, streams: int) -> Tensor:
    """(B, N, W * T, x) -> (B * W, N, T, x): `_side_by_side` undone."""
    each = streams // len(pictures)
    return pictures.unflatten(2, (each, -1)).transpose(1, 2).flatten(0, 1)

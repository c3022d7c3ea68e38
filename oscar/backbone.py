"""Oscar without a head: captions, object tags and regions in one transformer (arXiv:2004.06165).

`OscarModel.forward` reads whole sequences [caption | tags | regions], as pre-training does. For captions,
tags and regions never read the caption: `encode_prefix` computes them once a picture and `read_prefix` lets
any number of caption streams read them.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from oscar.attention import KeysValues, Trace, additive_mask
from oscar.configuration import OscarConfig
from oscar.embeddings import TextEmbeddings
from oscar.encoder import OscarEncoder
from oscar.heads import Pooler, WordHead
from oscar.linear import Linear
from oscar.packing import Packing

CAPTION_SEGMENT, TAG_SEGMENT = 0, 1


@dataclass(frozen=True)
class Prefix:
    """Tags and regions of B pictures as every layer shows them to the captions."""

    layers: tuple[KeysValues, ...]
    """Of each layer, keys and values (B, heads, G + R, d)."""
    mask: Tensor
    """(B, G + R) bool, False on padding."""

    def __len__(self) -> int:
        return len(self.mask)

    def select(self, index: Tensor) -> "Prefix":
        """The pictures `index` (long), in that order; the same one may come several times."""
        return Prefix(tuple(layer.select(index) for layer in self.layers), self.mask.index_select(0, index))


class OscarPreTrainedModel(PreTrainedModel):
    """Loading, saving and initialisation shared by every Oscar model."""

    config_class = OscarConfig
    base_model_prefix = "bert"
    _supports_sdpa = True
    supports_gradient_checkpointing = True

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Weights N(0, initializer_range), biases 0, LayerNorm 1 and 0, as BERT."""
        super()._init_weights(module)
        if isinstance(module, WordHead):
            nn.init.zeros_(module.bias)


class OscarModel(OscarPreTrainedModel):
    """Caption pieces, tags and regions in; one contextual vector per position out."""

    def __init__(self, config: OscarConfig) -> None:
        super().__init__(config)
        self.embeddings = TextEmbeddings(config)
        self.encoder = OscarEncoder(config)
        self.pooler = Pooler(config)
        self.img_embedding = Linear(config.img_feature_dim, config.hidden_size)
        if config.use_img_layernorm:
            self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.img_layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.post_init()

    def get_input_embeddings(self) -> nn.Embedding:
        """The table of word vectors, shared by captions, tags and (if tied) the word head."""
        return self.embeddings.word_embeddings

    def set_input_embeddings(self, value: nn.Embedding) -> None:  # type: ignore[override]
        """Replace the table of word vectors."""
        self.embeddings.word_embeddings = value

    def embed_regions(self, region_features: Tensor) -> Tensor:
        """(B, R, F) of any float type -> (B, R, D); regions have neither position nor segment."""
        hidden = self.img_embedding(region_features.to(self.img_embedding.weight.dtype))
        if self.config.use_img_layernorm:
            hidden = self.LayerNorm(hidden)
        return self.dropout(hidden)

    def forward(
        self,
        input_ids: Tensor,
        region_features: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        trace: Trace | None = None,
    ) -> Tensor:
        """(B, T + G) pieces and (B, R, F) regions -> (B, L, D).

        Args:
            input_ids: caption and tags.
            region_features: None reads text alone, as BERT does.
            attention_mask: bool or 0/1: (B, L) real positions, (B, L, L) [reader, read] (see oscar.masks), or
                (B, 1 or heads, L, L). None: everything reads everything.
            token_type_ids: (B, T + G), 0 caption and 1 tags; None: 0.
            position_ids: (B or 1, T + G); None: 0, 1, 2...
            trace: filled with every layer's attention and states.

        Raises:
            ValueError: a mask of another shape, or more pieces than positions.
        """
        n_pieces = input_ids.shape[1]
        if position_ids is None:
            self._check_positions(n_pieces)
            position_ids = torch.arange(n_pieces, device=input_ids.device)[None]
        if token_type_ids is None:
            token_type_ids = torch.full_like(position_ids, CAPTION_SEGMENT)
        hidden = self.embeddings(input_ids, position_ids, token_type_ids)
        if region_features is not None:
            hidden = torch.cat([hidden, self.embed_regions(region_features)], dim=1)  # (B, L, D)
        return self.encoder(hidden, _attention_bias(attention_mask, hidden), trace)

    def pooled(self, hidden: Tensor) -> Tensor:
        """(B, L, D) -> (B, D), a vector for the whole sequence from its [CLS]."""
        return self.pooler(hidden)

    def encode_prefix(
        self,
        tag_ids: Tensor,
        tag_mask: Tensor,
        region_features: Tensor,
        region_mask: Tensor,
        tag_start: int | None = None,
    ) -> Prefix:
        """Encode the tags and regions of B pictures, once, for all captions that will read them.

        Args:
            tag_ids: (B, G) pieces, in segment 1. G may be 0.
            tag_mask: (B, G) bool, False on padding.
            region_features: (B, R, F).
            region_mask: (B, R) bool, False on padding.
            tag_start: position of the first tag piece; None: max_caption_pieces, as in training.

        Raises:
            ValueError: more tag pieces than positions are left behind the caption's.
        """
        n_tags = tag_ids.shape[1]
        start = self.config.max_caption_pieces if tag_start is None else tag_start
        self._check_positions(start + n_tags)
        positions = torch.arange(start, start + n_tags, device=tag_ids.device)[None]
        tags = self.embeddings(tag_ids, positions, torch.full_like(positions, TAG_SEGMENT))
        hidden = torch.cat([tags, self.embed_regions(region_features)], dim=1)  # (B, G + R, D)
        mask = torch.cat([tag_mask, region_mask], dim=1)
        packing = Packing.of(mask)
        if packing is not None:
            hidden = packing.pack(hidden)
        bias = additive_mask(mask, hidden.dtype)[:, None, None]
        return Prefix(tuple(self.encoder.keys_values(hidden, bias, packing)), mask)

    def read_prefix(
        self,
        prefix: Prefix,
        input_ids: Tensor,
        position_ids: Tensor,
        self_mask: Tensor,
        picture: Tensor | None = None,
        last: int | None = None,
        real: Tensor | None = None,
        rows: Tensor | None = None,
        trace: Trace | None = None,
    ) -> Tensor:
        """Run C caption streams, each before the tags and regions of its picture.

        Fastest where every picture has the same number of captions, side by side: the prefix is then shared
        without a copy. Other orders gather it (and are right too).

        Args:
            prefix: of B pictures, from `encode_prefix`; gradients reach it.
            input_ids: (C, T) pieces.
            position_ids: (C or 1, T).
            self_mask: (C or 1, T, T) bool [reader, read] inside a stream, such as `dense_mask(n)`.
            picture: (C,) long, the picture of each stream; None: C / B streams a picture, side by side.
            last: return only the last positions of each stream and save computing the others' end; not
                together with `real` or `rows`.
            real: (C, T) bool, False on padding, which is then not computed; `self_mask` must keep the others
                from reading it.
            rows: (C, T) bool, return only these positions, such as the masked ones; within `real`.
            trace: filled with every layer's states and its attention, from a position of a stream to
                [tags | regions | the stream].

        Returns:
            (C, last or T, D); with `real` or `rows` (N, D), those positions in reading order.

        Raises:
            ValueError: `picture` is None and C is not a multiple of B.
        """
        streams = len(input_ids)
        if picture is not None and not _side_by_side(picture, len(prefix)):
            prefix = prefix.select(picture)
        if streams % len(prefix):
            raise ValueError(
                f"{streams} caption streams cannot be shared evenly among {len(prefix)} pictures; "
                f"say with `picture` which reads which"
            )
        hidden = self.embeddings(input_ids, position_ids, torch.full_like(position_ids, CAPTION_SEGMENT))
        own_mask = additive_mask(self_mask, hidden.dtype)[:, None]
        packing = Packing.of(real)
        if packing is not None:
            hidden = packing.pack(hidden)
            rows = None if rows is None else rows.flatten()[packing.rows]
        hidden, _ = self.read_layers(
            prefix, hidden, own_mask, last=last, rows=rows, packing=packing, trace=trace
        )
        return hidden if real is None else hidden.reshape(-1, hidden.shape[-1])

    def read_layers(
        self,
        prefix: Prefix,
        hidden: Tensor,
        own_mask: Tensor,
        past: tuple[KeysValues, ...] | None = None,
        last: int | None = None,
        rows: Tensor | None = None,
        packing: Packing | None = None,
        trace: Trace | None = None,
    ) -> tuple[Tensor, tuple[KeysValues, ...]]:
        """`read_prefix` on embedded streams, B * W of them side by side, behind their `past`.

        Args:
            prefix: of B pictures.
            hidden: (C, T, D) or packed (N, D), embedded pieces.
            own_mask: additive, (C or 1, 1, T, past + T).
            past: keys and values of each stream's earlier positions in every layer.
            last: as in `read_prefix`.
            rows: (C, T), packed (N,), bool: return only these positions.
            packing: of the streams, if they are packed; not together with `past` or `last`.
            trace: as in `read_prefix`.

        Returns:
            (C, last or T, D), or (N, D) of packed streams and chosen rows; and the streams' keys and values
            in every layer, past included.
        """
        if trace is not None:
            trace.hidden_states.append(hidden)
        prefix_mask = additive_mask(prefix.mask, hidden.dtype)[:, None, None]
        present = []
        for i, layer in enumerate(self.encoder.layers):
            ends = {"last": last, "rows": rows} if i == len(prefix.layers) - 1 else {}
            hidden, own = self.encoder.run(
                layer.read,
                hidden,
                prefix.layers[i],
                prefix_mask,
                own_mask,
                past=past[i] if past else None,
                packing=packing,
                trace=trace,
                **ends,
            )
            present.append(own)
        return hidden, tuple(present)

    def _check_positions(self, wanted: int) -> None:
        limit = self.config.max_position_embeddings
        if wanted > limit:
            raise ValueError(
                f"{wanted} text positions were asked for, the model has {limit} "
                f"(max_position_embeddings); shorten the caption or the tags"
            )


def _attention_bias(mask: Tensor | None, hidden: Tensor) -> Tensor | None:
    """Any of the accepted masks -> additive, broadcasting to (B, heads, L, L)."""
    if mask is None:
        return None
    length = hidden.shape[1]
    expand = {2: mask[:, None, None] if mask.ndim == 2 else mask, 3: mask[:, None], 4: mask}.get(mask.ndim)
    if expand is None or mask.shape[-1] != length or (mask.ndim > 2 and mask.shape[-2] != length):
        raise ValueError(
            f"attention_mask of shape {tuple(mask.shape)} does not fit {length} positions (text + regions); "
            f"give (B, {length}), (B, {length}, {length}) or (B, heads, {length}, {length})"
        )
    if mask.is_floating_point():
        raise ValueError("attention_mask must be bool or 0/1 integers (True: may be read), not floats to add")
    return additive_mask(expand.bool(), hidden.dtype)


def _side_by_side(picture: Tensor, n_pictures: int) -> bool:
    """Does `picture` read 0, 0, ..., 1, 1, ... with the same number of captions for each of the pictures?"""
    if len(picture) % n_pictures:
        return False
    expected = torch.arange(n_pictures, device=picture.device).repeat_interleave(len(picture) // n_pictures)
    return torch.equal(picture, expected)

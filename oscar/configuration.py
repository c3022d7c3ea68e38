"""Sizes of every layer of the Oscar model, checked on construction."""

from typing import Any

from transformers import BertConfig

SPECIAL_IDS = {
    "pad_token_id": "[PAD]",
    "unk_token_id": "[UNK]",
    "cls_token_id": "[CLS]",
    "sep_token_id": "[SEP]",
    "mask_token_id": "[MASK]",
}
"""Config field of each piece that the model itself handles -> how vocabularies spell it."""


class OscarConfig(BertConfig):
    """A BERT configuration with the fields that regions, tags and captions add.

    Sizes are Mengzi-BERT-base's unless given (12 x 768, 21,128 pieces). The special ids must be the
    vocabulary's own: published Chinese configs carry RoBERTa's by mistake.

    Raises:
        ValueError: on construction, for sizes or ids that no model can have.
    """

    model_type = "oscar"

    vocab_size: int = 21128
    img_feature_dim: int = 2054
    """F, the width of a region: appearance (2,048 for VinVL) + 6 box numbers."""
    use_img_layernorm: bool = True
    """Normalise embedded regions (VinVL and Mengzi-Oscar do, the first Oscar did not)."""
    img_layer_norm_eps: float = 1e-12
    num_contrast_classes: int = 3
    """Classes of the match head: 2 (Oscar) or 3 (Oscar+: matched, wrong tags, wrong caption)."""
    max_caption_pieces: int = 40
    """Caption slots, [CLS] and [SEP] included; the position ids of the tags start here."""
    pad_token_id: int | None = 0
    unk_token_id: int = 100
    cls_token_id: int = 101
    sep_token_id: int | None = 102
    mask_token_id: int = 103

    def __post_init__(self, **kwargs: Any) -> None:
        super().__post_init__(**kwargs)
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"hidden_size {self.hidden_size} is not a multiple of "
                f"num_attention_heads {self.num_attention_heads}"
            )
        if self.img_feature_dim < 7:
            raise ValueError(
                f"img_feature_dim must be at least 7 (appearance + 6 box numbers), got {self.img_feature_dim}"
            )
        if self.num_contrast_classes not in (2, 3):
            raise ValueError(
                f"num_contrast_classes must be 2 (Oscar) or 3 (Oscar+), got {self.num_contrast_classes}"
            )
        if not 3 <= self.max_caption_pieces <= self.max_position_embeddings:
            raise ValueError(
                f"max_caption_pieces must be between 3 ([CLS], one piece, [SEP]) and max_position_embeddings "
                f"{self.max_position_embeddings}, got {self.max_caption_pieces}"
            )
        if self.is_decoder or self.add_cross_attention:
            raise ValueError("Oscar is a bidirectional encoder: leave is_decoder and add_cross_attention off")
        for field in SPECIAL_IDS:
            token_id = getattr(self, field)
            if token_id is None or not 0 <= token_id < self.vocab_size:
                raise ValueError(
                    f"{field} must be an id of the vocabulary (0 to {self.vocab_size - 1}), got {token_id}; "
                    f"take it from vocab.txt"
                )

"""Pieces -> vectors. Regions are embedded in backbone.py: their weights stand beside these in checkpoints."""

from torch import Tensor, nn

from oscar.configuration import OscarConfig


class TextEmbeddings(nn.Module):
    """Word + position + segment, normalised (BERT, arXiv:1810.04805); captions and tags share them."""

    def __init__(self, config: OscarConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.word_embeddings = nn.Embedding(config.vocab_size, width, padding_idx=config.pad_token_id)
        self.position_embeddings = nn.Embedding(config.max_position_embeddings, width)
        self.token_type_embeddings = nn.Embedding(config.type_vocab_size, width)
        self.LayerNorm = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, input_ids: Tensor, position_ids: Tensor, token_type_ids: Tensor) -> Tensor:
        """(B, T) ids, (B or 1, T) positions, (B or 1, T) segments -> (B, T, D)."""
        hidden = self.word_embeddings(input_ids)
        hidden = hidden + self.position_embeddings(position_ids) + self.token_type_embeddings(token_type_ids)
        return self.dropout(self.LayerNorm(hidden))

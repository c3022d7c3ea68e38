"""Oscar's three uses: captions, pre-training and retrieval (arXiv:2004.06165, arXiv:2101.00529).

Each is an `OscarModel`, `bert`, and a head. State-dict names are the original's: `bert.*`,
`cls.predictions.*`, `cls.seq_relationship.*`, `classifier.*`.
"""

from dataclasses import dataclass

from torch import Tensor, nn

from oscar.attention import Trace
from oscar.backbone import OscarModel, OscarPreTrainedModel
from oscar.configuration import OscarConfig
from oscar.heads import Heads


class _WithWordHead(OscarPreTrainedModel):
    """What both models with a word head share."""

    _tied_weights_keys = {"cls.predictions.decoder.weight": "bert.embeddings.word_embeddings.weight"}

    def __init__(self, config: OscarConfig, match: bool) -> None:
        super().__init__(config)
        self.bert = OscarModel(config)
        self.cls = Heads(config, match)
        self.post_init()

    def get_output_embeddings(self) -> nn.Linear:
        """The matrix that turns a hidden vector into word logits."""
        return self.cls.predictions.decoder

    def set_output_embeddings(self, value: nn.Linear) -> None:
        """Replace that matrix."""
        self.cls.predictions.decoder = value

    def word_logits(self, hidden: Tensor) -> Tensor:
        """(..., D) -> (..., V). Pick the rows first: this is the widest product of the model."""
        return self.cls.predictions(hidden)


class OscarForCaptioning(_WithWordHead):
    """The word head over masked caption pieces. For training and decoding see `bert.read_prefix`."""

    def __init__(self, config: OscarConfig) -> None:
        super().__init__(config, match=False)

    def forward(
        self,
        input_ids: Tensor,
        region_features: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        rows: Tensor | None = None,
        trace: Trace | None = None,
    ) -> Tensor:
        """Word logits of whole sequences; arguments as in `OscarModel.forward`.

        With `rows`, (B, T + G) bool, only those text positions are predicted: (N, V), in reading order.
        Without, (B, T + G, V).
        """
        hidden = self.bert(input_ids, region_features, attention_mask, token_type_ids, position_ids, trace)
        hidden = hidden[:, : input_ids.shape[1]]
        return self.word_logits(hidden if rows is None else hidden[rows])


@dataclass(frozen=True)
class PreTrainingOutput:
    """What `OscarForPreTraining` predicts."""

    word_logits: Tensor
    """(N, V) at the masked rows, in reading order."""
    match_logits: Tensor
    """(B, num_contrast_classes): does the text belong to the picture?"""


class OscarForPreTraining(_WithWordHead):
    """Masked words and the contrast of matched and swapped tags, over full attention."""

    def __init__(self, config: OscarConfig) -> None:
        super().__init__(config, match=True)

    def forward(
        self,
        input_ids: Tensor,
        region_features: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        rows: Tensor | None = None,
        trace: Trace | None = None,
    ) -> PreTrainingOutput:
        """Arguments as in `OscarForCaptioning.forward`; without `rows` every text position is predicted."""
        hidden = self.bert(input_ids, region_features, attention_mask, token_type_ids, position_ids, trace)
        text = hidden[:, : input_ids.shape[1]]
        picked = text.flatten(0, 1) if rows is None else text[rows]
        match_logits = self.cls.seq_relationship(self.bert.pooled(hidden))
        return PreTrainingOutput(self.word_logits(picked), match_logits)


class OscarForRetrieval(OscarPreTrainedModel):
    """Does this caption belong to this picture? For ranking captions by pictures and pictures by captions.

    As in the original's retrieval, one linear layer over the pooled vector, under full attention. It is not
    the match head of pre-training, whose classes stand the other way round.
    """

    def __init__(self, config: OscarConfig) -> None:
        super().__init__(config)
        self.bert = OscarModel(config)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.classifier = nn.Linear(config.hidden_size, 2)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor,
        region_features: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        trace: Trace | None = None,
    ) -> Tensor:
        """Logits (B, 2): 0 another picture's caption, 1 a match; arguments as in `OscarModel.forward`.

        Pairs are ranked by `logits.softmax(dim=1)[:, 1]`.
        """
        hidden = self.bert(input_ids, region_features, attention_mask, token_type_ids, position_ids, trace)
        return self.classifier(self.dropout(self.bert.pooled(hidden)))

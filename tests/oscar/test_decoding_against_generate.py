"""The cached search against `transformers.generate()` on a step without a cache, over 1,000 random models.

Compared are the piece ids of the captions that greedy search and beam search return, all beam_width of them
in their order. Their `generate` is told our rules in its own words: [PAD], [CLS] and [MASK] suppressed, one
piece at least, after `max_pieces` only [SEP]; beams with early_stopping="never", the one setting of theirs
that, as ours, goes on while something better can come. The models run in float64, their `generate` sums in
float32: captions with scores closer than that could change places, and none of these do.
"""

from typing import Any, ClassVar, cast

import torch
from torch import Tensor
from transformers import GenerationMixin, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutput

from oscar.configuration import OscarConfig
from oscar.decoding import generate
from oscar.masks import caption_mask
from oscar.modeling import OscarForCaptioning
from tests.oscar.conftest import randomise
from tests.oscar.test_decoding import CLS, CONTROL, MASK, SEP, Pictures, make_pictures

MODELS = 1000


class CacheFree(PreTrainedModel, GenerationMixin):
    """A causal language model whose every step is one forward over [caption, MASK, tags, regions]."""

    config_class = OscarConfig
    main_input_name: ClassVar[str] = "input_ids"
    pictures: Pictures
    _supports_sdpa = True

    def __init__(self, model: OscarForCaptioning) -> None:
        super().__init__(model.config)
        self.captioner = model
        self.post_init()

    def forward(self, input_ids: Tensor, **_: Any) -> CausalLMOutput:
        model, n = self.captioner, input_ids.shape[1]
        tags = self.pictures.tag_ids
        each = torch.arange(len(tags)).repeat_interleave(len(input_ids) // len(tags))
        text = torch.cat([input_ids, torch.full_like(input_ids[:, :1], MASK), tags[each]], dim=1)
        caption = torch.ones(len(text), n + 1, dtype=torch.bool)
        real = torch.cat([caption, self.pictures.tag_mask[each], self.pictures.region_mask[each]], dim=1)
        slots = cast(int, model.config.max_caption_pieces)
        hidden = model.bert(
            text,
            self.pictures.region_features[each],
            caption_mask(n + 1, real),
            token_type_ids=torch.tensor([0] * (n + 1) + [1] * tags.shape[1])[None],
            position_ids=torch.cat([torch.arange(n + 1), torch.arange(slots, slots + tags.shape[1])])[None],
        )
        return CausalLMOutput(logits=cast(Any, model.word_logits(hidden[:, n])[:, None]))


def small_model(layers: int, heads: int) -> OscarForCaptioning:
    config = OscarConfig(
        vocab_size=14,
        hidden_size=8,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=12,
        max_position_embeddings=16,
        img_feature_dim=7,
        max_caption_pieces=9,
        pad_token_id=0,
        unk_token_id=1,
        cls_token_id=CLS,
        sep_token_id=SEP,
        mask_token_id=MASK,
    )
    return OscarForCaptioning(config).eval().double()


def test_captions_are_those_of_transformers_generate_over_a_thousand_random_models() -> None:
    shapes = [CacheFree(small_model(layers, heads)).eval() for layers in (1, 2) for heads in (1, 2)]
    lengths = set()
    for seed in range(MODELS):
        cache_free = shapes[seed % len(shapes)]
        model = cache_free.captioner
        randomise(model, seed, scale=(0.3, 0.5, 0.8)[seed % 3])
        pictures = make_pictures(cast(OscarConfig, model.config), seed)
        cache_free.pictures = pictures
        limit, width = 2 + seed % 4, 2 + seed // 7 % 3
        penalty = (0.0, 0.6, 1.0, 1.6)[seed // 5 % 4]
        rules: dict[str, Any] = {"max_new_tokens": limit + 1, "min_new_tokens": 1}
        ours: dict[str, Any] = {"max_pieces": limit}
        if seed % 2:
            rules |= {"num_beams": width, "num_return_sequences": width}
            rules |= {"length_penalty": penalty, "early_stopping": "never"}
            ours |= {"beam_width": width, "n_best": width, "length_penalty": penalty}
        theirs = cache_free.generate(
            torch.full((len(pictures), 1), CLS),
            do_sample=False,
            use_cache=False,
            eos_token_id=SEP,
            pad_token_id=0,
            suppress_tokens=list(CONTROL),
            prefix_allowed_tokens_fn=lambda _, ids, limit=limit: (
                [SEP] if len(ids) > limit else list(range(14))
            ),
            **rules,
        )
        found = generate(model, pictures.prefix(model), **({"beam_width": 1} | ours))
        expected = [tuple(ids[1 : ids.index(SEP)]) for ids in theirs.tolist()]
        assert [h.piece_ids for best in found for h in best] == expected, f"seed {seed}"
        lengths |= {len(words) for words in expected}
    assert lengths == set(range(1, 6))

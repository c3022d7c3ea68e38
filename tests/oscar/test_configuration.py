"""Configurations that no model can have are refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoConfig

from oscar.configuration import OscarConfig


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_attention_heads": 5}, "hidden_size 32 is not a multiple of num_attention_heads 5"),
        ({"img_feature_dim": 6}, r"at least 7 \(appearance \+ 6 box numbers\), got 6"),
        ({"num_contrast_classes": 4}, r"must be 2 \(Oscar\) or 3 \(Oscar\+\), got 4"),
        ({"max_caption_pieces": 65}, "max_position_embeddings 64, got 65"),
        ({"max_caption_pieces": 2}, "between 3 .* got 2"),
        ({"is_decoder": True}, "leave is_decoder and add_cross_attention off"),
        ({"mask_token_id": 40}, r"mask_token_id must be an id of the vocabulary \(0 to 39\), got 40"),
        ({"pad_token_id": None}, "pad_token_id must be an id of the vocabulary .* got None"),
    ],
)
def test_what_no_model_can_have_is_refused(
    changes: dict[str, Any], message: str, make_config: Callable[..., OscarConfig]
) -> None:
    with pytest.raises(ValueError, match=message):
        make_config(**changes)


def test_a_saved_configuration_comes_back_by_its_type(
    tmp_path: Path, make_config: Callable[..., OscarConfig]
) -> None:
    config = make_config(use_img_layernorm=False, num_contrast_classes=2)
    config.save_pretrained(tmp_path)
    again = AutoConfig.from_pretrained(tmp_path)
    assert isinstance(again, OscarConfig)
    assert {**again.to_dict(), "_name_or_path": ""} == config.to_dict()

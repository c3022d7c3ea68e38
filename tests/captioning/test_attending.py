from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from captioning.captioner import Captioner
from features.store import Regions
from oscar.attention import Trace
from oscar.masks import caption_mask
from oscar.scoring import score_captions
from tests.captioning.small_captioner import small_regions, write_small_checkpoint

TEXT = "一只狗在草地上奔跑。"


@pytest.fixture(scope="module")
def captioner(tmp_path_factory: pytest.TempPathFactory) -> Captioner:
    return Captioner.from_pretrained(write_small_checkpoint(tmp_path_factory.mktemp("checkpoint") / "small"))


@torch.inference_mode()
def attention_of_whole_sequence(captioner: Captioner, regions: Regions, read: list[int]) -> np.ndarray:
    """Of the [MASK] behind some pieces, to [tags | picture | regions], by the model without a prefix."""
    batch, tokenizer = captioner._batch([regions]), captioner.tokenizer
    caption = torch.tensor([[tokenizer.cls_id, *read, tokenizer.mask_id]])
    n = caption.shape[1]
    start = captioner.model.config.max_caption_pieces
    tags = batch.tag_ids
    real = torch.ones(1, n + tags.shape[1] + batch.region_mask.shape[1], dtype=torch.bool)
    mask = caption_mask(n, real)
    trace = Trace()
    captioner.model(
        torch.cat([caption, tags], dim=1),
        batch.region_features,
        mask,
        torch.cat([torch.zeros_like(caption), torch.ones_like(tags)], dim=1),
        torch.cat([torch.arange(n), start + torch.arange(tags.shape[1])])[None],
        trace=trace,
    )
    layers = torch.stack([layer[0].mean(dim=0) for layer in trace.attentions]).mean(dim=0)
    return layers[n - 1, n:].numpy()


def test_attention_is_that_of_the_mask_that_becomes_the_piece(captioner: Captioner) -> None:
    regions = small_regions("dog.jpg", n_regions=4)
    found = captioner.attention(regions, TEXT)
    pieces = captioner.tokenizer.encode(TEXT)
    n_tags = captioner._batch([regions]).tag_ids.shape[1]
    assert found.regions.shape == (len(pieces), 4)
    for at in range(len(pieces)):
        wanted = attention_of_whole_sequence(captioner, regions, pieces[:at])
        np.testing.assert_allclose(found.tags[at], wanted[:n_tags].sum(), atol=1e-6)
        np.testing.assert_allclose(found.picture[at], wanted[n_tags], atol=1e-6)
        np.testing.assert_allclose(found.regions[at], wanted[n_tags + 1 :], atol=1e-6)


def test_places_say_where_the_pieces_stand_in_the_caption(captioner: Captioner) -> None:
    found = captioner.attention(small_regions("dog.jpg"), "狗 people 骑着")
    assert ["狗 people 骑着"[start:end] for start, end in found.places] == [
        "狗",
        *"people",
        "骑",
        "着",
    ]


@pytest.mark.parametrize("n_regions", [1, 20])  # more than are encoded at once
def test_importance_is_what_is_lost_without_the_region(
    captioner: Captioner, n_regions: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading_all = replace(captioner.info.prefix, max_regions=20)
    monkeypatch.setattr(captioner, "info", replace(captioner.info, prefix=reading_all))
    scores = np.full(n_regions, 0.1, np.float32)  # no region gives a tag, so that the tags stay
    regions = replace(small_regions("dog.jpg", n_regions=n_regions), object_scores=scores)
    found = captioner.importance(regions, TEXT)
    pieces = captioner.tokenizer.encode(TEXT)

    def log_probs(picture: Regions) -> np.ndarray:
        with torch.inference_mode():
            return score_captions(captioner.model, captioner._prefix([picture]), [[pieces]])[0].numpy()

    for at in {0, n_regions // 2, n_regions - 1}:
        kept = [row for row in range(n_regions) if row != at]
        without = replace(regions, **{name: getattr(regions, name)[kept] for name in ROWS})
        wanted = log_probs(regions) - log_probs(without)
        np.testing.assert_allclose(found.regions[:, at], wanted[: len(pieces)], atol=2e-6)


ROWS = ("features", "boxes", "geometry", "object_ids", "object_scores")


def test_regions_that_the_model_does_not_read_have_no_part(captioner: Captioner) -> None:
    most = captioner.info.prefix.max_regions
    regions = small_regions("dog.jpg", n_regions=most + 3)
    for found in (captioner.attention(regions, "狗"), captioner.importance(regions, "狗")):
        assert found.regions.shape == (1, most + 3)
        assert not found.regions[:, most:].any()
        assert found.regions[:, :most].any()


def test_a_picture_without_regions_has_attention_all_the_same(captioner: Captioner) -> None:
    regions = small_regions("dog.jpg", n_regions=0)
    found = captioner.attention(regions, "狗")
    assert found.regions.shape == (1, 0)
    assert 0 < found.picture[0] + found.tags[0] < 1
    assert captioner.importance(regions, "狗").regions.shape == (1, 0)


def test_a_caption_too_long_for_the_model_is_refused(captioner: Captioner) -> None:
    with pytest.raises(ValueError, match="pieces, checkpoint .* reads at most"):
        captioner.attention(small_regions("dog.jpg"), TEXT * 9)

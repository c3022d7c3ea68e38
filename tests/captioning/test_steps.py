from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from captioning.batches import Captions, PairBatch, PrefixBatch, collate_captions
from captioning.config import LossConfig
from captioning.dataset import CaptionedPictures
from captioning.examples import IGNORED, Stream, dense_example, draws, sparse_example
from captioning.runs import Run, prepare
from captioning.steps import STEPS, caption_step, pretrain_step
from oscar.masks import caption_mask
from oscar.modeling import OscarForCaptioning, OscarForPreTraining
from tests.captioning.small_run import small_config, turns

SPARSE = LossConfig(masking="sparse")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    run = prepare(small_config(tmp_path_factory.mktemp("run")))
    run.model.eval()
    return run


def captioner(run: Run) -> OscarForCaptioning:
    assert isinstance(run.model, OscarForCaptioning)
    return run.model


def whole_sequence_logits(
    model: OscarForCaptioning, pictures: CaptionedPictures, index: int, caption: list[int]
) -> torch.Tensor:
    """Logits of a caption's every position through the ordinary forward pass; (T, V)."""
    prefix = pictures.prefix(index)
    n_tags, n_regions = len(prefix.tag_ids), len(prefix.region_features)
    start = model.config.max_caption_pieces
    real = torch.ones(1, len(caption) + n_tags + n_regions, dtype=torch.bool)
    logits = model(
        torch.tensor([[*caption, *prefix.tag_ids]]),
        torch.from_numpy(prefix.region_features)[None],
        caption_mask(len(caption), real),
        torch.tensor([[0] * len(caption) + [1] * n_tags]),
        torch.tensor([[*range(len(caption)), *range(start, start + n_tags)]]),
    )
    return logits[0, : len(caption)]


def test_the_dense_loss_is_that_of_decoding_word_by_word(run: Run) -> None:
    model, pictures = captioner(run), run.training
    losses = []
    for index in (0, 2):
        for pieces in pictures.captions[index][:2]:
            written = [*pieces.tolist(), pictures.tokenizer.sep_id]
            for n, target in enumerate(written):
                caption = [pictures.tokenizer.cls_id, *written[:n], pictures.tokenizer.mask_id]
                logits = whole_sequence_logits(model, pictures, index, caption)[-1]
                losses.append(functional.cross_entropy(logits, torch.tensor(target)))
    examples = [dense_example(p, pictures.tokenizer) for i in (0, 2) for p in pictures.captions[i][:2]]
    batch = replace(
        pictures.caption_batch(turns(0, [0, 2])),
        captions=collate_captions(examples, [0, 0, 1, 1], pictures.tokenizer.pad_id),
    )
    loss = caption_step(model, batch, LossConfig(), 0)["words"]
    torch.testing.assert_close(loss, torch.stack(losses).mean(), rtol=1e-4, atol=1e-5)


def test_the_sparse_loss_is_that_of_the_whole_sequence(run: Run) -> None:
    model, pictures = captioner(run), run.training
    rngs = [draws(5, Stream.MASK, 0, i) for i in range(2)]
    examples = [
        sparse_example(pictures.captions[index][0], pictures.tokenizer, SPARSE, rng)
        for index, rng in zip((1, 3), rngs, strict=True)
    ]
    losses = []
    for index, example in zip((1, 3), examples, strict=True):
        logits = whole_sequence_logits(model, pictures, index, example.pieces.tolist())
        losses.append(
            functional.cross_entropy(logits, torch.from_numpy(example.targets), reduction="none")[
                torch.from_numpy(example.targets != IGNORED)
            ]
        )
    captions = collate_captions(examples, [0, 1], pictures.tokenizer.pad_id)
    batch = replace(pictures.caption_batch(turns(0, [1, 3])), captions=captions)
    loss = caption_step(model, batch, SPARSE, 0)["words"]
    torch.testing.assert_close(loss, torch.cat(losses).mean(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("config", [LossConfig(), SPARSE], ids=["dense", "sparse"])
def test_neither_padding_nor_the_order_of_captions_changes_the_loss(run: Run, config: LossConfig) -> None:
    batch = run.training.caption_batch(turns(0, range(5)))
    captions, prefix = batch.captions, batch.prefix
    order = torch.randperm(batch.n_captions)
    padded = Captions(
        pieces=functional.pad(captions.pieces[order], (0, 3), value=7),
        targets=functional.pad(captions.targets[order], (0, 3), value=IGNORED),
        real=functional.pad(captions.real[order], (0, 3)),
        picture=captions.picture[order],
    )
    wider = PrefixBatch(
        tag_ids=functional.pad(prefix.tag_ids, (0, 2), value=7),
        tag_mask=functional.pad(prefix.tag_mask, (0, 2)),
        region_features=functional.pad(prefix.region_features, (0, 0, 0, 2), value=9.0),
        region_mask=functional.pad(prefix.region_mask, (0, 2)),
    )
    model = captioner(run)
    wanted = caption_step(model, batch, config, 0)["words"]
    got = caption_step(model, replace(batch, captions=padded, prefix=wider), config, 0)["words"]
    torch.testing.assert_close(got, wanted)


def test_the_worst_pieces_are_dropped_only_after_the_steps_set(run: Run) -> None:
    batch = run.training.caption_batch(turns(0, range(5)))
    config = LossConfig(drop_worst=0.5, drop_worst_after=10)
    before, after = (caption_step(captioner(run), batch, config, step)["words"].item() for step in (9, 10))
    assert before == caption_step(captioner(run), batch, LossConfig(), 0)["words"].item()
    assert after < before


def test_every_part_but_the_pooler_learns_from_captions(run: Run) -> None:
    model = captioner(run)
    model.zero_grad()
    caption_step(model, run.training.caption_batch(turns(0, range(5))), LossConfig(), 0)["words"].backward()
    still = {name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().any()}
    model.zero_grad()
    # a key's bias moves all scores of a row alike, so softmax gives it no gradient beyond rounding
    assert {name for name in still if "key.bias" not in name} == {
        "bert.pooler.dense.weight",
        "bert.pooler.dense.bias",
    }


def test_the_pretraining_losses_are_those_of_whole_sequences(tmp_path: Path) -> None:
    run = prepare(small_config(tmp_path, objective="pretrain"))
    model = run.model.eval()
    assert isinstance(model, OscarForPreTraining)
    batch = run.training.pair_batch(turns(0, range(5)))
    assert isinstance(batch, PairBatch)
    losses = pretrain_step(model, batch, LossConfig(), 0)
    words, match = [], []
    for row in range(batch.n_captions):
        real, picture = batch.real[row], int(batch.picture[row])
        regions = batch.region_features[picture][batch.region_mask[picture]]
        output = model(
            batch.pieces[row][real][None], regions[None], token_type_ids=batch.segments[row][real][None]
        )
        targets = batch.targets[row][real]
        words.append(functional.cross_entropy(output.word_logits, targets, reduction="none")[targets >= 0])
        match.append(functional.cross_entropy(output.match_logits[0], batch.match[row]))
    torch.testing.assert_close(losses["words"], torch.cat(words).mean(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(losses["match"], torch.stack(match).mean(), rtol=1e-4, atol=1e-5)


def test_a_batch_without_masks_still_learns_the_match(tmp_path: Path) -> None:
    run = prepare(small_config(tmp_path, objective="pretrain", loss=LossConfig(mask_share=0)))
    losses = pretrain_step(run.model, run.training.pair_batch(turns(0, [0])), LossConfig(), 0)  # type: ignore[arg-type]
    assert losses["words"] == 0
    assert losses["match"] > 0


def test_the_table_names_the_objectives() -> None:
    assert set(STEPS) == {"caption", "pretrain"}

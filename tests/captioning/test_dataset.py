from __future__ import annotations

from pathlib import Path

import torch

from captioning.batches import CaptionBatch, Captions
from captioning.config import LossConfig
from captioning.dataset import BatchPlan, CaptionedPictures, StepBatches
from captioning.examples import Match, prefix_example
from captioning.runs import prepare
from tests.captioning.small_run import CAPTIONS, small_config

SPARSE = LossConfig(masking="sparse")


def pictures_of(
    folder: Path, objective: str = "caption", loss: LossConfig | None = None
) -> CaptionedPictures:
    return prepare(small_config(folder, objective=objective, loss=loss)).training


def test_the_prefix_of_training_is_that_of_captioning(tmp_path: Path) -> None:
    pictures = pictures_of(tmp_path)
    wanted = prefix_example(
        pictures.regions(1), pictures.lexicon, pictures.tokenizer, pictures.config.data.prefix
    )
    assert (pictures.prefix(1).tag_ids == wanted.tag_ids).all()
    assert (pictures.prefix(1).region_features == wanted.region_features).all()


def examples_of(captions: Captions, picture: int) -> list[tuple[list[int], list[int]]]:
    """Pieces and targets of a picture's captions, without padding."""
    rows = (captions.picture == picture).nonzero().flatten().tolist()
    real = captions.real
    return [(captions.pieces[r][real[r]].tolist(), captions.targets[r][real[r]].tolist()) for r in rows]


def test_an_example_does_not_depend_on_the_batch_it_stands_in(tmp_path: Path) -> None:
    pictures = pictures_of(tmp_path, loss=SPARSE)
    alone = pictures.caption_batch(3, [2])
    together = pictures.caption_batch(3, [0, 2, 4])
    wanted = examples_of(alone.captions, picture=0)
    assert len(wanted) == 2
    assert examples_of(together.captions, picture=1) == wanted
    assert examples_of(pictures.caption_batch(4, [2]).captions, picture=0) != wanted


def test_a_caption_batch_holds_each_chosen_caption_once_beside_its_picture(tmp_path: Path) -> None:
    pictures = pictures_of(tmp_path)
    batch = pictures.caption_batch(0, [2, 0])
    texts = {
        (batch.image_ids[picture], pictures.tokenizer.decode(pieces))
        for picture, pieces in zip(
            batch.captions.picture.tolist(), batch.captions.pieces.tolist(), strict=True
        )
    }
    assert batch.n_captions == 4
    assert len(texts) == 4
    assert all(text in CAPTIONS[name] for name, text in texts)
    assert len({text for name, text in texts if name == "c.jpg"}) == 2


def test_swapped_captions_and_tags_come_from_another_picture(tmp_path: Path) -> None:
    no_masks = LossConfig(mask_share=0)
    pictures = pictures_of(tmp_path, objective="pretrain", loss=no_masks)
    sep, seen = pictures.tokenizer.sep_id, set()
    for epoch in range(20):
        batch = pictures.pair_batch(epoch, [0, 1, 2, 3, 4])
        for row in range(batch.n_captions):
            ids = batch.pieces[row][batch.real[row]].tolist()
            end = ids.index(sep)
            own = int(batch.picture[row])
            own_caption = ids[1:end] in [caption.tolist() for caption in pictures.captions[own]]
            own_tags = ids[end + 1 :] == pictures.tags(own).tolist()
            match = Match(int(batch.match[row]))
            assert own_caption == (match != Match.WRONG_CAPTION)
            assert own_tags or match == Match.WRONG_TAGS
            seen.add(match)
    assert seen == set(Match)


def test_padding_is_marked_on_every_side(tmp_path: Path) -> None:
    batch = pictures_of(tmp_path).caption_batch(0, [0, 1, 2, 3, 4])
    assert not batch.captions.real.all()
    assert torch.equal(batch.captions.targets != -100, batch.captions.real)
    assert batch.prefix.tag_mask.shape == batch.prefix.tag_ids.shape
    assert batch.prefix.region_mask.all()


def test_every_picture_comes_once_an_epoch_in_a_fresh_order() -> None:
    plan = BatchPlan(n_pictures=7, batch_size=3, seed=1)
    steps = [plan.step(step) for step in range(6)]
    assert [epoch for epoch, _ in steps] == [0, 0, 0, 1, 1, 1]
    first = [index for _, indices in steps[:3] for index in indices]
    second = [index for _, indices in steps[3:] for index in indices]
    assert sorted(first) == sorted(second) == list(range(7))
    assert first != second


def test_processes_share_a_batch_without_overlap() -> None:
    whole = BatchPlan(n_pictures=10, batch_size=5, seed=1).step(1)[1]
    parts = [BatchPlan(n_pictures=10, batch_size=5, seed=1, rank=r, world_size=2).step(1)[1] for r in (0, 1)]
    assert sorted(parts[0] + parts[1]) == sorted(whole)


def test_batches_from_workers_are_those_of_the_training_process(tmp_path: Path) -> None:
    batches = StepBatches(pictures_of(tmp_path, loss=SPARSE), BatchPlan(n_pictures=5, batch_size=2, seed=88))
    here, there = batches.from_step(2, workers=0), batches.from_step(2, workers=2)
    for _ in range(3):
        ours, theirs = next(here), next(there)
        assert ours.image_ids == theirs.image_ids
        assert isinstance(ours, CaptionBatch)
        assert isinstance(theirs, CaptionBatch)
        assert torch.equal(ours.captions.pieces, theirs.captions.pieces)

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from captioning.batches import CaptionBatch, Captions
from captioning.caption_record import SecondText
from captioning.config import LossConfig, SourceConfig
from captioning.dataset import CaptionedPictures, Source
from captioning.examples import Match, prefix_example
from captioning.runs import prepare
from captioning.step_batches import StepBatches
from captioning.trainer import plan_of
from tests.captioning.small_captioner import META, write_small_store
from tests.captioning.small_run import CAPTIONS, small_config, turns, write_captions

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
    alone = pictures.caption_batch(turns(3, [2]))
    together = pictures.caption_batch(turns(3, [0, 2, 4]))
    wanted = examples_of(alone.captions, picture=0)
    assert len(wanted) == 2
    assert examples_of(together.captions, picture=1) == wanted
    assert examples_of(pictures.caption_batch(turns(4, [2])).captions, picture=0) != wanted


def test_a_caption_batch_holds_each_chosen_caption_once_beside_its_picture(tmp_path: Path) -> None:
    pictures = pictures_of(tmp_path)
    batch = pictures.caption_batch(turns(0, [2, 0]))
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
        batch = pictures.pair_batch(turns(epoch, [0, 1, 2, 3, 4]))
        for row in range(batch.n_captions):
            ids = batch.pieces[row][batch.real[row]].tolist()
            end = ids.index(sep)
            own = int(batch.picture[row])
            own_caption = ids[1:end] in [caption.tolist() for caption in pictures.captions[own]]
            own_tags = ids[end + 1 :] == pictures.tags(own).tolist()
            match = Match(int(batch.match[row]))
            assert own_caption == (match != Match.WRONG_FIRST)
            assert own_tags or match == Match.WRONG_SECOND
            seen.add(match)
    assert seen == set(Match)


QUESTIONS = [("一只狗在哪里？", "草地上"), ("狗是什么颜色？", "黄色"), ("有几个人？", "两个")]


def pairs_of(folder: Path, **loss: object) -> CaptionedPictures:
    """Pictures a and b with questions, c with a caption alone."""
    texts = {"texts.jpg": [text for pair in QUESTIONS for text in pair]}  # so that all can be written
    config = small_config(
        folder, objective="pretrain", loss=LossConfig(mask_share=0, **loss), captions=CAPTIONS | texts
    )
    run = prepare(config)
    first, second, third = run.training.records[:3]
    answers = [SecondText(text=answer, is_answer=True) for _, answer in QUESTIONS]
    asked = [question for question, _ in QUESTIONS]
    records = (
        replace(first, captions=tuple(asked[:2]), seconds=tuple(answers[:2])),
        replace(second, captions=(asked[2],), seconds=(answers[2],)),
        replace(third, captions=third.captions[:1]),
    )
    source = Source(records=records, store=run.training.sources[0].store)
    return CaptionedPictures([source], run.training.lexicon, run.tokenizer, run.config)


def texts_of(pictures: CaptionedPictures, epochs: int, index: int) -> set[tuple[Match, str, str]]:
    """All that is read of a picture in some epochs: match, first and second text."""
    read, sep = set(), pictures.tokenizer.sep_id
    for epoch in range(epochs):
        batch = pictures.pair_batch(turns(epoch, [index]))
        for row in range(batch.n_captions):
            ids = batch.pieces[row][batch.real[row]].tolist()
            end = ids.index(sep)
            first, second = (
                pictures.tokenizer.decode(ids[1:end]),
                pictures.tokenizer.decode(ids[end + 1 : -1]),
            )
            read.add((Match(int(batch.match[row])), first, second))
    return read


def test_questions_are_read_with_their_answers_and_captions_with_their_tags(tmp_path: Path) -> None:
    pictures = pairs_of(tmp_path, swap_caption=0.0, swap_tags=0.0)
    assert texts_of(pictures, 1, 0) == {(Match.TRUE, *pair) for pair in QUESTIONS[:2]}
    ((_, caption, tags),) = texts_of(pictures, 1, 2)
    assert caption in CAPTIONS["c.jpg"]
    assert tags == pictures.tokenizer.decode(pictures.tags(2))


def test_a_wrong_answer_is_one_of_another_question_even_of_the_same_picture(tmp_path: Path) -> None:
    pictures = pairs_of(tmp_path, swap_caption=0.0, swap_tags=1.0, wrong_second="answer")
    seen = {(first, second) for _, first, second in texts_of(pictures, 40, 0)}
    answers = [answer for _, answer in QUESTIONS]
    wanted = {(question, other) for question, own in QUESTIONS[:2] for other in answers if other != own}
    assert seen == wanted


def test_a_wrong_second_text_is_anothers_second_or_with_any_also_its_first(tmp_path: Path) -> None:
    kinds = {}
    for kind in ("second", "any"):
        pictures = pairs_of(tmp_path, swap_caption=0.0, swap_tags=1.0, wrong_second=kind)
        kinds[kind] = {second for _, _, second in texts_of(pictures, 60, 1)}
    tags, caption = pictures.tokenizer.decode(pictures.tags(2)), pictures.records[2].captions[0]
    assert kinds["second"] == {"草地上", "黄色", tags}
    assert kinds["any"] == kinds["second"] | {QUESTIONS[0][0], QUESTIONS[1][0], caption}


def test_words_of_swapped_pairs_are_predicted_only_if_asked_for(tmp_path: Path) -> None:
    for predicted in (True, False):
        loss = LossConfig(mask_share=1.0, mask_mismatched=predicted)
        batch = pictures_of(tmp_path, objective="pretrain", loss=loss).pair_batch(turns(0, range(5)))
        rows = (batch.targets != -100).any(dim=1)
        assert set(batch.match.tolist()) > {0}
        assert torch.equal(rows, torch.ones_like(rows) if predicted else batch.match == 0)


def test_a_pair_too_long_loses_pieces_of_its_longer_text(tmp_path: Path) -> None:
    config = small_config(
        tmp_path, objective="pretrain", loss=LossConfig(mask_share=0, swap_caption=0, swap_tags=0)
    )
    config = replace(config, data=replace(config.data, max_pair_pieces=10))
    pictures = prepare(config).training
    batch = pictures.pair_batch(turns(0, [0]))
    assert batch.real.sum(dim=1).max() == 10
    caption, tags = pictures.captions[0][0], pictures.tags(0)[:-1]
    room = 7 - len(tags)
    assert len(caption) > room > len(tags)
    assert batch.pieces[0].tolist() == [
        *(pictures.tokenizer.cls_id, *caption[:room], pictures.tokenizer.sep_id),
        *(*tags, pictures.tokenizer.sep_id),
    ]


def test_data_sets_are_read_together_and_a_picture_of_both_is_no_donor_of_itself(tmp_path: Path) -> None:
    config = small_config(tmp_path, objective="pretrain", loss=LossConfig(swap_caption=0.5, swap_tags=0.5))
    more = write_captions(tmp_path / "more.json", {"a.jpg": ["另一句话"], "b.jpg": ["还有一句话"]})
    mixed = replace(config, data=replace(config.data, more=(SourceConfig(captions=more, weight=2.0),)))
    run = prepare(mixed)
    assert len(run.training) == 7
    plan = plan_of(run, n_processes=1)
    assert len(plan.mixture) == 5 + 4
    assert {item.index for step in range(5) for item in plan.items(step)} == set(range(7))
    for epoch in range(30):
        batch = run.training.pair_batch(turns(epoch, [5]))
        ids = batch.pieces[0][batch.real[0]].tolist()
        text = run.tokenizer.decode(ids[1 : ids.index(run.tokenizer.sep_id)])
        assert text not in CAPTIONS["a.jpg"]


def test_regions_of_another_detector_are_not_mixed_in(tmp_path: Path) -> None:
    config = small_config(tmp_path)
    other = write_small_store(
        tmp_path / "other.h5", ["a.jpg"], replace(META, description={"weights_sha256": "1" * 64})
    )
    more = SourceConfig(captions=config.data.train, regions=other)
    with pytest.raises(
        ValueError, match=r"other\.h5: regions of another detector than expected: fingerprint"
    ):
        prepare(replace(config, data=replace(config.data, more=(more,))))


def test_padding_is_marked_on_every_side(tmp_path: Path) -> None:
    batch = pictures_of(tmp_path).caption_batch(turns(0, [0, 1, 2, 3, 4]))
    assert not batch.captions.real.all()
    assert torch.equal(batch.captions.targets != -100, batch.captions.real)
    assert batch.prefix.tag_mask.shape == batch.prefix.tag_ids.shape
    assert batch.prefix.region_mask.all()


def test_batches_from_workers_are_those_of_the_training_process(tmp_path: Path) -> None:
    run = prepare(small_config(tmp_path, loss=SPARSE))
    batches = StepBatches(run.training, plan_of(run, n_processes=1))
    here, there = batches.from_step(2, workers=0), batches.from_step(2, workers=2)
    for _ in range(3):
        (ours,), (theirs,) = next(here), next(there)
        assert ours["caption"].image_ids == theirs["caption"].image_ids
        assert isinstance(ours["caption"], CaptionBatch)
        assert isinstance(theirs["caption"], CaptionBatch)
        assert torch.equal(ours["caption"].captions.pieces, theirs["caption"].captions.pieces)

"""The two ways through the model are one, and nothing leaks."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from oscar.configuration import OscarConfig
from oscar.masks import dense_mask, full_mask
from oscar.modeling import OscarForCaptioning
from tests.oscar.small_pictures import (
    CAPTIONS,
    CLS,
    MASK,
    PICTURE,
    SEP,
    Pictures,
    T,
    dense_states,
    whole,
)

MakeConfig = Callable[..., OscarConfig]
MakeCaptioner = Callable[..., OscarForCaptioning]


@torch.no_grad()
def test_dense_logits_are_those_of_every_step_by_full_forward(
    make_captioner: MakeCaptioner, pictures: Pictures
) -> None:
    model = make_captioner()
    slots = max(map(len, CAPTIONS)) + 1
    dense = model.word_logits(dense_states(model, pictures.prefix(model), PICTURE, last=slots))  # (C, S, V)
    for c, caption in enumerate(CAPTIONS):
        for i in range(len(caption) + 1):
            step = whole(model, pictures, [[CLS, *caption[:i], MASK]], PICTURE[c : c + 1])
            torch.testing.assert_close(
                dense[c, i], model.word_logits(step[0, i + 1]), rtol=1e-5, atol=1e-5, msg=f"{c}, {i}"
            )


@pytest.mark.parametrize("padding_left_out", [False, True])
def test_reading_the_prefix_is_the_full_forward_and_so_are_its_gradients(
    padding_left_out: bool, make_captioner: MakeCaptioner, pictures: Pictures
) -> None:
    model = make_captioner(attention_probs_dropout_prob=0.0).double()
    doubles = Pictures(pictures.tag_ids, pictures.tag_mask, pictures.features.double(), pictures.region_mask)
    captions = [[CLS, *caption, SEP] for caption in CAPTIONS]
    real = torch.arange(T) < torch.tensor([[len(caption)] for caption in captions])
    weight = torch.randn(len(captions), T, 32, dtype=torch.float64) * real[..., None]

    at_once = whole(model, doubles, captions, PICTURE)[:, :T]
    (at_once * weight).sum().backward()
    expected = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()

    padded = torch.tensor([[*caption, *[0] * (T - len(caption))] for caption in captions])
    causal = torch.ones(1, T, T, dtype=torch.bool).tril()
    given = doubles.prefix(model), padded, torch.arange(T)[None], causal, PICTURE
    if padding_left_out:
        in_parts = torch.zeros_like(at_once)
        in_parts[real] = model.bert.read_prefix(*given, real=real)
    else:
        in_parts = model.bert.read_prefix(*given)
    (in_parts * weight).sum().backward()
    got = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}

    torch.testing.assert_close(in_parts * weight, at_once * weight)
    assert got.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(got[name], gradient, msg=name)


@torch.no_grad()
def test_captions_of_a_picture_may_come_in_any_order(
    make_captioner: MakeCaptioner, pictures: Pictures
) -> None:
    model = make_captioner()
    prefix = pictures.prefix(model)
    gathered = dense_states(model, prefix, torch.tensor([1, 0, 1, 0, 1]))
    for c, picture in enumerate([1, 0, 1, 0, 1]):
        alone = dense_states(model, prefix, torch.full((5,), picture))
        torch.testing.assert_close(gathered[c], alone[c], rtol=1e-5, atol=1e-5)
    both = prefix.select(torch.tensor([0, 0, 0, 0, 0, 1, 1, 1, 1, 1]))
    assert len(both) == 10
    torch.testing.assert_close(
        dense_states(model, both.select(torch.arange(5)), None),
        dense_states(model, prefix, torch.zeros(5).long()),
        rtol=1e-5,
        atol=1e-5,
    )


@torch.no_grad()
def test_asking_for_some_positions_changes_none_of_them(
    make_captioner: MakeCaptioner, pictures: Pictures
) -> None:
    model = make_captioner()
    prefix = pictures.prefix(model)
    states = dense_states(model, prefix, PICTURE)  # (C, 12, D), 6 pieces and 6 queries
    near = {"rtol": 1e-5, "atol": 1e-5}
    torch.testing.assert_close(dense_states(model, prefix, PICTURE, last=4), states[:, -4:], **near)
    lengths = torch.tensor([len(caption) + 1 for caption in CAPTIONS])
    real = (torch.arange(6) < lengths[:, None]).repeat(1, 2)
    rows = real & (torch.rand(real.shape) < 0.5)
    all_real = torch.ones_like(real)
    for given, wanted in (
        ({"real": real}, states[real]),
        ({"rows": rows}, states[rows]),
        ({"real": real, "rows": rows}, states[rows]),
        ({"real": all_real}, states.flatten(0, 1)),
        ({"real": all_real, "rows": rows}, states[rows]),
    ):
        torch.testing.assert_close(dense_states(model, prefix, PICTURE, **given), wanted, **near)


def replaced(caption: list[int], place: int) -> list[int]:
    return [*caption[:place], 30, *caption[place + 1 :]]


@torch.no_grad()
def test_no_later_piece_changes_an_earlier_state_and_no_caption_the_evidence(
    make_captioner: MakeCaptioner, pictures: Pictures
) -> None:
    model = make_captioner()
    caption, picture = [CLS, 5, 6, 7, 8, SEP], torch.tensor([0])
    states = whole(model, pictures, [caption], picture)[0]
    for place in range(len(caption)):
        moved = (whole(model, pictures, [replaced(caption, place)], picture)[0] - states).abs()
        assert moved[:place].sum() == 0.0
        assert moved[T:].sum() == 0.0
        assert moved[place].max() > 0.1


@pytest.mark.parametrize("dense", [False, True])
@torch.no_grad()
def test_no_later_piece_changes_an_earlier_state_of_a_stream_and_no_stream_the_prefix(
    dense: bool, make_captioner: MakeCaptioner, pictures: Pictures
) -> None:
    model = make_captioner()
    prefix = pictures.prefix(model).select(torch.tensor([0]))
    before = [(layer.keys.clone(), layer.values.clone()) for layer in prefix.layers]
    caption = [CLS, 5, 6, 7, 8, SEP]
    n, queries = len(caption), [MASK] * len(caption)
    places = torch.arange(n)
    mask = dense_mask(n) if dense else torch.ones(1, n, n, dtype=torch.bool).tril()
    positions = torch.cat([places, places + 1])[None] if dense else places[None]

    def states(pieces: list[int], queries: list[int]) -> Tensor:
        """(1, n, D) of the pieces or (2, n, D) of pieces and queries."""
        ids = torch.tensor([[*pieces, *queries] if dense else pieces])
        return model.bert.read_prefix(prefix, ids, positions, mask)[0].unflatten(0, (-1, n))

    undisturbed = states(caption, queries)
    for place in range(n):
        moved = (states(replaced(caption, place), queries) - undisturbed).abs().amax(dim=2)
        assert moved[:, :place].sum() == 0.0
        assert (moved[:, place] > 0.01).all()
        moved = (states(caption, replaced(queries, place)) - undisturbed).abs().amax(dim=2)
        assert moved.count_nonzero() == dense  # a query alone reads itself
    for layer, (keys, values) in zip(prefix.layers, before, strict=True):
        assert torch.equal(layer.keys, keys)
        assert torch.equal(layer.values, values)


@torch.no_grad()
def test_padding_changes_nothing_real(make_captioner: MakeCaptioner, pictures: Pictures) -> None:
    model = make_captioner()
    prefix = pictures.prefix(model)
    other = Pictures(
        torch.where(pictures.tag_mask, pictures.tag_ids, 39),
        pictures.tag_mask,
        torch.where(pictures.region_mask[..., None], pictures.features, 9.0),
        pictures.region_mask,
    )
    difference = dense_states(model, prefix, PICTURE) - dense_states(model, other.prefix(model), PICTURE)
    assert difference.abs().max() == 0.0


@torch.no_grad()
def test_a_mask_means_the_same_in_two_three_and_four_dimensions(make_captioner: MakeCaptioner) -> None:
    model = make_captioner().bert
    ids = torch.randint(0, 40, (2, 6))
    real = torch.arange(6) < torch.tensor([6, 3])[:, None]
    flat = model(ids, attention_mask=real.long())
    for mask in (full_mask(real), full_mask(real)[:, None].expand(-1, 4, -1, -1)):
        torch.testing.assert_close(model(ids, attention_mask=mask), flat)
    with pytest.raises(ValueError, match=r"shape \(2, 5\) does not fit 6 positions"):
        model(ids, attention_mask=real[:, :5])
    with pytest.raises(ValueError, match="not floats to add"):
        model(ids, attention_mask=real.float())


@torch.no_grad()
def test_dropout_acts_on_both_ways_in_training_alone(
    make_captioner: MakeCaptioner, pictures: Pictures
) -> None:
    model = make_captioner(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.5)
    prefix = pictures.prefix(model)
    still = dense_states(model, prefix, PICTURE)
    assert torch.equal(still, dense_states(model, prefix, PICTURE))
    model.train()
    assert not torch.allclose(still, dense_states(model, prefix, PICTURE))
    assert not torch.allclose(pictures.prefix(model).layers[1].keys, prefix.layers[1].keys)


def test_captions_that_cannot_be_shared_out_are_refused(
    make_captioner: MakeCaptioner, pictures: Pictures
) -> None:
    model = make_captioner()
    with pytest.raises(ValueError, match="5 caption streams cannot be shared evenly among 2 pictures"):
        dense_states(model, pictures.prefix(model), None)


def test_more_text_than_positions_is_refused(make_captioner: MakeCaptioner, pictures: Pictures) -> None:
    model = make_captioner()
    with pytest.raises(ValueError, match="65 text positions were asked for, the model has 64"):
        model.bert(torch.zeros(1, 65).long())
    tags = torch.full((2, 53), 5)
    with pytest.raises(ValueError, match="65 text positions were asked for, the model has 64"):
        model.bert.encode_prefix(tags, tags > 0, pictures.features, pictures.region_mask)

"""What a trace shows, and every float type."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from transformers import BertConfig, BertModel

from oscar.attention import KeysValues, Trace, additive_mask
from oscar.masks import full_mask
from oscar.modeling import OscarForCaptioning
from tests.oscar.small_pictures import CAPTIONS, CLS, PICTURE, SEP, Pictures, T, dense_states, whole

MakeCaptioner = Callable[..., OscarForCaptioning]

FLOATS = (torch.float32, torch.bfloat16, torch.float16)


def close(got: Tensor, wanted: Tensor) -> None:
    torch.testing.assert_close(got, wanted, rtol=1e-6, atol=1e-6)


@torch.no_grad()
def test_a_trace_holds_berts_attentions_and_states(make_captioner: MakeCaptioner) -> None:
    model = make_captioner(scale=0.1).bert
    bert = BertModel(BertConfig(**model.config.to_diff_dict()), add_pooling_layer=False).eval()
    bert.set_attn_implementation("eager")
    assert not bert.load_state_dict(model.state_dict(), strict=False).missing_keys
    ids, real = torch.randint(5, 40, (3, 8)), torch.arange(8) < torch.tensor([8, 5, 2])[:, None]
    theirs = bert(ids, real.long(), output_attentions=True, output_hidden_states=True)
    trace = Trace()
    close(model(ids, attention_mask=real, trace=trace), model(ids, attention_mask=real))
    for ours, wanted in ((trace.attentions, theirs.attentions), (trace.hidden_states, theirs.hidden_states)):
        assert len(ours) == len(wanted)
        for layer, of_bert in zip(ours, wanted, strict=True):
            torch.testing.assert_close(layer, of_bert, rtol=1e-5, atol=1e-5)
    assert not any(weights[1, :, :, 5:].any() for weights in trace.attentions)  # padding is never read


@torch.no_grad()
def test_a_captions_trace_before_a_prefix_is_that_of_the_whole_sequence(
    make_captioner: MakeCaptioner, pictures: Pictures
) -> None:
    model = make_captioner(scale=0.1)
    prefix = pictures.prefix(model)
    for caption, picture in zip(CAPTIONS, PICTURE.tolist(), strict=True):
        pieces, one = [CLS, *caption, SEP], torch.tensor([picture])
        n = len(pieces)
        of_whole, of_stream = Trace(), Trace()
        whole(model, pictures, [pieces], one, of_whole)
        given = torch.tensor([pieces]), torch.arange(n)[None], torch.ones(1, n, n, dtype=torch.bool).tril()
        close(
            model.bert.read_prefix(prefix, *given, one, trace=of_stream),
            model.bert.read_prefix(prefix, *given, one),
        )
        for stream, sequence in zip(of_stream.hidden_states, of_whole.hidden_states, strict=True):
            close(stream, sequence[:, :n])
        for stream, sequence in zip(of_stream.attentions, of_whole.attentions, strict=True):
            close(stream, torch.cat([sequence[:, :, :n, T:], sequence[:, :, :n, :n]], dim=3))


@torch.no_grad()
def test_the_trace_of_a_caption_written_piece_by_piece_is_that_of_the_caption(
    make_captioner: MakeCaptioner, pictures: Pictures
) -> None:
    bert = make_captioner(scale=0.1).bert
    prefix = pictures.prefix(make_captioner(scale=0.1))
    pieces = torch.tensor([[CLS, 5, 6, 7], [CLS, 8, 9, 10]])
    n, positions = 4, torch.arange(4)[None]
    of_caption = Trace()
    bert.read_prefix(
        prefix, pieces, positions, torch.ones(1, n, n, dtype=torch.bool).tril(), trace=of_caption
    )
    embedded = bert.embeddings(pieces, positions, torch.zeros_like(positions))
    past: tuple[KeysValues, ...] | None = None
    for t in range(n):
        of_step, last, nothing_hidden = Trace(), embedded[:, t : t + 1], torch.zeros(1, 1, 1, t + 1)
        fast, _ = bert.read_layers(prefix, last, nothing_hidden, past)
        traced, past = bert.read_layers(prefix, last, nothing_hidden, past, trace=of_step)
        close(traced, fast)
        for step, caption in zip(of_step.hidden_states, of_caption.hidden_states, strict=True):
            close(step, caption[:, t : t + 1])
        for step, caption in zip(of_step.attentions, of_caption.attentions, strict=True):
            close(step, caption[:, :, t : t + 1, : step.shape[3]])


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_rows_that_may_read_nothing_stay_numbers_and_so_do_gradients(
    dtype: torch.dtype, make_captioner: MakeCaptioner, pictures: Pictures
) -> None:
    model = make_captioner().to(dtype)
    ids, n_regions = torch.full((2, T), 5), pictures.features.shape[1]
    real = torch.zeros(2, T + n_regions, dtype=torch.bool)
    blind = Pictures(
        pictures.tag_ids, pictures.tag_mask & False, pictures.features, pictures.region_mask & False
    )
    nothing_of_its_own = torch.zeros(1, T, T, dtype=torch.bool)
    states = [
        model.bert(ids, pictures.features, real),
        model.bert(ids, pictures.features, full_mask(real)),
        model.bert(ids, pictures.features, full_mask(real)[:, None]),
        model.bert(ids, pictures.features, real, trace=Trace()),
        model.bert.read_prefix(blind.prefix(model), ids, torch.arange(T)[None], nothing_of_its_own),
    ]
    torch.stack([hidden.float().square().sum() for hidden in states]).sum().backward()
    assert all(hidden.dtype == dtype and hidden.isfinite().all() for hidden in states)
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    assert len(gradients) == len(list(model.bert.parameters())) - 2  # all but the pooler's
    assert all(gradient.isfinite().all() for gradient in gradients)


@pytest.mark.parametrize("dtype", FLOATS[1:], ids=str)
@torch.no_grad()
def test_half_precision_stays_near_single(
    dtype: torch.dtype, make_captioner: MakeCaptioner, pictures: Pictures
) -> None:
    model = make_captioner(scale=0.1)
    captions = [[CLS, *caption, SEP] for caption in CAPTIONS]
    wanted = whole(model, pictures, captions, PICTURE), dense_states(model, pictures.prefix(model), PICTURE)
    model.to(dtype)
    got = whole(model, pictures, captions, PICTURE), dense_states(model, pictures.prefix(model), PICTURE)
    for half, single in zip(got, wanted, strict=True):
        assert half.dtype == dtype
        assert (half.float() - single).square().mean().sqrt() < 8 * torch.finfo(dtype).eps


def test_the_additive_mask_is_finite_in_every_float_type() -> None:
    for dtype in FLOATS:
        mask = additive_mask(torch.tensor([True, False]), dtype)
        assert mask[0] == 0
        assert mask.isfinite().all()
        assert (mask + torch.tensor([5.0, 5.0], dtype=dtype)).softmax(dim=0).tolist() == [1.0, 0.0]

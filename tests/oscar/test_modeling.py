"""The two ways through the model are one; nothing leaks; what is saved comes back."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pytest
import torch
from torch import Tensor
from transformers import AutoModel

from oscar.configuration import OscarConfig
from oscar.masks import caption_mask, dense_mask, full_mask
from oscar.modeling import OscarForCaptioning, OscarForPreTraining, OscarModel, Prefix
from tests.oscar.conftest import randomise

MakeConfig = Callable[..., OscarConfig]
MakeCaptioner = Callable[..., OscarForCaptioning]

T, G, R = 12, 4, 5
CLS, SEP, MASK = 2, 3, 4
CAPTIONS = ([5, 6, 7], [8, 9, 10, 11, 12], [7, 7], [20], [5, 6, 30, 31])
PICTURE = torch.tensor([0, 0, 1, 1, 1])


@dataclass(frozen=True)
class Pictures:
    """Two pictures; the second has less of everything."""

    tag_ids: Tensor
    tag_mask: Tensor
    features: Tensor
    region_mask: Tensor

    def prefix(self, model: OscarForCaptioning) -> Prefix:
        return model.bert.encode_prefix(self.tag_ids, self.tag_mask, self.features, self.region_mask)


@pytest.fixture
def pictures() -> Pictures:
    generator = torch.Generator().manual_seed(1)
    return Pictures(
        torch.randint(5, 40, (2, G), generator=generator),
        torch.arange(G) < torch.tensor([4, 1])[:, None],
        torch.randn(2, R, 14, generator=generator),
        torch.arange(R) < torch.tensor([5, 3])[:, None],
    )


def whole(
    model: OscarForCaptioning, pictures: Pictures, captions: list[list[int]], picture: Tensor
) -> Tensor:
    """(C, L, D): captions (with their specials) padded to T, tags and regions, in one forward."""
    padded = torch.tensor([[*caption, *[0] * (T - len(caption))] for caption in captions])
    lengths = torch.tensor([len(caption) for caption in captions])
    real = torch.cat(
        [torch.arange(T) < lengths[:, None], pictures.tag_mask[picture], pictures.region_mask[picture]], dim=1
    )
    return model.bert(
        torch.cat([padded, pictures.tag_ids[picture]], dim=1),
        pictures.features[picture],
        caption_mask(T, real),
        token_type_ids=torch.tensor([[0] * T + [1] * G]),
    )


def dense_states(
    model: OscarForCaptioning, prefix: Prefix, picture: Tensor | None, last: int | None = None
) -> Tensor:
    slots = max(map(len, CAPTIONS)) + 1
    ids = [[CLS, *caption, *[0] * (slots - 1 - len(caption)), *[MASK] * slots] for caption in CAPTIONS]
    places = torch.arange(slots)
    positions = torch.cat([places, places + 1])[None]
    return model.bert.read_prefix(prefix, torch.tensor(ids), positions, dense_mask(slots), picture, last)


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


def test_reading_the_prefix_is_the_full_forward_and_so_are_its_gradients(
    make_captioner: MakeCaptioner, pictures: Pictures
) -> None:
    model = make_captioner(attention_probs_dropout_prob=0.0).double()
    doubles = Pictures(pictures.tag_ids, pictures.tag_mask, pictures.features.double(), pictures.region_mask)
    captions = [[CLS, *caption, SEP] for caption in CAPTIONS]
    weight = torch.randn(len(captions), T, 32, dtype=torch.float64)
    for c, caption in enumerate(captions):
        weight[c, len(caption) :] = 0

    at_once = whole(model, doubles, captions, PICTURE)[:, :T]
    (at_once * weight).sum().backward()
    expected = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()

    padded = torch.tensor([[*caption, *[0] * (T - len(caption))] for caption in captions])
    causal = torch.ones(1, T, T, dtype=torch.bool).tril()
    in_parts = model.bert.read_prefix(doubles.prefix(model), padded, torch.arange(T)[None], causal, PICTURE)
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
def test_asking_for_the_last_positions_changes_none_of_them(
    make_captioner: MakeCaptioner, pictures: Pictures
) -> None:
    model = make_captioner()
    prefix = pictures.prefix(model)
    torch.testing.assert_close(
        dense_states(model, prefix, PICTURE, last=4),
        dense_states(model, prefix, PICTURE)[:, -4:],
        rtol=1e-6,
        atol=1e-6,
    )


@torch.no_grad()
def test_a_later_piece_changes_no_earlier_output_and_the_caption_no_evidence(
    make_captioner: MakeCaptioner, pictures: Pictures
) -> None:
    model = make_captioner()
    picture = torch.tensor([0])
    one = whole(model, pictures, [[CLS, 5, 6, 7, 8, SEP]], picture)
    other = whole(model, pictures, [[CLS, 5, 6, 9, 30, SEP]], picture)
    assert (one[:, :3] - other[:, :3]).abs().max() == 0.0
    assert (one[:, T:] - other[:, T:]).abs().max() == 0.0
    assert (one[:, 3:6] - other[:, 3:6]).abs().max() > 0.1


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


def test_rows_that_may_read_nothing_stay_numbers_and_so_do_gradients(
    make_captioner: MakeCaptioner, pictures: Pictures
) -> None:
    model = make_captioner()
    nothing = torch.zeros(2, T + R, T + R, dtype=torch.bool)
    hidden = model.bert(torch.full((2, T), 5), pictures.features, nothing)
    blind = Pictures(
        pictures.tag_ids, pictures.tag_mask & False, pictures.features, pictures.region_mask & False
    )
    read = dense_states(model, blind.prefix(model), PICTURE)
    (hidden.sum() + read.sum()).backward()
    assert hidden.isfinite().all()
    assert read.isfinite().all()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


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


@pytest.mark.parametrize("tied", [True, False])
def test_a_saved_model_comes_back_whole_and_tied_as_it_was(
    tied: bool, tmp_path: Path, make_config: MakeConfig
) -> None:
    model = OscarForCaptioning(make_config(tie_word_embeddings=tied, use_img_layernorm=tied))
    randomise(model, seed=2)
    model.save_pretrained(tmp_path)
    again, told = OscarForCaptioning.from_pretrained(tmp_path, output_loading_info=True)
    assert not told["missing_keys"]
    assert not told["unexpected_keys"]
    assert not again.training
    state = again.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    words = again.bert.embeddings.word_embeddings.weight
    assert (again.cls.predictions.decoder.weight is words) == tied
    bare = AutoModel.from_pretrained(tmp_path)
    assert isinstance(bare, OscarModel)
    assert torch.equal(bare.img_embedding.weight, model.bert.img_embedding.weight)


def test_new_weights_are_drawn_as_berts_are(make_config: MakeConfig) -> None:
    torch.manual_seed(0)
    model = OscarForPreTraining(make_config(vocab_size=2000, hidden_size=64, initializer_range=0.05))
    for name, parameter in model.named_parameters():
        if "LayerNorm.weight" in name:
            assert (parameter == 1).all(), name
        elif name.endswith("bias"):
            assert not parameter.any(), name
        else:
            assert parameter.std().item() == pytest.approx(0.05, rel=0.15), name
    assert "cls.seq_relationship.weight" in model.state_dict()


def test_state_dict_names_are_the_originals(make_config: MakeConfig) -> None:
    names = set(OscarForPreTraining(make_config(num_hidden_layers=1)).state_dict())
    parts = {
        "embeddings": [
            "word_embeddings.weight",
            "position_embeddings.weight",
            "token_type_embeddings.weight",
        ],
        "encoder.layer.0.attention.self": [
            f"{part}.{kind}" for part in ("query", "key", "value") for kind in ("weight", "bias")
        ],
    }
    expected = {f"bert.{module}.{name}" for module, names in parts.items() for name in names}
    for module in (
        "bert.embeddings.LayerNorm",
        "bert.encoder.layer.0.attention.output.dense",
        "bert.encoder.layer.0.attention.output.LayerNorm",
        "bert.encoder.layer.0.intermediate.dense",
        "bert.encoder.layer.0.output.dense",
        "bert.encoder.layer.0.output.LayerNorm",
        "bert.pooler.dense",
        "bert.img_embedding",
        "bert.LayerNorm",
        "cls.predictions.transform.dense",
        "cls.predictions.transform.LayerNorm",
        "cls.seq_relationship",
    ):
        expected |= {f"{module}.weight", f"{module}.bias"}
    assert names == expected | {"cls.predictions.bias", "cls.predictions.decoder.weight"}


@torch.no_grad()
def test_pre_training_predicts_the_masked_rows_and_the_match(
    make_config: MakeConfig, pictures: Pictures
) -> None:
    model = OscarForPreTraining(make_config(num_contrast_classes=2)).eval()
    ids = torch.randint(5, 40, (2, 8))
    rows = torch.zeros(2, 8, dtype=torch.bool)
    rows[0, 3] = rows[1, 1] = rows[1, 7] = True
    output = model(ids, pictures.features, rows=rows)
    hidden = model.bert(ids, pictures.features)
    torch.testing.assert_close(output.word_logits[0], model.word_logits(hidden[0, 3]))
    torch.testing.assert_close(output.word_logits[2], model.word_logits(hidden[1, 7]))
    assert output.match_logits.shape == (2, 2)
    captioner = cast(OscarForCaptioning, OscarForCaptioning(make_config()).eval())
    assert captioner(ids, pictures.features).shape == (2, 8, 40)
    assert captioner(ids, pictures.features, rows=rows).shape == (3, 40)

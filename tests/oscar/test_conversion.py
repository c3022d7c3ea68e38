"""Weights of other projects' folders, built here in their published forms."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import BertConfig, BertForMaskedLM, BertModel

from oscar.configuration import OscarConfig
from oscar.conversion import ConversionError, load_initial_weights
from oscar.modeling import OscarForCaptioning, OscarForPreTraining
from tests.oscar.conftest import SIZES, randomise

BERT_SIZES = {
    name: SIZES[name]
    for name in (
        "vocab_size",
        "hidden_size",
        "num_hidden_layers",
        "num_attention_heads",
        "intermediate_size",
        "max_position_embeddings",
        "pad_token_id",
    )
}


def make_bert(**changes: Any) -> BertForMaskedLM:
    bert = BertForMaskedLM(BertConfig(**{**BERT_SIZES, **changes}))
    randomise(bert, seed=7)
    bert.tie_weights()
    return bert.eval()


def oscar_state(config: OscarConfig, seed: int = 8) -> dict[str, Tensor]:
    """A pre-training checkpoint as the original saves it: the tied decoder is there, its bias is not."""
    model = OscarForPreTraining(config)
    randomise(model, seed)
    return {key: value.clone() for key, value in model.state_dict().items()}


def test_hidden_states_and_logits_of_text_are_those_of_the_bert_it_started_from(
    tmp_path: Path, make_config: Callable[..., OscarConfig]
) -> None:
    bert = make_bert()
    bert.save_pretrained(tmp_path)
    model = OscarForCaptioning(make_config()).eval()
    report = load_initial_weights(model, tmp_path)
    ids = torch.randint(0, 40, (3, 9), generator=torch.Generator().manual_seed(0))
    real = torch.arange(9) < torch.tensor([9, 5, 7])[:, None]
    segments = (torch.arange(9) > 3).long().expand(3, 9)
    with torch.no_grad():
        theirs = bert(ids, real.long(), segments, output_hidden_states=True)
        hidden = model.bert(ids, None, real, segments)
        logits = model(ids, None, real, segments)
    torch.testing.assert_close(hidden[real], theirs.hidden_states[-1][real], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(logits[real], theirs.logits[real], rtol=1e-5, atol=2e-5)
    assert set(report.new) == {
        "bert.img_embedding.weight",
        "bert.img_embedding.bias",
        "bert.LayerNorm.weight",
        "bert.LayerNorm.bias",
        "bert.pooler.dense.weight",
        "bert.pooler.dense.bias",
    }
    assert set(report.copied) | set(report.new) | set(report.tied) == set(model.state_dict())
    assert "new: bert.img_embedding.weight (BERT has no regions)" in str(report).splitlines()


def test_pickled_fp16_weights_with_old_names_load_as_fp32(
    tmp_path: Path, make_config: Callable[..., OscarConfig]
) -> None:
    state = {}
    for key, value in make_bert().half().state_dict().items():
        name = key.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")
        state[f"module.{name}"] = value
    state["module.bert.embeddings.position_ids"] = torch.arange(64)[None]
    state["module.cls.seq_relationship.weight"] = torch.zeros(2, 32)
    torch.save(state, tmp_path / "pytorch_model.bin")
    model = OscarForPreTraining(make_config())
    report = load_initial_weights(model, tmp_path)
    assert all(value.dtype == torch.float32 for value in model.state_dict().values())
    norm = model.bert.embeddings.LayerNorm.weight
    assert torch.equal(norm, state["module.bert.embeddings.LayerNorm.gamma"].float())
    assert report.dropped == {
        "cls.predictions.decoder.bias": "the same as cls.predictions.bias",
        "cls.predictions.decoder.weight": "the same as the word embeddings",
        "bert.embeddings.position_ids": "counted anew in every forward",
        "cls.seq_relationship.weight": "BERT's next-sentence head, another task than the match head",
    }


def test_a_bert_without_heads_leaves_the_word_head_new(
    tmp_path: Path, make_config: Callable[..., OscarConfig]
) -> None:
    BertModel(BertConfig(**BERT_SIZES)).save_pretrained(tmp_path)
    model = OscarForCaptioning(make_config())
    report = load_initial_weights(model, tmp_path)
    assert report.new["cls.predictions.bias"] == "saved without a word head"
    assert report.tied == ("cls.predictions.decoder.weight",)
    assert "bert.pooler.dense.weight" in report.copied


def test_an_oscar_checkpoint_brings_regions_and_match_head(
    tmp_path: Path, make_config: Callable[..., OscarConfig]
) -> None:
    config = make_config(num_contrast_classes=3)
    state = oscar_state(config)
    torch.save(state, tmp_path / "pytorch_model.bin")
    model = OscarForPreTraining(config)
    report = load_initial_weights(model, tmp_path)
    assert not report.new
    for key, value in model.state_dict().items():
        assert torch.equal(value, state[key]), key
    captioner = OscarForCaptioning(config)
    report = load_initial_weights(captioner, tmp_path)
    assert report.dropped["cls.seq_relationship.bias"] == "the model has no match head"
    two_way = OscarForPreTraining(make_config(num_contrast_classes=2))
    report = load_initial_weights(two_way, tmp_path)
    assert report.dropped["cls.seq_relationship.bias"] == "has 3 contrast classes, the model 2"
    assert report.new["cls.seq_relationship.bias"] == "no match head of this kind in the file"


def test_a_decoder_of_its_own_needs_an_untied_model(
    tmp_path: Path, make_config: Callable[..., OscarConfig]
) -> None:
    state = oscar_state(make_config())
    state["cls.predictions.decoder.weight"] = state["cls.predictions.decoder.weight"] + 1
    torch.save(state, tmp_path / "pytorch_model.bin")
    with pytest.raises(ConversionError, match="but the model ties them; build it with tie_word_embeddings=F"):
        load_initial_weights(OscarForCaptioning(make_config()), tmp_path)
    model = OscarForCaptioning(make_config(tie_word_embeddings=False))
    load_initial_weights(model, tmp_path)
    assert torch.equal(model.cls.predictions.decoder.weight, state["cls.predictions.decoder.weight"])


def test_an_untied_model_starts_its_decoder_from_the_word_embeddings_of_a_tied_file(
    tmp_path: Path, make_config: Callable[..., OscarConfig]
) -> None:
    bert = make_bert()
    bert.save_pretrained(tmp_path)
    model = OscarForCaptioning(make_config(tie_word_embeddings=False))
    load_initial_weights(model, tmp_path)
    assert torch.equal(model.cls.predictions.decoder.weight, bert.bert.embeddings.word_embeddings.weight)


def broken_states(config: OscarConfig) -> dict[str, tuple[dict[str, Tensor], str]]:
    """Name -> (checkpoint, what is said of it)."""
    whole = oscar_state(config)
    no_layer = {key: value for key, value in whole.items() if ".layer.2." not in key}
    no_norm = {key: value for key, value in whole.items() if not key.startswith("bert.LayerNorm")}
    words = {key: value[:39] if value.shape[:1] == (40,) else value for key, value in whole.items()}
    short = {**whole, "bert.embeddings.position_embeddings.weight": torch.zeros(50, 32)}
    other_bias = {**whole, "cls.predictions.decoder.bias": torch.ones(40)}
    return {
        "unknown key": (
            {**whole, "bert.extra.weight": torch.zeros(1)},
            "no place in the model: bert.extra.we",
        ),
        "missing layer": (no_layer, "16 keys of the model are not in it: bert.encoder.layer.2"),
        "missing norm": (no_norm, "2 keys of the model are not in it: bert.LayerNorm.weight"),
        "vocabulary": (words, "its vocabulary has 39 pieces, the model's 40; use the vocab.txt that belongs"),
        "positions": (short, r"position_embeddings.weight is \(50, 32\), the model's is \(64, 32\)"),
        "two biases": (other_bias, "cls.predictions.bias and cls.predictions.decoder.bias differ"),
        "twice": (
            {**whole, "module.cls.predictions.bias": torch.ones(40)},
            "both mean 'cls.predictions.bias'",
        ),
        "no bert": ({"conv.weight": torch.zeros(1)}, "so it is no BERT or Oscar"),
    }


@pytest.mark.parametrize(
    "case",
    [
        "unknown key",
        "missing layer",
        "missing norm",
        "vocabulary",
        "positions",
        "two biases",
        "twice",
        "no bert",
    ],
)
def test_what_is_not_explained_is_refused_and_the_model_stays_as_it_was(
    case: str, tmp_path: Path, make_config: Callable[..., OscarConfig]
) -> None:
    state, message = broken_states(make_config())[case]
    save_file({key: value.contiguous() for key, value in state.items()}, tmp_path / "model.safetensors")
    model = OscarForPreTraining(make_config())
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(ConversionError, match=message):
        load_initial_weights(model, tmp_path)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


class Bomb:
    """Runs a command when an ordinary unpickler meets it."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("exploded",)


def test_a_pickle_that_would_run_code_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_config: Callable[..., OscarConfig]
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"bert.x": Bomb()}, tmp_path / "pytorch_model.bin")
    with pytest.raises(ConversionError, match="may run code when unpickled; it is refused"):
        load_initial_weights(OscarForCaptioning(make_config()), tmp_path)
    assert not (tmp_path / "exploded").exists()


def test_a_folder_without_whole_weights_is_refused(
    tmp_path: Path, make_config: Callable[..., OscarConfig]
) -> None:
    model = OscarForCaptioning(make_config())
    with pytest.raises(ConversionError, match="found no folder"):
        load_initial_weights(model, tmp_path / "nowhere")
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(ConversionError, match=r"wanted model.safetensors or .*found \['config.json'\]"):
        load_initial_weights(model, tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0truncated")
    with pytest.raises(ConversionError, match="cannot be read as weights .*; fetch the file again"):
        load_initial_weights(model, tmp_path)

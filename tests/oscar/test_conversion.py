"""Folders of other projects, built here in their published forms."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import BertConfig, BertForMaskedLM, BertModel

from oscar.configuration import SPECIAL_IDS, OscarConfig
from oscar.conversion import model_class, oscar_config
from oscar.keys import KeyReport, load_weights
from oscar.modeling import OscarForCaptioning, OscarForPreTraining, OscarForRetrieval
from oscar.published import ConversionError, read_published
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
    )
}
IDS = {field: SIZES[field] for field in SPECIAL_IDS}
VINVL_CONFIG = {
    **BERT_SIZES,
    "attention_probs_dropout_prob": 0.1,
    "drop_worst_after": 20000,
    "drop_worst_ratio": 0.2,
    "finetuning_task": "image_captioning",
    "freeze_embedding": True,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "img_feature_dim": 14,
    "img_feature_type": "frcnn",
    "img_layer_norm_eps": 1e-12,
    "initializer_range": 0.02,
    "is_bert": True,
    "label_smoothing": 0.1,
    "layer_norm_eps": 1e-12,
    "loss_type": "sfmx",
    "num_contrast_classes": 3,
    "num_labels": 2,
    "output_attentions": False,
    "output_hidden_states": False,
    "pruned_heads": {},
    "tie_weights": True,
    "torchscript": False,
    "type_vocab_size": 2,
    "use_img_layernorm": 1,
}
"""The fields of a released VinVL captioner's config.json, with our tiny sizes."""
MENGZI_FIELDS = {"bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 1, "torch_dtype": "float16"}
"""What Mengzi's configurations carry from RoBERTa, and their number type."""


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


def captioner_state(config: OscarConfig) -> dict[str, Tensor]:
    state = oscar_state(config).items()
    return {key: value for key, value in state if "seq_relationship" not in key}


def publish(
    folder: Path, state: Mapping[str, Tensor], settings: Mapping[str, Any], name: str = "pytorch_model.bin"
) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(settings), encoding="utf-8")
    if name.endswith(".safetensors"):
        save_file({key: value.contiguous() for key, value in state.items()}, folder / name)
    else:
        torch.save(dict(state), folder / name)
    return folder


def load(
    folder: Path,
    kind: type[OscarForCaptioning] | type[OscarForPreTraining] = OscarForCaptioning,
    **changes: Any,
) -> tuple[OscarForCaptioning | OscarForPreTraining, KeyReport]:
    """The whole path: read, configure, build, load."""
    source = read_published(folder)
    model = kind(oscar_config(source, IDS, **{"max_caption_pieces": 12, **changes})).eval()
    return model, load_weights(model, source)


def test_states_of_every_layer_and_logits_of_text_are_those_of_the_bert_it_started_from(
    tmp_path: Path,
) -> None:
    bert = make_bert()
    bert.save_pretrained(tmp_path)
    model, report = load(tmp_path)
    ids = torch.randint(0, 40, (3, 9), generator=torch.Generator().manual_seed(0))
    real = torch.arange(9) < torch.tensor([9, 5, 7])[:, None]
    segments = (torch.arange(9) > 3).long().expand(3, 9)
    states: list[Tensor] = []
    for layer in model.bert.encoder.layers:
        layer.register_forward_hook(lambda _module, _inputs, output: states.append(output))
    with torch.no_grad():
        theirs = bert(ids, real.long(), segments, output_hidden_states=True)
        logits = model(ids, None, real, segments)
    assert len(states) == BERT_SIZES["num_hidden_layers"]
    for ours, wanted in zip(states, theirs.hidden_states[1:], strict=True):
        torch.testing.assert_close(ours[real], wanted[real], rtol=1e-5, atol=1e-5)
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


def test_the_pooled_vector_is_that_of_the_bert_it_started_from(tmp_path: Path) -> None:
    bert = BertModel(BertConfig(**BERT_SIZES)).eval()
    randomise(bert, seed=9)
    bert.save_pretrained(tmp_path)
    model, report = load(tmp_path)
    ids = torch.arange(18).view(2, 9)
    with torch.no_grad():
        hidden = model.bert(ids)
        torch.testing.assert_close(model.bert.pooled(hidden), bert(ids).pooler_output, rtol=1e-5, atol=1e-5)
    assert report.new["cls.predictions.bias"] == "saved without a word head"
    assert report.tied == ("cls.predictions.decoder.weight",)


def test_pickled_fp16_weights_with_old_names_load_as_fp32_with_the_ids_of_the_vocabulary(
    tmp_path: Path,
) -> None:
    state = {}
    for key, value in make_bert().half().state_dict().items():
        name = key.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")
        state[f"module.{name}"] = value
    state["module.bert.embeddings.position_ids"] = torch.arange(64)[None]
    state["module.cls.seq_relationship.weight"] = torch.zeros(2, 32)
    publish(tmp_path, state, {**BERT_SIZES, **MENGZI_FIELDS})
    model, report = load(tmp_path, OscarForPreTraining)
    assert all(value.dtype == torch.float32 for value in model.state_dict().values())
    assert model.config.dtype in (None, torch.float32)
    assert {field: getattr(model.config, field) for field in IDS} == IDS
    assert model.bert.embeddings.word_embeddings.padding_idx == IDS["pad_token_id"]
    norm = model.bert.embeddings.LayerNorm.weight
    assert torch.equal(norm, state["module.bert.embeddings.LayerNorm.gamma"].float())
    assert report.copied["bert.embeddings.LayerNorm.weight"] == "module.bert.embeddings.LayerNorm.gamma"
    assert report.dropped == {
        "cls.predictions.decoder.bias": "the same as cls.predictions.bias",
        "cls.predictions.decoder.weight": "the same as the word embeddings",
        "bert.embeddings.position_ids": "counted anew in every forward",
        "cls.seq_relationship.weight": "BERT's next-sentence head, another task than the match head",
    }


def test_a_vinvl_captioner_is_copied_key_by_key(
    tmp_path: Path, make_config: Callable[..., OscarConfig]
) -> None:
    state = captioner_state(make_config())
    model, report = load(publish(tmp_path, state, VINVL_CONFIG))
    assert model.config.use_img_layernorm is True
    assert model.config.tie_word_embeddings is True
    assert not report.new
    assert report.dropped == {"cls.predictions.decoder.weight": "the same as the word embeddings"}
    assert report.copied == {key: key for key in state if "decoder" not in key}
    for key, value in model.state_dict().items():
        assert torch.equal(value, state[key]), key
    told = report.every_key().splitlines()
    assert told[0] == "copied: bert.embeddings.word_embeddings.weight"
    assert len(told) == len(report.copied) + 2


def test_an_oscar_pre_training_checkpoint_brings_its_match_head(
    tmp_path: Path, make_config: Callable[..., OscarConfig]
) -> None:
    state = oscar_state(make_config(num_contrast_classes=3))
    settings = {name: value for name, value in VINVL_CONFIG.items() if name != "tie_weights"}
    publish(tmp_path, state, settings)
    model, report = load(tmp_path, OscarForPreTraining)
    assert not report.new
    for key, value in model.state_dict().items():
        assert torch.equal(value, state[key]), key
    _, report = load(tmp_path)
    assert report.dropped["cls.seq_relationship.bias"] == "the model has no match head"
    _, report = load(tmp_path, OscarForPreTraining, num_contrast_classes=2)
    assert report.dropped["cls.seq_relationship.bias"] == "has 3 contrast classes, the model 2"
    assert report.new["cls.seq_relationship.bias"] == "no match head of this kind in the file"


def test_the_rows_of_the_match_head_count_its_classes_whatever_the_configuration_says(
    tmp_path: Path, make_config: Callable[..., OscarConfig]
) -> None:
    for classes in (2, 3):
        state = oscar_state(make_config(num_contrast_classes=classes))
        publish(tmp_path, state, {**VINVL_CONFIG, "num_contrast_classes": 5 - classes})
        model, report = load(tmp_path, OscarForPreTraining)
        assert model.config.num_contrast_classes == classes
        assert "cls.seq_relationship.weight" in report.copied


def test_what_the_first_oscars_configuration_leaves_out_the_weights_say(
    tmp_path: Path, make_config: Callable[..., OscarConfig]
) -> None:
    unsaid = ("tie_weights", "use_img_layernorm", "img_layer_norm_eps", "num_contrast_classes")
    settings = {name: value for name, value in VINVL_CONFIG.items() if name not in unsaid}
    for norm in (True, False):
        for tied in (True, False):
            config = make_config(use_img_layernorm=norm, tie_word_embeddings=tied)
            model, report = load(publish(tmp_path, captioner_state(config), settings))
            assert model.config.use_img_layernorm is norm
            assert model.config.tie_word_embeddings is tied
            assert not report.new


def test_a_decoder_of_its_own_stays_so(tmp_path: Path, make_config: Callable[..., OscarConfig]) -> None:
    state = captioner_state(make_config())
    state["cls.predictions.decoder.weight"] = state["cls.predictions.decoder.weight"] + 1
    model, _ = load(publish(tmp_path, state, {**VINVL_CONFIG, "tie_weights": False}))
    assert torch.equal(model.cls.predictions.decoder.weight, state["cls.predictions.decoder.weight"])
    model.save_pretrained(tmp_path / "ours")
    again = OscarForCaptioning.from_pretrained(tmp_path / "ours")
    assert torch.equal(again.cls.predictions.decoder.weight, state["cls.predictions.decoder.weight"])
    publish(tmp_path, state, VINVL_CONFIG)
    with pytest.raises(ConversionError, match="but the model ties them; build it with tie_word_embeddings=F"):
        load(tmp_path)


def test_an_untied_model_starts_its_decoder_from_the_word_embeddings_of_a_tied_file(tmp_path: Path) -> None:
    bert = make_bert()
    bert.save_pretrained(tmp_path)
    model, report = load(tmp_path, tie_word_embeddings=False)
    assert torch.equal(model.cls.predictions.decoder.weight, bert.bert.embeddings.word_embeddings.weight)
    assert report.copied["cls.predictions.decoder.weight"] == "bert.embeddings.word_embeddings.weight"


def test_a_region_embedder_nested_by_mmf_is_found(
    tmp_path: Path, make_config: Callable[..., OscarConfig]
) -> None:
    state = captioner_state(make_config())
    nested = {"bert.img_embedding.": "bert.img_embedding.0.", "bert.LayerNorm.": "bert.img_embedding.1."}
    renamed = {}
    for key, value in state.items():
        for ours, theirs in nested.items():
            key = key.replace(ours, theirs)
        renamed[key] = value
    assert "bert.img_embedding.1.bias" in renamed
    model, report = load(publish(tmp_path, renamed, VINVL_CONFIG))
    assert torch.equal(model.bert.LayerNorm.bias, state["bert.LayerNorm.bias"])
    assert report.copied["bert.LayerNorm.bias"] == "bert.img_embedding.1.bias"
    bare = {key.removeprefix("bert."): value for key, value in renamed.items() if key.startswith("bert.")}
    model, report = load(publish(tmp_path, bare, VINVL_CONFIG))
    assert report.copied["bert.img_embedding.weight"] == "img_embedding.0.weight"


def test_weights_split_over_several_files_are_joined(
    tmp_path: Path, make_config: Callable[..., OscarConfig]
) -> None:
    state = captioner_state(make_config())
    publish(tmp_path / "whole", state, VINVL_CONFIG)
    whole, _ = load(tmp_path / "whole")
    for name in ("model.safetensors", "pytorch_model.bin"):
        folder, keys = tmp_path / name, sorted(state)
        place: dict[str, str] = {}
        for number, part in enumerate((keys[::2], keys[1::2])):
            file = name.replace(".", f"-0000{number + 1}-of-00002.")
            publish(folder, {key: state[key] for key in part}, VINVL_CONFIG, file)
            place |= dict.fromkeys(part, file)
        index = folder / f"{name}.index.json"
        index.write_text(json.dumps({"metadata": {}, "weight_map": place}), encoding="utf-8")
        model, _ = load(folder)
        for key, value in model.state_dict().items():
            assert torch.equal(value, whole.state_dict()[key]), key
        for broken, message in (
            ({**place, "bert.more": file}, "it and its files disagree about bert.more"),
            ({**place, keys[0]: "../other.bin"}, "names '../other.bin', which is no file beside it"),
            ({**place, keys[0]: "/etc/hostname"}, "which is no file beside it"),
            (None, "has no weight_map"),
        ):
            index.write_text(json.dumps({"weight_map": broken}), encoding="utf-8")
            with pytest.raises(ConversionError, match=message):
                read_published(folder)


def test_weights_trained_on_height_before_width_give_the_same_on_width_before_height(
    tmp_path: Path, make_config: Callable[..., OscarConfig]
) -> None:
    source = read_published(publish(tmp_path, captioner_state(make_config()), VINVL_CONFIG))
    config = oscar_config(source, IDS, max_caption_pieces=12)
    as_is, swapped = (OscarForCaptioning(config).eval() for _ in range(2))
    load_weights(as_is, source)
    load_weights(swapped, source.with_sides_swapped())
    regions = torch.rand(2, 5, 14, generator=torch.Generator().manual_seed(0))
    height_first = regions[..., [*range(12), 13, 12]]
    with torch.no_grad():
        ours, theirs = swapped.bert.embed_regions(regions), as_is.bert.embed_regions(height_first)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)


def broken_states(config: OscarConfig) -> dict[str, tuple[dict[str, Tensor], str]]:
    """Name -> (checkpoint, what is said of it)."""
    whole = oscar_state(config)
    no_layer = {key: value for key, value in whole.items() if ".layer.2." not in key}
    no_norm = {key: value for key, value in whole.items() if not key.startswith("bert.LayerNorm")}
    words = {key: value[:39] if value.shape[:1] == (40,) else value for key, value in whole.items()}
    short = {**whole, "bert.embeddings.position_embeddings.weight": torch.zeros(50, 32)}
    other_bias = {**whole, "cls.predictions.decoder.bias": torch.ones(40)}
    quantised = {**whole, "bert.pooler.dense.bias": torch.ones(32, dtype=torch.int8)}
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
        "quantised": (quantised, "pooler.dense.bias holds torch.int8; quantised weights"),
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
        "quantised",
        "no bert",
    ],
)
def test_what_is_not_explained_is_refused_and_the_model_stays_as_it_was(
    case: str, tmp_path: Path, make_config: Callable[..., OscarConfig]
) -> None:
    state, message = broken_states(make_config())[case]
    source = read_published(publish(tmp_path, state, VINVL_CONFIG, "model.safetensors"))
    model = OscarForPreTraining(make_config())
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(ConversionError, match=message):
        load_weights(model, source)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "roberta"}, "model_type is 'roberta'; wanted a BERT or an Oscar"),
        ({"img_feature_type": "dis_code"}, "regions as discrete codes"),
        ({"hidden_act": "gelu_fancy"}, "hidden_act is 'gelu_fancy'; no such activation"),
        ({"type_vocab_size": 1}, "type_vocab_size is 1; object tags need a second segment"),
        ({"position_embedding_type": "relative_key"}, "absolute positions"),
        ({"pruned_heads": {"0": [1]}}, "pruned attention heads"),
        ({"is_decoder": True}, "bidirectional encoder"),
        ({"hidden_size": 30}, "hidden_size 30 is not a multiple of num_attention_heads 4"),
        ({"hidden_size": None}, "hidden_size"),
    ],
)
def test_a_configuration_of_another_model_is_refused(
    change: dict[str, Any], message: str, tmp_path: Path, make_config: Callable[..., OscarConfig]
) -> None:
    publish(tmp_path, captioner_state(make_config()), {**VINVL_CONFIG, **change})
    with pytest.raises(ConversionError, match=message):
        load(tmp_path)


def test_a_configuration_without_sizes_names_them(
    tmp_path: Path, make_config: Callable[..., OscarConfig]
) -> None:
    settings = {name: value for name, value in VINVL_CONFIG.items() if name != "num_hidden_layers"}
    publish(tmp_path, captioner_state(make_config()), settings)
    with pytest.raises(ConversionError, match=r"config.json: lacks num_hidden_layers, so it is no BERT"):
        load(tmp_path)


def test_a_retrieval_checkpoint_keeps_its_classifier_and_no_other_task_does(
    tmp_path: Path, make_config: Callable[..., OscarConfig]
) -> None:
    trunk = {key: value for key, value in captioner_state(make_config()).items() if key.startswith("bert.")}
    head = {"classifier.weight": torch.rand(2, 32), "classifier.bias": torch.rand(2)}
    source = read_published(publish(tmp_path, trunk | head, VINVL_CONFIG))
    assert model_class(source) is OscarForRetrieval
    model = OscarForRetrieval(oscar_config(source, IDS, max_caption_pieces=12))
    report = load_weights(model, source)
    assert (report.new, report.dropped, report.tied) == ({}, {}, ())
    assert torch.equal(model.classifier.weight, head["classifier.weight"])
    questions = {"classifier.0.weight": torch.rand(64, 32), "classifier.3.weight": torch.rand(2, 64)}
    source = read_published(publish(tmp_path, trunk | questions, VINVL_CONFIG))
    assert model_class(source) is OscarForCaptioning
    report = load_weights(OscarForCaptioning(oscar_config(source, IDS, max_caption_pieces=12)), source)
    assert report.dropped["classifier.0.weight"] == "the head of another task"
    assert report.new["cls.predictions.bias"] == "saved without a word head"
    source = read_published(publish(tmp_path, captioner_state(make_config()), VINVL_CONFIG))
    report = load_weights(OscarForRetrieval(oscar_config(source, IDS, max_caption_pieces=12)), source)
    assert report.dropped["cls.predictions.bias"] == "the model has no word head"
    assert set(report.new) == set(head)

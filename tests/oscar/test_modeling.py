"""What is saved comes back; the heads read what they should."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from transformers import (
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForPreTraining,
    AutoModelForSequenceClassification,
    BertConfig,
    BertForSequenceClassification,
)

from oscar.backbone import OscarModel, OscarPreTrainedModel
from oscar.configuration import OscarConfig
from oscar.modeling import OscarForCaptioning, OscarForPreTraining, OscarForRetrieval
from tests.oscar.conftest import randomise
from tests.oscar.small_pictures import Pictures

MakeConfig = Callable[..., OscarConfig]


AUTO: dict[type[OscarPreTrainedModel], Any] = {
    OscarModel: AutoModel,
    OscarForCaptioning: AutoModelForMaskedLM,
    OscarForPreTraining: AutoModelForPreTraining,
    OscarForRetrieval: AutoModelForSequenceClassification,
}


@pytest.mark.parametrize("kind", AUTO)
@pytest.mark.parametrize("tied", [True, False])
def test_transformers_own_classes_read_back_every_saved_model_whole_and_tied_as_it_was(
    tied: bool, kind: type[OscarPreTrainedModel], tmp_path: Path, make_config: MakeConfig
) -> None:
    model = kind(make_config(tie_word_embeddings=tied, use_img_layernorm=tied))
    randomise(model, seed=2)
    model.save_pretrained(tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == {"config.json", "model.safetensors"}
    again, told = AUTO[kind].from_pretrained(tmp_path, output_loading_info=True)
    assert type(again) is kind
    assert not told["missing_keys"]
    assert not told["unexpected_keys"]
    assert not again.training
    assert again.config.to_diff_dict() == model.config.to_diff_dict()
    state = again.state_dict()
    assert state.keys() == model.state_dict().keys()
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    if again.get_output_embeddings() is not None:
        words = again.get_input_embeddings().weight
        assert (again.get_output_embeddings().weight is words) == tied


def test_a_model_without_a_head_is_read_from_the_folder_of_one_with(
    tmp_path: Path, make_config: MakeConfig
) -> None:
    model = OscarForCaptioning(make_config())
    model.save_pretrained(tmp_path)
    bare = AutoModel.from_pretrained(tmp_path)
    assert type(bare) is OscarModel
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
    retrieval = set(OscarForRetrieval(make_config(num_hidden_layers=1)).state_dict())
    bert = {name for name in names if name.startswith("bert.")}
    assert retrieval == bert | {"classifier.weight", "classifier.bias"}


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


def test_retrieval_is_bert_classifying_the_pooled_first_position(make_config: MakeConfig) -> None:
    config = make_config(hidden_dropout_prob=0.5, attention_probs_dropout_prob=0.0)
    ours = OscarForRetrieval(config).eval()
    randomise(ours, seed=3)
    theirs = BertForSequenceClassification(BertConfig(**config.to_diff_dict())).eval()
    told = theirs.load_state_dict(ours.state_dict(), strict=False)
    assert not told.missing_keys
    ids, real = torch.randint(5, 40, (3, 8)), torch.arange(8) < torch.tensor([8, 5, 2])[:, None]
    segments = (torch.arange(8) > 3).long()[None].expand(3, -1)
    logits = ours(ids, None, real, segments)
    wanted = theirs(ids, real.long(), segments).logits
    torch.testing.assert_close(logits, wanted, rtol=1e-5, atol=1e-5)

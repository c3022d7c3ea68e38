"""Equality with the original Oscar code, on outputs recorded from it.

The folder GOLDEN_DIR (default: tests/golden) holds one folder a case; every size is read from the case.
"""

import json
import os
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from oscar.backbone import Prefix
from oscar.conversion import oscar_config
from oscar.keys import load_weights
from oscar.modeling import OscarForCaptioning, OscarForPreTraining
from oscar.objectives import (
    contrast_loss,
    drop_worst_share,
    masked_token_loss,
    masked_tokens,
    self_critical_loss,
)
from oscar.published import read_published

GOLDEN = Path(os.environ.get("GOLDEN_DIR", Path(__file__).parents[1] / "golden"))
CAPTION_CASES = sorted(path.parent.name for path in GOLDEN.glob("caption_*/train_outputs.safetensors"))
PRETRAIN_CASES = sorted(path.parent.name for path in GOLDEN.glob("pretrain_*/outputs.safetensors"))
GRADIENT_CASES = sorted(path.parent.name for path in GOLDEN.glob("caption_*/grads.safetensors"))
SCST_CASES = sorted(path.parent.name for path in GOLDEN.glob("scst*/scst.json"))
TOLERANCE = {"rtol": 1e-4, "atol": 1e-4}


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


@cache
def captioner(case: str) -> OscarForCaptioning:
    meta, source = read_json(GOLDEN / case / "meta.json"), read_published(GOLDEN / case)
    ids = {f"{name}_token_id": token_id for name, token_id in meta["token_ids"].items()}
    config = oscar_config(source, ids, max_caption_pieces=meta["max_seq_a_length"])
    model = OscarForCaptioning(config).eval()
    assert not load_weights(model, source).new
    return model


def tensors(case: str, name: str) -> dict[str, Tensor]:
    return load_file(GOLDEN / case / f"{name}.safetensors")


def prefix_of(model: OscarForCaptioning, given: dict[str, Tensor]) -> Prefix:
    """Tags and regions of training inputs, encoded apart."""
    text, slots = given["input_ids"].shape[1], model.config.max_caption_pieces
    real = given["attention_mask_2d"].bool()
    return model.bert.encode_prefix(
        given["input_ids"][:, slots:], real[:, slots:text], given["img_feats"], real[:, text:]
    )


@pytest.mark.parametrize("mask", ["2d", "3d"])
@pytest.mark.parametrize("case", CAPTION_CASES)
@torch.no_grad()
def test_captioning_states_logits_and_losses_are_the_originals(case: str, mask: str) -> None:
    model, given, wanted = captioner(case), tensors(case, "train_inputs"), tensors(case, "train_outputs")
    hidden = model.bert(
        given["input_ids"],
        given["img_feats"],
        given[f"attention_mask_{mask}"],
        given["token_type_ids"],
    )
    valid = wanted["valid_rows_3d"].bool() if mask == "3d" else torch.ones(hidden.shape[:2]).bool()
    torch.testing.assert_close(hidden[valid], wanted[f"hidden_last_{mask}"][valid], **TOLERANCE)
    torch.testing.assert_close(model.bert.pooled(hidden), wanted[f"pooled_{mask}"], **TOLERANCE)
    if f"masked_logits_{mask}" not in wanted:  # large vocabularies: recorded for one mask alone
        return
    logits = model(
        given["input_ids"],
        given["img_feats"],
        given[f"attention_mask_{mask}"],
        given["token_type_ids"],
        rows=given["masked_pos"].bool(),
    )
    torch.testing.assert_close(logits, wanted[f"masked_logits_{mask}"], **TOLERANCE)
    targets = given["masked_ids"][given["masked_ids"] != 0]
    for name, recorded in read_json(GOLDEN / case / "meta.json")["losses"].items():
        of_mask, smoothing, drop_worst, *calls = name.split("_")
        if of_mask == mask:
            after = int(calls[0].removeprefix("after")) if calls else 0
            for step, loss in enumerate(recorded if calls else [recorded]):
                share = drop_worst_share(float(drop_worst[2:]), after, step)
                got = masked_token_loss(logits, targets, float(smoothing[2:]), share)
                assert got.item() == pytest.approx(loss, rel=1e-5), (name, step)


@pytest.mark.parametrize("way", ["whole sequences", "captions before a prefix"])
@pytest.mark.parametrize("case", GRADIENT_CASES)
def test_gradients_of_captioning_are_the_originals(case: str, way: str) -> None:
    model, given = captioner(case), tensors(case, "train_inputs")
    meta, wanted = read_json(GOLDEN / case / "meta.json"), tensors(case, "grads")
    masked = given["masked_pos"].bool()
    if way == "whole sequences":
        mask, segments = given["attention_mask_3d"], given["token_type_ids"]
        logits = model(given["input_ids"], given["img_feats"], mask, segments, rows=masked)
    else:
        slots = model.config.max_caption_pieces
        assert not masked[:, slots:].any()
        stream = masked_tokens(given["input_ids"][:, :slots])
        states = model.bert.read_prefix(
            prefix_of(model, given),
            stream.input_ids,
            stream.position_ids,
            stream.self_mask,
            rows=masked[:, :slots],
        )
        logits = model.word_logits(states)
    loss = masked_token_loss(logits, given["masked_ids"][given["masked_ids"] != 0], label_smoothing=0.1)
    assert loss.item() == pytest.approx(meta["grad_loss"], rel=1e-5)
    model.zero_grad()
    loss.backward()
    without = [name for name, parameter in model.named_parameters() if parameter.grad is None]
    assert sorted(without) == sorted(meta["params_without_grad"])
    gradients = {name: model.get_parameter(name).grad for name in wanted}
    torch.testing.assert_close(gradients, wanted, **TOLERANCE)
    norm = clip_grad_norm_(model.parameters(), max_norm=torch.inf)
    assert norm.item() == pytest.approx(meta["grad_total_norm"], rel=1e-5)


@pytest.mark.parametrize("case", CAPTION_CASES)
@torch.no_grad()
def test_captions_before_a_prefix_are_in_the_originals_states(case: str) -> None:
    model, given, wanted = captioner(case), tensors(case, "train_inputs"), tensors(case, "train_outputs")
    slots = model.config.max_caption_pieces
    hidden = model.bert.read_prefix(
        prefix_of(model, given),
        given["input_ids"][:, :slots],
        torch.arange(slots)[None],
        torch.ones(1, slots, slots, dtype=torch.bool).tril(),
    )
    valid = wanted["valid_rows_3d"][:, :slots].bool()
    torch.testing.assert_close(hidden[valid], wanted["hidden_last_3d"][:, :slots][valid], **TOLERANCE)


@pytest.mark.parametrize("case", CAPTION_CASES)
@torch.no_grad()
def test_logits_of_a_step_of_greedy_decoding_are_the_originals(case: str) -> None:
    model, steps = captioner(case), tensors(case, "greedy_steps")
    features = tensors(case, "train_inputs")["img_feats"]
    recorded = [key.removesuffix("_next_logits") for key in steps if key.endswith("_next_logits")]
    recorded = [name for name in recorded if f"{name}_input_ids" in steps]
    assert recorded
    for name in recorded:
        hidden = model.bert(
            steps[f"{name}_input_ids"],
            features,
            steps[f"{name}_attention_mask"],
            steps[f"{name}_token_type_ids"],
            steps[f"{name}_position_ids"],
        )
        masked = int(name.removeprefix("step")) + 1
        logits = model.word_logits(hidden[:, masked])
        torch.testing.assert_close(logits, steps[f"{name}_next_logits"], **TOLERANCE)


@pytest.mark.parametrize("case", PRETRAIN_CASES)
def test_pre_training_states_logits_losses_and_gradients_are_the_originals(case: str) -> None:
    given, wanted = tensors(case, "inputs"), tensors(case, "outputs")
    meta = read_json(GOLDEN / case / "meta.json")
    ids = {"pad": 0, "unk": 1, "cls": 2, "sep": 3, "mask": 4}  # the forward uses the first alone
    source = read_published(GOLDEN / case)
    config = oscar_config(
        source,
        {f"{name}_token_id": token_id for name, token_id in ids.items()},
        max_caption_pieces=meta["max_seq_length"],
    )
    model = OscarForPreTraining(config).eval()
    assert model.config.num_contrast_classes == meta["num_classes"]
    assert not load_weights(model, source).new
    text = given["input_ids"].shape[1]
    labels = given["masked_lm_labels"][:, :text]
    inputs = (given["input_ids"], given["img_feats"], given["attention_mask"], given["token_type_ids"])
    hidden = model.bert(*inputs)
    real = given["attention_mask"].bool()
    torch.testing.assert_close(hidden[real], wanted["hidden_last"][real], **TOLERANCE)
    output = model(*inputs, rows=labels != -1)
    torch.testing.assert_close(output.word_logits, wanted["masked_prediction_scores"], **TOLERANCE)
    torch.testing.assert_close(output.match_logits, wanted["seq_relationship_score"], **TOLERANCE)
    words = masked_token_loss(output.word_logits, labels[labels != -1])
    match = contrast_loss(output.match_logits, given["next_sentence_label"])
    assert words.item() == pytest.approx(meta["masked_lm_loss"], rel=1e-5)
    assert match.item() == pytest.approx(meta["next_sentence_loss"], rel=1e-5)
    loss = words + match
    assert loss.item() == pytest.approx(meta["total_loss"], rel=1e-5)
    loss.backward()
    norms = {name: p.grad.norm().item() for name, p in model.named_parameters() if p.grad is not None}
    assert norms == pytest.approx(meta["grad_norms"], rel=1e-4, abs=1e-4)
    norm = clip_grad_norm_(model.parameters(), max_norm=torch.inf)
    assert norm.item() == pytest.approx(meta["grad_total_norm"], rel=1e-5)


@pytest.mark.parametrize("case", SCST_CASES)
def test_self_critical_losses_of_given_scores_are_the_originals(case: str) -> None:
    recorded = [run for run in read_json(GOLDEN / case / "scst.json") if run["kind"] == "given_scores"]
    assert recorded
    for number, run in enumerate(recorded):
        shape = run["batch"], run["samples_per_image"]
        log_probs = torch.tensor(run["sample_logprobs"]).reshape(shape).requires_grad_()
        rewards = torch.tensor(run["sample_scores"], dtype=torch.float64).reshape(shape)
        greedy = run["baseline"] == "greedy"
        baseline = torch.tensor(run["greedy_scores"], dtype=torch.float64) if greedy else None
        loss = self_critical_loss(log_probs, rewards, baseline)
        loss.backward()
        assert loss.item() == pytest.approx(run["loss"], rel=1e-5), number
        assert log_probs.grad is not None
        wanted = torch.tensor(run["grad_wrt_logprobs"]).reshape(shape)
        torch.testing.assert_close(log_probs.grad, wanted, rtol=1e-5, atol=1e-7)
        assert rewards.mean().item() == pytest.approx(run["get_score"], rel=1e-5), number

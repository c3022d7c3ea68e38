"""The command, on folders of the published forms and on recorded folders of the original."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModel, BertConfig, BertForMaskedLM

from captioning.captioner import Captioner
from captioning.checkpoints import CheckpointError, read_captioner, verify_checkpoint
from captioning.convert import main
from captioning.runs import prepare
from captioning.tokenizer import CaptionTokenizer
from features.store import write_shard
from oscar.configuration import OscarConfig
from oscar.modeling import OscarForCaptioning, OscarForPreTraining
from tests.captioning.small_captioner import LEXICON, META, WIDTH, small_regions
from tests.captioning.small_run import small_config
from tests.oscar.conftest import randomise
from tests.oscar.test_published import Bomb

GOLDEN = Path(os.environ.get("GOLDEN_DIR", Path(__file__).parents[1] / "golden"))
WITH_VOCABULARY = sorted(path.parent.name for path in GOLDEN.glob("*/vocab.txt"))
CAPTION_CASES = [name for name in WITH_VOCABULARY if (GOLDEN / name / "train_outputs.safetensors").is_file()]
PRETRAIN_CASES = [name for name in WITH_VOCABULARY if (GOLDEN / name / "outputs.safetensors").is_file()]
WITHOUT_VOCABULARY = sorted(
    path.parent.name
    for path in GOLDEN.glob("caption_*/pytorch_model.bin")
    if path.parent.name not in WITH_VOCABULARY
)
TOLERANCE = {"rtol": 1e-4, "atol": 1e-4}
TOKENIZER = CaptionTokenizer.build(["一只狗在草地上奔跑。"], LEXICON.english)
SIZES = {
    "vocab_size": len(TOKENIZER),
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 80,
}


def write_mengzi_oscar(folder: Path, kind: Any = OscarForCaptioning, **settings: Any) -> Path:
    """A folder like Mengzi-Oscar's: half-precision pickle, RoBERTa's ids, no tokenizer configuration."""
    folder.mkdir()
    TOKENIZER.save(folder)
    (folder / "special_tokens_map.json").write_text("{}", encoding="utf-8")
    (folder / "added_tokens.json").write_text("{}", encoding="utf-8")
    values = {
        **SIZES,
        "bos_token_id": 0,
        "eos_token_id": 2,
        "pad_token_id": 1,
        "torch_dtype": "float16",
        "model_type": "bert",
        "img_feature_dim": WIDTH + 6,
        "img_feature_type": "faster_r-cnn",
        "img_layer_norm_eps": 1e-12,
        "num_contrast_classes": 3,
        "use_img_layernorm": 1,
        **settings,
    }
    (folder / "config.json").write_text(json.dumps(values), encoding="utf-8")
    ids = {f"{name}_token_id": getattr(TOKENIZER, f"{name}_id") for name in ("unk", "cls", "sep", "mask")}
    model = kind(OscarConfig(**SIZES, img_feature_dim=WIDTH + 6, pad_token_id=TOKENIZER.pad_id, **ids))
    randomise(model, seed=3)
    torch.save(model.half().state_dict(), folder / "pytorch_model.bin")
    return folder


def write_regions(path: Path) -> Path:
    """Regions without whole-picture vectors, as VinVL's are."""
    pictures = [small_regions(name) for name in ("a.jpg", "b.jpg")]
    for picture in pictures:
        object.__setattr__(picture, "global_feature", None)
    write_shard(path, pictures, META, {})
    return path


def report_of(folder: Path) -> dict[str, Any]:
    values: dict[str, Any] = json.loads((folder / "conversion.json").read_text(encoding="utf-8"))
    return values


@pytest.mark.skipif(not CAPTION_CASES, reason="no recorded captioner with a vocabulary")
@pytest.mark.parametrize("case", CAPTION_CASES)
@torch.no_grad()
def test_a_converted_captioner_gives_the_originals_logits(case: str, tmp_path: Path) -> None:
    meta = json.loads((GOLDEN / case / "meta.json").read_text(encoding="utf-8"))
    slots = f"--max_caption_pieces={meta['max_seq_a_length']}"
    assert main([str(GOLDEN / case), str(tmp_path / "ours"), slots]) == 0
    model = OscarForCaptioning.from_pretrained(tmp_path / "ours").eval()
    given = load_file(GOLDEN / case / "train_inputs.safetensors")
    wanted = load_file(GOLDEN / case / "train_outputs.safetensors")
    recorded = [mask for mask in ("2d", "3d") if f"masked_logits_{mask}" in wanted]
    assert recorded
    for mask in recorded:
        logits = model(
            given["input_ids"],
            given["img_feats"],
            given[f"attention_mask_{mask}"],
            given["token_type_ids"],
            rows=given["masked_pos"].bool(),
        )
        torch.testing.assert_close(logits, wanted[f"masked_logits_{mask}"], **TOLERANCE)
    ids = {name: getattr(model.config, f"{name}_token_id") for name in meta["token_ids"]}
    assert ids == meta["token_ids"]
    assert report_of(tmp_path / "ours")["keys"]["new"] == {}


@pytest.mark.skipif(not PRETRAIN_CASES, reason="no recorded pre-training checkpoint with a vocabulary")
@pytest.mark.parametrize("case", PRETRAIN_CASES)
@torch.no_grad()
def test_a_converted_pre_training_checkpoint_gives_the_originals_logits(case: str, tmp_path: Path) -> None:
    meta = json.loads((GOLDEN / case / "meta.json").read_text(encoding="utf-8"))
    slots = f"--max_caption_pieces={meta['max_seq_length']}"
    assert main([str(GOLDEN / case), str(tmp_path / "ours"), slots]) == 0
    model = OscarForPreTraining.from_pretrained(tmp_path / "ours").eval()
    given = load_file(GOLDEN / case / "inputs.safetensors")
    wanted = load_file(GOLDEN / case / "outputs.safetensors")
    rows = given["masked_lm_labels"][:, : given["input_ids"].shape[1]] != -1
    inputs = (given["input_ids"], given["img_feats"], given["attention_mask"], given["token_type_ids"])
    output = model(*inputs, rows=rows)
    torch.testing.assert_close(output.word_logits, wanted["masked_prediction_scores"], **TOLERANCE)
    torch.testing.assert_close(output.match_logits, wanted["seq_relationship_score"], **TOLERANCE)


@pytest.mark.skipif(not WITHOUT_VOCABULARY, reason="every recorded captioner has a vocabulary")
@pytest.mark.parametrize("case", WITHOUT_VOCABULARY)
def test_weights_without_their_vocabulary_are_refused(
    case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(GOLDEN / case), str(tmp_path / "ours")]) == 1
    assert "vocab.txt: not found" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@torch.no_grad()
def test_a_converted_mengzi_bert_reads_text_as_before(tmp_path: Path) -> None:
    source = tmp_path / "mengzi-bert"
    bert = BertForMaskedLM(BertConfig(**SIZES, bos_token_id=0, eos_token_id=2, pad_token_id=1))
    randomise(bert, seed=5)
    bert.tie_weights()
    bert.eval().save_pretrained(source)
    TOKENIZER.save(source)
    assert main([str(source), str(tmp_path / "ours")]) == 0
    model = OscarForCaptioning.from_pretrained(tmp_path / "ours").eval()
    ids = torch.arange(20).view(2, 10) + 5
    theirs = bert(ids, output_hidden_states=True)
    torch.testing.assert_close(model.bert(ids), theirs.hidden_states[-1], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(model(ids), theirs.logits, rtol=1e-5, atol=2e-5)
    assert (model.config.pad_token_id, model.config.img_feature_dim) == (TOKENIZER.pad_id, 2054)
    new = report_of(tmp_path / "ours")["keys"]["new"]
    assert new["bert.img_embedding.weight"] == "BERT has no regions"


def test_the_report_accounts_for_every_key_and_says_what_was_decided(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write_mengzi_oscar(tmp_path / "mengzi-oscar", OscarForPreTraining)
    assert main([str(source), str(tmp_path / "ours")]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert (
        "special ids of vocab.txt: [PAD] 0, [UNK] 1, [CLS] 2, [SEP] 3, [MASK] 4; config.json says"
        in printed[0]
    )
    assert "bos_token_id 0, eos_token_id 2, pad_token_id 1, which is not used" in printed[0]
    assert printed[1] == "numbers: float32 (config.json says float16)"
    report, model = report_of(tmp_path / "ours"), OscarForPreTraining.from_pretrained(tmp_path / "ours")
    theirs = torch.load(source / "pytorch_model.bin", weights_only=True)
    keys = report["keys"]
    assert set(keys["copied"].values()) | set(keys["dropped"]) == set(theirs)
    assert set(keys["copied"]) | set(keys["tied"]) | set(keys["new"]) == set(model.state_dict())
    assert all(value.dtype == torch.float32 for value in model.state_dict().values())
    assert sum(line.startswith(("copied: ", "tied: ", "dropped: ")) for line in printed) == len(theirs) + 1
    assert report["model"] == "OscarForPreTraining"
    assert set(report["sha256"]) == {"pytorch_model.bin", "config.json", "vocab.txt"}
    assert report["settings_not_used"]["img_feature_type"] == "faster_r-cnn"
    verify_checkpoint(tmp_path / "ours")
    assert AutoModel.from_pretrained(tmp_path / "ours").config.model_type == "oscar"


def test_a_captioner_told_its_regions_writes_captions(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, regions = write_mengzi_oscar(tmp_path / "source"), write_regions(tmp_path / "regions.h5")
    ours = tmp_path / "ours"
    assert main([str(source), str(ours), f"--regions={regions}", "--prefix.max_tag_pieces=12"]) == 0
    assert "because --regions names it; the source names none" in capsys.readouterr().out
    captioner = Captioner.from_pretrained(ours)
    assert captioner.info.detector.fingerprint == META.fingerprint
    assert captioner.info.prefix.max_tag_pieces == 12
    picture = small_regions("a.jpg")
    object.__setattr__(picture, "global_feature", None)
    assert captioner.caption(picture, max_pieces=4, beam_width=1).text


def test_a_folder_that_names_no_detector_says_how_to_name_one(tmp_path: Path) -> None:
    source = write_mengzi_oscar(tmp_path / "source")
    with pytest.raises(CheckpointError, match=r"converted first: python -m captioning.convert .*--regions"):
        read_captioner(source)
    assert main([str(source), str(tmp_path / "ours")]) == 0
    with pytest.raises(CheckpointError, match=r"no tushuo.json, so it is not known which detector's regions"):
        read_captioner(tmp_path / "ours")
    regions = write_regions(tmp_path / "regions.h5")
    few = "--prefix.max_tag_pieces=30"  # the small models have 80 positions
    assert main([str(tmp_path / "ours"), str(tmp_path / "captioner"), f"--regions={regions}", few]) == 0
    read_captioner(tmp_path / "captioner")


def test_training_starts_from_published_and_from_converted_weights_alike(tmp_path: Path) -> None:
    source = write_mengzi_oscar(tmp_path / "source", OscarForPreTraining)
    assert main([str(source), str(tmp_path / "ours")]) == 0
    runs = [
        prepare(small_config(tmp_path, out=f"run-{init.name}", init=str(init)))
        for init in (source, tmp_path / "ours")
    ]
    published, converted = (run.model.state_dict() for run in runs)
    for key, value in published.items():
        assert torch.equal(value, converted[key]), key
    assert all(
        "dropped: cls.seq_relationship.bias (the model has no match head)" in run.notes for run in runs
    )


def test_height_before_width_is_swapped_in_the_weights_and_said(tmp_path: Path) -> None:
    source = write_mengzi_oscar(tmp_path / "source")
    assert main([str(source), str(tmp_path / "wh")]) == 0
    assert main([str(source), str(tmp_path / "hw"), "--geometry=hw"]) == 0
    name = "bert.img_embedding.weight"
    wh, hw = (load_file(tmp_path / folder / "model.safetensors")[name] for folder in ("wh", "hw"))
    assert torch.equal(hw[:, :-2], wh[:, :-2])
    assert torch.equal(hw[:, -2:], wh[:, -2:].flip(1))
    assert any("after swapping h/H and w/W" in line for line in report_of(tmp_path / "hw")["decided"])


def refused(argv: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """What the command says when it refuses."""
    assert main(argv) == 1
    return capsys.readouterr().err


def test_regions_that_do_not_belong_to_the_weights_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    regions, ours = f"--regions={write_regions(tmp_path / 'regions.h5')}", str(tmp_path / "ours")
    captioner = str(write_mengzi_oscar(tmp_path / "captioner"))
    wide = tmp_path / "globals.h5"
    write_shard(wide, [small_regions("a.jpg")], META, {})
    assert "and no whole-picture vectors" in refused([captioner, ours, f"--regions={wide}"], capsys)
    assert "caption and tags ask for 120 positions, the weights have 80" in refused(
        [captioner, ours, regions, "--max_caption_pieces=60"], capsys
    )
    pretrained = str(write_mengzi_oscar(tmp_path / "pretrained", OscarForPreTraining))
    message = refused([pretrained, ours, regions], capsys)
    assert "but this is none (it holds a OscarForPreTraining); convert without it and train one" in message
    assert not (tmp_path / "ours").exists()


def test_a_vocabulary_of_another_size_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write_mengzi_oscar(tmp_path / "source")
    with (source / "vocab.txt").open("a", encoding="utf-8") as file:
        file.write("[unused1]\n")
    message = refused([str(source), str(tmp_path / "ours")], capsys)
    assert f"{len(TOKENIZER) + 1} pieces, but config.json says vocab_size {len(TOKENIZER)}" in message


def test_a_pickle_that_would_run_code_is_refused_and_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write_mengzi_oscar(tmp_path / "source")
    torch.save({"bert.x": Bomb()}, source / "pytorch_model.bin")
    monkeypatch.chdir(tmp_path)
    assert "may run code when unpickled; it is refused" in refused([str(source), "ours"], capsys)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["source"]


def test_a_folder_is_replaced_only_if_asked_for_and_only_a_models(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    source, ours = write_mengzi_oscar(tmp_path / "source"), tmp_path / "ours"
    assert main([str(source), str(ours)]) == 0
    before = (ours / "manifest.json").read_bytes()
    assert "exists; give another DEST, or --overwrite" in refused([str(source), str(ours)], capsys)
    assert main([str(source), str(ours), "--overwrite"]) == 0
    for precious in (source, tmp_path):
        shutil.copy(ours / "manifest.json", tmp_path / "manifest.json")
        assert "give another DEST" in refused([str(source), str(precious), "--overwrite"], capsys)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("captioning.checkpoints.fsync", full)
    assert "No space left" in refused([str(source), str(ours), "--overwrite"], capsys)
    assert (ours / "manifest.json").read_bytes() == before
    assert not list(tmp_path.glob(".*"))


def test_wrong_usage_ends_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    for argv in ([], ["source"], ["source", "dest", "--geometry=zz"], ["source", "dest", "--layers=3"]):
        with pytest.raises(SystemExit) as ended:
            main(argv)
        assert ended.value.code == 2
    assert "layers" in capsys.readouterr().err

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import captioning.steps
import captioning.validation
from captioning.checkpoints import read_captioner, read_info, read_training_state
from captioning.config import (
    LossConfig,
    Optimizer,
    SourceConfig,
    StageConfig,
    TrainConfig,
    ValidationConfig,
)
from captioning.detector_match import DetectorMismatch
from captioning.parallel import Workers
from captioning.precision import choose_precision, pick_device
from captioning.run_folder import claimed, point, step_folder
from captioning.runs import Resume, differences, plain, prepare, refuse_differences
from captioning.schedule import total_steps
from captioning.step_batches import StepBatches
from captioning.train import main, parser, train
from captioning.trainer import Trainer, TrainingError
from captioning.validation import validate
from captioning.writing import unwritable_ids, write_captions
from features.store import write_shard
from oscar.decoding import generate
from tests.captioning.small_captioner import META, small_regions, write_small_store
from tests.captioning.small_run import CAPTIONS, alone, small_config, turns
from tests.torture.disk import disk

ROOT = Path(__file__).parents[2]


class Killed(BaseException):
    """Stands for kill -9: nothing is saved, nothing cleaned up."""


def kill_before_step(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    real = Trainer._step

    def dying(self: Trainer, batches: object) -> None:
        if self.counters.step == step:
            raise Killed
        real(self, batches)  # type: ignore[arg-type]

    monkeypatch.setattr(Trainer, "_step", dying)


def digest(config: TrainConfig, step: int) -> dict[str, str]:
    folder = step_folder(config.out, step)
    names = ("model.safetensors", "training.safetensors", "config.json", "vocab.txt")
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}


def events(config: TrainConfig) -> list[dict[str, object]]:
    return [json.loads(line) for line in (config.out / "log.jsonl").read_text(encoding="utf-8").splitlines()]


def initial(folder: Path, objective: str) -> str | None:
    """The folder that a run of this objective starts from."""
    if objective != "scst":
        return None
    captioner = small_config(folder, out="captioner", validation=False)
    train(captioner)
    return str(captioner.out / "last")


@pytest.mark.parametrize(
    ("objective", "masking", "kind"),
    [
        ("caption", "dense", "adamw"),
        ("caption", "sparse", "adamw_original"),
        ("pretrain", "dense", "adamw"),
        ("scst", "dense", "adamw"),
    ],
)
def test_a_killed_and_resumed_run_ends_with_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, objective: str, masking: str, kind: Optimizer
) -> None:
    # Dropping counts all steps of the run: counted from the resumption, step 6 would drop nothing.
    loss = LossConfig(masking=masking, drop_worst=0.5, drop_worst_after=5)  # type: ignore[arg-type]
    init = initial(tmp_path, objective)
    straight = small_config(tmp_path, out="straight", objective=objective, loss=loss, save_every=2, init=init)
    straight = replace(straight, optim=replace(straight.optim, kind=kind))
    assert train(straight) is None
    broken = replace(straight, out=tmp_path / "broken")
    for killed_at in (3, 6):  # an epoch has 3 steps; checkpoints stand at 2, 4, 6 and 7
        with monkeypatch.context() as patch, pytest.raises(Killed):
            kill_before_step(patch, killed_at)
            train(broken)
    train(broken)
    assert digest(broken, 7) == digest(straight, 7)
    assert read_info(broken.out / "last").scores == read_info(straight.out / "last").scores
    goings_on = [e["message"] for e in events(broken) if "going on" in str(e.get("message"))]
    assert goings_on == [f"going on from {step_folder(broken.out, step)}" for step in (2, 6)]


def test_a_killed_run_of_all_that_a_checkpoint_must_hold_ends_with_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    init = initial(tmp_path, "scst")
    straight = small_config(tmp_path, out="straight", save_every=2, init=init)
    straight = replace(
        straight,
        also={"scst": 0.5, "pretrain": 1.0},
        accumulate=2,
        stages=(StageConfig(share=0.5), StageConfig(share=0.5, batch_size=3, max_regions=1)),
        optim=replace(straight.optim, kind="lamb", ema_decay=0.9),
        data=replace(
            straight.data, length_window=2, more=(SourceConfig(captions=straight.data.train, weight=0.5),)
        ),
    )
    train(straight)
    broken = replace(straight, out=tmp_path / "broken")
    for killed_at in (3, 5):
        with monkeypatch.context() as patch, pytest.raises(Killed):
            kill_before_step(patch, killed_at)
            train(broken)
    train(broken)
    assert digest(broken, 7) == digest(straight, 7)


@pytest.mark.parametrize("objective", ["caption", "pretrain", "scst"])
def test_gradient_checkpointing_trains_to_the_same_bits(tmp_path: Path, objective: str) -> None:
    init = initial(tmp_path, objective)
    plainly = small_config(tmp_path, out="plainly", objective=objective, init=init)
    train(plainly)
    again = replace(plainly, out=tmp_path / "again", gradient_checkpointing=True)
    train(again)
    assert digest(again, 7) == digest(plainly, 7)


def test_a_damaged_checkpoint_is_told_and_the_one_before_it_used(tmp_path: Path) -> None:
    straight = small_config(tmp_path, out="straight", save_every=2)
    train(straight)
    wanted = digest(straight, 7)
    os.truncate(step_folder(straight.out, 7) / "training.safetensors", 100)
    train(straight)
    assert digest(straight, 7) == wanted
    told = [str(event.get("message")) for event in events(straight)]
    damaged = [line for line in told if "checkpoint passed over" in line]
    assert len(damaged) == 1
    assert "training.safetensors: 100 bytes" in damaged[0]


def test_a_run_that_was_killed_before_its_links_were_made_has_them_when_it_goes_on(tmp_path: Path) -> None:
    config = small_config(tmp_path, save_every=2)
    train(config)
    point(config.out, "last", step_folder(config.out, 6))
    (config.out / "best").unlink()
    (config.out / ".best.partial").symlink_to("step-00000007")
    train(config)
    assert os.readlink(config.out / "last") == "step-00000007"
    assert read_info(config.out / "best").scores
    assert not (config.out / ".best.partial").is_symlink()


def test_the_log_and_the_curves_of_a_killed_run_tell_every_step_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(small_config(tmp_path, save_every=2), log_every=1)
    for killed_at in (1, 3, 6):  # the first time, nothing was saved yet
        with monkeypatch.context() as patch, pytest.raises(Killed):
            kill_before_step(patch, killed_at)
            train(config)
    train(config)
    told = [(event["event"], event["step"]) for event in events(config) if "step" in event]
    assert [step for event, step in told if event == "step"] == [1, 2, 3, 4, 5, 6, 7]
    assert [step for event, step in told if event == "validation"] == [4, 7]
    curves = EventAccumulator(str(config.out / "tensorboard")).Reload()
    for tag in curves.Tags()["scalars"]:
        steps = [point.step for point in curves.Scalars(tag)]
        assert steps == ([4, 7] if tag.startswith("validation/") else [1, 2, 3, 4, 5, 6, 7])


def test_a_folder_in_which_another_process_trains_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = small_config(tmp_path)
    (tmp_path / "c.yaml").write_text(json.dumps(plain(config)), encoding="utf-8")
    with claimed(config.out):
        assert main(["--config", str(tmp_path / "c.yaml")]) == 1
    assert f"run is being written by another run (process {os.getpid()})" in capsys.readouterr().err
    assert main(["--config", str(tmp_path / "c.yaml")]) == 0


def test_a_disk_that_is_too_small_is_told_before_the_first_step(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = small_config(tmp_path)
    (tmp_path / "c.yaml").write_text(json.dumps(plain(config)), encoding="utf-8")
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
        assert main(["--config", str(tmp_path / "c.yaml")]) == 1
    told = capsys.readouterr().err
    assert "a checkpoint of this run takes 0.1 MB, the disk has 0.0 MB free. Make room" in told
    assert told.count("\n") == 1
    assert not (config.out / "log.jsonl").exists()


def test_a_folder_that_cannot_be_written_is_told_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = small_config(tmp_path)
    config.out.write_text("a file", encoding="utf-8")
    (tmp_path / "c.yaml").write_text(json.dumps(plain(config)), encoding="utf-8")
    assert main(["--config", str(tmp_path / "c.yaml")]) == 1
    told = capsys.readouterr().err
    assert told.startswith("captioning.train: ")
    assert str(config.out) in told
    assert told.count("\n") == 1


def test_a_read_only_disk_is_told_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = replace(small_config(tmp_path), out=tmp_path / "disk" / "run")
    (tmp_path / "c.yaml").write_text(json.dumps(plain(config)), encoding="utf-8")
    try:
        with disk(tmp_path / "disk", 1 << 20):
            subprocess.run(["mount", "-o", "remount,ro", str(tmp_path / "disk")], check=True)
            assert main(["--config", str(tmp_path / "c.yaml")]) == 1
    except PermissionError as error:
        pytest.skip(f"a disk cannot be mounted: {error}")
    told = capsys.readouterr().err
    assert "Read-only file system" in told
    assert str(config.out) in told
    assert told.count("\n") == 1


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_saves_and_ends_and_the_same_command_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals, code: int
) -> None:
    straight = small_config(tmp_path, out="straight")
    train(straight)
    stopped = replace(straight, out=tmp_path / "stopped")
    real = StepBatches.__getitem__

    def interrupting(self: StepBatches, step: int) -> object:
        if step == 4:
            os.kill(os.getpid(), number)
        return real(self, step)

    config_file = tmp_path / "stopped.yaml"
    config_file.write_text(json.dumps(plain(stopped)), encoding="utf-8")
    with monkeypatch.context() as patch:
        patch.setattr(StepBatches, "__getitem__", interrupting)
        assert main(["--config", str(config_file)]) == code
    assert read_info(stopped.out / "last").step == 5
    assert main(["--config", str(config_file)]) == 0
    assert digest(stopped, 7) == digest(straight, 7)


def test_a_validation_that_a_signal_cuts_short_is_made_up_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight = small_config(tmp_path, out="straight")
    train(straight)
    stopped = replace(straight, out=tmp_path / "stopped")

    def interrupting(*args: object, **named: object) -> object:
        os.kill(os.getpid(), signal.SIGTERM)
        return write_captions(*args, **named)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(captioning.validation, "write_captions", interrupting)
        assert train(stopped) == signal.SIGTERM
    assert read_info(stopped.out / "last").step == 4
    assert read_info(stopped.out / "last").scores == {}
    assert train(stopped) is None
    assert digest(stopped, 7) == digest(straight, 7)
    validated = [
        [(e["step"], e["cider"], e["captions"]) for e in events(run) if e["event"] == "validation"]
        for run in (stopped, straight)
    ]
    assert validated[0] == validated[1]


def test_other_settings_or_data_are_refused_by_name(tmp_path: Path) -> None:
    config = small_config(tmp_path)
    train(config)
    with pytest.raises(ValueError, match=r"other settings: batch_size is 3, was 2; optim\.clip_norm is 2\.0"):
        train(replace(config, batch_size=3, optim=replace(config.optim, clip_norm=2.0)))
    write_shard(tmp_path / "changed.h5", [small_regions(name, seed=1) for name in CAPTIONS], META, {})
    with pytest.raises(ValueError, match="other settings: the pictures of the regions have other content"):
        train(replace(config, data=replace(config.data, regions=tmp_path / "changed.h5")))
    other = small_config(tmp_path, captions={"a.jpg": ["一只狗。"], "b.jpg": ["两个人。"]})
    with pytest.raises(ValueError, match="the training captions have other content"):
        train(other)


def test_a_run_goes_on_when_its_files_have_moved_and_what_it_started_from_is_gone(tmp_path: Path) -> None:
    start = small_config(tmp_path, out="start", steps=1)
    train(start)
    shutil.copytree(start.out / "last", tmp_path / "init")
    second = shutil.copy(start.data.train, tmp_path / "second.json")
    config = replace(
        start,
        out=tmp_path / "run",
        init=str(tmp_path / "init"),
        data=replace(start.data, more=(SourceConfig(captions=Path(second)),)),
    )
    train(config)
    shutil.rmtree(tmp_path / "init")
    Path(second).rename(tmp_path / "moved.json")
    moved = (SourceConfig(captions=tmp_path / "moved.json"),)
    before = digest(config, 1)
    train(replace(config, data=replace(config.data, more=moved)))
    assert digest(config, 1) == before
    with pytest.raises(ValueError, match=r"data\.more is \[0\.5\], was \[1\.0\]"):
        train(replace(config, data=replace(config.data, more=(replace(moved[0], weight=0.5),))))


def test_weights_that_know_another_detector_of_the_same_width_are_not_trained_on(tmp_path: Path) -> None:
    start = small_config(tmp_path, out="start", steps=1)
    train(start)
    other = write_small_store(
        tmp_path / "other.h5", CAPTIONS, replace(META, description={"weights_sha256": "1" * 64})
    )
    config = replace(
        start,
        out=tmp_path / "run",
        init=str(start.out / "last"),
        data=replace(start.data, regions=other),
    )
    with pytest.raises(
        DetectorMismatch, match=r"(?s)another detector than those that init .*features\.extract"
    ):
        prepare(config)
    (start.out / "last" / "tushuo.json").unlink()
    prepare(config)


def test_reading_pictures_otherwise_than_the_initial_weights_did_is_told(tmp_path: Path) -> None:
    start = small_config(tmp_path, out="start", steps=1)
    train(start)
    prefix = replace(start.data.prefix, max_regions=start.data.prefix.max_regions + 1)
    run = prepare(
        replace(
            start,
            out=tmp_path / "run",
            init=str(start.out / "last"),
            data=replace(start.data, prefix=prefix),
        )
    )
    assert any("learned with data.prefix.max_regions" in note for note in run.notes)


def test_validation_searches_by_the_rules_of_the_finished_captioner(tmp_path: Path) -> None:
    config = small_config(tmp_path, steps=1)
    run = prepare(
        replace(config, decode=replace(config.decode, forbidden=["的"], max_pieces=7, min_pieces=7))
    )
    assert run.validation is not None
    found = validate(run.model.eval(), run.validation, run.config, alone(), stop=lambda: False)
    assert found is not None
    assert not any("的" in caption for caption in found.captions.values())
    assert {len(run.tokenizer.encode(caption)) for caption in found.captions.values()} == {7}


def test_sizes_that_the_initial_weights_decide_are_told(tmp_path: Path) -> None:
    start = small_config(tmp_path, out="start", steps=1)
    train(start)
    config = replace(start, out=tmp_path / "run", init=str(start.out / "last"))
    assert not any("is not used" in note for note in prepare(config).notes)
    wider = replace(config, model=replace(config.model, layers=start.model.layers + 1))
    assert [note for note in prepare(wider).notes if "is not used" in note] == [
        f"model.layers {start.model.layers + 1} is not used: the initial weights have {start.model.layers}"
    ]


def test_questions_do_not_validate_a_captioner(tmp_path: Path) -> None:
    config = small_config(tmp_path)
    pair = {"image_id": "a.jpg", "question": "这是什么？", "answer": "狗"}
    path = tmp_path / "questions.jsonl"
    path.write_text(json.dumps(pair, ensure_ascii=False) + "\n", encoding="utf-8")
    with pytest.raises(ValueError, match="questions with answers"):
        prepare(replace(config, data=replace(config.data, validation=path)))


def test_two_processes_with_different_signals_agree_on_one_of_them(tmp_path: Path) -> None:
    trainer = Trainer(prepare(small_config(tmp_path)), None)
    trainer.stop_request.signal = signal.SIGINT
    sums = lambda ours: [ours[0], ours[1] + 1, 2 * ours[2]]  # noqa: E731  (the other one got SIGTERM)
    trainer.workers = cast(Workers, SimpleNamespace(count=2, sums=sums))
    assert trainer._agree() == signal.SIGTERM


def test_a_finished_run_is_not_trained_further_and_overwrite_starts_anew(tmp_path: Path) -> None:
    config = small_config(tmp_path)
    train(config)
    wanted, log = digest(config, 7), len(events(config))
    train(replace(config, log_every=1))
    assert "step" not in {event["event"] for event in events(config)[log:]}
    train(replace(config, overwrite=True))
    assert digest(config, 7) == wanted
    assert not any("going on" in str(event.get("message")) for event in events(config))


def test_the_best_checkpoint_is_that_of_the_highest_cider(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from eval.scorer import Scorer

    ciders = iter([0.1, 0.7, 0.3])
    score = Scorer.score

    def scored(scorer: Scorer, predictions: dict[str, str]) -> object:
        scores = score(scorer, predictions)
        return replace(scores, overall={**scores.overall, "cider": next(ciders)})

    monkeypatch.setattr(Scorer, "score", scored)
    config = replace(small_config(tmp_path, steps=9), keep_last=1)
    train(config)
    assert read_info(config.out / "best").step == 8
    assert read_info(config.out / "best").scores["cider"] == 0.7
    assert read_info(config.out / "last").step == 9
    assert len(list(config.out.glob("step-*"))) == 2


def test_two_captions_are_learned_by_heart(tmp_path: Path) -> None:
    captions = {"a.jpg": ["一只狗在草地上奔跑。"], "b.jpg": ["两个人骑着自行车。"]}
    config = small_config(
        tmp_path, steps=150, captions=captions, validation=False, dropout=0.0, learning_rate=1e-2
    )
    train(replace(config, log_every=10))
    losses = [event["loss"] for event in events(config) if event["event"] == "step"]
    assert float(losses[0]) > 1.5  # type: ignore[arg-type]
    assert float(losses[-1]) < 0.05  # type: ignore[arg-type]
    read = read_captioner(config.out / "last")
    pictures = prepare(replace(config, out=tmp_path / "unused")).training
    batch = pictures.caption_batch(turns(0, [0, 1])).prefix
    with torch.inference_mode():
        prefix = read.model.bert.encode_prefix(
            batch.tag_ids, batch.tag_mask, batch.region_features, batch.region_mask
        )
        found = generate(read.model, prefix, beam_width=2, forbidden_ids=unwritable_ids(read.tokenizer))
    written = [read.tokenizer.decode(hypotheses[0].piece_ids) for hypotheses in found]
    assert written == [texts[0] for texts in captions.values()]


def test_a_loss_that_is_no_number_stops_with_step_pictures_and_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = captioning.steps.caption_step

    def poisoned(model: torch.nn.Module, batch: object, config: LossConfig, step: int) -> object:
        means = real(model, batch, config, step)  # type: ignore[arg-type]
        return {**means, "words": means["words"] * float("nan")} if step == 5 else means

    monkeypatch.setattr(captioning.steps, "caption_step", poisoned)
    config = small_config(tmp_path)
    with pytest.raises(TrainingError, match=r"step 6: the loss is nan \(pictures \w\.jpg.*step-00000004"):
        train(config)
    assert read_info(config.out / "last").step == 4


def test_pretrained_weights_start_a_captioner(tmp_path: Path) -> None:
    pretrained = small_config(tmp_path, out="pretrained", objective="pretrain")
    train(pretrained)
    run = prepare(small_config(tmp_path, out="captioner", init=str(pretrained.out / "last")))
    saved = prepare(pretrained)
    assert run.tokenizer.pieces == saved.tokenizer.pieces
    assert any("dropped: cls.seq_relationship" in note for note in run.notes)
    from safetensors.torch import load_file

    weights = load_file(pretrained.out / "last" / "model.safetensors")
    for name in ("bert.img_embedding.weight", "bert.embeddings.word_embeddings.weight"):
        assert torch.equal(run.model.state_dict()[name], weights[name])


def test_frozen_embeddings_stay_as_they_are(tmp_path: Path) -> None:
    config = small_config(tmp_path)
    config = replace(config, model=replace(config.model, freeze_embeddings=True))
    name = "bert.embeddings.word_embeddings.weight"
    before = prepare(config).model.state_dict()[name].clone()
    train(config)
    after = read_captioner(config.out / "last").model.state_dict()[name]
    assert torch.equal(before, after)


def test_patience_and_time_end_a_run(tmp_path: Path) -> None:
    config = small_config(tmp_path, steps=100, learning_rate=1e-9)
    patient = replace(config, validation=ValidationConfig(every=1, patience=2, pictures=2))
    train(patient)
    assert read_info(patient.out / "last").step < 100
    seldom = ValidationConfig(every=1000, pictures=2)
    timed = replace(config, out=tmp_path / "timed", steps=None, max_seconds=0.2, validation=seldom)
    train(timed)
    rates = [event["learning_rate"] for event in events(timed) if event["event"] == "step"]
    assert read_info(timed.out / "last").step >= 1
    assert all(0 <= float(rate) <= 1e-9 for rate in rates)  # type: ignore[arg-type]


def test_a_missing_regions_file_is_answered_with_the_command_that_makes_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = small_config(tmp_path)
    (tmp_path / "regions.h5").unlink()
    (tmp_path / "c.yaml").write_text(json.dumps(plain(config)), encoding="utf-8")
    assert main(["--config", str(tmp_path / "c.yaml")]) == 1
    message = capsys.readouterr().err
    assert "regions.h5 not found" in message
    assert "python -m features.extract --images DIR --out" in message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "optim: {learning_rat: 1}",
            "c.yaml: no setting optim.learning_rat; did you mean optim.learning_rate?",
        ),
        ("steps: [1", "c.yaml: Problems parsing config"),
        ("steps: many", "c.yaml: steps is 'many', wanted a whole number or null"),
        ("loss: {mask_share: 2}", "mask_share must lie between 0 and 1, got 2.0"),
        (
            "objective: scst",
            "scst improves a captioner that writes captions already: give its folder as init",
        ),
        ("scst: {samples: 0}", "samples must be 1 or more, got 0"),
        ("scst: {samples: 1, baseline: leave_one_out}", "one sample has no others to beat"),
        ("scst: {baseline: mean}", "scst.baseline"),
    ],
)
def test_wrong_settings_are_usage_errors(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, message: str
) -> None:
    (tmp_path / "c.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(SystemExit) as ended:
        main(["--config", str(tmp_path / "c.yaml")])
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def settings(name: str) -> TrainConfig:
    command = parser()
    values = vars(command.instantiate(command.parse_args(["--config", str(ROOT / "configs" / name)])))
    return TrainConfig(**{key: value for key, value in values.items() if key != "config"})


def test_a_run_without_arguments_is_the_mini_configuration() -> None:
    assert settings("mini.yaml") == replace(TrainConfig(), steps=100)
    assert total_steps(TrainConfig(), 12) == 100


def test_the_aic_icc_configuration_is_the_published_recipe() -> None:
    config = settings("aic_icc.yaml")
    assert (config.optim.learning_rate, config.epochs, config.loss.label_smoothing) == (3e-5, 60, 0.1)
    assert (config.loss.drop_worst, config.loss.drop_worst_after) == (0.2, 20000)
    assert config.model.tie_embeddings
    assert config.model.freeze_embeddings
    assert config.batch_size * config.data.captions_per_picture == 1025


def test_the_mini_scst_configuration_reads_pictures_as_the_bundled_captioner_does() -> None:
    config = settings("mini_scst.yaml")
    assert config.objective == "scst"
    assert config.init is not None
    assert read_info(ROOT / config.init).prefix == config.data.prefix


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_configuration_is_accepted_and_reads_back(path: Path) -> None:
    if "captioning.train" in path.read_text(encoding="utf-8"):
        config = settings(path.name)
        command = parser()
        text = json.dumps(plain(config))
        values = vars(command.instantiate(command.parse_string(text)))
        assert TrainConfig(**{key: value for key, value in values.items() if key != "config"}) == config


def test_mixtures_stages_and_objectives_are_set_by_flags() -> None:
    command = parser()
    words = ["--data.more", '[{"captions": "a.json", "weight": 2}]', "--also", '{"pretrain": 0.5}']
    words += ["--stages", '[{"share": 0.9, "max_regions": 20}, {"share": 0.1, "batch_size": 4}]']
    values = vars(command.instantiate(command.parse_args(words)))
    config = TrainConfig(**{key: value for key, value in values.items() if key != "config"})
    assert config.data.more == (SourceConfig(captions=Path("a.json"), weight=2.0),)
    assert config.stages == (StageConfig(share=0.9, max_regions=20), StageConfig(share=0.1, batch_size=4))
    assert config.objectives == {"caption": 1.0, "pretrain": 0.5}


def test_every_configuration_opens_with_its_command() -> None:
    for path in sorted((ROOT / "configs").glob("*.yaml")):
        head = path.read_text(encoding="utf-8").split("\nobjective:")[0]
        if "captioning.train" in head:
            assert f"captioning.train --config configs/{path.name}" in head


def test_the_shortest_limit_ends_a_run(tmp_path: Path) -> None:
    config = small_config(tmp_path, steps=7)
    assert total_steps(config, 6) == 7
    assert total_steps(replace(config, epochs=1.5), 6) == 5
    assert total_steps(replace(config, steps=None, max_seconds=1), 6) is None
    assert total_steps(TrainConfig(epochs=60, batch_size=10), 200) == 1200


def test_a_run_that_is_older_than_a_setting_goes_on_with_its_default(tmp_path: Path) -> None:
    config = small_config(tmp_path, steps=1)
    train(config)
    folder = (config.out / "last").resolve()
    state = read_training_state(folder)
    older = json.loads(json.dumps(state.values["config"]))
    del older["scst"]["temperature"], older["precision"], older["weight"]
    resume = Resume(folder=folder, state=replace(state, values=state.values | {"config": older}))
    refuse_differences(config, state.values["data"], resume)
    with pytest.raises(
        ValueError, match=r"settings: scst\.temperature is 0\.5, was 1\.0; weight is 2, was 1\.0"
    ):
        scst = replace(config.scst, temperature=0.5)
        refuse_differences(replace(config, scst=scst, weight=2), state.values["data"], resume)


def test_differing_keys_are_dotted() -> None:
    assert differences({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}, "d": 4}) == [
        ("a.c", 2, 3),
        ("d", None, 4),
    ]


def test_the_precision_is_chosen_by_measurement_and_said() -> None:
    choice = choose_precision("auto", torch.device("cpu"))
    assert choice.name in ("fp32", "bf16")
    assert choice.reason.startswith("measured: bf16 is ")
    assert choose_precision("fp32", torch.device("cpu")).reason == "as set"


def test_a_device_that_is_not_here_is_answered_with_those_that_are() -> None:
    with pytest.raises(ValueError, match="device 'tpu' is not available here; choose from auto, .*cpu"):
        pick_device("tpu")


def test_questions_are_refused_where_captions_are_to_be_written(tmp_path: Path) -> None:
    config = small_config(tmp_path, validation=False)
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text(
        '{"image_id": "a.jpg", "question": "狗在做什么？", "answer": "奔跑"}\n', encoding="utf-8"
    )
    asked = replace(config, data=replace(config.data, train=pairs))
    with pytest.raises(ValueError, match=r"pairs\.jsonl: 1 questions with answers, which objective caption"):
        prepare(asked)
    assert prepare(replace(asked, objective="pretrain")).training.answers.tolist() == [0]

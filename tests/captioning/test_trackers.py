from __future__ import annotations

import io
import json
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import captioning.trackers
from captioning.config import TrainConfig
from captioning.runs import plain, prepare
from captioning.sample_pictures import SamplePictures
from captioning.train import main, train
from captioning.trainer import Trainer
from features.draw import cjk_font
from tests.captioning.small_run import small_config


class Killed(BaseException):
    """Stands for kill -9."""


def with_pictures(folder: Path, config: TrainConfig) -> TrainConfig:
    """The run with a folder that has pictures a, b and a broken c."""
    images = folder / "images"
    images.mkdir(exist_ok=True)
    for name in ("a.jpg", "b.jpg"):
        Image.new("RGB", (100, 80), "teal").save(images / name)
    (images / "c.jpg").write_bytes(b"no picture")
    return replace(config, data=replace(config.data, images=images))


def read(config: TrainConfig) -> EventAccumulator:
    found = EventAccumulator(
        str(config.out / "tensorboard"), size_guidance={"scalars": 0, "images": 0, "tensors": 0}
    )
    found.Reload()
    return found


def test_tensorboard_gets_curves_captions_pictures_and_settings(tmp_path: Path) -> None:
    config = with_pictures(tmp_path, small_config(tmp_path))
    train(config)
    found = read(config)
    curves = set(found.Tags()["scalars"])
    assert {"train/loss", "optim/learning_rate", "optim/grad_norm", "validation/cider"} <= curves
    assert {
        "speed/captions_per_second",
        "speed/pieces_per_second",
        "speed/data_wait",
        "speed/padding",
    } <= curves
    assert [point.step for point in found.Scalars("train/loss")] == [2, 4, 6]
    assert sorted(found.Tags()["images"]) == ["captions/a.jpg", "captions/b.jpg"]  # c is broken: no error
    shown = found.Images("captions/a.jpg")
    assert [image.step for image in shown] == [4, 7]
    picture = Image.open(io.BytesIO(shown[-1].encoded_image_string))
    assert picture.format == "JPEG"
    assert picture.size == (shown[-1].width, shown[-1].height)
    text = found.Tensors("captions/text_summary")[-1].tensor_proto.string_val[0].decode()
    assert "| c.jpg |" in text
    assert "小女孩在海边玩沙子。<br>海边的女孩" in text
    settings = found.Tensors("settings/text_summary")[0].tensor_proto.string_val[0].decode()
    assert "batch_size: 2" in settings


def test_without_a_folder_of_pictures_captions_are_shown_as_text(tmp_path: Path) -> None:
    config = small_config(tmp_path)
    train(config)
    assert read(config).Tags()["images"] == []
    assert "captions/text_summary" in read(config).Tags()["tensors"]


def test_curves_of_a_killed_and_resumed_run_have_each_step_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(with_pictures(tmp_path, small_config(tmp_path)), log_every=1)
    real = Trainer._step

    def dying(self: Trainer, batches: object) -> None:
        if self.counters.step == 6:
            raise Killed
        real(self, batches)  # type: ignore[arg-type]

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(Trainer, "_step", dying)
        train(config)  # its last checkpoint is that of step 4
    train(config)
    assert [point.step for point in read(config).Scalars("train/loss")] == [1, 2, 3, 4, 5, 6, 7]
    assert [image.step for image in read(config).Images("captions/a.jpg")] == [4, 7]


def test_nothing_is_drawn_where_nothing_shall_be(tmp_path: Path) -> None:
    train(replace(small_config(tmp_path), track=[]))
    assert not (tmp_path / "run" / "tensorboard").exists()
    assert (tmp_path / "run" / "log.jsonl").exists()


def test_a_sample_shows_boxes_and_both_captions(tmp_path: Path) -> None:
    config = with_pictures(tmp_path, small_config(tmp_path))
    run = prepare(config)
    assert run.validation is not None
    (sample,) = SamplePictures(config.data.images, run.validation).of({"a.jpg": "一只狗在草地上奔跑。"})
    assert sample.references == ("一只狗在草地上奔跑。", "草地上的狗。")
    assert sample.picture is not None
    shown = np.asarray(sample.picture)
    left = (sample.picture.width - 100) // 2  # the page is wider than so small a picture
    inside = shown[:80, left : left + 100]
    assert not (inside == inside[0, 0]).all()  # boxes over the plain picture
    if cjk_font() is not None:
        assert sample.picture.height > 80
        assert (shown[80:] < 100).any()  # dark letters


@pytest.fixture
def wandb(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A stand-in for the package: what was asked of it."""
    module = ModuleType("wandb")
    calls = SimpleNamespace(inits=[], logs=[], configs=[], finished=0)

    class Run:
        config = SimpleNamespace(update=lambda values, allow_val_change: calls.configs.append(values))

        def log(self, values: dict[str, Any], step: int) -> None:
            calls.logs.append((step, values))

        def finish(self) -> None:
            calls.finished += 1

    class Table:
        def __init__(self, columns: list[str]) -> None:
            self.columns, self.rows = columns, []  # type: ignore[var-annotated]

        def add_data(self, *row: str) -> None:
            self.rows.append(row)

    def init(**settings: Any) -> Run:
        calls.inits.append(settings)
        return Run()

    module.init, module.Table = init, Table  # type: ignore[attr-defined]
    module.Image = lambda picture, caption: (picture, caption)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "wandb", module)
    monkeypatch.setattr(captioning.trackers, "find_spec", lambda name: object())
    return calls


def test_weights_and_biases_gets_the_same_and_a_resumed_run_keeps_its_id(tmp_path: Path, wandb: Any) -> None:
    config = replace(with_pictures(tmp_path, small_config(tmp_path)), track=["wandb"])
    train(config)
    (first,) = wandb.inits
    assert (first["project"], first["name"], first["resume"]) == ("tushuo", "run", "allow")
    assert wandb.configs == [plain(config)]
    logged = {name for _, values in wandb.logs for name in values}
    assert {"train/loss", "optim/learning_rate", "validation/cider", "captions", "pictures/a.jpg"} <= logged
    assert [step for step, values in wandb.logs if "train/loss" in values] == [2, 4, 6]
    table = next(values["captions"] for _, values in wandb.logs if "captions" in values)
    assert [row[0] for row in table.rows] == ["a.jpg", "b.jpg", "c.jpg"]
    assert wandb.finished == 1
    train(config)  # finished already: goes on where it stopped
    assert wandb.inits[1]["id"] == first["id"]
    train(replace(config, overwrite=True))
    assert wandb.inits[2]["id"] != first["id"]
    assert not (tmp_path / "run" / "tensorboard").exists()


def test_a_tracker_that_is_not_installed_is_answered_with_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(captioning.trackers, "find_spec", lambda name: None)
    config = small_config(tmp_path)
    (tmp_path / "c.yaml").write_text(json.dumps(plain(config)), encoding="utf-8")
    assert main(["--config", str(tmp_path / "c.yaml"), "--track", "[tensorboard, wandb]"]) == 1
    assert "pip install 'tushuo[wandb]'" in capsys.readouterr().err
    assert not config.out.exists()

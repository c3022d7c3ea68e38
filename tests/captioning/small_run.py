"""A training run of seconds: a few pictures, a tiny model."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch

from captioning.config import (
    DataConfig,
    LossConfig,
    ModelConfig,
    OptimConfig,
    PrefixConfig,
    TrainConfig,
    ValidationConfig,
)
from captioning.parallel import Workers
from captioning.schedule import Item
from captioning.scst_config import ScstConfig
from tests.captioning.small_captioner import write_small_store

CAPTIONS = {
    "a.jpg": ["一只狗在草地上奔跑。", "草地上的狗。"],
    "b.jpg": ["两个人骑着自行车。"],
    "c.jpg": ["小女孩在海边玩沙子。", "海边的女孩", "一个女孩在玩。"],
    "d.jpg": ["一群人在踢足球。"],
    "e.jpg": ["3个穿着nike运动服的人"],
}


def write_captions(path: Path, captions: dict[str, list[str]]) -> Path:
    """An AIC-ICC annotation file."""
    rows = [{"url": "", "image_id": name, "caption": texts} for name, texts in captions.items()]
    path.write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")
    return path


def turns(epoch: int, indices: Iterable[int]) -> list[Item]:
    """Of some pictures, all for the same time."""
    return [Item(epoch=epoch, index=index) for index in indices]


def alone() -> Workers:
    """This process, as all of a run."""
    return Workers(torch.device("cpu"), "fp32", "ddp")


def small_config(
    folder: Path,
    *,
    out: str = "run",
    objective: str = "caption",
    steps: int | None = 7,
    batch_size: int = 2,
    save_every: int | None = None,
    loss: LossConfig | None = None,
    captions: dict[str, list[str]] | None = None,
    pictures: Sequence[str] | None = None,
    validation: bool = True,
    dropout: float = 0.1,
    learning_rate: float = 1e-3,
    init: str | None = None,
) -> TrainConfig:
    """Settings of a run whose data are written into the folder on the first call."""
    captions = CAPTIONS if captions is None else captions
    regions = folder / "regions.h5"
    if not regions.exists():
        write_small_store(regions, captions if pictures is None else pictures)
    return TrainConfig(
        objective=objective,  # type: ignore[arg-type]
        init=init,
        out=folder / out,
        steps=steps,
        batch_size=batch_size,
        save_every=save_every,
        log_every=2,
        device="cpu",
        precision="fp32",
        data=DataConfig(
            regions=regions,
            train=write_captions(folder / "train.json", captions),
            validation=write_captions(folder / "validation.json", captions) if validation else None,
            captions_per_picture=2,
            prefix=PrefixConfig(max_regions=2, max_tag_pieces=6),
        ),
        model=ModelConfig(
            layers=2,
            width=16,
            heads=2,
            feed_forward=32,
            max_positions=48,
            dropout=dropout,
            attention_dropout=dropout,
        ),
        optim=OptimConfig(learning_rate=learning_rate),
        loss=loss or LossConfig(),
        scst=ScstConfig(samples=3, segmenter="chars"),
        validation=ValidationConfig(every=4, pictures=3),
    )

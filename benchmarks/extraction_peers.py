"""Extraction beside the loop that people write: open, call the model, one picture at a time.

    python -m benchmarks.extraction_peers --detectron2 build/detectron2 \
        --out benchmarks/results/extraction_peers.json

torchvision's Faster R-CNN and detectron2's R50-C4, both with random weights; detectron2's loop is its
DefaultPredictor, ours the back end c4. --detectron2 is a folder with the package, as `make detectron2` makes
it; without it this part is left out.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torchvision.models.detection import fasterrcnn_resnet50_fpn
from torchvision.transforms.functional import pil_to_tensor

from benchmarks.captioning_at_scale import link_samples
from benchmarks.extraction import shares
from benchmarks.extraction_cpu import afresh
from benchmarks.machine import machine
from benchmarks.results import tell
from features.backends.base import pick_device
from features.images import find_images


def beside(
    loop: Callable[[Path], object], backend: str, weights: Path, root: Path, image_ids: list[str]
) -> dict[str, Any]:
    """The extraction beside a loop over single pictures; the loop goes first and last, its mean counts."""

    def seconds_of_loop() -> float:
        started = time.perf_counter()
        for image_id in image_ids:
            loop(root / image_id)
        return time.perf_counter() - started

    loop(root / image_ids[0])  # warm
    before = seconds_of_loop()
    report, _ = afresh(backend, weights, root, image_ids)
    looped = (before + seconds_of_loop()) / 2
    return {
        "pictures": len(image_ids),
        "loop_per_second": round(len(image_ids) / looped, 3),
        "extraction_per_second": round(len(image_ids) / report.seconds, 3),
        "extraction_over_loop": round(looped / report.seconds, 3),
        "shares": shares(report),
    }


def beside_torchvision(root: Path, image_ids: list[str]) -> dict[str, Any]:
    """Torchvision's own model and ours of the same weights."""
    torch.manual_seed(0)
    model = fasterrcnn_resnet50_fpn(weights=None, weights_backbone=None).eval()
    for name, values in model.named_parameters():
        if name.endswith("bn3.weight"):
            values.data.fill_(0.2)  # so that the sums of random blocks stay within float16
    path = root.parent / "fasterrcnn_resnet50_fpn.pth"
    torch.save(model.state_dict(), path)
    device = pick_device("auto")
    model.to(device)

    @torch.inference_mode()
    def loop(picture: Path) -> object:
        image = pil_to_tensor(Image.open(picture).convert("RGB")).float() / 255
        return model([image.to(device)])

    return beside(loop, "torchvision", path, root, image_ids)


def beside_detectron2(package: Path, root: Path, image_ids: list[str]) -> dict[str, Any]:
    """detectron2's predictor and our C4 graph, of the same weights."""
    sys.path.insert(0, str(package))
    from detectron2.config import get_cfg
    from detectron2.engine import DefaultPredictor

    config = get_cfg()
    zoo = next(package.rglob("COCO-Detection/faster_rcnn_R_50_C4_1x.yaml"))
    config.merge_from_file(str(zoo))
    config.MODEL.WEIGHTS = ""
    config.MODEL.DEVICE = str(pick_device("auto"))
    torch.manual_seed(0)
    predictor = DefaultPredictor(config)
    for name, norm in predictor.model.named_modules():
        if name.endswith("conv3.norm"):
            norm.weight.fill_(0.2)
    path = root.parent / "model_final.pth"
    torch.save({"model": predictor.model.state_dict()}, path)

    def loop(picture: Path) -> object:
        bgr = np.asarray(Image.open(picture).convert("RGB"))[:, :, ::-1]
        return predictor(bgr)

    return beside(loop, "c4", path, root, image_ids)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pictures", type=int, default=34)
    parser.add_argument("--detectron2", type=Path, help="folder that holds the package")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=".", prefix=".extraction-") as folder:
        root = Path(folder, "links")
        link_samples(root, arguments.pictures)
        image_ids = find_images(root)
        result = {
            "what": "samples, batches of 8, a finished regions file",
            "machine": machine(),
            "beside a torchvision loop": beside_torchvision(root, image_ids),
        }
        if arguments.detectron2:
            result["beside detectron2's DefaultPredictor"] = beside_detectron2(
                arguments.detectron2, root, image_ids
            )
    tell(result, arguments.out)


if __name__ == "__main__":
    main()

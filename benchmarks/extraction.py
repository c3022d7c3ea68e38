"""How fast pictures become regions, beside the stages alone and beside a plain loop.

    python -m benchmarks.extraction --detectron2 build/detectron2 --out benchmarks/results/extraction.json

The samples are repeated as hard links; every measurement is the extraction of the command, to a finished
file.

- The detector replaced by one that only waits, so many pictures a second: the rate of the pipeline, to the
  last sealed file, over the smaller of that and of the decode processes alone (measured before and after).
- The mini detector on the processor: wall time over the CPU seconds of decoding and of the detector, each
  alone, spread over all cores; and where the time went.
- torchvision's Faster R-CNN and detectron2's R50-C4, with random weights, beside the loop that people write:
  open, call the model, one picture at a time (detectron2's by its DefaultPredictor). --detectron2 is a folder
  with the package, as `make detectron2` makes it; without it this part is left out.

With a GPU the same program measures it; the CPU seconds then are of the processor's part alone.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.models.detection import fasterrcnn_resnet50_fpn
from torchvision.transforms.functional import pil_to_tensor

from benchmarks.captioning_at_scale import link_samples
from benchmarks.machine import machine
from benchmarks.results import tell
from features.backends.base import Backend, Detections, load_backend, pick_device
from features.backends.mini import SquashPreprocessor
from features.decoding import Failure, PictureDataset, cores, decode_pictures, default_workers
from features.extraction import Extraction
from features.images import find_images
from features.pipeline import form_batches
from features.regions import MINI
from features.report import Report
from features.schema import StoreMeta

RATES = (20, 100, 300)
"""Pictures a second of the detector that only waits."""
REGIONS = 36


class Waiting(Backend):
    """Takes as long as a GPU would, and leaves the processor alone meanwhile."""

    name = "waiting"
    feature_dim = 2048
    vocabulary = ("thing",)
    vocabulary_id = "thing-1"
    selection = MINI
    weights_sha256 = "0" * 64

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self.preprocessor = SquashPreprocessor()

    def description(self) -> dict[str, Any]:
        """See :class:`Backend`."""
        return {}

    def detect(
        self,
        batch: Tensor,
        sizes: Sequence[tuple[int, int]],
        boxes: Sequence[np.ndarray] | None = None,
    ) -> list[Detections]:
        """See :class:`Backend`."""
        time.sleep(len(batch) / self.rate)
        return [
            Detections(
                boxes=np.tile(np.array([0, 0, width, height], np.float32), (REGIONS, 1)),
                object_ids=np.zeros(REGIONS, np.int32),
                object_scores=np.full(REGIONS, 0.5, np.float32),
                features=np.zeros((REGIONS, self.feature_dim), np.float16),
            )
            for height, width in sizes
        ]


def extract(backend: Backend, root: Path, image_ids: list[str]) -> Report:
    """What the command does, once its detector is loaded."""
    meta = StoreMeta(
        backend=backend.name,
        description=backend.description(),
        vocabulary=backend.vocabulary,
        vocabulary_id=backend.vocabulary_id,
        feature_dim=backend.feature_dim,
    )
    with tempfile.TemporaryDirectory(dir=root.parent) as folder:
        report = Extraction(
            root=root,
            image_ids=image_ids,
            unusable={},
            backend=backend,
            meta=meta,
            out=Path(folder, "regions.h5"),
            batch_size=8,
            workers=default_workers(),
            shard_size=512,
        ).run()
    if report.failed or report.signal is not None:
        sys.exit(f"the extraction failed: {report.failed}")
    return report


def shares(report: Report) -> dict[str, float]:
    """Where an extraction's time went."""
    return {
        "model": round(report.model_seconds / report.seconds, 3),
        "waiting for pictures": round(report.waiting_seconds / report.seconds, 3),
        "waiting for the disk": round(report.writing_seconds / report.seconds, 3),
        "merging": round(report.merge_seconds / report.seconds, 3),
    }


def with_waiting_detector(root: Path, image_ids: list[str]) -> dict[str, Any]:
    """The pipeline beside its slower half alone, at several speeds of the detector."""

    def decode_alone() -> float:
        started = time.perf_counter()
        for item in decode_pictures(root, image_ids, SquashPreprocessor(), default_workers()):
            if isinstance(item, Failure):
                sys.exit(f"{item.image_id}: {item.reason}")
        return len(image_ids) / (time.perf_counter() - started)

    found: dict[str, Any] = {}
    before = decode_alone()
    for rate in RATES:
        report = extract(Waiting(rate), root, image_ids)
        after = decode_alone()
        reached = len(image_ids) / (report.seconds - report.merge_seconds)
        alone = (before + after) / 2
        found[f"{rate} pictures/s"] = {
            "decode_alone_per_second": round(alone, 1),
            "pipeline_per_second": round(reached, 1),
            "pipeline_and_merge_per_second": round(len(image_ids) / report.seconds, 1),
            "of_the_slower_alone": round(reached / min(rate, alone), 3),
            "shares": shares(report),
        }
        before = after
    return found


def with_mini_detector(root: Path, image_ids: list[str]) -> dict[str, Any]:
    """Wall time beside the CPU seconds that the work takes."""
    backend = load_backend("mini")
    pictures = PictureDataset(root, image_ids, backend.preprocessor)
    decoding = detecting = 0.0
    extract(backend, root, image_ids[:8])  # warm
    for start in range(0, len(image_ids), 8):
        began = time.process_time()
        decoded = [pictures[number] for number in range(start, min(start + 8, len(image_ids)))]
        decoding += time.process_time() - began
        for batch in form_batches(decoded, 8):
            if isinstance(batch, Failure):
                sys.exit(f"{batch.image_id}: {batch.reason}")
            began = time.process_time()
            backend.detect(batch.pixels, [(one.height, one.width) for one in batch.pictures])
            detecting += time.process_time() - began
    report = extract(backend, root, image_ids)
    return {
        "device": str(pick_device("auto")),
        "cores": cores(),
        "cpu_seconds_decoding": round(decoding, 2),
        "cpu_seconds_detector": round(detecting, 2),
        "wall_seconds": round(report.seconds, 2),
        "wall_over_cpu_seconds_per_core": round(report.seconds * cores() / (decoding + detecting), 3),
        "pictures_per_second": round(len(image_ids) / report.seconds, 2),
        "shares": shares(report),
    }


def beside(
    loop: Callable[[Path], object], backend: Backend, root: Path, image_ids: list[str]
) -> dict[str, Any]:
    """The extraction beside a loop over single pictures; the loop goes first and last, its mean counts."""

    def seconds_of_loop() -> float:
        started = time.perf_counter()
        for image_id in image_ids:
            loop(root / image_id)
        return time.perf_counter() - started

    loop(root / image_ids[0])  # warm
    before = seconds_of_loop()
    report = extract(backend, root, image_ids)
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
    backend = load_backend("torchvision", path)
    device = pick_device("auto")
    model.to(device)

    @torch.inference_mode()
    def loop(picture: Path) -> object:
        image = pil_to_tensor(Image.open(picture).convert("RGB")).float() / 255
        return model([image.to(device)])

    return beside(loop, backend, root, image_ids)


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
    backend = load_backend("c4", path)

    def loop(picture: Path) -> object:
        bgr = np.asarray(Image.open(picture).convert("RGB"))[:, :, ::-1]
        return predictor(bgr)

    return beside(loop, backend, root, image_ids)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pictures", type=int, default=680, help="of the first two parts")
    parser.add_argument("--slow_pictures", type=int, default=34, help="beside torchvision and detectron2")
    parser.add_argument("--detectron2", type=Path, help="folder that holds the package")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(dir=".", prefix=".extraction-") as folder:
        root = Path(folder, "links")
        link_samples(root, max(arguments.pictures, arguments.slow_pictures))
        image_ids = find_images(root)
        many, few = image_ids[: arguments.pictures], image_ids[: arguments.slow_pictures]
        result = {
            "what": "samples repeated, batches of 8, a finished regions file",
            "machine": machine(),
            "pictures": len(many),
            "decode_processes": default_workers(),
            "detector that waits": with_waiting_detector(root, many),
            "mini detector": with_mini_detector(root, many),
            "beside a torchvision loop": beside_torchvision(root, few),
        }
        if arguments.detectron2:
            result["beside detectron2's DefaultPredictor"] = beside_detectron2(
                arguments.detectron2, root, few
            )
    tell(result, arguments.out)


if __name__ == "__main__":
    main()

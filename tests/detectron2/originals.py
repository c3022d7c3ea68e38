"""detectron2's own C4 models with seeded weights, written down as a user would have them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torchvision.transforms.functional import pil_to_tensor

SHORT, LONGEST, N_PROPOSALS = 128, 192, 40
NAMES = {50: "faster_rcnn_R_50_C4_1x", 101: "faster_rcnn_R_101_C4_3x"}


@dataclass(frozen=True, kw_only=True)
class Original:
    """One of detectron2's models with seeded weights, and the files that describe it to a back end."""

    config: Any
    model: Any
    weights: Path


def zoo_config(package: Path, depth: int) -> Any:
    """A config of detectron2's zoo, made quick: small pictures, few proposals."""
    from detectron2.config import get_cfg

    config = get_cfg()
    config.merge_from_file(str(package / "model_zoo" / "configs" / "COCO-Detection" / f"{NAMES[depth]}.yaml"))
    config.INPUT.MIN_SIZE_TEST, config.INPUT.MAX_SIZE_TEST = SHORT, LONGEST
    config.MODEL.RPN.POST_NMS_TOPK_TEST = N_PROPOSALS
    config.TEST.DETECTIONS_PER_IMAGE = 10_000
    config.MODEL.DEVICE = "cpu"
    return config


def seeded(config: Any) -> Any:
    """The model of a config with weights that tell regions apart; fresh ones score every class alike."""
    from detectron2.modeling import build_model

    torch.manual_seed(7)
    model = build_model(config).eval()
    for name, values in model.named_buffers():
        if ".norm." in name:
            centre = 0.0 if name.endswith(("bias", "running_mean")) else 1.0
            # The last of a block is added to its input; as large as that, 30 blocks would overflow.
            centre = 0.2 if name.endswith("conv3.norm.weight") else centre
            values.copy_(centre + (torch.rand_like(values) - 0.5) * 0.4)
    rpn, predictor = model.proposal_generator.rpn_head, model.roi_heads.box_predictor
    (picture,) = pictures(1)
    pixels = pil_to_tensor(picture.resize((LONGEST, SHORT)))
    for twins in (
        {rpn.objectness_logits: 2.0, rpn.anchor_deltas: 0.3},
        {predictor.cls_score: 3.0, predictor.bbox_pred: 1.0},
    ):
        with recorded(*twins) as calls, torch.inference_mode():
            model([{"image": pixels}])
        for (layer, spread), ((inputs, _),) in zip(twins.items(), calls, strict=True):
            _spread(layer, inputs.transpose(0, 1).flatten(1), spread)
    return model


@contextmanager
def recorded(*modules: torch.nn.Module) -> Iterator[list[list[tuple[Any, Any]]]]:
    """What goes into modules and comes out while they are called: a list of (input, output) a module."""
    calls: list[list[tuple[Any, Any]]] = [[] for _ in modules]
    hooks = [
        module.register_forward_hook(lambda _, inputs, output, seen=seen: seen.append((inputs[0], output)))
        for module, seen in zip(modules, calls, strict=True)
    ]
    yield calls
    for hook in hooks:
        hook.remove()


@torch.no_grad()
def _spread(layer: torch.nn.Conv2d | torch.nn.Linear, inputs: torch.Tensor, spread: float) -> None:
    """Give a linear layer random weights whose outputs for (C, N) inputs have mean 0 and this deviation."""
    inputs = inputs.clone()
    weights = torch.randn(len(layer.weight), len(inputs))
    weights *= spread / (weights @ inputs).std(dim=1, keepdim=True)
    layer.weight.copy_(weights.view_as(layer.weight))
    layer.bias.copy_(-(weights @ inputs.mean(dim=1)))


def write_original(folder: Path, config: Any) -> Original:
    """A model with seeded weights, as detectron2's training leaves it in a folder."""
    model = seeded(config)
    torch.save({"model": model.state_dict(), "iteration": 9}, folder / "model_final.pth")
    (folder / "config.yaml").write_text(config.dump(), encoding="utf-8")
    return Original(config=config, model=model, weights=folder / "model_final.pth")


def pictures(n: int, size: tuple[int, int] = (300, 210), seed: int = 3) -> list[Image.Image]:
    """Coloured patches of several sizes."""
    random = np.random.default_rng(seed)
    return [
        Image.fromarray(random.integers(0, 256, (7, 10, 3), np.uint8)).resize(size, Image.Resampling.BICUBIC)
        for _ in range(n)
    ]

"""detectron2's own C4 models with seeded weights, written down as a user would have them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  (its usual name)
from PIL import Image
from torch import Tensor, nn
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


@torch.no_grad()
def seeded(config: Any) -> Any:
    """The model of a config with weights that tell regions apart; fresh ones score every class alike.

    While it looks at a picture, each layer is set to what it sees: norms as training would leave them, heads
    so that their outputs lie around 0 with the deviation given here.
    """
    from detectron2.layers import FrozenBatchNorm2d
    from detectron2.modeling import build_model

    torch.manual_seed(7)
    model = build_model(config).eval()
    rpn, predictor = model.proposal_generator.rpn_head, model.roi_heads.box_predictor
    heads = {
        rpn.conv: 1.0,
        rpn.objectness_logits: 2.0,
        rpn.anchor_deltas: 0.02,
        predictor.cls_score: 2.0,
        predictor.bbox_pred: 0.3,
    }
    hooks = [layer.register_forward_pre_hook(partial(_spread, spread)) for layer, spread in heads.items()]
    for name, norm in model.named_modules():
        if isinstance(norm, FrozenBatchNorm2d):
            gain = 0.1 if name.endswith("conv3.norm") else 1.0  # added to a sum that grows with every block
            hooks.append(norm.register_forward_pre_hook(partial(_settle, gain)))
    model([{"image": pil_to_tensor(pictures(1)[0].resize((LONGEST, SHORT)))}])
    for hook in hooks:
        hook.remove()
    return model


def _settle(gain: float, norm: Any, inputs: tuple[Tensor]) -> None:
    """Give a frozen batch norm the statistics of its (N, C, h, w) inputs, and random gains and shifts."""
    norm.running_mean.copy_(inputs[0].mean((0, 2, 3)))
    norm.running_var.copy_(inputs[0].var((0, 2, 3)))
    norm.weight.copy_(gain * (0.5 + torch.rand_like(norm.weight)))
    norm.bias.copy_(gain * (torch.rand_like(norm.bias) - 0.5))


def _spread(spread: float, layer: nn.Conv2d | nn.Linear, inputs: tuple[Tensor]) -> None:
    """Give a layer random weights whose outputs have mean 0 and this deviation, each over all its inputs."""
    seen = inputs[0]
    if isinstance(layer, nn.Conv2d):
        seen = F.unfold(seen, layer.kernel_size, padding=layer.padding).transpose(1, 2).flatten(0, 1)
    weights = torch.randn(len(layer.weight), seen.shape[1])
    weights *= spread / (seen @ weights.T).std(dim=0)[:, None]
    layer.weight.copy_(weights.view_as(layer.weight))
    layer.bias.copy_(-(seen.mean(dim=0) @ weights.T))


@contextmanager
def recorded(*modules: nn.Module) -> Iterator[list[list[tuple[Any, Any]]]]:
    """What goes into modules and comes out while they are called: a list of (input, output) a module."""
    calls: list[list[tuple[Any, Any]]] = [[] for _ in modules]
    hooks = [
        module.register_forward_hook(lambda _, inputs, output, seen=seen: seen.append((inputs[0], output)))
        for module, seen in zip(modules, calls, strict=True)
    ]
    yield calls
    for hook in hooks:
        hook.remove()


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

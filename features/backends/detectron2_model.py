"""A detectron2 model from its weights, its config and its class names, with nothing in those files being run.

detectron2's own loaders do what a file tells them to (``yaml.unsafe_load`` of configs, ``pickle.load`` of
weights). Here a config is plain YAML, merged into detectron2's defaults, and weights are arrays, each of
them accounted for.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import nn

from features.state_files import read_state
from features.vocabularies import COCO_CLASSES, SHORT_LISTS, read_names

__all__ = ["Detectron2Model", "read_model"]

_NOT_THERE = (
    "the detectron2 back end needs the package detectron2, which is on no index ({reason}). Either put "
    "a clone of https://github.com/facebookresearch/detectron2 on PYTHONPATH and install tushuo's extra "
    "[detectron2]: nothing has to be compiled, for C4 detectors run without its compiled part. Or install it "
    "as its INSTALL.md says, with pip's --no-build-isolation, for its setup imports torch. detectron2's own "
    "COCO weights (R50-C4, R101-C4) need neither: --backend c4 reads them."
)

# Buffers in files of older releases: the config says the same (pixel_*, cell_anchors), or nothing reads them.
_SUPERSEDED = re.compile(r"^pixel_(mean|std)$|\.anchor_generator\.cell_anchors\.\d+$|\.num_batches_tracked$")


@dataclass(frozen=True, kw_only=True)
class Detectron2Model:
    """What stands beside the weights ``NAME.pth`` and in them.

    Attributes:
        model: ``GeneralizedRCNN`` with ``Res5ROIHeads``, in evaluation mode on its device.
        config: detectron2's ``CfgNode``.
        graph_sha256: Of all that the config says of the model.
        vocabulary_id: "coco-80", "voc-20", or "custom-N" for N classes of other names.
        vocabulary: Class names in the order of the model.
    """

    model: Any
    config: Any
    graph_sha256: str
    vocabulary_id: str
    vocabulary: tuple[str, ...]


def read_model(weights: Path, device: torch.device) -> Detectron2Model:
    """Build the model of the config beside the weights, and put them in.

    Raises:
        FileNotFoundError: No such weights, no config beside them, or no class list where one is needed.
        ValueError: detectron2 is not installed; a file that cannot be read safely; another model than a C4
            Faster R-CNN; weights that are not of the config.
    """
    if not weights.is_file():
        raise FileNotFoundError(f"{weights}: no such weights file")
    path = _config_file(weights)
    config = _read_config(path)
    config.MODEL.DEVICE = str(device)
    model = _build(path, config)
    _load_state(weights, model)
    vocabulary_id, vocabulary = _classes(weights.with_name("classes.txt"), config.MODEL.ROI_HEADS.NUM_CLASSES)
    config.MODEL.DEVICE = config.MODEL.WEIGHTS = ""  # these two change no numbers
    return Detectron2Model(
        model=model,
        config=config,
        graph_sha256=hashlib.sha256(config.MODEL.dump().encode()).hexdigest(),
        vocabulary_id=vocabulary_id,
        vocabulary=vocabulary,
    )


def _config_file(weights: Path) -> Path:
    choices = [weights.with_suffix(".yaml"), weights.with_name("config.yaml")]
    for path in choices:
        if path.is_file():
            return path
    raise FileNotFoundError(
        f"{weights}: no config beside these weights; wanted is {choices[0].name} or {choices[1].name} in the "
        "same folder (detectron2's training writes config.yaml; cfg.dump() gives the text of any config)"
    )


def _read_config(path: Path) -> Any:
    """detectron2's defaults, and over them what the file says; no part of it is ever run."""
    try:
        from detectron2.config import CfgNode, get_cfg
    except ImportError as error:
        raise ValueError(_NOT_THERE.format(reason=error)) from error
    config = get_cfg()
    for part, values in _with_bases(path):
        try:
            config.merge_from_other_cfg(CfgNode(values))
        except (AssertionError, KeyError, TypeError, ValueError) as error:  # all that yacs raises
            raise ValueError(f"{part}: not a config of the detectron2 that is installed ({error})") from error
    return config


def _with_bases(path: Path) -> list[tuple[Path, dict[str, Any]]]:
    """The YAML files that make up a config, the most basic first."""
    chain: list[tuple[Path, dict[str, Any]]] = []
    base: str | None = path.name
    while base is not None:
        part = path.with_name(Path(base).name)
        if not part.is_file():
            raise FileNotFoundError(
                f"{part}: no such file, though the config is based on it (_BASE_: {base}); put it there, or "
                "write the whole config, as cfg.dump() gives it"
            )
        if part in (file for file, _ in chain):
            raise ValueError(f"{part}: based on itself (_BASE_)")
        try:
            values = yaml.safe_load(part.read_text(encoding="utf-8"))
        except (UnicodeDecodeError, yaml.YAMLError) as error:
            raise ValueError(f"{part}: no plain YAML ({' '.join(str(error).split())})") from error
        if not isinstance(values, dict):
            raise ValueError(f"{part}: holds {type(values).__name__}; wanted is a mapping with MODEL in it")
        base = values.pop("_BASE_", None)
        if base is not None and not isinstance(base, str):
            raise ValueError(f"{part}: _BASE_ is {base!r}; wanted is the name of one file")
        chain.insert(0, (part, values))
    return chain


def _build(path: Path, config: Any) -> Any:
    """The model of a config, with whatever weights it starts from.

    Raises:
        ValueError: Another model than a C4 Faster R-CNN, or one that cannot be built.
    """
    from detectron2.modeling import build_model

    wanted = {
        "MODEL.META_ARCHITECTURE": (config.MODEL.META_ARCHITECTURE, ("GeneralizedRCNN",)),
        "MODEL.ROI_HEADS.NAME": (config.MODEL.ROI_HEADS.NAME, ("Res5ROIHeads",)),
        "MODEL.PROPOSAL_GENERATOR.NAME": (config.MODEL.PROPOSAL_GENERATOR.NAME, ("RPN",)),
        "INPUT.FORMAT": (config.INPUT.FORMAT, ("BGR", "RGB")),
    }
    for key, (value, choices) in wanted.items():
        if value not in choices:
            raise ValueError(
                f"{path}: {key} is {value!r}, wanted is {' or '.join(choices)}; this back end runs C4 Faster "
                "R-CNNs alone"
            )
    try:
        return build_model(config).eval()
    except (AssertionError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: detectron2 cannot build this model ({error})") from error


def _load_state(path: Path, model: nn.Module) -> None:
    """Put a file's weights into a model, every one of them accounted for."""
    state = read_state(path).tensors
    wanted = model.state_dict()
    state = {name: values for name, values in state.items() if name in wanted or not _SUPERSEDED.search(name)}
    problems = [
        *(f"lacks {name}" for name in wanted if name not in state),
        *(f"has {name}, which the model lacks" for name in state if name not in wanted),
        *(
            f"{name} is {tuple(values.shape)}, the model's {tuple(wanted[name].shape)}"
            for name, values in state.items()
            if name in wanted and values.shape != wanted[name].shape
        ),
    ]
    if problems:
        raise ValueError(
            f"{path}: not the weights of the config beside it: {'; '.join(problems[:3])}"
            + (f"; and {len(problems) - 3} more" if len(problems) > 3 else "")
        )
    model.load_state_dict(state)


def _classes(path: Path, n_classes: int) -> tuple[str, tuple[str, ...]]:
    """Id and names of the classes."""
    if not path.is_file():
        if n_classes != len(COCO_CLASSES):
            raise FileNotFoundError(
                f"{path}: no such file; write the model's {n_classes} classes there, one a line, in its order"
            )
        return "coco-80", COCO_CLASSES
    names = read_names(path)
    if len(names) != n_classes:
        raise ValueError(f"{path}: names {len(names)} classes, the model has {n_classes}")
    known = (name for name, classes in SHORT_LISTS.items() if classes == names)
    return next(known, f"custom-{n_classes}"), names

"""Detector weights by name: where they are published, which of them are here, what ``auto`` takes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from features.published import PublishedFile, WeightsError
from features.vocabularies import CLASS_LISTS, HUB

__all__ = ["REGISTRY", "WeightsEntry", "WeightsError", "best_backend", "cached", "fetch", "weights_file"]


@dataclass(frozen=True, kw_only=True)
class WeightsEntry(PublishedFile):
    """One downloadable weights file.

    Attributes:
        backend: Which back end reads it.
        variant: Its network, as that back end calls it.
        flavour: Whose key names it has (``features.backends.c4.flavours``); empty for torchvision's own.
        vocabularies: Ids of its lists of objects and attributes.
        quality: What the publisher states about it.
    """

    backend: str
    variant: str
    flavour: str = ""
    vocabularies: tuple[str, ...]
    quality: str

    @property
    def missing(self) -> list[PublishedFile]:
        """What is not on this machine: the weights, their class lists."""
        lists = [CLASS_LISTS[name] for name in self.vocabularies if name in CLASS_LISTS]
        wanted: dict[str, PublishedFile] = {file.file_name: file for file in (self, *lists)}
        return [file for file in wanted.values() if not file.path.is_file()]


_DETECTRON2 = "https://dl.fbaipublicfiles.com/detectron2/COCO-Detection"

REGISTRY: dict[str, WeightsEntry] = {
    # VinVL's own host (penzhanwu2.blob.core.windows.net) is gone: pzzhang/VinVL, issue 32. These two have
    # its file; neither states a digest.
    "vinvl_vg_x152c4": WeightsEntry(
        backend="c4",
        variant="vinvl-x152",
        flavour="maskrcnn-benchmark",
        mirrors=(
            f"{HUB}/michelecafagna26/vinvl_vg_x152c4/resolve/main/vinvl_vg_x152c4.pth",
            "https://dl.fbaipublicfiles.com/mmf/data/models/vinvl/detection/vinvl_vg_x152c4.pth",
        ),
        size_mb=593,
        vocabularies=("vinvl-1594", "vinvl-524-attributes"),
        quality="1,594 objects, 524 attributes of Visual Genome",
    ),
    "frcnn-vg-finetuned": WeightsEntry(
        backend="c4",
        variant="frcnn-vg-finetuned",
        flavour="py-bottom-up-attention",
        mirrors=(f"{HUB}/unc-nlp/frcnn-vg-finetuned/resolve/main/pytorch_model.bin",),
        save_as="frcnn-vg-finetuned.bin",
        size_mb=262,
        vocabularies=("vg-1600", "vg-400-attributes"),
        quality="1,600 objects, 400 attributes of Visual Genome",
    ),
    "faster_rcnn_R_101_C4_3x": WeightsEntry(
        backend="c4",
        variant="coco-r101",
        flavour="detectron2",
        mirrors=(f"{_DETECTRON2}/faster_rcnn_R_101_C4_3x/138204752/model_final_298dad.pkl",),
        save_as="faster_rcnn_R_101_C4_3x.pkl",
        size_mb=212,
        vocabularies=("coco-80",),
        quality="41.1 box AP on COCO val2017",
    ),
    "faster_rcnn_R_50_C4_3x": WeightsEntry(
        backend="c4",
        variant="coco-r50",
        flavour="detectron2",
        mirrors=(f"{_DETECTRON2}/faster_rcnn_R_50_C4_3x/137849393/model_final_f97cb7.pkl",),
        save_as="faster_rcnn_R_50_C4_3x.pkl",
        size_mb=136,
        vocabularies=("coco-80",),
        quality="38.4 box AP on COCO val2017",
    ),
    "fasterrcnn_resnet50_fpn_v2": WeightsEntry(
        backend="torchvision",
        variant="fasterrcnn_resnet50_fpn_v2",
        mirrors=("https://download.pytorch.org/models/fasterrcnn_resnet50_fpn_v2_coco-dd69338a.pth",),
        size_mb=167,
        vocabularies=("coco-80",),
        quality="46.7 box AP on COCO val2017",
    ),
    "fasterrcnn_resnet50_fpn": WeightsEntry(
        backend="torchvision",
        variant="fasterrcnn_resnet50_fpn",
        mirrors=("https://download.pytorch.org/models/fasterrcnn_resnet50_fpn_coco-258fb6c6.pth",),
        size_mb=160,
        vocabularies=("coco-80",),
        quality="37.0 box AP on COCO val2017",
    ),
}
"""Weights by name, best first within a back end; ``--weights NAME`` takes one of them."""


def cached(backend: str) -> str | None:
    """Name of the best weights of a back end that this machine has whole, class lists included."""
    return next((n for n, entry in REGISTRY.items() if entry.backend == backend and not entry.missing), None)


def fetch(name: str) -> Path:
    """The file of a registry entry, downloaded where it is not there, proved to be the one of its first use.

    Raises:
        WeightsError: An unknown name, no connection, or a file that is not the publisher's or changed since.
    """
    if name not in REGISTRY:
        raise WeightsError(
            f"unknown weights {name!r}; choose from {', '.join(sorted(REGISTRY))}, or name a file"
        )
    entry = REGISTRY[name]
    lists = [file for file in entry.missing if file is not entry]
    more = "".join(f"; its class list {file.mirrors[0]} goes to {file.path}" for file in lists)
    return entry.fetch(name, f"name a file with --weights{more}")


def weights_file(backend: str, weights: Path | None) -> Path:
    """The file that a back end shall read.

    Args:
        backend: Its name.
        weights: A file, the name of a registry entry, or None for the best of the registry that this machine
            has, else the best, downloaded.

    Raises:
        FileNotFoundError: No such file.
        WeightsError: The download failed, or the name is of another back end's weights.
    """
    own = [name for name, entry in REGISTRY.items() if entry.backend == backend]
    if weights is None:
        return fetch(cached(backend) or own[0])
    if weights.is_file():
        return weights
    if str(weights) in own:
        return fetch(str(weights))
    if str(weights) in REGISTRY:
        raise WeightsError(
            f"{weights} are weights of the back end {REGISTRY[str(weights)].backend}, not of {backend}; "
            f"wanted is a file or one of {', '.join(own)}"
        )
    raise FileNotFoundError(f"{weights}: no such weights file; name a file, or one of {', '.join(own)}")


def best_backend() -> str:
    """What ``--backend auto`` means here: the best back end whose weights are present.

    ``detectron2`` is never chosen: it has no weights of its own, its user names them.

    Raises:
        FileNotFoundError: None has weights here; nothing is ever run with random ones.
    """
    for backend in ("c4", "torchvision"):
        if cached(backend) is not None:
            return backend
    from features.backends.mini import bundled_weights

    if bundled_weights().is_file():
        return "mini"
    raise FileNotFoundError(
        f"no back end has weights here: {bundled_weights()} (mini, part of the package) is missing, and "
        "those of c4 and torchvision are not downloaded. Install tushuo again, or run with --backend c4 or "
        "--backend torchvision to download them."
    )

"""PASCAL VOC on disk: split lists and boxes (Everingham et al., IJCV 2010)."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path

import numpy as np

__all__ = ["VocPicture", "read_split", "read_voc"]


@dataclass(frozen=True)
class VocPicture:
    """One annotated picture.

    Attributes:
        path: The JPEG file.
        width, height: Pixels.
        boxes: (N, 4) float32 xyxy, 0-based pixels (VOC's own are 1-based).
        labels: (N,) int64 rows of the class list.
        difficult: (N,) bool; such objects are neither trained on nor scored.
    """

    path: Path
    width: int
    height: int
    boxes: np.ndarray
    labels: np.ndarray
    difficult: np.ndarray


def read_split(root: Path, split: str) -> list[str]:
    """Picture ids of ``ImageSets/Main/SPLIT.txt``, in its order.

    Raises:
        FileNotFoundError: ``root`` is not a VOC folder.
    """
    path = root / "ImageSets" / "Main" / f"{split}.txt"
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is missing: {root} is not a VOC folder (wanted: JPEGImages, Annotations, ImageSets)"
        )
    return path.read_text(encoding="ascii").split()


def read_voc(root: Path, image_ids: list[str], classes: tuple[str, ...]) -> list[VocPicture]:
    """Annotations of some pictures.

    Raises:
        ValueError: A file names a class that is not in ``classes``.
    """
    return [_read_picture(root, image_id, classes) for image_id in image_ids]


def _read_picture(root: Path, image_id: str, classes: tuple[str, ...]) -> VocPicture:
    path = root / "Annotations" / f"{image_id}.xml"
    tree = ElementTree.parse(path).getroot()
    boxes, labels, difficult = [], [], []
    for item in tree.iter("object"):
        name = item.findtext("name", "")
        if name not in classes:
            raise ValueError(f"{path}: unknown class {name!r}; the detector's are {', '.join(classes)}")
        corners = [float(item.findtext(f"bndbox/{key}", "nan")) for key in ("xmin", "ymin", "xmax", "ymax")]
        boxes.append([corners[0] - 1, corners[1] - 1, corners[2], corners[3]])
        labels.append(classes.index(name))
        difficult.append(item.findtext("difficult", "0") == "1")
    return VocPicture(
        path=root / "JPEGImages" / f"{image_id}.jpg",
        width=int(tree.findtext("size/width", "0")),
        height=int(tree.findtext("size/height", "0")),
        boxes=np.array(boxes, np.float32).reshape(-1, 4),
        labels=np.array(labels, np.int64),
        difficult=np.array(difficult, bool),
    )

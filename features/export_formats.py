"""Regions files in the formats of other projects, a picture in memory at a time.

``oscar``
    A folder of ``feature.tsv``, ``label.tsv``, ``hw.tsv``, their ``.lineidx`` and ``imageid2idx.json``, as
    ``features.oscar_tsv`` describes them: float32 vectors of D + 6 numbers, the last six being x1/W y1/H
    x2/W y2/H w/W h/H. Vectors of whole pictures and failures have no place in it.
``m2``
    One HDF5 file as Meshed-Memory Transformer and its family read it: ``<n>_features`` (R, D),
    ``<n>_boxes`` (R, 4) and, where several classes a region were kept, ``<n>_cls_prob`` (R, 1 + C) with
    the background first; float32. Pictures are numbers there: the digits that end a picture's name
    (``COCO_val2014_000000391895.jpg`` is 391895) where all names have some and no two the same, else
    their places in the sorted list from 0. ``image_ids`` and ``image_numbers`` say which is which.
``npz``
    A folder of ``PICTURE.npz`` with the arrays of MILVLG's bottom-up attention (``x``, ``bbox``,
    ``num_bbox``, ``image_h``, ``image_w``, ``objects_id``, ``objects_conf`` and, where attributes were kept,
    ``attrs_id``, ``attrs_conf``), float32 and without pickle.
"""

from __future__ import annotations

import base64
import errno
import json
import re
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Any

import h5py
import numpy as np

from features.disk_file import DiskFile
from features.images import picture_path
from features.schema import Regions
from features.store import RegionStore

__all__ = ["FORMATS", "picture_numbers"]

_ENDING_DIGITS = re.compile(r"([0-9]{1,18})\Z")


def write_oscar(store: RegionStore, folder: Path) -> dict[str, str]:
    """The TSV folder.

    Args:
        store: What to export.
        folder: Made here.

    Returns:
        Pictures that are left out -> reason.
    """
    folder.mkdir()
    left_out: dict[str, str] = {}
    lines: dict[str, int] = {}
    with ExitStack() as stack:
        features, labels, sizes = (
            stack.enter_context(_TsvWriter(folder / name)) for name in ("feature.tsv", "label.tsv", "hw.tsv")
        )
        for image_id in store.image_ids:
            if reason := _why_no_key(image_id):
                left_out[image_id] = reason
                continue
            regions = store.regions(image_id)
            lines[image_id] = len(lines)
            features.write(image_id, _feature_json(regions))
            labels.write(image_id, _label_json(regions, store.vocabulary))
            sizes.write(image_id, json.dumps([{"height": regions.height, "width": regions.width}]))
    (folder / "imageid2idx.json").write_text(json.dumps(lines, ensure_ascii=False), encoding="utf-8")
    return left_out


class _TsvWriter:
    """Writes ``NAME.tsv`` and, beside it, ``NAME.lineidx``."""

    def __init__(self, path: Path) -> None:
        self._rows = path.open("wb")
        self._places = path.with_suffix(".lineidx").open("wb")

    def __enter__(self) -> _TsvWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._rows.close()
        self._places.close()

    def write(self, *columns: str) -> None:
        self._places.write(b"%d\n" % self._rows.tell())
        self._rows.write("\t".join(columns).encode("utf-8") + b"\n")


def _why_no_key(image_id: str) -> str | None:
    if image_id != image_id.strip() or any(character in image_id for character in "\t\r\n"):
        return "a TSV key cannot hold tabs and line breaks, nor begin or end with a space; rename the picture"
    return None


def _feature_json(regions: Regions) -> str:
    vectors = np.concatenate([regions.features, regions.geometry], axis=1, dtype="<f4")  # (R, D + 6)
    return json.dumps(
        {"num_boxes": len(vectors), "features": base64.b64encode(vectors.tobytes()).decode("ascii")}
    )


def _label_json(regions: Regions, vocabulary: Sequence[str]) -> str:
    names = [vocabulary[number] for number in regions.object_ids.tolist()]
    rows = zip(names, _decimals(regions.boxes), _decimals(regions.object_scores), strict=True)
    objects = [{"class": name, "rect": rect, "conf": score} for name, rect, score in rows]
    return json.dumps(objects, ensure_ascii=False)


def _decimals(numbers: np.ndarray) -> Any:
    """Float32 numbers as lists of the shortest decimals that read back as they are."""
    return numbers.astype(str).astype(np.float64).tolist()


def write_m2(store: RegionStore, path: Path) -> dict[str, str]:
    """The HDF5 file; see :func:`write_oscar`."""
    numbers = picture_numbers(store.image_ids)
    with DiskFile(path) as disk:
        with h5py.File(disk, "w") as file:
            for image_id, number in numbers.items():
                disk.check()  # a full disk ends the work now, not after the last picture
                regions = store.regions(image_id)
                file[f"{number}_features"] = regions.features.astype(np.float32)
                file[f"{number}_boxes"] = regions.boxes
                if regions.class_ids is not None:
                    file[f"{number}_cls_prob"] = _class_probabilities(regions, len(store.vocabulary))
            file.create_dataset("image_ids", data=list(numbers), dtype=h5py.string_dtype("utf-8"))
            file["image_numbers"] = np.array(list(numbers.values()), np.int64)
        disk.check()
    return {}


def _class_probabilities(regions: Regions, n_classes: int) -> np.ndarray:
    """(R, 1 + C) float32, background first, 0 where a class is not among those that were kept."""
    found = np.zeros((len(regions.boxes), 1 + n_classes), np.float32)
    assert regions.class_ids is not None and regions.class_scores is not None  # noqa: S101  (they are a pair)
    np.put_along_axis(
        found, 1 + regions.class_ids.astype(np.int64), regions.class_scores.astype(np.float32), 1
    )
    return found


def picture_numbers(image_ids: Sequence[str]) -> dict[str, int]:
    """Picture ids -> integers; see the rule at the top of this file."""
    endings = [_ENDING_DIGITS.search(PurePosixPath(image_id).stem) for image_id in image_ids]
    own = [int(ending[1]) for ending in endings if ending]
    if len(set(own)) == len(image_ids):
        return dict(zip(image_ids, own, strict=True))
    return {image_id: place for place, image_id in enumerate(sorted(image_ids))}


def write_npz(store: RegionStore, folder: Path) -> dict[str, str]:
    """The folder of npz files; see :func:`write_oscar`."""
    folder.mkdir()
    left_out: dict[str, str] = {}
    for image_id in store.image_ids:
        regions = store.regions(image_id)
        try:
            path = picture_path(folder, f"{image_id}.npz")
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("xb") as file:
                np.savez(
                    file,
                    x=regions.features.astype(np.float32),
                    bbox=regions.boxes,
                    num_bbox=np.int64(len(regions.boxes)),
                    image_h=np.int64(regions.height),
                    image_w=np.int64(regions.width),
                    objects_id=regions.object_ids,
                    objects_conf=regions.object_scores,
                    **_attributes(regions),
                )
        except ValueError as error:  # an id that leads out of the folder
            left_out[image_id] = str(error)
        except OSError as error:
            if error.errno != errno.ENAMETOOLONG:
                raise
            left_out[image_id] = "its name is too long for one more suffix; rename the picture"
    return left_out


def _attributes(regions: Regions) -> dict[str, Any]:
    if regions.attribute_ids is None or regions.attribute_scores is None:
        return {}
    return {"attrs_id": regions.attribute_ids, "attrs_conf": regions.attribute_scores}


FORMATS: dict[str, Callable[[RegionStore, Path], dict[str, str]]] = {
    "oscar": write_oscar,
    "m2": write_m2,
    "npz": write_npz,
}
"""Writers by name of the format."""

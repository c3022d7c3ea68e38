"""Captions joined with a regions file by picture, and what either side lacks.

Ids are paired as predictions and references are (``eval.matching``): a path may lack its folders, its suffix
or both on either side, and COCO's names and numbers of a picture are one, so that the captions of a Karpathy
file find features that VinVL published under bare numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from captioning.caption_record import CaptionRecord
from eval.matching import match_ids
from features.store import RegionStore


@dataclass(frozen=True, kw_only=True)
class Join:
    """Captioned pictures that have regions, and what either side lacks."""

    records: tuple[CaptionRecord, ...]
    """With the ids of the regions file."""
    without_regions: tuple[str, ...]
    without_captions: tuple[str, ...]
    failed: Mapping[str, str] = field(default_factory=dict)
    """Of the pictures without regions, those that could not be used when they were extracted -> reason."""

    def report(self) -> list[str]:
        """One line a lack, with its number and first ten names."""
        lacks = (
            (self.without_regions, "captioned pictures without regions are left out"),
            (
                [f"{image_id} ({reason})" for image_id, reason in self.failed.items()],
                "of them could not be used when the regions were extracted",
            ),
            (self.without_captions, "pictures of the regions file have no captions in this split"),
        )
        return [f"{len(names)} {what}: {first_ten(names)}" for names, what in lacks if names]


def join(records: Sequence[CaptionRecord], store: RegionStore) -> Join:
    """Matches captions with regions by picture id.

    Raises:
        ValueError: no picture has both, with ids of either side; or an id could be several pictures.
    """
    image_ids = store.image_ids
    matches = match_ids([record.image_id for record in records], image_ids)
    found = tuple(
        record if full == record.image_id else replace(record, image_id=full)
        for record in records
        if record.captions and (full := matches.references.get(record.image_id)) is not None
    )
    if not found:
        raise ValueError(
            f"none of the {len(records)} captioned pictures has regions; captions name "
            f"{first_ten([record.image_id for record in records])}; the regions file has "
            f"{first_ten(image_ids)}. Extract the pictures that the captions are of."
        )
    failed = store.failed
    return Join(
        records=found,
        without_regions=matches.extra,
        without_captions=matches.missing,
        failed={image_id: failed[image_id] for image_id in matches.extra if image_id in failed},
    )


def first_ten(names: Sequence[str]) -> str:
    """The first ten of some names."""
    return ", ".join(names[:10]) + (", …" if len(names) > 10 else "")

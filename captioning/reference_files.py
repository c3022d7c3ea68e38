"""Captions of people to a file, in the format that keeps all that `eval.annotations` read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from eval.annotations import ReferenceFile


def reference_content(references: ReferenceFile) -> Any:
    """Ready for JSON.

    With splits: Karpathy's format, the one that has them. With numbers of pictures: COCO captions. With
    neither: AIC-ICC.
    """
    numbers = {image_id: number for number, image_id in references.numbers.items()}
    if references.splits:
        return {"images": list(_karpathy(references, numbers))}
    if numbers:
        return _coco(references, numbers)
    return [{"image_id": image_id, "caption": list(texts)} for image_id, texts in references.captions.items()]


def _karpathy(references: ReferenceFile, numbers: dict[str, str]) -> Iterator[dict[str, Any]]:
    for image_id, texts in references.captions.items():
        image: dict[str, Any] = {"filename": image_id, "sentences": [{"raw": text} for text in texts]}
        if image_id in numbers:
            image["cocoid"] = _number(numbers[image_id])
        if image_id in references.splits:
            image["split"] = references.splits[image_id]
        yield image


def _coco(references: ReferenceFile, numbers: dict[str, str]) -> dict[str, Any]:
    ids = {image_id: _number(numbers.get(image_id, image_id)) for image_id in references.captions}
    sentences = ((ids[image_id], text) for image_id, texts in references.captions.items() for text in texts)
    return {
        "images": [
            {"id": number} | ({"file_name": image_id} if image_id in numbers else {})
            for image_id, number in ids.items()
        ],
        "annotations": [
            {"id": place, "image_id": number, "caption": text}
            for place, (number, text) in enumerate(sentences, start=1)
        ],
    }


def _number(digits: str) -> int | str:
    """A number as JSON has it; what is no number, or has zeros in front, stays a string."""
    return int(digits) if digits.isdecimal() and str(int(digits)) == digits else digits

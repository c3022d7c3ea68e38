"""Pictures of a validation with their boxes and captions, for whoever watches a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from PIL.Image import Image

from captioning.dataset import CaptionedPictures
from features.draw import draw_boxes, region_labels, with_text
from features.images import ImageError, picture_path, read_image

WIDTH, HEIGHT = 420, 280
"""Pixels of a picture at most; with its captions below, a card of TensorBoard halves it. About 30 kB."""
BOXES = 4
"""Boxes drawn, the best ones."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """What the model wrote about a picture."""

    image_id: str
    caption: str
    references: tuple[str, ...]
    """What people wrote."""
    picture: Image | None
    """RGB, with boxes and, where the machine has a Chinese font, both captions below; None where no picture
    is at hand."""


class SamplePictures:
    """The pictures of a validation split, as far as their folder has them."""

    def __init__(self, root: Path | None, pictures: CaptionedPictures) -> None:
        """Takes the folder of the pictures, if there is one; nothing is read before it is shown."""
        self._root, self._pictures = root, pictures
        self._drawn: dict[str, Image | None] = {}

    @cached_property
    def _rows(self) -> dict[str, int]:
        return {record.image_id: row for row, record in enumerate(self._pictures.records)}

    def of(self, captions: Mapping[str, str]) -> list[Sample]:
        """A sample of each caption, by picture id."""
        return [self._sample(image_id, caption) for image_id, caption in captions.items()]

    def _sample(self, image_id: str, caption: str) -> Sample:
        references = self._pictures.records[self._rows[image_id]].captions
        if image_id not in self._drawn:  # the same few pictures are shown at every validation
            self._drawn[image_id] = None if self._root is None else self._draw(self._root, image_id)
        picture = self._drawn[image_id]
        if picture is not None:
            picture = with_text(picture, [(caption, "black"), (references[0], "gray")])
        return Sample(image_id=image_id, caption=caption, references=references, picture=picture)

    def _draw(self, root: Path, image_id: str) -> Image | None:
        """The picture with its best boxes; None if it is missing or broken, which stops no training."""
        regions = self._pictures.regions(self._rows[image_id])
        try:
            picture = read_image(picture_path(root, regions.image_id))
        except (ImageError, ValueError, OSError):
            return None
        picture.thumbnail((WIDTH, HEIGHT))
        scale = [picture.width / regions.width, picture.height / regions.height] * 2
        labels = region_labels(regions, self._pictures.lexicon)
        return draw_boxes(
            picture,
            regions.boxes[:BOXES] * scale,
            labels[:BOXES],
            object_ids=regions.object_ids[:BOXES].tolist(),
        )

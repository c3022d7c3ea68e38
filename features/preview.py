"""``python -m features.preview REGIONS --images DIR --out OUT``: regions and Chinese tags, to be looked at.

OUT is a folder (``pictures/ID.jpg`` for each, and contact sheets ``sheets/001.jpg`` …) or, where it ends in
.jpg or .png, one contact sheet. Pictures are taken at even distances from the sorted list. Exit codes: 0 all
of them, 3 some could not be shown (they are listed), 2 wrong usage, 1 nothing was written.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from features.arguments import parse_config
from features.aside import written_aside
from features.draw import cjk_font, contact_sheet, draw_boxes, region_labels
from features.images import picture_path, read_image
from features.progress import failure_lines, printable, say
from features.schema import Regions
from features.store import RegionStore
from features.tags import Lexicon, LexiconError, tags_of

__all__ = ["Preview", "PreviewConfig", "main", "preview"]

OK, FATAL, SOME_FAILED = 0, 1, 3
_SHEET_SUFFIXES = (".jpg", ".jpeg", ".png")
_SUFFIXES_TRIED = ("", ".jpg", ".jpeg", ".png")  # imported picture ids have none


@dataclass(frozen=True, kw_only=True)
class PreviewConfig:
    """Draw the regions of a regions file and their tags into the pictures."""

    regions: Path
    """The regions file, or the folder of shards of an unfinished extraction."""
    images: Path
    """Folder of the pictures."""
    out: Path
    """A folder that does not exist yet; or FILE.jpg, FILE.png for one contact sheet alone."""
    limit: int = 24
    """Pictures shown, taken at even distances from the sorted list."""
    max_boxes: int = 20
    """Regions drawn into a picture, the best ones."""
    min_score: float = 0.2
    """Regions below are not drawn, nor named as tags."""
    side: int = 960
    """Pixels of a preview's longer side, at most."""
    per_sheet: int = 24
    """Pictures on a contact sheet."""
    lexicon: str = "zh"
    """Chinese names: zh, or a lexicon file of your own."""
    english: bool = False
    """Write English class names."""

    def __post_init__(self) -> None:
        for name, least in (("limit", 1), ("max_boxes", 0), ("side", 64), ("per_sheet", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be {least} or more, got {getattr(self, name)}")


@dataclass(frozen=True, kw_only=True)
class Preview:
    """How a preview went.

    Attributes:
        n_shown: Pictures.
        n_sheets: Contact sheets.
        failed: Pictures that could not be shown -> reason.
    """

    n_shown: int
    n_sheets: int
    failed: dict[str, str]


def preview(config: PreviewConfig) -> Preview:
    """Do what the command does, less its last words.

    Raises:
        features.schema.StoreError: The regions file cannot be read.
        features.tags.LexiconError: A lexicon of the user's own that does not fit.
        OSError: The output exists, or the disk.
        ValueError: None of the pictures could be shown.
    """
    one_sheet = config.out.suffix.lower() in _SHEET_SUFFIXES
    failed: dict[str, str] = {}
    n_shown = n_sheets = 0
    with RegionStore(config.regions) as store, written_aside(config.out) as aside:
        painter = _Painter(config, store)
        ids = _evenly(store.image_ids, config.limit)
        if not one_sheet:
            (aside / "sheets").mkdir(parents=True)
        per_sheet = len(ids) if one_sheet else config.per_sheet
        for start in range(0, len(ids), max(1, per_sheet)):
            shown = dict(painter.paint(ids[start : start + per_sheet], failed))
            if not shown:
                continue
            n_shown, n_sheets = n_shown + len(shown), n_sheets + 1
            if not one_sheet:
                for image_id, (drawn, _) in shown.items():
                    path = picture_path(aside / "pictures", f"{image_id}.jpg")
                    path.parent.mkdir(parents=True, exist_ok=True)
                    drawn.save(path, "JPEG", quality=90, subsampling=0)  # thin coloured lines
            sheet = contact_sheet(
                [drawn for drawn, _ in shown.values()],
                [f"{tags}\n{image_id}" for image_id, (_, tags) in shown.items()],
            )
            path = aside if one_sheet else aside / "sheets" / f"{n_sheets:03d}.jpg"
            sheet.save(path, "PNG" if config.out.suffix.lower() == ".png" else "JPEG", quality=90)
        if not n_shown:
            first = next(iter(failed.items()), ("", "the file holds none"))
            raise ValueError(
                f"no picture of {config.regions} could be shown: {': '.join(filter(None, first))}"
            )
    return Preview(n_shown=n_shown, n_sheets=n_sheets, failed=failed)


def _evenly(ids: list[str], limit: int) -> list[str]:
    if len(ids) <= limit:
        return ids
    return [ids[place * len(ids) // limit] for place in range(limit)]


class _Painter:
    """Pictures with their regions drawn in; names them as the lexicon does, else in English."""

    def __init__(self, config: PreviewConfig, store: RegionStore) -> None:
        self._config = config
        self._store = store
        self._lexicon: Lexicon | None = None
        try:
            self._lexicon = Lexicon.load(config.lexicon, store.vocabulary_id, store.vocabulary)
        except LexiconError as error:
            if config.lexicon != "zh":
                raise
            say(f"class names are written in English: {error}")
        self._english = config.english or self._lexicon is None
        if not self._english and cjk_font() is None:
            say("no font with Chinese characters on this machine (see captioning.doctor): names are English")
            self._english = True

    def paint(
        self, image_ids: list[str], failed: dict[str, str]
    ) -> Iterator[tuple[str, tuple[Image.Image, str]]]:
        """Picture id, picture and tags; those that cannot be shown go to ``failed`` with the reason."""
        for image_id in image_ids:
            try:
                regions = self._store.regions(image_id)
                yield image_id, (self._draw(regions), self._tags(regions))
            except ValueError as error:  # ImageError, or an id that leads out of the folder
                failed[image_id] = str(error)

    def _draw(self, regions: Regions) -> Image.Image:
        image = read_image(self._path(regions.image_id))
        if image.size != (regions.width, regions.height):
            raise ValueError(
                f"the picture has {image.width}x{image.height} pixels, its regions were found in one of "
                f"{regions.width}x{regions.height}"
            )
        image.thumbnail((self._config.side, self._config.side))
        scores = regions.object_scores
        n_shown = min(int((scores >= self._config.min_score).sum()), self._config.max_boxes)
        names = self._names(regions)[:n_shown]
        return draw_boxes(
            image,
            regions.boxes[:n_shown] * (image.width / regions.width),
            [f"{name} {score:.2f}" for name, score in zip(names, scores, strict=False)],
            object_ids=regions.object_ids[:n_shown].tolist(),
        )

    def _path(self, image_id: str) -> Path:
        paths = [picture_path(self._config.images, image_id + suffix) for suffix in _SUFFIXES_TRIED]
        return next((path for path in paths if path.is_file()), paths[0])

    def _names(self, regions: Regions) -> list[str]:
        if self._lexicon is None:
            return [self._store.vocabulary[number] for number in regions.object_ids.tolist()]
        return region_labels(regions, self._lexicon, english=self._english)

    def _tags(self, regions: Regions) -> str:
        """The picture's tags, as a captioner would read them."""
        if self._lexicon is None:
            kept = int((regions.object_scores >= self._config.min_score).sum())
            return " ".join(dict.fromkeys(self._names(regions)[:kept]))
        tags = tags_of(regions, self._lexicon, min_score=self._config.min_score)
        return " ".join(tag.name if self._english else tag.text for tag in tags)


def main(argv: list[str] | None = None) -> int:
    """The command; returns its exit code."""
    config: PreviewConfig = parse_config("features.preview", PreviewConfig, argv, positional=("regions",))
    try:
        done = preview(config)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"error: {printable(str(error))}\n")
        return FATAL
    for line in failure_lines(done.failed, limit=len(done.failed)):
        sys.stdout.write(line + "\n")
    sys.stdout.write(
        f"{done.n_shown} pictures / {len(done.failed)} failed -> {printable(str(config.out))} "
        f"({done.n_sheets} contact sheets)\n"
    )
    return SOME_FAILED if done.failed else OK


if __name__ == "__main__":
    sys.exit(main())

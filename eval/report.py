"""One HTML page that shows how well each picture was captioned; needs no network and no other file.

Everything that came from a file (ids, captions, tags, the title) is escaped by the template engine; boxes
come as SVG from `features.draw`, which escapes its own text.
"""

import base64
import datetime
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.resources import files
from io import BytesIO
from pathlib import Path
from typing import Any

from eval.annotations import PredictedCaption
from eval.evaluation import Evaluation
from eval.matching import match_ids
from eval.metrics import METRIC_TITLES

THUMBNAIL_SIDE = 360
"""Longest side of an embedded picture in pixels; about 15 kB each."""
BOX_MIN_SCORE = 0.2
"""As for object tags: weaker regions inform the model, but would bury a small picture."""
MAX_BOXES = 12
SORT_METRIC = "cider"


@dataclass(frozen=True, kw_only=True)
class Card:
    """One picture on the page."""

    rank: int
    image_id: str
    prediction: PredictedCaption
    references: tuple[str, ...]
    scores: list[dict[str, float]]
    """Metric -> number, one dict a protocol."""
    thumbnail: str | None
    """Data URI of a small JPEG."""
    thumbnail_error: str | None
    boxes: str | None
    """SVG to lie over the picture."""


def write_report(path: Path, evaluation: Evaluation, **options: Any) -> None:
    """Write the page of `render_report`, whose options these are, to a UTF-8 file."""
    path.write_text(render_report(evaluation, **options), encoding="utf-8")


def render_report(
    evaluation: Evaluation,
    *,
    title: str = "Caption scores",
    images: Path | None = None,
    regions: Path | None = None,
    max_pictures: int = 300,
) -> str:
    """The page as one HTML string.

    Args:
        evaluation: What `evaluate_files` returned.
        title: Heading.
        images: Folder of the pictures; each is embedded as a small JPEG.
        regions: Regions file; its boxes are laid over the pictures.
        max_pictures: Cards shown. Of more pictures, evenly spaced ranks by CIDEr, the best and the worst
            among them.

    Raises:
        ValueError: An image id fits several files of the folder, or the regions file cannot be used.
        OSError: ``images`` is no folder.
    """
    import jinja2

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string(files("eval").joinpath("report.html.j2").read_text(encoding="utf-8"))
    with ExitStack() as stack:
        thumbnails = _thumbnails(images, list(evaluation.references)) if images else None
        boxes = _boxes(regions, stack) if regions else None
        cards = [
            _card(evaluation, rank, image_id, thumbnails, boxes)
            for rank, image_id in spaced(ranked_pictures(evaluation), max_pictures)
        ]
    return template.render(
        title=title,
        evaluation=evaluation,
        system=evaluation.systems[0],
        metrics={name: METRIC_TITLES[name] for name in evaluation.systems[0].scores[0].overall},
        sort_metric=SORT_METRIC,
        sort_title=METRIC_TITLES[SORT_METRIC],
        n_references=sum(len(texts) for texts in evaluation.references.values()),
        cards=cards,
        with_pictures=images is not None,
        date=datetime.date.today().isoformat(),
    )


def ranked_pictures(evaluation: Evaluation) -> list[tuple[int, str]]:
    """(rank from 1, image id), best CIDEr of the first protocol first; ties by id."""
    per_image = evaluation.systems[0].scores[0].per_image
    return list(enumerate(sorted(per_image, key=lambda i: (-per_image[i][SORT_METRIC], i)), start=1))


def spaced(ranked: Sequence[tuple[int, str]], n: int) -> list[tuple[int, str]]:
    """At most ``n`` (2 or more) of the pictures at even distances, first and last included."""
    if len(ranked) <= n:
        return list(ranked)
    return [ranked[round(i * (len(ranked) - 1) / (n - 1))] for i in range(n)]


def _card(
    evaluation: Evaluation,
    rank: int,
    image_id: str,
    thumbnails: Callable[[str], str] | None,
    boxes: Callable[[str], str | None] | None,
) -> Card:
    thumbnail = reason = None
    if thumbnails:
        try:
            thumbnail = thumbnails(image_id)
        except ValueError as error:  # one unreadable picture costs its thumbnail, not the report
            reason = str(error)
    return Card(
        rank=rank,
        image_id=image_id,
        prediction=evaluation.systems[0].captions[image_id],
        references=evaluation.references[image_id],
        scores=[scores.per_image[image_id] for scores in evaluation.systems[0].scores],
        thumbnail=thumbnail,
        thumbnail_error=reason,
        boxes=boxes(image_id) if boxes and thumbnail else None,
    )


def _thumbnails(folder: Path, image_ids: list[str]) -> Callable[[str], str]:
    """Image id -> data URI; a picture that is missing or broken raises ValueError with the reason."""
    from PIL import Image

    from features.images import find_images, picture_path, read_image

    paths = match_ids(image_ids, find_images(folder)).references

    def thumbnail(image_id: str) -> str:
        if image_id not in paths:
            raise ValueError("not in the folder of pictures")
        image = read_image(picture_path(folder, paths[image_id]))
        image.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE), Image.Resampling.LANCZOS)
        data = BytesIO()
        image.save(data, "JPEG", quality=78, optimize=True)
        return "data:image/jpeg;base64," + base64.b64encode(data.getvalue()).decode("ascii")

    return thumbnail


def _boxes(path: Path, stack: ExitStack) -> Callable[[str], str | None]:
    """Image id -> SVG of its best boxes, None for a picture that the regions file does not hold."""
    from markupsafe import Markup

    from features.draw import boxes_svg, region_labels
    from features.store import RegionStore
    from features.tags import Lexicon, LexiconError

    store = stack.enter_context(RegionStore(path))
    try:
        lexicon = Lexicon.load("zh", store.vocabulary_id, store.vocabulary)
    except LexiconError:  # classes that nobody has translated keep their English names
        lexicon = None

    def svg(image_id: str) -> str | None:
        if image_id not in store:
            return None
        regions = store.regions(image_id)
        names = [store.vocabulary[i] for i in regions.object_ids]
        labels = region_labels(regions, lexicon) if lexicon else names
        # the drawing escapes its text
        return Markup(boxes_svg(regions, labels, min_score=BOX_MIN_SCORE, max_boxes=MAX_BOXES))

    return svg

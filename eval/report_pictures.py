"""The pictures of the report: which are shown, and what stands on the card of each."""

import base64
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from eval.annotations import PredictedCaption
from eval.evaluation import Evaluation
from eval.matching import match_ids
from eval.metrics import Tokens
from eval.overlap import Mark, overlap_marks
from eval.protocols import Protocol
from eval.shown import shown
from eval.tag_recall import MIN_SCORE, NamedObjects

THUMBNAIL_SIDE = 360
"""Longest side of an embedded picture in pixels; about 15 kB each."""
MAX_BOXES = 12
GROUP = 12
"""Pictures among the best, in the middle, among the worst and among those that systems differ on most."""
LONGEST_CAPTION = 400
"""Characters shown of a caption."""

Piece = tuple[str, int]
"""Text, and the length of the n-gram in common that it belongs to (0: none)."""
Sentence = tuple[str, Tokens]
"""Text as it is shown, and its tokens."""
Ranked = tuple[int, str]
"""Rank from 1, image id."""


@dataclass(frozen=True, kw_only=True)
class Group:
    """Neighbours in the ranking, under one heading."""

    key: str
    """Of the heading in `eval.texts.TEXTS`."""
    pictures: Sequence[Ranked]
    folded: bool = False


@dataclass(frozen=True, kw_only=True)
class Said:
    """What one system says of a picture."""

    index: int
    """Of the system."""
    pieces: tuple[Piece, ...]
    score: float
    """By the metric that the pictures are ranked by."""
    best: bool
    """Whether no other system scores as much on this picture."""
    scores: tuple[Mapping[str, float], ...]
    """Metric -> number, one dict a protocol."""
    prediction: PredictedCaption


@dataclass(frozen=True, kw_only=True)
class Thumbnail:
    """A picture made small."""

    uri: str
    """JPEG as a data URI."""
    width: int
    """Pixels; told to the browser, so that nothing moves when the picture is decoded."""
    height: int


@dataclass(frozen=True, kw_only=True)
class Card:
    """One picture on the page."""

    rank: int
    image_id: str
    said: tuple[Said, ...]
    references: tuple[tuple[Piece, ...], ...]
    objects: NamedObjects | None
    """What any of the systems names counts as named; None where nobody looked for objects."""
    alt: str
    """What a person says of the picture."""
    thumbnail: Thumbnail | None
    thumbnail_error: str | None
    boxes: str | None
    """SVG to lie over the picture."""


def ranking_metric(evaluation: Evaluation) -> str:
    """CIDEr; where it was not asked for, the first metric that was."""
    metrics = evaluation.systems[0].scores[0].overall
    return "cider" if "cider" in metrics else next(iter(metrics))


def ranked_pictures(evaluation: Evaluation) -> list[Ranked]:
    """Best picture of the first system under the first protocol first; ties by id."""
    metric = ranking_metric(evaluation)
    per_image = evaluation.systems[0].scores[0].per_image
    return list(enumerate(sorted(per_image, key=lambda i: (-per_image[i][metric], i)), start=1))


def most_changed(evaluation: Evaluation) -> list[Ranked]:
    """Pictures on which the systems' scores lie farthest apart, those first; none where all are equal."""
    metric = ranking_metric(evaluation)
    distances: list[tuple[float, Ranked]] = []
    for rank, image_id in ranked_pictures(evaluation):
        values = [system.scores[0].per_image[image_id][metric] for system in evaluation.systems]
        distances.append((max(values) - min(values), (rank, image_id)))
    distances.sort(key=lambda each: -each[0])
    return [ranked for distance, ranked in distances[:GROUP] if distance > 0]


def picture_groups(ranked: Sequence[Ranked], most: int) -> list[Group]:
    """At most ``most`` (2 or more) pictures, from the best to the worst.

    All of a few; of many, the best, the middle and the worst, with others at even distances between them.
    """
    if len(ranked) <= min(most, 3 * GROUP):
        return [Group(key="all", pictures=ranked)]
    edge = min(GROUP, max(most // 3, 1))
    n_middle = min(edge, most - 2 * edge)
    start = (len(ranked) - n_middle) // 2
    n_between = (most - 2 * edge - n_middle) // 2
    groups = [
        Group(key="best", pictures=ranked[:edge]),
        Group(key="above", pictures=spaced(ranked[edge:start], n_between), folded=True),
        Group(key="middle", pictures=ranked[start : start + n_middle]),
        Group(key="below", pictures=spaced(ranked[start + n_middle : -edge], n_between), folded=True),
        Group(key="worst", pictures=ranked[-edge:]),
    ]
    return [group for group in groups if group.pictures]


def spaced(ranked: Sequence[Ranked], n: int) -> Sequence[Ranked]:
    """At most ``n`` of the pictures at even distances, first and last included where n is 2 or more."""
    if len(ranked) <= n:
        return ranked
    if n < 2:
        return ranked[:n]
    return [ranked[round(i * (len(ranked) - 1) / (n - 1))] for i in range(n)]


class CardMaker:
    """Makes cards; opens the folder of pictures and the regions file once.

    Args:
        evaluation: Of which the cards show pictures.
        protocol: The first of the evaluation, for the marks.
        image_ids: All that will be asked for.
        images: Folder of the pictures.
        stack: Closes the regions file of the settings.

    Raises:
        ValueError: An image id fits several files of the folder or several pictures of the regions file, or
            that cannot be used.
        OSError: ``images`` is no folder.
    """

    def __init__(
        self,
        evaluation: Evaluation,
        protocol: Protocol,
        image_ids: Sequence[str],
        images: Path | None,
        stack: ExitStack,
    ) -> None:
        self._evaluation = evaluation
        self._protocol = protocol
        self._metric = ranking_metric(evaluation)
        self._thumbnails = _thumbnails(images, image_ids) if images else None
        regions = evaluation.settings.regions
        self._boxes = _boxes(regions, image_ids, stack) if regions else None

    def card(self, rank: int, image_id: str) -> Card:
        """The card of one picture."""
        thumbnail = reason = None
        if self._thumbnails:
            try:
                thumbnail = self._thumbnails(image_id)
            except ValueError as error:  # one unreadable picture costs its thumbnail, not the report
                reason = shown(str(error))
        references = [self._cut(text) for text in self._evaluation.references[image_id]]
        captions = [self._cut(system.captions[image_id].caption) for system in self._evaluation.systems]
        return Card(
            rank=rank,
            image_id=image_id,
            said=self._said(image_id, captions, references),
            references=tuple(_pieces(reference, captions) for reference in references),
            objects=self._objects(image_id),
            alt=references[0][0],
            thumbnail=thumbnail,
            thumbnail_error=reason,
            boxes=self._boxes(image_id) if self._boxes and thumbnail else None,
        )

    def _said(
        self, image_id: str, captions: Sequence[Sentence], references: Sequence[Sentence]
    ) -> tuple[Said, ...]:
        systems = self._evaluation.systems
        values = [system.scores[0].per_image[image_id][self._metric] for system in systems]
        return tuple(
            Said(
                index=index,
                pieces=_pieces(caption, references),
                score=value,
                best=value == max(values) and values.count(value) == 1 < len(values),
                scores=tuple(scores.per_image[image_id] for scores in system.scores),
                prediction=system.captions[image_id],
            )
            for index, (system, caption, value) in enumerate(zip(systems, captions, values, strict=True))
        )

    def _objects(self, image_id: str) -> NamedObjects | None:
        recalls = [system.tag_recall for system in self._evaluation.systems if system.tag_recall]
        found = [recall.per_image[image_id] for recall in recalls if image_id in recall.per_image]
        if not found:
            return None
        named = {name for each in found for name in each.named}
        detected = named.union(*(each.not_named for each in found))
        not_detected = {name for each in found for name in each.not_detected}
        return NamedObjects(
            named=tuple(sorted(named)),
            not_named=tuple(sorted(detected - named)),
            not_detected=tuple(sorted(not_detected - detected)),
        )

    def _cut(self, text: str) -> Sentence:
        visible = shown(text, LONGEST_CAPTION)
        return visible, self._protocol.cut(visible)


def _pieces(sentence: Sentence, others: Sequence[Sentence]) -> tuple[Piece, ...]:
    text, tokens = sentence
    return pieces(text, overlap_marks(text, tokens, [other for _, other in others]))


def pieces(text: str, marks: Sequence[Mark]) -> tuple[Piece, ...]:
    """A text in parts, marked and unmarked ones, in order."""
    parts: list[Piece] = []
    end = 0
    for mark in marks:
        parts += [(text[end : mark.start], 0), (text[mark.start : mark.end], mark.n)]
        end = mark.end
    parts.append((text[end:], 0))
    return tuple(part for part in parts if part[0])


def _thumbnails(folder: Path, image_ids: Sequence[str]) -> Callable[[str], Thumbnail]:
    """Image id -> thumbnail; a picture that is missing or broken raises ValueError with the reason."""
    from PIL import Image

    from features.images import find_images, picture_path, read_image

    paths = match_ids(image_ids, find_images(folder)).references

    def thumbnail(image_id: str) -> Thumbnail:
        if image_id not in paths:
            raise ValueError("not in the folder of pictures")
        image = read_image(picture_path(folder, paths[image_id]))
        image.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE), Image.Resampling.LANCZOS)
        data = BytesIO()
        image.save(data, "JPEG", quality=78, optimize=True)
        uri = "data:image/jpeg;base64," + base64.b64encode(data.getvalue()).decode("ascii")
        return Thumbnail(uri=uri, width=image.width, height=image.height)

    return thumbnail


def _boxes(path: Path, image_ids: Sequence[str], stack: ExitStack) -> Callable[[str], str | None]:
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
    names_in_file = match_ids(image_ids, store.image_ids).references

    def svg(image_id: str) -> str | None:
        if image_id not in names_in_file:
            return None
        regions = store.regions(names_in_file[image_id])
        names = [store.vocabulary[i] for i in regions.object_ids]
        labels = region_labels(regions, lexicon) if lexicon else names
        # the drawing escapes its text
        return Markup(boxes_svg(regions, labels, min_score=MIN_SCORE, max_boxes=MAX_BOXES))

    return svg

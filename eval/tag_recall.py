"""Which detected objects captions name, and which objects they name that were not detected.

The second is the idea of CHAIR (Rohrbach et al., arXiv:1809.02156): an object that a caption names and the
picture does not show. CHAIR holds captions against what people annotated. Here there are only a detector's
regions, or the tags that the captioner was given, so that "not detected" may as well be the detector's miss,
and the numbers depend on the detector and its vocabulary: compare systems over the same detections. What
naming an object means is said in `eval.naming`.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from eval.annotations import PredictedCaption
from eval.matching import match_ids
from eval.naming import Namer, one_name
from eval.protocols import find_protocol

MIN_SCORE = 0.2
"""As for object tags: regions below are not told to the captioner either."""


@dataclass(frozen=True, kw_only=True)
class Detections:
    """Objects by picture."""

    objects: Mapping[str, frozenset[str]]
    """Image id -> Chinese names; a picture that nobody looked at is missing."""
    vocabulary: frozenset[str]
    """All names that could have been detected."""
    source: str
    """Where they come from, for the reader of the numbers."""


@dataclass(frozen=True, kw_only=True)
class NamedObjects:
    """One picture; names are sorted, and those of `eval.naming.one_name`."""

    named: tuple[str, ...]
    """Detected, and named by the caption."""
    not_named: tuple[str, ...]
    """Detected, but not named."""
    not_detected: tuple[str, ...]
    """Named, though not detected."""


@dataclass(frozen=True, kw_only=True)
class TagRecall:
    """One system's captions and what was detected."""

    source: str
    vocabulary: int
    """Different objects that could be detected."""
    n_images: int
    """With detections to compare with, be they none; other pictures are left out."""
    named: int
    """Detected objects that captions name, added up over pictures."""
    not_named: int
    not_detected: int
    recall: float | None
    """Named / all detected objects; None where nothing was detected."""
    not_detected_share: float | None
    """Not detected / all named objects, like CHAIR_i; None where none is named."""
    images_not_detected: float
    """Share of the pictures whose caption names such an object, like CHAIR_s."""
    per_image: dict[str, NamedObjects]


def measure_tag_recall(
    captions: Mapping[str, str], detections: Detections, cut: Callable[[str], list[str]] | None = None
) -> TagRecall:
    """Hold captions against detections.

    Args:
        captions: Image id -> Chinese caption.
        detections: Of these pictures or of some of them, one or more.
        cut: Caption -> words of the protocol aic-icc, where they are known already.

    Raises:
        ValueError: There are no detections for any of the pictures.
    """
    cut = cut or find_protocol("aic-icc").cut
    namer = Namer(detections.vocabulary)
    per_image = {
        image_id: _compare(namer.objects(cut(caption)), detections.objects[image_id])
        for image_id, caption in captions.items()
        if image_id in detections.objects
    }
    if not per_image:
        raise ValueError(f"{detections.source}: none of the {len(captions)} pictures is there")
    named = sum(len(each.named) for each in per_image.values())
    not_named = sum(len(each.not_named) for each in per_image.values())
    not_detected = sum(len(each.not_detected) for each in per_image.values())
    return TagRecall(
        source=detections.source,
        vocabulary=len(namer.vocabulary),
        n_images=len(per_image),
        named=named,
        not_named=not_named,
        not_detected=not_detected,
        recall=_share(named, not_named),
        not_detected_share=_share(not_detected, named),
        images_not_detected=sum(bool(each.not_detected) for each in per_image.values()) / len(per_image),
        per_image=per_image,
    )


def detections_of_predictions(predictions: Mapping[str, PredictedCaption]) -> Detections | None:
    """The tags that a file of predictions holds; None if it holds none.

    The vocabulary is that of all its tags, the only ones of which it is known that they could be detected.
    """
    objects = {image_id: frozenset(predicted.tags) for image_id, predicted in predictions.items()}
    vocabulary = frozenset[str]().union(*objects.values())
    if not vocabulary:
        return None
    return Detections(objects=objects, vocabulary=vocabulary, source="tags in the predictions")


def detections_of_regions(
    path: Path, image_ids: Iterable[str], *, min_score: float = MIN_SCORE
) -> Detections:
    """The objects of a regions file, by their Chinese names.

    Args:
        path: Regions file, or a folder of shards.
        image_ids: Pictures wanted, matched with the file's by `eval.matching`; those it lacks are left out.
        min_score: Regions below are no detections.

    Raises:
        StoreError: The file cannot be used, or holds none of the pictures.
        ValueError: An id could be several pictures of the file.
        LexiconError: Nobody has named its classes in Chinese.
    """
    from features.store import RegionStore, StoreError
    from features.tags import Lexicon, tags_of

    with RegionStore(path) as store:
        lexicon = Lexicon.load("zh", store.vocabulary_id, store.vocabulary)
        objects = {
            image_id: frozenset(
                tag.text for tag in tags_of(store.regions(name), lexicon, min_score=min_score)
            )
            for image_id, name in match_ids(image_ids, store.image_ids).references.items()
        }
        if not objects:
            raise StoreError(
                f"{path}: none of the pictures that are scored is there; its ids are like "
                f"{', '.join(map(repr, store.image_ids[:2]))}. Extract the regions of these pictures."
            )
        source = f"{path.name}, {store.vocabulary_id}, score ≥ {min_score}"
    vocabulary = frozenset(text for text in lexicon.texts if text is not None)
    return Detections(objects=objects, vocabulary=vocabulary, source=source)


def _compare(said: frozenset[str], names: frozenset[str]) -> NamedObjects:
    detected = frozenset(map(one_name, names))
    return NamedObjects(
        named=tuple(sorted(detected & said)),
        not_named=tuple(sorted(detected - said)),
        not_detected=tuple(sorted(said - detected)),
    )


def _share(part: int, rest: int) -> float | None:
    return part / (part + rest) if part + rest else None

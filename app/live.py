"""Captions made while somebody looks: one captioner for all sessions, loaded when it is first needed."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from app.data import PICTURE_SIDE, Collection, jpeg, region_names
from app.settings import AppConfig
from eval.annotations import PredictedCaption, ScoredCaption
from features.images import decode_image
from features.store import Regions
from features.tags import Tag

if TYPE_CHECKING:
    from captioning.captioner import Caption, Captioner

N_BEST = 5
_CAPTIONS_KEPT = 1000  # with their regions, about 100 KB each with the mini detector


class NoCaptioner(Exception):
    """The checkpoint cannot be loaded; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Made:
    """A caption made here, with what the model saw.

    Attributes:
        said: The caption and its alternatives.
        regions: Of the picture.
        names: What each region is called.
    """

    said: PredictedCaption
    regions: Regions
    names: list[Tag]


@dataclass(frozen=True, kw_only=True)
class Tried:
    """An uploaded picture, captioned.

    Attributes:
        picture: JPEG bytes of it, upright.
        made: What was found and said.
        seconds: From decoded pixels to the caption.
    """

    picture: bytes
    made: Made
    seconds: float


class LiveCaptioner:
    """Captions pictures one call at a time, whoever asks."""

    def __init__(self, config: AppConfig) -> None:
        """Loads nothing yet."""
        self._config = config
        self._lock = threading.Lock()
        self._captioner: Captioner | None = None
        self._failure: str | None = None
        self._made: OrderedDict[str, Made | None] = OrderedDict()  # None: the picture cannot be used

    def try_picture(self, data: bytes) -> Tried:
        """Caption the bytes of a picture file; nothing of it is kept.

        Raises:
            features.images.ImageError: They are no usable picture.
            NoCaptioner: See there.
        """
        image = decode_image(data)
        with self._lock:
            captioner = self._load()
            started = time.perf_counter()
            made = _made(captioner, captioner.caption(image, **_n_best(captioner)))
            seconds = time.perf_counter() - started
        return Tried(picture=jpeg(image, PICTURE_SIDE), made=made, seconds=seconds)

    def captions(self, collection: Collection, image_ids: Sequence[str]) -> dict[str, Made]:
        """Captions of pictures of the collection, made where they were not made before.

        A picture that cannot be used is left out.

        Raises:
            NoCaptioner: See there.
        """
        from captioning.captioner import CaptionFailure

        with self._lock:
            captioner = self._load()
            wanted = [image_id for image_id in image_ids if image_id not in self._made]
            paths = [collection.path(image_id) for image_id in wanted]
            results = captioner.caption_many(paths, **_n_best(captioner))
            for image_id, result in zip(wanted, results, strict=True):
                self._made[image_id] = (
                    None if isinstance(result, CaptionFailure) else _made(captioner, result)
                )
            found = {image_id: self._made[image_id] for image_id in image_ids}
            while len(self._made) > _CAPTIONS_KEPT:
                self._made.popitem(last=False)
        return {image_id: made for image_id, made in found.items() if made is not None}

    def texts(self) -> dict[str, str]:
        """Texts of the captions made so far, by picture id."""
        with self._lock:
            return {image_id: made.said.caption for image_id, made in self._made.items() if made is not None}

    def _load(self) -> Captioner:
        if self._failure is not None:
            raise NoCaptioner(self._failure)
        if self._captioner is None:
            from captioning.captioner import Captioner

            try:
                captioner = Captioner.from_pretrained(self._config.checkpoint, weights=self._config.weights)
                _ = captioner.extractor  # loaded here: it is no part of the time of a caption
            except (OSError, ValueError) as error:
                self._failure = str(error)
                raise NoCaptioner(self._failure) from error
            self._captioner = captioner
        return self._captioner


@cache
def live_captioner(config: AppConfig) -> LiveCaptioner:
    """One captioner a process, for all sessions."""
    return LiveCaptioner(config)


def _n_best(captioner: Captioner) -> dict[str, Any]:
    return {"n_best": min(N_BEST, captioner.info.decode.beam_width)}


def _made(captioner: Captioner, caption: Caption) -> Made:
    alternatives = tuple(
        ScoredCaption(caption=other.text, log_prob=other.log_prob, score=other.score)
        for other in caption.alternatives
    )
    said = PredictedCaption(
        image_id=caption.image_id,
        caption=caption.text,
        log_prob=caption.log_prob,
        score=caption.score,
        alternatives=alternatives,
    )
    names = region_names(caption.regions, captioner.lexicon, captioner.lexicon.english)
    return Made(said=said, regions=caption.regions, names=names)

"""Captions made while somebody looks: one captioner for all sessions, loaded when it is first needed."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from app.address import Basis
from app.boxes import region_names
from app.data import Collection
from app.settings import AppConfig
from app.thumbnails import PICTURE_SIDE, jpeg
from app.words import Word, attention_by_word, importance_by_word
from eval.annotations import PredictedCaption, ScoredCaption
from features.images import decode_image
from features.store import Regions, RegionStore
from features.tags import Tag

if TYPE_CHECKING:
    from captioning.captioner import Caption, Captioner

N_BEST = 5
_CAPTIONS_KEPT = 1000  # with their regions, about 100 KB each with the mini detector
_WEIGHTS_KEPT = 200  # of 20 words and 36 regions, 3 KB


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
        self._weights: OrderedDict[tuple[str, str, Basis], NDArray[np.float32]] = OrderedDict()

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

    def rests_on(
        self,
        key: str,
        regions: Regions,
        store: RegionStore | None,
        text: str,
        words: Sequence[Word],
        basis: Basis,
    ) -> NDArray[np.float32]:
        """(W, R) how much each word of a caption rests on each region.

        Args:
            key: Names the picture, for what is computed once.
            regions: Of the picture.
            store: The regions file that they are from; None where this captioner's own detector found them.
            text: The caption, whoever wrote it.
            words: Of the caption.
            basis: In which sense.

        Raises:
            NoCaptioner: See there; also where the regions are another detector's or the caption too long.
        """
        asked = (key, text, basis)
        with self._lock:
            if asked not in self._weights:
                captioner = self._load(detector=store is None)
                try:
                    if store is not None:
                        captioner.check_store(store)
                    if basis == "attention":
                        found = attention_by_word(words, captioner.attention(regions, text))
                    else:
                        found = importance_by_word(words, captioner.importance(regions, text))
                except ValueError as error:
                    raise NoCaptioner(str(error)) from error
                self._weights[asked] = found
                while len(self._weights) > _WEIGHTS_KEPT:
                    self._weights.popitem(last=False)
            return self._weights[asked]

    def texts(self) -> dict[str, str]:
        """Texts of the captions made so far, by picture id."""
        with self._lock:
            return {image_id: made.said.caption for image_id, made in self._made.items() if made is not None}

    def _load(self, *, detector: bool = True) -> Captioner:
        """The captioner, with its detector where that is wanted: loading is no part of a caption's time."""
        if self._failure is not None:
            raise NoCaptioner(self._failure)
        from captioning.captioner import Captioner

        try:
            if self._captioner is None:
                self._captioner = Captioner.from_pretrained(
                    self._config.checkpoint, weights=self._config.weights
                )
        except (OSError, ValueError) as error:
            self._failure = str(error)
            raise NoCaptioner(self._failure) from error
        try:
            if detector:
                _ = self._captioner.extractor
        except (OSError, ValueError) as error:  # words of given regions can be looked at all the same
            raise NoCaptioner(str(error)) from error
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

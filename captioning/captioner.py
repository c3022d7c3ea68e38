"""The Python API: a checkpoint in, captions for pictures or regions out.

    from captioning.captioner import Captioner

    captioner = Captioner.from_pretrained("mini")
    caption = captioner.caption("photo.jpg")
    print(caption.text, caption.log_prob, [tag.text for tag in caption.tags])

A picture passes the detector that the checkpoint was trained with, becomes regions, and from there on
takes the path of training: `captioning.examples.prefix_example`, one prefix a picture, a search over it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from PIL import Image

from captioning.attending import Attention, Importance, Question, attention, importance
from captioning.batches import PrefixBatch, collate_prefix, to_device
from captioning.captions import Caption, CaptionFailure, ScoredText
from captioning.checkpoints import CaptionerCheckpoint, read_captioner
from captioning.constraints import Constraint, Constraints, machine_of
from captioning.decode_config import DecodeConfig
from captioning.detector_match import DetectorMismatch, check_detector, extract_command
from captioning.examples import prefix_example, read_tags
from captioning.places import MINI, checkpoint_folder, mini_folder, say_licence
from captioning.precision import pick_device
from captioning.writing import write_captions
from features.images import ImageError
from features.store import IMPORTED, Regions, RegionStore
from oscar.backbone import Prefix
from oscar.decoding import Hypothesis
from oscar.scoring import score_captions

if TYPE_CHECKING:
    from features.extract import RegionExtractor

__all__ = [
    "Attention",
    "Caption",
    "CaptionFailure",
    "Captioner",
    "DetectorMismatch",
    "Importance",
    "Picture",
    "ScoredText",
]

Picture = Path | str | Image.Image | Regions
"""What can be captioned: a file, a decoded picture, or regions already extracted."""


class Captioner:
    """Writes captions with one checkpoint, on one device."""

    def __init__(
        self, checkpoint: CaptionerCheckpoint, name: str, device: str = "auto", weights: Path | None = None
    ) -> None:
        """Use `from_pretrained`.

        Args:
            checkpoint: Model, vocabulary and settings.
            name: How messages call the checkpoint.
            device: ``auto`` takes the accelerator where there is one.
            weights: The detector's weights, where they are not in their usual place.
        """
        self.name = name
        self.info = checkpoint.info
        self.tokenizer = checkpoint.tokenizer
        self.device = pick_device(device)
        self.model = checkpoint.model
        self.model.to(self.device)  # type: ignore[arg-type]  # transformers' wrapper loses the self
        self.lexicon = self.info.lexicon.lexicon(self.info.detector.vocabulary_id)
        self._weights = weights
        self._extractor: RegionExtractor | None = None

    @classmethod
    def from_pretrained(
        cls, name_or_path: str | Path = MINI, device: str = "auto", weights: Path | None = None
    ) -> Captioner:
        """Load a captioner.

        Args:
            name_or_path: "mini" (bundled; its weights are for non-commercial use), a checkpoint folder of
                ``captioning.train``, or the id of a hub repository, such as "someone/oscar-zh".
            device: ``auto``, ``cpu``, ``cuda``.
            weights: The detector's weights file, where it is not bundled, cached or downloadable.

        Raises:
            CheckpointError: No such checkpoint, a damaged one, or one that writes no captions.
        """
        folder = checkpoint_folder(name_or_path)
        checkpoint = read_captioner(folder)
        if folder.resolve() == mini_folder().resolve():
            say_licence()
        return cls(checkpoint, str(name_or_path), device, weights)

    def caption(self, image: Picture, constraints: Sequence[Constraint] = (), **decode: Any) -> Caption:
        """Caption one picture.

        Args:
            image: A file, a decoded RGB picture, or regions.
            constraints: Words that the caption must hold, such as ``["狗", ["飞盘", "盘子"]]``: a dog, and a
                frisbee or a plate.
            decode: Fields of `captioning.decode_config.DecodeConfig` to differ from the checkpoint's, such as
                ``beam_width=1``.

        Raises:
            features.images.ImageError: The file is no usable picture.
            DetectorMismatch: The regions do not fit the checkpoint.
            ValueError: Constraints that no caption can meet.
        """
        result = next(self.caption_many([image], batch_size=1, constraints=constraints, **decode))
        if isinstance(result, CaptionFailure):
            raise _unusable(result)
        return result

    def caption_many(
        self,
        items: Iterable[Picture],
        batch_size: int = 16,
        root: Path | None = None,
        constraints: Constraints = (),
        **decode: Any,
    ) -> Iterator[Caption | CaptionFailure]:
        """Caption any number of pictures, in order, a batch at a time.

        Args:
            items: Files, decoded pictures or regions, also mixed; read as they are needed.
            batch_size: Pictures in a batch.
            root: File paths are relative to it, and are the image ids as they stand.
            constraints: Words that every caption must hold, or those of each image id.
            decode: As in `caption`.

        Returns:
            One result an item; a file that is no usable picture gives a `CaptionFailure`.
        """
        settings = replace(self.info.decode, **decode)
        remaining = iter(items)
        while batch := list(islice(remaining, batch_size)):
            found = list(self._regions_of(batch, root))
            regions = [each for each in found if isinstance(each, Regions)]
            captions = iter(self.caption_regions(regions, settings, constraints))
            for each in found:
                yield each if isinstance(each, CaptionFailure) else next(captions)

    @torch.inference_mode()
    def caption_regions(
        self, regions: Sequence[Regions], decode: DecodeConfig | None = None, constraints: Constraints = ()
    ) -> list[Caption]:
        """Caption one batch of pictures whose regions are known.

        Raises:
            DetectorMismatch: Their width is not the checkpoint's.
            ValueError: Constraints that no caption can meet.
        """
        if not regions:
            return []
        for picture in regions:
            self._check_width(picture)
        decode = decode or self.info.decode
        image_ids = [picture.image_id for picture in regions]
        machines = [machine_of(i, constraints, self.tokenizer, decode.max_pieces) for i in image_ids]
        prefix = self._prefix(regions)
        found = write_captions(self.model, prefix, decode, self.tokenizer, image_ids, machines)
        return [self._caption(picture, best) for picture, best in zip(regions, found, strict=True)]

    @torch.inference_mode()
    def score(self, image: Picture, texts: Sequence[str]) -> list[ScoredText]:
        """How probable the model finds given captions of one picture.

        A character outside the vocabulary is read as [UNK] and counts with the probability that some such
        character stands there. Scores are means over the pieces and the caption's end, whatever the
        checkpoint's length penalty. To rank by them, compare captions of the same checkpoint.

        Args:
            image: As in `caption`.
            texts: The captions.

        Returns:
            One result a text, in order.

        Raises:
            features.images.ImageError: The file is no usable picture.
            DetectorMismatch: The regions do not fit the checkpoint.
            ValueError: A text is longer than the model's captions: a part of it has another score.
        """
        if not texts:
            return []
        pieces = [self._pieces(text) for text in texts]
        prefix = self._prefix([self._regions(image)])
        log_probs = score_captions(self.model, prefix, [pieces]).sum(dim=1).tolist()
        return [
            ScoredText(text=text, score=log_prob / (len(ids) + 1), log_prob=log_prob)
            for text, ids, log_prob in zip(texts, pieces, log_probs, strict=True)
        ]

    @torch.inference_mode()
    def attention(self, image: Picture, text: str) -> Attention:
        """Which regions each piece of a caption looks at; arguments and errors as of `score`."""
        return attention(self.model, self._question(image, text))

    @torch.inference_mode()
    def importance(self, image: Picture, text: str) -> Importance:
        """What each piece of a caption loses without each region; arguments and errors as of `score`.

        Takes a pass over the picture for each of its regions.
        """
        return importance(self.model, self._question(image, text))

    def check_store(self, store: RegionStore) -> None:
        """Prove that a regions file comes from the detector this checkpoint was trained with.

        Raises:
            DetectorMismatch: Another detector, vocabulary, width or selection; with the command to run.
        """
        check_detector(store, self.info.detector, f"checkpoint {self.name} was trained on")

    @property
    def extractor(self) -> RegionExtractor:
        """The detector that the checkpoint names, loaded on first use.

        Raises:
            DetectorMismatch: The weights found here are not those the checkpoint was trained with, or its
                features were imported.
            FileNotFoundError: The detector's weights are not on this machine.
        """
        if self._extractor is None:
            wanted = self.info.detector
            if wanted.backend == IMPORTED:
                raise DetectorMismatch(
                    f"checkpoint {self.name} was trained on imported features, whose detector is not known "
                    f"here: give it regions instead of pictures.\n  {extract_command(wanted, 'DIR')}"
                )
            from features.extract import DetectorOptions, RegionExtractor

            options = DetectorOptions(**wanted.options)
            extractor = RegionExtractor(wanted.backend, self._weights, str(self.device), options)
            if extractor.fingerprint != wanted.fingerprint:
                found = extractor.fingerprint
                raise DetectorMismatch(
                    f"checkpoint {self.name} was trained on regions of the {wanted.backend} detector with "
                    f"fingerprint {wanted.fingerprint[:12]}, the one found here has {found[:12]}: "
                    "other weights or another selection. Give the right weights with --weights FILE "
                    "(in Python: weights=...)."
                )
            self._extractor = extractor
        return self._extractor

    def _regions_of(self, batch: Sequence[Picture], root: Path | None) -> Iterator[Regions | CaptionFailure]:
        pictures = [
            item if isinstance(item, Image.Image) else Path(item)
            for item in batch
            if not isinstance(item, Regions)
        ]
        extracted = iter(self.extractor.extract(pictures, root)) if pictures else iter(())
        for item in batch:
            if isinstance(item, Regions):
                yield item
                continue
            found = next(extracted)
            if isinstance(found, ImageError):
                path = _picture(item)
                image_id = path.as_posix() if isinstance(path, Path) else ""
                yield CaptionFailure(image_id=image_id, reason=str(found))
            else:
                yield found

    def _regions(self, image: Picture) -> Regions:
        (regions,) = self._regions_of([image], None)
        if isinstance(regions, CaptionFailure):
            raise _unusable(regions)
        self._check_width(regions)
        return regions

    def _pieces(self, text: str) -> list[int]:
        ids = self.tokenizer.encode(text)
        longest = self.model.config.max_caption_pieces - 2
        if len(ids) > longest:
            raise ValueError(
                f"{text!r} has {len(ids)} pieces, checkpoint {self.name} reads at most {longest}: shorten it"
            )
        return ids

    def _question(self, image: Picture, text: str) -> Question:
        pieces, regions = self._pieces(text), self._regions(image)
        return Question(
            batch=self._batch([regions]),
            pieces=pieces,
            places=self.tokenizer.places(text),
            has_picture=regions.global_feature is not None,
            n_regions=len(regions.boxes),
        )

    def _batch(self, regions: Sequence[Regions]) -> PrefixBatch:
        examples = [prefix_example(r, self.lexicon, self.tokenizer, self.info.prefix) for r in regions]
        return to_device(collate_prefix(examples, self.tokenizer.pad_id), self.device)

    def _prefix(self, regions: Sequence[Regions]) -> Prefix:
        batch = self._batch(regions)
        return self.model.bert.encode_prefix(
            batch.tag_ids, batch.tag_mask, batch.region_features, batch.region_mask
        )

    def _caption(self, regions: Regions, best: Sequence[Hypothesis]) -> Caption:
        scored = [
            ScoredText(text=self.tokenizer.decode(h.piece_ids), score=h.score, log_prob=h.log_prob)
            for h in best
        ]
        return Caption(
            image_id=regions.image_id,
            text=scored[0].text,
            score=scored[0].score,
            log_prob=scored[0].log_prob,
            alternatives=tuple(scored),
            tags=tuple(read_tags(regions, self.lexicon, self.info.prefix)),
            regions=regions,
        )

    def _check_width(self, regions: Regions) -> None:
        wanted = self.info.detector
        width, has_global = regions.features.shape[1], regions.global_feature is not None
        if width != wanted.feature_dim or has_global != wanted.has_globals:
            have = {True: "with", False: "without"}
            raise DetectorMismatch(
                f"{regions.image_id or 'picture'}: regions of width {width} {have[has_global]} a vector of "
                f"the whole picture; checkpoint {self.name} reads width {wanted.feature_dim} "
                f"{have[wanted.has_globals]} one. Extract them again:\n  {extract_command(wanted, 'DIR')}"
            )


def _unusable(failure: CaptionFailure) -> ImageError:
    return ImageError(f"{failure.image_id}: {failure.reason}" if failure.image_id else failure.reason)


def _picture(item: Path | str | Image.Image) -> Path | Image.Image:
    return Path(item) if isinstance(item, str) else item

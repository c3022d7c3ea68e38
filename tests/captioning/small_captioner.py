"""A captioner with random weights, and regions to caption: for tests only."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from captioning.checkpoints import CaptionerInfo, DetectorInfo, write_checkpoint
from captioning.config import PrefixConfig
from captioning.decode_config import DecodeConfig
from captioning.lexicon_info import LexiconInfo
from captioning.tokenizer import CaptionTokenizer
from features.images import ImageError, read_image
from features.store import Regions, StoreMeta, box_geometry, write_shard
from features.tags import Lexicon
from oscar.configuration import OscarConfig
from oscar.modeling import OscarForCaptioning

LEXICON = Lexicon.load("zh", "voc-20")
WIDTH = 8
META = StoreMeta(
    backend="mini",
    description={"weights_sha256": "0" * 64},
    vocabulary=LEXICON.english,
    vocabulary_id="voc-20",
    feature_dim=WIDTH,
    run={"images": "my pictures"},
)


def small_regions(image_id: str, seed: int = 0, n_regions: int = 3) -> Regions:
    """Valid regions of a 100 x 80 picture, best first."""
    random = np.random.default_rng([seed, *image_id.encode()])
    boxes = np.sort(random.random((n_regions, 2, 2), np.float32), axis=1).reshape(n_regions, 4)
    boxes *= np.array([100, 80, 100, 80], np.float32)
    return Regions(
        image_id=image_id,
        width=100,
        height=80,
        features=random.standard_normal((n_regions, WIDTH)).astype(np.float16),
        boxes=boxes,
        geometry=box_geometry(boxes, 100, 80),
        object_ids=random.integers(0, len(LEXICON.english), n_regions, dtype=np.int32),
        object_scores=np.linspace(0.9, 0.3, n_regions, dtype=np.float32),
        global_feature=random.standard_normal(WIDTH).astype(np.float16),
    )


def write_small_store(path: Path, image_ids: Iterable[str], meta: StoreMeta = META) -> Path:
    """A sealed regions file of those pictures, one of which could not be used."""
    write_shard(path, [small_regions(image_id) for image_id in image_ids], meta, {"broken.jpg": "truncated"})
    return path


def write_small_checkpoint(folder: Path) -> Path:
    """A checkpoint of 2 layers x 16, always the same weights."""
    tokenizer = CaptionTokenizer.build(["一只狗在草地上奔跑。", "两个 people 骑着自行车"], LEXICON.english)
    config = OscarConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
        max_caption_pieces=20,
        img_feature_dim=WIDTH + 6,
        pad_token_id=tokenizer.pad_id,
        unk_token_id=tokenizer.unk_id,
        cls_token_id=tokenizer.cls_id,
        sep_token_id=tokenizer.sep_id,
        mask_token_id=tokenizer.mask_id,
    )
    torch.manual_seed(0)
    info = CaptionerInfo(
        objective="caption",
        detector=DetectorInfo(
            backend=META.backend,
            fingerprint=META.fingerprint,
            feature_dim=WIDTH,
            vocabulary_id=META.vocabulary_id,
            has_globals=True,
        ),
        lexicon=LexiconInfo.of(LEXICON),
        prefix=PrefixConfig(max_regions=5, max_tag_pieces=10),
        decode=DecodeConfig(beam_width=3, n_best=1, max_pieces=6),
        step=1,
        scores={},
        training={},
    )
    write_checkpoint(folder, model=OscarForCaptioning(config), tokenizer=tokenizer, info=info)
    return folder


class SmallExtractor:
    """Stands where the detector would: regions that depend on the picture's name alone."""

    fingerprint = META.fingerprint

    def extract(
        self, images: Iterable[Path | Image.Image], root: Path | None = None, batch_size: int = 8
    ) -> Iterator[Regions | ImageError]:
        """As `features.extract.RegionExtractor.extract`."""
        for image in images:
            if isinstance(image, Image.Image):
                yield small_regions("")
                continue
            try:
                read_image(image if root is None else root / image)
            except ImageError as error:
                yield error
            else:
                yield small_regions(image.as_posix() if root is not None else image.name)

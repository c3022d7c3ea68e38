"""Settings of the data that a run reads: default, check, help text and record in one place."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from captioning.corpora import CorpusTags
from captioning.ranges import at_least, positive, share


@dataclass(frozen=True, kw_only=True)
class PrefixConfig:
    """What the model reads of a picture; kept in the checkpoint, for training and captioning alike."""

    max_regions: int = 50
    """Regions kept of a picture, best first; the whole picture's vector comes on top."""
    max_tags: int | None = None
    """Tags kept of a picture, best first; all if empty."""
    max_tag_pieces: int = 60
    """Tag slots with the closing [SEP]; tags that do not fit whole are left out. 60 hold about 25 Chinese
    tags, of 2.33 characters each in Mengzi's dictionary; the original's 30 hold 12."""
    tag_min_score: float = 0.2
    """Regions with a lower score give no tag."""
    keep_duplicate_tags: bool = False
    """One tag a region, as in the original, instead of one a Chinese word."""

    def __post_init__(self) -> None:
        at_least(self, "max_regions", 1)
        at_least(self, "max_tag_pieces", 1)
        share(self, "tag_min_score")
        if self.max_tags is not None:
            at_least(self, "max_tags", 0)


@dataclass(frozen=True, kw_only=True)
class SourceConfig:
    """A further data set, mixed with ``data.train``."""

    captions: Path
    """Captions by people, or pairs of a pre-training corpus, in any format of docs/formats.md."""
    regions: Path | None = None
    """Regions file with its pictures, of the same detector; ``data.regions`` if empty."""
    weight: float = 1.0
    """Times an epoch reads each of its pictures: 2 reads all twice, 0.5 half of them, the other half in the
    next epoch."""

    def __post_init__(self) -> None:
        positive(self, "weight")


@dataclass(frozen=True, kw_only=True)
class StageConfig:
    """A stretch of a run with lengths of its own; what is empty is as in the rest of the settings.

    Mengzi's schedule has two: nine tenths of the run short, the last tenth long (arXiv:2110.06696).
    """

    share: float
    """Share of the run's steps."""
    batch_size: int | None = None
    """Pictures in a step, over all processes."""
    max_caption_pieces: int | None = None
    """Longest caption read, with [CLS] and [SEP]; longer ones are cut. Tags keep their positions."""
    max_tag_pieces: int | None = None
    """Tag slots with the closing [SEP]."""
    max_regions: int | None = None
    """Regions kept of a picture, best first."""
    max_pair_pieces: int | None = None
    """Longest pair of texts in pre-training, with [CLS] and two [SEP]."""

    def __post_init__(self) -> None:
        positive(self, "share")
        share(self, "share")
        least = {
            "batch_size": 1,
            "max_caption_pieces": 3,
            "max_tag_pieces": 1,
            "max_regions": 1,
            "max_pair_pieces": 5,
        }
        for name, smallest in least.items():
            if getattr(self, name) is not None:
                at_least(self, name, smallest)


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Where the data are, and how much of them is read."""

    regions: Path = Path("build/demo/regions.h5")
    """Regions file of ``features.extract``."""
    train: Path = Path("examples/images/captions_train.json")
    """Captions by people to learn from, in any format of docs/formats.md."""
    tags: CorpusTags = "regions"
    """Tags beside the captions of a pre-training corpus of Oscar+: those of the regions, the objects of its
    label files, or gt, their gt_objects where there are some."""
    weight: float = 1.0
    """Times an epoch reads each picture of ``train``, beside those of ``more``."""
    more: tuple[SourceConfig, ...] = ()
    """Further data sets, drawn together with ``train``: any step may hold pictures of each, in proportion to
    their sizes and weights."""
    validation: Path | None = Path("examples/images/captions_val.json")
    """Captions to validate on; no validation if empty."""
    images: Path | None = None
    """Folder of the pictures, for whoever watches the run: TensorBoard then shows captions below their
    pictures. Training reads none; what is missing there is left out."""
    lexicon: str = "zh"
    """Names of the object tags: "zh", or a lexicon file (TSV, or JSON of English: Chinese)."""
    captions_per_picture: int = 5
    """Captions of a picture in one step; a picture with more gives a fresh choice every epoch."""
    prefix: PrefixConfig = field(default_factory=PrefixConfig)
    """What the model reads of a picture."""
    max_pair_pieces: int | None = None
    """Longest pair of texts in pre-training, with [CLS] and two [SEP]: pieces are cut from the longer of the
    two (the original: 35). No limit but those of each text if empty."""
    length_window: int = 1
    """Batches of like length are formed inside windows of so many: less padding, the same pictures an
    epoch."""
    memory_gb: float = 4.0
    """Region features kept in memory after their first use."""
    workers: int | None = None
    """Processes that prepare batches; 0: the training process does. If empty, 2 with CUDA, else 0."""

    def __post_init__(self) -> None:
        positive(self, "weight")
        at_least(self, "captions_per_picture", 1)
        at_least(self, "length_window", 1)
        if self.max_pair_pieces is not None:
            at_least(self, "max_pair_pieces", 5)
        at_least(self, "memory_gb", 0)
        if self.workers is not None:
            at_least(self, "workers", 0)

"""The settings of ``python -m features.extract``."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from features.backends.base import BACKENDS, DetectorOptions
from features.compression import Compression
from features.locks import Shard
from features.regions import PROFILES, Selection, choose_selection

__all__ = ["ExtractConfig", "SelectionFlags"]


@dataclass(frozen=True, kw_only=True)
class SelectionFlags:
    """Which regions are kept; what is left empty is as the profile has it."""

    min_score: float | None = None
    """Regions whose best class scores below this are dropped; in [0, 1]."""
    min_regions: int | None = None
    """The best so many are kept whatever they score, as far as suppression leaves so many."""
    max_regions: int | None = None
    """Never more than this many."""
    nms_iou: float | None = None
    """A region that overlaps a better one by more than this (IoU) goes; in (0, 1]."""
    nms_iou_limit: float | None = None
    """Where fewer than min_regions are left, nms_iou is raised by 0.1 at a time up to this."""
    suppression: Literal["agnostic", "class"] | None = None
    """Whether regions suppress each other whatever their classes, or in every class by itself."""
    box_source: Literal["regressed", "proposal"] | None = None
    """Box that is recorded: refined by the head, or the proposal that the vector is of."""

    def __post_init__(self) -> None:
        neutral: dict[str, Any] = {"profile": "", "min_score": 0.0, "min_regions": 1, "nms_iou": 1.0}
        most = max(1, self.min_regions or 1)
        Selection(**(neutral | {"max_regions": most} | self.given()))  # says what is wrong by itself

    def given(self) -> dict[str, Any]:
        """The settings that differ from the profile's."""
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class ExtractConfig:
    """Find the regions of every picture in a folder and write one HDF5 file."""

    images: Path
    """Folder of pictures; folders inside it are searched too."""
    out: Path = Path("regions.h5")
    """The regions file; unfinished work is kept beside it in OUT.parts."""
    backend: str = "auto"
    """Detector: c4 (VinVL, bottom-up attention, detectron2's COCO R50/R101-C4), torchvision, detectron2 (the
    package), mini (bundled), or auto (the best whose weights are on this machine)."""
    weights: Path | None = None
    """Weights file of the detector; or, for c4 and torchvision, the name of published ones, which are
    downloaded (python -m captioning.doctor lists them)."""
    profile: str | None = None
    """Rule by which regions are chosen (vinvl, butd, agnostic, coco, mini); the detector's own by default."""
    selection: SelectionFlags = field(default_factory=SelectionFlags)
    """What differs from the profile."""
    fixed: int | None = None
    """So many regions a picture, whatever they score (36, as many captioning models want it)."""
    boxes: Path | None = None
    """JSON file of boxes to describe, instead of those that the detector finds: {"a.jpg": [[x1, y1, x2, y2]]}
    in pixels, the same as JSON lines, or COCO detection."""
    attributes: bool = False
    """Record the best attribute of each region, where the detector knows attributes."""
    class_topk: int = 0
    """Record the so many best classes of each region with their scores; 0 records the best alone."""
    amp: bool = False
    """Convolutions in bfloat16: faster on a GPU, with vectors that differ in the third digit."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1."""
    devices: str | None = None
    """Several devices, each with a process of its own: cuda:0,cuda:1 or all (every GPU)."""
    ray: int | None = None
    """So many detectors side by side on a Ray cluster: that of RAY_ADDRESS, else one that is started on this
    machine. Each takes a GPU where the cluster has some. Needs pip install 'tushuo[ray]'."""
    batch_size: int = 8
    """Pictures a batch, at most; only pictures of one prepared shape share a batch."""
    workers: int | None = None
    """Processes a device that decode pictures; by default its share of the cores, beside a GPU less one, at
    most 8; 0 decodes in the main one."""
    shard_size: int = 512
    """Pictures a sealed file; a crash loses at most so many."""
    shard: str = "0/1"
    """i/N: do only every N-th run of SHARD_SIZE pictures, from the i-th on, counted from 0. Start the N
    shards anywhere, with the same settings, on one file system; the one that ends last writes OUT. A shard
    that was killed is started again."""
    compression: Compression | None = None
    """zstd: compress the feature vectors of OUT; smaller, but read several times more slowly."""
    limit: int | None = None
    """Only the first so many pictures, in the order of their names."""
    overwrite: bool = False
    """Delete OUT and OUT.parts and start over."""
    retry_failed: bool = False
    """Try pictures again that an earlier run recorded as failed."""
    on_error: Literal["record", "stop"] = "record"
    """What a picture that cannot be used does: it is recorded as failed, or it stops the run (of several
    shards side by side, its own)."""
    max_errors: int | None = None
    """Stop when more pictures than this could not be used; what was done is sealed. Each shard counts its
    own: that of --shard, one a device with --devices, and with --ray eight an actor."""
    wait: bool = False
    """Wait while another extraction writes OUT, instead of refusing."""
    preview: Path | None = None
    """When OUT is finished, draw some of its regions and tags: into a folder that does not exist yet, or onto
    one sheet (FILE.jpg)."""
    dry_run: bool = False
    """Write nothing: find the pictures, extract a few, and tell the time and the room on the disk that all
    would take."""

    def __post_init__(self) -> None:
        self._check_names()
        part = self.part
        for name, least in (
            ("batch_size", 1),
            ("shard_size", 1),
            ("workers", 0),
            ("ray", 1),
            ("limit", 1),
            ("fixed", 1),
            ("class_topk", 0),
            ("max_errors", 0),
        ):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ValueError(f"{name} must be {least} or more, got {value}")
        if self.fixed is not None and {"min_regions", "max_regions"} & self.selection.given().keys():
            raise ValueError("fixed is min_regions and max_regions at once: give it, or them")
        if self.profile is not None:  # the detector's own is known when it is loaded
            choose_selection(PROFILES[self.profile], None, self.options.overrides)
        if self.overwrite and part.count > 1:
            raise ValueError(
                "overwrite would delete what other shards have done: delete OUT and OUT.parts instead"
            )
        if self.retry_failed and (part.count > 1 or self.devices is not None or self.ray is not None):
            raise ValueError(
                "failed pictures are few: retry them in one process, without --shard, --devices and --ray"
            )
        if self.on_error == "stop" and self.max_errors is not None:
            raise ValueError("on_error stop allows no error: leave it out, or max_errors")
        if self.dry_run and self.overwrite:
            raise ValueError("dry_run deletes nothing: leave out --overwrite, or name another --out")

    def _check_names(self) -> None:
        if self.backend != "auto" and self.backend not in BACKENDS:
            raise ValueError(
                f"unknown back end {self.backend!r}; choose from auto, {', '.join(sorted(BACKENDS))}"
            )
        if self.backend == "auto" and self.weights is not None:
            raise ValueError("weights belong to one back end: name it with --backend")
        if self.profile is not None and self.profile not in PROFILES:
            raise ValueError(f"unknown profile {self.profile!r}; choose from {', '.join(PROFILES)}")
        if self.compression not in (None, "zstd"):
            raise ValueError(f"unknown compression {self.compression!r}; choose zstd, or leave it out")
        if self.devices is not None and self.device != "auto":
            raise ValueError("give --device for one, or --devices for several")
        if self.ray is not None and (self.devices is not None or self.part.count > 1 or ":" in self.device):
            raise ValueError("ray divides the work: leave out --devices, --shard and the number of a GPU")

    @property
    def part(self) -> Shard:
        """``shard``, read."""
        return Shard.parse(self.shard)

    @property
    def options(self) -> DetectorOptions:
        """What is asked of the detector."""
        overrides = self.selection.given()
        if self.fixed is not None:
            overrides |= {"min_regions": self.fixed, "max_regions": self.fixed}
        return DetectorOptions(
            profile=self.profile,
            overrides=overrides,
            attributes=self.attributes,
            class_topk=self.class_topk,
            amp=self.amp,
        )

    @property
    def errors_allowed(self) -> int | None:
        """Pictures that may fail; None allows all."""
        return 0 if self.on_error == "stop" else self.max_errors

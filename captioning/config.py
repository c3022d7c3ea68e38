"""Every setting of training and captioning: default, check, help text and record in one place.

Field docstrings are the help of the command line. The defaults are the mini run on the bundled samples,
as in ``configs/mini.yaml``. Values of the original recipes: microsoft/Oscar, VinVL (arXiv:2101.00529),
Mengzi-Oscar (arXiv:2110.06696).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from captioning.data_config import DataConfig, PrefixConfig, SourceConfig, StageConfig
from captioning.decode_config import DecodeConfig
from captioning.guard_config import GuardConfig
from captioning.model_config import ModelConfig
from captioning.ranges import at_least, positive, share
from captioning.scst_config import ScstConfig

Objective = Literal["caption", "pretrain", "scst"]
Masking = Literal["dense", "sparse"]
Optimizer = Literal["adamw", "adamw_original", "lamb"]
Schedule = Literal["linear", "cosine", "constant"]
Precision = Literal["auto", "fp32", "bf16", "fp16"]
Parallel = Literal["ddp", "fsdp"]
TrackerName = Literal["tensorboard", "wandb"]
WrongSecond = Literal["second", "any", "answer"]

__all__ = [
    "DataConfig",
    "GuardConfig",
    "LossConfig",
    "ModelConfig",
    "OptimConfig",
    "PrefixConfig",
    "ScstConfig",
    "SourceConfig",
    "StageConfig",
    "TrainConfig",
    "ValidationConfig",
]


@dataclass(frozen=True, kw_only=True)
class OptimConfig:
    """The optimizer and its learning rate."""

    kind: Optimizer = "adamw"
    """``adamw``: torch's; ``adamw_original``: the original Oscar's, its learning rate one step ahead;
    ``lamb``: for large batches, as Mengzi-BERT was pre-trained (arXiv:1904.00962)."""
    learning_rate: float = 5e-4
    """Highest learning rate."""
    schedule: Schedule = "cosine"
    """Shape of the learning rate after the warm-up; it falls to 0 (``constant`` stays)."""
    warmup_share: float = 0.05
    """Share of the run over which the learning rate rises from 0."""
    weight_decay: float = 0.05
    """Decoupled weight decay; none on biases and LayerNorms."""
    beta1: float = 0.9
    """Decay of the gradient's mean."""
    beta2: float = 0.999
    """Decay of the gradient's square."""
    epsilon: float = 1e-8
    """Added to the denominator."""
    clip_norm: float = 1.0
    """Gradient norm above which the gradient is scaled down."""
    ema_decay: float | None = None
    """Decay of an average of the weights, such as 0.999; validated and released instead of the last weights.
    No average if empty."""

    def __post_init__(self) -> None:
        positive(self, "learning_rate")
        positive(self, "clip_norm")
        positive(self, "epsilon")
        at_least(self, "weight_decay", 0)
        for name in ("warmup_share", "beta1", "beta2"):
            share(self, name)
        if self.ema_decay is not None:
            share(self, "ema_decay")


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    """What is masked, swapped and counted."""

    masking: Masking = "dense"
    """``dense``: one [MASK] query per caption piece, all trained at once; ``sparse``: Oscar's few masks."""
    mask_share: float = 0.15
    """Share of the pieces masked (``sparse`` and ``pretrain``)."""
    max_masked: int = 3
    """Most masked pieces of a caption (``sparse``)."""
    label_smoothing: float = 0.0
    """Probability spread over the wrong pieces."""
    drop_worst: float = 0.0
    """Share of the highest piece losses left out of a step, against wrong captions."""
    drop_worst_after: int = 0
    """Steps before ``drop_worst`` applies."""
    swap_caption: float = 0.25
    """Share of pre-training examples with another picture's caption; 0 with 2 contrast classes."""
    swap_tags: float = 0.25
    """Share of pre-training examples with another picture's tags or answer."""
    wrong_second: WrongSecond = "second"
    """Where wrong tags or answers come from. ``second``: another picture's tags or answer (Oscar+'s
    textb_sample_mode 1); ``any``: its tags, answer or caption (0, the original Oscar); ``answer``: for a
    question the answer of another question, which may be about the same picture (2)."""
    mask_mismatched: bool = True
    """Words of pairs that were swapped are predicted too (Oscar+'s mask_loss_for_unmatched)."""
    match_weight: float = 1.0
    """Weight of telling swapped pairs, beside 1 for predicting words."""

    def __post_init__(self) -> None:
        for name in ("mask_share", "label_smoothing", "drop_worst", "swap_caption", "swap_tags"):
            share(self, name)
        at_least(self, "max_masked", 1)
        at_least(self, "drop_worst_after", 0)
        at_least(self, "match_weight", 0)
        if self.drop_worst == 1 or self.label_smoothing == 1:
            raise ValueError("drop_worst and label_smoothing must be below 1")
        if self.swap_caption + self.swap_tags > 1:
            raise ValueError(
                f"swap_caption + swap_tags must be 1 or less, got {self.swap_caption} + {self.swap_tags}"
            )


@dataclass(frozen=True, kw_only=True)
class ValidationConfig:
    """When and how the model is scored while it trains."""

    every: int | None = 50
    """Steps between two validations; once an epoch if empty. The end of a run always validates."""
    pictures: int | None = None
    """Only the first so many validation pictures; all if empty."""
    beam_width: int = 1
    """Hypotheses kept per picture; 1 decodes greedily. The rest of the search is that of ``decode``."""
    batch_size: int = 64
    """Pictures decoded at once."""
    patience: int | None = None
    """Validations without a better score after which the run stops; never if empty."""

    def __post_init__(self) -> None:
        for name in ("every", "pictures", "patience"):
            if getattr(self, name) is not None:
                at_least(self, name, 1)
        at_least(self, "beam_width", 1)
        at_least(self, "batch_size", 1)


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """One training run."""

    objective: Objective = "caption"
    """What is learned: ``caption`` writes captions, ``pretrain`` fills masks and detects swapped pairs,
    ``scst`` makes a captioner's samples likelier that score well (self-critical training)."""
    weight: float = 1.0
    """Weight of the objective's loss, beside those of ``also``."""
    also: dict[Objective, float] = field(default_factory=dict)
    """Other objectives learned from the same pictures in the same steps, with the weight of each loss, such
    as {scst: 0.5}. Validation is that of ``objective``."""
    init: str | None = None
    """Folder or hub id of BERT, Mengzi-BERT or Oscar weights to start from; from scratch if empty."""
    out: Path = Path("build/mini-run")
    """Folder of the run: checkpoints, config.yaml, TensorBoard events."""
    overwrite: bool = False
    """Start anew in a folder that holds a run; without it the run goes on where it stopped."""
    seed: int = 88
    """Decides the initial weights, every draw of data and every dropout."""
    epochs: float | None = None
    """Stop after so many passes over the pictures."""
    steps: int | None = None
    """Stop after so many optimizer steps. The first of several limits ends the run; without any, 100 do."""
    max_seconds: float | None = None
    """Stop after so much time in training steps (validation and saving not counted); the learning rate then
    follows the time. For comparisons at equal time; such a run is not reproducible to the bit."""
    batch_size: int = 12
    """Pictures in a step, over all processes."""
    accumulate: int = 1
    """Parts into which each process divides its share of a step, to need less memory; same gradients."""
    stages: tuple[StageConfig, ...] = ()
    """Stretches of the run with their own lengths, in order; their shares add up to 1."""
    parallel: Parallel = "ddp"
    """With several processes (torchrun, accelerate launch), ``ddp`` keeps all weights in each; ``fsdp``
    shares weights, gradients and optimizer state out among them (FSDP2)."""
    save_every: int | None = None
    """Steps between two checkpoints besides those of validation."""
    keep_last: int = 2
    """Newest checkpoints kept, besides the best one."""
    log_every: int = 10
    """Steps between two lines of progress."""
    track: list[TrackerName] = field(default_factory=lambda: ["tensorboard"])
    """What draws curves: tensorboard (in OUT/tensorboard), wandb (extra ``wandb``); [] draws none."""
    dry_run: bool = False
    """Write nothing: tell sizes, steps, memory, disk and time of the run."""
    gradient_checkpointing: bool = False
    """Compute every layer twice and keep a fraction of the memory (arXiv:1604.06174); same gradients."""
    device: str = "auto"
    """auto, cpu, cuda or mps."""
    precision: Precision = "auto"
    """``auto`` measures which of bf16 and fp32 is faster here and says so."""
    model: ModelConfig = field(default_factory=ModelConfig)
    """The model."""
    data: DataConfig = field(default_factory=DataConfig)
    """The data."""
    optim: OptimConfig = field(default_factory=OptimConfig)
    """The optimizer."""
    loss: LossConfig = field(default_factory=LossConfig)
    """The loss."""
    scst: ScstConfig = field(default_factory=ScstConfig)
    """Samples and rewards of ``objective: scst``."""
    validation: ValidationConfig = field(default_factory=ValidationConfig)
    """Validation while training."""
    guard: GuardConfig = field(default_factory=GuardConfig)
    """The guard over loss and gradient."""
    decode: DecodeConfig = field(default_factory=DecodeConfig)
    """The default search of the finished captioner, written into its checkpoint."""

    def __post_init__(self) -> None:
        at_least(self, "seed", 0)
        for name in ("batch_size", "accumulate", "log_every", "keep_last"):
            at_least(self, name, 1)
        for name in ("steps", "save_every"):
            if getattr(self, name) is not None:
                at_least(self, name, 1)
        for name in ("epochs", "max_seconds"):
            if getattr(self, name) is not None:
                positive(self, name)
        if self.dry_run and self.overwrite:
            raise ValueError("dry_run deletes nothing: leave out overwrite, or name another out")
        self._check_objectives()
        self._check_lengths()
        self._check_stages()

    @property
    def objectives(self) -> dict[Objective, float]:
        """All that is learned, with the weight of each, the main one first."""
        return {self.objective: self.weight, **self.also}

    def _check_objectives(self) -> None:
        positive(self, "weight")
        if self.objective in self.also:
            raise ValueError(f"also: {self.objective} is the objective already; set weight instead")
        for name, weight in self.also.items():
            if not weight > 0:
                raise ValueError(f"also: the weight of {name} must be above 0, got {weight}")
        pretrains = "pretrain" in self.objectives
        if pretrains and self.loss.swap_caption > 0 and self.model.contrast_classes == 2:
            raise ValueError(
                "two contrast classes know matching and wrong tags only: "
                "set loss.swap_caption=0 and loss.swap_tags=0.5 (as Oscar did), or model.contrast_classes=3"
            )
        if "scst" in self.objectives and self.init is None:
            raise ValueError(
                "scst improves a captioner that writes captions already: give its folder as init"
            )

    def _check_lengths(self) -> None:
        if self.decode.max_pieces > self.model.max_caption_pieces - 2:
            raise ValueError(
                f"decode.max_pieces must leave room for [CLS] and [SEP] in model.max_caption_pieces "
                f"({self.model.max_caption_pieces}), got {self.decode.max_pieces}"
            )
        if self.model.max_caption_pieces + self.data.prefix.max_tag_pieces > self.model.max_positions:
            raise ValueError(
                f"model.max_caption_pieces + data.prefix.max_tag_pieces must be model.max_positions "
                f"({self.model.max_positions}) or less, got {self.model.max_caption_pieces} + "
                f"{self.data.prefix.max_tag_pieces}"
            )

    def _check_stages(self) -> None:
        if not self.stages:
            return
        total = sum(stage.share for stage in self.stages)
        if abs(total - 1) > 1e-6:
            raise ValueError(f"stages: their shares must add up to 1, got {total:g}")
        if self.max_seconds is not None:
            raise ValueError("stages are shares of a number of steps: give steps or epochs, not max_seconds")
        limits = {
            "max_caption_pieces": self.model.max_caption_pieces,
            "max_tag_pieces": self.data.prefix.max_tag_pieces,
        }
        for number, stage in enumerate(self.stages, start=1):
            for name, limit in limits.items():
                if (getattr(stage, name) or 0) > limit:
                    raise ValueError(
                        f"stages: {name} of stage {number} must be {limit} or less, the limit of the whole "
                        f"run, got {getattr(stage, name)}"
                    )

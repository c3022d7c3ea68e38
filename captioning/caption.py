"""``python -m captioning.caption``: pictures, or a regions file, in; a file of captions out.

The kind of file follows the suffix of ``--out``: ``.json`` is COCO results (a list of records), ``.jsonl`` a
record a line, ``.csv`` a table for people. Resumes by default: what is
sealed in ``OUT.parts`` is not done again.
"""

import re
import sys
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from captioning.caption_progress import listing
from captioning.decode_config import DecodeConfig
from captioning.folders import sha256_of
from captioning.merge import Merged, finished_before, merge
from captioning.parts import CaptionParts, failures_file
from captioning.prediction_files import check_suffix
from captioning.sources import Source, open_source
from features.arguments import parse_config
from features.locks import Shard
from features.stop import StopRequest

if TYPE_CHECKING:
    from captioning.bulk import Report

OK, FATAL, SOME_FAILED, SIGNAL = 0, 1, 3, 128
"""Exit codes; a signal's number is added to the last."""


@dataclass(frozen=True, kw_only=True)
class DecodeFlags:
    """How a caption is searched for; what is left empty is as the checkpoint has it."""

    beam_width: int | None = None
    """Hypotheses kept per picture; 1 decodes greedily."""
    n_best: int | None = None
    """Captions written per picture, best first."""
    max_pieces: int | None = None
    """Longest caption, in word pieces without [CLS] and [SEP]."""
    min_pieces: int | None = None
    """Shortest caption, in word pieces."""
    length_penalty: float | None = None
    """Exponent of the length that divides a caption's log-probability; 0 favours short captions."""
    no_repeat_ngram: int | None = None
    """No run of this many pieces occurs twice; 0 allows all."""
    repetition_penalty: float | None = None
    """Above 1, pieces that the caption already holds become less probable (arXiv:1909.05858)."""
    forbidden: list[str] | None = None
    """Words that no caption may hold, such as '["男人"]'."""
    groups: int | None = None
    """Groups of beams that avoid each other's words, for n best captions that differ (arXiv:1610.02424)."""
    diversity: float | None = None
    """What a piece loses of its log-probability for each beam of another group that has just taken it."""
    samples: int | None = None
    """Captions drawn at random per picture, in the order drawn, instead of a search; 0 searches."""
    temperature: float | None = None
    """Divides the logits before drawing; below 1 favours probable pieces."""
    top_k: int | None = None
    """Draw from the so many most probable pieces; 0 draws from all."""
    top_p: float | None = None
    """Draw from the most probable pieces that together reach this probability (arXiv:1904.09751)."""
    seed: int | None = None
    """Decides, together with the picture's id, what is drawn."""
    rules: Literal["tushuo", "original"] | None = None
    """``original`` searches and draws by the rules of microsoft/Oscar, for the very captions it writes."""

    def given(self) -> dict[str, Any]:
        """The settings that differ from the checkpoint's."""
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class CaptionConfig:
    """Write Chinese captions for a folder of pictures, or for a regions file."""

    images: Path | None = None
    """Folder of pictures, searched to any depth; the checkpoint's detector finds their regions."""
    features: Path | None = None
    """Regions file of features.extract, instead of --images."""
    checkpoint: str = "mini"
    """mini, a checkpoint folder, or a hub id."""
    weights: Path | None = None
    """The detector's weights, where they are not bundled, cached or downloadable."""
    out: Path = Path("captions.json")
    """The captions: .json, .jsonl or .csv; unfinished work is kept beside it in OUT.parts."""
    overwrite: bool = False
    """Delete OUT and OUT.parts and start over."""
    decode: DecodeFlags = field(default_factory=DecodeFlags)
    """The search."""
    constraints: Path | None = None
    """JSON file of words that captions must hold, by picture id: {"a.jpg": ["狗", ["飞盘", "盘子"]]}; a list
    inside stands for any one of its words."""
    batch_size: int = 16
    """Pictures worked on at once."""
    part_size: int = 128
    """Pictures a sealed part; a crash loses at most so many."""
    shard: str = "0/1"
    """i/N: make only every N-th part, from the i-th on, counted from 0. Run the N shards anywhere, with the
    same settings, on one file system; the one that ends last writes OUT."""
    limit: int | None = None
    """Only the first so many pictures; all if empty."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:1."""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", self.device):
            raise ValueError(f"device must be auto, cpu, cuda or cuda:1, got {self.device!r}")
        if (self.images is None) == (self.features is None):
            raise ValueError("give either --images DIR or --features FILE")
        check_suffix(self.out)
        for name in ("batch_size", "part_size", "limit"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be 1 or more, got {value}")
        if Shard.parse(self.shard).count > 1 and self.overwrite:
            raise ValueError(
                "overwrite would delete what the other shards have done; delete OUT and OUT.parts, then run "
                "the shards without it"
            )


def main(argv: list[str] | None = None) -> int:
    """The command.

    Returns:
        0: a caption for every picture. 1: nothing could be done. 2: usage. 3: some pictures failed.
        130, 143: stopped by Ctrl-C or SIGTERM; what was done is sealed.
    """
    config = parse(argv)
    try:
        with StopRequest() as stop:
            return run(config, stop)
    except (
        OSError,
        ValueError,
    ) as error:  # input that is missing, broken or does not fit; messages name the cure
        print(f"captioning.caption: {error}", file=sys.stderr)
        return FATAL


def parse(argv: list[str] | None) -> CaptionConfig:
    """Flags and YAML to settings; exits with code 2 for anything wrong."""
    config: CaptionConfig = parse_config("captioning.caption", CaptionConfig, argv)
    return config


def run(config: CaptionConfig, stop: StopRequest) -> int:
    """Caption what is missing of the configured source, and merge; the exit code."""
    if config.out.exists() and not config.overwrite:
        if not finished_before(config.out):
            raise FileExistsError(f"{config.out}: exists; give another --out, or --overwrite")
        say(f"{config.out}: an earlier run wrote all of it; what was left of its parts is removed")
        return SOME_FAILED if failures_file(config.out).exists() else OK
    source = open_source(config.images, config.features, config.limit)  # cheap: the model takes seconds

    from captioning.bulk import BulkRun
    from captioning.captioner import Captioner
    from captioning.constraints import Constraints, read_constraints

    captioner = Captioner.from_pretrained(config.checkpoint, config.device, config.weights)
    if source.store is not None:
        captioner.check_store(source.store)
    decode = replace(captioner.info.decode, **config.decode.given())
    constraints: Constraints = {}
    if config.constraints is not None:
        known = [*source.image_ids, *dict(source.failed)]
        constraints = read_constraints(config.constraints, known, captioner.tokenizer, decode.max_pieces)
    parts = CaptionParts(
        out=config.out,
        settings=record_of_settings(config, source, decode),
        image_ids=source.image_ids,
        part_size=config.part_size,
        shard=Shard.parse(config.shard),
        say=say,
    )
    bulk = BulkRun(
        source=source,
        captioner=captioner,
        decode=decode,
        constraints=constraints,
        parts=parts,
        batch_size=config.batch_size,
    )
    started = time.perf_counter()
    with parts.claimed(overwrite=config.overwrite):
        report = bulk.run(stop)
        merged = merge(parts, source.failed) if report.signal is None else None
    return tell(config, report, merged, time.perf_counter() - started)


def tell(config: CaptionConfig, report: "Report", merged: Merged | None, seconds: float) -> int:
    """The last words of a run; its exit code.

    Args:
        config: Of the run.
        report: What became of the shard's pictures.
        merged: What the output holds, if this run has written it.
        seconds: It took.
    """
    counts = f"{report.captions} captions, {len(report.failed)} failed"
    if report.signal is not None:
        say(f"stopped: {counts} so far, all sealed; run the same command, without --overwrite, to go on")
        return SIGNAL + report.signal
    if merged is None:
        say(f"shard {config.shard}: {counts}, {seconds:.1f} s; the last shard writes {config.out}")
        return SOME_FAILED if report.failed else OK
    say(f"{config.out}: {merged.captions} captions, {len(merged.failures)} failed, {seconds:.1f} s")
    if not merged.failures:
        return OK
    say(f"failed, all in {failures_file(config.out)}:\n{listing(merged.failures)}")
    return SOME_FAILED


def record_of_settings(config: CaptionConfig, source: Source, decode: DecodeConfig) -> dict[str, Any]:
    """What decides the captions, besides the pictures' names."""
    from captioning.checkpoints import MANIFEST
    from captioning.places import checkpoint_folder

    manifest = checkpoint_folder(config.checkpoint) / MANIFEST  # holds the hash of every file
    return {
        "source": str(source.path.resolve()),
        "checkpoint": sha256_of(manifest),
        "constraints": config.constraints and sha256_of(config.constraints),
        **{f"decode.{name}": value for name, value in asdict(decode).items()},
    }


def say(message: str) -> None:
    """A note to the user, away from any program's output."""
    print(message, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())

"""``python -m captioning.caption``: pictures, or a regions file, in; a file of captions out.

The kind of file follows the suffix of ``--out``: ``.json`` is COCO results (a list of records), ``.jsonl`` a
record a line, ``.csv`` a table for people.
"""

import json
import re
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, TextIO

from jsonargparse import ArgumentParser, set_parsing_settings

from captioning.prediction_files import check_suffix, prediction_file, write_failures
from features.images import scan_images
from features.store import Regions, RegionStore

if TYPE_CHECKING:
    from captioning.captioner import Caption, CaptionFailure

MOST_LISTED = 20
"""Failures named on the terminal; all of them are in the failures file."""


@dataclass(frozen=True, kw_only=True)
class DecodeFlags:
    """How a caption is searched for; what is left empty is as the checkpoint has it."""

    beam_width: int | None = None
    """Hypotheses kept per picture; 1 decodes greedily."""
    n_best: int | None = None
    """Captions written per picture, best first."""
    max_pieces: int | None = None
    """Longest caption, in word pieces without [CLS] and [SEP]."""
    length_penalty: float | None = None
    """Exponent of the length that divides a caption's log-probability; 0 favours short captions."""
    no_repeat_ngram: int | None = None
    """No run of this many pieces occurs twice; 0 allows all."""

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
    """The captions: .json, .jsonl or .csv."""
    overwrite: bool = False
    """Replace the output where it exists."""
    decode: DecodeFlags = field(default_factory=DecodeFlags)
    """The search."""
    batch_size: int = 16
    """Pictures worked on at once."""
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
        if self.batch_size < 1:
            raise ValueError(f"batch_size must be 1 or more, got {self.batch_size}")
        if self.limit is not None and self.limit < 1:
            raise ValueError(f"limit must be 1 or more, got {self.limit}")


def main(argv: list[str] | None = None) -> int:
    """The command.

    Returns:
        0: a caption for every picture. 1: nothing was written. 2: usage. 3: some pictures failed.
        130, 143: stopped by Ctrl-C or SIGTERM; nothing was written.
    """
    config = parse(argv)
    signal.signal(signal.SIGTERM, _terminate)
    try:
        return run(config)
    except KeyboardInterrupt:
        print("\nstopped; nothing was written", file=sys.stderr)
        return 130
    except (
        OSError,
        ValueError,
    ) as error:  # input that is missing, broken or does not fit; messages name the cure
        print(f"captioning.caption: {error}", file=sys.stderr)
        return 1


def parse(argv: list[str] | None) -> CaptionConfig:
    """Flags and YAML to settings; exits with code 2 for anything wrong."""
    set_parsing_settings(docstring_parse_attribute_docstrings=True)
    parser = ArgumentParser(prog="python -m captioning.caption", description=CaptionConfig.__doc__)
    parser.add_argument("--config", action="config", help="YAML file with any of the settings below")
    parser.add_class_arguments(CaptionConfig, nested_key=None, skip={"overwrite"})
    parser.add_argument("--overwrite", action="store_true", help="Replace the output where it exists.")
    parsed = parser.parse_args(argv)
    try:
        values = vars(parser.instantiate(parsed))
        return CaptionConfig(**{each.name: values[each.name] for each in fields(CaptionConfig)})
    except ValueError as error:
        parser.error(str(error))


def run(config: CaptionConfig) -> int:
    """Caption every picture of the configured source; the exit code."""
    if config.out.exists() and not config.overwrite:
        raise FileExistsError(f"{config.out}: exists; give another --out, or --overwrite")
    source = open_source(config)  # the cheap checks first: the model takes seconds to load

    from captioning.captioner import Captioner

    captioner = Captioner.from_pretrained(config.checkpoint, config.device, config.weights)
    if source.store is not None:
        captioner.check_store(source.store)
    results = captioner.caption_many(
        source.items(), config.batch_size, root=config.images, **config.decode.given()
    )
    started = time.perf_counter()
    failures = source.failed + write_captions(config.out, results, len(source.image_ids))
    n_written = len(source.image_ids) + len(source.failed) - len(failures)
    seconds = time.perf_counter() - started
    print(f"{config.out}: {n_written} captions, {len(failures)} failed, {seconds:.1f} s", file=sys.stderr)
    if not failures:
        return 0
    table = config.out.with_name(config.out.name + ".failures.csv")
    write_failures(table, failures)
    print(f"failed, all in {table}:\n{listing(failures)}", file=sys.stderr)
    return 3


def write_captions(
    out: Path, results: "Iterator[Caption | CaptionFailure]", n_pictures: int
) -> list[tuple[str, str]]:
    """Write what has a caption; the pictures that have none, and why.

    Raises:
        ValueError: No picture has one; then nothing is written.
    """
    from captioning.captioner import CaptionFailure

    failures: list[tuple[str, str]] = []
    progress = Progress(n_pictures, sys.stderr)
    with prediction_file(out) as write:
        for result in results:
            if isinstance(result, CaptionFailure):
                failures.append((result.image_id, result.reason))
            elif not result.text:
                failures.append((result.image_id, "the model wrote an empty caption"))
            else:
                write(result)
            progress.step()
        progress.close()
        if len(failures) == n_pictures:
            raise ValueError(f"no picture could be captioned, nothing was written:\n{listing(failures)}")
    return failures


@dataclass(frozen=True, kw_only=True)
class Source:
    """Pictures to caption: ids below a folder, or in a regions file."""

    image_ids: Sequence[str]
    failed: list[tuple[str, str]]
    """Pictures known to be unusable before any work, and why."""
    store: RegionStore | None = None

    def items(self) -> Iterator[Path | Regions]:
        """What the captioner takes, read as it is needed."""
        for image_id in self.image_ids:
            yield Path(image_id) if self.store is None else self.store.regions(image_id)


def open_source(config: CaptionConfig) -> Source:
    """The folder or the regions file, proved to hold pictures.

    Raises:
        NotADirectoryError, features.store.StoreError: Neither is there.
        ValueError: It holds no picture.
    """
    if config.images is not None:
        found = scan_images(config.images)
        image_ids, failed, store = found.image_ids, found.failed, None
    else:
        assert config.features is not None  # noqa: S101  (CaptionConfig)
        store = RegionStore(config.features)
        image_ids, failed = store.image_ids, store.failed
    if not image_ids:
        where = config.images or config.features
        raise ValueError(
            f"{where}: holds no picture; give a folder with pictures, or a regions file made from one"
        )
    return Source(image_ids=image_ids[: config.limit], failed=sorted(failed.items()), store=store)


def listing(failures: Sequence[tuple[str, str]]) -> str:
    """The first failures, a line each, fit for a terminal."""
    lines = [f"  {image_id!r}: {reason}" for image_id, reason in failures[:MOST_LISTED]]
    if len(failures) > MOST_LISTED:
        lines.append(f"  and {len(failures) - MOST_LISTED} more")
    return "\n".join(lines)


class Progress:
    """Count, rate and time left: one moving line on a terminal, else a JSON line every few seconds."""

    def __init__(self, total: int, stream: TextIO) -> None:
        """Starts the clock."""
        self._total, self._stream, self._done = total, stream, 0
        self._live = stream.isatty()
        self._pause = 0.2 if self._live else 5.0
        self._start = self._last = time.monotonic()

    def step(self) -> None:
        """One picture more."""
        self._done += 1
        if time.monotonic() - self._last >= self._pause:
            self._say()

    def close(self) -> None:
        """The last word."""
        self._say("\n" if self._live else "")

    def _say(self, end: str = "") -> None:
        self._last = time.monotonic()
        rate = self._done / max(self._last - self._start, 1e-9)
        left = (self._total - self._done) / max(rate, 1e-9)
        if self._live:
            line = f"\rcaptioning {self._done}/{self._total}  {rate:.1f} pictures/s  {left:.0f} s left  {end}"
        else:
            event = {"event": "progress", "done": self._done, "total": self._total}
            line = (
                json.dumps(event | {"pictures_per_second": round(rate, 2), "eta_seconds": round(left, 1)})
                + "\n"
            )
        self._stream.write(line)
        self._stream.flush()


def _terminate(signal_number: int, frame: FrameType | None) -> None:
    sys.exit(128 + signal_number)


if __name__ == "__main__":
    sys.exit(main())

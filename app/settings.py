"""What ``python -m app`` is told, and the samples it opens when it is told nothing."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Literal

from features.arguments import parse_config

MAX_UPLOAD_MB = 20


@dataclass(frozen=True, kw_only=True)
class AppConfig:
    """Look at pictures, regions, captions and scores in a web browser, on this machine only."""

    images: Path | None = None
    """Folder of pictures; the bundled samples if empty."""
    regions: Path | None = None
    """Regions file of features.extract, or its folder of shards, for boxes and tags."""
    predictions: tuple[Path, ...] = ()
    """Caption files, one a system; without any, captions are made when they are looked at."""
    references: Path | None = None
    """Human captions (AIC-ICC or COCO), for scores."""
    checkpoint: str = "mini"
    """Writes the captions of "Try it" and says what a word rests on: mini, a checkpoint folder, a hub id."""
    runs: tuple[Path, ...] = ()
    """Folders of training runs (captioning.train --out), or folders of such: curves and settings."""
    notes: Path | None = None
    """Folder for what you write: corrections, votes, marks, saved views; "tushuo-notes" beside the first
    caption file (without one, in the current folder) if empty."""
    cache: Path | None = None
    """Folder for the index and thumbnails, which may be deleted at any time; ".tushuo-browser" beside the
    first caption file if empty."""
    weights: Path | None = None
    """The detector's weights, where they are not bundled, cached or downloadable."""
    port: int = 8501
    """Port on 127.0.0.1."""
    language: Literal["auto", "zh", "en"] = "auto"
    """Of the page; auto asks the web browser."""

    def __post_init__(self) -> None:
        if not 1 <= self.port <= 65535:
            raise ValueError(f"port must lie between 1 and 65535, got {self.port}")


def parse(argv: Sequence[str] | None) -> AppConfig:
    """Flags and YAML to settings; exits with code 2 for anything wrong."""
    config: AppConfig = parse_config("app", AppConfig, argv, several=("predictions", "runs"))
    return config


@cache
def settings_of(arguments: tuple[str, ...]) -> AppConfig:
    """The settings of a command line that is known to be right, parsed once a process."""
    return with_samples(parse(arguments))


def with_samples(config: AppConfig) -> AppConfig:
    """The same settings, or the samples with what ``make demo`` made of them where no pictures are named.

    Raises:
        FileNotFoundError: No pictures are named, and the samples are not part of this installation.
    """
    if config.images is not None:
        return config
    images = Path(str(files("examples"))) / "images"
    if not images.is_dir():
        raise FileNotFoundError(
            f"{images}: the sample pictures are in the repository, not in the installed package; "
            "give your own: --images DIR"
        )
    demo = images.parent.parent / "build" / "demo"
    captions = _if_there(demo / "captions.json")
    return replace(
        config,
        images=images,
        regions=config.regions or _if_there(demo / "regions.h5"),
        predictions=config.predictions or (() if captions is None else (captions,)),
        references=config.references or _if_there(images / "captions.json"),
    )


def _if_there(path: Path) -> Path | None:
    return path if path.is_file() else None

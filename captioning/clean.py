"""``python -m captioning.clean IN OUT``: a corpus, or the captions of a data set, cleaned, with an account.

A file of captions (any format of references in `eval.annotations`, recognised by its content) becomes JSON
that keeps what it had: AIC-ICC, or COCO captions where pictures have numbers, or Karpathy's format where they
have splits. Predictions are refused: they are scored as they were written. Anything else is plain text in
UTF-8, one text a line, of any length; ``.gz`` is read and written. IN may be ``-``, standard input, which is
always plain text.
"""

from __future__ import annotations

import gzip
import io
import json
import sys
import unicodedata
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import IO, Any

from captioning.cleaning import Cleaner, CleaningConfig
from captioning.prediction_files import replaced_file
from captioning.reference_files import reference_content
from eval.annotations import ReferenceFile, looks_like_captions, read_reference_file
from features.arguments import parse_config

STANDARD_INPUT = Path("-")


@dataclass(frozen=True, kw_only=True)
class CleanConfig:
    """Clean a text corpus or the captions of a data set, and count what each step does.

    Of a data set, clean the captions to train on. Scores against cleaned references are not comparable with
    published ones.
    """

    source: Path
    """Plain text, one a line (.gz; - for standard input), or captions in any format of references."""
    out: Path | None = None
    """The new file; of captions JSON, of a corpus plain text (.gz)."""
    report: Path | None = None
    """Write counts and examples of each step to this JSON file."""
    dry_run: bool = False
    """Write no OUT, only count."""
    overwrite: bool = False
    """Replace OUT and the report where they are there."""
    cleaning: CleaningConfig = field(default_factory=CleaningConfig)
    """The steps."""

    def __post_init__(self) -> None:
        if (self.out is None) != self.dry_run:
            raise ValueError("give either OUT or --dry_run")
        paths = [path.absolute() for path in (self.source, self.out, self.report) if path is not None]
        if len(set(paths)) < len(paths):
            raise ValueError("IN, OUT and the report must be three files")


def main(argv: list[str] | None = None) -> int:
    """Run the command; 0 cleaned, 1 refused with the reason on stderr, 2 usage, 130 interrupted."""
    config = parse(argv)
    try:
        account = clean(config)
    except (ValueError, OSError, ModuleNotFoundError) as error:
        sys.stderr.write("".join(f"captioning.clean: {line}\n" for line in str(error).splitlines()))
        return 1
    except KeyboardInterrupt:
        return 130
    sys.stdout.write(summary(account, config))
    return 0


def parse(argv: list[str] | None) -> CleanConfig:
    """Flags and YAML to settings; exits with code 2 for anything wrong."""
    config: CleanConfig = parse_config("captioning.clean", CleanConfig, argv, positional=("source", "out"))
    return config


def clean(config: CleanConfig) -> dict[str, Any]:
    """Read, clean, write; the account is that of the report.

    Raises:
        ValueError: IN cannot be read as text or captions, or the steps do not fit it.
        OSError: a file is there already, is missing or cannot be written.
        ModuleNotFoundError: a step's package is not installed; the message names it.
    """
    for path in (config.out, config.report):
        if path is not None and path.exists() and not config.overwrite:
            raise FileExistsError(f"{path}: exists; give another name, or --overwrite")
    cleaner = Cleaner(config.cleaning)
    if _is_text(config.source):
        found: dict[str, Any] = {"kind": "text"}
        _clean_text(config, cleaner)
    else:
        found = {"kind": "captions", "images_without_captions": _clean_captions(config, cleaner)}
    account = {"schema": 1, "versions": _versions(), "source": str(config.source)} | found | cleaner.account()
    if config.report is not None:
        with replaced_file(config.report) as file:
            file.write(json.dumps(account, ensure_ascii=False, indent=1) + "\n")
    return account


def summary(account: dict[str, Any], config: CleanConfig) -> str:
    """The counts as lines."""
    lines = [
        f"{account['n_read']:,} texts read, {account['n_kept']:,} kept, {account['n_changed']:,} changed"
    ]
    for what, steps in (("changed", account["changed"]), ("left out", account["left_out"])):
        lines += [f"  {name:<17}{count['texts']:>13,} {what}" for name, count in steps.items()]
    if images := account.get("images_without_captions"):
        lines.append(f"{len(images):,} pictures have no caption left, and are left out")
    lines += [f"Written: {path}" for path in (config.out, config.report) if path is not None]
    return "\n".join(lines) + "\n"


def _is_text(source: Path) -> bool:
    """Whether the source is plain text; what is not opened here is not looked into."""
    return source == STANDARD_INPUT or source.suffix == ".gz" or not looks_like_captions(source)


def _clean_text(config: CleanConfig, cleaner: Cleaner) -> None:
    with _opened(config.source) as binary:
        texts = cleaner.corpus(_lines(config.source, binary))
        if config.out is None:
            for _ in texts:
                pass
            return
        with _text_file(config.out) as file:
            file.writelines(text + "\n" for text in texts)


def _clean_captions(config: CleanConfig, cleaner: Cleaner) -> list[str]:
    """Pictures of which no caption is left."""
    if config.cleaning.duplicates == "near":
        raise ValueError(
            f"{config.source}: holds captions of pictures, where near-duplicates are wanted; choose "
            f"--cleaning.duplicates exact or keep"
        )
    references = read_reference_file(config.source)
    cleaned = {image_id: cleaner.captions(texts) for image_id, texts in references.captions.items()}
    kept = {image_id: texts for image_id, texts in cleaned.items() if texts}
    if config.out is not None:
        if not kept:
            raise ValueError(f"{config.source}: no caption is left; nothing was written")
        content = reference_content(
            ReferenceFile(
                captions=kept,
                numbers={number: each for number, each in references.numbers.items() if each in kept},
                splits={image_id: split for image_id, split in references.splits.items() if image_id in kept},
            )
        )
        with replaced_file(config.out) as file:
            file.write(json.dumps(content, ensure_ascii=False, indent=1) + "\n")
    return [image_id for image_id in cleaned if image_id not in kept]


@contextmanager
def _opened(source: Path) -> Iterator[Iterable[bytes]]:
    if source == STANDARD_INPUT:
        yield sys.stdin.buffer
    else:
        with gzip.open(source) if source.suffix == ".gz" else source.open("rb") as file:
            yield file


def _lines(source: Path, binary: Iterable[bytes]) -> Iterator[str]:
    """Lines without their ends.

    Raises:
        ValueError: one is not UTF-8, or the gzip file is damaged.
    """
    number = 0
    try:
        for number, line in enumerate(binary, start=1):
            text = line.decode("utf-8-sig" if number == 1 else "utf-8")
            yield text.rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{source}, line {number}: found bytes that are not UTF-8, wanted UTF-8; convert it first, for "
            f"instance: iconv -f GB18030 -t UTF-8 OLD > NEW"
        ) from error
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(
            f"{source}, after line {number}: found a damaged gzip file ({error}); get it again"
        ) from error


@contextmanager
def _text_file(path: Path) -> Iterator[IO[str]]:
    """A text file that takes its place when it is whole; ``.gz`` the same bytes whenever it is written."""
    with replaced_file(path) as file:
        if path.suffix != ".gz":
            yield file
            return
        with (
            gzip.GzipFile(filename="", mode="wb", fileobj=file.buffer, mtime=0) as packed,
            io.TextIOWrapper(packed, encoding="utf-8", newline="") as text,
        ):
            yield text


def _versions() -> dict[str, str]:
    """Of all that decides what the steps do."""
    versions = {"unicode": unicodedata.unidata_version}
    for name in ("tushuo", "opencc", "datasketch"):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


if __name__ == "__main__":
    sys.exit(main())

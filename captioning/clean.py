"""``python -m captioning.clean IN OUT``: a corpus, or the captions of a data set, cleaned, with an account.

A file of captions (any format of references in `eval.annotations`, recognised by its content) becomes JSON
that keeps what it had: AIC-ICC, or COCO captions where pictures have numbers, or Karpathy's format where they
have splits. COCO results, which are predictions, are refused: they are scored as they were written.

Pairs as JSON lines (`captioning.pairs`), which the corpora of pre-training are converted into, stay what they
are, line by line: captions, questions and answers are cleaned, tags and all else are kept.

Anything else is plain text in UTF-8, one text a line, of any length; ``.gz`` is read and written. IN may be
``-``, standard input, which is always plain text. What is plainly none (`captioning.plain_text`) is refused.
"""

from __future__ import annotations

import json
import sys
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from captioning.cleaning import Cleaner, CleaningConfig
from captioning.pairs import read_pairs
from captioning.plain_text import STANDARD_INPUT, is_packed, plain_lines, write_lines
from captioning.prediction_files import replaced_file
from captioning.reference_files import reference_content
from eval.annotations import Recognised, ReferenceFile, looks_like_captions, parse_references, recognise
from eval.lines import json_lines
from eval.problems import Problems
from features.arguments import parse_config


@dataclass(frozen=True, kw_only=True)
class CleanConfig:
    """Clean a text corpus, pairs for pre-training or the captions of a data set; count what each step does.

    Of a data set, clean the captions to train on. Scores against cleaned references are not comparable with
    published ones.
    """

    source: Path
    """Plain text, one a line (.gz; - for standard input), pairs as JSON lines, or captions in any format of
    references. Oscar's TSV and YAML: convert them first (captioning.validate --convert)."""
    out: Path | None = None
    """The new file; of captions JSON, of pairs JSON lines, of a corpus plain text (.gz)."""
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
        ValueError: IN cannot be read as text, pairs or captions, or the steps do not fit it.
        OSError: a file is there already, is missing or cannot be written.
        ModuleNotFoundError: a step's package is not installed; the message names it.
    """
    for path in (config.out, config.report):
        if path is not None and path.exists() and not config.overwrite:
            raise FileExistsError(f"{path}: exists; give another name, or --overwrite")
    cleaner = Cleaner(config.cleaning)
    kind = _clean_source(config, cleaner)
    account = {"schema": 1, "versions": _versions(), "source": str(config.source)} | kind | cleaner.account()
    if config.report is not None:
        with replaced_file(config.report) as file:
            file.write(json.dumps(account, ensure_ascii=False, indent=1) + "\n")
    return account


def summary(account: dict[str, Any], config: CleanConfig) -> str:
    """The counts as lines."""
    what = "pairs" if account["kind"] == "pairs" else "texts"
    lines = [
        f"{account['n_read']:,} {what} read, {account['n_kept']:,} kept, {account['n_changed']:,} changed"
    ]
    for what, steps in (("changed", account["changed"]), ("left out", account["left_out"])):
        lines += [f"  {name:<17}{count['texts']:>13,} {what}" for name, count in steps.items()]
    if images := account.get("images_without_captions"):
        lines.append(f"{len(images):,} pictures have no text left, and are left out")
    lines += [f"Written: {path}" for path in (config.out, config.report) if path is not None]
    return "\n".join(lines) + "\n"


def _clean_source(config: CleanConfig, cleaner: Cleaner) -> dict[str, Any]:
    """What the source holds, for the account."""
    source = config.source
    if source == STANDARD_INPUT or is_packed(source) or not looks_like_captions(source):
        with plain_lines(source) as lines:
            write_lines(config.out, cleaner.corpus(lines))
        return {"kind": "text"}
    found = recognise(source, "references")
    if found.format == "jsonl":
        return {"kind": "pairs", "images_without_captions": _clean_pairs(config, cleaner, found)}
    return {"kind": "captions", "images_without_captions": _clean_captions(config, cleaner, found)}


def _clean_pairs(config: CleanConfig, cleaner: Cleaner, found: Recognised) -> list[str]:
    """Pictures of which no pair is left."""
    problems = Problems(config.source)
    read_pairs(found.content, problems)  # says all that is wrong with them
    problems.raise_any()
    is_left: dict[str, bool] = {}

    def cleaned_lines() -> Iterator[str]:
        records = json_lines(found.content, problems)
        for image_id, values in cleaner.pairs(record.values for record in records):
            is_left[image_id] = is_left.get(image_id, False) or values is not None
            if values is not None:
                line = json.dumps(values, ensure_ascii=False)
                yield line.encode(errors="backslashreplace").decode()  # half a surrogate pair: as JSON has it
        if config.out is not None and not any(is_left.values()):
            raise ValueError(f"{config.source}: no pair is left; nothing was written")

    write_lines(config.out, cleaned_lines())
    return [image_id for image_id, left in is_left.items() if not left]


def _clean_captions(config: CleanConfig, cleaner: Cleaner, found: Recognised) -> list[str]:
    """Pictures of which no caption is left."""
    if config.cleaning.duplicates == "near":
        raise ValueError(
            f"{config.source}: holds captions of pictures, where near-duplicates are wanted; choose "
            f"--cleaning.duplicates exact or keep"
        )
    references = parse_references(found)
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

"""``python -m captioning.validate FILE…``: all that is wrong with captions and corpora; counts; conversion.

FILE is anything that ``captioning.train`` reads, with ``#PART`` behind it where it has parts. Regions files
themselves are checked by ``features.verify``. Exit codes: 0 nothing has to be put right, 1 problems (they are
listed), 2 wrong usage, 130 after Ctrl-C.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from captioning.caption_counts import count_captions
from captioning.corpora import CorpusTags
from captioning.findings import FileFindings, Findings, Lack
from captioning.pairs import pair_lines
from captioning.prediction_files import replaced_file
from captioning.ranges import at_least
from captioning.records import CaptionFile, file_and_parts, read_caption_file
from captioning.tokenizer import CaptionTokenizer
from eval.annotations import AnnotationError
from eval.matching import compare_ids
from eval.shown import shown
from features.arguments import parse_config
from features.images import scan_images
from features.store import RegionStore

if TYPE_CHECKING:
    from captioning.caption_record import CaptionRecord

OK, PROBLEMS, INTERRUPTED = 0, 1, 130
DEFAULT_PIECES = 40
"""As ``model.max_caption_pieces`` of captioning.train."""


@dataclass(frozen=True, kw_only=True)
class ValidateConfig:
    """List all problems of caption files and pre-training corpora, count what they hold, convert them."""

    files: list[Path]
    """Files that captioning.train reads; FILE#train+restval takes splits of a Karpathy file, FILE#coco a data
    set of a corpus."""
    regions: list[Path] = field(default_factory=list)
    """Regions files, or folders of them, in which captioned pictures are looked up; features.verify checks
    the files themselves."""
    images: Path | None = None
    """Folder in which captioned pictures are looked up."""
    split: str | None = None
    """Part of every file that has no # of its own."""
    checkpoint: str | None = None
    """Vocabulary to count with: mini, a checkpoint or a BERT folder, or a hub id; the characters of the
    captions themselves if empty, as in training from scratch."""
    max_caption_pieces: int = DEFAULT_PIECES
    """Caption slots with [CLS] and [SEP]; longer captions are counted."""
    tags: CorpusTags = "regions"
    """Second texts beside the captions of a pre-training corpus: tags of the regions, objects of its label
    files, or gt, their gt_objects where there are some."""
    lexicon: str = "zh"
    """Names those tags in Chinese: zh, or a glossary file."""
    convert: Path | None = None
    """Write all captions, questions and second texts to this new file, a JSON object a line."""
    missing: Path | None = None
    """Write all pictures that one side lacks to this new CSV file."""
    overwrite: bool = False
    """Replace the new files where they are there."""
    json: bool = False
    """Print the findings as JSON."""

    def __post_init__(self) -> None:
        at_least(self, "max_caption_pieces", 3)
        read = {file_and_parts(path)[0].resolve() for path in self.files}
        written = [path.resolve() for path in (self.convert, self.missing) if path is not None]
        if read & set(written) or len(set(written)) < len(written):
            raise ValueError("FILE, --convert and --missing must be different files")
        if self.missing is not None and not self.regions and self.images is None:
            raise ValueError("--missing wants --regions or --images, from which pictures can be missing")


def main(argv: list[str] | None = None) -> int:
    """The command; returns its exit code."""
    config = parse(argv)
    try:
        findings = validate(config)
    except (OSError, ValueError) as error:
        sys.stderr.write("".join(f"captioning.validate: {shown(line)}\n" for line in str(error).splitlines()))
        return PROBLEMS
    except KeyboardInterrupt:
        return INTERRUPTED
    if config.convert is not None and any(file.problems for file in findings.files):
        sys.stderr.write(
            f"captioning.validate: {shown(str(config.convert))} is not written: there are problems\n"
        )
    if config.json:
        sys.stdout.write(json.dumps(findings.as_json(), ensure_ascii=False, indent=1) + "\n")
    else:
        sys.stdout.writelines(shown(line) + "\n" for line in findings.lines())
    return OK if findings.is_good else PROBLEMS


def parse(argv: list[str] | None) -> ValidateConfig:
    """Flags and YAML to settings; exits with code 2 for anything wrong."""
    config: ValidateConfig = parse_config(
        "captioning.validate", ValidateConfig, argv, positional=("files",), several=("regions",)
    )
    return config


def validate(config: ValidateConfig) -> Findings:
    """Do what the command does, less its words.

    Raises:
        OSError: a folder is missing, or a new file cannot be written, or is there already.
        ValueError: regions or vocabulary cannot be read.
    """
    for path in (config.convert, config.missing):
        if path is not None and path.exists() and not config.overwrite:
            raise FileExistsError(f"{path}: exists; give another name, or --overwrite")
    read = [_read(path, config) for path in config.files]
    good = [(name, file) for name, file, _ in read if file is not None]
    tokenizer = _tokenizer(config, [record for _, file in good for record in file.records])
    files = [
        FileFindings(
            name=name,
            problems=error.problems if error else (),
            file=file,
            counts=count_captions(file.records, tokenizer, config.max_caption_pieces - 2) if file else None,
        )
        for name, file, error in read
    ]
    unclear: list[str] = []
    lacks = [lack for side in _sides(config) for lack in _compare(side, good, unclear)]
    if config.missing is not None:
        with replaced_file(config.missing) as text:
            _write_missing(text, lacks)
    if config.convert is not None and not any(file.problems for file in files):
        with replaced_file(config.convert) as text:
            text.writelines(line for _, file in good for line in pair_lines(file.records))
    return Findings(files=files, lacks=lacks, unclear=unclear, shared=_shared(good))


def _read(path: Path, config: ValidateConfig) -> tuple[str, CaptionFile | None, AnnotationError | None]:
    """The name under which a file is listed, and its content or what is wrong with it."""
    if config.split is not None and not file_and_parts(path)[1]:
        path = Path(f"{path}#{config.split}")
    try:
        file = read_caption_file(path, "all", tags=config.tags, lexicon=config.lexicon)
    except AnnotationError as error:
        return str(path), None, error
    return str(path), file, None


def _tokenizer(config: ValidateConfig, records: Sequence[CaptionRecord]) -> CaptionTokenizer:
    if config.checkpoint is None:
        return CaptionTokenizer.build(caption for record in records for caption in record.captions)
    from captioning.places import checkpoint_folder  # loads torch

    return CaptionTokenizer.from_folder(checkpoint_folder(config.checkpoint))


@dataclass(frozen=True, kw_only=True)
class _Side:
    """Pictures that captioned pictures are looked up among."""

    what: str
    """regions or pictures."""
    where: str
    image_ids: Sequence[str]
    failed: Mapping[str, str]
    """Pictures that could not be used -> reason."""


def _sides(config: ValidateConfig) -> Iterator[_Side]:
    """What the captions are compared with, read one after the other."""
    if config.regions:
        image_ids: set[str] = set()
        failed: dict[str, str] = {}
        for path in config.regions:
            with RegionStore(path) as store:
                image_ids |= set(store.image_ids)
                failed |= store.failed
        where = " + ".join(map(str, config.regions))
        yield _Side(what="regions", where=where, image_ids=sorted(image_ids), failed=failed)
    if config.images is not None:
        found = scan_images(config.images)
        yield _Side(what="pictures", where=str(config.images), image_ids=found.image_ids, failed=found.failed)


def _compare(side: _Side, files: Sequence[tuple[str, CaptionFile]], unclear: list[str]) -> Iterator[Lack]:
    """What captions and the other side lack of each other; what cannot be paired is added to ``unclear``."""
    captioned: set[str] = set()
    for name, file in files:
        matches = compare_ids([record.image_id for record in file.records], side.image_ids)
        captioned.update(matches.references.values())
        unclear += [f"{name} and {side.where}: {problem}" for problem in matches.problems]
        reasons = {image_id: side.failed[image_id] for image_id in matches.extra if image_id in side.failed}
        if matches.extra:
            yield Lack(what=side.what, where=name, image_ids=matches.extra, is_problem=True, reasons=reasons)
    if files and (others := [image_id for image_id in side.image_ids if image_id not in captioned]):
        yield Lack(what="captions", where=side.where, image_ids=others, is_problem=False, reasons={})


def _shared(files: Sequence[tuple[str, CaptionFile]]) -> dict[str, list[str]]:
    """Pictures of several files -> those files."""
    owners: dict[str, list[str]] = {}
    for name, file in files:
        for record in file.records:
            owners.setdefault(record.image_id, []).append(name)
    return {image_id: names for image_id, names in owners.items() if len(names) > 1}


def _write_missing(file: TextIO, lacks: Sequence[Lack]) -> None:
    rows = csv.writer(file, lineterminator="\n")
    rows.writerow(("image_id", "lacks", "where", "reason"))
    for lack in lacks:
        rows.writerows((i, lack.what, lack.where, lack.reasons.get(i, "")) for i in lack.image_ids)


if __name__ == "__main__":
    sys.exit(main())

"""``python -m features.import_tsv FOLDER OUT --detector NAME``: features of Oscar or VinVL, to train here.

FOLDER holds ``feature.tsv`` (or ``features.tsv``, ``train.feature.tsv``, ``predictions.tsv``) and, where they
were published, ``label.tsv`` and ``hw.tsv``; ``features.oscar_tsv`` describes what is read. Picture ids are
the keys. Box numbers are written anew as w/W before h/H, whichever order the file has. A run that ended
early goes on where it stopped. Exit codes: 0 all pictures, 3 some could not be read (they are listed, and
recorded in the file), 2 wrong usage, 1 nothing could be done, 130 after Ctrl-C.
"""

from __future__ import annotations

import sys
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from features.arguments import parse_config
from features.locks import locked
from features.oscar_regions import VectorForm, convert, find_form
from features.oscar_tsv import FeatureLine, LabelFile, TsvLine, parse_feature_line, parse_size, read_lines
from features.output import Output, ShardWriter
from features.progress import failure_lines, printable, say
from features.published import WeightsError
from features.schema import IMPORTED, Regions, StoreMeta
from features.vocabularies import load_vocabulary, read_names

__all__ = ["ImportConfig", "Imported", "import_tsv", "main"]

OK, FATAL, SOME_FAILED, INTERRUPTED = 0, 1, 3, 130
_FIRST_PICTURES = 64  # that show what a file's vectors are
_PICTURES_A_NOTE = 8192


@dataclass(frozen=True, kw_only=True)
class ImportConfig:
    """Turn the TSV files of Oscar or VinVL into a regions file."""

    folder: Path
    """Folder of feature.tsv, label.tsv and hw.tsv; or the feature file itself."""
    out: Path
    """The regions file."""
    detector: str
    """What made the features, in your words (vinvl-x152c4): a captioner that is trained on them reads files
    of the same detector only. Use one name for all files of one release."""
    vocabulary: str = "vinvl-1594"
    """Classes that label.tsv names: vinvl-1594, vg-1600, coco-80, voc-20, or a text file, a name a line."""
    labels: Path | None = None
    """label.tsv, where it is not in the folder."""
    sizes: Path | None = None
    """hw.tsv, where it is not in the folder."""
    shard_size: int = 512
    """Pictures a sealed shard."""
    overwrite: bool = False
    """Delete OUT and OUT.parts and start over."""

    def __post_init__(self) -> None:
        if not self.detector.strip():
            raise ValueError("detector must say what made the features")
        if self.shard_size < 1:
            raise ValueError(f"shard_size must be 1 or more, got {self.shard_size}")


@dataclass
class Imported:
    """How an import went.

    Attributes:
        form: What the vectors are.
        n_pictures: In the regions file.
        failed: Key -> why its line could not be read.
        repeated: Lines that say again what an earlier one says.
        unnamed: Regions that no label names.
        unplaced: Labels that belong to no region.
        moved: Pictures whose labels stand on another row than their features.
    """

    form: VectorForm
    n_pictures: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    repeated: int = 0
    unnamed: int = 0
    unplaced: int = 0
    moved: int = 0


@dataclass(frozen=True, kw_only=True)
class _Source:
    features: Path
    form: VectorForm
    labels: LabelFile | None
    sizes: dict[str, tuple[int, int]]
    class_ids: dict[str, int]
    vocabulary_id: str


def import_tsv(config: ImportConfig) -> Imported:
    """Do what the command does, less its last words.

    Raises:
        OSError: A file is missing, or the disk.
        ValueError: Files that cannot be understood, or an output that is something else.
        LookupError: A class that the vocabulary does not have.
    """
    source = _open_source(config)
    meta = StoreMeta(
        backend=IMPORTED,
        description={"source": "Oscar TSV", "detector": config.detector.strip()},
        vocabulary=tuple(source.class_ids),
        vocabulary_id=source.vocabulary_id,
        feature_dim=source.form.feature_dim,
        run={
            "command": sys.argv,
            "features": str(source.features),
            "bytes": source.features.stat().st_size,
            "box_numbers": source.form.order or "none",
        },
    )
    report = Imported(form=source.form)
    config.out.parent.mkdir(parents=True, exist_ok=True)
    try:
        with locked(config.out):
            output = Output.open(config.out, meta, overwrite=config.overwrite)
            writer = ShardWriter(output)
            try:
                pictures = _pictures(source, output.done, report)
                while records := list(islice(pictures, config.shard_size)):
                    writer.write(records, {})
                writer.write([], report.failed)
                writer.wait()
            finally:
                writer.close()
            output.finish()
    finally:
        if source.labels is not None:
            source.labels.close()
    return report


def _open_source(config: ImportConfig) -> _Source:
    folder = config.folder if config.folder.is_dir() else config.folder.parent
    features = config.folder if config.folder.is_file() else _feature_file(folder)
    first: list[FeatureLine] = []
    for line in islice(read_lines(features), _FIRST_PICTURES):
        try:
            first.append(parse_feature_line(line.columns))
        except ValueError:
            continue  # it is met again, and named, when all are read
    try:
        form = find_form(first)
    except ValueError as error:
        raise ValueError(f"{features}: {error}") from error
    labels = config.labels or _label_file(folder, features)
    sizes = config.sizes or _beside(folder, features, "hw")
    vocabulary_id, names = _vocabulary(config.vocabulary)
    return _Source(
        features=features,
        form=form,
        labels=LabelFile(labels) if labels else None,
        sizes=dict(_sizes(sizes)) if sizes else {},
        class_ids={name: number for number, name in enumerate(names)},
        vocabulary_id=vocabulary_id,
    )


def _feature_file(folder: Path) -> Path:
    """The one feature file of a folder, by the names that releases use."""
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder or file")
    for pattern in ("feature.tsv", "features.tsv", "*.feature.tsv", "*.features.tsv", "predictions.tsv"):
        found = sorted(folder.glob(pattern))
        if len(found) > 1:
            raise ValueError(
                f"{folder}: several feature files ({', '.join(p.name for p in found)}); name one"
            )
        if found:
            return found[0]
    raise FileNotFoundError(
        f"{folder}: no feature file (feature.tsv, features.tsv, predictions.tsv); name it"
    )


def _beside(folder: Path, features: Path, kind: str) -> Path | None:
    """``label.tsv``, or ``train.label.tsv`` beside ``train.feature.tsv``, where it is there."""
    head, dot, _ = features.name.removesuffix(".tsv").rpartition(".")
    path = folder / f"{head}{dot}{kind}.tsv"
    return path if path.is_file() else None


def _label_file(folder: Path, features: Path) -> Path | None:
    """The labels; the retrieval code of Oscar calls them ``predictions.tsv``."""
    retrieval = folder / "predictions.tsv"
    return _beside(folder, features, "label") or (
        retrieval if retrieval.is_file() and retrieval != features else None
    )


def _sizes(path: Path) -> Iterator[tuple[str, tuple[int, int]]]:
    for line in read_lines(path):
        try:
            yield line.key, parse_size(line.columns)
        except ValueError as error:
            raise ValueError(f"{path}, line {line.number}: {error}") from error


def _vocabulary(name: str) -> tuple[str, tuple[str, ...]]:
    """Id and class names; a published list that is not on this machine is downloaded."""
    path = Path(name)
    if not path.is_file():
        try:
            return name, load_vocabulary(name)
        except WeightsError as error:
            raise ValueError(
                f"{error} Or name your own list, a name a line, with --vocabulary FILE."
            ) from error
    names = read_names(path)
    if not names or len(set(names)) != len(names):
        raise ValueError(f"{path}: wanted are class names, a line each and none twice")
    return path.stem, names


def _pictures(source: _Source, done: set[str], report: Imported) -> Iterator[Regions]:
    """Pictures that are not done yet, in the order of the file; the report counts along."""
    seen: dict[str, int] = {}  # key -> CRC-32 of its line
    for line in read_lines(source.features):
        checksum = zlib.crc32(b"\t".join(line.columns))
        if line.key in seen:
            if seen[line.key] != checksum:
                raise ValueError(
                    f"{source.features}, line {line.number}: picture {line.key!r} stands on an earlier line "
                    "with other regions; remove one of them"
                )
            report.repeated += 1
            continue
        try:
            regions = None if line.key in done else _convert(line, source, report)
        except ValueError as error:
            cut = "" if line.complete else "cut short (a killed writer, or an unfinished download): "
            report.failed[line.key] = f"line {line.number}: {cut}{error}"
            continue
        seen[line.key] = checksum
        report.failed.pop(line.key, None)
        report.n_pictures += 1
        if report.n_pictures % _PICTURES_A_NOTE == 0:
            say(f"{report.n_pictures} pictures")
        if regions is not None:
            yield regions


def _convert(line: TsvLine, source: _Source, report: Imported) -> Regions:
    parsed = parse_feature_line(line.columns)
    labels = (source.labels.of(line.key) if source.labels is not None else None) or parsed.labels
    try:
        found = convert(line.key, parsed, labels, source.sizes.get(line.key), source.form, source.class_ids)
    except KeyError as error:
        raise LookupError(
            f"picture {line.key!r} has an object of class {error.args[0]!r}, which the vocabulary "
            f"{source.vocabulary_id} ({len(source.class_ids)} names) does not have; name the right one with "
            "--vocabulary"
        ) from error
    if source.labels is not None:
        report.moved += source.labels.number(line.key) not in (None, line.number)
    report.unnamed += found.unnamed
    report.unplaced += found.unplaced
    return found.regions


def main(argv: list[str] | None = None) -> int:
    """The command; returns its exit code."""
    config: ImportConfig = parse_config(
        "features.import_tsv", ImportConfig, argv, positional=("folder", "out")
    )
    try:
        done = import_tsv(config)
    except (OSError, ValueError, LookupError) as error:
        sys.stderr.write(f"error: {printable(str(error))}\n")
        return FATAL
    except KeyboardInterrupt:
        sys.stderr.write("stopped; run the same command to go on\n")
        return INTERRUPTED
    for line in [*failure_lines(done.failed), *_summary(config, done)]:
        sys.stdout.write(line + "\n")
    return SOME_FAILED if done.failed else OK


def _summary(config: ImportConfig, done: Imported) -> Iterator[str]:
    yield (
        f"{done.n_pictures} pictures / {len(done.failed)} failed -> {printable(str(config.out))} "
        f"({config.out.stat().st_size / 1e6:.1f} MB)"
    )
    orders = {"wh": "x1 y1 x2 y2 w h", "hw": "x1 y1 x2 y2 h w, kept as w h"}
    boxes = orders[done.form.order] if done.form.order else "none; boxes are those of label.tsv"
    yield f"vectors of {done.form.feature_dim} numbers; box numbers behind them: {boxes}"
    if done.repeated:
        yield f"{done.repeated} lines repeat an earlier one and were passed over"
    if done.moved:
        yield (
            f"{done.moved} pictures stand on another row in label.tsv than in the feature file: they were "
            "put together by key (the original Oscar takes row i of both, and mixes pictures up)"
        )
    if done.unnamed or done.unplaced:
        yield (
            f"{done.unnamed} regions have no label (score 0: never a tag), {done.unplaced} labels belong to "
            "no region and were left out: label.tsv and the feature file hold different boxes"
        )


if __name__ == "__main__":
    sys.exit(main())

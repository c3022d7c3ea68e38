"""Captions of a split, as training reads them: any file that it can learn from, recognised by its content.

A file may hold several parts, of which a run reads some: the splits of a Karpathy file, the data sets of a
pre-training corpus. They are named behind the path: ``dataset_coco.json#train+restval``, ``corpus.yaml#gqa``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from captioning.caption_record import CaptionRecord, Gathered, SecondText
from captioning.corpora import CorpusTags, read_corpus
from captioning.oscar_yaml import FeatureFiles, feature_files, looks_like_yaml, read_captions, read_yaml
from captioning.pairs import read_pairs
from eval.annotations import AnnotationError, Problem, ReferenceFile, parse_references, recognise
from eval.problems import Problems

__all__ = [
    "CaptionFile",
    "CaptionRecord",
    "SecondText",
    "file_and_parts",
    "import_commands",
    "read_caption_file",
    "read_records",
]


@dataclass(frozen=True, kw_only=True)
class CaptionFile:
    """What a run reads of a file."""

    path: Path
    format: str
    """A key of ``eval.annotations.FORMATS``, or ``oscar-captions``, ``oscar-corpus``."""
    records: tuple[CaptionRecord, ...]
    """A picture each, in the file's order."""
    notes: tuple[str, ...]
    """What was passed over, in sentences."""


def read_records(path: Path, split: str) -> list[CaptionRecord]:
    """Records of a file, in the file's order.

    Args:
        path: of ``read_caption_file``.
        split: a name for messages: "train", "validation".

    Raises:
        eval.annotations.AnnotationError: of ``read_caption_file``.
    """
    return list(read_caption_file(path, split).records)


def read_caption_file(
    path: Path, split: str, *, tags: CorpusTags = "regions", lexicon: str = "zh"
) -> CaptionFile:
    """Records of a file, and what to tell of it.

    Args:
        path: any format of references in ``eval.annotations.FORMATS``, pairs as JSON lines, or a YAML file of
            Oscar or VinVL; with ``#PART`` or ``#PART+PART`` behind it where it has parts.
        split: a name for messages: "train", "validation".
        tags: where the tags beside the captions of a pre-training corpus come from.
        lexicon: names those in Chinese.

    Raises:
        eval.annotations.AnnotationError: the file cannot be read, with path, record and field of every
            problem; or it has several splits and none is named, or none of that name.
        features.tags.LexiconError: the lexicon cannot be read.
    """
    file, parts = file_and_parts(path)
    try:
        is_yaml = looks_like_yaml(file)
    except OSError:  # the reader says it
        is_yaml = False
    if is_yaml:
        return _read_yaml(file, parts, split, tags, lexicon)
    found = recognise(file, "references")
    if found.format == "jsonl":
        _refuse_parts(file, parts, found.format)
        problems = Problems(file)
        pairs = read_pairs(found.content, problems)
        problems.raise_any()
        return CaptionFile(path=file, format=found.format, records=tuple(pairs.records(split)), notes=())
    return _of_references(file, parts, split, parse_references(found), found.format)


def file_and_parts(path: Path) -> tuple[Path, tuple[str, ...]]:
    """``FILE#a+b`` as the file and its parts; a file of that very name goes first."""
    name, mark, parts = str(path).rpartition("#")
    if not mark or path.exists():
        return path, ()
    return Path(name), tuple(parts.split("+"))


def import_commands(paths: Sequence[Path], regions: Path) -> list[str]:
    """The commands that turn the features of YAML files into regions; none where no features are named.

    Args:
        paths: files as in ``read_caption_file``, of any format.
        regions: what they are to be put in: the file where one command makes it, else a folder of that name
            without its suffix.
    """
    found: dict[Path, tuple[str, FeatureFiles]] = {}
    for path in paths:
        file, parts = file_and_parts(path)
        try:
            files = feature_files(read_yaml(file), parts) if looks_like_yaml(file) else {}
        except (OSError, AnnotationError):  # told where its captions are read
            continue
        found |= {each.features: (name, each) for name, each in files.items()}
    if len(found) == 1:
        return [each.command(regions) for _, each in found.values()]
    return [each.command(regions.with_suffix("") / f"{name}.h5") for name, each in found.values()]


def _read_yaml(path: Path, parts: Sequence[str], split: str, tags: CorpusTags, lexicon: str) -> CaptionFile:
    settings = read_yaml(path)
    ignored = settings.ignored
    notes = [f"{path}: passes over the keys {', '.join(ignored)}"] if ignored else []
    if not settings.is_corpus:
        found = _of_references(path, parts, split, read_captions(settings), "oscar-captions")
        return CaptionFile(
            path=path, format=found.format, records=found.records, notes=(*notes, *found.notes)
        )
    pairs, told = read_corpus(settings, parts, tags, lexicon)
    records = tuple(pairs.records(split))
    return CaptionFile(path=path, format="oscar-corpus", records=records, notes=(*notes, *told))


def _of_references(
    path: Path, parts: Sequence[str], split: str, references: ReferenceFile, name: str
) -> CaptionFile:
    """Captions of the wanted splits."""
    notes = []
    captions = references.captions
    if references.splits:
        there = Counter(references.splits.get(image_id, "") for image_id in captions)
        _check_splits(path, parts, there)
        wanted = parts or list(there)
        captions = {i: texts for i, texts in captions.items() if references.splits.get(i, "") in wanted}
        if len(captions) < len(references.captions):
            notes.append(
                f"{path}: {len(captions):,} of {len(references.captions):,} pictures are of the split "
                f"{' + '.join(wanted)}"
            )
    else:
        _refuse_parts(path, parts, name)
    gathered = Gathered()
    for image_id, texts in captions.items():
        for text in texts:
            gathered.add(image_id, text)
    return CaptionFile(path=path, format=name, records=tuple(gathered.records(split)), notes=tuple(notes))


def _check_splits(path: Path, parts: Sequence[str], there: Counter[str]) -> None:
    """Prove that all of the wanted splits are there, and that somebody wants some where there are several."""
    shown = ", ".join(f"{name or 'without a split'}: {count:,}" for name, count in sorted(there.items()))
    missing = [part for part in parts if part not in there]
    if missing or (not parts and len(there) > 1):
        found = f"no split {', '.join(map(repr, missing))} among" if missing else "several splits"
        example = f"{path}#{next((name for name in there if name), 'train')}"
        wanted = f"the splits to read behind the path, joined by +: {example}"
        raise AnnotationError([Problem(path=path, found=f"{found} ({shown})", wanted=wanted)])


def _refuse_parts(path: Path, parts: Sequence[str], name: str) -> None:
    if parts:
        found = f"no splits (format {name})"
        wanted = f"the path without #{'+'.join(parts)}"
        raise AnnotationError([Problem(path=path, found=found, wanted=wanted)])

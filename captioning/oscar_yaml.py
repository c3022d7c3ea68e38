"""The YAML files by which Oscar and VinVL name the files of a data set.

Captioning (microsoft/Oscar, ``run_captioning.py``)::

    label: train.label.tsv
    feature: train.feature.tsv
    caption: train_caption.json

Pre-training (``oscar/datasets/oscar_tsv.py``), read by ``captioning.corpora``::

    corpus: coco_gqa
    corpus_file: coco_gqa.tsv
    image_label_path: {coco: labels/coco, gqa: labels/gqa}
    image_feature_path: {coco: features/coco, gqa: features/gqa}

Captions are read here, features by ``features.import_tsv``: this file knows the command. Every path is
relative to the YAML file and stays inside its folder.
"""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from eval.annotations import AnnotationError, Problem, ReferenceFile, parse_references, recognise
from eval.problems import ABSENT, Problems, describe
from eval.records import encoding_of, read_text

BYTES_LOOKED_AT = 1 << 12
MAX_CHARACTERS = 1 << 16
"""Of a YAML file; the published ones have a few hundred."""
MAX_DEPTH = 8
"""Mappings and lists within each other; the published ones have two."""
_FIRST_KEY = re.compile(r"(?:[ \t]*(?:(?:#|---)[^\n]*)?\n)*[A-Za-z_]+[ \t]*:(?:\s|$)")
"""A key, after empty lines, comments and the mark of a document."""
CAPTIONS, FEATURES, LABELS, SIZES = "caption", "feature", "label", "hw"
CORPUS, CORPUS_FILE = "corpus", "corpus_file"
LABEL_FOLDERS, FEATURE_FOLDERS = "image_label_path", "image_feature_path"
FEATURE_FILE, TAG_FILE = "features.tsv", "predictions_gt.tsv"
_OPENING = (
    *(yaml.BlockSequenceStartToken, yaml.BlockMappingStartToken),
    *(yaml.FlowSequenceStartToken, yaml.FlowMappingStartToken),
)
_CLOSING = (yaml.BlockEndToken, yaml.FlowSequenceEndToken, yaml.FlowMappingEndToken)
_KEYS_READ = {CAPTIONS, FEATURES, LABELS, SIZES, CORPUS, CORPUS_FILE, LABEL_FOLDERS, FEATURE_FOLDERS}


@dataclass(frozen=True, kw_only=True)
class OscarYaml:
    """The content of such a file."""

    path: Path
    values: Mapping[str, Any]
    problems: Problems
    """What is wrong with it; whoever reads on adds to it and raises in the end."""

    @property
    def is_corpus(self) -> bool:
        """Whether it names a pre-training corpus, not captions."""
        return CORPUS in self.values or CORPUS_FILE in self.values

    @property
    def ignored(self) -> list[str]:
        """Keys that nothing is done with: ``img``, ``cbs_box`` and whatever else is there."""
        return [str(key) for key in self.values if key not in _KEYS_READ]

    def place(self, field: str, value: Any = ABSENT) -> Path | None:
        """The file or folder that a value names; None, with a problem, where it names none inside the folder.

        Args:
            field: Its key, for messages.
            value: The value; that of the key by default.
        """
        if value is ABSENT:
            value = self.values.get(field, ABSENT)
        if not isinstance(value, str) or not value.strip():
            self.report(field, shown_value(value), "a path relative to this file")
            return None
        relative, folder = PurePosixPath(value), self.path.parent
        place = folder / relative
        try:
            inside = not relative.is_absolute() and ".." not in relative.parts
            inside = inside and place.resolve().is_relative_to(folder.resolve())
        except (OSError, ValueError, RuntimeError):  # NUL, too long, links in a circle
            inside = False
        if not inside:
            self.report(field, shown_value(value), "a path that stays inside the folder of this file")
            return None
        return place

    def report(self, field: str | None, found: str, wanted: str) -> None:
        """Note a problem of a key."""
        self.problems.add(found, wanted, field=field)


def shown_value(value: Any) -> str:
    """A value of YAML as a message shows it; YAML has types that JSON lacks, such as dates."""
    plain = value is ABSENT or value is None or isinstance(value, str | int | float | list | dict)
    return describe(value if plain else str(value))


def looks_like_yaml(path: Path) -> bool:
    """Whether a file begins with a key and a colon, as no caption file does.

    Raises:
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(BYTES_LOOKED_AT)
    text = head.decode(encoding_of(head), errors="ignore").removeprefix("\ufeff")
    return bool(_FIRST_KEY.match(text.replace("\r\n", "\n")))


def read_yaml(path: Path) -> OscarYaml:
    """The content, keys that stand in it twice noted.

    Raises:
        AnnotationError: It is no YAML, holds aliases or tags, or no mapping.
    """
    text = read_text(path)
    problems = Problems(path)
    if len(text) > MAX_CHARACTERS:
        raise _refusal(path, f"{len(text):,} characters", "a few lines of YAML")
    try:
        _refuse_costly(path, text)
        _report_repeated_keys(yaml.compose(text, Loader=yaml.SafeLoader), problems)
        values = yaml.safe_load(text)
    except AnnotationError:
        raise
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else None
        raise _refusal(path, f"broken YAML ({error.problem or error.context})", "YAML", line) from error
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date or a number that is none
        raise _refusal(path, f"broken YAML ({str(error).splitlines()[0]})", "YAML") from error
    if not isinstance(values, dict):
        raise _refusal(path, shown_value(values), "keys with values")
    return OscarYaml(path=path, values=values, problems=problems)


def _refusal(path: Path, found: str, wanted: str, line: int | None = None) -> AnnotationError:
    return AnnotationError([Problem(path=path, record=line, part="line", found=found, wanted=wanted)])


def _refuse_costly(path: Path, text: str) -> None:
    """Aliases, which make a small file large, and deep nesting, which takes PyYAML quadratic time."""
    depth = 0
    for token in yaml.scan(text, Loader=yaml.SafeLoader):
        if isinstance(token, yaml.AliasToken):
            raise _refusal(path, "an alias (*)", "YAML without aliases")
        depth += isinstance(token, _OPENING) - isinstance(token, _CLOSING)
        if depth > MAX_DEPTH:
            raise _refusal(path, "YAML nested too deep", "keys with values")


def _report_repeated_keys(node: yaml.Node | None, problems: Problems, inside: str = "") -> None:
    """Of a mapping and the mappings in it: YAML itself takes the last one without a word."""
    if not isinstance(node, yaml.MappingNode):
        return
    for key, count in Counter(key.value for key, _ in node.value if isinstance(key.value, str)).items():
        if count > 1:
            problems.add("the key more than once", "it once", field=f"{inside}{key}")
    if not inside:
        for key, value in node.value:
            _report_repeated_keys(value, problems, inside=f"{key.value}.")


def read_captions(settings: OscarYaml) -> ReferenceFile:
    """The captions that a file names, in any format of references.

    Raises:
        AnnotationError: It names no readable caption file, or records of that are wrong.
    """
    path = settings.place(CAPTIONS)
    settings.problems.raise_any()
    assert path is not None  # noqa: S101  (else there is a problem)
    found = recognise(path, "references")
    if found.format == "coco-results":  # single captions without ids: here nobody doubts what they are
        found = replace(found, format="caption-list")
    return parse_references(found)


@dataclass(frozen=True, kw_only=True)
class FeatureFiles:
    """TSV files from which a regions file can be made."""

    features: Path
    labels: Path | None
    sizes: Path | None

    def command(self, regions: Path) -> str:
        """The command that makes it."""
        words = [
            "python",
            "-m",
            "features.import_tsv",
            str(self.features),
            str(regions),
            "--detector",
            "NAME",
        ]
        words += ["--labels", str(self.labels)] if self.labels else []
        words += ["--sizes", str(self.sizes)] if self.sizes else []
        return shlex.join(words)


def feature_files(settings: OscarYaml, parts: Sequence[str] = ()) -> dict[str, FeatureFiles]:
    """The features that a file names, by a name for each.

    Args:
        settings: Captions with features, or a corpus.
        parts: Of a corpus, the data sets that are wanted; all by default.
    """
    if settings.is_corpus:
        return dict(_corpus_features(settings, parts))
    if FEATURES not in settings.values or (features := settings.place(FEATURES)) is None:
        return {}
    found = FeatureFiles(
        features=features,
        labels=settings.place(LABELS) if LABELS in settings.values else None,
        sizes=settings.place(SIZES) if SIZES in settings.values else None,
    )
    return {features.name.removesuffix(".tsv").removesuffix(".feature"): found}


def _corpus_features(settings: OscarYaml, parts: Sequence[str]) -> Iterator[tuple[str, FeatureFiles]]:
    """Of each data set, and of each of the chunks in which some are published."""
    folders, labels = (settings.values.get(field) for field in (FEATURE_FOLDERS, LABEL_FOLDERS))
    for name, value in folders.items() if isinstance(folders, dict) else ():
        folder = settings.place(f"{FEATURE_FOLDERS}.{name}", value)
        if folder is None or (parts and name not in parts):
            continue
        label = labels.get(name) if isinstance(labels, dict) else None
        label_folder = settings.place(f"{LABEL_FOLDERS}.{name}", label) if label is not None else None
        chunks = {each.parent.name: each for each in folder.glob(f"*/{FEATURE_FILE}")}
        if not chunks or (folder / FEATURE_FILE).exists():
            chunks = {"": folder / FEATURE_FILE}
        for chunk, features in sorted(chunks.items()):
            yield (
                f"{name}-{chunk}" if chunk else str(name),
                FeatureFiles(
                    features=features, labels=label_folder / TAG_FILE if label_folder else None, sizes=None
                ),
            )

"""Plain text, one text a line, packed or not: what `captioning.clean` reads and writes beside captions.

Any text can be taken for plain text. What is plainly something else is refused, for cleaning would leave it
broken: corpora and other files of Oscar and VinVL, tables of keys and texts, JSON of captions that is packed.
"""

from __future__ import annotations

import gzip
import io
import re
import shlex
import sys
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import IO

from captioning.oscar_yaml import CORPUS_FILE, read_yaml
from captioning.prediction_files import replaced_file
from eval.annotations import LINES_LOOKED_AT, AnnotationError, Problem
from eval.problems import describe

STANDARD_INPUT = Path("-")
_HEAD = 100
"""Lines in which the first ones that are neither empty nor a comment are looked for."""
_YAML = re.compile(
    r"(?:corpus|image_label_path|image_feature_path)[ \t]*:(?:\s|$)"
    r"|(?:corpus_file|caption|feature|label|hw)[ \t]*:[ \t]+\S+\.\w+"
)
_CORPUS = re.compile(r"([A-Za-z0-9]+)_\S+\t\1_\S+\t[^\t]*\S")
"""``coco_train_42 <tab> coco_train_42 <tab> text``, as `captioning.corpora` reads it."""
_KEY_AND_MORE = re.compile(r"(?:[!-~]+|\S+\.[A-Za-z]{3,4})\t\s*\S")
"""Of ASCII, or a file's name in any script."""
_JSON = re.compile(r'\s*(?:[\[{].*)?"(?:image_id|sentences)"\s*:')


def is_packed(source: Path) -> bool:
    """Whether a file is read through gzip."""
    return source.suffix == ".gz"


@contextmanager
def plain_lines(source: Path) -> Iterator[Iterator[str]]:
    """The lines of a file without their ends.

    Args:
        source: UTF-8; gzip if it is called ``.gz``; ``-`` is standard input.

    Raises:
        ValueError: Its first lines are no plain text; or, while lines are read, one is not UTF-8, or the gzip
            file is damaged.
        OSError: It cannot be read.
    """
    with _opened(source) as binary:
        lines = _lines(source, binary)
        head = list(islice(lines, _HEAD))
        _refuse_other_kinds(source, head)
        yield chain(head, lines)


def write_lines(path: Path | None, lines: Iterable[str]) -> None:
    """Lines to a file that takes its place when it is whole; ``.gz`` has the same bytes at any time.

    Args:
        path: The file; with None the lines are drawn and go nowhere.
        lines: Without their ends.

    Raises:
        OSError: It cannot be written.
    """
    if path is None:
        for _ in lines:
            pass
        return
    with _text_file(path) as file:
        file.writelines(line + "\n" for line in lines)


@contextmanager
def _opened(source: Path) -> Iterator[Iterable[bytes]]:
    if source == STANDARD_INPUT:
        yield sys.stdin.buffer
    else:
        with gzip.open(source) if is_packed(source) else source.open("rb") as file:
            yield file


def _lines(source: Path, binary: Iterable[bytes]) -> Iterator[str]:
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
    with replaced_file(path) as file:
        if not is_packed(path):
            yield file
            return
        with (
            gzip.GzipFile(filename="", mode="wb", fileobj=file.buffer, mtime=0) as packed,
            io.TextIOWrapper(packed, encoding="utf-8", newline="") as text,
        ):
            yield text


def _refuse_other_kinds(source: Path, head: Sequence[str]) -> None:
    """Raise AnnotationError where one of the first lines shows what the file is, or all make a table."""
    telling = ((n, line) for n, line in enumerate(head, start=1) if line.strip() and line[0] != "#")
    first = list(islice(telling, LINES_LOOKED_AT))
    for number, line in first:
        if (kind := _other_kind(source, line)) is not None:
            raise _refusal(source, number, line, *kind)
    if first and all(_KEY_AND_MORE.match(line) for _, line in first):
        wanted = (
            "captions, or plain text, one text a line: take out the column that holds it (cut -f2 IN > OUT). "
            f"Of the files of Oscar and VinVL, {_conversion(None)}"
        )
        raise _refusal(source, *first[0], "a table of keys and what stands behind a tab", wanted)


def _other_kind(source: Path, line: str) -> tuple[str, str] | None:
    """What a line shows the file to be, and what is wanted instead; None for text."""
    if _YAML.match(line):
        return "YAML of Oscar or VinVL", _conversion(source if _is_plain_file(source) else None)
    if _CORPUS.match(line):
        return "TSV of an Oscar+ corpus", _conversion(_yaml_that_names(source))
    if _JSON.match(line):
        return "JSON with captions", "plain text; captions and pairs are read from a file that is not packed"
    return None


def _is_plain_file(source: Path) -> bool:
    return source != STANDARD_INPUT and not is_packed(source)


def _yaml_that_names(corpus: Path) -> Path | None:
    """The YAML file in the folder of a corpus that it belongs to."""
    for path in sorted(corpus.parent.glob("*.yaml")) if _is_plain_file(corpus) else ():
        try:
            named = read_yaml(path).place(CORPUS_FILE)
        except AnnotationError:  # it is of no use to whoever wants to convert
            continue
        if named is not None and named.resolve() == corpus.resolve():
            return path
    return None


def _conversion(settings: Path | None) -> str:
    """What to do with data of Oscar; None: nobody knows which YAML file names them."""
    path = settings or Path("DATA.yaml")
    command = shlex.join(
        ["python", "-m", "captioning.validate", str(path), "--convert", str(path.with_suffix(".jsonl"))]
    )
    which = "" if settings else ", where DATA.yaml is the file that names this one"
    return (
        f"pairs as JSON lines, which are cleaned with all that they hold: {command}{which} "
        f"(a corpus keeps the tags of its label files with --tags labels)"
    )


def _refusal(source: Path, number: int, line: str, found: str, wanted: str) -> AnnotationError:
    shown = describe(line.partition("\t")[0])
    problem = Problem(path=source, record=number, part="line", found=f"{found} ({shown})", wanted=wanted)
    return AnnotationError([problem])

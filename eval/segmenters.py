"""Sentences to tokens: the step that decides what a Chinese score means.

The same captions score CIDEr 0.70 on jieba's words and 1.12 on characters (docs/scores.md), so every score
carries the name and the version of its segmenter. A segmenter only cuts; what happens to the text before and
to the tokens after is said by a protocol (`eval.protocols`).

An installed package adds a segmenter by an entry point of the group ``tushuo.segmenters`` that names a
`Segmenter`; it is loaded when it is asked for::

    [options.entry_points]
    tushuo.segmenters =
        thulac = my_package.words:THULAC
"""

import hashlib
import threading
import unicodedata
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

ENTRY_POINTS = "tushuo.segmenters"


@dataclass(frozen=True, kw_only=True)
class Segmenter:
    """One way to cut a sentence, and what a reader of its scores must know about it."""

    name: str
    cut: Callable[[str], list[str]]
    """Sentence -> tokens, none empty and none with white space inside."""
    unit: str
    """What the tokens are: words, characters, given words, English words."""
    version: Callable[[], str]
    """All that decides where a sentence is cut: the package's version, its dictionary's SHA-256."""
    step: str
    """What it does, in a few words, for the list of steps beside a score."""


def cut_words(text: str) -> list[str]:
    """Words of jieba's precise mode (HMM on, stock dictionary)."""
    return " ".join(_jieba().cut(text, cut_all=False)).split()


def cut_characters(text: str) -> list[str]:
    """Every character but white space; Latin words and numbers fall apart as well."""
    return list("".join(text.split()))


def cut_spaces(text: str) -> list[str]:
    """The text's own segmentation, separated by white space."""
    return text.split()


def cut_treebank(text: str) -> list[str]:
    """Tokens of the Penn Treebank, for English."""
    from eval.ptb import cut_ptb  # its rules are compiled on import

    return cut_ptb(text)


@cache
def jieba_version() -> str:
    """Package version and the SHA-256 of its dictionary: both decide where words end."""
    digest = hashlib.sha256(_jieba_dictionary().read_bytes()).hexdigest()
    return f"jieba {_import_jieba().__version__}, dict.txt sha256 {digest}"


def unicode_version() -> str:
    """Of the tables that say what is white space and which letters compose."""
    return f"Unicode {unicodedata.unidata_version}"


SEGMENTERS: dict[str, Segmenter] = {
    segmenter.name: segmenter
    for segmenter in (
        Segmenter(
            name="jieba",
            cut=cut_words,
            unit="words",
            version=jieba_version,
            step="jieba precise mode, HMM",
        ),
        Segmenter(
            name="chars",
            cut=cut_characters,
            unit="characters",
            version=unicode_version,
            step="drop white space, one token a character",
        ),
        Segmenter(
            name="whitespace",
            cut=cut_spaces,
            unit="given words",
            version=unicode_version,
            step="split at white space",
        ),
        Segmenter(
            name="ptb",
            cut=cut_treebank,
            unit="English words",
            version=lambda: "eval.ptb, the rules of the Stanford PTBTokenizer in CoreNLP 3.4.1",
            step="Penn Treebank tokens",
        ),
    )
}


def find_segmenter(name: str) -> Segmenter:
    """The segmenter of that name, ours or an installed package's; a ValueError lists those there are."""
    if name in SEGMENTERS:
        return SEGMENTERS[name]
    installed = {point.name: point for point in entry_points(group=ENTRY_POINTS)}
    if name in installed:
        return _load(installed[name])
    choices = ", ".join(sorted({*SEGMENTERS, *installed}))
    raise ValueError(f"unknown segmenter {name!r}; choose from {choices}")


def _load(point: EntryPoint) -> Segmenter:
    segmenter = point.load()
    if not isinstance(segmenter, Segmenter) or segmenter.name != point.name:
        found = f"{type(segmenter).__name__} {getattr(segmenter, 'name', '')}".strip()
        raise ValueError(
            f"entry point {point.name} = {point.value} of {ENTRY_POINTS}: found {found}, wanted an "
            f"eval.segmenters.Segmenter named {point.name!r}"
        )
    return segmenter


def _import_jieba() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it may import pkg_resources, which warns that it is going away
        import jieba
    return jieba


def _jieba_dictionary() -> Path:
    return Path(_import_jieba().__file__).with_name("dict.txt")


_LOCK = threading.Lock()


def _jieba() -> Any:
    with _LOCK:
        return _load_jieba()


@cache
def _load_jieba() -> Any:
    """Our own tokenizer on the stock dictionary.

    Not `jieba.initialize`: it would share user words that other code added, and read a cache from the
    world-writable temporary folder, which anyone on the machine may have put there. Nor `gen_pfdict`, which
    takes twice as long to make the same table.
    """
    fields = _jieba_dictionary().read_text(encoding="utf-8").split()
    words, counts = fields[::3], [*map(int, fields[1::3])]  # a line is a word, its count and its kind
    tokenizer = _import_jieba().Tokenizer()
    tokenizer.FREQ = dict.fromkeys((word[:end] for word in words for end in range(1, len(word))), 0)
    tokenizer.FREQ.update(zip(words, counts, strict=True))  # beginnings that are words count too
    tokenizer.total = sum(counts)
    tokenizer.initialized = True
    return tokenizer

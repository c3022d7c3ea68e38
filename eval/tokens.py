"""Sentences to tokens: the step that decides what a Chinese score means.

The same sentences score CIDEr 2.8 on jieba words and 3.4 on characters, so every score carries the
name and the version of its segmenter. All segmenters share one preparation (`prepare`): Unicode NFC,
ends stripped, every full stop 。 removed. White space, U+3000 included, separates tokens and never is one.
Full-width letters and digits stay full-width (NFC, not NFKC) and commas stay tokens, as in the official tool.
"""

import hashlib
import threading
import unicodedata
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

# The Stanford tokenizer of the COCO caption code drops tokens made of these alone; ， ！ ？ ： stay.
DROPPED_PUNCTUATION = frozenset("!\"',-.:;?`“”‘’«»…—–【】《》〈〉「」『』")


def prepare(text: str) -> str:
    """NFC, stripped, without 。 (the AI Challenger rule, which strips predictions and references alike)."""
    return unicodedata.normalize("NFC", text).strip().replace("。", "")


def cut_words(text: str) -> list[str]:
    """Words of jieba's precise mode (HMM on, stock dictionary).

    The official AI Challenger scorer hands jieba's words to the Stanford tokenizer. Its effect on words
    already separated is had here without Java: lower case; quotes and ASCII punctuation on their own go.
    """
    words = " ".join(_jieba().cut(prepare(text), cut_all=False)).split()
    return [word.lower() for word in words if not DROPPED_PUNCTUATION.issuperset(word)]


def cut_characters(text: str) -> list[str]:
    """Characters, lower case, without white space; Latin words and numbers fall apart as well."""
    return list("".join(prepare(text).lower().split()))


def cut_spaces(text: str) -> list[str]:
    """The text's own segmentation, separated by white space and otherwise left as it is."""
    return unicodedata.normalize("NFC", text).split()


def jieba_version() -> str:
    """Package version and the SHA-256 of its dictionary: both decide where words end."""
    digest = hashlib.sha256(_jieba_dictionary().read_bytes()).hexdigest()
    return f"jieba {version('jieba')}, dict.txt sha256 {digest}"


@dataclass(frozen=True)
class Segmenter:
    """One way to cut a sentence and all that a reader of its scores must know."""

    cut: Callable[[str], list[str]]
    unit: str
    protocol: str
    """Name under which such scores are published."""
    version: Callable[[], str]
    steps: tuple[str, ...]
    """Every step from the text to its tokens, in order, for the report."""


SEGMENTERS: dict[str, Segmenter] = {
    "jieba": Segmenter(
        cut=cut_words,
        unit="words",
        protocol="aic-icc",
        version=jieba_version,
        steps=(
            "NFC",
            "strip",
            "remove 。",
            "jieba precise mode, HMM",
            "lower case",
            "drop lone quotes and ASCII punctuation",
        ),
    ),
    "chars": Segmenter(
        cut=cut_characters,
        unit="characters",
        protocol="chars",
        version=lambda: f"Unicode {unicodedata.unidata_version}",
        steps=("NFC", "strip", "remove 。", "lower case", "drop white space", "one token a character"),
    ),
    "whitespace": Segmenter(
        cut=cut_spaces,
        unit="given words",
        protocol="coco-cn",
        version=lambda: f"Unicode {unicodedata.unidata_version}",
        steps=("NFC", "split at white space"),
    ),
}


def find_segmenter(name: str) -> Segmenter:
    """The segmenter of that name, or a ValueError which lists those there are."""
    if name not in SEGMENTERS:
        raise ValueError(f"unknown segmenter {name!r}; choose from {', '.join(sorted(SEGMENTERS))}")
    return SEGMENTERS[name]


def segment(text: str, segmenter: str = "jieba") -> list[str]:
    """Tokens of a sentence, none empty and none with white space inside."""
    return find_segmenter(segmenter).cut(text)


def segmenter_version(name: str) -> str:
    """What was installed when the score was made, e.g. ``jieba 0.42.1, dict.txt sha256 …``."""
    return find_segmenter(name).version()


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
    world-writable temporary folder, which anyone on the machine may have put there.
    """
    tokenizer = _import_jieba().Tokenizer()
    with _jieba_dictionary().open("rb") as lines:
        tokenizer.FREQ, tokenizer.total = tokenizer.gen_pfdict(lines)
    tokenizer.initialized = True
    return tokenizer

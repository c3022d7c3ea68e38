"""Protocols: everything between a caption and the tokens that are counted, under one name.

A score can be compared with another of the same protocol only. A protocol is a segmenter and the steps
around it; its name stands beside every number, with the segmenter's version. What differs from a protocol
never bears its name: with another segmenter ``aic-icc`` is called ``aic-icc+thulac``, with another jieba than
the one it is defined by ``aic-icc+jieba-0.38``.
"""

import re
import unicodedata
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace

from eval.segmenters import SEGMENTERS, Segmenter, find_segmenter

# Tokens that the COCO caption code removes. It lists brackets too, but by their names in capitals, after the
# tokenizer has put everything in lower case: so -lrb- and -rrb- are counted.
COCO_PUNCTUATION = frozenset(["''", "'", "``", "`", ".", "?", "!", ",", ":", "-", "--", "...", ";"])

PINNED_JIEBA = (
    "jieba 0.42.1, dict.txt sha256 7197c3211ddd98962b036cdf40324d1ea2bfaa12bd028e68faa70111a88e12a8"
)
"""jieba's last release as published; any other cuts some captions differently."""

JOINING = "drop spaces between Chinese characters"
_HAN = "[〇㐀-䶿一-鿿豈-\ufaff\U00020000-\U0003ffff]"
"""〇, the unified ideographs with extension A, the compatibility ideographs, all other extensions."""
_CHINESE = re.compile(_HAN)
_SPACE_IN_CHINESE = re.compile(rf"(?<={_HAN})\s+(?={_HAN})")


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """How a caption, predicted or human, becomes the tokens that metrics count."""

    name: str
    segmenter: Segmenter
    prepare: Callable[[str], str]
    """What happens to the text before it is cut."""
    finish: Callable[[list[str]], list[str]]
    """What happens to the tokens afterwards."""
    before: tuple[str, ...]
    """`prepare` in words, step by step."""
    after: tuple[str, ...]
    """`finish` in words."""
    source: str
    """Who defined it, and where."""
    pinned: str = ""
    """The one version of the segmenter that the name stands for; empty where any will do."""

    @property
    def unit(self) -> str:
        """What is counted: words, characters, given words, English words."""
        return self.segmenter.unit

    @property
    def steps(self) -> tuple[str, ...]:
        """Every step from the text to its tokens, in order.

        One that the segmenter has done already, as ``ptb`` cuts Treebank tokens, is not named again.
        """
        return tuple(dict.fromkeys((*self.before, self.segmenter.step, *self.after)))

    def cut(self, text: str) -> list[str]:
        """Tokens of a sentence, none empty and none with white space inside."""
        return self.finish(self.segmenter.cut(self.prepare(text)))

    def version(self) -> str:
        """What was installed when the score was made, e.g. ``jieba 0.42.1, dict.txt sha256 …``."""
        return self.segmenter.version()


def compose(text: str) -> str:
    """Unicode NFC: one code point for é, however it was typed. Full-width letters stay full-width."""
    return unicodedata.normalize("NFC", text)


def without_full_stop(text: str) -> str:
    """NFC, stripped, without 。 (the AI Challenger rule, which strips predictions and references alike)."""
    return compose(text).strip().replace("。", "")


def joined(text: str) -> str:
    """Without white space between two Chinese characters; Latin words stay apart, as in iPhone 手机.

    Files with their words already separated are then cut like files without: the segmenter of the protocol
    decides where words end, not that of the file.
    """
    return _SPACE_IN_CHINESE.sub("", text)


def n_chinese(text: str) -> int:
    """Chinese characters of the text, punctuation not among them."""
    return len(_CHINESE.findall(text))


def through_the_treebank(words: list[str]) -> list[str]:
    """What the COCO caption code makes of words that are already separated.

    The official AI Challenger scorer hands jieba's words to it: Latin letters become lower case; quotes,
    brackets like 《 and ASCII punctuation on their own go; ， ！ ？ ： stay.
    """
    return without_punctuation(SEGMENTERS["ptb"].cut(" ".join(words)))


def without_punctuation(tokens: list[str]) -> list[str]:
    """Lower case, without the tokens that are punctuation."""
    return [token.lower() for token in tokens if token not in COCO_PUNCTUATION]


PROTOCOLS: dict[str, Protocol] = {
    protocol.name: protocol
    for protocol in (
        Protocol(
            name="aic-icc",
            segmenter=SEGMENTERS["jieba"],
            prepare=lambda text: joined(without_full_stop(text)),
            finish=through_the_treebank,
            before=("NFC", "strip", "remove 。", JOINING),
            after=("Penn Treebank tokens", "lower case", "drop punctuation tokens"),
            source="AI Challenger 2017 caption_eval, github.com/AIChallenger/AI_Challenger_2017",
            pinned=PINNED_JIEBA,
        ),
        Protocol(
            name="chars",
            segmenter=SEGMENTERS["chars"],
            prepare=lambda text: without_full_stop(text).lower(),
            finish=list,
            before=("NFC", "strip", "remove 。", "lower case"),
            after=(),
            source="tushuo",
        ),
        Protocol(
            name="coco-cn",
            segmenter=SEGMENTERS["whitespace"],
            prepare=compose,
            finish=list,
            before=("NFC",),
            after=(),
            source="COCO-CN, github.com/li-xirong/coco-cn: captions come with their words separated",
        ),
        Protocol(
            name="coco-en",
            segmenter=SEGMENTERS["ptb"],
            prepare=compose,
            finish=without_punctuation,
            before=("NFC",),
            after=("lower case", "drop punctuation tokens"),
            source="COCO caption evaluation, github.com/tylin/coco-caption",
        ),
    )
}


def find_protocol(name: str, segmenter: str = "") -> Protocol:
    """The protocol of that name, or what it becomes with another segmenter.

    Args:
        name: A name in `PROTOCOLS`.
        segmenter: Name of a segmenter to cut with instead of the protocol's own; see `find_segmenter`.

    Returns:
        The protocol. It has another name where it is not what the name stands for: another segmenter, or a
        version of the segmenter other than the pinned one. The latter is also warned about.

    Raises:
        ValueError: A name is unknown; those known are listed.
    """
    if name not in PROTOCOLS:
        raise ValueError(f"unknown protocol {name!r}; choose from {', '.join(sorted(PROTOCOLS))}")
    protocol = PROTOCOLS[name]
    if segmenter and segmenter != protocol.segmenter.name:
        other = find_segmenter(segmenter)
        if other.unit == "given words" and JOINING in protocol.before:  # it goes by those very spaces
            before = tuple(step for step in protocol.before if step != JOINING)
            protocol = replace(protocol, prepare=without_full_stop, before=before)
        return replace(protocol, name=f"{name}+{segmenter}", segmenter=other, pinned="")
    if protocol.pinned and protocol.version() != protocol.pinned:
        return _with_another_version(protocol)
    return protocol


def _with_another_version(protocol: Protocol) -> Protocol:
    """The protocol under a name that says its segmenter is not the pinned one."""
    found = protocol.version()
    release = found.partition(",")[0].replace(" ", "-")
    same_release = protocol.pinned.startswith(found.partition(",")[0] + ",")
    name = f"{protocol.name}+{release}" + ("-other-dictionary" if same_release else "")
    warnings.warn(
        f"protocol {protocol.name} is defined by {protocol.pinned}; found {found}. These scores go by the "
        f"name {name} and cannot be compared with those of {protocol.name}.",
        stacklevel=3,
    )
    return replace(protocol, name=name, pinned="")

"""What a reader must be told before the numbers: they can be computed, but do not mean what they seem to."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from eval.protocols import Protocol, n_chinese
from eval.shown import shown
from eval.texts import TEXTS

FEWEST_TOKENS = 2
"""Mean tokens of a sentence, below which it may not have been cut at all."""
LONGEST_WORDS = 3
"""Mean Chinese characters a token, from which on these are no words, of which the common have one or two."""
FEWEST_PICTURES = 30
"""With fewer, neither document frequencies nor percentiles of draws are worth much."""


@dataclass(frozen=True)
class Caution:
    """One sentence, in the report's languages."""

    key: str
    """Of `eval.texts.TEXTS`."""
    values: Mapping[str, str | int]

    def __str__(self) -> str:
        """In English."""
        return TEXTS[self.key][1].format(**self.values)


def unsegmented(path: str, sentences: Sequence[str], protocol: Protocol) -> Iterator[Caution]:
    """Whether Chinese sentences were hardly cut, as by a protocol that goes by spaces where there are none.

    Args:
        path: File of the sentences, which the caution names.
        sentences: One or more, as they are in the file.
        protocol: By which they are scored.
    """
    tokens = fmean(len(protocol.cut(sentence)) for sentence in sentences)
    if tokens >= FEWEST_TOKENS:
        return
    characters = fmean(map(n_chinese, sentences))
    if characters >= LONGEST_WORDS * max(tokens, 1):
        yield Caution(
            "unsegmented",
            {
                "protocol": protocol.name,
                "path": shown(path),
                "tokens": f"{tokens:.1f}",
                "characters": f"{characters:.1f}",
            },
        )


def few_pictures(n_scored: int, n_all: int) -> Iterator[Caution]:
    """Whether so many pictures were left out that too few were scored."""
    if n_scored < min(n_all, FEWEST_PICTURES):
        yield Caution("few_pictures", {"scored": n_scored, "total": n_all, "wanted": FEWEST_PICTURES})

"""Cleaning of corpora and captions: which steps, in which order, and an account of what each did.

The steps are those of `captioning.text_steps`; then texts that are empty or were there before are left out.
One step can make work for another: ``&lt;b&gt;`` becomes a tag, so does ``＜b＞`` by its width, and what
stood around an address that is taken out is joined. So the steps are repeated until none changes the text;
cleaning what has been cleaned changes nothing. (OpenCC alone is not so: it makes 薴 苧 and 苧 苎.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from captioning import text_steps
from captioning.duplicates import ExactDuplicates, NearDuplicates

STEPS: dict[str, Callable[[str], str]] = {
    "html": text_steps.remove_html,
    "urls": text_steps.remove_urls,
    "emails": text_steps.remove_emails,
    "emoji": text_steps.remove_emoji,
    "invisible": text_steps.remove_invisible,
    "composed": text_steps.compose,
    "width": text_steps.fold_width,
    "simplified": text_steps.simplify,
    "spaces": text_steps.collapse_spaces,
}
"""Field of `CleaningConfig` -> its function, in the order of their application."""
EXAMPLES = 5
EXAMPLE_LENGTH = 200
"""Characters of a text that an example shows."""


@dataclass(frozen=True, kw_only=True)
class CleaningConfig:
    """What is done to texts."""

    html: bool = True
    """Take out HTML: tags, comments, scripts, styles; entities become their characters."""
    urls: bool = True
    """Take out addresses that begin with http, https, ftp or www."""
    emails: bool = True
    """Take out e-mail addresses."""
    emoji: bool = True
    """Take out emoji; signs of print (© ™ ★ ℃) stay."""
    invisible: bool = True
    """Take out control, zero-width and private-use characters and variation selectors."""
    composed: bool = True
    """Write each character in one way (NFC)."""
    width: bool = True
    """Letters, digits and signs of full width become ASCII; Chinese punctuation stays full."""
    simplified: bool = True
    """Traditional characters become simplified ones (needs tushuo[cleaning])."""
    spaces: bool = True
    """A run of white space becomes one space; none at the ends."""
    duplicates: Literal["keep", "exact", "near"] = "exact"
    """Leave out texts that were there before: equal ones, or (needs tushuo[cleaning]) near ones too. Of
    captions, equal ones of the same picture alone."""
    similarity: float = 0.8
    """Share of common character 3-grams (Jaccard index) that makes near-duplicates."""

    def __post_init__(self) -> None:
        if not 0.1 <= self.similarity <= 0.95:
            raise ValueError(f"similarity must lie between 0.1 and 0.95, got {self.similarity}")


@dataclass(frozen=True, kw_only=True)
class Example:
    """A text that a step changed or left out."""

    before: str
    after: str
    """What the step made of it; in place of a duplicate, the text that was kept."""


@dataclass(kw_only=True)
class StepCount:
    """What one step did."""

    texts: int = 0
    """Texts that it changed, or left out."""
    examples: list[Example] = field(default_factory=list)
    """The first few."""

    def add(self, before: str, after: str) -> None:
        """Count a text."""
        self.texts += 1
        if len(self.examples) < EXAMPLES:
            self.examples.append(Example(before=before[:EXAMPLE_LENGTH], after=after[:EXAMPLE_LENGTH]))


class Cleaner:
    """Cleans texts one after the other and counts.

    Memory does not grow with the texts, except for what finds duplicates (`captioning.duplicates`).
    """

    def __init__(self, config: CleaningConfig) -> None:
        """Start with nothing counted."""
        self.config = config
        self.n_read = 0
        self.n_changed = 0
        """Texts that are kept and differ from what was read."""
        self.n_kept = 0
        self.changed = {name: StepCount() for name in STEPS if getattr(config, name)}
        """Texts that each step changed; a text may be counted by several."""
        self.left_out = {"empty": StepCount()}
        """Texts left out, each counted once."""
        if config.duplicates != "keep":
            self.left_out["exact_duplicates"] = StepCount()
        if config.duplicates == "near":
            self.left_out["near_duplicates"] = StepCount()

    def clean(self, text: str) -> str:
        """The text after every step, which may be empty."""
        seen: set[str] = set()
        while True:
            before_all = text
            for name, count in self.changed.items():
                before, text = text, STEPS[name](text)
                if text != before and name not in seen:
                    seen.add(name)
                    count.add(before, text)
            if text == before_all:
                return text

    def corpus(self, texts: Iterable[str]) -> Iterator[str]:
        """Clean texts, one at a time, without empty ones and duplicates in the whole corpus."""
        filters: dict[str, ExactDuplicates | NearDuplicates] = {}
        if "exact_duplicates" in self.left_out:
            filters["exact_duplicates"] = ExactDuplicates()
        if "near_duplicates" in self.left_out:
            filters["near_duplicates"] = NearDuplicates(self.config.similarity)
        return self._filtered(texts, filters)

    def captions(self, captions: Sequence[str]) -> tuple[str, ...]:
        """Clean captions of one picture, without empty ones and exact repetitions among them.

        Near ones stay: that people say nearly the same about a picture is what several captions are for. So
        do those of other pictures: two pictures may well show the same.
        """
        exact = "exact_duplicates" in self.left_out
        return tuple(self._filtered(captions, {"exact_duplicates": ExactDuplicates()} if exact else {}))

    def _filtered(
        self, texts: Iterable[str], filters: dict[str, ExactDuplicates | NearDuplicates]
    ) -> Iterator[str]:
        for text in texts:
            self.n_read += 1
            cleaned = self.clean(text)
            if not cleaned.strip():
                self.left_out["empty"].add(text, cleaned)
                continue
            for name, duplicates in filters.items():
                if (kept := duplicates.find(cleaned)) is not None:
                    self.left_out[name].add(cleaned, kept)
                    break
            else:
                self.n_kept += 1
                self.n_changed += cleaned != text
                yield cleaned

    def account(self) -> dict[str, Any]:
        """Settings, counts and examples, ready for JSON."""
        return {
            "settings": asdict(self.config),
            "n_read": self.n_read,
            "n_kept": self.n_kept,
            "n_changed": self.n_changed,
            "changed": {name: asdict(count) for name, count in self.changed.items()},
            "left_out": {name: asdict(count) for name, count in self.left_out.items()},
        }

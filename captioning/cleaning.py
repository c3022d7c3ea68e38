"""Cleaning of corpora and captions: which steps, in which order, and an account of what each did.

The steps are those of `captioning.text_steps`; then texts that are empty or were there before are left out.
One step can make work for another: ``&lt;b&gt;`` becomes a tag, so does ``＜b＞`` by its width, and what
stood around an address that is taken out is joined. So the steps are repeated until none changes the text;
cleaning what has been cleaned changes nothing. (OpenCC alone is not so: it makes 薴 苧 and 苧 苎.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from captioning import text_steps
from captioning.duplicates import ExactDuplicates, NearDuplicates, NearDuplicatesAmong
from captioning.pairs import tag_text

Filters = Mapping[str, Callable[..., str | None]]
"""Key of `Cleaner.left_out` -> what finds the text before, of a text and what names its group."""

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
    captions, equal ones of the same picture alone; of pairs, those of the same picture that have the same
    tags or the same answer."""
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
    """Texts that it changed, or left out; a question that is left out goes with its answer, as one."""
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
        filters = self._filters(NearDuplicates)
        for text in texts:
            if (kept := self._kept((text,), filters)) is not None:
                yield kept[0]

    def captions(self, captions: Sequence[str]) -> tuple[str, ...]:
        """Clean captions of one picture, without empty ones and exact repetitions among them.

        Near ones stay: that people say nearly the same about a picture is what several captions are for. So
        do those of other pictures: two pictures may well show the same.
        """
        filters = self._filters(None)
        found = (self._kept((caption,), filters) for caption in captions)
        return tuple(kept[0] for kept in found if kept is not None)

    def pairs(self, lines: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, dict[str, Any] | None]]:
        """Clean the captions, questions and answers of lines of pairs, one line at a time.

        A pair is left out where a text of it is empty, and where an equal one (or, if wanted, one with a
        caption or question nearly equal) of the same picture with the same tags or answer was there before.
        All else in a line stays as it is, its tags among it.

        Args:
            lines: Values of lines that `captioning.pairs.read_pairs` finds nothing wrong with.

        Yields:
            The picture's id of each line, and the line cleaned; None for it where nothing is left.
        """
        filters = self._filters(NearDuplicatesAmong)
        for values in lines:
            clean = self._question if "question" in values else self._captions_of_line
            image_id = str(values["image_id"])
            yield image_id, clean(image_id, values, filters)

    def _question(self, image_id: str, values: Mapping[str, Any], filters: Filters) -> dict[str, Any] | None:
        kept = self._kept((values["question"], values["answer"]), filters, (image_id, "answer"))
        return None if kept is None else {**values, "question": kept[0], "answer": kept[1]}

    def _captions_of_line(
        self, image_id: str, values: Mapping[str, Any], filters: Filters
    ) -> dict[str, Any] | None:
        several = isinstance(values["caption"], list)
        among = (image_id, "tags", tag_text(values.get("tags") or ()).text)
        captions = values["caption"] if several else [values["caption"]]
        found = (self._kept((caption,), filters, among) for caption in captions)
        left = [kept[0] for kept in found if kept is not None]
        return {**values, "caption": left if several else left[0]} if left else None

    def _filters(self, near: type[NearDuplicates] | type[NearDuplicatesAmong] | None) -> Filters:
        """What finds duplicates, as the settings want it; with None no near ones."""
        filters: dict[str, Callable[..., str | None]] = {}
        if "exact_duplicates" in self.left_out:
            filters["exact_duplicates"] = ExactDuplicates().find
        if near is not None and "near_duplicates" in self.left_out:
            filters["near_duplicates"] = near(self.config.similarity).find
        return filters

    def _kept(
        self, texts: tuple[str, ...], filters: Filters, among: tuple[str, ...] = ()
    ) -> tuple[str, ...] | None:
        """A text cleaned, or a question and its answer; None where it is left out. Both are counted.

        Args:
            texts: One, or the two that stay and go together.
            filters: Look for the first of them.
            among: Of the group in which they look; the cleaned second text narrows it down.
        """
        self.n_read += 1
        cleaned = tuple(map(self.clean, texts))
        for text, after in zip(texts, cleaned, strict=True):
            if not after.strip():
                self.left_out["empty"].add(text, after)
                return None
        for name, find in filters.items():
            if (before := find(cleaned[0], *among, *cleaned[1:])) is not None:
                self.left_out[name].add(cleaned[0], before)
                return None
        self.n_kept += 1
        self.n_changed += cleaned != texts
        return cleaned

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

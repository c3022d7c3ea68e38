"""What a checkpoint keeps of the lexicon that named its tags."""

from __future__ import annotations

from dataclasses import dataclass, field

from features.tags import Lexicon, LexiconError

__all__ = ["LexiconInfo"]


@dataclass(frozen=True, kw_only=True)
class LexiconInfo:
    """The lexicon that named the tags, and what it called each class.

    The names go with the weights: a captioner trained with somebody's own file writes the same captions where
    that file is not, and a better translation changes no captioner. The first checkpoints have the digest
    alone; they are read with the lexicon of that digest or not at all.
    """

    name: str
    """Of the lexicon: zh, or a path."""
    sha256: str
    version: int = 0
    english: list[str] = field(default_factory=list)
    """Class names by object id."""
    texts: list[str | None] = field(default_factory=list)
    """Chinese names by object id; None where the class is dropped."""

    @classmethod
    def of(cls, lexicon: Lexicon) -> LexiconInfo:
        """The record of a lexicon."""
        return cls(
            name=lexicon.name,
            sha256=lexicon.sha256,
            version=lexicon.version,
            english=list(lexicon.english),
            texts=list(lexicon.texts),
        )

    def lexicon(self, vocabulary_id: str) -> Lexicon:
        """The lexicon as it was.

        Raises:
            LexiconError: The record has no names, and the lexicon of its name is another version or missing.
        """
        if self.english:
            return Lexicon(
                name=self.name,
                vocabulary_id=vocabulary_id,
                version=self.version,
                sha256=self.sha256,
                english=tuple(self.english),
                texts=tuple(self.texts),
            )
        found = Lexicon.load(self.name, vocabulary_id)
        if found.sha256 != self.sha256:
            raise LexiconError(
                f"the checkpoint was trained with another version of lexicon {self.name!r} (SHA-256 "
                f"{self.sha256[:12]}, here {found.sha256[:12]}), whose names it does not hold: use the "
                "file, or the release of tushuo, that it was trained with"
            )
        return found

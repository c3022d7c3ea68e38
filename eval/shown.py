"""Strings that others wrote, made safe to show.

Captions, tags, file names and error messages may hold characters that turn the reading direction round, move
a terminal's cursor or cannot be written as UTF-8. HTML, Markdown and LaTeX are escaped where they are made.
"""

import unicodedata

LONGEST = 2000
"""Characters shown of one string; a caption is never near it."""

_JOINERS = "\u200c\u200d"  # between letters of some scripts and inside emoji they are part of the text


def shown(text: str, longest: int = LONGEST) -> str:
    """Text with control, direction and lone surrogate characters as U+FFFD, cut after ``longest`` characters.

    Each character stays where it was, so that positions in the text hold for what is shown.
    """
    cut = text if len(text) <= longest else text[:longest] + "…"
    return "".join(" " if c in "\t\r\n" else c if _visible(c) else "\ufffd" for c in cut)


def counted(number: int, noun: str) -> str:
    """A number of things that take an s: 1 picture, 2 pictures."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _visible(character: str) -> bool:
    return character in _JOINERS or unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Zl", "Zp")

"""Strings that others wrote, made safe to show.

Captions, tags, file names and error messages may hold HTML, Markdown, LaTeX or characters that turn the
reading direction round. On the page they are text: HTML is escaped, and invisible characters become visible.
They never stand in a label that Streamlit reads as Markdown.
"""

import html
import unicodedata

LONGEST = 2000
"""Characters shown of one string; a caption is never near it."""

_JOINERS = "\u200c\u200d"  # between letters of some scripts and inside emoji they are part of the text


def shown(text: str) -> str:
    """Text with control, direction and lone surrogate characters as U+FFFD, at most `LONGEST` long."""
    cut = text if len(text) <= LONGEST else text[:LONGEST] + "…"
    return "".join(" " if c in "\t\r\n" else c if _visible(c) else "\ufffd" for c in cut)


def as_html(text: str) -> str:
    """Text for the inside of an element or a quoted attribute."""
    return html.escape(shown(text), quote=True)


def _visible(character: str) -> bool:
    return character in _JOINERS or unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Zl", "Zp")

"""Strings that others wrote, made safe to show.

Captions, tags, file names and error messages may hold HTML, Markdown, LaTeX or characters that turn the
reading direction round. On the page they are text: HTML is escaped, and invisible characters become visible.
In a label that Streamlit reads as Markdown every sign of Markdown is escaped.
"""

import html
import re

from eval.shown import shown

_SIGNS = re.compile(r"([!-/:-@\[-`{-~])")
"""ASCII punctuation, all of which CommonMark lets a backslash escape (§2.4)."""


def as_html(text: str) -> str:
    """Text for the inside of an element or a quoted attribute."""
    return html.escape(shown(text), quote=True)


def as_label(text: str) -> str:
    """Text for a label that is read as Markdown."""
    return _SIGNS.sub(r"\\\1", shown(text)).strip() or " "

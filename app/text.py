"""Strings that others wrote, made safe to show.

Captions, tags, file names and error messages may hold HTML, Markdown, LaTeX or characters that turn the
reading direction round. On the page they are text: HTML is escaped, and invisible characters become visible.
They never stand in a label that Streamlit reads as Markdown.
"""

import html

from eval.shown import shown


def as_html(text: str) -> str:
    """Text for the inside of an element or a quoted attribute."""
    return html.escape(shown(text), quote=True)

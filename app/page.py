"""What the views of the page share: its state, the address, and how trouble is told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import streamlit as st

from app import looks
from app.data import Collection, System
from app.labels import Language, label
from app.live import LiveCaptioner, Made, NoCaptioner


@dataclass(frozen=True, kw_only=True)
class Page:
    """What every part of the page needs."""

    collection: Collection
    live: LiveCaptioner
    language: Language
    system: System | None

    def label(self, key: str, **values: object) -> str:
        """The words for ``key`` in the page's language."""
        return label(key, self.language, **values)

    def texts(self) -> Mapping[str, str]:
        """Picture id -> caption, as far as there are any."""
        return self.system.texts if self.system is not None else self.live.texts()


def go(**changes: str | None) -> None:
    """Change the address; None takes a part away."""
    for name, value in changes.items():
        if value is None:
            st.query_params.pop(name, None)
        else:
            st.query_params[name] = value


def refuse(page: Page, key: str, reason: str) -> None:
    """What went wrong in the page's words, then the reason as it came."""
    st.warning(page.label(key))
    st.html(looks.quiet(reason))


def live_captions(page: Page, image_ids: Sequence[str]) -> Mapping[str, Made]:
    """Captions made now, where no file has any."""
    try:
        with st.spinner(page.label("captioning")):
            return page.live.captions(page.collection, image_ids)
    except NoCaptioner as error:
        refuse(page, "no_captioner", str(error))
        return {}

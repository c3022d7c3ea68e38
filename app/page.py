"""What the views of the page share: its state, the address, and how trouble is told."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import compress
from typing import Any

import pyarrow as pa
import streamlit as st

from app import looks
from app.address import LONGEST_FIRST, WORST_FIRST, Address
from app.choice import chosen, matches
from app.data import Collection
from app.index import Ints, System
from app.labels import Language, label
from app.live import LiveCaptioner, Made, NoCaptioner
from app.notes import Notes, NotesRefused
from app.settings import AppConfig


@dataclass(frozen=True, kw_only=True)
class Page:
    """What every part of the page needs."""

    config: AppConfig
    collection: Collection
    live: LiveCaptioner
    notes: Notes
    address: Address
    language: Language
    system: System | None
    """Whose captions are shown, searched and sorted by."""
    against: tuple[System, ...]
    """Systems compared."""

    def label(self, key: str, **values: object) -> str:
        """The words for ``key`` in the page's language."""
        return label(key, self.language, **values)

    @property
    def fault(self) -> str:
        """Which mistakes are looked at; the longest captions, not the worst, where nothing is scored."""
        scored = self.system is not None and self.system.meta.scored
        return LONGEST_FIRST if self.address.fault == WORST_FIRST and not scored else self.address.fault

    def rows(self, **changes: Any) -> Ints:
        """Rows of the pictures that pass the address's filters, some of which may be changed."""
        filters = self.address.changed(fault=self.fault, **changes).wanted
        wanted = filters.q.strip()
        made = self.live.texts() if wanted and self.system is None else {}
        hits = matches(pa.array(made.values(), pa.string()), wanted, filters.regex)
        also = frozenset(compress(made, hits))
        marked = self.notes.marked if filters.flag == "marked" else frozenset()
        return chosen(self.collection.index, self.system, filters, marked, self.against, also)


def here() -> Address:
    """What the address asks for."""
    return Address.read({name: st.query_params.get_all(name) for name in st.query_params})


def go(**changes: Any) -> None:
    """Change the address."""
    show(here().changed(**changes))


def show(address: Address) -> None:
    """Make it the page's address."""
    st.query_params.from_dict(address.query())


def bound(name: str, value: object) -> str:
    """Give a widget the value that the address asks for; its key."""
    if st.session_state.get(name) != value:
        st.session_state[name] = value
    return name


def taker(name: str, read: Callable[[Any], Any] = lambda value: value) -> Callable[[], None]:
    """What a widget does when it is changed: put its value into the address.

    Args:
        name: Of the field, and key of the widget.
        read: The widget's value -> the field's.
    """
    return lambda: go(**{name: read(st.session_state[name])})


def refuse(page: Page, key: str, reason: str) -> None:
    """What went wrong in the page's words, then the reason as it came."""
    st.warning(page.label(key))
    st.html(looks.quiet(reason))


def write_note(page: Page, write: Callable[[], None]) -> bool:
    """Write a note; whether that went well, else it is said why not."""
    try:
        write()
    except NotesRefused as error:
        refuse(page, "not_written", str(error))
        return False
    return True


def live_captions(page: Page, image_ids: Sequence[str]) -> Mapping[str, Made]:
    """Captions made now, where no file has any."""
    try:
        with st.spinner(page.label("captioning")):
            return page.live.captions(page.collection, image_ids)
    except NoCaptioner as error:
        refuse(page, "no_captioner", str(error))
        return {}

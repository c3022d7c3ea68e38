"""The page that Streamlit runs, anew for every click: frame, sidebar, and which view.

What is shown is decided by the address (`app.address`), so a link shows the same. Only imported modules
outlive a run, so what is kept between clicks is theirs. The views lay out and compute nothing; every string
that others wrote passes `app.text` on its way into HTML or a label.
"""

from __future__ import annotations

import sys

import streamlit as st

from app import looks, style
from app.address import VIEWS, Address
from app.data import Collection, open_collection
from app.index import System
from app.labels import choose_language
from app.live import live_captioner
from app.notes import NotesRefused, open_notes
from app.page import Page, bound, go, here, refuse
from app.settings import AppConfig, settings_of
from app.views.compare import MOST, compare
from app.views.errors import errors
from app.views.gallery import gallery
from app.views.picture import picture_page
from app.views.runs import runs
from app.views.sidebar import sidebar
from app.views.statistics import statistics
from app.views.try_it import try_page

PAGES = {
    "gallery": gallery,
    "compare": compare,
    "errors": errors,
    "statistics": statistics,
    "try": try_page,
    "runs": runs,
}


def main() -> None:
    """Lay out the whole page."""
    st.set_page_config(page_title="图说 tushuo", page_icon="🖼️", layout="wide")
    config = settings_of(tuple(sys.argv[1:]))
    page = open_page(config, open_collection(config), here())
    st.html(style.sheet(page.address.columns))
    frame(page)
    try:
        sidebar(page)
        if page.address.picture and page.address.view in ("gallery", "errors", "statistics"):
            picture_page(page, page.address.picture)
        else:
            PAGES[page.address.view](page)
    except NotesRefused as error:
        refuse(page, "not_read", str(error))


def open_page(config: AppConfig, collection: Collection, address: Address) -> Page:
    """What the address means for what is open."""
    language = choose_language(address.lang or config.language, st.context.locale)
    return Page(
        config=config,
        collection=collection,
        live=live_captioner(config),
        notes=open_notes(config),
        address=address,
        language=language,
        system=collection.system(address.system),
        against=compared(collection, address),
    )


def compared(collection: Collection, address: Address) -> tuple[System, ...]:
    """The systems that the address names, two to four, in its order; else the first ones."""
    by_name = {system.name: system for system in collection.systems}
    named = [by_name[name] for name in address.against if name in by_name]
    return tuple(named if len(named) > 1 else collection.systems)[:MOST]


def frame(page: Page) -> None:
    """What every view has, before the view: where it stays in place, keys work while the rest is drawn."""
    with st.container(key="frame", horizontal=True, vertical_alignment="center"):
        view_switch(page)
        show_keys(page)
    with st.container(key="script"):
        st.html(style.script(page.address.theme, page.language), unsafe_allow_javascript=True)


def view_switch(page: Page) -> None:
    """Which view."""
    st.segmented_control(
        page.label("view"),
        [view for view in VIEWS if view != "compare" or len(page.collection.systems) > 1],
        key=bound("view", page.address.view),
        format_func=page.label,
        on_change=lambda: go(view=st.session_state.view or page.address.view, picture="", word=None),
        label_visibility="collapsed",
        width="stretch",
    )


def show_keys(page: Page) -> None:
    """All keys, told by the web browser alone: whatever the server does, they show at once."""
    keys = ("/", "?", "←  →", "Esc", "M", "1 – 4", "0")
    names = ("search", "help", "arrows", "escape", "mark", "vote", "tie")
    rows = [(key, page.label(f"key_{name}")) for key, name in zip(keys, names, strict=True)]
    with st.container(key="help", width="content"):
        st.html(looks.keys_popover(page.label("keys"), rows))


if __name__ == "__main__":
    main()

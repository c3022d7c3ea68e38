"""The gallery: thumbnails with captions and scores, searched, sorted and paged."""

from __future__ import annotations

import streamlit as st

from app import looks
from app.address import COLUMNS, SIZES, SORTS
from app.index import METRICS, Ints
from app.page import Page, bound, taker
from app.views.cards import cards, clear_filters
from app.views.exports import export_menu


def gallery(page: Page) -> None:
    """Thumbnails with captions."""
    rows = page.rows()
    toolbar(page, rows)
    status(page, len(rows))
    cards(page, rows)


def toolbar(page: Page, rows: Ints, *, ordered: bool = True) -> None:
    """Search, density, export of the rows; and their order, unless the view has its own."""
    sort = page.address.filters.sort
    with st.container(key="toolbar", horizontal=True, vertical_alignment="bottom"):
        search_field(page)
        if ordered:
            st.selectbox(
                page.label("sort"),
                sorts(page),
                key=bound("sort", sort if sort in sorts(page) else SORTS[0]),
                format_func=lambda name: page.label(f"sort_{name}"),
                on_change=taker("sort"),
                width=170,
            )
        with st.popover(page.label("display"), icon=":material/tune:"):
            display(page, ordered=ordered)
        export_menu(page, rows)


def search_field(page: Page) -> None:
    """Text of captions, references and names; the script looks for its key."""
    st.text_input(
        page.label("search"),
        key=bound("q", page.address.filters.q),
        placeholder=page.label("search_hint"),
        on_change=taker("q"),
        icon=":material/search:",
        width="stretch",
    )


def display(page: Page, *, ordered: bool) -> None:
    """How many pictures, and which end of the order comes first."""
    if ordered:
        st.toggle(
            page.label("descending"),
            key=bound("descending", page.address.filters.descending),
            on_change=taker("descending"),
        )
    st.segmented_control(
        page.label("page_size"),
        SIZES,
        key=bound("size", page.address.size),
        on_change=taker("size", lambda value: value or page.address.size),
    )
    st.slider(
        page.label("columns"),
        COLUMNS[0],
        COLUMNS[-1],
        key=bound("columns", page.address.columns),
        on_change=taker("columns"),
    )


def sorts(page: Page) -> list[str]:
    """What pictures can be sorted by."""
    system = page.system
    has = {
        "length": system is not None,
        "boxes": page.collection.store is not None,
        "difference": len(page.against) > 1,
        "alike": False,
        **dict.fromkeys(METRICS, system is not None and system.meta.scored > 0),
    }
    return [name for name in SORTS if has.get(name, True)]


def status(page: Page, found: int) -> None:
    """How many pictures there are, and the way back to all."""
    total = len(page.collection.index)
    with st.container(key="status", horizontal=True, vertical_alignment="center"):
        st.html(looks.quiet(page.label("found", found=found, total=total)), width="content")
        if page.address.filters.n_active:
            st.button(
                page.label("clear_filters"),
                key="clear",
                type="tertiary",
                icon=":material/filter_alt_off:",
                on_click=clear_filters,
            )

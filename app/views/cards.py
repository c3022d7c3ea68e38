"""Cards of pictures, a page of them, and the way from page to page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import streamlit as st

from app import looks
from app.choice import pages
from app.index import Ints
from app.page import Page, bound, go, here, live_captions, taker
from app.thumbnails import thumbnail
from features.images import ImageError

Chips = Callable[[int], Sequence[str]]
"""Row -> short remarks on its card, as markup."""
Say = Callable[[int], Sequence[str]]
"""Row -> its captions."""


def cards(page: Page, rows: Ints, chips: Chips | None = None, say: Say | None = None) -> None:
    """A page of the rows, or what to say where there are none.

    Args:
        page: The page.
        rows: All that could be shown.
        chips: What stands for its score.
        say: What stands for its caption.
    """
    if not len(rows):
        st.info(page.label("nothing_found"), icon=":material/search_off:")
        if page.address.filters.n_active:
            st.button(page.label("clear_filters"), key="clear-empty", on_click=clear_filters)
        return
    n_pages = pages(len(rows), page.address.size)
    number = min(page.address.page, n_pages)
    start = (number - 1) * page.address.size
    shown = rows[start : start + page.address.size].tolist()
    say = say or captions_of(page, shown)
    chips = chips or partial(score_chips, page)
    with st.container(key="gallery"):
        for place, row in enumerate(shown):
            card(page, place, row, say(row), chips(row))
    if n_pages > 1:
        pager(page, number, n_pages)


def captions_of(page: Page, rows: Sequence[int]) -> Say:
    """The captions of some rows; made now where no file has any."""
    system = page.system
    if system is not None:
        return lambda row: [text] if (text := system.caption(row)) else []
    name = page.collection.index.image_id
    made = live_captions(page, [name(row) for row in rows])
    return lambda row: [made[name(row)].said.caption] if name(row) in made else []


def score_chips(page: Page, row: int) -> list[str]:
    """CIDEr of the caption, where it has one."""
    scores = page.system.scores(row) if page.system is not None else {}
    return [looks.cider_chip(scores["cider"])] if "cider" in scores else []


def card(page: Page, place: int, row: int, texts: Sequence[str], chips: Sequence[str]) -> None:
    """One picture; the button lies over all of it."""
    image_id = page.collection.index.image_id(row)
    if image_id in page.notes.marked:
        chips = [*chips, looks.chip(f"⚑ {page.label('marked')}", "fair")]
    with st.container(key=f"card-{place}"):
        image = small_picture(page, image_id)
        alt = texts[0] if texts else image_id
        st.html(looks.card(image, texts, page.label("no_caption"), chips, alt))
        st.button(
            page.label("view_picture", number=place + 1),
            key=f"view-{place}",
            on_click=go,
            kwargs={"picture": image_id, "word": None},
        )


def small_picture(page: Page, image_id: str) -> bytes | str:
    """A thumbnail, or why there is none."""
    try:
        return thumbnail(page.collection, image_id)
    except (ImageError, ValueError) as error:
        return f"{page.label('unreadable')} {error}"


def clear_filters() -> None:
    """Show all pictures again, in the same order."""
    go(q="", tag=(), split="", flag="", score=(None, None), length=(None, None), differing=False)


def pager(page: Page, number: int, n_pages: int) -> None:
    """Previous, where we are, next."""
    with st.container(
        key="pager", horizontal=True, horizontal_alignment="center", vertical_alignment="center"
    ):
        for key, by, shortcut in (("previous_page", -1, "Left"), ("next_page", 1, "Right")):
            st.button(
                page.label(key),
                key=key,
                disabled=not 1 <= number + by <= n_pages,
                on_click=turn,
                args=(by, n_pages),
                shortcut=shortcut,
            )
            if key == "previous_page":
                st.number_input(
                    page.label("page_number"),
                    1,
                    n_pages,
                    key=bound("page", number),
                    on_change=taker("page"),
                    label_visibility="collapsed",
                    width=110,
                )
                st.html(f"<span>{page.label('of_pages', pages=n_pages)}</span>", width="content")


def turn(by: int, n_pages: int) -> None:
    """Go so many pages on from the one in the address, which may be ahead of the one on the screen."""
    go(page=min(max(1, min(here().page, n_pages) + by), n_pages))

"""The gallery: thumbnails with captions and scores, searched and paged."""

from __future__ import annotations

import streamlit as st

from app import looks
from app.data import page_number, pages, thumbnail
from app.page import Page, go, live_captions
from features.images import ImageError

PAGE_SIZE = 24


def gallery(page: Page) -> None:
    """Thumbnails with captions, searched and paged."""
    query = st.text_input(
        page.label("search"),
        value=st.query_params.get("q", ""),
        key="search",
        placeholder=page.label("search_hint"),
        on_change=lambda: go(q=st.session_state.search or None, page=None),
    )
    found = page.collection.search(query, page.texts())
    counts = {"found": len(found), "total": len(page.collection.image_ids)}
    st.html(looks.quiet(page.label("found", **counts)))
    if not found:
        st.info(page.label("nothing_found"))
        return
    n_pages = pages(len(found), PAGE_SIZE)
    number = page_number(st.query_params.get("page", "1"), n_pages)
    image_ids = list(found[(number - 1) * PAGE_SIZE : number * PAGE_SIZE])
    texts = page.texts()
    if page.system is None:
        texts = {image_id: made.said.caption for image_id, made in live_captions(page, image_ids).items()}
    with st.container(key="gallery"):
        for place, image_id in enumerate(image_ids):
            card(page, place, image_id, texts.get(image_id))
    if n_pages > 1:
        pager(page, number, n_pages)


def card(page: Page, place: int, image_id: str, text: str | None) -> None:
    """One picture of the gallery; the button lies over all of it."""
    scores = page.system.picture_scores(image_id) if page.system else {}
    image: bytes | str
    try:
        image = thumbnail(page.collection.path(image_id))
    except (ImageError, ValueError) as error:
        image = f"{page.label('unreadable')} {error}"
    with st.container(key=f"card-{place}"):
        st.html(looks.card(image, text, page.label("no_caption"), scores.get("cider"), alt=text or image_id))
        st.button(page.label("view"), key=f"view-{place}", on_click=go, kwargs={"picture": image_id})


def pager(page: Page, number: int, n_pages: int) -> None:
    """Previous, where we are, next."""
    with st.container(horizontal=True, horizontal_alignment="center", vertical_alignment="center"):
        for key, target in (("previous_page", number - 1), ("next_page", number + 1)):
            st.button(
                page.label(key),
                key=key,
                disabled=not 1 <= target <= n_pages,
                on_click=go,
                kwargs={"page": str(target)},
            )
            if key == "previous_page":
                st.html(f"<span>{page.label('page', page=number, pages=n_pages)}</span>", width="content")

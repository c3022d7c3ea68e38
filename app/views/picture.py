"""One picture: boxes and tags, captions with their alternatives, references, scores, what a word rests on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import streamlit as st

from app import looks
from app.boxes import Seen, best_tags, filter_rows, region_names, select_rows
from app.choice import neighbours
from app.index import Ints
from app.live import Made
from app.page import Page, bound, go, here, live_captions, refuse, taker, write_note
from app.thumbnails import picture
from app.views.attention import attention_panel
from app.views.captions import captions
from eval.shown import shown
from features.draw import boxes_svg
from features.images import ImageError
from features.store import StoreError


def picture_page(page: Page, image_id: str) -> None:
    """One picture with all that is known about it."""
    row = page.collection.index.row(image_id)
    navigation(page, row, page.rows())
    if row is None:
        st.warning(page.label("no_such_picture"))
        return
    try:
        image = picture(page.collection, image_id)
    except (ImageError, ValueError) as error:
        refuse(page, "unreadable", str(error))
        return
    made = live_captions(page, [image_id]).get(image_id) if page.system is None else None
    seen = seen_in(page, image_id, made)
    left, right = st.columns([3, 2], gap="large")
    with right:
        st.html(looks.quiet(image_id))
        said = captions(page, row, made.said if made else None)
    with left:
        heat = attention_panel(page, image_id, seen, said) if seen and said else None
        with st.container(key="seen"):
            boxes(page, image, image_id, seen, heat)


def navigation(page: Page, row: int | None, rows: Ints) -> None:
    """Back, previous, next among the pictures that the filters leave; mark."""
    before, after, place = neighbours(row, rows)
    with st.container(key="navigation", horizontal=True, vertical_alignment="center"):
        st.button(
            page.label("back"),
            key="back",
            icon=":material/arrow_back:",
            on_click=go,
            kwargs={"picture": "", "word": None},
            shortcut="Esc",
        )
        for key, by, target, shortcut in (("previous", -1, before, "Left"), ("next", 1, after, "Right")):
            st.button(
                page.label(key),
                key=key,
                disabled=target is None,
                on_click=step,
                args=(page, by),
                shortcut=shortcut,
            )
        if place is not None:
            st.html(looks.quiet(f"{place + 1} / {len(rows)}"), width="content")
        if row is not None:
            mark_button(page, page.collection.index.image_id(row))


def step(page: Page, by: int) -> None:
    """Go to the picture before (-1) or after (1) the one in the address.

    That need not be the one of the page that was clicked: keys may come faster than pages.
    """
    index, address = page.collection.index, here()
    before, after, _ = neighbours(index.row(address.picture), replace(page, address=address).rows())
    target = before if by < 0 else after
    if target is not None:
        go(picture=index.image_id(target), word=None)


def mark_button(page: Page, image_id: str) -> None:
    """A flag for the picture."""
    marked = image_id in page.notes.marked
    st.button(
        page.label("unmark" if marked else "mark"),
        key="mark",
        icon=":material/flag:",
        type="primary" if marked else "secondary",
        on_click=mark,
        args=(page, image_id, not marked),
        shortcut="M",
    )


def mark(page: Page, image_id: str, on: bool) -> None:
    """Mark a picture, or take its mark away."""
    write_note(page, lambda: page.notes.mark(image_id, on))


def seen_in(page: Page, image_id: str, made: Made | None) -> Seen | None:
    """A picture's regions: those found just now, else those of the regions file; None without any."""
    if made is not None:
        return Seen(regions=made.regions, names=made.names, stored=False)
    collection = page.collection
    try:
        regions = collection.regions(image_id)
    except StoreError as error:
        refuse(page, "not_in_regions", str(error))
        return None
    if regions is None or collection.store is None:
        return None
    names = region_names(regions, collection.lexicon, collection.store.vocabulary)
    return Seen(regions=regions, names=names, stored=True)


def boxes(page: Page, image: bytes, key: str, seen: Seen | None, heat: Sequence[float] | None = None) -> None:
    """The picture with its boxes, and what decides which of them are shown.

    Args:
        page: The page.
        image: JPEG.
        key: Names the picture.
        seen: Its regions; None where they are not known.
        heat: How much a word rests on each region, where one was clicked.
    """
    if seen is None:
        st.markdown(looks.figure(image, alt=key), unsafe_allow_html=True)
        st.html(looks.quiet(page.label("no_regions" if page.collection.store is None else "not_in_regions")))
        return
    address, names = page.address, seen.names
    rows = filter_rows(names, address.least, address.only)
    overlay = ""
    if heat is not None:
        overlay = overlay_of(page, seen, range(len(names)), heat)
    elif address.boxes:
        overlay = overlay_of(page, seen, rows)
    st.markdown(looks.figure(image, alt=key, overlay=overlay), unsafe_allow_html=True)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.toggle(
            page.label("show_boxes"),
            key=bound("boxes", address.boxes),
            on_change=taker("boxes"),
            width="content",
        )
        st.slider(
            page.label("min_score"),
            0.0,
            1.0,
            step=0.05,
            key=bound("least", address.least),
            on_change=taker("least"),
        )
    texts = [tag.text for tag in best_tags(names, address.least)]
    st.multiselect(
        page.label("only_tags"),
        texts,
        key=bound("only", [tag for tag in address.only if tag in texts]),
        format_func=shown,
        placeholder=page.label("all_tags"),
        on_change=taker("only", tuple),
    )
    if address.boxes:
        st.html(looks.quiet(page.label("boxes_shown", shown=len(rows), total=len(names))))
    st.html(looks.tag_chips(page.label("tags"), best_tags(names, address.least), none=page.label("no_tags")))


def overlay_of(page: Page, seen: Seen, rows: Sequence[int], heat: Sequence[float] | None = None) -> str:
    """Boxes of some of the regions as SVG, filled by what a word rests on."""
    names = [seen.names[row] for row in rows]
    return boxes_svg(
        select_rows(seen.regions, rows),
        [shown(name.text) for name in names],
        titles=[shown(name.text if name.text == name.name else f"{name.text} {name.name}") for name in names],
        weights=heat,
        description=page.label("boxes_alt"),
    )

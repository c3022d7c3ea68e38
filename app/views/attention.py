"""Click a word, and the regions that it rests on light up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import streamlit as st

from app import looks
from app.address import BASES
from app.boxes import Seen
from app.live import NoCaptioner
from app.page import Page, bound, go, refuse, taker
from app.text import as_label
from app.words import heat, words_of
from eval.shown import shown


def attention_panel(page: Page, image_id: str, seen: Seen, said: Mapping[str, str]) -> list[float] | None:
    """The words of a caption to click on.

    Args:
        page: The page.
        image_id: Of the picture.
        seen: Its regions.
        said: System -> caption, one or more.

    Returns:
        How much each region lights up, 0 to 1; None where no word was clicked, or it cannot be told.
    """
    address = page.address
    of = address.of if address.of in said else next(iter(said))
    words = words_of(said[of])
    picked = address.word if address.word is not None and address.word < len(words) else None
    with st.container(key="words"):
        choose(page, list(said), of)
        st.pills(
            page.label("words_of_caption"),
            range(len(words)),
            key=bound("word", picked),
            format_func=lambda at: as_label(words[at].text),
            on_change=taker("word"),
            label_visibility="collapsed",
        )
        note = "click_a_word" if picked is None else f"basis_{address.by}_note"
        st.html(looks.note(page.label(note, checkpoint=page.config.checkpoint)))
    if picked is None:
        return None
    try:
        with st.spinner(page.label("working")):
            store = page.collection.store if seen.stored else None
            values = page.live.rests_on(image_id, seen.regions, store, said[of], words, address.by)[picked]
    except NoCaptioner as error:
        refuse(page, "no_attention", str(error))
        return None
    return heat(values, address.by)


def choose(page: Page, systems: Sequence[str], of: str) -> None:
    """In which sense, and of whose caption."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.html(looks.heading(page.label("rests_on")), width="content")
        st.segmented_control(
            page.label("basis"),
            BASES,
            key=bound("by", page.address.by),
            format_func=lambda basis: page.label(f"basis_{basis}"),
            on_change=taker("by", lambda basis: basis or page.address.by),
            label_visibility="collapsed",
        )
        if len(systems) > 1:
            st.selectbox(
                page.label("system"),
                systems,
                key=bound("of", of),
                format_func=shown,
                on_change=lambda: go(of=st.session_state.of, word=None),
                label_visibility="collapsed",
                width=180,
            )

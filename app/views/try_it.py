"""Try it: a picture of one's own, its boxes, tags and captions. Nothing of it outlives the session."""

from __future__ import annotations

import hashlib

import streamlit as st

from app import looks
from app.boxes import Seen
from app.live import NoCaptioner, Tried
from app.page import Page, go, refuse
from app.settings import MAX_UPLOAD_MB
from app.views.attention import attention_panel
from app.views.captions import LIVE
from app.views.picture import boxes
from features.images import ImageError

UPLOAD_TYPES = ["jpg", "jpeg", "png", "webp", "bmp", "gif"]


def try_page(page: Page) -> None:
    """Upload or take a picture: boxes, tags, captions, time."""
    data = given(page)
    if data is None:
        st.session_state.pop("tried", None)
        st.html(looks.quiet(page.label("try_empty")))
        return
    tried = captioned(page, data)
    if tried is None:
        return
    made = tried.made
    seen = Seen(regions=made.regions, names=made.names, stored=False)
    left, right = st.columns([3, 2], gap="large")
    with right:
        st.html(looks.caption(page.label("caption"), [(made.said.caption, 0)]))
        st.html(looks.quiet(page.label("took", seconds=tried.seconds)))
        if made.said.alternatives:
            columns = [page.label(key) for key in ("rank", "caption", "score_per_piece", "log_prob")]
            st.html(looks.alternatives_table(page.label("alternatives"), columns, made.said))
    with left:
        digest = hashlib.sha256(data).hexdigest()
        heat = attention_panel(page, digest, seen, {LIVE: made.said.caption})
        boxes(page, tried.picture, page.label("your_picture"), seen, heat)


def given(page: Page) -> bytes | None:
    """The picture's file, uploaded or taken."""
    uploaded = st.file_uploader(
        page.label("upload"), type=UPLOAD_TYPES, help=page.label("upload_help"), on_change=forget_word
    )
    if st.toggle(page.label("camera"), key="camera", help=page.label("camera_help")):
        taken = st.camera_input(page.label("take"), label_visibility="collapsed", on_change=forget_word)
        uploaded = taken or uploaded
    return None if uploaded is None else uploaded.getvalue()


def forget_word() -> None:
    """The word that was clicked is of the picture before."""
    go(word=None)


def captioned(page: Page, data: bytes) -> Tried | None:
    """The picture with its captions, made once; None where it or the captioner cannot be used."""
    if len(data) > MAX_UPLOAD_MB << 20:
        refuse(page, "refused", f"{len(data)} bytes > {MAX_UPLOAD_MB} MB")
        return None
    digest = hashlib.sha256(data).hexdigest()
    if st.session_state.get("tried", (None, None))[0] != digest:
        try:
            with st.spinner(page.label("working")):
                st.session_state.tried = (digest, page.live.try_picture(data))
        except ImageError as error:
            refuse(page, "refused", str(error))
            return None
        except NoCaptioner as error:
            refuse(page, "no_captioner", str(error))
            return None
    tried: Tried = st.session_state.tried[1]
    return tried

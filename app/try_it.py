"""Try it: upload a picture and see its boxes, tags and caption. Nothing of it outlives the session."""

from __future__ import annotations

import hashlib

import streamlit as st

from app import looks
from app.live import NoCaptioner
from app.page import Page, refuse
from app.picture import alternatives, boxes
from app.settings import MAX_UPLOAD_MB
from features.images import ImageError

UPLOAD_TYPES = ["jpg", "jpeg", "png", "webp", "bmp", "gif"]


def try_page(page: Page) -> None:
    """Upload a picture: boxes, tags, caption, time. Nothing of it is kept beyond the session."""
    uploaded = st.file_uploader(page.label("upload"), type=UPLOAD_TYPES, help=page.label("upload_help"))
    if uploaded is None:
        st.session_state.pop("tried", None)
        return
    data = uploaded.getvalue()
    if len(data) > MAX_UPLOAD_MB << 20:
        refuse(page, "refused", f"{len(data)} bytes > {MAX_UPLOAD_MB} MB")
        return
    digest = hashlib.sha256(data).hexdigest()
    if st.session_state.get("tried", (None, None))[0] != digest:
        try:
            with st.spinner(page.label("working")):
                st.session_state.tried = (digest, page.live.try_picture(data))
        except ImageError as error:
            refuse(page, "refused", str(error))
            return
        except NoCaptioner as error:
            refuse(page, "no_captioner", str(error))
            return
    tried = st.session_state.tried[1]
    left, right = st.columns([3, 2], gap="large")
    with left:
        boxes(page, tried.picture, digest, tried.made.regions, tried.made.names)
    with right:
        st.html(looks.caption(page.label("caption"), tried.made.said.caption))
        st.html(looks.quiet(page.label("took", seconds=tried.seconds)))
        alternatives(page, tried.made.said)

"""The page that Streamlit runs, anew for every click: frame, sidebar, and which view.

What is shown is decided by the address (``picture``, ``q``, ``page``, ``view``, ``system``), so a link shows
the same. Only imported modules outlive a run, so what is kept between clicks is theirs. The views lay out and
compute nothing; every string that others wrote passes `app.text` on its way into HTML or a label.
"""

from __future__ import annotations

import sys

import streamlit as st

from app import looks
from app.data import Collection, open_collection
from app.gallery import gallery
from app.labels import LANGUAGES, choose_language, label
from app.live import live_captioner
from app.page import Page, go
from app.picture import picture_page
from app.settings import AppConfig, settings_of
from app.try_it import try_page
from eval.metrics import Scores
from eval.shown import shown


def main() -> None:
    """Lay out the whole page."""
    st.set_page_config(page_title="图说 tushuo", page_icon="🖼️", layout="wide")
    st.html(looks.STYLE)
    config = settings_of(tuple(sys.argv[1:]))
    page = sidebar(config, open_collection(config))
    view_switch(page)
    if st.query_params.get("view") == "try":
        try_page(page)
    elif "picture" in st.query_params:
        picture_page(page, st.query_params["picture"])
    else:
        gallery(page)


def sidebar(config: AppConfig, collection: Collection) -> Page:
    """Language, whose captions, and what is open."""
    with st.sidebar:
        first = choose_language(config.language, st.context.locale)
        language = st.session_state.get("language", first)
        st.html(f'<h1 class="ts-title">{label("title", language)}</h1><p>{label("subtitle", language)}</p>')
        st.selectbox(
            label("language", language),
            LANGUAGES,
            index=LANGUAGES.index(first),
            format_func=lambda code: label(code, language),
            key="language",
        )
        system = collection.system(st.query_params.get("system"))
        if len(collection.systems) > 1:
            names = [each.name for each in collection.systems]
            st.selectbox(
                label("system", language),
                names,
                index=names.index(system.name) if system else 0,
                format_func=shown,
                key="system",
                on_change=lambda: go(system=st.session_state.system),
            )
        page = Page(collection=collection, live=live_captioner(config), language=language, system=system)
        st.html(looks.items(page.label("sources"), sources(page, config)))
    return page


def sources(page: Page, config: AppConfig) -> list[str]:
    """The open files, a line each."""
    collection = page.collection
    lines = [page.label("pictures", count=len(collection.image_ids), path=collection.root)]
    for system in collection.systems:
        lines.append(page.label("predictions", count=len(system.captions), path=system.name))
        if system.unknown:
            lines.append(page.label("unknown", count=system.unknown))
        if system.scores is not None:
            lines.append(corpus_score(page, system.scores))
    if collection.store is not None:
        lines.append(page.label("regions", count=len(collection.store), path=collection.store.path))
    if collection.references:
        lines.append(page.label("references", count=len(collection.references), path=config.references))
    lines.append(page.label("checkpoint", path=config.checkpoint))
    return lines


def corpus_score(page: Page, scores: Scores) -> str:
    """CIDEr of all pictures with references, and what it counts."""
    return page.label(
        "corpus_score",
        metric="CIDEr",
        value=scores.overall["cider"],
        images=scores.n_images,
        unit=page.label(scores.unit),
        version=scores.version.split(",")[0],
    )


def view_switch(page: Page) -> None:
    """Gallery or Try it."""
    trying = st.query_params.get("view") == "try"
    with st.container(horizontal=True):
        for key, active in (("gallery", not trying), ("try", trying)):
            st.button(
                page.label(key),
                key=f"view-{key}",
                type="primary" if active else "secondary",
                on_click=go,
                kwargs={"view": "try" if key == "try" else None, "picture": None},
            )


if __name__ == "__main__":
    main()

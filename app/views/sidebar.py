"""The sidebar: whose captions, which pictures, saved views, language, theme, and what is open."""

from __future__ import annotations

from math import ceil

import numpy as np
import streamlit as st

from app import looks
from app.address import FLAGS, Address, Range
from app.choice import is_regex
from app.index import METRICS, System
from app.labels import LANGUAGES
from app.notes import LONGEST_NAME
from app.page import Page, bound, here, show, taker, write_note
from eval.metrics import METRIC_TITLES
from eval.shown import shown

THEMES = ("", "light", "dark")


def sidebar(page: Page) -> None:
    """All of it."""
    with st.sidebar:
        st.html(f'<h1 class="ts-title">{page.label("title")}</h1>')
        if page.address.view not in ("try", "runs"):
            choose_system(page)
            with st.expander(page.label("filters"), expanded=True, icon=":material/filter_alt:"):
                filters(page)
        with st.expander(page.label("saved_views"), icon=":material/bookmark:"):
            saved_views(page)
        with st.expander(page.label("appearance"), icon=":material/contrast:"):
            appearance(page)
        with st.expander(page.label("sources"), icon=":material/folder_open:"):
            st.html(looks.items(page.label("sources"), sources(page)))


def choose_system(page: Page) -> None:
    """Whose captions are shown and scored."""
    names = [system.name for system in page.collection.systems]
    if len(names) > 1 and page.system is not None:
        st.selectbox(
            page.label("system"),
            names,
            key=bound("system", page.system.name),
            format_func=shown,
            on_change=taker("system"),
        )


def filters(page: Page) -> None:
    """Which pictures."""
    index, asked = page.collection.index, page.address.filters
    st.toggle(page.label("regex"), key=bound("regex", asked.regex), on_change=taker("regex"))
    if asked.regex and not is_regex(asked.q.strip()):
        st.warning(page.label("no_regex"))
    if index.tag_counts:
        st.multiselect(
            page.label("tags"),
            list(index.tag_counts),
            key=bound("tag", [tag for tag in asked.tag if tag in index.tag_counts]),
            format_func=lambda tag: f"{shown(tag)} ({index.tag_counts[tag]})",
            on_change=taker("tag", tuple),
            placeholder=page.label("any"),
        )
    if page.system is not None:
        numbers(page, page.system)
    if index.splits:
        st.selectbox(
            page.label("split"),
            ["", *index.splits],
            key=bound("split", asked.split if asked.split in index.splits else ""),
            format_func=lambda split: shown(split) or page.label("any"),
            on_change=taker("split"),
        )
    st.selectbox(
        page.label("flag"),
        ["", *(FLAGS if page.system is not None else FLAGS[:1])],
        key=bound("flag", asked.flag),
        format_func=lambda flag: page.label(f"flag_{flag}") if flag else page.label("any"),
        on_change=taker("flag"),
    )


def numbers(page: Page, system: System) -> None:
    """Score and length."""
    asked = page.address.filters
    if system.meta.scored:
        with st.container(key="score-filter"):
            st.selectbox(
                page.label("metric"),
                METRICS,
                key=bound("metric", asked.metric),
                format_func=METRIC_TITLES.__getitem__,
                on_change=taker("metric"),
            )
            values = system.numbers(asked.metric)
            top = max(1.0, ceil(10 * np.nanmax(values)) / 10)
            between(page, "score", asked.score, top, 0.05, METRIC_TITLES[asked.metric], "%.2f")
    longest = int(system.lengths.max(initial=1))
    between(page, "length", asked.length, float(max(1, longest)), 1.0, page.label("length"), "%d")


def between(page: Page, name: str, asked: Range, top: float, step: float, label: str, form: str) -> None:
    """A slider with two ends; at its own ends it is open."""
    low, high = (
        (0.0 if asked[0] is None else min(asked[0], top)),
        (top if asked[1] is None else min(asked[1], top)),
    )

    def read(ends: tuple[float, float]) -> Range:
        return (ends[0] or None, ends[1] if ends[1] < top else None)

    st.slider(
        label,
        0.0,
        top,
        step=step,
        format=form,
        key=bound(name, (min(low, high), high)),
        on_change=taker(name, read),
    )


def saved_views(page: Page) -> None:
    """Addresses with names."""
    views = page.notes.views
    if views:
        name = st.selectbox(
            page.label("saved_view"),
            list(views),
            key=bound("saved-view", _chosen() if _chosen() in views else None),
            format_func=shown,
            index=None,
            placeholder=page.label("choose"),
        )
        with st.container(horizontal=True):
            for key, act in (("open", open_view), ("forget", forget_view)):
                st.button(
                    page.label(key), key=f"{key}-view", disabled=name is None, on_click=act, args=(page,)
                )
    st.text_input(page.label("view_name"), key="view-name", max_chars=LONGEST_NAME)
    st.button(page.label("save_view"), key="save-view", on_click=save_view, args=(page,))


def _chosen() -> str:
    return st.session_state.get("saved-view") or ""


def open_view(page: Page) -> None:
    """Go where the chosen view leads."""
    if _chosen() in page.notes.views:
        show(Address.read(page.notes.views[_chosen()]))


def forget_view(page: Page) -> None:
    """Delete the chosen view."""
    write_note(page, lambda: page.notes.save_view(_chosen(), None))


def save_view(page: Page) -> None:
    """Keep the address under the name that was typed."""
    name = st.session_state["view-name"]
    if name.strip() and write_note(page, lambda: page.notes.save_view(name, here().query())):
        st.session_state["view-name"] = ""


def appearance(page: Page) -> None:
    """Language and theme."""
    st.segmented_control(
        page.label("language"),
        LANGUAGES,
        key=bound("lang", page.language),
        format_func=page.label,
        on_change=taker("lang", lambda code: code or page.language),
    )
    st.segmented_control(
        page.label("theme"),
        THEMES,
        key=bound("theme", page.address.theme),
        format_func=lambda theme: page.label(f"theme_{theme}"),
        on_change=taker("theme", lambda theme: theme or ""),
    )


def sources(page: Page) -> list[str]:
    """The open files, a line each."""
    collection, config = page.collection, page.config
    index = collection.index
    lines = [page.label("pictures", count=len(index), path=collection.root)]
    for system in collection.systems:
        lines.append(page.label("predictions", count=system.n_captions, path=system.name))
        if system.meta.unknown:
            lines.append(page.label("unknown", count=system.meta.unknown))
        if system.meta.scored:
            lines.append(corpus_score(page, system))
    if collection.store is not None:
        lines.append(page.label("regions", count=len(collection.store), path=collection.store.path))
    if index.n_described:
        lines.append(page.label("references", count=index.n_described, path=config.references))
    lines.append(page.label("checkpoint", path=config.checkpoint))
    lines.append(page.label("notes_in", path=page.notes.folder))
    return lines


def corpus_score(page: Page, system: System) -> str:
    """CIDEr of all pictures with references, and what it counts."""
    return page.label(
        "corpus_score",
        metric="CIDEr",
        value=system.meta.overall["cider"],
        images=system.meta.scored,
        unit=page.label(system.meta.unit),
        version=system.meta.version.split(",")[0],
    )

"""How scores, lengths, words and tags are spread over the pictures that the filters leave."""

from __future__ import annotations

from collections.abc import Callable

import altair as alt
import streamlit as st

from app import charts, looks
from app.address import ANY, Range
from app.figures import length_bins, score_bins, score_by_boxes, tag_counts, word_counts
from app.index import METRICS, System
from app.page import Page, bound, go
from app.views.exports import export_menu
from app.views.gallery import search_field, status
from eval.metrics import METRIC_TITLES


def statistics(page: Page) -> None:
    """Charts; the part that is marked in one of them becomes a filter."""
    rows = page.rows()
    with st.container(key="toolbar", horizontal=True, vertical_alignment="bottom"):
        search_field(page)
        export_menu(page, rows)
    with st.container(horizontal=True, vertical_alignment="center"):
        status(page, len(rows))
        st.button(
            page.label("show_in_gallery"),
            key="to-gallery",
            icon=":material/grid_view:",
            on_click=go,
            kwargs={"view": "gallery"},
        )
    if page.system is None and not len(page.collection.index.tag_counts):
        st.info(page.label("statistics_empty"), icon=":material/bar_chart:")
        return
    panels = list(panels_of(page))
    for left in range(0, len(panels), 2):
        for column, draw in zip(st.columns(2, gap="large"), panels[left : left + 2], strict=False):
            with column:
                draw()


def panels_of(page: Page) -> list[Callable[[], None]]:
    """The charts that there is something for."""
    index, system, panels = page.collection.index, page.system, list[Callable[[], None]]()
    if system is not None:
        if system.meta.scored:
            panels.append(lambda: scores(page, system))
        panels.append(lambda: lengths(page, system))
    if index.tag_counts:
        panels.append(lambda: tags(page))
    if system is not None:
        panels.append(lambda: words(page, system))
        if system.meta.scored and page.collection.store is not None:
            panels.append(lambda: boxes(page, system))
    return panels


def scores(page: Page, system: System) -> None:
    """One metric; its own filter is left out, so that the whole scale stays."""
    metric = page.address.filters.metric
    with st.container(horizontal=True, vertical_alignment="center"):
        st.html(looks.heading(page.label("chart_scores")), width="content")
        st.segmented_control(
            page.label("metric"),
            METRICS,
            key=bound("chart-metric", metric),
            format_func=METRIC_TITLES.__getitem__,
            on_change=lambda: go(metric=st.session_state["chart-metric"] or metric),
            label_visibility="collapsed",
        )
    bins = score_bins(system, metric, page.rows(score=ANY))
    brushed(page, "score", charts.histogram(bins, METRIC_TITLES[metric], page.label("n_pictures")))


def lengths(page: Page, system: System) -> None:
    """Words of a caption."""
    st.html(looks.heading(page.label("chart_lengths")))
    bins = length_bins(system, page.rows(length=ANY))
    brushed(page, "length", charts.histogram(bins, page.label("length"), page.label("n_pictures"), step=1.0))


def brushed(page: Page, name: str, chart: alt.Chart) -> None:
    """A chart of whose scale a part can be marked, which becomes the filter of that name."""
    key = f"chart-{name}-{page.language}"
    st.altair_chart(chart, key=key, on_select=lambda: take_brush(name, key), selection_mode=charts.BRUSH)
    asked: Range = getattr(page.address.filters, name)
    if asked != ANY:
        ends = " – ".join("" if end is None else f"{end:g}" for end in asked)
        st.button(
            page.label("clear_range", range=ends),
            key=f"clear-{name}",
            type="tertiary",
            icon=":material/close:",
            on_click=go,
            kwargs={name: ANY},
        )


def take_brush(name: str, key: str) -> None:
    """Put what was marked into the address; a click that marks nothing changes nothing."""
    marked = st.session_state[key]["selection"].get(charts.BRUSH, {}).get("low")
    if marked:
        low, high = sorted(round(max(0.0, float(end)), 3) for end in marked)
        go(**{name: (low, high)})


def tags(page: Page) -> None:
    """The most frequent tags."""
    st.html(looks.heading(page.label("chart_tags")))
    counts = tag_counts(page.collection.index, page.rows())
    st.altair_chart(charts.bars(counts, page.label("tags"), page.label("n_pictures")), key="chart-tags")


def words(page: Page, system: System) -> None:
    """The most frequent words."""
    st.html(looks.heading(page.label("chart_words")))
    counts = word_counts(page.collection.index, system, page.rows())
    st.altair_chart(charts.bars(counts, page.label("word"), page.label("n_captions")), key="chart-words")


def boxes(page: Page, system: System) -> None:
    """Score by number of boxes."""
    metric = page.address.filters.metric
    st.html(looks.heading(page.label("chart_boxes")))
    means = score_by_boxes(page.collection.index, system, metric, page.rows())
    chart = charts.dots(means, page.label("n_boxes"), METRIC_TITLES[metric], page.label("n_pictures"))
    st.altair_chart(chart, key="chart-boxes")

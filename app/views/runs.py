"""Training runs: curves, settings in which they differ, and the card of the captioner."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import streamlit as st

from app import charts, looks
from app.page import Page, bound, taker
from app.training import Run, card, differences, find_runs, read_run, without_pictures
from eval.shown import shown

FIRST = ("loss", "cider", "bleu-4", "rouge-l", "learning_rate", "grad_norm")
"""Curves in this order, then the others by name."""


def runs(page: Page) -> None:
    """Curves of the chosen runs, then the model card."""
    folders = find_runs(page.config.runs)
    if folders:
        curves_of(page, folders_chosen(page, folders))
    else:
        st.info(page.label("runs_empty"), icon=":material/show_chart:")
    text, record = card(page.config.checkpoint)
    st.html(looks.heading(page.label("card_of", checkpoint=page.config.checkpoint)))
    if text:
        with st.container(border=True):
            st.markdown(without_pictures(text))
    elif record:
        st.code(record, language="json", wrap_lines=True)
    else:
        st.html(looks.quiet(page.label("no_card")))


def folders_chosen(page: Page, folders: Mapping[str, Path]) -> list[Run]:
    """The runs that the address names, else the first few."""
    known = [name for name in page.address.run if name in folders] or list(folders)[:4]
    st.multiselect(
        page.label("runs"),
        list(folders),
        key=bound("run", known),
        format_func=shown,
        on_change=taker("run", tuple),
    )
    with st.spinner(page.label("working")):
        return [read_run(name, folders[name]) for name in known]


def curves_of(page: Page, chosen: Sequence[Run]) -> None:
    """A chart a number, and the settings that differ."""
    panels = []
    for kind in ("validation", "training"):
        curves = {name for run in chosen for name in getattr(run, kind)}
        for name in sorted(
            curves, key=lambda each: (FIRST.index(each) if each in FIRST else len(FIRST), each)
        ):
            series = {run.name: found for run in chosen if (found := getattr(run, kind).get(name))}
            panels.append((f"{page.label(kind)}: {name}", series))
    if not panels:
        st.html(looks.quiet(page.label("no_curves")))
    for left in range(0, len(panels), 2):
        for column, (title, series) in zip(st.columns(2, gap="large"), panels[left : left + 2], strict=False):
            with column:
                st.html(looks.heading(title))
                chart = charts.curves(series, "", page.label("step"), page.label("run"))
                st.altair_chart(chart, key=f"curve-{title}")
    rows = differences(chosen)
    if len(chosen) > 1:
        st.html(looks.heading(page.label("differences")))
        titles = [page.label("setting"), *(run.name for run in chosen)]
        st.html(looks.table(titles, rows, set()) if rows else looks.quiet(page.label("no_differences")))

"""Where a captioner fails: the worst, repetitions, objects that were not detected, captions all alike."""

from __future__ import annotations

import numpy as np
import streamlit as st

from app import looks
from app.address import FAULTS, FLAGS, LONGEST_FIRST, WORST_FIRST
from app.choice import flagged
from app.index import System
from app.page import Page, bound, taker
from app.views.cards import cards, score_chips
from app.views.gallery import status, toolbar


def errors(page: Page) -> None:
    """Choose a kind of fault, see its pictures, worst first."""
    if page.system is None:
        st.info(page.label("errors_empty"), icon=":material/bug_report:")
        return
    system, fault, rows = page.system, page.fault, page.rows()
    st.segmented_control(
        page.label("fault"),
        [each for each in FAULTS if each != WORST_FIRST or system.meta.scored],
        key=bound("fault", fault),
        format_func=lambda each: fault_label(page, each, system),
        on_change=taker("fault", lambda each: each or fault),
        label_visibility="collapsed",
    )
    st.html(looks.quiet(page.label(f"fault_{fault}_note")))
    toolbar(page, rows, ordered=False)
    status(page, len(rows))
    cards(page, rows, lambda row: [*score_chips(page, row), *remarks(page, system, fault, row)])


def fault_label(page: Page, fault: str, system: System) -> str:
    """Its name, and how many captions have it."""
    if fault not in FLAGS:
        return page.label(f"fault_{fault}")
    count = int(np.count_nonzero(flagged(page.collection.index, system, fault)))
    return f"{page.label(f'flag_{fault}')} ({count})"


def remarks(page: Page, system: System, fault: str, row: int) -> list[str]:
    """What is wrong with one caption."""
    if fault == "undetected":
        return [looks.chip(page.label("not_detected", names="、".join(system.undetected(row))))]
    if fault == "alike":
        return [looks.chip(page.label("as_others", count=int(system.numbers("alike")[row])))]
    if fault == LONGEST_FIRST:
        return [looks.chip(page.label("n_words", count=int(system.lengths[row])))]
    return []

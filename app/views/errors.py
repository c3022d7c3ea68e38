"""Where a captioner fails: the worst, repetitions, objects that were not detected, captions all alike."""

from __future__ import annotations

import numpy as np
import streamlit as st

from app import looks
from app.address import FAULTS, FLAGS
from app.choice import flagged
from app.index import System
from app.page import Page, bound, taker
from app.views.cards import cards
from eval.shown import shown

WORST, LONGEST = FAULTS[0], FAULTS[-1]


def errors(page: Page) -> None:
    """Choose a kind of fault, see its pictures, worst first."""
    if page.system is None:
        st.info(page.label("errors_empty"), icon=":material/bug_report:")
        return
    system = page.system
    fault = page.address.fault if possible(page.address.fault, system) else LONGEST
    st.segmented_control(
        page.label("fault"),
        [each for each in FAULTS if possible(each, system)],
        key=bound("fault", fault),
        format_func=lambda each: fault_label(page, each, system),
        on_change=taker("fault", lambda each: each or fault),
        label_visibility="collapsed",
    )
    st.html(looks.quiet(page.label(f"fault_{fault}_note")))
    rows = page.rows(fault=fault)
    st.html(looks.quiet(page.label("found", found=len(rows), total=len(page.collection.index))))
    cards(page, rows, lambda row: remark(page, system, fault, row))


def possible(fault: str, system: System) -> bool:
    """Whether there is what it takes to find such a fault."""
    return fault != WORST or system.meta.scored > 0


def fault_label(page: Page, fault: str, system: System) -> str:
    """Its name, and how many captions have it."""
    if fault not in FLAGS:
        return page.label(f"fault_{fault}")
    count = int(np.count_nonzero(flagged(page.collection.index, system, fault)))
    return f"{page.label(f'flag_{fault}')} ({count})"


def remark(page: Page, system: System, fault: str, row: int) -> str:
    """What is wrong with one caption."""
    if fault == "undetected":
        return page.label("not_detected", names=shown("、".join(system.undetected(row))))
    if fault == "alike":
        return page.label("as_others", count=int(system.numbers("alike")[row]))
    if fault == LONGEST:
        return page.label("n_words", count=int(system.lengths[row]))
    return ""

"""What is shown, to take away."""

from __future__ import annotations

import streamlit as st

from app import looks
from app.export import MOST_ON_PAGE, Corrections, as_coco, as_page, as_table
from app.index import Ints
from app.page import Page


def export_menu(page: Page, rows: Ints) -> None:
    """CSV, COCO results, HTML of some rows; each is made when it is asked for."""
    system = page.system
    if system is None:
        return
    collection = page.collection
    systems = page.against if page.address.view == "compare" else (system,)
    with st.popover(page.label("export"), icon=":material/download:"):
        st.html(looks.quiet(page.label("export_note", count=len(rows), most=MOST_ON_PAGE)))
        st.download_button(
            "CSV",
            lambda: as_table(collection, systems, rows, corrections(page)),
            "captions.csv",
            "text/csv",
            on_click="ignore",
            width="stretch",
        )
        st.download_button(
            "COCO JSON",
            lambda: as_coco(collection, system, rows, corrections(page)),
            "captions.json",
            "application/json",
            on_click="ignore",
            width="stretch",
        )
        st.download_button(
            "HTML",
            lambda: as_page(collection, systems, rows, page.label("title"), page.language),
            "captions.html",
            "text/html",
            on_click="ignore",
            width="stretch",
        )


def corrections(page: Page) -> Corrections:
    """Everything that was corrected."""
    return {system.name: page.notes.corrections(system.name) for system in page.collection.systems}

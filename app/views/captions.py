"""What the systems and people say of a picture, the scores, and corrections."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st

from app import looks
from app.index import System
from app.notes import Correction, NotesRefused
from app.page import Page, refuse, write_note
from app.said import Overlaps, overlaps
from app.text import as_label
from eval.annotations import PredictedCaption

LIVE = "live"
"""Stands for the system that writes captions as they are looked at."""


def captions(page: Page, row: int, live: PredictedCaption | None) -> dict[str, str]:
    """All that is said of a picture.

    Args:
        page: The page.
        row: Of the picture.
        live: What was said just now, where there is no file.

    Returns:
        System -> caption.
    """
    index = page.collection.index
    systems = [page.system, *(each for each in page.collection.systems if each is not page.system)]
    predicted = {each.name: said for each in systems if each and (said := each.predicted(row))}
    if live is not None:
        predicted[LIVE] = live
    people = index.references(row)
    marks = overlaps(tuple(each.caption for each in predicted.values()), people)
    if not predicted:
        st.html(looks.quiet(page.label("no_caption")))
    for place, (name, said) in enumerate(predicted.items()):
        one_caption(page, name, said, marks, place)
    if people:
        note = page.label("marks_note") if predicted else ""
        st.html(looks.references(page.label("human"), marks.references, note))
    show_scores(page, {each.name: each for each in systems if each}, row)
    for name, said in predicted.items():
        if name != LIVE:
            correction(page, name, index.image_id(row), said.caption)
    return {name: said.caption for name, said in predicted.items()}


def one_caption(page: Page, name: str, said: PredictedCaption, marks: Overlaps, place: int) -> None:
    """One system's caption with its alternatives."""
    title = page.label("caption") if name == LIVE else name
    st.html(looks.caption(title, marks.captions[place], small=place > 0))
    if len(said.alternatives) > 1:
        with st.expander(page.label("alternatives_of", count=len(said.alternatives)), expanded=place == 0):
            columns = [page.label(key) for key in ("rank", "caption", "score_per_piece", "log_prob")]
            st.html(looks.alternatives_table("", columns, said))
    elif said.log_prob is not None:
        st.html(looks.quiet(f"{page.label('log_prob')}: {said.log_prob:.3f}"))


def show_scores(page: Page, systems: Mapping[str, System], row: int) -> None:
    """The picture's own scores."""
    scores = {name: found for name, system in systems.items() if (found := system.scores(row))}
    if scores:
        st.html(looks.scores_table(page.label("scores"), page.label("system"), scores))


def correction(page: Page, name: str, image_id: str, original: str) -> None:
    """A better caption, kept beside the original."""
    try:
        known = page.notes.corrections(name).get(image_id)
    except NotesRefused as error:
        refuse(page, "not_read", str(error))
        return
    saved = f"saved-{name}"
    if st.session_state.pop(saved, False):
        st.toast(page.label("saved"), icon=":material/check:")
    title = page.label("correct" if known is None else "corrected", system=as_label(name))
    with st.expander(title, icon=":material/edit:"), st.form(f"correct-{name}-{image_id}", border=False):
        st.html(looks.quiet(page.label("correct_note")))
        text = st.text_area(page.label("caption"), known.caption if known else original, max_chars=2000)
        note = st.text_input(
            page.label("correct_by"),
            known.note if known else "",
            max_chars=200,
            placeholder=page.label("correct_by_hint"),
        )
        if st.form_submit_button(page.label("save")):
            made = Correction(image_id=image_id, caption=text.strip(), original=original, note=note.strip())
            if write_note(page, lambda: page.notes.correct(name, made)):
                st.session_state[saved] = True
                st.rerun()  # for the heading

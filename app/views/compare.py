"""Two to four systems side by side: where they differ, who wins, and which caption people find best."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import streamlit as st

from app import looks
from app.choice import neighbours, score_difference
from app.duels import Duel, by_score, n_differing, vote_counts, vote_of
from app.index import Ints, System
from app.notes import TIE
from app.page import Page, bound, go, refuse, taker, write_note
from app.said import overlaps
from app.thumbnails import picture
from app.views.cards import cards
from app.views.gallery import status, toolbar
from app.views.picture import navigation
from eval.metrics import METRIC_TITLES
from eval.shown import shown
from eval.significance import WIN
from features.images import ImageError

MOST = 4
"""Systems side by side."""


def compare(page: Page) -> None:
    """Choose systems, see who wins, look at one picture after the other and vote."""
    if len(page.collection.systems) < 2:
        st.info(page.label("compare_empty"), icon=":material/compare_arrows:")
        return
    choose(page)
    rows = page.rows()
    with st.expander(page.label("outcome"), expanded=not page.address.picture, icon=":material/bar_chart:"):
        outcome(page, rows)
    row = page.collection.index.row(page.address.picture) if page.address.picture else None
    if row is not None:
        duel(page, row, rows)
    else:
        toolbar(page, rows)
        status(page, len(rows))
        leads = score_difference(page.against)
        cards(page, rows, lambda row: chips(page, row, leads[row]), partial(said, page))


def choose(page: Page) -> None:
    """Which systems, and whether only differing captions are shown."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.multiselect(
            page.label("systems"),
            [system.name for system in page.collection.systems],
            key=bound("against", [system.name for system in page.against]),
            format_func=shown,
            max_selections=MOST,
            on_change=taker("against", tuple),
        )
        st.toggle(
            page.label("differing"),
            key=bound("differing", page.address.filters.differing),
            on_change=taker("differing"),
            width="content",
        )


def outcome(page: Page, rows: Ints) -> None:
    """Scores of all pictures; wins, ties and losses of the first system, by CIDEr and by votes."""
    first, *others = page.against
    scores = {system.name: system.meta.overall for system in page.against if system.meta.scored}
    if scores:
        st.html(looks.scores_table(page.label("overall"), page.label("system"), scores))
    st.html(looks.quiet(page.label("n_differing", count=n_differing(page.against, rows), total=len(rows))))
    for other in others:
        show_duel(page, by_score(first, other, rows))
    names = [system.name for system in page.against]
    counts = vote_counts(names, page.notes.votes)
    if sum(counts.values()):
        lines = [f"{page.label('tie') if name == TIE else name}: {count}" for name, count in counts.items()]
        st.html(looks.items(page.label("votes"), lines))


def show_duel(page: Page, found: Duel) -> None:
    """A bar and its numbers."""
    if not found.total:
        st.html(looks.quiet(page.label("no_scores")))
        return
    text = page.label(
        "duel", first=found.first, second=found.second, wins=found.wins, ties=found.ties, losses=found.losses
    )
    st.html(looks.quiet(text) + looks.win_bar(found.wins, found.ties, found.losses))


def chips(page: Page, row: int, lead: float) -> list[str]:
    """CIDEr of each system, and by how much the first is above the best of the others."""
    of = [(f"{place}. ", system.scores(row)) for place, system in enumerate(page.against, start=1)]
    if len(said(page, row)) == 1:
        of = [("", of[0][1])]
    found = [looks.cider_chip(scores["cider"], name) for name, scores in of if "cider" in scores]
    return [*found, looks.chip(f"Δ CIDEr {lead:+.3f}")] if abs(lead) >= WIN else found


def said(page: Page, row: int) -> list[str]:
    """What the systems say, in their order; once where all say the same."""
    texts = [system.caption(row) or page.label("no_caption") for system in page.against]
    if len(set(texts)) == 1:
        return texts[:1]
    return [f"{place}. {text}" for place, text in enumerate(texts, start=1)]


def duel(page: Page, row: int, rows: Ints) -> None:
    """One picture, what each system says of it, and the keys to vote."""
    image_id = page.collection.index.image_id(row)
    navigation(page, row, rows)
    left, right = st.columns([2, 3], gap="large")
    with left:
        whole_picture(page, image_id)
        st.html(looks.quiet(image_id))
    with right:
        contestants(page, row)
        vote_buttons(page, image_id, after=neighbours(row, rows)[1])


def whole_picture(page: Page, image_id: str) -> None:
    """The picture, or why there is none."""
    try:
        st.markdown(looks.figure(picture(page.collection, image_id), alt=image_id), unsafe_allow_html=True)
    except (ImageError, ValueError) as error:
        refuse(page, "unreadable", str(error))


def contestants(page: Page, row: int) -> None:
    """The captions with their scores, numbered as the keys are, and the references."""
    texts = [(system, system.caption(row)) for system in page.against]
    people = page.collection.index.references(row)
    marks = overlaps(tuple(text or "" for _, text in texts), people)
    for place, (system, text) in enumerate(texts):
        title = f"{place + 1}. {system.name}"
        if text is None:
            st.html(looks.heading(title) + looks.quiet(page.label("no_caption")))
            continue
        st.html(looks.caption(title, marks.captions[place], small=True, note=score_note(system, row)))
    if people:
        st.html(looks.references(page.label("human"), marks.references))


def score_note(system: System, row: int) -> str:
    """The picture's scores in a line."""
    return " · ".join(f"{METRIC_TITLES[name]} {value:.3f}" for name, value in system.scores(row).items())


def vote_buttons(page: Page, image_id: str, after: int | None) -> None:
    """One button a system and one for a tie; a vote leads to the next picture."""
    names = [system.name for system in page.against]
    best = vote_of(image_id, names, page.notes.votes)
    choices: Sequence[tuple[str, str, str]] = [
        *((str(at), page.label("vote_for", number=at), name) for at, name in enumerate(names, start=1)),
        ("0", page.label("tie"), TIE),
    ]
    st.html(looks.heading(page.label("which_is_best")))
    with st.container(key="votes", horizontal=True):
        for key, words, name in choices:
            st.button(
                words,
                key=f"vote-{key}",
                shortcut=key,
                type="primary" if name == best else "secondary",
                on_click=vote,
                args=(page, image_id, name, after),
            )
    st.html(looks.quiet(page.label("votes_in", path=page.notes.folder / "votes.csv")))


def vote(page: Page, image_id: str, best: str, after: int | None) -> None:
    """Keep a vote and go on to the next picture."""
    names = [system.name for system in page.against]
    if write_note(page, lambda: page.notes.vote(image_id, names, best)) and after is not None:
        go(picture=page.collection.index.image_id(after))

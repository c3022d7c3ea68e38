"""One picture: boxes and tags, captions with their alternatives, references, scores."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from app import looks
from app.data import best_tags, filter_rows, neighbours, picture, region_names, select_rows
from app.page import Page, go, live_captions, refuse
from eval.annotations import PredictedCaption
from eval.shown import shown
from features.draw import boxes_svg
from features.images import ImageError
from features.store import Regions, StoreError
from features.tags import Tag

DEFAULT_MIN_SCORE = 0.2
"""Below, a region gives no tag either."""


def picture_page(page: Page, image_id: str) -> None:
    """One picture with all that is known about it."""
    navigation(page, image_id)
    if image_id not in page.collection:
        st.warning(page.label("no_such_picture"))
        return
    try:
        image = picture(page.collection.path(image_id))
    except (ImageError, ValueError) as error:
        refuse(page, "unreadable", str(error))
        return
    live = live_captions(page, [image_id]).get(image_id) if page.system is None else None
    left, right = st.columns([3, 2], gap="large")
    with left:
        st.html(looks.quiet(image_id))
        regions, names = (live.regions, live.names) if live else regions_of(page, image_id)
        if regions is None:
            st.markdown(looks.figure(image, alt=image_id), unsafe_allow_html=True)
            st.html(
                looks.quiet(page.label("no_regions" if page.collection.store is None else "not_in_regions"))
            )
        else:
            boxes(page, image, image_id, regions, names)
    with right:
        said = live.said if live else page.system.captions.get(image_id) if page.system else None
        captions(page, image_id, said)


def navigation(page: Page, image_id: str) -> None:
    """Back, previous, next; among the pictures that the search found."""
    found = page.collection.search(st.query_params.get("q", ""), page.texts())
    before, after = neighbours(image_id, found)
    with st.container(horizontal=True):
        st.button(
            page.label("back"),
            key="back",
            icon=":material/arrow_back:",
            on_click=go,
            kwargs={"picture": None},
        )
        for key, target in (("previous", before), ("next", after)):
            st.button(
                page.label(key), key=key, disabled=target is None, on_click=go, kwargs={"picture": target}
            )


def regions_of(page: Page, image_id: str) -> tuple[Regions | None, list[Tag]]:
    """A picture's regions and their names from the regions file, where it has them."""
    collection = page.collection
    try:
        regions = collection.regions(image_id)
    except StoreError as error:
        refuse(page, "not_in_regions", str(error))
        return None, []
    if regions is None or collection.store is None:
        return None, []
    return regions, region_names(regions, collection.lexicon, collection.store.vocabulary)


def boxes(page: Page, image: bytes, key: str, regions: Regions, names: Sequence[Tag]) -> None:
    """The picture with its boxes, and what decides which of them are shown."""
    with st.container(horizontal=True, vertical_alignment="center"):
        visible = st.toggle(page.label("show_boxes"), value=True, key="show-boxes")
        least = st.slider(page.label("min_score"), 0.0, 1.0, DEFAULT_MIN_SCORE, 0.05, key="min-score")
    texts = [tag.text for tag in best_tags(names, least)]
    only = st.multiselect(
        page.label("only_tags"),
        texts,
        key=f"tags-{key}",
        format_func=shown,
        placeholder=page.label("all_tags"),
    )
    rows = filter_rows(names, least, only)
    labels = [shown(names[row].text) for row in rows]
    overlay = boxes_svg(select_rows(regions, rows), labels) if visible else ""
    st.markdown(looks.figure(image, alt=key, overlay=overlay), unsafe_allow_html=True)
    if visible:
        st.html(looks.quiet(page.label("boxes_shown", shown=len(rows), total=len(names))))
    st.html(looks.tag_chips(page.label("tags"), best_tags(names, least), none=page.label("no_tags")))


def captions(page: Page, image_id: str, said: PredictedCaption | None) -> None:
    """What the systems and people say of a picture, and the scores."""
    if said is not None:
        st.html(looks.caption(page.label("caption"), said.caption))
        alternatives(page, said)
    else:
        st.html(looks.quiet(page.label("no_caption")))
    others = [
        each for each in page.collection.systems if each is not page.system and image_id in each.captions
    ]
    for other in others:
        st.html(looks.caption(other.name, other.captions[image_id].caption))
    references = page.collection.references.get(image_id, ())
    if references:
        st.html(looks.items(page.label("human"), references))
    scores = {
        each.name: {metric: value for metric, value in found.items() if metric in looks.METRIC_TITLES}
        for each in page.collection.systems
        if (found := each.picture_scores(image_id))
    }
    if scores:
        st.html(looks.scores_table(page.label("scores"), page.label("system"), scores))


def alternatives(page: Page, said: PredictedCaption) -> None:
    """The n best captions with their log-probabilities."""
    if said.alternatives:
        columns = [page.label(key) for key in ("rank", "caption", "score_per_piece", "log_prob")]
        st.html(looks.alternatives_table(page.label("alternatives"), columns, said))
    elif said.log_prob is not None:
        st.html(looks.quiet(f"{page.label('log_prob')}: {said.log_prob:.3f}"))

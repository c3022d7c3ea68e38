"""Charts of the page: `app.figures` in, Vega-Lite out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict

import altair as alt

from app.figures import Bin, Count, Mean
from eval.shown import shown

BRUSH = "brush"
"""Name of the part of an axis that somebody marked."""
HEIGHT = 220
COLOUR = "#1f6feb"
COLOURS = (COLOUR, "#d97706", "#2da44e", "#bf3989", "#8250df", "#57606a")
"""Of runs side by side; they can be told apart in light and dark."""


def histogram(bins: Sequence[Bin], title: str, count: str, step: float = 0.05) -> alt.Chart:
    """Bars over a scale, a part of which can be marked; its numbers are ``step`` apart or more."""
    chart = (
        alt.Chart(alt.InlineData(values=[asdict(each) for each in bins]))
        .mark_rect(color=COLOUR, cornerRadius=1)
        .encode(
            x=alt.X("low:Q", title=title, axis=alt.Axis(tickMinStep=step, grid=False)),
            x2="high:Q",
            y=alt.Y("count:Q", title=count, axis=alt.Axis(tickMinStep=1, format="~s")),
            y2=alt.datum(0),
            tooltip=[alt.Tooltip("low:Q"), alt.Tooltip("high:Q"), alt.Tooltip("count:Q", title=count)],
        )
        .properties(height=HEIGHT)
    )
    return chart.add_params(alt.selection_interval(name=BRUSH, encodings=["x"]))


def bars(counts: Sequence[Count], title: str, count: str) -> alt.Chart:
    """One bar a text, the longest on top."""
    values = [{"text": shown(each.text, 40), "count": each.count} for each in counts]
    return (
        alt.Chart(alt.InlineData(values=values))
        .mark_bar(color=COLOUR, cornerRadius=1)
        .encode(
            y=alt.Y("text:N", sort=None, title=None, axis=alt.Axis(labelLimit=160, labelOverlap=False)),
            x=alt.X("count:Q", title=count, axis=alt.Axis(tickMinStep=1, format="~s")),
            tooltip=[alt.Tooltip("text:N", title=title), alt.Tooltip("count:Q", title=count)],
        )
        .properties(height=alt.Step(22))
    )


def dots(means: Sequence[Mean], x: str, y: str, count: str) -> alt.Chart:
    """A dot a number of boxes, as large as there are pictures."""
    return (
        alt.Chart(alt.InlineData(values=[asdict(each) for each in means]))
        .mark_circle(color=COLOUR, opacity=0.75)
        .encode(
            x=alt.X("value:Q", title=x, axis=alt.Axis(tickMinStep=1)),
            y=alt.Y("mean:Q", title=y),
            size=alt.Size("count:Q", title=count, scale=alt.Scale(range=[30, 400])),
            tooltip=[
                alt.Tooltip("value:Q", title=x),
                alt.Tooltip("mean:Q", title=y, format=".3f"),
                alt.Tooltip("count:Q", title=count),
            ],
        )
        .properties(height=HEIGHT)
    )


def curves(series: Mapping[str, Sequence[tuple[int, float]]], title: str, step: str, run: str) -> alt.Chart:
    """One line a run over its steps."""
    values = [
        {"run": shown(name, 60), "step": at, "value": value}
        for name, points in series.items()
        for at, value in points
    ]
    return (
        alt.Chart(alt.InlineData(values=values))
        .mark_line(point=len(values) < 200)
        .encode(
            x=alt.X("step:Q", title=step),
            y=alt.Y("value:Q", title=title, scale=alt.Scale(zero=False)),
            color=alt.Color(
                "run:N",
                title=None,
                scale=alt.Scale(range=list(COLOURS)),
                legend=alt.Legend(orient="top", labelLimit=240) if len(series) > 1 else None,
            ),
            tooltip=[
                alt.Tooltip("run:N", title=run),
                alt.Tooltip("step:Q", title=step),
                alt.Tooltip("value:Q", title=title, format=".4f"),
            ],
        )
        .properties(height=HEIGHT + 50)
        .interactive(bind_y=False)
    )

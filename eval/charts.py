"""Small charts as inline SVG: numbers in, markup out; no script, no font, no colour of their own.

Colours come from the style sheet of the page: ``s0``, ``s1`` … are the systems in their order, ``human`` the
references, ``axis`` lines and numbers. Words stand beside a chart, not in it, so that they can be translated;
``labelled_by`` names the element that says what the chart shows, for those who cannot see it.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from markupsafe import Markup, escape

if TYPE_CHECKING:
    from eval.significance import Interval

COLOURS = 6
"""Systems beyond take the colours again from the first."""

WIDTH = 320
"""Of a histogram, in the unit of its height; both scale with the page."""
_AXIS = 18
"""Height of the numbers under a histogram."""


def colour_class(index: int) -> str:
    """Class of the system of that index."""
    return f"s{index % COLOURS}"


def bin_counts(values: Sequence[float], low: float, high: float, n_bins: int) -> list[int]:
    """How many values lie in each of ``n_bins`` equal parts of low..high; those outside, in the end parts.

    Raises:
        ValueError: ``high`` is not above ``low``, or ``n_bins`` is below 1.
    """
    if not low < high or n_bins < 1:
        raise ValueError(f"wanted low < high and n_bins >= 1, got {low}, {high}, {n_bins}")
    counts = [0] * n_bins
    for value in values:
        place = math.floor((value - low) / (high - low) * n_bins)
        counts[min(max(place, 0), n_bins - 1)] += 1
    return counts


def nice_limit(value: float) -> float:
    """The next of 1, 2, 2.5 or 5 times a power of ten that is not below a positive number."""
    power = 10.0 ** math.floor(math.log10(value))
    return next(power * step for step in (1, 2, 2.5, 5, 10) if power * step >= value * (1 - 1e-12))


def histogram(
    counts: Sequence[int],
    *,
    low: float,
    high: float,
    top: float,
    height: int,
    css: str,
    labelled_by: str,
    open_end: bool = False,
) -> Markup:
    """Bars over an axis from ``low`` to ``high``.

    Args:
        counts: One a bar.
        low: Left end of the first bar.
        high: Right end of the last.
        top: Count that fills the whole height, so that several charts can share a scale.
        height: Of the drawing, in units of which it is `WIDTH` wide.
        css: Class that colours the bars.
        labelled_by: Id of the element that says what is shown.
        open_end: The last bar holds values above ``high`` too.
    """
    width = WIDTH / len(counts)
    step = (high - low) / len(counts)
    plot = height - _AXIS
    bars = []
    for index, count in enumerate(counts):
        # one picture among thousands is still to be seen
        tall = max(plot * count / top, 1.0) if count else 0.0
        start, end = _number(low + index * step), _number(low + (index + 1) * step)
        title = f"≥ {start}: {count}" if open_end and index == len(counts) - 1 else f"{start}–{end}: {count}"
        bars.append(
            f'<g><title>{title}</title><rect class="catch" x="{index * width:.2f}" y="0" width="{width:.2f}" '
            f'height="{plot}"/><rect class="{css}" x="{index * width + 0.5:.2f}" y="{plot - tall:.2f}" '
            f'width="{width - 1:.2f}" height="{tall:.2f}"/></g>'
        )
    ticks = "".join(
        f'<text x="{share * WIDTH:.0f}" y="{height - 3}" text-anchor="{anchor}">'
        f"{_number(low + share * (high - low))}{'+' if open_end and share == 1 else ''}</text>"
        for share, anchor in ((0, "start"), (0.25, "middle"), (0.5, "middle"), (0.75, "middle"), (1, "end"))
    )
    line = f'<path class="axis" d="M0 {plot}H{WIDTH}"/>'
    return _svg(WIDTH, height, "histogram", "".join(bars) + line + ticks, labelled_by=labelled_by)


def interval_strip(values: Sequence[float], intervals: Sequence["Interval | None"]) -> Markup:
    """One metric of several systems on one scale: a dot each, and a line from end to end of its interval.

    Decoration beside numbers that a table gives in full.
    """
    ends = [end for each in intervals if each for end in (each.low, each.high)]
    low, high = min([*values, *ends]), max([*values, *ends])
    margin = max((high - low) * 0.08, 0.005)  # what the numbers do not show must not look like a difference
    low, high = low - margin, high + margin
    row, width = 11, 150

    def x(value: float) -> str:
        return f"{(value - low) / (high - low) * width:.1f}"

    parts = []
    for index, (value, interval) in enumerate(zip(values, intervals, strict=True)):
        y = row * index + row / 2
        css = colour_class(index)
        if interval:
            parts.append(f'<path class="{css}" d="M{x(interval.low)} {y}H{x(interval.high)}"/>')
        parts.append(f'<circle class="{css}" cx="{x(value)}" cy="{y}" r="3.5"/>')
    return _svg(width, row * len(values), "strip", "".join(parts))


def bar(share: float, css: str) -> Markup:
    """One bar of a table's row, ``share`` (0..1) of the cell's width long. Decoration beside its number."""
    width = 100 * min(max(share, 0.0), 1.0)
    inside = f'<rect class="{css}" x="0" y="0" width="{width:.2f}" height="10"/>'
    return _svg(100, 10, "bar", inside, stretched=True)


def stacked_bar(counts: Sequence[int], css: Sequence[str]) -> Markup:
    """Parts of a whole side by side over the full width. Decoration beside their numbers."""
    total = sum(counts) or 1
    parts, start = [], 0.0
    for count, name in zip(counts, css, strict=True):
        width = 100 * count / total
        parts.append(f'<rect class="{name}" x="{start:.3f}" y="0" width="{width:.3f}" height="10"/>')
        start += width
    return _svg(100, 10, "bar", "".join(parts), stretched=True)


def _svg(
    width: float, height: float, css: str, inside: str, *, labelled_by: str = "", stretched: bool = False
) -> Markup:
    """A drawing that scales with the page; without ``labelled_by`` a screen reader passes it over."""
    role = f'role="img" aria-labelledby="{escape(labelled_by)}"' if labelled_by else 'aria-hidden="true"'
    ratio = ' preserveAspectRatio="none"' if stretched else ""
    return Markup(f'<svg class="{css}" viewBox="0 0 {width:g} {height:g}" {role}{ratio}>{inside}</svg>')


def _number(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")

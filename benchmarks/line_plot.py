"""Lines over time as SVG, without a plotting library: the benchmarks' figures need no more."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 800, 400
LEFT, RIGHT, TOP, BOTTOM = 70, 20, 40, 50


@dataclass(frozen=True, kw_only=True)
class Line:
    """Points (x, y), both 0 or more."""

    label: str
    points: Sequence[tuple[float, float]]
    colour: str


def line_plot(title: str, x_name: str, y_name: str, lines: Sequence[Line]) -> str:
    """The lines on common axes that begin at 0, with a legend."""
    points = [point for line in lines for point in line.points]
    x_ticks, y_ticks = (_ticks(max(values)) for values in zip(*points, strict=True))

    def place(x: float, y: float) -> tuple[float, float]:
        return (
            LEFT + x / x_ticks[-1] * (WIDTH - LEFT - RIGHT),
            HEIGHT - BOTTOM - y / y_ticks[-1] * (HEIGHT - TOP - BOTTOM),
        )

    def drawn() -> Iterator[str]:
        yield f'<text x="{WIDTH / 2}" y="24" text-anchor="middle" font-size="16">{escape(title)}</text>'
        for x in x_ticks:
            at, _ = place(x, 0)
            yield f'<text x="{at:.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{x:g}</text>'
        for y in y_ticks:
            _, at = place(0, y)
            yield f'<path d="M{LEFT} {at:.1f}H{WIDTH - RIGHT}" stroke="#ccc"/>'
            yield f'<text x="{LEFT - 8}" y="{at + 4:.1f}" text-anchor="end">{y:g}</text>'
        yield f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 12}" text-anchor="end">{escape(x_name)}</text>'
        yield f'<text x="{LEFT - 8}" y="{TOP - 12}" text-anchor="end">{escape(y_name)}</text>'
        for number, line in reversed(list(enumerate(lines))):  # the first lies on top
            path = " ".join("{:.1f},{:.1f}".format(*place(*point)) for point in line.points)
            yield f'<polyline points="{path}" fill="none" stroke="{line.colour}" stroke-width="1.5"/>'
            at = HEIGHT - BOTTOM - 16 * (len(lines) - number) + 4
            yield f'<path d="M{WIDTH - 240} {at - 4}h20" stroke="{line.colour}" stroke-width="3"/>'
            yield f'<text x="{WIDTH - 214}" y="{at}">{escape(line.label)}</text>'

    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-size="12" '
            'font-family="sans-serif">',
            '<rect width="100%" height="100%" fill="white"/>',
            *drawn(),
            "</svg>\n",
        ]
    )


def _ticks(largest: float) -> list[float]:
    """0 to at least ``largest`` in four to ten steps of 1, 2 or 5 times a power of ten."""
    power = 10 ** math.floor(math.log10(max(largest, 1e-9) / 4))
    step = next(factor * power for factor in (1, 2, 5, 10) if largest / (factor * power) <= 10)
    return [number * step for number in range(math.ceil(largest / step) + 1)]

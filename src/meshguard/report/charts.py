"""Pictures as SVG that stands in the page: no script, no font and no file from elsewhere; told apart without colour."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence

from meshguard.report.document import Moment, Picture, clock

_DASHES = ("", "8,4", "2,3", "10,3,2,3", "5,2", "1,4")
_DRAWN = ("solid", "dashed", "dotted", "dash-dot", "short dashes", "fine dots")
"""The dashes in words: a legend shows colours only."""
_COLOURS = ("#0b5394", "#b45f06", "#38761d", "#741b47", "#444444", "#990000")
_MARKS = {"fault": "fault", "glass": "break-glass", "back": "back in the mesh"}
_WIDTH, _HEIGHT = 900, 380
_MOST_POINTS = 420
_COLUMNS = 2
_MOST_LABELS = 8


def draw(picture: Picture, moments: Sequence[Moment], begins: str) -> str:
    """Draw a picture with the moments that are marked in it."""
    import pygal
    from pygal.style import Style

    highest = max((y for line in picture.lines for _, y in line.points), default=1.0) or 1.0
    lowest = min((y for line in picture.lines for _, y in line.points if y > 0), default=0.1)
    marks = [moment for moment in moments if moment.mark in _MARKS]
    style = Style(
        background="#ffffff",
        plot_background="#ffffff",
        foreground="#222222",
        foreground_strong="#000000",
        foreground_subtle="#999999",
        colors=(*_COLOURS[: len(picture.lines)], *("#000000" for _ in marks)),
        font_family="system-ui, sans-serif",
        label_font_size=14,
        major_label_font_size=14,
        legend_font_size=15,
        value_font_size=12,
        opacity=1,
        guide_stroke_color="#dddddd",
        major_guide_stroke_color="#dddddd",
    )
    chart = pygal.XY(
        width=_WIDTH,
        height=_HEIGHT + 24 * -(-(len(picture.lines) + len(marks)) // _COLUMNS),
        style=style,
        js=[],
        dots_size=0,
        show_dots=False,
        stroke=True,
        legend_at_bottom=True,
        legend_at_bottom_columns=_COLUMNS,
        show_x_guides=False,
        truncate_legend=-1,
        x_value_formatter=lambda at: clock(begins, at)[:5],
        value_formatter=lambda value: _told(10**value if picture.logarithmic else value),
        y_title=picture.unit,
        margin=12,
        margin_bottom=30 + 24 * -(-(len(picture.lines) + len(marks)) // _COLUMNS),
        x_labels=_hours(picture, begins),
        y_labels=_decades(lowest, highest) if picture.logarithmic else None,
        no_prefix=False,
        include_x_axis=not picture.logarithmic,
        print_values=False,
        disable_xml_declaration=True,
    )
    # The library's own logarithmic axis would bend time as well.
    scale: Callable[[float], float] = (lambda y: math.log10(max(y, lowest))) if picture.logarithmic else float
    for number, line in enumerate(picture.lines):
        dash = _DASHES[number % len(_DASHES)]
        points = [(x, scale(y)) for x, y in _thinned(line.points)]
        named = f"{line.title} ({_DRAWN[number % len(_DRAWN)]})" if len(picture.lines) > 1 else line.title
        chart.add(named, points, stroke_style={"width": 2, **({"dasharray": dash} if dash else {})})
    for moment in marks:
        word = f"{_MARKS[moment.mark]} {clock(begins, moment.at)[:5]}"
        floor = lowest if picture.logarithmic else 0.0
        dash = {"fault": "2,2", "glass": "12,3", "back": "1,6"}[moment.mark]
        chart.add(
            word, [(moment.at, scale(floor)), (moment.at, scale(highest))], stroke_style={"width": 2, "dasharray": dash}
        )
    return _clean(chart.render(is_unicode=True), picture)


def _told(value: float) -> str:
    return f"{value:,.3g}" if value < 10 else f"{value:,.0f}"


def _hours(picture: Picture, begins: str) -> list[float]:
    """Round times of day, not more than fit."""
    last = max((x for line in picture.lines for x, _ in line.points), default=0.0)
    first = min((x for line in picture.lines for x, _ in line.points), default=0.0)
    step = next((s for s in (5, 10, 30, 60, 300, 600, 1800, 3600) if (last - first) / s <= _MOST_LABELS), 7200)
    offset = sum(int(n) * w for n, w in zip(clock(begins, 0).split(":"), (3600, 60, 1), strict=False)) if begins else 0
    start = -(-(first + offset) // step) * step - offset
    return [start + step * number for number in range(_MOST_LABELS + 2) if start + step * number <= last]


def _decades(lowest: float, highest: float) -> list[float]:
    """Powers of ten around the values, as their exponents."""
    return [float(power) for power in range(math.floor(math.log10(lowest)), math.ceil(math.log10(highest)) + 1)]


def _thinned(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """No more points than can be seen; of each stretch the highest stays, since peaks are what is looked for."""
    if len(points) <= _MOST_POINTS:
        return list(points)
    step = -(-len(points) // _MOST_POINTS)
    return [max(points[at : at + step], key=lambda point: point[1]) for at in range(0, len(points), step)]


def _clean(svg: str, picture: Picture) -> str:
    """Without scripts, and with words for who cannot see it."""
    svg = re.sub(r"<script.*?(/>|</script>)", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<\?xml.*?\?>", "", svg)
    svg = re.sub(r"<!--.*?-->", "", svg, flags=re.DOTALL)
    words = f"{picture.title}. {picture.sentence}".replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
    return svg.replace("<svg ", f'<svg role="img" aria-label="{words}" ', 1)

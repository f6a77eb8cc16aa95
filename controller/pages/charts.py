"""Plots as inline SVG: lines told apart by dashes, marks and names, and by colour only besides."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from xml.etree.ElementTree import Element

from controller.pages.page import element

WIDTH, HEIGHT = 560, 240
LEFT, RIGHT, TOP, BOTTOM = 80, 12, 30, 26
TICKS = 4
"""Parts that the upward axis is cut into, at most."""
APART = 62
"""Least room for a label of the other axis."""
DASHES = ("", "6 3", "2 3", "8 3 2 3")
COLOURS = ("a", "b", "c", "d")
LEGEND = 125
MARKS_FOR = 60
"""With more points than this, marks would only hide the line."""


@dataclass(frozen=True, kw_only=True)
class Point:
    """One value, and the interval that it is known by, where it has one."""

    at: float
    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, kw_only=True)
class Series:
    """One line of a plot."""

    name: str
    points: Sequence[Point]
    stepped: bool = False
    """A value holds until the next one."""


@dataclass(frozen=True)
class _Scale:
    """From values to places in the drawing."""

    first: float
    last: float
    top: float

    def x(self, at: float) -> float:
        share = (at - self.first) / (self.last - self.first) if self.last > self.first else 0.5
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        return HEIGHT - BOTTOM - min(1.0, value / self.top) * (HEIGHT - TOP - BOTTOM)


def plot(  # noqa: PLR0913 - its axes
    title: str,
    series: Sequence[Series],
    *,
    across: Callable[[float], str],
    upwards: Callable[[float], str],
    most: float | None = None,
    ticks: Sequence[float] = (),
    titled: bool = False,
) -> Element:
    """Lines over one axis, from zero up to `most`, or to a round number above all values.

    An interval that reaches beyond is cut off there.

    `across` and `upwards` write what stands at the two axes: at `ticks` across, or, where there are
    none, at the points. `titled`: the heading above it says
    the same as its title, which is not shown then.
    """
    points = [one for line in series for one in line.points]
    drawing = element(
        "svg",
        element("title", title),
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        role="img",
        aria_label=title,
        font_size="11",
    )
    if not points:
        drawing.append(_text(LEFT, HEIGHT / 2, "nothing was counted"))
        return _figure(drawing, None if titled else title)
    step, top = _round(most if most is not None else _highest(points))
    places = [one.at for one in points]
    marked = [at for at in ticks if min(places) <= at <= max(places)]
    scale = _Scale(min(places), max(places), top)
    drawing.extend(_upward(scale, step, upwards))
    drawing.extend(_across(scale, marked or sorted(set(places)), across))
    for number, line in enumerate(series):
        drawing.append(_line(scale, line, number))
        drawing.extend(_key(line, number))
    return _figure(drawing, None if titled else title)


def _highest(points: Sequence[Point]) -> float:
    """All values, and the intervals that are like most of them: of few requests one may be huge."""
    usual = [one.high for one in points if one.high is not None]
    return max([*(one.value for one in points), *([median(usual)] if usual else [])])


def _figure(drawing: Element, title: str | None) -> Element:
    return element("figure", element("figcaption", title) if title else None, drawing)


def _round(highest: float) -> tuple[float, float]:
    """Between two marks of the axis, and its end."""
    if highest <= 0:
        return 1.0, 1.0
    size = 10 ** math.floor(math.log10(highest / TICKS))
    step = next(
        each * size for each in (1, 2, 2.5, 5, 10) if each * size * TICKS >= highest * (1 - 1e-9)
    )
    return step, step * math.ceil(highest / step - 1e-9)


def _upward(scale: _Scale, step: float, words: Callable[[float], str]) -> list[Element]:
    found: list[Element] = []
    for number in range(round(scale.top / step) + 1):
        y = scale.y(number * step)
        line = {"x1": LEFT, "x2": WIDTH - RIGHT, "y1": _short(y), "y2": _short(y)}
        found.append(element("line", stroke="currentColor", stroke_opacity="0.2", **line))
        found.append(_text(LEFT - 6, y + 4, words(number * step), anchor="end"))
    return found


def _across(scale: _Scale, places: list[float], words: Callable[[float], str]) -> list[Element]:
    """Labels below, as many of the places as have room."""
    found: list[Element] = []
    free, last = -math.inf, ""
    for at in places:
        x, told = scale.x(at), words(at)
        anchor = "start" if x < LEFT + APART / 2 else "end" if x > WIDTH - APART / 2 else "middle"
        # One that ends at its place takes all of its room before it.
        if x - free < APART * (1.4 if anchor == "end" else 1) or told == last:
            continue
        last = told
        found.append(_text(x, HEIGHT - 8, told, anchor=anchor))
        free = x + (APART / 2 if anchor == "start" else 0)
    return found


def _line(scale: _Scale, line: Series, number: int) -> Element:
    dash, colour = DASHES[number % len(DASHES)], COLOURS[number % len(COLOURS)]
    made = element("g", element("title", line.name), class_=colour, stroke="currentColor")
    path: list[str] = []
    for index, one in enumerate(line.points):
        x, y = _short(scale.x(one.at)), _short(scale.y(one.value))
        if not index:
            path.append(f"M{x} {y}")
        else:
            path.append(f"H{x}V{y}" if line.stepped else f"L{x} {y}")
        if one.low is not None and one.high is not None:
            low, high = _short(scale.y(one.low)), _short(scale.y(one.high))
            # Beside each other, as both versions were often counted at the same times.
            beside = _short(scale.x(one.at) + 2 * number)
            ends = {"x1": beside, "x2": beside, "y1": low, "y2": high}
            made.append(element("line", stroke_opacity="0.5", **ends))
        if len(line.points) <= MARKS_FOR and not line.stepped:
            made.append(_mark(scale.x(one.at), scale.y(one.value), number))
    drawn = {"fill": "none", "stroke_width": "2", **({"stroke_dasharray": dash} if dash else {})}
    made.append(element("path", d="".join(path), **drawn))
    return made


def _mark(x: float, y: float, number: int) -> Element:
    """A full circle, a hollow square, a full triangle or a hollow diamond."""
    kind, size = number % len(DASHES), 3.5
    corners = (
        [],
        [(-1, -1), (1, -1), (1, 1), (-1, 1)],
        [(0, -1.2), (1.1, 0.9), (-1.1, 0.9)],
        [(0, -1.3), (1.3, 0), (0, 1.3), (-1.3, 0)],
    )[kind]
    fill = "none" if kind % 2 else "currentColor"
    if not corners:
        return element("circle", cx=_short(x), cy=_short(y), r=size, fill=fill)
    points = " ".join(f"{_short(x + size * a)},{_short(y + size * b)}" for a, b in corners)
    return element("polygon", points=points, fill=fill)


def _key(line: Series, number: int) -> list[Element]:
    """What a line stands for, above the drawing."""
    x, dash = LEFT + LEGEND * (number % len(DASHES)), DASHES[number % len(DASHES)]
    drawn = {"stroke_width": "2", **({"stroke_dasharray": dash} if dash else {})}
    drawing = element("line", x1=x, x2=x + 26, y1=12, y2=12, **drawn)
    mark = None if line.stepped else _mark(x + 13, 12, number)
    colour = COLOURS[number % len(COLOURS)]
    sample = element("g", drawing, mark, class_=colour, stroke="currentColor")
    return [sample, _text(x + 31, 16, line.name)]


def _text(x: float, y: float, told: str, *, anchor: str = "start") -> Element:
    return element("text", told, x=_short(x), y=_short(y), text_anchor=anchor, fill="currentColor")


def _short(number: float) -> str:
    return f"{number:.1f}".removesuffix(".0")

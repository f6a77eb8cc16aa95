"""HTML pages that bring all they need: no outside resource, and nothing that is not escaped.

Pages are trees of elements, so that what others wrote can only ever become text. The one style
sheet, and the daemon's one script, are allowed by their hashes; where a stricter policy forbids
them too, the page is as readable without. Light or dark is the reader's choice, and no meaning
rests on colour alone.
"""

import base64
import hashlib
import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from urllib.parse import quote
from xml.etree.ElementTree import Element, tostring

from controller.pages.live import RELOAD_S, SCRIPT
from controller.record.redaction import printable
from controller.settings import SettingsError

Child = Element | str | None
Cell = Element | str

STYLE = """
:root { color-scheme: light dark; --a: #0b5cad; --b: #a34700; --c: #1d7044; --d: #7a3e9d;
  --faint: color-mix(in srgb, currentColor 22%, transparent);
  --tint: color-mix(in srgb, currentColor 6%, transparent); --good: #1d7044; --warn: #8a5a00;
  --wrong: #b3261e; }
@media (prefers-color-scheme: dark) {
  :root { --a: #7db8ff; --b: #ffb072; --c: #7ed6a5; --d: #d3a6f2; --good: #7ed6a5; --warn: #f2c14e;
    --wrong: #ff9c94; }
}
* { box-sizing: border-box; }
body { font: 1rem/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 72rem; padding: 1rem;
  overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: .5rem 0 1rem; }
h2 { font-size: 1.2rem; margin: 2.25rem 0 .5rem; padding-top: .5rem;
  border-top: 1px solid var(--faint); }
h3 { font-size: 1rem; margin: 1.5rem 0 .25rem; }
p { margin: .5rem 0; max-width: 46rem; }
a { color: var(--a); } a:focus-visible, [tabindex]:focus-visible { outline: 2px solid var(--a);
  outline-offset: 2px; }
.wide { overflow-x: auto; overflow-wrap: break-word; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
caption { text-align: start; padding-bottom: .3rem; opacity: .8; }
th, td { border-bottom: 1px solid var(--faint); padding: .3rem 1rem .3rem 0; text-align: start;
  vertical-align: top; }
th:last-child, td:last-child { padding-inline-end: 0; }
thead th { font-size: .875rem; vertical-align: bottom; overflow-wrap: normal; }
tbody th { font-weight: 600; }
th.number, td.number { text-align: end; } td.number { white-space: nowrap; }
.time, .whole { white-space: nowrap; } tbody th .time { font-weight: 400; }
dl { display: grid; grid-template-columns: fit-content(8rem) 1fr; gap: .2rem 1rem;
  margin: .5rem 0; }
dt { font-weight: 600; } dd { margin: 0; max-width: 46rem; }
figure { margin: .75rem 0; } figcaption { opacity: .8; }
svg { display: block; width: 100%; height: auto; max-width: 48rem; }
svg text { font-family: system-ui, sans-serif; }
.note { opacity: .8; }
.unseen { position: absolute; width: 1px; height: 1px; overflow: hidden; white-space: nowrap;
  clip-path: inset(50%); }
.bad { border-inline-start: .3rem solid var(--wrong); padding-inline-start: 1rem; }
section.bad > h2 { border-top: 0; }
.state { border: 1px solid var(--faint); border-radius: .3rem; padding: 0 .35rem; font-weight: 600;
  white-space: nowrap; }
.state.going { border: 2px dashed var(--a); } .state.good { border: 2px solid var(--good); }
.state.wrong { border: 4px double var(--wrong); }
.top { display: flex; flex-wrap: wrap; justify-content: space-between; gap: .2rem 1.5rem;
  font-size: .875rem; }
.top p { margin: 0; }
#stale { border: 3px double var(--wrong); padding: .25rem .75rem; position: sticky; top: 0;
  background: Canvas; z-index: 1; }
.stale main { opacity: .6; }
.dense tbody th { white-space: nowrap; }
.journal td, .glance { overflow-wrap: anywhere; }
.short { display: -webkit-box; -webkit-box-orient: vertical; -webkit-line-clamp: 4;
  overflow: hidden; }
.a { color: var(--a); stroke: var(--a); } .b { color: var(--b); stroke: var(--b); }
.c { color: var(--c); stroke: var(--c); } .d { color: var(--d); stroke: var(--d); }
@media (min-width: 44.01rem) {
  .journal th:first-child { width: 10.5rem; } .journal th:nth-child(2) { width: 28%; }
  .glance { table-layout: fixed; } .glance th, .glance td { padding-inline-end: .5rem; }
  .glance th:first-child { width: 18%; } .glance th:nth-child(2) { width: 18%; }
  .glance th:nth-child(3) { width: 8.5%; } .glance th:nth-child(4) { width: 15.5%; }
  .glance .time { white-space: normal; } .glance .number { padding-inline-end: 1rem; }
}
@media (min-width: 44.01rem) and (max-width: 64rem) {
  .dense { font-size: .8125rem; } .dense th, .dense td { padding-inline-end: .5rem; }
  .dense thead th { font-size: inherit; }
}
@media (max-width: 44rem) {
  body { padding: .75rem; }
  svg text { font-size: 16px; }
  th, td { padding-inline-end: .5rem; } .narrow { font-size: .9375rem; }
  .stack, .stack tbody, .stack tr, .stack th, .stack td, .stack caption { display: block; }
  .stack thead { position: absolute; clip-path: inset(50%); width: 1px; height: 1px;
    overflow: hidden; }
  .stack tr { border-bottom: 1px solid var(--faint); padding: .5rem 0; }
  .stack th, .stack td { border: 0; padding: .05rem 0; }
  .stack th.number, .stack td.number { text-align: start; white-space: normal; }
  .stack td[data-label]::before { content: attr(data-label) ": "; opacity: .75; }
  .rates tr { display: grid; grid-template-columns: 1fr 1fr; column-gap: .75rem; }
  .rates th { grid-column: 1 / 3; } .rates td:not(:nth-child(3n))::before { display: block; }
  .rates td:nth-child(3) { grid-area: 3 / 1; } .rates td:nth-child(4) { grid-area: 4 / 1; }
  .rates td:nth-child(5) { grid-area: 2 / 2; } .rates td:nth-child(6) { grid-area: 3 / 2; }
  .rates td:nth-child(7) { grid-area: 4 / 2; }
  .journal td:nth-child(2) { font-weight: 600; }
  .journal td::before, .glance td:last-child::before { display: none; }
  .stack td:empty { display: none; }
}
@media (max-width: 22rem) {
  .narrow { font-size: .8125rem; } .narrow th, .narrow td { padding-inline-end: .3rem; }
  .narrow thead th { font-size: inherit; }
}
@media print { .top, #stale { display: none; } }
"""
_FIGURE = re.compile(
    r"(?:-|[\d.,]+(?: (?:%|pp|ms|s|min|h|d|answers))?(?: (?:of|to) [\d.,]+(?: %)?)?)\Z"
)
"""A cell that is one figure, or two of a kind: those stand to the right."""


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


POLICY = f"default-src 'none'; style-src {_hash(STYLE)}; base-uri 'none'; form-action 'none'"
"""What a page may do: be shown."""
LIVE_POLICY = f"{POLICY}; script-src {_hash(SCRIPT)}; connect-src 'self'"
"""What a page of the daemon may do besides: ask for itself again."""


def element(tag: str, *children: Child, **attributes: object) -> Element:
    """An element; `class_` is its class, and a dash in an attribute is written `_`."""
    made = Element(tag)
    for name, value in attributes.items():
        made.set(name.rstrip("_").replace("_", "-"), printable(str(value)))
    for child in children:
        if isinstance(child, str):
            _write(made, printable(child))
        elif child is not None:
            made.append(child)
    return made


def _write(into: Element, text: str) -> None:
    """Put text after what is there already."""
    if len(into):
        into[-1].tail = (into[-1].tail or "") + text
    else:
        into.text = (into.text or "") + text


def pairs(rows: Iterable[tuple[str, Child]]) -> Element:
    """Names and what they stand for; what is empty is left out."""
    made = element("dl")
    for name, told in rows:
        if told is not None and told != "":
            made.extend((element("dt", name), element("dd", told)))
    return made


def moment(at: datetime, *, day: bool = True) -> Element:
    """A time for people and for programs."""
    told = f"{at:%Y-%m-%d %H:%M:%S}" if day else f"{at:%H:%M:%S}"
    return element("time", told, datetime=f"{at:%Y-%m-%dT%H:%M:%SZ}", class_="time")


def table(
    caption: str,
    headings: Sequence[str],
    rows: Iterable[Sequence[Cell]],
    *,
    titled: bool = False,
    kind: str = "stack",
) -> Element:
    """A table; figures stand to the right. Where the screen is narrow, a row is a block of lines.

    `titled`: the heading above it says the same as its caption, which is for screen readers then.
    `kind`: classes; without `stack` it stays a table, and scrolls by itself where it must.
    """
    known = [tuple(row) for row in rows]
    figures = [
        bool(known) and all(isinstance(one, str) and _FIGURE.match(one) for one in column)
        for column in zip(*known, strict=True)
    ] or [False] * len(headings)
    head = element(
        "tr",
        *(
            element("th", one, scope="col", role="columnheader", **_right(figure))
            for one, figure in zip(headings, figures, strict=True)
        ),
        role="row",
    )
    body = element("tbody", *(_row(row, headings, figures) for row in known), role="rowgroup")
    made = element(
        "table",
        element("caption", caption, **({"class_": "unseen"} if titled else {})),
        element("thead", head, role="rowgroup"),
        body,
        # Said again, as rows that become blocks would lose it.
        role="table",
        class_=kind,
    )
    return element("div", made, class_="wide", tabindex="0", role="region", aria_label=caption)


def _right(figure: bool) -> dict[str, str]:  # noqa: FBT001 - of a column
    return {"class_": "number"} if figure else {}


def _row(cells: Sequence[Cell], headings: Sequence[str], figures: Sequence[bool]) -> Element:
    first, *rest = cells
    labelled = zip(rest, headings[1:], figures[1:], strict=True)
    return element(
        "tr",
        element("th", first, scope="row", role="rowheader", **_right(figures[0])),
        *(
            element("td", told, role="cell", data_label=label, **_right(figure))
            for told, label, figure in labelled
        ),
        role="row",
    )


def link(told: str, *names: str, before: str = "") -> Element:
    """A link within the daemon's pages; relative, as a proxy may serve them under any path."""
    path = "/".join(quote(one, safe="", errors="replace") for one in names)
    return element("a", told, href=f"{before}{path}")


def section(title: str, *children: Child) -> Element:
    """A part of a page with its heading."""
    return element("section", element("h2", title), *children)


def page(title: str, *children: Child) -> str:
    """A whole document, to be kept as a file."""
    return _document(title, POLICY, element("main", element("h1", title), *children))


def live_page(title: str, way: Child, at: datetime, *children: Child) -> str:
    """A whole document of the daemon, which keeps itself up to date; `way` leads to its others."""
    heard = element("p", "As of ", moment(at), " UTC", id="heard")
    stale = element("div", element("p", ""), id="stale", role="alert", hidden="hidden")
    script = Element("script")
    script.text = SCRIPT
    header = element("header", element("nav", way, aria_label="Where you are"), heard)
    header.set("class", "top")
    main = element("main", element("h1", title), *children)
    again = element("meta", http_equiv="refresh", content=str(RELOAD_S))
    return _document(
        title, LIVE_POLICY, header, stale, main, script, again=element("noscript", again)
    )


def _document(title: str, policy: str, *body: Element, again: Element | None = None) -> str:
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        again,
        element("title", title),
    )
    # Our own text, whose line ends are to stay: what goes through `element` has none.
    style = Element("style")
    style.text = STYLE
    head.append(style)
    document = element("html", head, element("body", *body), lang="en")
    return f"<!DOCTYPE html>\n{tostring(document, encoding='unicode', method='html')}\n"


def write(path: Path, document: str) -> None:
    """Write a page, or say why it cannot be written."""
    try:
        path.write_text(document, encoding="utf-8")
    except OSError as error:
        raise SettingsError(f"{path}: cannot be written: {error.strerror}") from error

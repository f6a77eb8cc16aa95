"""One self-contained HTML page: no script, no outside resource, and nothing that is not escaped.

Pages are trees of elements, so that what others wrote can only ever become text. The one style
sheet is allowed by its hash; where a stricter policy forbids that too, the page is as readable
without it. Light or dark is the reader's choice, and no meaning rests on colour alone.
"""

import base64
import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from xml.etree.ElementTree import Element, tostring

from controller.record.redaction import printable
from controller.settings import SettingsError

Child = Element | str | None

STYLE = """
:root { color-scheme: light dark; --a: #0b5cad; --b: #a34700; --c: #1d7044; --d: #7a3e9d; }
@media (prefers-color-scheme: dark) {
  :root { --a: #7db8ff; --b: #ffb072; --c: #7ed6a5; --d: #d3a6f2; }
}
body {
  font: 1rem/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 56rem; padding: 1rem;
  overflow-wrap: anywhere;
}
h1 { font-size: 1.5rem; } h2 { font-size: 1.2rem; margin-top: 2rem; } h3 { font-size: 1rem; }
.wide { overflow-x: auto; overflow-wrap: normal; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
caption { text-align: start; padding-bottom: .3rem; }
th, td { border-bottom: 1px solid color-mix(in srgb, currentColor 25%, transparent);
  padding: .25rem .75rem .25rem 0; text-align: start; vertical-align: top; }
.number { text-align: end; white-space: nowrap; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem; }
dt { font-weight: 600; } dd { margin: 0; }
figure { margin: 1rem 0; overflow-x: auto; }
svg { display: block; width: 100%; height: auto; min-width: 34rem; max-width: 44rem; }
svg text { font-family: system-ui, sans-serif; }
.note { opacity: .8; }
.bad { border-inline-start: .3rem solid currentColor; padding-inline-start: 1rem; }
.a { stroke: var(--a); } .b { stroke: var(--b); } .c { stroke: var(--c); } .d { stroke: var(--d); }
@media (max-width: 30rem) { dl { grid-template-columns: 1fr; } dd { margin-bottom: .5rem; } }
"""
POLICY = "default-src 'none'; style-src 'sha256-{}'; base-uri 'none'; form-action 'none'"


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


def pairs(rows: Iterable[tuple[str, str]]) -> Element:
    """Names and what they stand for; what is empty is left out."""
    made = element("dl")
    for name, told in rows:
        if told:
            made.extend((element("dt", name), element("dd", told)))
    return made


def table(caption: str, headings: Sequence[str], rows: Iterable[Sequence[str]]) -> Element:
    """A table that scrolls by itself where the screen is narrow; figures stand to the right."""
    head = element("tr", *(element("th", one, scope="col") for one in headings))
    body = element("tbody", *(_row(row) for row in rows))
    made = element("table", element("caption", caption), element("thead", head), body)
    return element("div", made, class_="wide", tabindex="0", role="region", aria_label=caption)


def _row(cells: Sequence[str]) -> Element:
    first, *rest = cells
    return element("tr", element("th", first, scope="row"), *(_cell(one) for one in rest))


def _cell(told: str) -> Element:
    figure = told[:1].isdigit() or told == "-"
    return element("td", told, class_="number") if figure else element("td", told)


def section(title: str, *children: Child) -> Element:
    """A part of a page with its heading."""
    return element("section", element("h2", title), *children)


def page(title: str, *children: Child) -> str:
    """The whole document."""
    digest = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=POLICY.format(digest)),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", title),
    )
    # Our own text, whose line ends are to stay: what goes through `element` has none.
    style = Element("style")
    style.text = STYLE
    head.append(style)
    body = element("body", element("main", element("h1", title), *children))
    document = element("html", head, body, lang="en")
    return f"<!DOCTYPE html>\n{tostring(document, encoding='unicode', method='html')}\n"


def write(path: Path, document: str) -> None:
    """Write a page, or say why it cannot be written."""
    try:
        path.write_text(document, encoding="utf-8")
    except OSError as error:
        raise SettingsError(f"{path}: cannot be written: {error.strerror}") from error

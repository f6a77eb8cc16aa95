"""An HTML page as a strict reader sees it: what it shows, and what it would have to fetch."""

import base64
import hashlib
import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Self

VOID = {"meta", "br", "hr", "img", "input", "link", "base"}
OUTSIDE = {"src", "href", "xlink:href", "srcset", "action", "formaction", "data", "poster"}
ACTIVE = {"script", "iframe", "object", "embed", "link", "base", "form", "img", "foreignobject"}
WITHIN = re.compile(r"(?:\.\./)*[A-Za-z0-9%_.~/-]*\Z")
"""A link to another page of the same daemon: one that names no scheme and no host."""


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


@dataclass
class Page(HTMLParser):
    """One page, read to its end."""

    open_: list[str] = field(default_factory=list)
    titles: list[str] = field(default_factory=list)
    """The headings, in order."""
    rows: list[list[str]] = field(default_factory=list)
    """The cells of every row of every table."""
    plots: list[str] = field(default_factory=list)
    """The words of every drawing."""
    said: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    style: str = ""
    script: str = ""
    policy: str = ""
    live: bool = False
    """It is the daemon's: it may have the one script that its policy names, and links."""

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)

    @classmethod
    def read(cls, html: str, *, live: bool = False) -> Self:
        """Read a page; AssertionError, if it is not well formed, or not self-contained."""
        page = cls(live=live)
        page.feed(html)
        page.close()
        assert page.open_ == [], page.open_
        assert html.startswith("<!DOCTYPE html>")
        assert "default-src 'none'" in page.policy
        assert f"style-src {_hash(page.style)};" in page.policy
        if live:
            assert f"script-src {_hash(page.script)};" in page.policy
        assert not re.search(r"url\(|@import|expression", page.style)
        assert "prefers-color-scheme: dark" in page.style
        return page

    @property
    def text(self) -> str:
        """All that is shown."""
        return " ".join(" ".join(self.said).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take in an element, which must neither act nor fetch."""
        assert tag not in ACTIVE - ({"script"} if self.live else set()), tag
        for name, value in attrs:
            assert not name.startswith("on"), f"{tag} {name} is a script"
            assert name != "style", f"{tag} has a style that a strict policy forbids"
            if self.live and (tag, name) == ("a", "href"):
                assert WITHIN.match(value or ""), value
                self.links.append(value or "")
                continue
            assert name not in OUTSIDE or (value or "").startswith("#"), f"{tag} {name}={value}"
            if tag == "meta" and (name, value) == ("http-equiv", "Content-Security-Policy"):
                self.policy = dict(attrs)["content"] or ""
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
        elif tag == "svg":
            self.plots.append("")
        elif tag in ("h1", "h2", "h3"):
            self.titles.append("")
        if tag not in VOID:
            self.open_.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Close an element: the one that is open."""
        assert self.open_, f"{tag} was never opened"
        assert self.open_.pop() == tag

    def handle_data(self, data: str) -> None:
        """Take in what is shown, where it is shown."""
        if "style" in self.open_:
            self.style += data
            return
        if "script" in self.open_:
            self.script += data
            return
        self.said.append(data)
        if "svg" in self.open_:
            self.plots[-1] += f"{data} "
        elif "td" in self.open_ or "th" in self.open_:
            self.rows[-1][-1] += data
        elif self.open_ and self.open_[-1] in ("h1", "h2", "h3"):
            self.titles[-1] += data

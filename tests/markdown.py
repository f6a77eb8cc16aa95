"""The project's pages: their blocks with what is said of each, their headings, and their links."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Self

ROOT = Path(__file__).parents[1]
FENCE = re.compile(
    r"^(?P<before>[^\n]*)\n```(?P<kind>\w*)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE
)
MARK = re.compile(r"<!-- (?P<how>run|shown): (?P<what>[^>]+?) -->")
LINK = re.compile(r"\[(?P<words>[^]]+)\]\((?!\w+:)(?P<path>[^)#]*)(?:#(?P<name>[^)]+))?\)")
MADE = ("deploy/reference",)
"""Folders whose pages a command makes."""


@dataclass(frozen=True)
class Block:
    """A fenced block."""

    kind: str
    text: str
    before: str
    """The line before it, which has to say whether it runs."""

    @property
    def how(self) -> str | None:
        """`run` or `shown`; None where nothing is said."""
        mark = MARK.fullmatch(self.before)
        return mark["how"] if mark else None

    @property
    def what(self) -> str:
        """What it runs as, or why it is only shown; empty where nothing is said."""
        mark = MARK.fullmatch(self.before)
        return mark["what"] if mark else ""


@dataclass(frozen=True)
class Link:
    """A link within the repository."""

    words: str
    path: Path
    name: str | None
    """What it leads to there: a heading of a page, or a name in a module."""


@dataclass(frozen=True)
class Page:
    """One page of text."""

    path: Path

    @classmethod
    def of(cls, name: str) -> Self:
        """The page of a name like `deploy/logs/README.md`."""
        return cls(ROOT / name)

    @property
    def name(self) -> str:
        return str(self.path.relative_to(ROOT))

    @cached_property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    @cached_property
    def prose(self) -> str:
        """The text without its blocks."""
        return FENCE.sub("", self.text)

    @cached_property
    def blocks(self) -> tuple[Block, ...]:
        return tuple(
            Block(kind=one["kind"], text=one["text"], before=one["before"])
            for one in FENCE.finditer(self.text)
        )

    def block(self, what: str, kind: str) -> str:
        """The text of the one block that runs as this."""
        [found] = [one for one in self.blocks if (one.how, one.what) == ("run", what)]
        assert found.kind == kind
        return found.text

    @cached_property
    def anchors(self) -> frozenset[str]:
        """What a link's `#` may name, as a forge makes it of headings."""
        headings = re.findall(r"^#+ (.+)$", self.prose, re.MULTILINE)
        return frozenset(slug(one) for one in headings)

    def links(self) -> Iterator[Link]:
        """Links to places in the repository."""
        for one in LINK.finditer(self.prose):
            path = (self.path.parent / one["path"]).resolve() if one["path"] else self.path
            yield Link(one["words"], path, one["name"])

    def section(self, heading: str) -> str:
        """What stands under a heading, with all that is below it."""
        hashes = heading.partition(" ")[0]
        _, found, rest = self.text.partition(f"\n{heading}\n")
        assert found, f"{self.name} has no {heading}"
        return re.split(rf"^#{{1,{len(hashes)}}} ", rest, maxsplit=1, flags=re.MULTILINE)[0]


def slug(heading: str) -> str:
    """A heading as the end of a link."""
    words = re.sub(r"[^\w\- ]", "", heading.replace("`", "").lower())
    return words.replace(" ", "-")


def pages() -> list[Page]:
    """Every page that people write."""
    found = [*ROOT.glob("*.md"), *(ROOT / "deploy").rglob("*.md")]
    made = tuple(ROOT / one for one in MADE)
    return [Page(one) for one in sorted(found) if not one.is_relative_to(made[0])]

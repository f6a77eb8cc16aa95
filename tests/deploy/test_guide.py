"""The guide's page for who is on call: every alert, and every reason to hold, has its place."""

import re

import pytest
import yaml

from tests.deploy.reasons import HOLE, sentences
from tests.deploy.test_observability import alerts
from tests.markdown import Page

PAGE = Page.of("deploy/guide/operations.md")
WHY = "## Why it does not go on"
LEADS = ("True", "Look", "Do", "By itself", "Not")
ENDS = {
    "READY, with a signature and its tags": "it is admitted",
    "all … golden queries passed": "it goes on",
    "golden queries have not been asked yet": "they are asked at this look",
    "… of … golden queries failed twice": "it is rolled back",
    "…, and stable answers them: …": "it is rolled back",
    "…: …; asking once more": "it is asked once more",
    "it has no signature: log the model with one and register it anew": "it is refused",
    "its registration failed: register it anew": "it is refused",
    "skipped: it carries the tag …": "it is refused",
    "the first users": "a part: what an approval is of",
}
"""Sentences that are written where holds are, and hold nothing; what comes of them."""
ELSEWHERE = "golden queries of … (the table cannot be used)"
"""A row for what the golden queries' table is told to lack, in words of its reader."""


def rows() -> list[list[str]]:
    """The fragments of sentences in each row of the section's tables."""
    lines = [line for line in PAGE.section(WHY).splitlines() if line.startswith("| ")]
    cells = [re.split(r" \| ", line.removeprefix("| "), maxsplit=1)[0] for line in lines]
    return [cell.split("<br>") for cell in cells if cell not in ("hold", "---")]


def fits(fragment: str, sentence: str) -> bool:
    """Whether a fragment is in a sentence; both have holes."""
    pieces = [re.escape(one.strip()) for one in fragment.split(HOLE)]
    return re.search(".*".join(pieces), sentence) is not None


def test_every_sentence_that_holds_a_release_has_its_place() -> None:
    shown = [fragment for row in rows() for fragment in row]
    missing = [
        one
        for one in sorted(sentences() - ENDS.keys())
        if not any(fits(fragment, one) for fragment in shown)
    ]
    assert missing == []


def test_every_row_is_about_a_sentence_that_there_is() -> None:
    dead = [
        fragment
        for row in rows()
        for fragment in row
        if fragment != ELSEWHERE and not any(fits(fragment, one) for one in sentences())
    ]
    assert dead == []
    assert ENDS.keys() <= sentences()


def test_a_fragment_is_long_enough_to_be_known_by() -> None:
    short = [one for row in rows() for one in row if len(re.findall(r"\w{2,}", one)) < 2]
    assert short == []

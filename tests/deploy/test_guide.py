"""The guide's page for who is on call: every alert, and every reason to hold, has its place."""

import re
from functools import cache

from controller.console.keys import keys
from controller.record.events import EVENTS
from tests.deploy.reasons import HOLE, sentences
from tests.deploy.test_observability import alerts
from tests.markdown import ROOT, Page, slug

PAGE = Page.of("deploy/guide/operations.md")
ALERTS = Page.of("deploy/prometheus/README.md")
NOUNS = {one.partition(".")[0] for one in EVENTS}
"""What the first half of an event's name may be."""
KEYS = {one.place for one in keys()}
FILES = {path.name for path in (ROOT / "controller").rglob("*.py")}
WHY = "## Why it does not go on"
LEADS = ("True", "Look", "Do", "By itself", "Not")
ENDS = {
    "READY, with a signature and its tags": "it is admitted",
    "all … golden queries passed": "it goes on",
    "golden queries pinned as … has them": "they are asked",
    "golden queries have not been asked yet": "they are asked at this look",
    "… of … golden queries failed twice": "it is rolled back",
    "…, and stable answers them": "it is rolled back",
    "…: …; asking once more": "it is asked once more",
    "its registration is …": "it waits, and nothing is held",
    "it has no signature: log the model with one and register it anew": "it is refused",
    "its registration failed: register it anew": "it is refused",
    "skipped: it carries the tag …": "it is refused",
}
"""Sentences that are written where holds are, and hold nothing; what comes of them."""
PARTS = {
    *("failed requests", "headgate.hold", "headgate.skip", "is not there", "names version …"),
    *("staging endpoint …:", "the first users", "… UTC, … after"),
}
"""Pieces of sentences that tell nothing by themselves."""
ELSEWHERE = "golden queries of … (the table cannot be used)"
"""A row for what the golden queries' table is told to lack, in words of its reader."""


def rows() -> list[list[str]]:
    """The fragments of sentences in each row of the section's tables."""
    lines = [line for line in PAGE.section(WHY).splitlines() if line.startswith("| ")]
    cells = [re.split(r" \| ", line.removeprefix("| "), maxsplit=1)[0] for line in lines]
    return [cell.split("<br>") for cell in cells if cell not in ("hold", "---")]


@cache
def fragment_as_pattern(fragment: str) -> re.Pattern[str]:
    return re.compile(".*".join(re.escape(one.strip()) for one in fragment.split(HOLE)))


def fits(fragment: str, sentence: str) -> bool:
    """Whether a fragment is in a sentence; both have holes."""
    return fragment_as_pattern(fragment).search(sentence) is not None


def test_every_sentence_that_holds_a_release_has_its_place() -> None:
    shown = [fragment for row in rows() for fragment in row]
    missing = [
        one
        for one in sorted(sentences() - ENDS.keys() - PARTS)
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
    assert ENDS.keys() | PARTS <= sentences()


def test_every_alert_leads_to_what_it_means_and_what_to_do() -> None:
    for one in alerts():
        name = one["alert"]
        section = " ".join(PAGE.section(f"### {name}").split())
        found = re.findall(r"\*\*([\w ]+):\*\*", section)
        assert found == list(LEADS), name
        assert one["annotations"]["runbook"] == f"{PAGE.name}#{slug(name)}"
        row = f"| [`{name}`](../guide/operations.md#{slug(name)}) | {one['labels']['severity']} |"
        assert row in ALERTS.text, name


def test_no_section_is_about_an_alert_that_is_gone() -> None:
    told = re.findall(r"^### (\w+)$", PAGE.section("## Alerts"), re.MULTILINE)
    assert told == [one["alert"] for one in alerts()]


def test_every_event_and_metric_that_the_guide_names_is_one() -> None:
    for name in ("architecture", "operations"):
        codes = re.findall(r"`([a-z]+\.[a-z_]+)`", Page.of(f"deploy/guide/{name}.md").prose)
        told = {one for one in codes if one.partition(".")[0] in NOUNS and one.count(".") == 1}
        assert told <= EVENTS.keys() | KEYS | FILES, name

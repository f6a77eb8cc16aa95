"""`headgate report APP/VERSION`: one account from store and log, on pages that fetch nothing."""

import json
import random
import sys
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from controller.console.account import Account, account
from controller.console.cli import app
from controller.console.reading import UnreadableLog, fold
from controller.pages.charts import Point, Series, plot
from controller.pages.page import element, page
from controller.pages.release import document
from controller.record.lines import Line
from states.release import Order
from tests.controller.console.test_reading import Recorded
from tests.pages import Page
from tests.states.answers import RICH

APP = "rag-chatbot"
HOSTILE = "</title><script>alert(1)</script><img src=x onerror=alert(1)>&lt;b&gt;\"'\x1b[31m\u202e"


class Told(Recorded):
    """A story that was written down, and is over."""

    url: str
    kept: list[Line]

    def end(self, folder: Path) -> "Told":
        """Close its store, so that others may open it."""
        self.url, self.kept = f"sqlite:///{folder / 'headgate.db'}", list(self.store.journal())
        self.store.close()
        return self


@pytest.fixture(scope="module")
def bad(tmp_path_factory: pytest.TempPathFactory) -> Told:
    """A release that went bad on its second step, and was rolled back."""
    folder = tmp_path_factory.mktemp("bad")
    story = Told(history=RICH)
    story.keep(folder)
    story.look(times=2)
    story.register(2)
    story.until("Canary")
    while story.live.step < 2 or not story.live.spans[-1].settled:
        story.look()
    story.look(times=2)
    story.error_rates["2"] = 0.1
    story.until("RolledBack")
    story.look(times=3)
    return story.end(folder)


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Told]:
    """A story that goes on."""
    story = Told()
    story.keep(tmp_path)
    story.look(times=2)
    story.register(2)
    yield story
    story.store.close()


@pytest.fixture(scope="module")
def log(bad: Told, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("log") / "daemon.log"
    file.write_text("".join(f"{json.dumps(line)}\n" for line in bad.kept))
    return file


def reported(*options: str) -> Result:
    return CliRunner().invoke(app, ["report", *options])


def told(lines: Iterable[Line]) -> Account:
    return account(fold(lines), f"{APP}/2")


def test_the_page_from_the_log_is_the_page_from_the_store(
    bad: Told, log: Path, tmp_path: Path
) -> None:
    pages = [tmp_path / "store.html", tmp_path / "log.html"]
    places = (["--store", bad.url], ["--logs", str(log)])
    results = [
        reported(f"{APP}/2", *place, "--html", str(html))
        for place, html in zip(places, pages, strict=True)
    ]
    assert [one.exit_code for one in results] == [0, 0], results[0].output
    assert results[0].stdout == results[1].stdout
    assert pages[0].read_bytes() == pages[1].read_bytes()
    plain = [reported(f"{APP}/2", *place, "--json").stdout for place in places]
    assert plain[0] == plain[1]


def test_a_log_whose_lines_are_shuffled_and_doubled_gives_the_same_page(bad: Told) -> None:
    lines = list(bad.kept)
    seed = random.randrange(10**6)  # noqa: S311 - no secret
    sys.stdout.write(f"seed {seed}\n")
    chance = random.Random(seed)  # noqa: S311
    shuffled = [*lines, *chance.sample(lines, len(lines) // 2)]
    chance.shuffle(shuffled)
    assert document(told(shuffled)) == document(told(bad.kept))


def test_the_page_is_self_contained_and_tells_the_whole_story(bad: Told) -> None:
    shown = Page.read(document(told(bad.kept)))
    assert shown.titles[0] == f"{APP}/2: RolledBack"
    for title in ("Post-mortem", "Users", "Both versions", "Evidence", "Verdicts", "Timeline"):
        assert title in shown.titles
    assert len(shown.plots) == 4
    assert all("candidate" in plot and "stable" in plot for plot in shown.plots[1:])
    [post_mortem] = [one for one in bad.events if one.name == "release.post_mortem"]
    assert post_mortem.because in shown.text


def test_counts_rates_and_intervals_are_those_of_the_record(bad: Told) -> None:
    [errors] = [one for one in told(bad.kept).guards if one.guard == "errors"]
    blocks = [one for one in bad.application.releases[-1].blocks if one.source == errors.source]
    assert {step for step, _ in errors.steps} == {one.step for one in blocks}
    for step, compared in errors.steps:
        own = [one.candidate for one in blocks if one.step == step]
        rate = compared.candidate
        assert rate is not None
        assert (rate.seen, rate.bad) == (sum(a.requests for a in own), sum(a.errors for a in own))
        assert rate.bad is not None
        assert rate.value == pytest.approx(rate.bad / rate.seen)
        assert 0 <= rate.low <= rate.value <= rate.high <= 1
    row = next(row for row in Page.read(document(told(bad.kept))).rows if row[:1] == ["step 2"])
    second = dict(errors.steps)[2].candidate
    assert second is not None
    assert row[1] == f"{second.bad:,} of {second.seen:,}"


def test_weights_wanted_and_seen_are_told_from_the_first_to_the_last(bad: Told) -> None:
    moments = told(bad.kept).moments
    weights = [one.weight for one in moments]
    assert list(dict.fromkeys(weights)) == [0, 5, 25, 50]
    assert weights[-1] == 0
    seen = [one.weight_seen for one in moments if one.weight_seen is not None]
    assert list(dict.fromkeys(seen)) == [0, 5, 25, 50]
    assert seen[-1] == 0
    late = next(one for one in moments if one.weight == 50)
    assert late.weight_seen == 25, "the world follows what is wanted"
    assert [one.at for one in moments] == sorted(one.at for one in moments)


def test_the_post_mortem_has_the_minute_and_the_numbers_of_the_story(bad: Told) -> None:
    line = told(bad.kept).post_mortem
    assert line is not None
    blocks = [one for one in bad.application.releases[-1].blocks if one.source == line["source"]]
    first = next(one for one in blocks if one.candidate.errors)
    assert datetime.fromisoformat(line["first_bad_from"]) == first.opened_at
    assert line["bad"] == sum(one.candidate.errors for one in blocks)
    assert line["requests"] == sum(one.candidate.requests for one in blocks)
    explained = CliRunner().invoke(app, ["explain", f"{APP}/2", "--store", bad.url])
    assert str(line["because"]) in explained.stdout


def hostile(lines: list[Line]) -> list[Line]:
    """The same lines with a hostile text wherever anybody's words may stand."""
    words = ("because", "hold", "actor", "reason", "state_because", "guard", "application_hold")
    made = []
    for line in lines:
        changed = {name: HOSTILE if name in words else value for name, value in line.items()}
        if line["event"] == "release.post_mortem":
            changed |= {"kinds": [[HOSTILE, 3]], "first_bad_from": HOSTILE}
        if line["event"] == "release.settled":
            changed |= {"event": "release.examples", "request_ids": [HOSTILE]}
        if line["event"] == "endpoint.update":
            changed |= {"weights": {HOSTILE: 5}}
        made.append(changed)
    return made


def test_whatever_stands_in_a_log_becomes_text_and_nothing_else(bad: Told) -> None:
    lines = hostile(list(bad.kept))
    html = document(told(lines))
    shown = Page.read(html)
    assert "<script" not in html
    assert "<img" not in html
    assert "\x1b" not in html
    assert "\u202e" not in html
    assert "<script>alert(1)</script>" in shown.text
    assert "&lt;b&gt;" in shown.text


@pytest.mark.parametrize("name", [HOSTILE, "--></style>", "<svg onload=x>", "a\nb"])
def test_names_are_escaped_in_titles_attributes_plots_and_tables(name: str) -> None:
    series = [Series(name=name, points=[Point(at=0, value=1), Point(at=1, value=2)])]
    drawn = plot(name, series, across=lambda _: name, upwards=lambda _: name)
    shown = Page.read(page(name, element("p", name, title=name), drawn))
    assert shown.titles == [shown.titles[0]]
    assert len(shown.plots) == 1


def test_a_release_that_no_one_met_has_a_page_too(fresh: Told) -> None:
    fresh.golden_fails = frozenset({"2"})
    fresh.until("RolledBack")
    fresh.look(times=3)
    shown = Page.read(document(told(fresh.store.journal())))
    assert "no user met it" in shown.text
    assert "Nothing was counted by version." in shown.text
    assert "No source has counted anything yet." in shown.text


def test_orders_are_told_with_who_gave_them_and_why(fresh: Told) -> None:
    fresh.until("Canary")
    fresh.store.give_order(APP, "2", Order.ABORT, "ada", "the index is stale")
    fresh.look(times=4)
    shown = Page.read(document(told(fresh.store.journal())))
    assert "Orders" in shown.titles
    assert any("ada" in row[1] and "the index is stale" in row[2] for row in shown.rows if row[2:])
    assert "aborted by the operator" in shown.text


def test_a_line_without_a_time_is_named(bad: Told) -> None:
    lines = [dict(line) for line in bad.kept]
    damaged = next(line for line in lines if line["event"] == "evidence.block")
    damaged["timestamp"] = "yesterday"
    with pytest.raises(UnreadableLog, match=f"seq {damaged['seq']} .* has no time"):
        told(lines)


def test_long_releases_are_drawn_with_few_points_that_have_all_the_counts(fresh: Told) -> None:
    fresh.requests_per_look, fresh.error_rates = 20, {"": 0.1, "2": 0.1}
    fresh.until("Canary")
    fresh.look(times=90)
    found = told(fresh.store.journal())
    assert found.sources[0].blocks > 60
    for guard in found.guards:
        drawn = [one.candidate.seen for one in guard.points if one.candidate is not None]
        assert 0 < len(drawn) <= 60
        assert guard.whole.candidate is not None
        assert sum(drawn) == guard.whole.candidate.seen


def test_an_application_alone_needs_its_configuration(log: Path) -> None:
    result = reported(APP, "--logs", str(log))
    assert result.exit_code == 2
    assert f"name a release, as in {APP}/7" in result.stderr
    unknown = reported(f"{APP}/9", "--logs", str(log))
    assert unknown.exit_code == 2
    assert f"there is no release {APP}/9" in unknown.stderr


def test_a_page_that_cannot_be_written_is_named(bad: Told, tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere" / "page.html"
    result = reported(f"{APP}/2", "--store", bad.url, "--html", str(nowhere))
    assert result.exit_code == 2
    assert f"{nowhere}: cannot be written" in result.stderr


def test_lines_of_a_plot_are_told_apart_without_colour() -> None:
    points = [Point(at=0, value=1), Point(at=1, value=2)]
    many = [Series(name=f"version {number}", points=points) for number in range(4)]
    drawn = plot("Rates", many, across=str, upwards=str)
    groups: list[Any] = [one for one in drawn.iter("g") if one.find("path") is not None]
    dashes = {one.find("path").get("stroke-dasharray") for one in groups}
    marks = {tuple(sorted(child.tag for child in one)) for one in groups}
    assert len(dashes) == 4
    assert len(marks) > 1

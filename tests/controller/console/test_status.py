"""What operators see of every condition, from the store and from the log alike."""

import io
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from controller.console import glance, tree
from controller.console.cli import app
from controller.console.glance import Glance, arranged, glances
from controller.console.reading import fold
from controller.console.sources import StoreSource
from controller.console.watching import footer, look
from controller.record import lines
from states.plan import Event
from states.status import Status
from tests.controller.console import scenes
from tests.controller.console.scenes import SCENES, Scene
from tests.controller.console.test_reading import APP, Recorded, rolled_back
from tests.states.story import QUICK

SELECTED: dict[Scene, str] = {
    scenes.registered_and_held: f"{APP}/2",
    rolled_back: f"{APP}/2",
}
"""Scenes whose release is shown only to those who name it."""
SCREENS: dict[str, str] = dict(
    re.findall(
        r"^== (\w+)\n(.*?\n)(?=\n== |\Z)",
        Path(__file__).with_name("screens.txt").read_text(encoding="utf-8"),
        re.DOTALL | re.MULTILINE,
    )
)
GUIDES = re.compile(r"^(?:\|   |`-- |\+-- |    )*")


@pytest.fixture
def story(tmp_path: Path) -> Iterator[Recorded]:
    recorded = Recorded().keep(tmp_path)
    yield recorded
    recorded.store.close()


def screen(told: list[Glance], story: Recorded, *, width: int = 80, terminal: bool = False) -> str:
    paper = io.StringIO()
    console = Console(file=paper, width=width, force_terminal=terminal, highlight=False)
    tree.page(console, told, story.now).show(console)
    return paper.getvalue()


def words(text: str) -> list[str]:
    """What a screen says, whatever stands in which line."""
    rows = [GUIDES.sub("", line) for line in text.splitlines()]
    return (
        re.sub(r"(wait|pass|FAIL|--)\s+(\w+)", r"\1 \2", " ".join(rows)).replace(": ", " ").split()
    )


@pytest.mark.parametrize("scene", SCENES)
def test_each_condition_has_its_screen_from_store_and_log_alike(
    story: Recorded, scene: Scene
) -> None:
    scene(story)
    selection = SELECTED.get(scene)
    by_log = glances(fold(story.lines), selection)
    by_store = look(StoreSource(story.store, QUICK.settle, selection), selection, all_=False)
    assert screen(by_log, story) == SCREENS[scene.__name__]
    assert screen(by_store, story) == SCREENS[scene.__name__]


@pytest.mark.parametrize("name", SCREENS)
def test_every_screen_is_ascii_and_fits_its_columns(name: str) -> None:
    assert SCREENS[name].isascii()
    assert max(map(len, SCREENS[name].splitlines())) <= 80


@pytest.mark.parametrize(
    "scene", [scenes.healthy, scenes.blown_fuse, scenes.changed_by_others, scenes.applied]
)
def test_in_forty_columns_it_says_the_same(story: Recorded, scene: Scene) -> None:
    scene(story)
    narrow = screen(glances(fold(story.lines)), story, width=40)
    assert max(map(len, narrow.splitlines())) <= 40
    assert words(narrow) == words(SCREENS[scene.__name__])


def test_a_pipe_gets_one_line_for_each_fact(
    story: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    scenes.healthy(story)
    monkeypatch.delenv("COLUMNS", raising=False)
    paper = io.StringIO()
    console = tree.console(paper)
    tree.page(console, glances(fold(story.lines)), story.now).show(console)
    [guard] = [line for line in paper.getvalue().splitlines() if "wait errors" in line]
    assert guard.endswith("134 requests/s")
    assert "\x1b" not in paper.getvalue()


def test_a_terminal_gets_colours_and_glyphs_and_whoever_wants_none_gets_words(
    story: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    scenes.healthy(story)
    told = glances(fold(story.lines))
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    bright = screen(told, story, terminal=True)
    assert "◕ \x1b" in bright.replace("\x1b[33m", "", 1)
    assert "… errors" in bright
    for name, value in (("NO_COLOR", "1"), ("TERM", "dumb")):
        with monkeypatch.context() as changed:
            changed.setenv(name, value)
            plain = re.sub(r"\x1b\[[0-9;]*m", "", screen(told, story, terminal=True))
        assert plain == SCREENS["healthy"], name


def test_the_look_of_each_guard_moves_where_the_journal_says_nothing_new(story: Recorded) -> None:
    scenes.insufficient(story)
    verdicts = [line for line in story.lines if line["event"] == "gate.verdict"]
    before = screen(glances(fold(story.lines)), story)
    story.look(times=2)
    assert [line for line in story.lines if line["event"] == "gate.verdict"] == verdicts
    after = screen(glances(fold(story.lines)), story)
    assert "candidate 0 of 24 failed" in before
    assert "candidate 0 of 30 failed" in after


def test_a_log_that_begins_in_the_middle_shows_what_its_last_heartbeat_told_of_the_guards(
    story: Recorded,
) -> None:
    scenes.insufficient(story)
    beats, seq = story.store.states(), story.store.last_seq()
    whole = glances(fold(story.lines))
    assert glances(fold(beats)) == whole
    story.look(times=2)
    window = [*beats, *story.store.journal(after=seq)]
    assert len(window) > len(beats)
    (told,) = glances(fold(window))
    assert list(told.guards.values()) == list(whole[0].guards.values())


def test_the_json_has_guards_and_what_can_be_done_beside_the_status(story: Recorded) -> None:
    scenes.insufficient(story)
    stable, candidate = glances(fold(story.lines))[0].as_json()
    assert (stable["guards"], stable["can"]) == ([], [])
    assert [one["guard"] for one in candidate["guards"]] == ["errors", "harm"]
    assert candidate["guards"][0]["missing"] == 114
    assert candidate["can"] == ["promote --override", "pause", "abort"]
    assert candidate["rollback"] == "ready"
    assert set(Status.__annotations__) < set(candidate)
    assert json.loads(json.dumps(candidate)) == candidate


def test_what_waits_to_begin_has_a_line_of_its_own(story: Recorded) -> None:
    scenes.registered_and_held(story)
    by_log, by_store = glances(fold(story.lines)), glances(fold(story.store.states()))
    assert by_log == by_store
    text = screen(by_log, story)
    assert text.splitlines()[1:3] == [
        "+-- rag-chatbot/2  Registered, 0 % of users, for 30 s; frozen (quarter's end)",
        "|     until Tue 2026-11-24 12:00 UTC; going back is never frozen",
    ]
    assert [one["version"] for one in by_log[0].as_json()] == ["1"], "as the contract says"


def test_the_state_is_told_also_where_judging_itself_fails(
    story: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    scenes.insufficient(story)

    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(lines, "looks_of", broken)
    monkeypatch.setattr(glance, "last_looks", broken)
    for told in (fold(story.lines), fold(story.store.states())):
        shown = screen(glances(told), story)
        assert "rag-chatbot/2  Canary, step 1 of 4, 5 % of users, seen 5 %" in shown
    assert "candidate not counted yet" in screen(glances(fold(story.lines)), story), "as it was"


def test_what_is_proposed_can_be_ordered(story: Recorded) -> None:
    scenes.paused(story)
    [told] = glances(fold(story.lines))
    assert told.commands(told.releases[0], "sqlite:///a b.db") == [
        "headgate resume rag-chatbot/2 --store 'sqlite:///a b.db'",
        "headgate abort rag-chatbot/2 --store 'sqlite:///a b.db'",
    ]


def test_a_blocked_way_back_is_told_once_and_once_when_it_is_free(story: Recorded) -> None:
    scenes.without_a_way_back(story)
    told = [line for line in story.lines if line["event"].startswith("rollback.")]
    [blocked] = told
    assert (blocked["event"], blocked["level"]) == ("rollback.blocked", "error")
    assert blocked["because"] == "version 1 is not ready on endpoint rag-chatbot-endpoint"
    story.edit(v1=95, v2=5)
    story.look(times=2)
    freed = [line for line in story.lines if line["event"].startswith("rollback.")][1:]
    assert [line["event"] for line in freed] == ["rollback.ready"]
    assert freed[0]["rollback"] == "ready"


def test_a_thousand_applications_at_rest_take_a_line_each_below_those_under_way(
    story: Recorded,
) -> None:
    scenes.healthy(story)
    [busy] = glances(fold(story.lines))
    quiet: Status = {**busy.releases[1], "weight": 100, "weight_seen": 100}
    resting = [
        {**quiet, "application": f"app-{number:04}", "release": f"app-{number:04}/1"}
        for number in range(1000)
    ]
    text = screen([*arranged(resting, {}), busy], story)  # type: ignore[arg-type]
    rows = text.splitlines()
    assert rows[0] == APP
    assert rows[-1000] == "app-0000/1  Production, 100 % of users, for 6.5 min"
    assert len([line for line in rows if line.startswith("app-")]) == 1000


def test_at_rest_it_is_told_that_a_daemon_which_was_killed_would_not_be_missed(
    story: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    scenes.confirmed(story)
    story.store.note(Event(name="daemon.started", because="begins"))
    monkeypatch.setenv("HEADGATE_STORE", f"sqlite:///{story.store.path}")
    told = CliRunner().invoke(app, ["status"])
    *_, last = told.stdout.splitlines()
    assert last.strip() == (
        "no release is live: this does not tell whether a daemon runs; its /healthz does"
    )
    assert told.exit_code == 0, "nothing is wrong that anybody knows of"
    story.store.note(Event(name="daemon.stopped", because="ends"))
    told = CliRunner().invoke(app, ["status"])
    *_, last = told.stdout.splitlines()
    assert last.strip() == f"the daemon ended at {story.now:%Y-%m-%d %H:%M} UTC"
    assert told.exit_code == 0


def test_what_others_gave_it_is_seen_now_and_not_before(story: Recorded) -> None:
    scenes.paused(story)
    story.edit(v1=40, v2=60)
    story.look()
    told = glances(fold(story.lines))
    heads = [
        tree.headline(one, story.now, fancy=False, changed=True).plain for one in told[0].releases
    ]
    assert "Canary, step 1 of 4, 5 % of users, seen 60 %, not settled yet" in heads[0]
    assert "Production, 95 % of users, seen 40 %, for" in heads[1]
    for head in heads:
        assert head in screen(told, story, width=200)
    story.store.give_answer(APP, "revert", "bob", "")
    story.look()
    assert "5 % of users, seen 60 % before" in screen(glances(fold(story.lines)), story, width=200)
    story.look()
    assert "5 % of users, seen 5 %" in screen(glances(fold(story.lines)), story, width=200)


def test_the_age_of_what_is_shown_and_a_daemon_that_seems_dead_are_told(story: Recorded) -> None:
    scenes.healthy(story)
    source = StoreSource(story.store, QUICK.settle)
    source.read()
    at = f"as of {story.now:%Y-%m-%d %H:%M:%S} UTC"
    soon = story.now.replace(microsecond=0) + QUICK.settle
    assert footer(source, soon, source.silence(soon)) == f"{at}, 30 s ago"
    late = story.now + 8 * QUICK.min_step
    dead = "nobody has looked at rag-chatbot for 8 min: the daemon seems dead"
    assert footer(source, late, source.silence(late)) == f"{at}, 8 min ago; {dead}"

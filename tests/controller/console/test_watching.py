"""Watching a release, and waiting for its end, on a clock that the world moves with."""

import io
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from rich.console import Console
from typer.testing import CliRunner

from controller.console import status, watching
from controller.console.cli import app
from controller.console.glance import arranged, glances
from controller.console.reading import fold
from controller.console.sources import LogSource, StoreSource
from controller.console.watching import Clock, Watch
from controller.record.logging import json_line
from policies.admission import Rules
from states.machine import State
from states.release import Order, Release
from states.spec import Spec
from tests.controller.console import scenes
from tests.controller.console.test_reading import APP, Recorded
from tests.controller.record.making import plan, release, store_in, told
from tests.states.story import SPEC

if TYPE_CHECKING:
    from controller.record.store import Store
    from states.status import Status

POLL = timedelta(seconds=30)
RELEASE = f"{APP}/2"
START = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.fixture
def story(tmp_path: Path) -> Iterator[Recorded]:
    recorded = Recorded().keep(tmp_path)
    yield recorded
    recorded.store.close()


class Turned(Clock):
    """A clock whose time passes by looks of the story; Ctrl-C comes after some of them."""

    def __init__(
        self,
        story: Recorded,
        *,
        looks: int = 10_000,
        moves: bool = True,
        then: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._story = story
        self._looks = looks
        self._moves = moves
        self._then = then
        self._slept = 0

    def now(self) -> datetime:
        return self._story.now

    def monotonic(self) -> float:
        return (self._story.now - START).total_seconds()

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        if self._slept == self._looks:
            raise KeyboardInterrupt
        self._slept += 1
        self._then(self._slept)
        if self._moves:
            self._story.look()
        else:
            self._story.now += timedelta(seconds=30)


def waited(
    story: Recorded,
    clock: Clock,
    goal: watching.Goal = "confirmed",
    timeout: timedelta | None = None,
) -> tuple[int, list[str]]:
    """The exit code of `--wait`, and the lines that it wrote."""
    paper = io.StringIO()
    watch = Watch(StoreSource(story.store, POLL, RELEASE), RELEASE, clock, awaited=True)
    watch.first()
    code = watching.wait(paper, watch, RELEASE, goal, timeout)
    return code, paper.getvalue().splitlines()


def test_a_good_release_is_followed_from_before_it_is_registered_until_it_is_confirmed(
    story: Recorded, capsys: pytest.CaptureFixture[str]
) -> None:
    story.look(times=2)
    code, lines = waited(story, Turned(story, then=lambda n: story.register(2) if n == 3 else None))
    assert code == 0
    assert "rag-chatbot/2 is not registered yet: it is waited for" in capsys.readouterr().err
    states = [line.split("  ")[2].split(",")[0] for line in lines]
    assert list(dict.fromkeys(states)) == ["Provisioning", "Testing", "Canary", "Production"]
    assert "watched for 10 min without harm: it is stable now" in lines[-1]
    assert len(lines) == len(set(lines)), "each change once"
    for weight in (5, 25, 50, 100):
        assert [line for line in lines if f"{weight} % of users, seen {weight} %" in line], weight


def test_for_production_it_ends_once_users_and_alias_were_seen_there(story: Recorded) -> None:
    story.look(times=2)
    story.register(2)
    code, lines = waited(story, Turned(story), goal="production")
    assert code == 0
    assert "Production, step 4 of 4, 100 % of users, seen 100 %" in lines[-1]
    assert story.live.version == "2", "it is watched still"


def test_a_release_that_went_back_ends_it_with_1_once_its_users_are_home(story: Recorded) -> None:
    story.look(times=2)
    story.register(2)
    story.error_rates["2"] = 0.2
    code, lines = waited(story, Turned(story))
    assert code == 1
    assert "RolledBack, step 1 of 4, 0 % of users, seen 0 %" in lines[-1]
    assert "evidence over 1,000,000:1 of 100:1" in lines[-1]
    assert story.application.live is None


def test_a_version_that_is_never_begun_ends_it_with_1(story: Recorded) -> None:
    story.look(times=2)
    story.register(2, status="FAILED_REGISTRATION")
    code, lines = waited(story, Turned(story))
    assert code == 1
    assert "Retired" in lines[-1]


def test_a_version_that_served_and_was_replaced_since_had_come_to_its_end(story: Recorded) -> None:
    story.look(times=2)
    [served] = glances(fold(story.lines))[0].releases
    replaced: Status = {**served, "state": "Retired", "weight": 0, "weight_seen": 0}
    refused: Status = {**replaced, "weight_seen": None}
    given_users_by_others: Status = {**refused, "weight_seen": 5}
    for one, code in ((replaced, 0), (refused, 1), (given_users_by_others, 1)):
        assert watching.outcome(arranged([one], {}), "confirmed") == code


def test_a_release_that_asks_for_approval_ends_it_with_3(story: Recorded) -> None:
    story.spec = replace(SPEC, admission=Rules(approval="before_canary"))
    story.look(times=2)
    story.register(2)
    code, lines = waited(story, Turned(story))
    assert code == 3
    assert (
        "held: waits for approval of the first users: `headgate approve rag-chatbot/2`"
        in (lines[-1])
    )


def test_one_that_waits_behind_a_change_by_others_needs_a_person_too(story: Recorded) -> None:
    scenes.changed_by_others(story)
    story.register(2)
    assert waited(story, Turned(story))[0] == 3


def test_what_takes_too_long_ends_it_with_4(
    story: Recorded, capsys: pytest.CaptureFixture[str]
) -> None:
    story.look(times=2)
    story.register(2)
    story.until("Canary")
    story.order(Order.PAUSE)
    code, _ = waited(story, Turned(story), timeout=timedelta(minutes=10))
    assert code == 4
    assert "rag-chatbot/2 has not come to its end within 10 min" in capsys.readouterr().err


def test_a_daemon_that_dies_meanwhile_is_told_once(
    story: Recorded, capsys: pytest.CaptureFixture[str]
) -> None:
    story.look(times=2)
    story.register(2)
    story.until("Canary")
    waited(story, Turned(story, moves=False), timeout=timedelta(minutes=30))
    [told] = [line for line in capsys.readouterr().err.splitlines() if "dead" in line]
    assert told == "headgate: nobody has looked at rag-chatbot for 2.5 min: the daemon seems dead"


def test_a_pipe_that_watches_gets_one_line_for_each_change(story: Recorded) -> None:
    story.look(times=2)
    paper = io.StringIO()
    clock = Turned(story, looks=8, then=lambda n: story.register(2) if n == 2 else None)
    watch = Watch(StoreSource(story.store, POLL), None, clock)
    watch.first()
    with pytest.raises(KeyboardInterrupt):
        watching.in_pipe(paper, watch, as_json=False)
    lines = paper.getvalue().splitlines()
    assert lines[0] == (
        "2026-11-23 12:01:00  rag-chatbot/1  Production, 100 % of users, seen 100 %, for 30 s: "
        "adopted: it has 100 % of rag-chatbot-endpoint"
    )
    of_two = [line for line in lines if "rag-chatbot/2" in line]
    assert "Provisioning" in of_two[0]
    assert "Canary, step 2 of 4, 25 % of users" in of_two[-1]
    assert len(lines) < 15


def test_as_json_a_pipe_gets_one_object_for_each_change(story: Recorded) -> None:
    story.look(times=2)
    story.register(2)
    paper = io.StringIO()
    watch = Watch(StoreSource(story.store, POLL), None, Turned(story, looks=8))
    watch.first()
    with pytest.raises(KeyboardInterrupt):
        watching.in_pipe(paper, watch, as_json=True)
    told = [json.loads(line) for line in paper.getvalue().splitlines()]
    steps = [one["step"] for one in told if one["version"] == "2"]
    assert (steps[0], steps[-1]) == (0, 2)
    assert steps == sorted(steps)


@pytest.mark.parametrize("held", [False, True], ids=["stable", "waits for a person"])
def test_an_application_stays_shown_while_another_one_goes_on(
    tmp_path: Path, *, held: bool
) -> None:
    record = store_in(tmp_path)
    quiet = (
        release("2", application="aaa", hold="waits for approval", needs_person=True)
        if held
        else release("1", State.PRODUCTION, application="aaa", confirmed=True)
    )
    _written(record, quiet, None if held else "1")
    _written(record, release("1", State.PRODUCTION, application="bbb", confirmed=True), "1")
    source = StoreSource(record, POLL)
    shown = {one["application"]: one for one in source.read().statuses()}
    assert sorted(shown) == ["aaa", "bbb"]
    for weight in (40, 60):
        one = release("1", State.PRODUCTION, application="bbb", confirmed=True, weight_seen=weight)
        _written(record, one, "1")
        assert source.news(START)
        [first, second] = source.read().statuses()
        assert first == shown["aaa"], "nothing has happened to it"
        assert second["weight_seen"] == weight
    _written(record, replace(quiet, because="somebody saw to it"), None if held else "1")
    [first, second] = source.read().statuses()
    assert (first["because"], second["weight_seen"]) == ("somebody saw to it", 60)
    record.close()


def _written(record: "Store", one: Release, stable: str | None) -> None:
    name = one.application
    loaded = record.load(name, Spec(model=f"main.ml.{name}", endpoint=name))
    application = replace(loaded.application, stable=stable, adopted=True)
    record.commit(loaded, plan(application, one, events=(told(one),)))


def test_a_terminal_is_refreshed_with_the_age_of_what_it_shows(
    story: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    scenes.healthy(story)
    paper = io.StringIO()
    console = Console(file=paper, width=80, height=30, force_terminal=True, highlight=False)
    watch = Watch(StoreSource(story.store, POLL), None, Turned(story, looks=6, moves=False))
    watch.first()
    with pytest.raises(KeyboardInterrupt):
        watching.on_terminal(console, watch, None)
    screens = paper.getvalue()
    assert screens.startswith("\x1b[?1049h"), "a screen of its own"
    assert screens.endswith("\x1b[?25h\x1b[?1049l"), "and what was there before is back"
    assert "0 s ago" in screens
    assert "2.5 min ago; nobody has looked at" in screens


def test_a_log_is_followed_into_the_file_that_comes_after_it(
    story: Recorded, tmp_path: Path
) -> None:
    log, written = tmp_path / "headgate.log", 0

    def write(*, torn: bool = False) -> None:
        nonlocal written
        text = "".join(f"{json_line(line)}\n" for line in story.store.journal(after=written))
        written = story.store.last_seq()
        with log.open("a") as file:
            file.write(text[:-40] if torn else text)
        if torn:
            rest.append(text[-40:])

    rest: list[str] = []
    story.look(times=2)
    write()
    source = LogSource([str(log)])
    watch = Watch(source, None, Turned(story, looks=0))
    watch.first()
    assert [one["version"] for one in watch.told[0].releases] == ["1"]
    assert not source.news(story.now)
    story.register(2)
    story.until("Testing")
    write(torn=True)
    source.news(story.now)
    log.rename(tmp_path / "headgate.log.1")
    with (tmp_path / "headgate.log.1").open("a") as file:
        file.write(rest[0])
    story.until("Canary")
    write()
    assert source.news(story.now)
    assert [one["state"] for one in source.read().statuses(APP)] == ["Production", "Canary"]
    log.write_text("")  # emptied where it is, as copytruncate does
    assert not source.news(story.now)
    story.look(times=5)
    write()
    assert source.news(story.now)
    assert source.read().statuses(APP)[1]["step"] > 1
    source.close()
    late = story.now + timedelta(minutes=11)
    assert source.silence(story.now) is None
    assert "the log has been silent for 11" in str(source.silence(late))


def test_a_log_without_a_line_of_ours_is_waited_for(story: Recorded, tmp_path: Path) -> None:
    log = tmp_path / "headgate.log"
    log.write_text("starting\n")
    source = LogSource([str(log)])
    watch = Watch(source, f"{APP}/1", Turned(story), awaited=True)
    watch.first()
    assert watch.told == []
    assert watch.warning == f"{log}: holds no line of Headgate's log yet"
    story.look(times=2)
    log.write_text("starting\n" + "".join(f"{json_line(line)}\n" for line in story.lines))
    assert next(watch.changes())
    source.close()
    assert watching.outcome(watch.told, "confirmed") == 0


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["rag-chatbot", "--wait"], 2, "name the release to wait for"),
        (["rag-chatbot/2", "--wait", "--watch"], 2, "not both"),
        (["--timeout", "2h"], 2, "--timeout is for --wait"),
        (["rag-chatbot/2", "--wait", "--timeout", "soon"], 2, "--timeout soon"),
        (
            ["rag-chat/2", "--wait"],
            2,
            "there is no application rag-chat; did you mean rag-chatbot?",
        ),
        (["-w", "--logs", "-"], 2, "standard input is read once"),
        (["rag-chatbot/1", "--wait"], 0, ""),
        (["rag-chatbot/2", "--wait"], 130, "not registered yet"),
        (["-w"], 130, ""),
    ],
)
def test_the_command_ends_with_its_code(
    story: Recorded,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    code: int,
    said: str,
) -> None:
    story.look(times=2)
    monkeypatch.setattr(status, "Clock", lambda: Turned(story, looks=1, moves=False))
    monkeypatch.setenv("HEADGATE_STORE", f"sqlite:///{story.store.path}")
    ended = CliRunner().invoke(app, ["status", *arguments])
    assert ended.exit_code == code, ended.output
    assert said in ended.output

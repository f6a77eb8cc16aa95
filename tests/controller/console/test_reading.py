import errno
import gzip
import io
import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console
from typer.testing import CliRunner

from controller.console import cli, render, tree
from controller.console.glance import arranged, glances
from controller.console.keeping import whole
from controller.console.logs import read_lines
from controller.console.reading import (
    LogMixed,
    LogTooLate,
    UnknownSelection,
    UnreadableLog,
    exit_code,
    fold,
)
from controller.record.errors import BackupUnusable
from controller.record.lines import Line, application_state
from controller.record.store import Store
from policies.replay import Replay
from states.plan import Event
from states.release import Order
from states.spec import Spec
from states.status import Status
from states.world import Absent, Endpoint
from tests.controller.record.making import of_the_table
from tests.controller.stdout import stdout
from tests.published import assert_as_published
from tests.states.story import SPEC, Story, serving

APP = "rag-chatbot"


class Recorded(Story):
    """A story that is written down in a store as it goes."""

    store: Store
    spec: Spec = SPEC

    def keep(self, folder: Path) -> "Recorded":
        """Write down in this folder."""
        self.store = Store(f"sqlite:///{folder / 'headgate.db'}", clock=lambda: self.now)
        return self

    def look(self, *, after: float = 30, times: int = 1) -> SimpleNamespace:  # type: ignore[override]
        """One pass, committed before it is acted upon."""
        from states.reconcile import reconcile  # noqa: PLC0415

        for _ in range(times):
            self.now += timedelta(seconds=after)
            loaded = self.store.load(self.application.name, self.spec)
            self.application = loaded.application
            plan = reconcile(loaded.application, self.world())
            committed = self.store.commit(loaded, plan, plan.calls)
            self.application = plan.application
            self.events += plan.events
            for call, number in zip(plan.calls, committed.calls, strict=True):
                if self.obeys:
                    self.obey(call)
                    self.store.settle_call(number, "done", "taken")
        return SimpleNamespace()

    def order(self, order: Order) -> None:
        """The operator's word, by the store."""
        self.store.give_order(self.application.name, None, order, "ann", "because")

    @property
    def lines(self) -> list[Line]:
        """The journal so far, every line of it as published."""
        found = list(self.store.journal())
        assert_as_published(found)
        return found


@pytest.fixture
def story(tmp_path: Path) -> Iterator[Recorded]:
    recorded = Recorded().keep(tmp_path)
    yield recorded
    recorded.store.close()


def promoted(story: Recorded) -> None:
    story.look(times=2)
    story.register(2)
    story.until("Production")
    story.look(times=60)


def replayed(story: Recorded) -> None:
    story.spec = replace(SPEC, replay=Replay())
    story.recorded = 200
    story.look(times=2)
    story.register(2)
    story.until("Canary")


def paused_and_aborted(story: Recorded) -> None:
    story.look(times=2)
    story.register(2)
    story.until("Canary")
    story.order(Order.PAUSE)
    story.look(times=5)
    story.order(Order.ABORT)
    story.look(times=3)


def rolled_back(story: Recorded) -> None:
    story.look(times=2)
    story.register(2)
    story.error_rates["2"] = 0.2
    story.until("RolledBack")
    story.look(times=3)


def failed_tests(story: Recorded) -> None:
    story.golden_fails = frozenset({"2"})
    story.look(times=2)
    story.register(2)
    story.until("RolledBack")
    story.look(times=3)


def meddled_with(story: Recorded) -> None:
    story.look(times=2)
    story.edit(v1=80, v9=20)
    story.look(times=3)
    story.edit(v1=100)
    story.look(times=3)


def blind(story: Recorded) -> None:
    story.look(times=2)
    story.register(2)
    story.until("Canary")
    story.table_speaks = False
    story.look(after=600, times=12)
    story.table_speaks = True
    story.look(times=5)


def retried_by_another(story: Recorded) -> None:
    rolled_back(story)
    story.register(3)
    story.until("Canary")


def meddled_with_on_the_way(story: Recorded) -> None:
    story.look(times=2)
    story.register(2)
    story.until("Testing")
    story.alias = "7"
    story.look(times=2)
    story.order(Order.PAUSE)
    story.look(times=2)
    story.alias = "1"
    story.order(Order.RUN)
    story.look(times=3)


def failed_at_first(story: Recorded) -> None:
    story.endpoint, story.alias = Absent(), Absent()
    story.golden_fails = frozenset({"1"})
    story.until("RolledBack")
    story.look(times=3)
    story.register(2)
    story.until("Production")
    story.look(times=3)


def given_more_by_others(story: Recorded) -> None:
    story.look(times=2)
    story.register(2)
    story.until("Canary")
    story.order(Order.PAUSE)
    story.look(times=3)
    story.register(3)
    story.edit(v1=40, v2=55, v3=5)
    story.look(times=3)
    story.store.give_answer(APP, "revert", "bob", "nobody asked me")
    story.look(times=4)
    story.edit(v1=40, v2=60)
    story.look(times=2)
    story.edit(v1=95, v2=5)
    story.look(times=3)


def given_back_by_others(story: Recorded) -> None:
    rolled_back(story)
    story.edit(v1=40, v2=60)
    story.look(times=3)
    story.store.give_answer(APP, "revert", "bob", "nobody asked me")
    story.look(times=3)


def meddled_with_beside_one_without_proof(story: Recorded) -> None:
    story.endpoint, story.alias = Absent(), Absent()
    story.until("Canary")
    story.look(times=2)
    story.order(Order.ABORT)
    story.look(times=4)
    story.register(2)
    story.until("Provisioning")
    story.order(Order.ABORT)
    home = serving(v1=100)
    now_ms, ready = int(story.now.timestamp() * 1000), frozenset(home.shares)
    anew = Endpoint(serving=home, id="second", created_ms=now_ms, config_version=9, ready=ready)
    story.endpoint = anew
    story.look(times=4)
    assert story.application.live is None
    assert story.application.change is not None
    held = story.application.newest("1")
    assert held is not None
    assert held.hold, "it waits for a mended version, and the change for an answer"


STORIES = [
    meddled_with_beside_one_without_proof,
    given_more_by_others,
    given_back_by_others,
    meddled_with_on_the_way,
    failed_at_first,
    promoted,
    paused_and_aborted,
    rolled_back,
    failed_tests,
    meddled_with,
    blind,
    retried_by_another,
    replayed,
]


@pytest.mark.parametrize("tell", STORIES)
def test_the_log_tells_at_every_moment_what_the_tables_tell(
    story: Recorded, tell: Callable[[Recorded], None]
) -> None:
    looks = story.look

    def compared(*, after: float = 30, times: int = 1) -> SimpleNamespace:
        for _ in range(times):
            looks(after=after)
            book = fold(story.lines)
            assert book.statuses(APP) == of_the_table(story.store, APP)
            by_store = glances(fold(story.store.states()))
            assert by_store == glances(book)
            assert [one for told in by_store for one in reversed(told.releases)] == of_the_table(
                story.store, APP
            )
        return SimpleNamespace()

    story.look = compared  # type: ignore[method-assign]
    tell(story)
    assert fold(story.lines).statuses(all_=True) == of_the_table(story.store, APP, all_=True)


def test_a_record_whose_last_line_is_of_before_that_fact_is_whole_all_the_same(
    story: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    given_back_by_others(story)
    story.edit(v1=40, v2=60)
    story.look(times=2)
    whole(story.store)
    earlier = [
        {name: told for name, told in line.items() if name != "weights_seen"}
        for line in story.lines
    ]
    assert fold(earlier).statuses(APP) != of_the_table(story.store, APP)
    monkeypatch.setattr(story.store, "journal", lambda: earlier)
    whole(story.store)
    wrong = [line | ({"settled": False} if "settled" in line else {}) for line in earlier]
    monkeypatch.setattr(story.store, "journal", lambda: wrong)
    with pytest.raises(BackupUnusable, match="disagree"):
        whole(story.store)


def test_what_is_seen_is_what_the_endpoint_serves_while_others_have_changed_it(
    story: Recorded,
) -> None:
    looks = story.look

    def compared(*, after: float = 30, times: int = 1) -> SimpleNamespace:
        for _ in range(times):
            served = story.endpoint  # as the look sees it; what it sends comes after
            looks(after=after)
            if story.application.change is None:
                continue
            assert isinstance(served, Endpoint)
            shares = {one.version: one.weight for one in served.serving.shares.values()}
            told = fold(story.lines).statuses(APP, all_=True)
            assert {
                one["version"]: one["weight_seen"] for one in told if one["weight_seen"]
            } == shares
            seen.append(shares)
        return SimpleNamespace()

    seen: list[dict[str, int]] = []
    story.look = compared  # type: ignore[method-assign]
    given_more_by_others(story)
    assert {"1": 40, "2": 55, "3": 5} in seen, "also one that waits to begin"
    assert {"1": 40, "2": 60} in seen


@pytest.mark.parametrize("tell", STORIES)
def test_doubled_and_shuffled_lines_give_the_same_answers(
    story: Recorded, tell: Callable[[Recorded], None]
) -> None:
    tell(story)
    straight, luck = story.lines, random.Random(3)  # noqa: S311 - a shuffle is no secret
    crooked = [*straight, *straight[::2], *story.store.states()]
    luck.shuffle(crooked)
    one, other = fold(straight), fold(crooked)
    assert one.statuses(all_=True) == other.statuses(all_=True)
    assert one.history() == other.history() == straight
    assert one.explain(APP) == other.explain(APP)


def test_any_window_with_a_heartbeat_in_it_tells_the_state(story: Recorded) -> None:
    story.look(times=2)
    story.register(2)
    story.until("Canary")
    middle = story.store.states()
    seq = story.store.last_seq()
    story.look(times=20)
    after = list(story.store.journal(after=seq))
    assert len(after) > 1
    assert fold([*middle, *after]).statuses() == of_the_table(story.store, APP)


def test_a_heartbeat_from_before_missing_lines_tells_nothing(story: Recorded) -> None:
    story.look(times=2)
    early = story.store.states()
    seq = story.store.last_seq()
    story.register(2)
    story.until("Canary")
    story.look(times=2)
    late = list(story.store.journal(after=seq + 3))
    with pytest.raises(LogTooLate):
        fold([*early, *late]).statuses(APP)


def test_a_window_without_a_heartbeat_knows_the_releases_it_tells_of(story: Recorded) -> None:
    story.look(times=2)
    story.register(2)
    story.until("Canary")
    story.look(times=3)
    seq = story.store.last_seq()
    window = fold(story.store.journal(after=seq - 2))
    (told,) = window.statuses(f"{APP}/2")
    assert told == of_the_table(story.store, APP)[1]
    begins = rf"begins too late for rag-chatbot: its first line is seq {seq - 1}, at 2026-11-23T"
    with pytest.raises(LogTooLate, match=begins):
        window.statuses(APP)
    for ask in (
        lambda: window.statuses(f"{APP}/1"),
        lambda: window.statuses("other"),
        lambda: window.statuses(all_=True),
        window.history,
        lambda: window.history(APP),
        lambda: window.explain(f"{APP}/2"),
    ):
        with pytest.raises(LogTooLate):
            ask()


def test_a_window_that_holds_a_whole_release_tells_its_history(story: Recorded) -> None:
    story.look(times=2)
    seq = story.store.last_seq()
    rolled_back(story)
    window = fold(story.store.journal(after=seq))
    assert window.history(f"{APP}/2") == fold(story.lines).history(f"{APP}/2")
    assert window.explain(f"{APP}/2") == fold(story.lines).explain(f"{APP}/2")


def test_a_hold_of_the_application_ends_with_it(story: Recorded) -> None:
    story.look(times=2)
    held = {"hold": "changed", "application_hold": "changed", "needs_person": True}
    before = [{**line, **held} for line in story.lines]
    after = {"event": "endpoint.update", "application": APP, "stable": "1", "seq": len(before) + 1}
    assert fold(before).statuses()[0]["hold"] == "changed"
    (told,) = fold([*before, after]).statuses()
    assert (told["hold"], told["needs_person"]) == (None, False)


def test_lines_of_two_stores_are_not_mixed(story: Recorded) -> None:
    story.look(times=2)
    lines = story.lines
    with pytest.raises(LogMixed, match="two different lines have seq 1"):
        fold([*lines, {**lines[0], "timestamp": "2020-01-01T00:00:00.000000Z"}])
    with pytest.raises(LogMixed, match="two different lines have seq 1"):
        fold([*lines, {**lines[0], "because": "all is well"}])


@pytest.mark.parametrize(
    ("selection", "said"),
    [
        ("other", "there is no application other; there is rag-chatbot"),
        ("rag-chatbto", "no application rag-chatbto; did you mean rag-chatbot?"),
        ("rag-chatbot/9", "no release rag-chatbot/9; there is rag-chatbot/1"),
        ("rag-chatbot/latest", "write APP or APP/VERSION"),
        ("", "write APP or APP/VERSION"),
    ],
)
def test_an_unknown_selection_is_told_what_there_is(
    story: Recorded, selection: str, said: str
) -> None:
    story.look(times=2)
    with pytest.raises(UnknownSelection, match=said):
        fold(story.lines).statuses(selection)


def test_versions_are_sorted_as_numbers(story: Recorded) -> None:
    story.look(times=2)
    for number in (2, 10, 9):
        story.register(number)
    story.look(times=3)
    told = fold(story.lines).statuses(all_=True)
    assert [one["version"] for one in told] == ["1", "2", "9", "10"]


def test_exit_codes_tell_the_worst(story: Recorded) -> None:
    story.look(times=2)
    fine = fold(story.lines).statuses()
    assert exit_code(fine) == 0
    held = {**fine[0], "needs_person": True}
    rolled = {**fine[0], "state": "RolledBack"}
    assert exit_code([held]) == 3  # type: ignore[list-item]
    assert exit_code([held, rolled]) == 1  # type: ignore[list-item]
    assert exit_code([], waiting=["adoption waits"]) == 3


def test_an_application_that_cannot_be_adopted_waits(story: Recorded) -> None:
    story.edit(v1=50, v2=50)
    story.look()
    for book in (fold(story.lines), fold(story.store.states())):
        assert book.statuses() == []
        (why,) = book.waiting().values()
        assert "put one version" in why


def test_other_programs_lines_are_skipped_and_counted(story: Recorded, tmp_path: Path) -> None:
    story.look(times=2)
    foreign = ["starting…", '{"msg": "hello"}', '{"event": "x"}', "[1]", '{"event": 1, "seq": 2}']
    text = "\n".join([*foreign, "", *map(json.dumps, story.lines)])
    plain, zipped = tmp_path / "one.log", tmp_path / "two.log.gz"
    plain.write_text(text)
    zipped.write_bytes(gzip.compress(text.encode()))
    lines = read_lines([str(plain), str(zipped)])
    assert fold(lines).history() == story.lines
    assert lines.skipped == 2 * len(foreign)


def test_the_daemons_lines_that_tell_of_no_change_are_no_other_programs(
    story: Recorded, tmp_path: Path
) -> None:
    story.look(times=2)
    path = tmp_path / "one.log"
    about = {"timestamp": "2026-11-23T12:00:00Z", "level": "warning", "event": "workspace.unseen"}
    path.write_text("\n".join(map(json.dumps, [about, *story.lines])))
    lines = read_lines(str(path))
    assert fold(lines).history() == story.lines
    assert (lines.skipped, lines.damaged) == (0, [])


def test_a_line_that_was_cut_short_is_named_by_file_and_number(
    story: Recorded, tmp_path: Path
) -> None:
    promoted(story)
    path = tmp_path / "one.log"
    *whole, last = map(json.dumps, story.lines)
    path.write_text("\n".join([*whole, last[:40]]))
    lines = read_lines(str(path))
    fold(lines)
    assert lines.damaged == [f"{path}:{len(whole) + 1}"]
    told = CliRunner().invoke(cli.app, ["history", "--logs", str(path)])
    assert told.stderr == f"headgate: {path}:{len(whole) + 1} is damaged, and skipped\n"


def test_a_gap_in_a_log_is_told_by_the_line_that_is_missing(story: Recorded) -> None:
    promoted(story)
    lines = story.lines
    with pytest.raises(LogTooLate, match=r"has a gap.*seq 2 is missing or damaged"):
        fold([lines[0], *lines[2:]]).history()


@pytest.mark.parametrize(
    ("field", "value"),
    [("attempt", "x"), ("version", "abc"), ("state", "Foo"), ("since", "x"), ("since", None)],
)
def test_a_damaged_line_of_a_release_is_a_sentence_that_names_it(
    story: Recorded, field: str, value: object
) -> None:
    story.look(times=2)
    seq = next(line["seq"] for line in story.lines if line["event"] == "release.registered")
    lines = [{**line, field: value} if line["seq"] == seq else line for line in story.lines]
    with pytest.raises(UnreadableLog, match=f"seq {seq} .release.registered. is damaged"):
        fold(lines)
    without = [{k: v for k, v in line.items() if k != "attempt"} for line in story.lines]
    with pytest.raises(UnreadableLog, match="'attempt' is missing"):
        fold(without)


def test_a_defect_has_an_exit_code_of_its_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(cli, "app", broken)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 70
    assert "a defect of Headgate's" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["main", "dead_man"])
def test_a_connection_that_breaks_in_what_acts_by_itself_is_a_defect_and_no_end_as_planned(
    command: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    """For `headgate log | head` the same error is: the reader has seen enough."""

    def broken(*_: object) -> None:
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    monkeypatch.setattr(f"controller.daemon.{command}.run", broken)
    name = {"main": "run", "dead_man": "dead-man"}[command]
    monkeypatch.setattr(sys, "argv", ["headgate", name, "--config", str(tmp_path / "h.yaml")])
    with stdout(tmp_path), pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 70
    assert "a defect of Headgate's" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "codes"),
    [
        (["--help"], {0, 141}),
        (["events"], {141}),
        (["events", "--json"], {0, 141}),
        (["events", "--at", "no.such"], {2}),
    ],
)
def test_a_reader_who_has_seen_enough_is_no_failure_of_ours(
    arguments: list[str], codes: set[int]
) -> None:
    """Whether the output is short or long, and told by the command or by its help.

    But what was not told to the end ends with no code of what was found: a pipeline that lost its
    reader has learnt nothing. 0 it is where the whole output was buffered, and none was found.
    """
    reads, writes = os.pipe()
    os.close(reads)
    told = subprocess.run(
        [sys.executable, "-m", "controller", *arguments],
        stdout=writes,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(writes)
    assert told.returncode in codes
    assert bool(told.stderr) == (codes == {2})


def test_a_verdict_that_nobody_read_is_no_success(story: Recorded, tmp_path: Path) -> None:
    """`headgate status app/2 --wait | reader`, whose reader has gone: it is not confirmed."""
    rolled_back(story)
    log = tmp_path / "headgate.log"
    log.write_text("".join(f"{json.dumps(line)}\n" for line in story.lines))
    reads, writes = os.pipe()
    os.close(reads)
    asked = [sys.executable, "-m", "controller", "status", f"{APP}/2", "--logs", str(log)]
    told = subprocess.run(asked, stdout=writes, stderr=subprocess.PIPE, check=False)
    os.close(writes)
    assert (told.returncode in {1, 141}, told.stderr) == (True, b"")


@pytest.mark.parametrize("arguments", [["--help"], ["events"], ["events", "--json"]])
def test_an_output_without_room_is_a_sentence_and_no_defect(arguments: list[str]) -> None:
    with Path("/dev/full").open("wb") as full:
        told = subprocess.run(
            [sys.executable, "-m", "controller", *arguments],
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert told.returncode == 74
    why, remedy = (
        "No space left on device",
        "make room where the output goes; what was done is done",
    )
    assert told.stderr.decode() == f"headgate: {why}: {remedy}\n"


def test_a_dash_is_standard_input(story: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    story.look(times=2)
    text = "\n".join(map(json.dumps, story.lines))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    assert fold(read_lines("-")).history() == story.lines


def test_a_log_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnreadableLog, match="nowhere"):
        fold(read_lines(str(tmp_path / "nowhere.log")))
    damaged = tmp_path / "damaged.log.gz"
    damaged.write_bytes(gzip.compress(b'{"a": 1}\n' * 1000)[:-10])
    with pytest.raises(UnreadableLog, match="it is damaged"):
        fold(read_lines([str(damaged)]))


def test_explaining_names_what_decided(story: Recorded) -> None:
    rolled_back(story)
    told = fold(story.lines).explain(f"{APP}/2")
    assert told.status["state"] == "RolledBack"
    (verdict,) = told.verdicts
    assert verdict["verdict"] == "FAIL"
    assert verdict["candidate_errors"] > 0
    assert len(told.tests) == 1


def test_explaining_an_application_explains_what_is_under_way(story: Recorded) -> None:
    story.look(times=2)
    assert fold(story.lines).explain(APP).status["version"] == "1"
    story.register(2)
    story.until("Canary")
    assert fold(story.lines).explain(APP).status["version"] == "2"


def printed(show: Callable[[Console], None], *, terminal: bool = False) -> str:
    paper = io.StringIO()
    show(Console(file=paper, force_terminal=terminal, width=100, highlight=False))
    return paper.getvalue()


def test_the_status_for_eyes_says_state_settled_and_hold(story: Recorded) -> None:
    story.look(times=2)
    story.register(2)
    story.until("Canary")
    told = fold(story.lines).statuses()
    held = replace_hold(told)
    text = printed(lambda console: tree.page(console, arranged(held, {}), story.now).show(console))
    assert "rag-chatbot/2  Canary, step 1 of 4, 5 % of users" in text
    assert "not settled yet, for 0 s" in text
    assert "hold      nobody knows (a person must act)" in text
    assert "rag-chatbot/1  Production, 95 % of users" in text
    assert "\x1b" not in text


def replace_hold(told: list[Status]) -> list[Status]:
    return [
        {**one, "hold": "nobody knows", "needs_person": True} if one["version"] == "2" else one
        for one in told
    ]


@pytest.mark.parametrize("tell", STORIES)
@pytest.mark.parametrize("terminal", [False, True])
def test_every_story_can_be_shown(
    story: Recorded, tell: Callable[[Recorded], None], *, terminal: bool
) -> None:
    tell(story)
    story.store.note(Event(name="daemon.stopped", because="SIGTERM"))
    book = fold(story.lines)

    def show(console: Console) -> None:
        told = arranged(book.statuses(all_=True), {APP: "why"}, book)
        tree.page(console, told, story.now).show(console)
        render.print_explanation(console, book.explain(APP), story.now)
        render.print_history(console, book.history())

    text = printed(show, terminal=terminal)
    assert "the daemon stopped: SIGTERM" in text
    assert "None" not in text


def test_what_others_wrote_cannot_steer_a_terminal(story: Recorded) -> None:
    story.look(times=2)
    nasty = replace(story.application, hold="[red]x\x1b[2J\u202e")
    (beat,) = [application_state(nasty, 9)]
    told = fold([beat]).statuses()
    text = printed(lambda console: tree.page(console, arranged(told, {}), story.now).show(console))
    assert "[red]x\\u001b[2J\\u202e" in text

"""What an operator asks: each question is one command, answered by the log as by the store."""

import json
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from controller.console.account import account
from controller.console.cli import app
from controller.console.reading import fold
from policies.admission import Rules
from policies.rollout import Rollout
from states.release import Order, Release
from states.status import Status, rfc3339, status
from states.world import Endpoint
from tests.controller.console.test_reading import APP, Recorded
from tests.states.story import QUICK, SPEC

ROLLOUT: Rollout = replace(QUICK, min_step=timedelta(minutes=10))
LOOK = timedelta(seconds=30)


@dataclass
class Truth(Recorded):
    """Months of an endpoint in a few hours, and all that is true of it and in no log."""

    bad_since: datetime | None = None
    """When version 3 began to fail."""
    served: list[tuple[datetime, dict[str, int]]] = field(default_factory=list)
    """What the endpoint served after each look."""
    path: Path = Path()

    def look(self, *, after: float = 30, times: int = 1) -> SimpleNamespace:  # type: ignore[override]
        for _ in range(times):
            super().look(after=after)
            assert isinstance(self.endpoint, Endpoint)
            shares = self.endpoint.serving.shares.values()
            self.served.append((self.now, {one.version: one.weight for one in shares}))
        return SimpleNamespace()

    def open_for(self, version: str) -> timedelta:
        """For how long a version had users."""
        return sum((LOOK for _, shares in self.served if shares.get(version)), timedelta())

    def ask(self, question: str, *values: object) -> list[tuple[Any, ...]]:
        """What the tables say."""
        with closing(sqlite3.connect(self.path)) as file:
            return file.execute(question, values).fetchall()

    def of(self, version: str) -> Release:
        """The newest attempt at a version."""
        found = self.application.newest(version)
        assert found is not None
        return found

    def status(self, version: str) -> Status:
        """A release's condition, as the record has it."""
        return status(self.application, self.of(version))

    def words(self, version: str) -> list[tuple[str, str]]:
        """What operators said of a release: who, and which word."""
        [(told,)] = self.ask("SELECT words FROM releases WHERE version = ?", version)
        return [(one["actor"], one["verb"]) for one in json.loads(told)]

    def counted(self, version: str, what: str) -> int:
        """A sum, or an end, of what was counted of a release."""
        question = f"SELECT {what} FROM blocks JOIN releases ON id = release WHERE version = ?"  # noqa: S608
        [(number,)] = self.ask(question, version)
        return int(number)


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> Truth:
    """Version 2 replaces 1; a stranger; 3 goes bad; a stranger gives 4 more, and it is aborted; 5
    is on trial, 6 waits.
    """  # noqa: D205 - one sentence
    folder = tmp_path_factory.mktemp("truth")
    told = Truth()
    told.keep(folder)
    told.path = folder / "headgate.db"
    rules = Rules(approval="before_canary")
    told.spec = replace(SPEC, rollout=ROLLOUT, admission=rules)
    told.look(times=2)
    for number in (2, 3, 4, 5):
        told.register(number)
        told.look(times=4)
        told.store.approve(APP, str(number), f"ann {number}", "the release notes are read")
        if number == 2:
            told.until("Production")
            told.look(times=40)
            told.edit(v1=0, v2=70, v9=30)
            told.look(times=2)
            told.store.give_answer(APP, "revert", "bob", "nobody asked me")
        elif number == 3:
            while told.live.step < 2 or not told.live.spans[-1].settled:
                told.look()
            told.look(times=2)
            told.bad_since, told.error_rates["3"] = told.now, 0.1
            told.until("RolledBack")
        elif number == 4:
            told.until("Canary")
            told.look(times=3)
            told.edit(v1=0, v2=40, v3=0, v4=60)
            told.look(times=4)
            told.store.give_order(APP, "4", Order.ABORT, "cid", "customers complain")
        else:
            told.until("Canary")
            told.register(6)
        told.look(times=6)
    told.application = told.store.load(APP).application
    lines = [*told.lines, *told.store.states()]
    (folder / "headgate.log").write_text("".join(f"{json.dumps(one)}\n" for one in lines))
    told.store.close()
    return told


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A question, the command that answers it, and what is true."""

    question: str
    command: str
    answer: Callable[[Any], object]
    true: Callable[[Truth], object]


def only(rows: list[Any]) -> Any:  # noqa: ANN401 - JSON
    [one] = rows
    return one


def said(rows: list[Mapping[str, Any]]) -> list[tuple[str, str, str]]:
    """Who gave which word, and why."""
    word = [one.get("verb") or one.get("answer") or one["order"] for one in rows]
    return [(one["actor"], told, one["reason"]) for one, told in zip(rows, word, strict=True)]


def at(stamp: str) -> datetime:
    return datetime.fromisoformat(stamp)


def began(truth: Truth) -> datetime:
    """When version 3 began to fail."""
    assert truth.bad_since is not None
    return truth.bad_since


QUESTIONS = [
    Asked(
        question="What is live, and at which weight?",
        command=f"status {APP} --json",
        answer=lambda told: {one["version"]: one["weight"] for one in told},
        true=lambda truth: {v: w for v, w in truth.served[-1][1].items() if w},
    ),
    Asked(
        question="Since when has 5 been in its state?",
        command=f"status {APP}/5 --json",
        answer=lambda told: only(told)["since"],
        true=lambda truth: rfc3339(truth.of("5").since),
    ),
    Asked(
        question="Who approved 5, and why?",
        command=f"history {APP}/5 --event order.given --json",
        answer=said,
        true=lambda truth: [(*one, "the release notes are read") for one in truth.words("5")],
    ),
    Asked(
        question="Why did 3 roll back?",
        command=f"explain {APP}/3 --json",
        answer=lambda told: told["status"]["because"],
        true=lambda truth: truth.of("3").because,
    ),
    Asked(
        question="Which guard closed the gate of 3?",
        command=f"report {APP}/3 --json",
        answer=lambda told: told["post_mortem"]["guard"],
        true=lambda truth: only(
            [guard for guard, mark in truth.of("3").verdicts.items() if mark.startswith("FAIL")]
        ),
    ),
    Asked(
        question="How many requests of users met 3?",
        command=f"report {APP}/3 --json",
        answer=lambda told: told["users"]["requests"],
        true=lambda truth: truth.counted("3", "sum(candidate_requests)"),
    ),
    Asked(
        question="What was the most of users that 3 had?",
        command=f"report {APP}/3 --json",
        answer=lambda told: told["users"]["weight"],
        true=lambda truth: max(shares.get("3", 0) for _, shares in truth.served),
    ),
    Asked(
        question="What was the most that 4 had, by whatever hand?",
        command=f"report {APP}/4 --json",
        answer=lambda told: told["users"]["weight"],
        true=lambda truth: max(shares.get("4", 0) for _, shares in truth.served),
    ),
    Asked(
        question="How long was the gate open for 3?",
        command=f"report {APP}/3 --json",
        answer=lambda told: timedelta(seconds=told["users"]["open_s"]),
        # Home is where it was seen to be home, a look later.
        true=lambda truth: truth.open_for("3") + LOOK,
    ),
    Asked(
        question="When was the first bad minute of 3?",
        command=f"report {APP}/3 --json",
        answer=lambda told: (
            at(told["post_mortem"]["first_bad_from"]),
            at(told["post_mortem"]["first_bad_until"]),
        ),
        true=lambda truth: (truth.bad_since, began(truth) + LOOK),
    ),
    Asked(
        question="What is 6 waiting for?",
        command=f"status {APP}/6 --json",
        answer=lambda told: (only(told)["hold"], only(told)["next"]),
        true=lambda truth: (truth.of("6").hold, truth.status("6")["next"]),
    ),
    Asked(
        question="Is a rollback of 5 possible now?",
        command=f"status {APP}/5 --json",
        answer=lambda told: only(told)["rollback"] == "ready",
        true=lambda truth: truth.served[-1][1].get(str(truth.application.stable), 0) > 0,
    ),
    Asked(
        question="Who aborted 4, and why?",
        command=f"history {APP}/4 --event order.given --json",
        answer=lambda told: said(told)[-1],
        true=lambda truth: ("cid", truth.of("4").order.value, "customers complain"),
    ),
    Asked(
        question="Is anybody needed?",
        command=f"status {APP} --json",
        answer=lambda told: any(one["needs_person"] for one in told),
        true=lambda truth: bool(
            truth.ask("SELECT 1 FROM releases WHERE needs_person AND state != 'RolledBack'")
        ),
    ),
    Asked(
        question="What did a stranger change?",
        command=f"history {APP} --event endpoint.foreign_change --json",
        answer=lambda told: [one["found"] for one in told],
        true=lambda _: [
            f"{found}; alias production at version 2"
            for found in (
                "rag_chatbot-v1 0 %, rag_chatbot-v2 70 %, rag_chatbot-v9 30 %",
                "rag_chatbot-v1 0 %, rag_chatbot-v2 40 %, rag_chatbot-v3 0 %, rag_chatbot-v4 60 %",
            )
        ],
    ),
    Asked(
        question="Who answered that, and how?",
        command=f"history {APP}/2 --event order.given --json",
        answer=lambda told: said(told)[-1],
        true=lambda _: ("bob", "revert", "nobody asked me"),
    ),
    Asked(
        question="How old is the evidence about 5?",
        command=f"report {APP}/5 --json",
        answer=lambda told: at(only(told["sources"])["closed"]).timestamp(),
        true=lambda truth: truth.counted("5", "max(closed_at)") / 1e6,
    ),
    Asked(
        question="When does the next step open at the earliest?",
        command=f"status {APP}/5 --json",
        answer=lambda told: at(only(told)["earliest"]),
        true=lambda truth: truth.now - truth.of("5").on_step + ROLLOUT.min_step,
    ),
    Asked(
        question="What was 5 tested by, and what failed?",
        command=f"explain {APP}/5 --json",
        answer=lambda told: {(one["asked"], len(one["failed"])) for one in told["tests"]},
        true=lambda truth: {(len(truth.spec.tests), 0)},
    ),
    Asked(
        question="What does each guard say of 5 now?",
        command=f"explain {APP}/5 --json",
        answer=lambda told: {
            one["guard"]: f"{one['verdict']} at step {one['step']}" for one in told["verdicts"]
        },
        true=lambda truth: dict(truth.of("5").verdicts),
    ),
    Asked(
        question="Who counts for each guard of 5?",
        command=f"history {APP}/5 --event release.judged --json",
        answer=lambda told: dict(only(told)["sources"]),
        true=lambda truth: dict(truth.of("5").sources),
    ),
    Asked(
        question="When did the alias last move, and from where to where?",
        command=f"history {APP} --event alias.moved --json",
        answer=lambda told: (told[-1]["from_version"], told[-1]["to_version"]),
        true=lambda truth: ("1", truth.alias),
    ),
    Asked(
        question="What would everybody go back to?",
        command=f"status {APP}/5 --json",
        answer=lambda told: only(told)["stable"],
        true=lambda truth: truth.application.stable,
    ),
    Asked(
        question="What became of every version?",
        command=f"status {APP} --all --json",
        answer=lambda told: [(one["version"], one["state"]) for one in told],
        true=lambda truth: truth.ask("SELECT version, state FROM releases ORDER BY version"),
    ),
    Asked(
        question="What does the endpoint serve, by its own last change?",
        command=f"history {APP} --event endpoint.update --json",
        answer=lambda told: told[-1]["versions"],
        true=lambda truth: truth.served[-1][1],
    ),
]


def asked(command: str, *place: str) -> Any:  # noqa: ANN401 - JSON
    result = CliRunner().invoke(app, [*command.split(), *place])
    assert result.exit_code in (0, 1, 3), result.output
    lines = result.stdout.splitlines()
    rows = command.startswith("history")
    return [json.loads(line) for line in lines] if rows else json.loads(result.stdout)


@pytest.mark.parametrize("one", QUESTIONS, ids=lambda one: one.question)
def test_one_command_answers_it_from_the_log_alone_as_from_the_store(
    truth: Truth, one: Asked
) -> None:
    told = asked(one.command, "--logs", str(truth.path.with_suffix(".log")))
    assert told == asked(one.command, "--store", f"sqlite:///{truth.path}")
    assert one.answer(told) == one.true(truth)


def test_the_page_lists_all_of_the_twenty_questions_and_more() -> None:
    assert len({one.question for one in QUESTIONS}) == len(QUESTIONS) > 20
    page = (Path(__file__).parents[3] / "deploy" / "logs" / "README.md").read_text(encoding="utf-8")
    rows = [f"| {one.question} | `headgate {one.command}` |" for one in QUESTIONS]
    assert "\n".join(rows) in page, "\n".join(rows)


@pytest.mark.parametrize("state", ["Testing", "Canary"])
@pytest.mark.parametrize("back", ["by hand", "revert"])
def test_what_others_gave_to_a_version_is_in_its_report_until_it_was_seen_back(
    tmp_path: Path, state: str, back: str
) -> None:
    story = Truth()
    story.keep(tmp_path)
    story.spec = replace(SPEC, rollout=ROLLOUT)
    story.look(times=2)
    story.register(2)
    story.until(state)
    story.order(Order.PAUSE)
    story.look(times=2)
    had = story.served[-1][1]
    edited = story.now + LOOK
    story.edit(v1=40, v2=60)
    story.look(times=4)
    if back == "revert":
        story.store.give_answer(APP, "revert", "bob", "nobody asked me")
    else:
        story.edit(**{f"v{version}": weight for version, weight in had.items()})
    story.look(times=3)
    assert story.served[-1][1] == had
    told = account(fold(story.lines), f"{APP}/2")
    story.store.close()
    assert told.users.weight == 60
    [(begun, ended)] = [
        (one.at, after.at) for one, after in pairwise(told.moments) if one.weight_seen == 60
    ]
    assert begun == edited
    assert ended == edited + (4 if back == "by hand" else 5) * LOOK
    assert told.moments[-1].weight_seen == had["2"]
    if state == "Testing":
        assert timedelta(seconds=told.users.open_s) == ended - begun


@pytest.mark.parametrize("version", ["2", "3", "4", "5"])
def test_what_the_endpoint_gave_to_a_version_at_any_time_is_in_its_report(
    truth: Truth, version: str
) -> None:
    told = asked(f"report {APP}/{version} --json", "--logs", str(truth.path.with_suffix(".log")))
    moments = [(at(one["at"]), one["weight_seen"] or 0) for one in told["weights"]]
    until = at(told["status"]["since"])
    before = 0
    for when, shares in truth.served:
        seen = [weight for begun, weight in moments if begun <= when][-1:]
        if seen and when <= until:
            assert seen[0] in (before, shares.get(version, 0)), f"at {when}"
        before = shares.get(version, 0)


def test_the_earliest_time_of_the_next_step_is_when_a_good_version_gets_it(tmp_path: Path) -> None:
    story = Truth()
    story.keep(tmp_path)
    story.spec = replace(SPEC, rollout=ROLLOUT)
    story.look(times=2)
    story.register(2)
    story.until("Canary")
    story.look(times=3)
    [told] = fold(story.lines).statuses(f"{APP}/2")
    assert told["earliest"] is not None
    due = at(told["earliest"])
    while story.live.step == 1:
        assert story.now < due + LOOK
        story.look()
    assert story.now >= due
    story.store.close()

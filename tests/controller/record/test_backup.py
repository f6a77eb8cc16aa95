"""A backup is one that was restored: from either kind of store, into either kind."""

import gzip
import hashlib
import json
import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from controller.console import cli
from controller.record.leases import Leases
from controller.record.store import Store
from states.machine import State
from states.plan import MoveAlias
from states.release import Application, Order
from tests.controller.house import NAME, opened
from tests.controller.postgres import Postgres  # noqa: TC001 - a fixture asks for it
from tests.controller.record.conftest import Home
from tests.controller.record.earlier import store_of
from tests.controller.record.making import (
    SPEC,
    block,
    plan,
    release,
    seqs,
    store_in,
    told,
    write,
)
from tests.states.story import SPEC as STORY_SPEC


def headgate(*arguments: object) -> tuple[int, str]:
    """Exit code and all that was said."""
    ran = CliRunner().invoke(cli.app, [str(one) for one in arguments])
    assert ran.exception is None or isinstance(ran.exception, SystemExit), ran.exception
    return ran.exit_code, ran.output


def busy(store: Store) -> None:
    """A record with something in every table."""
    loaded = store.load("rag", SPEC)
    live = release("2", State.CANARY, step=1, blocks=(block(1), block(2)))
    changed = replace(loaded.application, stable="1", adopted=True)
    old = release("1", State.PRODUCTION, confirmed=True)
    events = (told(old), told(live))
    store.mark_printed(1)
    done = store.commit(loaded, plan(changed, old, live, events=events), [MoveAlias("2")])
    store.settle_call(done.calls[0], "refused", "busy")
    store.give_order("rag", "2", Order.PAUSE, "ann", "lunch \u2028 \0 \ud83d\ude00")
    leases = Leases(store, "one")
    assert leases.renew()
    assert "rag" in leases.share(["rag"])
    leases.give_back()


def same(store: Store) -> Application:
    """The application, but for what depends on the clock: which of its calls are recent."""
    return replace(store.load("rag", SPEC).application, attempts=())


@pytest.fixture
def target(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a place for another record, with nothing in it."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'other.db'}"
    server: Postgres = request.getfixturevalue("postgres")
    return server.url(server.empty())


@pytest.mark.parametrize("target", ["sqlite", "postgres"], indirect=True)
def test_what_was_backed_up_is_restored_and_goes_on(
    home: Home, target: str, tmp_path: Path
) -> None:
    store, file = home.store(), tmp_path / "kept.gz"
    busy(store)
    code, said = headgate("backup", file, "--store", home.url)
    assert (code, "up to seq 3" in said) == (0, True), said
    assert file.stat().st_mode & 0o777 == 0o600
    code, said = headgate("restore", file, "--store", target)
    assert code == 0, said
    other = Store(target)
    assert list(other.journal()) == list(store.journal())
    assert same(other) == same(store)
    assert other.printed() == 1
    write(other, release("3"))
    assert list(seqs(other)) == [1, 2, 3, 4]
    leases = Leases(other, "two")
    assert leases.renew()
    assert leases.share(["rag"])["rag"].epoch == 2, "no epoch comes twice"
    other.close()
    assert sorted(one.name for one in tmp_path.iterdir() if "kept" in one.name) == ["kept.gz"]


def test_a_daemon_goes_on_while_a_backup_is_taken(home: Home, tmp_path: Path) -> None:
    store = home.store()
    busy(store)
    with store.hold_lock():
        assert headgate("backup", tmp_path / "kept.gz", "--store", home.url)[0] == 0
        write(store, release("3"))


def test_what_would_be_lost_is_not_overwritten_unless_it_is_said(
    home: Home, tmp_path: Path
) -> None:
    store, file = home.store(), tmp_path / "kept.gz"
    busy(store)
    assert headgate("backup", file, "--store", home.url)[0] == 0
    assert headgate("restore", file, "--store", home.url)[0] == 0, "nothing is lost by that"
    write(store, release("3"))
    before = list(store.journal())
    code, said = headgate("restore", file, "--store", home.url)
    assert code == 6
    assert "is newer than" in said
    assert "its journal ends with seq 4, the backup's with 3" in said
    assert list(store.journal()) == before
    store.close()
    code, said = headgate("restore", file, "--store", home.url, "--replace")
    assert code == 0, said
    assert list(seqs(home.store())) == [1, 2, 3]
    if home.file is not None:
        # The restore before it had put a file aside, too.
        put_aside = f"{home.file}.before-restore-2"
        assert f"what was there is now {put_aside}" in said
        with sqlite3.connect(put_aside) as aside:
            assert aside.execute("SELECT count(*) FROM journal").fetchall() == [(4,)]
        aside.close()


def test_another_history_is_not_overwritten_unless_it_is_said(home: Home, tmp_path: Path) -> None:
    other, file = store_in(tmp_path / "."), tmp_path / "kept.gz"
    if home.file is not None:
        other.close()
        (tmp_path / "elsewhere").mkdir()
        other = store_in(tmp_path / "elsewhere")
    busy(other)
    assert headgate("backup", file, "--store", f"sqlite:///{other.path}")[0] == 0
    other.close()
    store = home.store()
    write(store, release("9"))
    code, said = headgate("restore", file, "--store", home.url)
    assert (code, "has another history than" in said) == (6, True)
    assert headgate("restore", file, "--store", home.url, "--replace")[0] == 0


def test_a_store_in_use_is_never_overwritten(home: Home, tmp_path: Path) -> None:
    store, file = home.store(), tmp_path / "kept.gz"
    busy(store)
    assert headgate("backup", file, "--store", home.url)[0] == 0
    if home.shared:
        assert Leases(store, "living").renew()
        code, said = headgate("restore", file, "--store", home.url, "--replace")
        assert "is in use by the replica living" in said
    else:
        with store.hold_lock():
            code, said = headgate("restore", file, "--store", home.url, "--replace")
        assert "is held by process" in said
    assert code == 6
    assert list(seqs(store)) == [1, 2, 3]


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda lines: lines[:-1], "is not whole"),
        (lambda lines: [*lines[:5], *lines[6:]], "is not whole, or was changed"),
        (lambda lines: [one.replace(b"made", b"fake") for one in lines], "or was changed"),
        (lambda _: [b'{"headgate_backup": 99}\n'], "no backup that this Headgate can read"),
        (lambda _: [b"a letter to my aunt\n"], "is no backup, or is damaged"),
    ],
)
def test_a_damaged_backup_restores_nothing(tmp_path: Path, harm: object, said: str) -> None:
    assert callable(harm)
    store, file = store_in(tmp_path), tmp_path / "kept.gz"
    busy(store)
    store.close()
    assert headgate("backup", file, "--store", f"sqlite:///{store.path}")[0] == 0
    lines = gzip.decompress(file.read_bytes()).splitlines(keepends=True)
    file.write_bytes(gzip.compress(b"".join(harm(lines))))
    target = tmp_path / "new.db"
    code, told_ = headgate("restore", file, "--store", f"sqlite:///{target}")
    assert (code, said in told_) == (6, True), told_
    assert not target.exists()


def test_a_file_cut_short_restores_nothing(tmp_path: Path) -> None:
    store, file = store_in(tmp_path), tmp_path / "kept.gz"
    busy(store)
    store.close()
    assert headgate("backup", file, "--store", f"sqlite:///{store.path}")[0] == 0
    file.write_bytes(file.read_bytes()[:-40])
    code, said = headgate("restore", file, "--store", f"sqlite:///{tmp_path / 'new.db'}")
    assert (code, "damaged" in said) == (6, True), said


def test_a_record_that_contradicts_its_journal_is_no_backup(tmp_path: Path) -> None:
    store, file = store_in(tmp_path), tmp_path / "kept.gz"
    busy(store)
    store.close()
    with sqlite3.connect(store.path) as connection:
        connection.execute("UPDATE releases SET step = 3 WHERE live")
    connection.close()
    code, said = headgate("backup", file, "--store", f"sqlite:///{store.path}")
    assert code == 6
    assert "disagree about rag" in said
    assert not file.exists()


def test_a_damaged_store_gives_way_to_a_backup_only_where_that_is_said(tmp_path: Path) -> None:
    store, file = store_in(tmp_path), tmp_path / "kept.gz"
    busy(store)
    store.close()
    url = f"sqlite:///{store.path}"
    assert headgate("backup", file, "--store", url)[0] == 0
    damage(store.path)
    code, said = headgate("backup", tmp_path / "second.gz", "--store", url)
    assert (code, "is damaged" in said) == (6, True), said
    store.path.write_text("a letter to my aunt, " * 100)
    code, said = headgate("restore", file, "--store", url)
    assert (code, "nothing was restored: with --replace" in said) == (6, True), said
    store.path.with_name("headgate.db-journal").write_bytes(b"half a transaction of the old file")
    assert headgate("restore", file, "--store", url, "--replace")[0] == 0
    assert list(seqs(store_in(tmp_path))) == [1, 2, 3]
    assert (tmp_path / "headgate.db.before-restore-journal").exists(), "it is not the new file's"


def test_a_restore_by_way_of_a_link_replaces_the_file_and_leaves_the_link(tmp_path: Path) -> None:
    folder, file, link = tmp_path / "data", tmp_path / "kept.gz", tmp_path / "headgate.db"
    folder.mkdir()
    store = store_in(folder)
    busy(store)
    link.symlink_to(store.path)
    url = f"sqlite:///{link}"
    assert headgate("backup", file, "--store", url)[0] == 0
    write(store, release("9"))
    with store.hold_lock():
        code, said = headgate("restore", file, "--store", url, "--replace")
    assert (code, f"the store {store.path} is held by process" in said) == (6, True)
    store.path.with_name("headgate.db-journal").write_bytes(b"half a transaction of the old file")
    assert headgate("restore", file, "--store", url, "--replace")[0] == 0
    assert link.is_symlink()
    assert list(seqs(store_in(folder))) == list(seqs(store_in(tmp_path))) == [1, 2, 3]
    assert {one.name for one in folder.iterdir()} == {
        *("headgate.db", "headgate.db.lock"),
        *("headgate.db.before-restore", "headgate.db.before-restore-journal"),
    }
    assert {one.name for one in tmp_path.iterdir()} == {"data", "kept.gz", "headgate.db"}


def damage(file: Path) -> None:
    """Overwrite pages in the middle of a database."""
    with file.open("r+b") as opened_:
        opened_.seek(4096 * 2)
        opened_.write(b"\xff" * 4096 * (file.stat().st_size // 4096 - 4))


def test_a_backup_of_an_earlier_headgate_is_brought_up_to_date(home: Home, tmp_path: Path) -> None:
    """Made of the dump that the migration tests have: rows of schema 0001."""
    old = tmp_path / "old.db"
    store_of("0001", old)
    connection = sqlite3.connect(old)
    connection.row_factory = sqlite3.Row
    head = {"headgate_backup": 1, "schema": "0001", "seq": 0, "at": "2026-11-23T12:00:00+00:00"}
    body = [head]
    for table in ("counters", "applications", "releases", "blocks", "journal", "calls"):
        for row in connection.execute(f"SELECT * FROM {table}"):  # noqa: S608
            cells = dict(row)
            for name in ("body", "fields", "target_json"):
                if name in cells:
                    cells[name] = json.loads(cells[name])
            for name in ("settled", "live", "retained", "needs_person", "comparable"):
                if name in cells:
                    cells[name] = bool(cells[name])
            body.append({"table": table, "row": cells})
            head["seq"] = max(int(head["seq"]), int(cells.get("seq", 0)))  # type: ignore[call-overload]
    connection.close()
    lines = b"".join(json.dumps(one).encode() + b"\n" for one in body)
    tail = {"rows": len(body) - 1, "sha256": hashlib.sha256(lines).hexdigest()}
    file = tmp_path / "old.gz"
    file.write_bytes(gzip.compress(lines + json.dumps(tail).encode() + b"\n"))
    code, said = headgate("restore", file, "--store", home.url)
    assert code == 0, said
    live = home.store().load(NAME, STORY_SPEC).application.live
    assert live is not None
    assert (live.version, live.state, live.step) == ("3", State.CANARY, 2)
    assert len(live.blocks) == 4


def test_after_the_restore_of_an_older_backup_nothing_is_lost_and_nobody_harmed(
    tmp_path: Path,
) -> None:
    """The record is of step 1, the world of step 3: others changed it, as far as it knows."""
    file = tmp_path / "kept.gz"
    url = f"sqlite:///{tmp_path / 'headgate.db'}"
    with opened(tmp_path) as house:
        house.passes()
        house.outside.story.register(2)
        house.until("Canary")
        assert headgate("backup", file, "--store", url)[0] == 0
        while (live := house.application().live) and live.step < 3:
            house.passes()
        story, now = house.outside.story, house.clock[0]
        behind = house.store.last_seq()
    shutil.copy(tmp_path / "headgate.db", tmp_path / "newest.db")
    assert headgate("restore", file, "--store", url, "--replace")[0] == 0
    with opened(tmp_path) as house:
        house.clock[0] = now
        house.outside.story = story
        assert house.store.last_seq() < behind
        weight = story.weight(2)
        assert weight == 50
        for _ in range(40):
            house.passes()
            assert story.weight(2) <= weight, "no user more than before gets the candidate"
            assert story.weight(1) + story.weight(2) == 100
        live = house.application().live
        assert live is not None
        assert house.application().hold is not None, "it asks a person"
        assert house.outside.sent == [], "and does nothing before it has an answer"
        house.store.give_order(NAME, "2", Order.ABORT, "ann", "the record is older than the world")
        house.passes(3)
        assert story.weight(2) == 0, "the way back is open all the same"
        assert list(seqs(house.store)) == list(range(1, house.store.last_seq() + 1))


def test_the_log_is_rebuilt_as_it_was_printed(home: Home) -> None:
    store = home.store()
    busy(store)
    code, said = headgate("rebuild-log", "--store", home.url)
    assert code == 0
    assert [json.loads(line) for line in said.splitlines()] == list(store.journal())
    code, rest = headgate("rebuild-log", "--store", home.url, "--after", 2)
    assert (code, rest) == (0, said.splitlines(keepends=True)[2])


@pytest.mark.parametrize(("after", "code"), [(2**63 - 1, 0), (2**63, 2), (10**20, 2), (-1, 2)])
def test_a_log_is_rebuilt_from_no_line_that_there_cannot_be(
    home: Home, after: int, code: int
) -> None:
    store = home.store()
    busy(store)
    ended, said = headgate("rebuild-log", "--store", home.url, "--after", after)
    assert ended == code
    assert (said == "") == (code == 0), said
    assert ("--after" in said) == (code == 2), "it says what is wrong"


def test_a_backup_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    busy(store)
    store.close()
    url = f"sqlite:///{store.path}"
    code, said = headgate("backup", tmp_path / "nowhere" / "kept.gz", "--store", url)
    assert (code, "cannot be written" in said) == (6, True), said

"""Logs as they reach an operator: shipped, rotated, wrapped, mixed, torn; the answers are the same.

Every answer is compared with that of the store in which the same story was written down.
"""

import gzip
import io
import json
import random
import tracemalloc
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from controller.console import logs
from controller.console.cli import app
from controller.console.logs import lines_in, read_lines
from controller.console.moments import moment_of
from controller.console.reading import Book, LogTooLate, fold
from controller.record.lines import Line
from controller.record.logging import json_line
from controller.settings import SettingsError
from states.status import Status, rfc3339
from tests.controller.console.test_reading import APP, Recorded
from tests.controller.record.making import of_the_table

STREWN = settings(
    max_examples=15,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
SEEDS = st.integers(0, 99_999)
FOREIGN = [
    b"",
    b"starting\xe2\x80\xa6",
    b"{not json",
    b'{"msg": "hello", "level": "info"}',
    b'{"event": "x", "seq": 4}',
    b'{"timestamp": "2026-11-23T12:00:00Z", "level": "info", "event": 4, "seq": 4}',
    b'[1, {"seq": 3}]',
    b"INFO:     127.0.0.1 - GET /healthz 200",
    b'said {"timestamp": "2026-11-23T12:00:00.000000Z", "level": "info", "event": "a.b", "seq": 1}',
]
WRAPPED = {
    "plain": "{line}",
    "docker logs -t": "2026-11-23T12:00:00.976389123Z {line}",
    "compose": "headgate-1  | {line}",
    "CRI": "2026-11-23T12:00:00.976389123+01:00 stdout F {line}",
    "kubectl": "[pod/headgate-6d4b75cb6d-abcde/headgate] 2026-11-23T12:00:00.9Z {line}",
    "journald": "Nov 23 12:00:00 host-1 headgate[4711]: {line}",
    "journald, precise": "Nov  3 12:00:00.976389 host-1 headgate[4711]: {line}",
    "journald, full": "Mon 2026-11-23 12:00:00 UTC host-1 headgate[4711]: {line}",
    "journald, iso": "2026-11-23T12:00:00+0000 host-1 python[4711]: {line}",
    "journald, monotonic": "[ 1234.567890] host-1 headgate[4711]: {line}",
    "syslog": "<30>Nov 23 12:00:00 host-1 headgate: {line}",
    "syslog, 5424": '<30>1 2026-11-23T12:00:00.97Z host-1 headgate 4711 - [a@1 b="c"] {line}',
}
MADE = {
    "compact": lambda line: json.dumps(json.loads(line), separators=(",", ":")),
    "sorted": lambda line: json.dumps(json.loads(line), sort_keys=True),
    "journald, json": lambda line: json.dumps({"_PID": "4711", "MESSAGE": line}),
    "loki": lambda line: json.dumps({"labels": {"app": "headgate"}, "line": line}),
    "json-file": lambda line: json.dumps({"log": f"{line}\n", "stream": "stdout", "time": "x"}),
    "json-file, in parts": lambda line: "\n".join(
        json.dumps({"log": part, "stream": "stdout", "time": "x"}) for part in parts(f"{line}\n")
    ),
    "CRI, in parts": lambda line: "\n".join(
        f"2026-11-23T12:00:00.97Z stdout {'P' if part else 'F'} {part}"
        for part in (*parts(line), "")
    ),
}


def parts(line: str) -> list[str]:
    return [line[at : at + 300] for at in range(0, len(line), 300)]


def wrapped(way: str, line: bytes) -> bytes:
    text = line.decode()
    return (MADE[way](text) if way in MADE else WRAPPED[way].format(line=text)).encode()


@dataclass(repr=False)
class Kept(Recorded):
    """A story with what the tables said at each moment, and the heartbeats printed on the way."""

    folder: Path = field(default_factory=Path)

    moments: list[tuple[datetime, int, list[Status]]] = field(default_factory=list)
    beats: list[Line] = field(default_factory=list)

    def look(self, *, after: float = 30, times: int = 1) -> SimpleNamespace:  # type: ignore[override]
        for _ in range(times):
            super().look(after=after)
            now = of_the_table(self.store, APP)
            self.moments.append((self.now, self.store.last_seq(), now))
            head = {"timestamp": rfc3339(self.now), "level": "info"}
            self.beats += [{**head, **beat} for beat in self.store.states()]
        return SimpleNamespace()

    @property
    def url(self) -> str:
        return f"sqlite:///{self.folder / 'headgate.db'}"

    @cached_property
    def journal(self) -> list[bytes]:
        """The journal's lines as they are printed."""
        return [json_line(line).encode() for line in self.lines]

    @cached_property
    def printed(self) -> list[bytes]:
        """The log as it was printed, every third heartbeat in it."""
        return [*self.journal, *(json_line(beat).encode() for beat in self.beats[::3])]

    @cached_property
    def truth(self) -> list[object]:
        """What the store answers."""
        return answers(fold(self.store.journal()))


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    """One release is rolled back, and the next one is on its way."""
    story = Kept(folder=tmp_path_factory.mktemp("store"))
    story.keep(story.folder)
    story.look(times=2)
    story.register(2)
    story.error_rates["2"] = 0.2
    story.until("RolledBack")
    story.look(times=2)
    story.register(3)
    story.until("Canary")
    story.look(times=3)
    yield story
    story.store.close()


def answers(book: Book) -> list[object]:
    return [
        book.statuses(),
        book.statuses(all_=True),
        book.statuses(f"{APP}/2"),
        book.history(),
        book.history(f"{APP}/3"),
        book.explain(APP),
        book.explain(f"{APP}/2"),
        book.waiting(),
    ]


def written(path: Path, lines: Sequence[bytes], *, zipped: bool = False) -> str:
    text = b"".join(line + b"\n" for line in lines)
    # Whatever it is called: a rotated file keeps its name, and loses it.
    path.write_bytes(gzip.compress(text, compresslevel=1) if zipped else text)
    return str(path)


@STREWN
@given(ways=st.lists(st.sampled_from([*WRAPPED, *MADE]), min_size=1, max_size=3), seed=SEEDS)
def test_lines_in_any_order_doubled_split_wrapped_zipped_and_mixed_tell_the_same(
    told: Kept, tmp_path: Path, ways: list[str], seed: int
) -> None:
    luck = random.Random(seed)  # noqa: S311 - no secret
    lines = [*told.printed, *luck.sample(told.printed, luck.randrange(len(told.printed)))]
    if luck.random() < 0.7:
        luck.shuffle(lines)
    files: list[list[bytes]] = [[] for _ in ways]
    foreign = 0
    for line in lines:
        file = luck.randrange(len(files))
        if luck.random() < 0.1:
            other = luck.choice(FOREIGN)
            foreign += bool(other)
            files[file].append(other)
        files[file].append(wrapped(ways[file], line))
    paths = [
        written(tmp_path / f"{number}.log", some, zipped=luck.random() < 0.3)
        for number, some in enumerate(files)
    ]
    log = read_lines(paths)
    assert (log.skipped, log.damaged, log.cut) == (foreign, [], []), ways
    assert answers(fold(log)) == told.truth, ways


@pytest.mark.parametrize("way", [*WRAPPED, *MADE])
def test_every_way_in_which_lines_are_wrapped_is_known(
    told: Kept, tmp_path: Path, way: str
) -> None:
    log = read_lines(written(tmp_path / "one.log", [wrapped(way, line) for line in told.journal]))
    assert (log.skipped, log.damaged) == (0, [])
    assert answers(fold(log)) == told.truth


def test_the_daemons_own_lines_are_known_by_their_beginning(
    told: Kept, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd: list[object] = []
    monkeypatch.setattr(logs.Log, "_odd", lambda _, *odds: odd.extend(odds))
    log = read_lines(written(tmp_path / "one.log", told.printed))
    assert odd == [], "what is decoded takes five times as long"
    assert [json_line(line).encode() for line in log] == told.printed
    part = io.BytesIO(b"\n".join(told.printed[:9]))
    assert [json_line(line).encode() for line in lines_in("one.log", part)] == told.printed[:9]


HOSTILE = st.one_of(
    st.binary(max_size=200),
    st.binary(max_size=40).map(lambda some: b'{"timestamp": "' + some),
    st.integers(1, 40).map(lambda deep: b'{"seq": ' + b"[" * deep * 2_000),
    st.integers(1, 9).map(lambda long: b'{"seq": ' + b"9" * 1_000 * long + b"}"),
    st.just(b'{"event": "release.transition", "seq": 1' + b" " * 5_000),
    st.sampled_from([b"\xff\xfe", b"\x1f\x8b", b"\x00" * 300, b'"', b"null", b"{}", b"\r"]),
    st.just(
        b'{"timestamp": "2026-11-23T12:00:00.000000Z", "level": "info", "event": "a.b", "seq": 99}'
        b'{"msg": "two in a line"}'
    ),
)


@STREWN
@given(hostile=st.lists(HOSTILE, max_size=8), seed=SEEDS)
def test_hostile_lines_change_no_answer(
    told: Kept, tmp_path: Path, hostile: list[bytes], seed: int
) -> None:
    luck, lines = random.Random(seed), list(told.printed)  # noqa: S311 - no secret
    for _ in range(8):
        # Cut short, alone or run into another program's line, with the whole line elsewhere.
        line = luck.choice(told.printed)
        cut = line[: luck.randrange(len(line))]
        hostile = [*hostile, cut, cut + luck.choice([b'{"msg": "x"}', b"\xff}"])]
    for one in hostile:
        lines.insert(luck.randrange(len(lines) + 1), one.replace(b"\n", b" "))
    log = read_lines(written(tmp_path / "one.log", lines))
    assert answers(fold(log)) == told.truth


def test_a_line_longer_than_any_of_ours_is_skipped_in_pieces(told: Kept, tmp_path: Path) -> None:
    huge = told.journal[1][:200] + b"x" * (3 * logs.LONGEST) + b"}"
    log = read_lines(written(tmp_path / "one.log", [huge, *told.journal]))
    assert log.skipped == 1
    assert answers(fold(log)) == told.truth


def test_files_beyond_those_that_stay_open_are_read_too(
    told: Kept, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "_KEPT_OPEN", 2)
    paths = [written(tmp_path / f"{number}", [one]) for number, one in enumerate(told.journal)]
    assert answers(fold(read_lines(paths))) == told.truth


@STREWN
@given(share=st.floats(0.05, 0.99))
def test_a_compressed_file_that_is_cut_short_is_read_as_far_as_it_goes(
    told: Kept, tmp_path: Path, share: float
) -> None:
    whole = gzip.compress(b"".join(line + b"\n" for line in told.printed), compresslevel=1)
    cut = tmp_path / "cut.log"
    cut.write_bytes(whole[: int(len(whole) * share)])
    other = written(tmp_path / "whole.log", told.printed)
    log = read_lines([str(cut), other])
    assert log.cut == [str(cut)]
    assert answers(fold(log)) == told.truth
    said = CliRunner().invoke(app, ["history", "--json", "--logs", str(cut)])
    assert "is damaged" in said.stderr, said.stderr
    assert said.exit_code == 2 or said.stdout


def test_a_file_that_is_compressed_otherwise_is_refused_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(b"\x28\xb5\x2f\xfd and so on")
    said = CliRunner().invoke(app, ["status", "--logs", str(tmp_path / "one")])
    assert said.exit_code == 2
    assert "one is compressed by zstd: give it decompressed, by a pipe and --logs -" in said.stderr


@STREWN
@given(data=st.data())
def test_any_window_tells_what_the_store_told_or_says_that_it_cannot(
    told: Kept, tmp_path: Path, data: st.DataObject
) -> None:
    number = data.draw(st.integers(3, len(told.moments) - 1))
    _, seq, known = told.moments[number]
    first = data.draw(st.integers(0, seq - 1))
    beats = [beat for beat in told.beats[: number + 1] if beat["as_of_seq"] >= first]
    some = data.draw(st.lists(st.sampled_from(beats), max_size=3)) if beats else []
    lines = [*told.journal[first:seq], *(json_line(beat).encode() for beat in some)]
    book = fold(read_lines(written(tmp_path / "one.log", lines)))
    if some or not first:
        assert book.statuses(APP) == known, "a heartbeat, or the whole log, tells the state"
        return
    with suppress(LogTooLate):
        assert book.statuses(APP) == known, "if there is an answer it is the right one"


def test_a_window_says_from_when_on_it_tells_the_state(told: Kept, tmp_path: Path) -> None:
    beat = told.beats[-1]
    late = [line for line in told.lines if line["seq"] >= beat["as_of_seq"] - 4]
    path = written(tmp_path / "one.log", [json_line(line).encode() for line in (*late, beat)])
    before = rfc3339(datetime.fromisoformat(late[0]["timestamp"]))
    said = CliRunner().invoke(app, ["status", "--logs", path, "--at", before])
    assert said.exit_code == 2
    assert f"it tells the state of {APP} from {beat['timestamp']} on" in said.stderr, said.stderr
    assert CliRunner().invoke(app, ["status", "--logs", path, "--at", beat["timestamp"]]).stdout


def test_a_release_that_only_an_earlier_heartbeat_names_is_found(told: Kept) -> None:
    early = next(beat for beat in told.beats if len(beat["releases"]) > 1)
    late = {
        **early,
        "timestamp": rfc3339(told.now),
        "live": None,
        "releases": early["releases"][:1],
    }
    known = next(one for one in early["releases"] if one["version"] == "2")
    assert fold([early, late]).statuses(f"{APP}/2") == [known]
    assert fold([late, early]).statuses(APP) == early["releases"][:1]


def test_at_any_moment_log_and_store_tell_what_was_known_then(told: Kept, tmp_path: Path) -> None:
    log = read_lines(written(tmp_path / "one.log", told.printed))
    lines = told.lines
    for at, seq, known in told.moments:
        assert fold(log, at).statuses(APP) == known, at
        assert fold(lines, at).statuses(APP) == known, at
        assert fold(log, at).history() == lines[:seq]
    before = told.moments[0][0] - timedelta(days=1)
    assert fold(log, before).statuses() == fold(lines, before).statuses() == []


@pytest.mark.parametrize(
    "question",
    [
        ("status", "--json"),
        ("status", "--json", "--all"),
        ("status", f"{APP}/2", "--at", "AT"),
        ("status", "--json", "--at", "AT"),
        ("history",),
        ("history", "--json", f"{APP}/2"),
        ("history", "--at", "AT"),
        ("explain", APP, "--json"),
        ("explain", f"{APP}/2", "--at", "AT"),
        ("explain", f"{APP}/2", "--recompute"),
        ("report", f"{APP}/2"),
        ("report", f"{APP}/3", "--json"),
        ("status", "nothing"),
        ("explain", f"{APP}/9"),
    ],
)
def test_every_question_has_the_same_answer_from_the_log_and_from_the_store(
    told: Kept, tmp_path: Path, question: tuple[str, ...]
) -> None:
    at = rfc3339(told.moments[len(told.moments) // 2][0])
    asked = [at if word == "AT" else word for word in question]
    half = len(told.printed) // 2
    files = [
        written(tmp_path / "headgate.log", told.printed[half:]),
        written(tmp_path / "headgate.log.1", told.printed[:half], zipped=True),
    ]
    of_log = CliRunner().invoke(app, [*asked, "--logs", *files])
    of_store = CliRunner().invoke(app, [*asked, "--store", told.url])
    assert of_log.output == of_store.output
    assert of_log.exit_code == of_store.exit_code


def test_the_log_alone_has_no_days_of_requests(told: Kept, tmp_path: Path) -> None:
    path = written(tmp_path / "one.log", told.printed)
    said = CliRunner().invoke(app, ["report", APP, "--logs", path])
    assert said.exit_code == 2
    assert "is told of by its inference table: name a release" in said.stderr


def test_skipped_lines_are_told_on_stderr_and_not_in_the_answer(told: Kept, tmp_path: Path) -> None:
    path = written(tmp_path / "one.log", [b"hello", *told.journal, b'{"msg": "x"}'])
    said = CliRunner().invoke(app, ["status", "--json", "--logs", path])
    assert said.stderr == "headgate: 2 lines were not Headgate's, and skipped\n"
    assert json.loads(said.stdout)


def test_a_log_without_our_lines_says_so(tmp_path: Path) -> None:
    said = CliRunner().invoke(app, ["status", "--logs", written(tmp_path / "one", [b"hello"])])
    assert said.exit_code == 2
    assert "holds no line of Headgate's log" in said.stderr


def test_a_log_is_not_held_while_it_is_read(told: Kept, tmp_path: Path) -> None:
    path = written(
        tmp_path / "one.log", [*told.journal, *([b'{"msg": "%s"}' % (b"x" * 900)] * 8_000)]
    )
    tracemalloc.start()
    try:
        fold(read_lines(path)).statuses()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < Path(path).stat().st_size / 6


NOW = datetime(2026, 11, 23, 12, 30, 15, tzinfo=UTC)


@pytest.mark.parametrize(
    ("written_as", "meant"),
    [
        ("2026-11-23T12:00:00Z", NOW.replace(minute=0, second=0)),
        ("2026-11-23T13:00:00.5+01:00", NOW.replace(minute=0, second=0, microsecond=500_000)),
        ("2026-11-23 12:00", NOW.replace(minute=0, second=0)),
        ("9:05", NOW.replace(hour=9, minute=5, second=0)),
        ("12:30:14", NOW - timedelta(seconds=1)),
        ("-10m", NOW - timedelta(minutes=10)),
        ("10m ago", NOW - timedelta(minutes=10)),
        ("1.5h ago", NOW - timedelta(minutes=90)),
        ("7d ago", NOW - timedelta(days=7)),
    ],
)
def test_moments_are_written_as_operators_write_them(written_as: str, meant: datetime) -> None:
    assert moment_of(written_as, NOW) == meant


@pytest.mark.parametrize(
    ("written_as", "said"),
    [
        ("yesterday", "write 2026-03-01T12:30:00Z, 12:30"),
        ("10m", "write 2026-03-01T12:30:00Z, 12:30"),
        ("25:10", "hour must be in 0..23"),
        ("2026-13-01T00:00", "month must be in 1..12"),
        ("-ten minutes", "write a duration such as 30s"),
        ("12:31", "2026-11-23 12:31:00 UTC is still to come; for another day write its date too"),
        ("2027-01-01T00:00Z", "2027-01-01 00:00:00 UTC is still to come$"),
        ("", "write 2026-03-01"),
    ],
)
def test_what_is_no_moment_is_a_sentence(written_as: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        moment_of(written_as, NOW)

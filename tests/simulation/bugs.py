"""Bugs put in on purpose: a simulation that does not find them has proved nothing.

Each is a mistake that somebody could make, or has made elsewhere (DESIGN §8), in the product's own
code, for as long as the context lasts.
"""

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

from sqlalchemy import Connection, select, update

from controller.daemon import act, collect, observe, passes
from controller.daemon.tenure import Tenure
from controller.daemon.windows import block_of
from controller.record import leases, loading, orders, store, writing
from controller.record.budget import Budget
from controller.record.errors import Conflict
from controller.record.leases import Lease
from controller.record.lines import Line
from controller.record.loading import Loaded
from controller.record.printer import Printer
from controller.record.schema import APPLICATIONS, COUNTERS, LEASES, RELEASES, SEQ
from controller.record.store import Committed
from controller.workspace.errors import WorkspaceError
from policies.evidence import Block
from policies.golden import Begun, Round
from policies.judge import no_worse, of_source
from policies.verdict import Outcome, Verdict
from states import (
    canary,
    climb,
    foreign,
    harm,
    home,
    judging,
    reconcile,
    rehearsal,
    shutting,
    staging,
    supervise,
    wishes,
)
from states.desired import desired, desired_alias
from states.machine import State
from states.plan import Call, MoveAlias, Plan, Serve
from states.release import Application, Release
from states.resending import LAST_WAIT
from states.rounds import taken_in
from states.turn import Turn
from states.world import Endpoint, World
from tests.simulation.fate import FEW_WRITES, Begin
from tests.simulation.record import Record, ram_disk, template
from tests.simulation.replica import Replica
from tests.simulation.run import Options, _Run, run

Patches = Iterator[None]
BUGS: dict[str, Callable[[], Any]] = {}


def bug(build: Callable[[], Patches]) -> Callable[[], Any]:
    """Give a bug its name: that of the function that puts it in."""
    BUGS[build.__name__.replace("_", " ")] = contextmanager(build)
    return build


@bug
def trust_the_200() -> Patches:
    """What the workspace took counts as done."""
    real = home.converged

    def converged(turn: Turn) -> bool:
        wanted = str(desired(turn.application))
        sent = [one for one in turn.application.attempts if one.kind == "serve"]
        taken = bool(sent) and (sent[-1].outcome, sent[-1].target) == ("done", wanted)
        return real(turn) or (taken and turn.endpoint is not None)

    with ExitStack() as stack:
        for room in (canary, climb, home):
            stack.enter_context(patch.object(room, "converged", converged))
        yield


@bug
def alias_too_early() -> Patches:
    """The alias moves with the last step, before the bake."""

    def early(application: Application) -> str | None:
        live = application.live
        return live.version if live is not None and live.baking else desired_alias(application)

    with patch.object(wishes, "desired_alias", early):
        yield


@bug
def no_config_version_check() -> Patches:
    """A stale answer is believed."""

    def trusted(_: Application, world: World) -> Endpoint | None:
        return world.endpoint if isinstance(world.endpoint, Endpoint) else None

    with patch.object(reconcile, "_trusted", trusted):
        yield


def _refreshed(connection: Connection, loaded: Loaded) -> Loaded:
    """The fence as it would have to be for the write to go through."""
    name = loaded.application.name
    row = connection.execute(select(APPLICATIONS.c.row).where(APPLICATIONS.c.name == name)).scalar()
    rows = dict(connection.execute(select(RELEASES.c.id, RELEASES.c.row)).tuples().all())
    seen = {mark: replace(one, row=rows[one.id]) for mark, one in loaded.releases.items()}
    return replace(loaded, row=row or 0, releases=seen)


@bug
def no_row_version() -> Patches:
    """The last writer wins, whatever was written since it read."""
    application, releases = writing.write_application, writing.write_releases

    def write_application(connection: Connection, loaded: Loaded, after: Application) -> None:
        application(connection, _refreshed(connection, loaded), after)

    def write_releases(connection: Connection, loaded: Loaded, after: Application) -> None:
        releases(connection, _refreshed(connection, loaded), after)

    with (
        patch.object(store, "write_application", write_application),
        patch.object(store, "write_releases", write_releases),
    ):
        yield


@bug
def no_order_fence() -> Patches:
    """An order that lands between reading and writing is not noticed."""
    real = orders.give

    def give(connection: Connection, application: str, *rest: Any) -> str:  # noqa: ANN401
        told = real(connection, application, *rest)
        connection.execute(
            update(APPLICATIONS)
            .where(APPLICATIONS.c.name == application)
            .values(row=APPLICATIONS.c.row - 1)
        )
        return told

    def write_release(connection: Connection, loaded: Loaded, release: Release) -> int:
        seen = loaded.releases.get(loading.mark(release))
        if seen is not None:
            found = select(RELEASES.c.order_).where(RELEASES.c.id == seen.id)
            order = type(seen.order)(connection.execute(found).scalar_one())
            marks = {**loaded.releases, loading.mark(release): replace(seen, order=order)}
            loaded, release = replace(loaded, releases=marks), replace(release, order=order)
        return real_write(connection, loaded, release)

    real_write = writing._write_release
    with patch.object(store, "give", give), patch.object(writing, "_write_release", write_release):
        yield


@bug
def durations_by_each_process_own_clock() -> Patches:
    """A replica measures time by the clock of its own machine."""
    real = _Run._replica

    def replica(self: _Run, name: str, path: Path) -> Any:  # noqa: ANN401
        made = real(self, name, path)
        made.clock = self.walls[name]
        return made

    with patch.object(_Run, "_replica", replica):
        yield


@bug
def no_data_is_a_pass() -> Patches:
    """Nothing was counted, so nothing is wrong."""

    def passes(guard: Any, blocks: Sequence[Any], **how: Any) -> Verdict:  # noqa: ANN401
        verdict = no_worse(guard, tuple(blocks), **how)
        counted = sum(block.candidate.requests for block in of_source(guard, blocks))
        return verdict if counted else replace(verdict, outcome=Outcome.PASS)

    with patch.object(canary, "no_worse", passes):
        yield


@bug
def no_drift_repair() -> Patches:
    """What was asked for once is not asked for again."""
    real = wishes._serve

    def serve(turn: Turn) -> Serve | None:
        call = real(turn)
        return None if call is None or call.target == turn.application.asked else call

    with patch.object(wishes, "_serve", serve):
        yield


@bug
def act_before_commit() -> Patches:
    """First the workspace, then the record."""
    real = Record.commit

    def commit(
        self: Record,
        loaded: Loaded,
        plan: Plan,
        calls: Sequence[Call] = (),
        **proofs: Any,  # noqa: ANN401 - lease and budget, as they are given
    ) -> Committed:
        for call in calls:
            self.hands()._send(plan.application, call)
        return real(self, loaded, plan, calls, **proofs)

    def send(self: act.Actor, application: Application, call: Call, number: int) -> None:
        del application, call
        self.store.settle_call(number, "done", "the workspace took it")

    with (
        patch.object(Record, "commit", commit),
        patch.object(act.Actor, "send", send),
    ):
        yield


@bug
def step_without_proof() -> Patches:
    """A step is left when its time is over, whatever was shown."""

    def verdicts(_: Turn, release: Release) -> tuple[Release, list[Verdict]]:
        return release, []

    with patch.object(canary, "_verdicts", verdicts):
        yield


@bug
def retry_inside_a_call() -> Patches:
    """What was not answered is sent again at once."""
    real = act.Actor._send

    def send(self: act.Actor, application: Application, call: Call) -> None:
        try:
            real(self, application, call)
        except WorkspaceError as error:
            if error.outcome != "open":
                raise
            real(self, application, call)

    with patch.object(act.Actor, "_send", send):
        yield


@bug
def alias_first_on_the_way_back() -> Patches:
    """Users wait until the alias is home."""

    def wish(turn: Turn) -> tuple[Call, ...]:
        calls, live = wishes.wishes(turn), turn.application.live
        back = live is not None and live.state is State.ROLLED_BACK
        named = any(isinstance(one, MoveAlias) for one in calls)
        away = turn.world.alias != desired_alias(turn.application)
        if back and (named or away):
            return tuple(one for one in calls if not isinstance(one, Serve))
        return calls

    with patch.object(reconcile, "wishes", wish):
        yield


@bug
def an_open_call_is_forgotten() -> Patches:
    """A call without an answer counts as never sent."""
    real = loading._attempts

    def attempts(*asked: Any) -> Any:  # noqa: ANN401
        return tuple(one for one in real(*asked) if one.outcome != "open")

    with patch.object(loading, "_attempts", attempts):
        yield


@bug
def a_gap_in_the_journal() -> Patches:
    """A number is taken, and its row is not written."""
    real = writing.append

    def append(connection: Connection, rows: Sequence[Any]) -> tuple[int, ...]:
        if any(row["event"] == "release.settled" for row in rows):
            raised = update(COUNTERS).where(COUNTERS.c.name == SEQ)
            connection.execute(raised.values(value=COUNTERS.c.value + 1))
        return real(connection, rows)

    with patch.object(store, "append", append):
        yield


@bug
def the_cursor_moves_before_the_line() -> Patches:
    """A crash between the two loses the line."""

    def print_new(self: Printer) -> int:
        last = self._store.printed()
        for line in self._store.journal(after=last):
            last = int(line["seq"])
            self._store.mark_printed(last)
            with self._store.writing() as connection:
                self._store._save_cursor(connection)
            self._print(line)
        return last

    with patch.object(Printer, "print_new", print_new):
        yield


@bug
def users_for_what_is_not_ready() -> Patches:
    """An entity gets users whether it is ready or not."""

    def ready(turn: Turn, _: Release) -> bool:
        return home.converged(turn)

    with patch.object(climb, "ready_for", ready), patch.object(shutting, "ready_for", ready):
        yield


@bug
def theirs_is_undone_silently() -> Patches:
    """Somebody's change is taken for a call that got lost."""

    def endpoint_part(turn: Turn) -> tuple[str, ...] | None:
        return None if turn.unseen else ()

    with patch.object(supervise, "endpoint_part", endpoint_part):
        yield


@bug
def time_counts_twice() -> Patches:
    """A stay is over when half of it is."""
    real = reconcile._take_in

    def take_in(turn: Turn) -> None:
        before = turn.application.live
        real(turn)
        live = turn.application.live
        if before is not None and live is not None:
            more = live.on_step - before.on_step
            turn.put(live, on_step=live.on_step + max(more, timedelta()))

    with patch.object(reconcile, "_take_in", take_in):
        yield


@bug
def no_deadline() -> Patches:
    """What never gets ready is waited for."""
    real = climb._provisioning

    def provisioning(turn: Turn, release: Release, *, asked_anew: bool) -> None:
        assert release.pinned is not None
        never = replace(release.pinned, provisioning_deadline=timedelta(days=400))
        real(turn, replace(release, pinned=never), asked_anew=asked_anew)
        live = turn.application.live
        if live is not None and live.pinned == never:
            turn.put(live, pinned=release.pinned)

    with patch.object(climb, "_provisioning", provisioning):
        yield


@bug
def journal_after_the_state() -> Patches:
    """State and journal are two transactions, with a crash between them."""

    def commit(
        self: Record,
        loaded: Loaded,
        plan: Plan,
        calls: Sequence[Call] = (),
        **proofs: Any,  # noqa: ANN401 - lease and budget, as they are given
    ) -> Committed:
        if not plan.events:
            return real(self, loaded, plan, calls, **proofs)
        bare = replace(plan, events=())
        done = real(self, loaded, bare, calls, **proofs)
        with self.writing() as connection:
            rows = [writing.event_row(event, plan.application) for event in plan.events]
            seqs = writing.append(connection, rows)
        return replace(done, seqs=seqs)

    real = Record.commit
    with patch.object(Record, "commit", commit):
        yield


@bug
def harm_waits_while_paused() -> Patches:
    """An operator's pause silences the alarm."""
    real = harm.go_back_on_harm

    def go_back_on_harm(turn: Turn, release: Release) -> Release | None:
        return release if release.paused else real(turn, release)

    with (
        patch.object(canary, "go_back_on_harm", go_back_on_harm),
        patch.object(climb, "go_back_on_harm", go_back_on_harm),
    ):
        yield


@bug
def a_conflict_is_sent_all_the_same() -> Patches:
    """Who wrote nothing sends what it would have written."""

    def commit(
        self: Record,
        loaded: Loaded,
        plan: Plan,
        calls: Sequence[Call] = (),
        **proofs: Any,  # noqa: ANN401 - lease and budget, as they are given
    ) -> Committed:
        try:
            return committed(self, loaded, plan, calls, **proofs)
        except Conflict:
            for call in calls:
                self.hands()._send(plan.application, call)
            raise

    committed = Record.commit
    with (
        patch.object(Record, "commit", commit),
    ):
        yield


@bug
def no_lease_epoch() -> Patches:
    """A replica that lost its lease commits all the same."""

    def prove(_: Connection, __: str, ___: Lease | None) -> None:
        pass

    with patch.object(store, "prove", prove):
        yield


@bug
def a_lease_is_taken_from_the_living() -> Patches:
    """Whoever shares believes that nobody else is alive, and keeps the epoch."""
    real = leases.Leases._take

    def rows(connection: Connection, names: Sequence[str]) -> dict[str, tuple[str | None, int]]:
        return {name: (None, epoch) for name, (_, epoch) in everybody(connection, names).items()}

    def take(self: leases.Leases, connection: Connection, names: Sequence[str]) -> dict[str, int]:
        seized = update(LEASES).where(LEASES.c.application.in_(names))
        connection.execute(seized.values(replica=None))
        return real(self, connection, names)

    everybody = leases._rows
    with patch.object(leases, "_rows", rows), patch.object(leases.Leases, "_take", take):
        yield


@bug
def no_send_guard() -> Patches:
    """What was committed is sent, however long ago the lease ran out."""

    def send(
        self: passes.Pass, application: Application, call: Call, number: int, _: Lease | None
    ) -> None:
        self.actor.send(application, call, number)

    with patch.object(passes.Pass, "_send", send):
        yield


@bug
def any_endpoint_of_the_name_is_ours() -> Patches:
    """What is made and removed at will is known by its name alone."""

    def ours(application: Application, seen: Endpoint) -> bool:
        return application.staging is not None and bool(seen.id)

    with patch.object(staging, "ours", ours), patch.object(rehearsal, "ours", ours):
        yield


@bug
def a_staging_endpoint_is_forgotten() -> Patches:
    """Once its release has ended, nobody looks for it."""

    def place(application: Application) -> str | None:
        live = application.live
        return live.pinned.staging if live is not None and live.on_staging and live.pinned else None

    with patch.object(observe, "place", place), patch.object(observe, "left", lambda _: False):
        yield


@bug
def ours_is_taken_for_theirs() -> Patches:
    """What Headgate has asked for is a change by somebody else."""
    with patch.object(foreign, "_ours", lambda *_, **__: False):
        yield


@bug
def a_restart_ages_a_release() -> Patches:
    """The first look of a new life takes the release to have been in its state for an hour more."""
    real, begin, again = reconcile._take_in, Replica._started, list[bool]()

    def started(self: Replica) -> passes.Pass:
        again[:] = [True] if self.starts else []
        return begin(self)

    def take_in(turn: Turn) -> None:
        real(turn)
        live = turn.application.live
        if live is not None and again:
            again.clear()
            turn.put(live, in_state=live.in_state + timedelta(hours=1))

    with patch.object(reconcile, "_take_in", take_in), patch.object(Replica, "_started", started):
        yield


@bug
def time_in_a_state_stands_still() -> Patches:
    """What is in a state for ever has been there for no time."""
    real = reconcile._take_in

    def take_in(turn: Turn) -> None:
        real(turn)
        live = turn.application.live
        if live is not None:
            turn.put(live, in_state=timedelta())

    with patch.object(reconcile, "_take_in", take_in):
        yield


@bug
def the_way_home_waits_a_minute_after_a_raise() -> Patches:
    """Whatever was sent last, for a minute nothing else is."""

    def wish(turn: Turn) -> tuple[Call, ...]:
        calls, application, live = wishes.wishes(turn), turn.application, turn.application.live
        sent = [one for one in application.attempts if one.kind == "serve"][-1:]
        back = live is not None and live.state is State.ROLLED_BACK
        if back and sent and sent[0].target != str(desired(application)):
            recent = timedelta() <= turn.world.now - sent[0].at < LAST_WAIT
            return tuple(one for one in calls if not (recent and isinstance(one, Serve)))
        return calls

    with patch.object(reconcile, "wishes", wish):
        yield


@bug
def no_budget() -> Patches:
    """What was sent before counts for nothing."""
    with patch.object(Budget, "_spent", lambda *_: 0):
        yield


@bug
def errors_are_lost() -> Patches:
    """What the version on trial failed is counted as answered."""

    def lossy(*asked: Any, **how: Any) -> Block:  # noqa: ANN401
        block = block_of(*asked, **how)
        return replace(block, candidate=replace(block.candidate, errors=0, server_errors=0))

    with patch.object(collect, "block_of", lossy):
        yield


@bug
def failed_golden_queries_are_lost() -> Patches:
    """What a version answers to its golden queries is taken for what was to be answered."""

    def lossy(rounds: tuple[Round, ...], brought: Round | Begun) -> tuple[Any, ...]:
        if isinstance(brought, Round):
            brought = replace(brought, candidate_failed=())
        return taken_in(rounds, brought)

    with patch.object(climb, "taken_in", lossy), patch.object(rehearsal, "taken_in", lossy):
        yield


@bug
def harm_is_never_seen() -> Patches:
    """Whatever was counted sends nobody home."""
    with patch.object(judging, "verdict_of", lambda *_: None):
        yield


@bug
def a_rebuild_is_taken_for_theirs() -> Patches:
    """An endpoint whose version has risen was changed by somebody, although it serves as before."""
    real, take_in, before = foreign.endpoint_part, reconcile._take_in, dict[str, Application]()

    def taken_in(turn: Turn) -> None:
        before["it"] = turn.application
        take_in(turn)

    def endpoint_part(turn: Turn) -> tuple[str, ...] | None:
        part, now, old = real(turn), turn.endpoint, before["it"]
        if part or now is None or turn.application.live is None or now.updating:
            return part
        risen = now.config_version > old.config_version > 0
        return ("it was rebuilt",) if risen and now.serving == old.seen else part

    with (
        patch.object(supervise, "endpoint_part", endpoint_part),
        patch.object(reconcile, "_take_in", taken_in),
    ):
        yield


@bug
def the_alias_is_sent_first() -> Patches:
    """What is written down is sent from its end."""
    real = act.Actor.affordable

    def affordable(*asked: Any) -> tuple[Call, ...]:  # noqa: ANN401
        return tuple(reversed(real(*asked)))

    with patch.object(act.Actor, "affordable", affordable):
        yield


@bug
def the_way_home_has_no_reserve() -> Patches:
    """What opens has used up what was kept for closing."""
    real = Budget.granted

    def granted(
        self: Budget, connection: Connection, calls: Sequence[Call], *, back: bool
    ) -> Sequence[Call]:
        del back
        return real(self, connection, calls, back=False)

    with patch.object(Budget, "granted", granted):
        yield


@bug
def a_line_is_printed_wrong() -> Patches:
    """The log names another state than the journal."""
    real = Printer._print

    def print_(line: Line, *to: Any) -> None:  # noqa: ANN401
        real({**line, "to_state": "Canary"} if "to_state" in line else line, *to)

    with patch.object(Printer, "_print", staticmethod(print_)):
        yield


@bug
def everything_is_printed_again() -> Patches:
    """Nobody remembers how far the log was printed."""
    with patch.object(store.Store, "mark_printed", lambda *_: None):
        yield


@bug
def every_replica_prints() -> Patches:
    """Whoever has no lease of the log prints it as well."""
    with patch.object(Tenure, "prints", lambda _: True):
        yield


NARROW = {
    "no budget": Options(rates={"lost": 0.5, "overload": 0.3}, begin=Begin(writes=FEW_WRITES)),
    "failed golden queries are lost": Options(rates={}, begin=Begin(kinds=("untrue",))),
    "time in a state stands still": Options(rates={"stuck": 0.3}),
    "the way home waits a minute after a raise": Options(
        rates={"lost": 0.3, "late": 0.3, "order_meanwhile": 0.1},
        begin=Begin(replicas=1, kinds=("errs", "errs")),
    ),
    "any endpoint of the name is ours": Options(
        rates={"staging_theirs": 0.2}, begin=Begin(kinds=("errs", "good"), staging=True)
    ),
    "harm waits while paused": Options(
        rates={"order_meanwhile": 0.1}, begin=Begin(kinds=("errs", "errs"))
    ),
    "no deadline": Options(rates={"stuck": 0.3}),
    "no send guard": Options(rates={"stall": 0.025}, begin=Begin(replicas=3, by_lease=True)),
    "no order fence": Options(rates={"order_meanwhile": 0.1, "stall": 0.01}),
    "an open call is forgotten": Options(rates={"lost": 0.9}),
    "time counts twice": Options(rates={}, begin=Begin()),
    "users for what is not ready": Options(rates={"flaps": 0.3, "table_silent": 0.1}),
}
"""Bugs that show only when two rare things meet are hunted in a mix of just these."""


@dataclass
class Caught:
    """Whether and how a bug was found."""

    seed: int | None
    seconds: float
    noticed: str


def broken(seed: int, made: Path, options: Options) -> str:
    """The promise that a seed breaks, with a bug in; empty where it breaks none.

    Any other failure is the bug's own: AssertionError.
    """
    result = run(seed, made, options)
    if result.violation is None:
        return ""
    promise = result.violation.startswith(("AssertionError", "IntegrityError"))
    assert promise, f"the bug itself is broken: {result.violation}\n{result.trace}"
    return result.violation


def hunt(name: str, *, limit_s: float = 60.0, first: int = 1) -> Caught:
    """Run seeds with a bug in, until a promise breaks or the time is over."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(dir=ram_disk()) as folder, BUGS[name]():
        made, seed = template(Path(folder)), first
        while time.perf_counter() - started < limit_s:
            promise = broken(seed, made, NARROW.get(name, Options()))
            if promise:
                return Caught(seed, time.perf_counter() - started, promise)
            seed += 1
    return Caught(None, time.perf_counter() - started, f"nothing, in {seed - first} seeds")

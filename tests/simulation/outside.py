"""Strangers, operators and bad luck: what happens while replicas work, and how it is put right."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

from controller.record.errors import OrderRefused
from controller.record.store import Store
from states.desired import desired, desired_alias
from states.machine import State
from states.outcome import ROLLED_BACK_TAG, untold
from states.release import Application, Order, Release
from states.shutting import still_shut
from states.spec import Spec
from states.world import Absent, Endpoint, Serving
from tests.simulation.draws import Draws
from tests.simulation.fate import IN_TIME, TICK_S
from tests.simulation.platform import Clock, Platform
from tests.simulation.promises import Promises
from tests.simulation.replica import NAME
from tests.states.story import serving

STRANGER = 900
"""A version of ours that somebody else serves."""


@dataclass
class Outside:
    """All that happens by itself, each kind at its own times."""

    platform: Platform
    promises: Promises
    draws: Draws
    clock: Clock
    walls: dict[str, Clock]
    """Each replica's own clock, which nothing may rest on."""
    store: Store
    """An operator's way to the record."""
    spec: Spec

    def begin(self) -> None:
        """From now on, things happen."""
        self.platform.meanwhile = self._meanwhile
        self.platform.stage.at(self.platform.stage.now + TICK_S, self._tick)

    def _tick(self) -> None:
        for kind in IN_TIME:
            if self.draws.strikes(f"outside/{kind}", (kind,)):
                getattr(self, f"_{kind}")()
        self.platform.stage.at(self.platform.stage.now + TICK_S, self._tick)

    def application(self) -> Application:
        """The record as it is."""
        return self.store.load(NAME, self.spec).application

    @property
    def _state(self) -> str:
        """The state that something happens in."""
        application = self.promises.application
        live = application.live if application else None
        return live.state.value if live else "none"

    def _happens(self, what: str) -> None:
        self.promises.situations[f"{what} in {self._state}"] += 1
        self.promises.note(what)

    def _share(self, what: str) -> float:
        return self.draws.share(f"outside/share/{what}")

    def _tried(self) -> tuple[str, str]:
        """The entities of stable and of the version on trial, or of a stranger's."""
        application = self.promises.application
        live = application.live if application else None
        stable = (application.incumbent if application else None) or "1"
        other = live.version if live and live.version != stable else str(STRANGER)
        return f"v{stable}", f"v{other}"

    def _weights(self, what: str, share: int) -> None:
        stable, other = self._tried()
        slowly = self._share("slowly") < 1 / 2
        if self.platform.edit(serving(**{stable: 100 - share, other: share}), slowly=slowly):
            self._happens("weights edited")
            self.promises.note(f"{what}: {other} at {share} %")

    def _raise(self) -> None:
        self._weights("raise", (20, 60, 100)[int(3 * self._share("raise"))])

    def _lower(self) -> None:
        self._weights("lower", 1)

    def _home_by_hand(self) -> None:
        self._weights("stable to 100 % by hand", 0)

    def _alias_edit(self) -> None:
        names = sorted(self.platform.versions) or [STRANGER]
        chosen = str(names[int(len(names) * self._share("alias"))])
        if chosen != self.platform.alias:
            self.platform.name(chosen)
            self._happens("alias edited")

    def _alias_gone(self) -> None:
        self.platform.name(Absent())
        self._happens("alias deleted")

    def _version_gone(self) -> None:
        newest = max(self.platform.versions, default=0)
        if newest > 1:
            del self.platform.versions[newest]
            self.platform.causes.begun("version_gone", self.platform.stage.now, str(newest))
            if self.platform.alias == str(newest):
                self.platform.name(Absent())
            self._happens("version deleted")

    def _endpoint_gone(self) -> None:
        if isinstance(self.platform.endpoint, Endpoint):
            self.platform.delete()
            self._happens("endpoint deleted")

    def _staging_gone(self) -> None:
        """Somebody deletes the staging endpoint, whoever made it."""
        if isinstance(self.platform.staging, Endpoint):
            self.platform.show_staging(Absent())
            self._happens("staging endpoint deleted")

    def _staging_theirs(self) -> None:
        """Somebody has one of that name; now and then with our tags, as a copy has them.

        A copy of what was never looked at could not be told from it.
        """
        known, share = self.platform.staging, self._share("staging")
        if self.spec.staging is None:
            return
        other = Endpoint(serving=serving(v1=100), config_version=1, id=f"theirs {share}")
        remembered = self.application().staging
        ids = remembered.ids.values() if remembered is not None else ()
        if isinstance(known, Endpoint) and known.id in ids and share < 1 / 2:
            other = replace(known, id=other.id)
        self.platform.show_staging(other)
        self._happens("staging endpoint of a stranger")

    def _rebuild(self) -> None:
        """Databricks builds the endpoint anew: its version rises, and nothing else changes."""
        now = self.platform.endpoint
        if isinstance(now, Endpoint) and not now.updating:
            self.platform.show(replace(now, config_version=now.config_version + 1))
            self._happens("rebuild")

    def _unready(self) -> None:
        now = self.platform.endpoint
        if not isinstance(now, Endpoint) or not now.ready:
            return
        names = sorted(now.ready)
        gone = names[int(len(names) * self._share("unready"))]
        self.platform.show(replace(now, ready=now.ready - {gone}))
        self._happens("entity not ready")
        stage = self.platform.stage
        until = stage.now + self.draws.between("outside/unready", 30, 300)
        version = now.serving.shares[gone].version if gone in now.serving.shares else None
        self.platform.causes.begun("unready", stage.now, version, until=until)
        stage.at(until, self.platform.be_ready)

    def _order(self, order: Order) -> None:
        try:
            self.store.give_order(NAME, None, order, "operator", f"{order.value}, for a reason")
        except OrderRefused:
            return
        self.promises.orders += 1
        self.promises.ordered()
        self._happens(f"order {order.value}")

    def _apply(self) -> None:
        """An operator sets the running version up anew: the daemon's own record says how."""
        try:
            self.store.give_wish(NAME, self.spec.setup, "operator", "as configured")
        except OrderRefused:
            return
        self.promises.ordered()
        self._happens("order apply")

    def _pause(self) -> None:
        self._order(Order.PAUSE)

    def _resume(self) -> None:
        self._order(Order.RUN)

    def _abort(self) -> None:
        self._order(Order.ABORT)

    def _say(self, what: str, give: Callable[[], str]) -> bool:
        """An operator's word; one that makes no sense is refused, and changes nothing: False."""
        try:
            told = give()
        except OrderRefused:
            return False
        self.promises.orders += 1
        self.promises.ordered()
        self._happens(what)
        self.promises.note(told)
        return True

    def _approve(self) -> None:
        self._say("approve", lambda: self.store.approve(NAME, None, "operator", "seen"))

    def _promote(self) -> None:
        override = self._share("promote") < 1 / 2
        said = self._say(
            "promote by override" if override else "promote",
            lambda: self.store.promote(NAME, None, "operator", "in haste", override=override),
        )
        if said and override:
            self._forced("override", lambda one: any(word.override for word in one.words))

    def _begin(self) -> None:
        """Any version is asked for by name, or what failed is tried again."""
        names = sorted(self.platform.versions) or [STRANGER]
        chosen = str(names[int(len(names) * self._share("begin"))])
        if self._share("retry") < 1 / 2:
            self._say("retry", lambda: self.store.begin(NAME, None, "retry", "operator", "mended"))
        else:
            self._say(
                "release", lambda: self.store.begin(NAME, chosen, "release", "operator", "wanted")
            )

    def _undo(self) -> None:
        if self._say("undo", lambda: self.store.undo(NAME, "operator", "bad answers")):
            self._forced("undo", lambda one: one.ordered == "undo")

    def _forced(self, kind: str, it_is: Callable[[Release], bool]) -> None:
        """A person has let versions on that nothing has proven."""
        for release in self.application().releases:
            if it_is(release) and (release.live or release.state is State.REGISTERED):
                self.platform.causes.done(kind, self.platform.stage.now, release.version)

    def _meanwhile(self) -> None:
        orders = (Order.PAUSE, Order.RUN, Order.PAUSE, Order.RUN, Order.ABORT)
        self._order(orders[int(len(orders) * self._share("meanwhile"))])

    def _jump_s(self, what: str) -> float:
        size = (60.0, 3600.0, 86_400.0)[int(3 * self._share(f"{what}/size"))]
        return size if self._share(f"{what}/sign") < 1 / 2 else -size

    def _store_jump(self) -> None:
        self.clock.jump(self._jump_s("store"))
        self._happens("store clock jumped")

    def _store_stands(self) -> None:
        self.clock.stand(self.draws.between("outside/stands", 20, 600))
        self._happens("store clock stood still")

    def _wall_jump(self) -> None:
        names = sorted(self.walls)
        chosen = names[int(len(names) * self._share("wall"))]
        self.walls[chosen].jump(self._jump_s("wall"))
        self._happens("wall clock jumped")

    def _lasts(self, what: str, least: float = 30, most: float = 400) -> None:
        until = self.platform.stage.now + self.draws.between(f"outside/{what}/for", least, most)
        self.platform.conditions.set(what, until)
        self.platform.causes.begun(what, self.platform.stage.now, until=until)
        self._happens(what.replace("_", " "))

    def _table_silent(self) -> None:
        self._lasts("table_silent", most=900)

    def _probes_dead(self) -> None:
        self._lasts("probes_dead")

    def _metrics_gone(self) -> None:
        self._lasts("metrics_gone")

    def _queries_unanswered(self) -> None:
        self._lasts("queries_unanswered", 60, 900)

    def _table_late(self) -> None:
        now = self.platform.stage.now
        self.platform.late.append((now, now + self.draws.between("outside/late", 20, 200)))
        self._happens("table late")

    # How it is put right.

    def heal(self) -> None:
        """Nothing strikes any more, and what hung goes on; what strangers did stays."""
        self.draws.quiet = True
        self.platform.causes.healed(self.platform.stage.now)
        self.platform.conditions.until.clear()
        self.platform.late.clear()
        self.platform.hidden = 0.0
        self.clock.go_on()
        self.platform.be_ready()
        for finish in (self.platform.finish, self.platform.finish_staging):
            if finish is not None:
                finish()
        self.promises.note("the world heals")

    def put_right(self) -> None:
        """A person does what the holds ask for."""
        application = self.application()
        if application.change is not None and self._share("answers") < 1 / 2 and self._answer():
            return
        wanted, named = desired(application), desired_alias(application)
        now = self.platform.endpoint
        self.promises.note(f"a person puts it right: {wanted}, alias {named}")
        if wanted is not None and wanted != Serving():
            if isinstance(now, Absent) and application.seen is not None:
                self.platform.recreate(wanted)
            elif isinstance(now, Endpoint) and now.serving != wanted:
                self.platform.edit(wanted)
        if named is not None and int(named) in self.platform.versions:
            self.platform.name(named)
        live = application.live
        if live is not None and live.on_staging and "staging endpoint" in (live.hold or ""):
            self.platform.show_staging(Absent())
        self._speak_to(application)
        self.promises.ordered()

    def _speak_to(self, application: Application) -> None:
        """Give each release that waits for a person the order, or the word, that it waits for."""
        for release in application.releases:
            home = release.state is State.ROLLED_BACK  # no word changes that
            waits = release.state is State.REGISTERED or (release.live and not home)
            gone = int(release.version) not in self.platform.versions
            if waits and gone and release.version != application.stable:
                self.store.give_order(NAME, release.version, Order.ABORT, "operator", "it is gone")
            elif waits and release.ask is not None:
                self._say(
                    "approve",
                    partial(self.store.approve, NAME, release.version, "operator", "seen"),
                )
            elif waits and release.order is Order.PAUSE:
                self.store.give_order(NAME, release.version, Order.RUN, "operator", "go on")

    def _answer(self) -> bool:
        """Say `adopt` or `revert` to the change that is shown; whether that can be done."""
        word: Literal["adopt", "revert"] = "adopt" if self._share("answer") < 1 / 2 else "revert"
        try:
            told = self.store.give_answer(NAME, word, "operator", "as it should be")
        except OrderRefused as refused:
            self.promises.note(f"{word}: {refused}")
            return False
        self.promises.note(told)
        self.promises.situations[word] += 1
        if word == "adopt":
            self.platform.causes.done(word, self.platform.stage.now)
        self.promises.ordered()
        return True


SLOWER = "it is asked for again, more slowly"
"""Of a hold: what was asked for too often waits for the next ten minutes."""
SILENT, LACKING, UNDECIDED = "has told nothing for", " lacks ", "undecided after "
"""What is said of a source that does not speak, of one that leaves something out, and of a step
whose users are too few to tell by; what has come since may settle the last two."""


def at_rest(application: Application) -> bool:
    """Every release has ended and is cleared away, or waits for a person and says why."""
    if application.behind is not None:
        return False  # What is seen looks older than what was: in ten minutes it is believed.
    if application.hold is not None:
        # Once it may be sent again, it is, and in a healed world it then arrives.
        return SLOWER not in application.hold
    wish, upkeep = application.wish, application.upkeep
    if upkeep.applying is not None or (wish is not None and wish.number > upkeep.applied):
        return False
    if (live := application.live) is not None:
        return _waits(live)
    if any(one.ended_at and not one.removed for one in _old(application)):
        return False
    waiting = [one for one in application.releases if one.state is State.REGISTERED]
    return all(one.hold is not None or one.order is Order.PAUSE for one in waiting)


def _waits(live: Release) -> bool:
    """A live release waits for a person: it would go on by itself for nothing but their word."""
    if live.state is State.ROLLED_BACK and not live.settled:
        return False  # It goes on by itself, however loudly it says that it takes long.
    if SLOWER in (live.hold or ""):
        return False  # So does this.
    if SILENT in (live.hold or "") and (not live.shut or still_shut(live)):
        return False  # In a healed world its source comes to speak again.
    # A hold that needs nobody is one that ends by itself.
    return (live.hold is not None and live.needs_person) or live.order is Order.PAUSE


def _old(application: Application) -> list[Release]:
    return [one for one in application.releases if one.version != application.incumbent]


def home(application: Application, platform: Platform) -> bool:
    """Endpoint and alias are as wanted, or a sentence says why not; nothing is under way there."""
    now = platform.endpoint
    if isinstance(now, Endpoint) and now.updating:
        return False
    if _tags_to_come(application, platform):
        return False
    if application.hold is not None:
        return True
    wanted, named = desired(application), desired_alias(application)
    served = now.serving if isinstance(now, Endpoint) else None
    return wanted in (None, served) and named in (None, platform.alias)


def _tags_to_come(application: Application, platform: Platform) -> bool:
    """One whose call had no effect is asked for again ten minutes later, whatever is held.

    Beside a change by others that is only the mark by which nothing starts again.
    """
    there = {str(one): version.tags or {} for one, version in platform.versions.items()}
    due = {one: tags for one, tags in untold(application).items() if one in there}
    if application.change is None:
        return bool(due)
    marked = {one for one, tags in due.items() if ROLLED_BACK_TAG in tags.items()}
    return any(ROLLED_BACK_TAG not in there[one].items() for one in marked)

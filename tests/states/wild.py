"""A world that misbehaves: calls lost, late and twice, strangers at work, eyes shut."""

from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, Literal

from policies.admission import HOLD_TAG
from policies.calendar import Freeze
from policies.guards import Guards, ScoreGuard, TokenGuard
from policies.rollout import Rollout
from states.attempt import MEMORY, Attempt
from states.consent import Verb, Word
from states.difference import Answer
from states.gates import position
from states.machine import State
from states.plan import Call, Plan, Serve
from states.reconcile import reconcile
from states.release import Order, Release
from states.verbs import approve_refusal, begin_refusal, promote_refusal, undo_refusal
from states.world import Absent, Endpoint, Serving, Share, World
from tests.states.answers import RICH, Answers
from tests.states.story import SCORED, SOURCE, SPEC, Story, serving

BRISK = Rollout(
    steps=(5, 25, 50, 100),
    settle=timedelta(seconds=30),
    min_step=timedelta(minutes=1),
    bake=timedelta(minutes=2),
    watch=timedelta(minutes=2),
    patience=timedelta(minutes=30),
    retain=timedelta(minutes=3),
)
STAGING = "rag-chatbot-endpoint-staging"
STRANGER = 900
"""A version of ours that somebody else serves."""

Action = tuple[str, int]
"""What happens next, and a number that chooses among its kinds."""


def outcomes(fate: str) -> str:
    """What the caller learns of a call."""
    return {"lost": "open", "late": "open", "refused": "refused"}.get(fate, "done")


@dataclass
class Wild(Story):
    """A story in which everything outside may fail, at any moment, and heal."""

    fate: str = "obeyed"
    """Of the calls that are sent now: obeyed, slow, late, lost, refused or twice."""
    in_flight: list[tuple[int, Call]] = field(default_factory=list)
    looks: int = 0
    stale: Endpoint | None = None
    fresh_at: int = 0
    """The look at which a stale answer gives way: it never lasts for ten minutes."""
    unseen: set[str] = field(default_factory=set)
    bad: dict[int, str] = field(default_factory=dict)
    """What is wrong with a version, if anything is."""
    log: list[str] = field(default_factory=list)
    worlds: list[World] = field(default_factory=list)

    def see(self) -> World:
        """What is seen now: less, or older, than what is."""
        world = self.world()
        if self.stale is not None and self.looks < self.fresh_at:
            world = replace(world, endpoint=self.stale)
        hidden: dict[str, Any] = dict.fromkeys(self.unseen)
        return replace(world, **hidden)

    def turn(self, after: float = 30) -> tuple[World, Plan]:
        """One look; the caller checks it."""
        self.now += timedelta(seconds=after)
        self.looks += 1
        self._arrive()
        world = self.see()
        plan = reconcile(self.application, world)
        sent = [
            Attempt(
                kind=one.kind,
                target=one.target,
                at=self.now,
                outcome=outcomes(self._meet(one)),
                over=plan.application.config_version,
                id=number,
            )
            for number, one in enumerate(plan.calls, start=1 + len(self.calls))
        ]
        kept = [one for one in plan.application.attempts if self.now - one.at < MEMORY]
        self.application = replace(plan.application, attempts=(*kept, *sent))
        self.events += plan.events
        self.calls += plan.calls
        return world, plan

    def _meet(self, call: Call) -> str:
        """The call meets its fate; what the caller learns follows from it."""
        slow = isinstance(self.endpoint, Endpoint) and self.endpoint.updating
        if isinstance(call, Serve) and slow:
            return "refused"
        if self.fate in ("obeyed", "twice"):
            self.obey(call)
        if self.fate == "slow" and isinstance(call, Serve) and isinstance(self.endpoint, Endpoint):
            self.endpoint = replace(self.endpoint, updating=True, pending=call.serving)
        if self.fate in ("slow", "late", "twice"):
            self.in_flight.append((self.looks + (25 if self.fate == "slow" else 4), call))
        return self.fate

    def _arrive(self) -> None:
        due = [call for at, call in self.in_flight if at <= self.looks]
        self.in_flight = [one for one in self.in_flight if one[0] > self.looks]
        for call in due:
            if isinstance(call, Serve) and isinstance(self.endpoint, Endpoint):
                self.endpoint = replace(self.endpoint, updating=False, pending=None)
            self.obey(call)

    def heal(self) -> None:
        """The outside works again; what strangers have put there stays."""
        self.fate, self.stale, self.error_rates = "obeyed", None, {}
        self.unseen.clear()
        self.golden_fails = self.undeployable = frozenset()
        self.table_speaks = True
        self.answered, self.silent, self.hidden = {}, frozenset(), None
        self.rejecting, self.astray = 0.0, 0
        if isinstance(self.endpoint, Endpoint):
            self.endpoint = replace(self.endpoint, fallback=False)
        self.others = {name: replace(one, updating=False) for name, one in self.others.items()}
        self.versions = {
            number: replace(one, status="READY", has_signature=True)
            for number, one in self.versions.items()
        }

    def do(self, action: Action) -> None:
        """Something happens outside."""
        name, number = action
        getattr(self, f"_do_{name}")(number)
        self.log.append(f"{name} {number}")

    def _do_register(self, number: int) -> None:
        version = max(self.versions, default=0) + 1
        kind = ("good", "good", "errs", "undeployable", "untrue", "pending", "unsigned")[number % 7]
        self.register(version, status="PENDING_REGISTRATION" if kind == "pending" else "READY")
        name = str(version)
        if kind == "errs":
            self.error_rates[name] = 0.1
        elif kind == "undeployable":
            self.undeployable |= {name}
        elif kind == "untrue":
            self.golden_fails |= {name}
        elif kind == "unsigned":
            self.versions[version] = replace(self.versions[version], has_signature=False)

    def _do_order(self, number: int) -> None:
        live = self.application.live or self.waiting
        if live is not None:
            order = (Order.RUN, Order.PAUSE, Order.ABORT)[number % 3]
            self.application = self.application.with_release(replace(live, order=order))

    def _do_fate(self, number: int) -> None:
        self.fate = ("obeyed", "slow", "late", "lost", "refused", "twice")[number % 6]

    def _do_edit(self, number: int) -> None:
        live, base = self.application.live, self.application.incumbent or "1"
        tried = f"v{live.version if live else STRANGER}"
        known = {f"v{base}", tried}
        if len(known) == 1:
            known.add(f"v{STRANGER + 1 if base == str(STRANGER) else STRANGER}")
        one, other = f"v{base}", next(iter(known - {f"v{base}"}))
        share = (0, 1, 10, 60, 100)[number % 5]
        self.edit(**{one: 100 - share, other: share})

    def _do_alias(self, number: int) -> None:
        versions = list(self.versions)
        self.alias = Absent() if number % 3 == 0 else str(versions[number % len(versions)])

    def _do_blind(self, number: int) -> None:
        what = ("endpoint", "versions", "alias", "evidence", "staging")[number % 5]
        self.unseen ^= {what}

    def _do_stale(self, number: int) -> None:
        old = [one.endpoint for one in self.worlds[-20:] if isinstance(one.endpoint, Endpoint)]
        self.stale = old[number % len(old)] if old else None
        self.fresh_at = self.looks + 1 + number % 12

    def _do_errors(self, number: int) -> None:
        live = self.application.live
        name = "" if number % 3 == 0 or live is None else live.version
        self.error_rates[name] = (0.0, 0.002, 0.02, 0.2)[number % 4]

    def _do_worse(self, number: int) -> None:
        """The live version, or both, answer worse in one thing, or well again."""
        live = self.application.live
        kinds = (Answers(slower=1.6), Answers(faulty=0.1), Answers(longer=2.0), Answers(score=0.5))
        names = [live.version if live else "", *([""] if number % 3 == 0 else [])]
        kind = kinds[number // 5 % 4] if number % 5 else Answers()
        self.answered |= dict.fromkeys(names, kind)

    def _do_silence(self, number: int) -> None:
        """One source falls silent, or speaks again."""
        self.silent ^= {("query:truth", SOURCE)[number % 2]}

    def _do_counts(self, number: int) -> None:
        """The table hides errors, the queue is full, or requests go astray."""
        self.hidden = (None, 0.0, 0.3)[number % 3]
        self.rejecting = 0.2 if number % 4 == 1 else 0.0
        self.astray = 20 if number % 5 == 1 else 0

    def _do_answers(self, number: int) -> None:
        live = self.application.live
        names = {live.version if live else "1", *(["1"] if number % 2 else [])}
        self.golden_fails = frozenset() if number % 3 == 0 else frozenset(names)

    def _do_fallback(self, number: int) -> None:
        if isinstance(self.endpoint, Endpoint):
            self.endpoint = replace(self.endpoint, fallback=number % 2 == 1)

    def _do_gone(self, number: int) -> None:
        """Somebody deletes the endpoint, or makes it anew; its versions then count from 1."""
        if isinstance(self.endpoint, Endpoint) and number % 4 == 0:
            self.endpoint = Absent()
        elif isinstance(self.endpoint, Absent) and self.application.seen is not None:
            self.edit(**{f"v{self.application.incumbent or 1}": 100})

    def _do_anew(self, number: int) -> None:
        """Somebody deletes the endpoint and makes it anew between two looks."""
        if isinstance(self.endpoint, Endpoint) and self.endpoint.serving.shares:
            ms = int(self.now.timestamp() * 1000) + 1
            self.endpoint = replace(
                self.endpoint, id=f"anew {ms}", created_ms=ms, config_version=1, updating=False
            )
            if number % 2:
                self.edit(**{f"v{self.application.incumbent or 1}": 100})

    def _do_answer(self, number: int) -> None:
        """A person answers the change that is shown."""
        change = self.application.change
        if change is not None:
            word: Literal["adopt", "revert"] = "revert" if number % 2 else "adopt"
            given = Answer(answer=word, difference=change.key)
            self.application = replace(self.application, answer=given)

    def _do_theirs(self, number: int) -> None:
        """Somebody adds an entity of another model, with users or without."""
        if not isinstance(self.endpoint, Endpoint):
            return
        shares = dict(self.endpoint.serving.shares)
        taken = 10 if number % 2 else 0
        [most, *_] = sorted(shares, key=lambda name: -shares[name].weight) or [""]
        if most and shares[most].weight >= taken:
            shares[most] = replace(shares[most], weight=shares[most].weight - taken)
            had = shares["theirs"].weight if "theirs" in shares else 0
            shares["theirs"] = Share(model="main.other.model", version="4", weight=had + taken)
            self._activate(Serving(shares))

    def _do_drop(self, number: int) -> None:
        """Somebody takes an entity without users off the endpoint."""
        if isinstance(self.endpoint, Endpoint):
            shares = dict(self.endpoint.serving.shares)
            idle = sorted(name for name, share in shares.items() if not share.weight)
            if idle:
                del shares[idle[number % len(idle)]]
                self._activate(Serving(shares))

    def _do_resize(self, number: int) -> None:
        """What is not ours: size and rate limits change, or Databricks rebuilds what there is."""
        if isinstance(self.endpoint, Endpoint):
            self.room = (None, 64)[number % 2]
            raised = self.endpoint.config_version + 1
            self.endpoint = replace(self.endpoint, config_version=raised)

    def _do_staging(self, number: int) -> None:
        """Somebody deletes the staging endpoint, changes it, or puts another one in its place."""
        known = self.others.pop(STAGING, None)
        name = f"v{max(self.versions, default=1)}"
        if number % 4 == 1:
            ready = frozenset({f"rag_chatbot-{name}"})
            other = Endpoint(serving=serving(**{name: 100}), id=f"theirs {number}", ready=ready)
            self.others[STAGING] = other
        elif known is not None and number % 4 > 1:
            changed = replace(known, serving=serving(v1=100)) if number % 4 == 3 else known
            self.others[STAGING] = replace(changed, updating=not known.updating)

    def _do_delete(self, number: int) -> None:
        """A version is deleted from the registry, and its aliases with it."""
        if len(self.versions) > 1:
            gone = sorted(self.versions)[number % len(self.versions)]
            del self.versions[gone]
            if self.alias == str(gone):
                self.alias = Absent()

    def _do_freeze(self, number: int) -> None:
        """The calendar is changed: a freeze begins, for a while."""
        begins = self.now + timedelta(minutes=number % 3)
        one = Freeze.between(begins, begins + timedelta(minutes=5 + number))
        self.rule(freezes=(one,))

    def rule(self, **rules: Any) -> None:  # noqa: ANN401 - of any rule
        """Somebody edits what the configuration says of admission."""
        spec = self.application.spec
        edited = replace(spec.admission, **rules)
        self.application = replace(self.application, spec=replace(spec, admission=edited))

    def _do_tag(self, number: int) -> None:
        """Somebody tags the newest version, or takes its tags off."""
        newest = max(self.versions, default=0)
        tags: dict[str, str] = [{}, {HOLD_TAG: ""}, {"approval": "Approved"}][number % 3]
        if newest:
            known = self.versions[newest]
            kept = {key: value for key, value in (known.tags or {}).items() if "state" in key}
            self.versions[newest] = replace(known, tags=kept | tags)

    def _do_word(self, number: int) -> None:
        """An operator approves or promotes, where the command would let them."""
        one = self.application.live or self.waiting
        if one is None:
            return
        said: dict[str, Any] = {"verb": "approve", "finding": one.ask}
        refused = approve_refusal(one)
        if number % 2:
            override = number % 4 == 1
            said = {"verb": "promote", "finding": position(one), "override": override}
            refused = promote_refusal(self.application, one, override=override)
        if refused is None:
            word = Word(seq=self.looks, actor="ann", **said)
            told = replace(one, words=(*one.words, word))
            self.application = self.application.with_release(told)

    def _do_begin(self, number: int) -> None:
        """An operator asks for a version by name, or for the one before, where that makes sense."""
        application = self.application
        verb: Verb = ("release", "retry", "undo")[number % 3]
        known = sorted(self.versions) or [1]
        chosen = application.former if verb == "undo" else str(known[number % len(known)])
        newest = application.newest(chosen)
        state = newest.state if newest is not None else None
        wrong = verb == "undo" and undo_refusal(application) is not None
        if chosen is None or wrong or begin_refusal(application, chosen, verb, state):
            return
        if newest is not None and state is State.REGISTERED:
            if newest.ordered:
                return
            application = application.with_release(replace(newest, order=Order.ABORT))
        asked = Release(
            application=application.name,
            version=chosen,
            attempt=newest.attempt + 1 if newest is not None else 1,
            since=self.now,
            ordered=verb,
        )
        self.application = application.with_release(asked)

    @property
    def waiting(self) -> Release | None:
        """The newest release that has not begun."""
        found = [one for one in self.application.releases if one.state is State.REGISTERED]
        return found[-1] if found else None


def adopted(
    *, first: bool = False, rich: bool = False, hold_back: int = 0, staged: bool = False
) -> Wild:
    """A world with version 1 at 100 %, or with nothing yet; `rich`: all guards can judge."""
    wild = Wild()
    if first:
        wild = Wild(endpoint=Absent(), alias=Absent())
    rollout = replace(BRISK, hold_back=hold_back)
    spec = replace(SPEC, rollout=rollout, staging=STAGING if staged else None)
    if rich:
        guards = Guards(tokens=TokenGuard(), scores={"truth": ScoreGuard()})
        spec = replace(spec, guards=guards, counted=SCORED)
        wild.history = RICH
    wild.application = replace(wild.application, spec=spec)
    wild.requests_per_look = 20_000
    return wild

"""A small world that takes calls and changes, so that reconciling can be told as a story."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from policies.evidence import Arm, Block, Coverage
from policies.fuse import Minute
from policies.golden import GoldenQuery, Round
from policies.guards import History
from policies.pairs import Pair, Reply
from policies.replay import Batch, Drawn
from policies.rollout import Rollout
from states.attempt import MEMORY, Attempt
from states.counted import Counted, Query
from states.plan import (
    Apply,
    Call,
    Capture,
    CreateStaging,
    Event,
    MoveAlias,
    Permit,
    Plan,
    RemoveStaging,
    Serve,
    SwitchFallbackOff,
)
from states.reconcile import reconcile
from states.release import Application, Order, Release
from states.span import Span
from states.spec import Spec
from states.staging import place, ready_there
from states.world import (
    Absent,
    Endpoint,
    Evidence,
    GoldenTable,
    Grant,
    ModelVersion,
    Serving,
    Share,
    Size,
    World,
)
from tests.published import assert_as_published, lines_of
from tests.states.answers import Answers

MODEL = "main.ml_models.rag_chatbot"
QUICK = Rollout(
    steps=(5, 25, 50, 100),
    settle=timedelta(seconds=30),
    min_step=timedelta(minutes=1),
    bake=timedelta(minutes=5),
    watch=timedelta(minutes=10),
)
SCORED = Counted(queries=(Query(name="truth", sql="SELECT 1", counts="score"),))
"""A query of the user's own brings a score: truth."""
SPEC = Spec(
    model=MODEL,
    endpoint="rag-chatbot-endpoint",
    rollout=QUICK,
    tests=(GoldenQuery(query="What is Delta Lake?"),),
    environment_declared=True,
    others_declared=True,
)
START = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
TABLE = "main.ml_models.rag_payload"
SOURCE = "inference_table"
ANSWERED = Reply(latency_ms=800, length=600, sources=4, tokens=150)


def serving(**weights: int) -> Serving:
    """Shares by version: `serving(v1=95, v2=5)`."""
    return Serving(
        {
            f"rag_chatbot-{name}": Share(model=MODEL, version=name[1:], weight=weight)
            for name, weight in weights.items()
        }
    )


def version(number: int, status: str = "READY", **tags: str) -> ModelVersion:
    return ModelVersion(version=str(number), status=status, tags=tags, has_signature=True)


def alike(request: str) -> Pair:
    """Both versions answer a recorded request alike."""
    return Pair(request=request, candidate=ANSWERED, stable=ANSWERED, overlap=1.0)


def span_at(spans: tuple[Span, ...], moment: datetime) -> tuple[Span, datetime | None]:
    """The span that a moment lies in, and when the next one starts; the last decision counts."""
    standing = [
        span
        for index, span in enumerate(spans)
        if all(later.starts_at > span.starts_at for later in spans[index + 1 :])
    ]
    begun = [span for span in standing if span.starts_at <= moment] or [spans[0]]
    return begun[-1], next((one.starts_at for one in standing if one.starts_at > moment), None)


@dataclass
class Story:
    """The record, the outside, and the time; `look` runs one pass and lets the world follow."""

    application: Application = field(
        default_factory=lambda: Application(name="rag-chatbot", spec=SPEC)
    )
    now: datetime = START
    endpoint: Endpoint | Absent | None = field(
        default_factory=lambda: Endpoint(
            serving=serving(v1=100),
            id="first",
            created_ms=1,
            config_version=1,
            ready=frozenset({"rag_chatbot-v1"}),
            inference_table=TABLE,
        )
    )
    alias: str | Absent | None = "1"
    versions: dict[int, ModelVersion] = field(default_factory=lambda: {1: version(1)})
    events: list[Event] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    obeys: bool = True
    """The workspace does what it is told, before the next look."""
    undeployable: frozenset[str] = frozenset()
    golden_fails: frozenset[str] = frozenset()
    """Versions that fail their golden queries."""
    golden: GoldenTable | None = None
    """What a table of golden queries was read as."""
    recorded: int = 0
    """Requests of users that a replay may draw."""
    paired: Callable[[str], Pair] = alike
    """How both versions answer a recorded request."""
    pairs_per_look: int = 20
    error_rates: dict[str, float] = field(default_factory=dict)
    requests_per_look: int = 6000
    table_speaks: bool = True
    silent: frozenset[str] = frozenset()
    """Sources that do not speak, while others do."""
    answered: dict[str, Answers] = field(default_factory=dict)
    """How versions answer, for those guards that look at answers; stable's is under ''."""
    hidden: float | None = None
    """Share of errors that the table leaves out, and the metrics tell of; None: no metrics."""
    rejecting: float = 0.0
    """Share of its requests that the candidate rejects with 429."""
    astray: int = 0
    """Percent of all requests that reach the candidate beyond its weight."""
    room: int | None = None
    """The candidate's provisioned concurrency."""
    peak: float | None = None
    pace: float | None = 100.0
    minutes: tuple[Minute, ...] = ()
    """What the endpoint's own metrics remember."""
    ahead: timedelta | None = None
    """How far their clock is ahead, as measured."""
    history: History | None = field(default_factory=History)
    """Stable's last day; as it stands, too little to judge anything but errors by."""
    granted: set[Grant] = field(default_factory=set)
    """Permissions on the endpoint."""
    answers: bool = True
    """The endpoint can be observed at all."""
    others: dict[str, Endpoint] = field(default_factory=dict)
    """Endpoints of other names: a staging endpoint, whoever made it."""
    made: int = 0
    """How many of them a call of ours has made."""
    firsts: dict[str, str] = field(default_factory=dict)
    """By mark, the first one that was made with it: more come of a call that arrives twice."""
    fails_on_staging: frozenset[str] = frozenset()
    """Versions that fail their golden queries there alone."""

    def look(self, *, after: float = 30, times: int = 1) -> Plan:
        """Let time pass, look, decide, and let the workspace follow."""
        plan = None
        for _ in range(times):
            self.now += timedelta(seconds=after)
            plan = reconcile(self.application, self.world())
            assert_as_published(lines_of(plan))
            self.application = self._remember(plan)
            self.events += plan.events
            self.calls += plan.calls
            if self.obeys:
                for call in plan.calls:
                    self.obey(call)
        assert plan is not None
        return plan

    def until(self, state: str, *, limit: int = 400) -> Release:
        """Look until the newest release is in a state."""
        for _ in range(limit):
            self.look()
            release = self.release
            if release and release.state == state:
                return release
        raise AssertionError(f"never {state}: {self.release} {self.application.hold}")

    def world(self) -> World:
        """What is seen now."""
        endpoint = self.endpoint if self.answers else None
        if isinstance(endpoint, Endpoint) and self.room is not None:
            names = endpoint.serving.shares
            endpoint = replace(endpoint, concurrency=dict.fromkeys(names, self.room))
        return World(
            now=self.now,
            endpoint=endpoint,
            versions=tuple(self.versions.values()),
            alias=self.alias,
            staging=self.staging() if endpoint is not None else None,
            golden=self.golden,
            granted=frozenset(self.granted),
            round=self._round(),
            replay=self._replay(),
            evidence=self._evidence(),
            minutes=self.minutes,
            ahead=self.ahead,
            history=self.history,
            requests_per_second=self.pace,
            peak_concurrency=self.peak,
        )

    def staging(self) -> Endpoint | Absent | None:
        """What is seen of the staging endpoint, while one is looked for."""
        name = place(self.application)
        return None if name is None else self.others.get(name, Absent())

    @property
    def release(self) -> Release | None:
        """The newest release."""
        return self.application.releases[-1] if self.application.releases else None

    @property
    def live(self) -> Release:
        """The live release, which there must be."""
        live = self.application.live
        assert live is not None, self.application.releases
        return live

    def weight(self, number: int) -> int:
        """What a version gets of the endpoint's traffic."""
        assert isinstance(self.endpoint, Endpoint)
        return self.endpoint.serving.weight(f"rag_chatbot-v{number}")

    def names(self) -> list[str]:
        """The events so far, by name."""
        return [event.name for event in self.events]

    def order(self, order: Order) -> None:
        """The operator's word about the newest release."""
        assert self.release is not None
        self.application = self.application.with_release(replace(self.release, order=order))

    def register(self, number: int, status: str = "READY", **tags: str) -> None:
        """A version appears in the registry."""
        self.versions[number] = version(number, status, **tags)

    def edit(self, **weights: int) -> None:
        """Somebody else changes the endpoint by hand."""
        self._activate(serving(**weights))

    def obey(self, call: Call) -> None:
        """The workspace does what a call asks."""
        if isinstance(call, Serve):
            self._activate(call.serving, call.sizes)
        elif isinstance(call, Apply):
            self._activate(call.serving, {call.entity: call.size})
        elif isinstance(call, Capture | SwitchFallbackOff | Permit):
            self._settle(call)
        elif isinstance(call, MoveAlias):
            self.alias = call.version
        elif isinstance(call, CreateStaging):
            self._create(call)
        elif isinstance(call, RemoveStaging):
            self._remove(call)
        elif int(call.version) in self.versions:
            known = self.versions[int(call.version)]
            tags = {**(known.tags or {}), call.key: call.value}
            self.versions[int(call.version)] = replace(known, tags=tags)

    def _settle(self, call: Capture | SwitchFallbackOff | Permit) -> None:
        """What is set up beside the traffic."""
        if isinstance(call, Permit):
            self.granted |= set(call.grants)
        elif isinstance(self.endpoint, Endpoint):
            captured: dict[str, Any] = {"inference_table": TABLE, "usage_tracking": True}
            changed = captured if isinstance(call, Capture) else {"fallback": False}
            self.endpoint = replace(self.endpoint, **changed)

    def _remove(self, call: RemoveStaging) -> None:
        there = self.others.get(call.endpoint)
        if there is not None and (there.owner, there.id) == ("headgate", call.id):
            del self.others[call.endpoint]

    def _create(self, call: CreateStaging) -> None:
        if call.endpoint in self.others:
            return
        self.made += 1
        made = Endpoint(
            serving=call.serving,
            id=f"staging {self.made}",
            owner="headgate",
            made_for=call.mark,
            ready=frozenset(call.serving.shares),
        )
        self.firsts.setdefault(call.mark, made.id)
        [share] = call.serving.shares.values()
        if share.version in self.undeployable:
            none = frozenset[str]()
            made = replace(
                made, serving=Serving(), ready=none, failed=made.ready, update_failed=True
            )
        self.others[call.endpoint] = made

    def _activate(self, wanted: Serving, sizes: Mapping[str, Size] | None = None) -> None:
        before = self.endpoint if isinstance(self.endpoint, Endpoint) else None
        number = before.config_version + 1 if before else 1
        bad = frozenset(
            name for name, share in wanted.shares.items() if share.version in self.undeployable
        )
        known = before.sizes if before else {}
        given = {**known, **(sizes or {})}
        given = {name: size for name, size in given.items() if name in wanted.shares}
        active = before.serving if before else Serving()
        ms = before.created_ms if before else int(self.now.timestamp() * 1000)
        made = before.id if before else f"made {ms}"
        if bad:
            self.endpoint = replace(
                before
                or Endpoint(
                    serving=active, inference_table=TABLE, id=made, created_ms=ms, owner="headgate"
                ),
                update_failed=True,
                failed=bad,
            )
            return
        self.endpoint = Endpoint(
            serving=wanted,
            id=made,
            owner=before.owner if before else "headgate",
            created_ms=ms,
            config_version=number,
            ready=frozenset(wanted.shares),
            inference_table=before.inference_table if before else TABLE,
            fallback=before.fallback if before else False,
            sizes=given,
            concurrency={name: size.room[1] or 0 for name, size in given.items()},
            usage_tracking=before.usage_tracking if before else False,
        )

    def _remember(self, plan: Plan) -> Application:
        sent = tuple(
            Attempt(
                kind=call.kind,
                target=call.target,
                at=self.now,
                outcome="done",
                over=plan.application.config_version,
                id=number,
            )
            for number, call in enumerate(plan.calls, start=1 + len(self.calls))
        )
        young = tuple(
            one for one in (*plan.application.attempts, *sent) if self.now - one.at < MEMORY
        )
        return replace(plan.application, attempts=young)

    def _round(self) -> Round | None:
        live, staging = self.application.live, self.staging()
        if live is None:
            return None
        there = isinstance(staging, Endpoint) and ready_there(self.application, staging)
        here = live.state == "Testing" and isinstance(self.endpoint, Endpoint)
        if not there and not here:
            return None
        baseline = live.pinned.baseline if live.pinned else None
        bad = self.golden_fails | (self.fails_on_staging if there else frozenset())
        return Round(
            asked=1,
            candidate_failed=(1,) if live.version in bad else (),
            stable_failed=(1,) if baseline in self.golden_fails else (),
            why="query 1: answer lacks 'ACID'",
        )

    def _replay(self) -> Drawn | Batch | None:
        """What a replay brings: its sample at first, then a few pairs at each look."""
        live = self.application.live
        seen = live.replay if live is not None and live.state == "Testing" else None
        if seen is None or seen.outcome is not None:
            return None
        if seen.drawn is None:
            ids = tuple(f"request-{number}" for number in range(self.recorded))
            return Drawn(requests=ids, why="" if ids else "nothing of users is recorded")
        return Batch(pairs=tuple(map(self.paired, seen.left[: self.pairs_per_look])))

    def _evidence(self) -> Evidence | None:
        """What the table tells: a block for each span since the last block, up to now."""
        live = self.application.live
        if live is None or not live.spans or not self.table_speaks:
            return None
        speaking = sorted({SOURCE, *live.sources.values()} - self.silent)
        blocks: list[Block] = []
        for source in speaking:
            told = [one.closed_at for one in live.blocks if one.source == source]
            opened = told[-1] if told else live.spans[0].starts_at
            while opened < self.now:
                span, until = span_at(live.spans, opened)
                closed = min(until or self.now, self.now)
                made = self._block(source, span, (opened, closed), live)
                blocks.append(replace(made, number=len(live.blocks) + len(blocks) + 1))
                opened = closed
        return Evidence(blocks=tuple(blocks), watermarks=dict.fromkeys(speaking, self.now))

    def _block(
        self, source: str, span: Span, window: tuple[datetime, datetime], live: Release
    ) -> Block:
        opened, closed = window
        requests = round(self.requests_per_look * ((closed - opened) / timedelta(seconds=30)))
        share = min(100, span.weight + self.astray) if span.weight else 0
        own = requests * share // 100
        arms = {
            version: self._arm(source, version, number, live)
            for version, number in ((live.version, own), ("", requests - own))
        }
        candidate, stable = arms[live.version], arms[""]
        cover = None
        if self.hidden is not None:
            seen = candidate.errors + stable.errors
            failed = round(seen / (1 - self.hidden))
            cover = Coverage(requests=requests, failed=failed, seen=requests, seen_failed=seen)
        return Block(
            number=0,
            source=source,
            span=span.number,
            step=span.step,
            mixed=span.number in live.mixed,
            comparable=span.settled and 0 < span.weight < 100,
            whole=span.weight == 100,
            opened_at=opened,
            closed_at=closed,
            candidate=candidate,
            stable=stable,
            coverage=cover if source == live.sources.get("errors") else None,
        )

    def _arm(self, source: str, number: str, requests: int, live: Release) -> Arm:
        rejected = round(requests * self.rejecting) if number else 0
        rate = self.error_rates.get(number, 0.0) * (1 - (self.hidden or 0.0))
        errors = round((requests - rejected) * rate)
        good, answers = requests - rejected - errors, self.answered.get(number, Answers())
        return Arm(
            requests=requests,
            errors=errors,
            server_errors=0,
            rejected=rejected,
            tallies={
                guard: answers.tally(guard, good, measure)
                for guard, measure in live.measures.items()
                # Both sides of how long answers are rest on one measure.
                if live.sources.get("shorter" if guard == "length" else guard) == source
            },
        )

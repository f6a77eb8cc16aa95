"""What a fault can be: for each scope the requests or events it matches, and what it does to them.

A rule is read from JSON and refused with a sentence where it makes no sense: a fault that silently
never happens would be a test that silently proves nothing.
"""

import random
import re
import typing
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from deploy.sandbox.wire import Json, invalid


@dataclass(frozen=True, kw_only=True)
class HttpFault:
    """What befalls a request before, or with `after_handler` after, it has taken effect."""

    status: int | None = None
    """The status of the answer that replaces the real one; none leaves the real one."""
    error_code: str = "TEMPORARILY_UNAVAILABLE"
    message: str = "a fault that the sandbox was asked for"
    retry_after: int | None = None
    """The answer's Retry-After header, in seconds."""
    after_handler: bool = False
    """The request takes effect and only its answer is lost: the client cannot know."""
    delay_s: float = 0.0
    """How long the answer is held back, in seconds."""
    drop_connection: bool = False
    """Whether the TCP connection is reset instead of answered."""

    def moments(self) -> set[str]:
        """When it happens, and nothing if it does nothing."""
        acts = self.status is not None or self.drop_connection or self.delay_s
        return {"request"} if acts else set()


@dataclass(frozen=True, kw_only=True)
class EntityFault:
    """What befalls a served entity: at a request, or when its process starts."""

    latency_ms: float = 0.0
    """How much longer the model takes, in milliseconds."""
    error_rate: float | None = None
    """Share of the requests that end in `status`; none with a status is all of them."""
    status: int | None = None
    """What a request ends in that the error rate chooses; 500 unless given."""
    bad_payload: bool = False
    """The answer is 200, and half of its body."""
    crash: bool = False
    """The process is killed with the request in its hands."""
    slow_start_s: float = 0.0
    """How much longer the process takes to start, in seconds."""

    def moments(self) -> set[str]:
        """When it happens, and nothing if it does nothing."""
        asked = self.latency_ms or self.error_rate or self.status or self.bad_payload or self.crash
        return ({"request"} if asked else set()) | ({"start"} if self.slow_start_s else set())

    def failure(self, generator: random.Random) -> int | None:
        """The status that this request is to end in, if it is to fail."""
        if self.error_rate is None and self.status is None:
            return None
        share = 1.0 if self.error_rate is None else self.error_rate
        return (self.status or 500) if generator.random() < share else None


@dataclass(frozen=True, kw_only=True)
class RolloutFault:
    """What befalls an update of an endpoint's configuration, or somebody does to it."""

    stuck: bool = False
    """It stays IN_PROGRESS until the fault is cleared."""
    fail: bool = False
    """It ends in UPDATE_FAILED."""
    cancel: bool = False
    """It ends in UPDATE_CANCELED, as if somebody had pressed the button."""
    partial: bool = False
    """It ends in NOT_UPDATING, but one entity is not ready until the fault is cleared."""
    duration_s: float | None = None
    """The least time that it takes, in seconds, instead of the settings' `update_s`."""
    external_change: dict[str, int] | None = None
    """Right after the next GET, somebody else sets these percentages by served entity name."""

    def moments(self) -> set[str]:
        """When it happens, and nothing if it does nothing."""
        ends = self.stuck or self.fail or self.cancel or self.partial
        updates = {"update"} if ends or self.duration_s is not None else set[str]()
        return updates | (set() if self.external_change is None else {"read"})


@dataclass(frozen=True, kw_only=True)
class TableFault:
    """What the delivery of a row suffers, in place of the settings' manners."""

    lag_s: float | None = None
    """Age at which the row becomes visible, in seconds."""
    jitter_s: float | None = None
    """Extra random age, uniform from 0 to this, in seconds: rows come out of order."""
    duplicates: float | None = None
    """Share of rows that come twice."""
    drops: float | None = None
    """Share of rows that never come."""
    skip_statuses: tuple[int, ...] | None = None
    """Statuses whose rows never come."""

    def moments(self) -> set[str]:
        """When it happens, and nothing if it does nothing."""
        return {"row"} if any(value is not None for value in asdict(self).values()) else set()


@dataclass(frozen=True, kw_only=True)
class RegistryFault:
    """What befalls a request to the registry of models, in both dialects."""

    stale_reads: bool = False
    """Reads answer from the moment at which the fault was asked for."""
    move_alias_to: int | None = None
    """Right after a request that reads or sets the alias, somebody else points it here."""

    def moments(self) -> set[str]:
        """When it happens, and nothing if it does nothing."""
        moved = set() if self.move_alias_to is None else {"alias"}
        return ({"read"} if self.stale_reads else set()) | moved


@dataclass(frozen=True, kw_only=True)
class SqlFault:
    """What befalls a SQL statement."""

    pending_polls: int | None = None
    """How often it answers PENDING before it runs."""
    failed: str | None = None
    """The message with which it ends in FAILED."""
    chunk_rows: int | None = None
    """Rows per chunk of its result."""
    starting_s: float = 0.0
    """The warehouse is STOPPED, and the statement waits so many seconds for its start."""

    def moments(self) -> set[str]:
        """When it happens, and nothing if it does nothing."""
        values = (self.pending_polls, self.failed, self.chunk_rows)
        acts = self.starting_s or any(value is not None for value in values)
        return {"statement"} if acts else set()


Effect = HttpFault | EntityFault | RolloutFault | TableFault | RegistryFault | SqlFault

SCOPES: dict[str, tuple[type[Effect], tuple[str, ...], int | None]] = {
    "http": (HttpFault, ("method", "path"), 1),
    "entity": (EntityFault, ("endpoint", "entity"), None),
    "rollout": (RolloutFault, ("endpoint",), 1),
    "table": (TableFault, ("table", "endpoint"), None),
    "registry": (RegistryFault, ("model", "alias"), 1),
    "sql": (SqlFault, ("statement",), 1),
}
"""For each scope: its effects, what it matches by, and how often it applies unless told."""

_RULE: dict[str, Any] = {
    "scope": str,
    "skip": int,
    "times": int | None,
    "probability": float,
    "seed": int,
}
_ALTERNATIVES = ("stuck", "fail", "cancel", "partial")
_MILLION = 1_000_000


@dataclass(eq=False, kw_only=True)
class Rule:
    """One fault: what it matches, how often it applies, what it does, and what it has done."""

    scope: str
    match: dict[str, str]
    """Regular expressions by what they match: searched for in paths and statements, whole else."""
    effect: Effect
    skip: int = 0
    """How many matches pass unharmed first."""
    times: int | None = 1
    """How often it applies; none is until it is cleared."""
    probability: float = 1.0
    seed: int = 0
    number: int = 0
    matched: int = 0
    applied: int = 0
    chance: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.chance = random.Random(f"{self.seed}:fault")  # noqa: S311 - it must be repeatable

    @property
    def spent(self) -> bool:
        """Whether it has applied as often as it was to."""
        return self.times is not None and self.applied >= self.times

    def applies(self, moment: str, names: dict[str, str]) -> bool:
        """Whether it befalls this event, which it counts."""
        if self.spent or moment not in self.effect.moments():
            return False
        if not all(_fits(key, wanted, names.get(key, "")) for key, wanted in self.match.items()):
            return False
        self.matched += 1
        if self.matched <= self.skip or self.chance.random() >= self.probability:
            return False
        self.applied += 1
        return True

    def shown(self) -> Json:
        """The rule as GET lists it."""
        effect = {key: value for key, value in asdict(self.effect).items() if value is not None}
        return {
            "number": self.number,
            "scope": self.scope,
            "match": self.match,
            "skip": self.skip,
            "times": self.times,
            "probability": self.probability,
            "seed": self.seed,
            **effect,
            "matched": self.matched,
            "applied": self.applied,
        }


def _fits(key: str, wanted: str, value: str) -> bool:
    look = re.search if key in {"path", "statement"} else re.fullmatch
    return look(wanted, value) is not None


def read_rule(body: Any) -> Rule:  # noqa: ANN401 - anything may stand in a request
    """The rule that a JSON object describes; a sentence says what is wrong with it."""
    if not isinstance(body, dict):
        raise invalid("a fault must be a JSON object")
    scope = body.get("scope", "http")
    if scope not in SCOPES:
        raise invalid(f"there is no scope {scope!r}: {', '.join(SCOPES)}")
    kind, matchers, times = SCOPES[scope]
    types = typing.get_type_hints(kind)
    match = _match(body, scope, matchers)
    effect: Json = {}
    rule: Json = {"times": times}
    for key, value in body.items():
        if key == "match" or (scope == "http" and key in matchers):
            continue
        if key not in _RULE and key not in types:
            known = ", ".join(sorted({*_RULE, "match", *types}))
            raise invalid(f"a fault of the scope {scope} has no field {key!r}; it has {known}")
        chosen = rule if key in _RULE else effect
        chosen[key] = _value(key, value, _RULE.get(key) or types[key])
    rule.pop("scope", None)
    made = Rule(scope=scope, match=match, effect=kind(**effect), **rule)
    if not made.effect.moments():
        offered = ", ".join(each.name for each in fields(kind))
        raise invalid(f"a fault of the scope {scope} must do something: set one of {offered}")
    if sum(bool(effect.get(key)) for key in _ALTERNATIVES) > 1:
        raise invalid(f"an update can end in one way only: {', '.join(_ALTERNATIVES)}")
    return made


def _match(body: Json, scope: str, matchers: tuple[str, ...]) -> dict[str, str]:
    """What the rule matches by; the scope http takes its two also beside the other fields."""
    given = body.get("match", {})
    if not isinstance(given, dict):
        raise invalid(f"the field 'match' of a fault cannot be {given!r}: it is an object")
    if scope == "http":
        given = {**{key: body[key] for key in matchers if body.get(key) is not None}, **given}
    for key, value in given.items():
        if key not in matchers:
            offered = ", ".join(matchers)
            raise invalid(f"the scope {scope} does not match by {key!r}, but by {offered}")
        try:
            re.compile(value)
        except (re.error, TypeError) as error:
            raise invalid(f"the {key} {value!r} is no regular expression: {error}") from error
    return given


def _value(key: str, value: Any, wanted: Any) -> Any:  # noqa: ANN401 - a JSON value, a type
    """The value of a field, if it is of the field's type and within reason."""
    kinds = typing.get_args(wanted) or (wanted,)
    origin = {typing.get_origin(kind) or kind for kind in kinds}
    if value is None and type(None) in origin:
        return None
    if tuple in origin and isinstance(value, list) and all(type(one) is int for one in value):
        return tuple(value)
    if dict in origin and isinstance(value, dict):
        if all(type(share) is int for share in value.values()):
            return value
    elif type(value) in origin or (float in origin and type(value) is int):
        numeric = isinstance(value, int | float)
        most = 1 if key in _SHARES else _MILLION
        least = 1 if key in _COUNTS else 0
        if not numeric or least <= value <= most:
            return value
    raise invalid(f"the field {key!r} of a fault cannot be {value!r}")


_COUNTS = frozenset(("times", "chunk_rows", "move_alias_to"))
_SHARES = frozenset(("probability", "error_rate", "duplicates", "drops"))

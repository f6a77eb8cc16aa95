"""What may go wrong in one run, how often, and what is so from its beginning: drawn by the seed.

Swarm testing: each run has its own mix, and most faults are missing from it. A mix of everything
at once would hide what only shows when some part works long enough.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta

from controller.record.budget import BUDGET
from policies.admission import Approval
from policies.replay import Margins, Replay
from policies.rollout import Rollout
from states.spec import Spec
from tests.simulation.draws import Draws
from tests.simulation.platform import ERRING, STAGING, Platform
from tests.states.story import SPEC, version

AT_PLACES = {
    "crash": 0.02,
    "crash_at_call": 0.1,
    "stall": 0.01,
    "unreachable": 0.2,
    "stale": 0.3,
    "denied": 0.1,
    "overload": 0.3,
    "lost": 0.3,
    "late": 0.3,
    "unanswered": 0.3,
    "disk_full": 0.05,
    "store_unknown": 0.02,
    "slow_update": 0.3,
    "stuck": 0.25,
    "flaps": 0.08,
    "build_fails": 0.15,
    "answers_astray": 0.2,
    "order_meanwhile": 0.1,
}
"""Faults that strike where something is asked or done, and their highest rates."""
IN_TIME = {
    "raise": 0.05,
    "lower": 0.04,
    "home_by_hand": 0.04,
    "alias_edit": 0.06,
    "alias_gone": 0.03,
    "version_gone": 0.02,
    "endpoint_gone": 0.02,
    "staging_gone": 0.06,
    "staging_theirs": 0.04,
    "rebuild": 0.15,
    "unready": 0.06,
    "pause": 0.08,
    "resume": 0.2,
    "abort": 0.04,
    "approve": 0.2,
    "promote": 0.15,
    "begin": 0.15,
    "undo": 0.05,
    "apply": 0.06,
    "store_jump": 0.06,
    "store_stands": 0.05,
    "wall_jump": 0.1,
    "table_silent": 0.06,
    "table_late": 0.1,
    "probes_dead": 0.06,
    "metrics_gone": 0.06,
    "queries_unanswered": 0.06,
}
"""Faults that strike at some time, and their highest rates for each `TICK_S`."""
TICK_S = 20.0
MISSING = 0.55
"""Share of faults that one run has none of."""
QUICK = Rollout(
    steps=(10, 100),
    settle=timedelta(seconds=10),
    min_step=timedelta(seconds=75),
    bake=timedelta(seconds=75),
    watch=timedelta(seconds=60),
    patience=timedelta(minutes=6),
    retain=timedelta(seconds=60),
)
BRISK = replace(
    SPEC,
    rollout=QUICK,
    evidence_every=timedelta(seconds=20),
    max_lag=timedelta(minutes=5),
    provisioning_deadline=timedelta(minutes=13),
    testing_deadline=timedelta(minutes=5),
)
REPLAY = Replay(
    requests=300,
    within=timedelta(minutes=4),
    margins=Margins(errors=0.1, answers=0.1, sources=0.1),
)
KINDS = ("errs", "errs_late", "errs_little", "undeployable", "untrue")
LITTLE = 0.02
"""Share of its requests that a slightly worse version fails beyond a good one's."""
GOOD = 0.5
"""Share of versions that have nothing wrong with them."""


MANY = 1000
"""Requests in a second by which every step is told apart within minutes."""
FEW_WRITES = 5
"""What is left of a workspace's writes where other applications take most of them."""
SKEWS_S = (5.0, 5.0, 300.0, 3600.0)
"""How far the platform's clock may be from the true one: NTP, too little of it, and none at all."""
ASKED: Mapping[int, Approval] = {0: "before_canary", 1: "before_production"}
"""Of ten runs, those in which a person is asked, and before what."""


@dataclass(frozen=True)
class Begin:
    """What is so from the beginning of a run."""

    replicas: int = 2
    by_lease: bool = False
    """They share by leases; else only the row version stands between them."""
    first: bool = False
    """There is no endpoint yet."""
    kinds: tuple[str, ...] = ("good",)
    """Of the versions to be released, one after the other, from version 2 on."""
    gap_s: float = 300.0
    """Between two of them."""
    error_rate: float = 0.0
    requests_per_s: int = MANY
    labelled: bool = False
    hidden: float = 0.0
    ahead_s: float = 0.0
    dated: bool = True
    """Endpoints have an id, and tell when they were created."""
    steps: tuple[int, ...] = (10, 100)
    approval: Approval = "none"
    staging: bool = False
    """Versions are tested on a staging endpoint first."""
    replayed: bool = False
    """Recorded requests are safe to repeat."""
    writes: int = BUDGET
    """That the workspace takes in five minutes: one application never needs as many."""


def begin(seed: int) -> Begin:
    """How a run of this seed begins."""
    draws = Draws(seed)
    many = 2 if draws.at("begin/releases") < 0.3 else 1
    return Begin(
        replicas=(1, 2, 2, 2, 3)[int(5 * draws.at("begin/replicas"))],
        by_lease=draws.at("begin/lease") < 0.75,
        first=draws.at("begin/first") < 0.12,
        kinds=tuple(_kind(draws.at(f"begin/kind{one}")) for one in range(many)),
        gap_s=60 + 500 * draws.at("begin/gap"),
        error_rate=(0.0, 0.002, 0.01)[int(3 * draws.at("begin/rate"))],
        requests_per_s=20 if draws.at("begin/requests") < 0.1 else MANY,
        labelled=draws.at("begin/labelled") < 0.2,
        hidden=0.6 if draws.at("begin/hidden") < 0.1 else 0.0,
        ahead_s=_skew(draws),
        dated=draws.at("begin/dated") < 0.8,
        steps=((10, 100), (10, 100), (5, 50, 100), (100,))[int(4 * draws.at("begin/steps"))],
        approval=ASKED.get(int(10 * draws.at("begin/approval")), "none"),
        staging=draws.at("begin/staging") < 0.3,
        replayed=draws.at("begin/replay") < 0.2,
        writes=FEW_WRITES if draws.at("begin/writes") < 0.2 else BUDGET,
    )


def plain(begun: Begin) -> bool:
    """Nothing in how a run begins asks for a person: enough is counted, and clearly good or bad.

    What errs only once all users have it blows the fuse before it is counted: a person is called.
    """
    enough = begun.requests_per_s >= MANY and not begun.hidden
    # Of a few hundred recorded requests what errs fails too few for a proof, and too many to go on.
    unclear = {"errs_little", "errs_late"} | ({"errs"} if begun.replayed else set())
    clear = not unclear & {*begun.kinds}
    return enough and clear and begun.approval == "none" and not begun.first


def _skew(draws: Draws) -> float:
    most = SKEWS_S[int(len(SKEWS_S) * draws.at("begin/skew"))]
    return round(most * (2 * draws.at("begin/ahead") - 1), 3)


def _kind(share: float) -> str:
    return "good" if share < GOOD else KINDS[int(len(KINDS) * (share - GOOD) / (1 - GOOD))]


def rates(seed: int) -> dict[str, float]:
    """The mix of faults of this seed."""
    draws = Draws(seed)
    if draws.at("mix/none") < 0.05:
        return {}
    return {
        kind: most * 10 ** (-1.5 * draws.at(f"mix/rate/{kind}"))
        for kind, most in (AT_PLACES | IN_TIME).items()
        if draws.at(f"mix/{kind}") >= MISSING
    }


def spec_of(begun: Begin) -> Spec:
    """The configuration of a run."""
    staging = STAGING if begun.staging else None
    rules = replace(BRISK.admission, approval=begun.approval)
    replay = REPLAY if begun.replayed else None
    rollout = replace(QUICK, steps=begun.steps)
    return replace(BRISK, rollout=rollout, staging=staging, replay=replay, admission=rules)


def register(platform: Platform, number: int, kind: str) -> None:
    """A version appears in the registry, good or bad."""
    name = str(number)
    if kind == "errs":
        platform.error_rates[name] = ERRING, 0.0
    elif kind == "errs_little":
        platform.error_rates[name] = platform.error_rate + LITTLE, 0.0
    elif kind == "errs_late":
        platform.bad_once_named.add(name)
    elif kind == "undeployable":
        platform.undeployable.add(name)
    elif kind == "untrue":
        platform.untrue.add(name)
    platform.versions[number] = version(number)

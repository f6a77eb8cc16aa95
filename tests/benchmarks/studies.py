"""The questions that the benchmark of judging asks, each a table and the goals it must meet."""

import math
from collections.abc import Callable, Iterator
from functools import partial

from tests.benchmarks import headgate
from tests.benchmarks.arena import Case
from tests.benchmarks.headgate import (
    BY_SESSION,
    ERROR_MARGIN,
    GUARDS,
    HELD_BACK,
    LATENCY_MARGIN,
    LOOK_S,
    NO_FUSE,
    PLAIN,
    STAY_S,
    TO_THE_END,
)
from tests.benchmarks.measures import bound_on_a_ramp, summary
from tests.benchmarks.peers import STEP_S, STEPS
from tests.benchmarks.peers.argo import Argo
from tests.benchmarks.peers.flagger import Flagger
from tests.benchmarks.protocol import Make
from tests.benchmarks.study import (
    ARGO,
    FLAGGER,
    KAYENTA,
    PEERS,
    Plan,
    Study,
    at_least,
    at_most,
    ours,
    per_cent,
)
from tests.benchmarks.traces import (
    WORLDS,
    Effect,
    World,
    bursty,
    constant,
    diurnal,
    drifting,
    retrying,
    steady,
)

BASE = 0.005
MINUTE_S, HOUR_S = 60.0, 3600.0
RATES = (1.0, 10.0, 100.0)
LAGS_MIN = (0, 1, 15, 60)
SIZES = (0.01, 0.02, 0.05, 0.10, 0.20)
RAMP_S = STEP_S * len(STEPS)

LEAST_RATES = (0.995, 0.99, 0.98, 0.97, 0.96, 0.95, 0.94, 0.92, 0.90, 0.85, 0.80, 0.75, 0.70)
"""Success rates among which a threshold is tuned in hindsight."""


def _horizon_s(name: str, per_second: float) -> float:
    """A peer's schedule, and what failed checks add to Flagger's; ours with bake and watch."""
    climb = {1.0: 4 * HOUR_S, 10.0: HOUR_S}
    scheduled = RAMP_S + 10 * MINUTE_S
    if name not in headgate.HEADGATE:
        return scheduled
    return climb.get(per_second, scheduled) + STAY_S


def false_rollbacks(plan: Plan) -> Study:
    """Healthy candidates in every world: how often they are rolled back."""
    study = Study(
        "Healthy releases that were rolled back; ours with bake and watch",
        ("rolled_back", "rolled_back_at_most"),
    )
    for make in WORLDS:
        special = (BY_SESSION,) if make is retrying else ()
        for name in (*ours(TO_THE_END, *special), *PEERS):
            for rate in RATES:
                case = Case(make(rate), horizon_s=_horizon_s(name, rate), to_the_end=False)
                study.rows.append(plan.run(name, case, promised=name in headgate.HEADGATE))
    usual = [
        row for world in ("constant", "bursty", "latency drift") for row in study.of(world=world)
    ]
    mine = [row for row in usual if row["system"] == TO_THE_END]
    share = [row["rolled_back"] for row in mine]
    bound = [row["rolled_back_at_most"] for row in mine]
    study.expect("constant, bursty, drifting: at most 0.5 %", share, per_cent(0.5))
    study.expect("... with an upper 95 % bound of at most 1 %", bound, per_cent(1.0))
    pooled = [sum(share) / len(share)] if share else []
    study.expect("... all of them together: at most 0.5 %", pooled, per_cent(0.5))
    for name, how, most in ((TO_THE_END, "dispersion", 2.0), (BY_SESSION, "session", 1.0)):
        rows = study.of(system=name, world="retry clusters")
        clustered = [row["rolled_back"] for row in rows]
        study.expect(f"retry clusters, by {how}: at most {most:g} %", clustered, per_cent(most))
    return study


def false_fuses(plan: Plan) -> Study:
    """Healthy candidates where there is lag: how often the fuse blows, and whether it ends one."""
    study = Study("Healthy releases whose fuse blew", ("fused", "rolled_back", "promoted"))
    for make in (constant, diurnal, bursty):
        for rate, lag in ((10.0, 15), (10.0, 60), (100.0, 15), (100.0, 60)):
            case = Case(make(rate), lag_s=lag * MINUTE_S, horizon_s=6 * HOUR_S, to_the_end=False)
            study.rows += [plan.run(name, case) for name in ours(PLAIN)]
    for world in ("constant", "diurnal", "bursty"):
        fused = [row["fused"] for row in study.of(world=world)]
        study.expect(f"{world}: blown in at most 5 %", fused, per_cent(5.0))
    back = [row["rolled_back"] for row in study.rows]
    study.expect("none ends a release: rolled back at most 0.5 %", back, per_cent(0.5))
    return study


def false_promotions(plan: Plan) -> Study:
    """Candidates exactly at the final margin, and ones with four times the errors."""
    study = Study("Bad candidates that were promoted", ("promoted", "rolled_back"))
    faults = {
        "errors at the margin": (constant, Effect(extra=ERROR_MARGIN)),
        "latency at the margin": (steady, Effect(slower=LATENCY_MARGIN)),
        "four times the errors": (constant, Effect(factor=4.0)),
    }
    for fault, (make, effect) in faults.items():
        for rate, hours in ((10.0, 4.0), (100.0, 2.0)):
            case = Case(make(rate), effect, horizon_s=hours * HOUR_S, to_the_end=False)
            for name in ours(PLAIN):
                row = plan.run(name, case, promised=True)
                study.rows.append({"fault": fault, **row})
    for fault in faults:
        most = 0.0 if "four" in fault else 5.0
        shares = [row["promoted"] for row in study.of(fault=fault)]
        study.expect(f"{fault}: at most {most:g} % promoted", shares, per_cent(most))
    return study


def _offered(per_second: float) -> list[tuple[float, float]]:
    """The candidate requests of each step of the fixed schedule."""
    return [(share, share * per_second * STEP_S) for share in STEPS]


def exposure(plan: Plan) -> Study:
    """Candidates with 1 to 20 % errors: what they cost before they were rolled back."""
    study = Study(
        "What a bad candidate cost, by the size of its fault",
        (
            "rolled_back",
            "exposed_median",
            "exposed_p90",
            "failed_mean",
            "times_bound_median",
            "times_bound_p90",
        ),
    )
    for rate in RATES:
        offered = _offered(rate)
        for size in SIZES:
            bound = bound_on_a_ramp(size, BASE, offered)
            known = bound <= sum(requests for _, requests in offered) / 2
            look = STEPS[0] * rate * LOOK_S
            tested = bound_on_a_ramp(size, BASE, offered, margin=GUARDS.errors.harm_margin)
            case = Case(constant(rate), Effect(extra=size - BASE), horizon_s=RAMP_S)
            for name in (*ours(PLAIN), *PEERS):
                row = {"errors": size, "bound": bound if known else None, **plan.run(name, case)}
                for which in ("median", "p90"):
                    cost = row[f"exposed_{which}"]
                    row[f"times_bound_{which}"] = cost / (bound + look) if known else None
                    row[f"times_tested_{which}"] = cost / (tested + look) if known else None
                study.rows.append(row)
    mine = [row for row in study.of(system=PLAIN) if row["bound"] is not None]
    for which, most in (("median", 1.6), ("p90", 4.0)):
        times = [row[f"times_bound_{which}"] for row in mine]
        study.expect(
            f"{which} at most {most:g} times the two-arm bound and one look",
            times,
            at_most(most),
        )
        harmful = [row[f"times_tested_{which}"] for row in mine]
        study.expect(
            f"... {which}, the bound being that of the margin of harm", harmful, at_most(most)
        )
    _against_argo(study)
    return study


def _against_argo(study: Study) -> None:
    """At 100 requests/s, beside Argo's documented threshold looked at every minute."""
    for size, key, least in (
        (0.20, "exposed_median", 10.0),
        (0.05, "exposed_median", 4.0),
        (0.02, "failed_mean", 50.0),
    ):
        what = {"per_second": 100.0, "errors": size}
        pairs = zip(study.of(system=PLAIN, **what), study.of(system=ARGO, **what), strict=False)
        times = [theirs[key] / max(1.0, mine[key]) for mine, theirs in pairs]
        kind = "exposed" if key.startswith("exposed") else "failed"
        study.expect(
            f"{size:.0%} errors, 100 requests/s: {least:g} times fewer {kind} than {ARGO}",
            times,
            at_least(least),
        )


def _tuned(plan: Plan, peer: str, world: World) -> tuple[float, Make] | None:
    """The strictest threshold that rolls back at most 1 % of healthy releases, in hindsight."""
    for least in LEAST_RATES:
        make: Make = (
            partial(Argo, least=least)
            if peer == ARGO
            else partial(Flagger, least_percent=100 * least)
        )
        case = Case(world, horizon_s=RAMP_S, to_the_end=False)
        found = summary(plan.arena.releases(make, case, plan.releases))
        if (found["rolled_back"] or 0.0) <= 0.01:
            return least, make
    return None


def equal_rates(plan: Plan) -> Study:
    """Bursty worlds, the peers' thresholds tuned in hindsight to 1 % false rollback."""
    study = Study(
        "What a bad candidate cost at equal false rollback, bursty",
        ("rolled_back", "exposed_median", "failed_mean"),
    )
    for rate in (10.0, 100.0):
        systems = {name: headgate.HEADGATE[name] for name in ours(PLAIN)}
        for peer in (ARGO, FLAGGER):
            if tuned := _tuned(plan, peer, bursty(rate)):
                systems[f"{peer}, tuned to {tuned[0]:.1%}"] = tuned[1]
        for size in (0.05, 0.10, 0.20):
            case = Case(bursty(rate), Effect(extra=size - BASE), horizon_s=RAMP_S)
            for name, make in systems.items():
                found = summary(plan.arena.releases(make, case, plan.releases))
                row = {"system": name, "per_second": rate, "errors": size}
                study.rows.append({**row, **found})
    times = [
        theirs["failed_mean"] / mine["failed_mean"]
        for mine in study.of(system=PLAIN)
        for theirs in study.of(per_second=mine["per_second"], errors=mine["errors"])
        if theirs is not mine
    ]
    study.expect("at least 4 times fewer failed requests", times, at_least(4.0))
    return study


def lags(plan: Plan) -> Study:
    """20 % errors at 10 requests/s where the versions' windows come late.

    On a bursty endpoint too, whose fuse must outlast the bursts of the day before.
    """
    study = Study(
        "What a bad candidate cost, by the lag",
        ("rolled_back", "exposed_median", "exposed_p90", "failed_mean", "fused"),
    )
    for lag in LAGS_MIN:
        horizon_s = RAMP_S + len(STEPS) * lag * MINUTE_S
        case = Case(constant(10.0), Effect(extra=0.20 - BASE), lag * MINUTE_S, horizon_s)
        for name in (*ours(PLAIN, NO_FUSE), *PEERS):
            study.rows.append(plan.run(name, case))
        if lag:
            restless = case._replace(world=bursty(10.0))
            study.rows += [plan.run(name, restless) for name in ours(PLAIN, NO_FUSE)]
    calm = {"world": "constant", "lag_min": 60}
    pairs = zip(study.of(system=PLAIN, **calm), study.of(system=NO_FUSE, **calm), strict=False)
    times = [bare["exposed_median"] / mine["exposed_median"] for mine, bare in pairs]
    study.expect(
        "an hour of lag: 10 times fewer exposed than without the fuse",
        times,
        at_least(10.0),
    )
    return study


def at_whole(plan: Plan) -> Study:
    """Candidates that turn bad once they have all users; alone, or with some held back."""
    study = Study(
        "What a candidate cost that turned bad at 100 %",
        ("rolled_back", "exposed_median", "exposed_p90", "failed_mean"),
    )
    for make in (constant, bursty):
        for rate, begins in ((10.0, 75 * MINUTE_S), (100.0, 30 * MINUTE_S)):
            for size in (0.02, 0.05, 0.20):
                effect = Effect(extra=size - BASE, onset_s=begins)
                case = Case(make(rate), effect, horizon_s=begins + HOUR_S)
                for name in ours(TO_THE_END, HELD_BACK):
                    study.rows.append({"errors": size, **plan.run(name, case)})
    found = [
        row["rolled_back"]
        for name, world in ((TO_THE_END, "constant"), (HELD_BACK, "bursty"))
        for row in study.of(system=name, world=world)
        if row["errors"] >= 0.05
    ]
    study.expect(
        "5 % errors or more, in bursts with some held back: at least 99 % found in an hour",
        found,
        at_least(0.99),
    )
    return study


def promotions(plan: Plan) -> Study:
    """Healthy candidates: how long until they have all traffic."""
    study = Study(
        "Minutes until a healthy candidate had all traffic",
        ("promoted", "minutes_to_promotion_median", "minutes_to_promotion_p90"),
    )
    for rate, hours in ((100.0, 1.0), (10.0, 3.0), (1.0, 12.0)):
        case = Case(constant(rate), horizon_s=hours * HOUR_S, to_the_end=False)
        study.rows += [plan.run(name, case) for name in ours(PLAIN)]
    for rate, which, most in ((100.0, "median", 10.0), (10.0, "p90", 45.0)):
        found = [
            row[f"minutes_to_promotion_{which}"] or math.inf for row in study.of(per_second=rate)
        ]
        study.expect(
            f"{rate:g} requests/s, {which}: at most {most:g} minutes",
            found,
            at_most(most),
        )
    return study


def latency(plan: Plan) -> Study:
    """Candidates that are slower and fail no more often."""
    study = Study("What a slow candidate cost", ("rolled_back", "exposed_median", "exposed_p90"))
    limits = {1.5: 60.0, 1.25: 250.0}
    for make in (steady, drifting):
        for rate in (10.0, 100.0):
            for slower in limits:
                case = Case(make(rate), Effect(slower=slower), horizon_s=RAMP_S)
                for name in (*ours(PLAIN), FLAGGER, KAYENTA):
                    study.rows.append({"slower": slower, **plan.run(name, case)})
    for slower, most in limits.items():
        rows = study.of(system=PLAIN, slower=slower)
        # Nothing is found before the first look, which brings 75 requests at 100 a second.
        found = [row["exposed_median"] - STEPS[0] * row["per_second"] * LOOK_S for row in rows]
        study.expect(
            f"{slower - 1:.0%} slower: within {most:g} candidate requests and one look, median",
            found,
            at_most(most),
        )
    return study


def fold(plan: Plan) -> Study:
    """Folding a day of one-minute blocks, for one guard."""
    del plan
    study = Study("Folding a day of one-minute blocks", ("ms",))
    taken = [min(headgate.FOLD(1440) for _ in range(5))] if headgate.FOLD else []
    study.rows += [{"blocks": 1440, "ms": one} for one in taken]
    study.expect("at most 20 ms per guard", taken, at_most(20.0))
    return study


STUDIES: dict[str, Callable[[Plan], Study]] = {
    one.__name__: one
    for one in (
        false_rollbacks,
        false_fuses,
        false_promotions,
        exposure,
        equal_rates,
        lags,
        at_whole,
        promotions,
        latency,
        fold,
    )
}


def each(plan: Plan, only: str | None) -> Iterator[tuple[str, Study]]:
    """The studies, one by one."""
    for name, study in STUDIES.items():
        if only in {None, name}:
            yield name, study(plan)

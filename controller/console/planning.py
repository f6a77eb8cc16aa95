"""`headgate plan`: the forecast of a release, from the endpoint's own traffic and lag.

What the workspace tells is read; what it does not tell is assumed, and each assumption is said.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Self, TypeVar

from pydantic import BeforeValidator, Field, TypeAdapter, ValidationError

from controller.console.guarding import unlimited
from controller.places import meant
from controller.settings import ApplicationSettings, ProcessSettings, SettingsError, load
from controller.units import Duration, share
from policies.blindness import named
from policies.criteria import criteria
from policies.criterion import Criterion
from policies.forecast import AUTO_STOP, AWAKE, Forecast, StepForecast, forecast
from policies.fuse import Minute
from policies.guards import CAPACITY, ERRORS, History, measures
from policies.prospect import Traffic
from policies.rollout import WHOLE
from policies.words import amount, duration, percent
from states.judging import Pace, pace_by, paces, sources
from states.release import Application
from states.world import Absent, Endpoint, Serving

if TYPE_CHECKING:
    from controller.console.surroundings import Surroundings

PROMISED = timedelta(hours=1)
"""The longest lag of an inference table by Databricks' documentation; assumed if none was seen."""
UNREAD = 0.05
"""Share of stable's answers that may be unreadable before it is said."""
_SOMEWHERE = Endpoint(serving=Serving(), inference_table="assumed")


_DURATION: Final = TypeAdapter[timedelta](Duration)
_SHARE: Final = TypeAdapter[float](Annotated[float, BeforeValidator(share), Field(ge=0, lt=1)])
BUSIEST = 1e6
"""Requests per second that no endpoint has."""
Value = TypeVar("Value")


@dataclass(frozen=True, kw_only=True)
class Known:
    """What was read of an application's endpoint; None: not read, or not told."""

    endpoint: Endpoint | Absent | None = None
    requests_per_second: float | None = None
    """By the metrics, lately."""
    minutes: tuple[Minute, ...] = ()
    """The endpoint's of the last day, by the record and as seen now."""
    history: History | None = None
    labelled: bool = False
    troubles: tuple[str, ...] = ()
    """Why something was not read; one sentence each."""


@dataclass(frozen=True, kw_only=True)
class Given:
    """What the command line says instead of the workspace; None: nothing."""

    requests_per_second: float | None = None
    lag: timedelta | None = None
    errors: float | None = None

    @classmethod
    def read(cls, rps: float | None, lag: str | None, errors: str | None) -> Self:
        """The options as they were written, or a sentence that names the wrong one."""
        if rps is not None and not 0 <= rps <= BUSIEST:
            told = f"write requests per second, such as 12.5, and at most {BUSIEST:,.0f}"
            raise SettingsError(f"--rps {rps:g}: {told}")
        return cls(
            requests_per_second=rps,
            lag=None if lag is None else _option("--lag", lag, _DURATION),
            errors=None if errors is None else _option("--errors", errors, _SHARE),
        )

    @property
    def enough(self) -> bool:
        """The workspace is not needed."""
        return self.requests_per_second is not None and self.lag is not None


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One application's forecast, what it rests on, and what was assumed."""

    application: str
    endpoint: str
    traffic: Traffic
    sources: dict[str, str]
    """Of each guard that the forecast speaks of."""
    forecast: Forecast
    assumed: tuple[str, ...] = field(default=())

    def as_json(self) -> dict[str, Any]:
        """The plan as `--json` prints it; times in seconds, rates as shares of one."""
        told = self.forecast
        return {
            "schema": 1,
            "application": self.application,
            "endpoint": self.endpoint,
            "requests_per_second": self.traffic.requests_per_second,
            "lag_s": self.traffic.lag.total_seconds(),
            "error_rate": self.traffic.errors,
            "guards": self.sources,
            "steps": [_step(one) for one in told.steps],
            "pinned_steps": list(told.pinned),
            "because": told.because,
            "stops_at": told.stops_at,
            "last_weight": told.last,
            "to_whole_s": _seconds(told.to_whole),
            "to_production_s": _seconds(told.to_production),
            "to_confirmed_s": _seconds(told.to_confirmed),
            "looks": told.looks,
            "warehouse_h": round(told.warehouse / timedelta(hours=1), 3),
            "provisioning_h": round(told.provisioning / timedelta(hours=1), 3),
            "assumed": list(self.assumed),
        }


def _step(one: StepForecast) -> dict[str, Any]:
    return {
        "weight": one.weight,
        "error_margin": one.margin,
        "decides": one.decides,
        "time_s": _seconds(one.time),
        "slowest": one.slowest,
        "needs": [
            {"guard": need.guard, "requests": need.requests, "time_s": _seconds(need.time)}
            for need in one.needs
        ],
        "smallest_error_rate": one.smallest,
        "failure_found_s": _seconds(one.found),
        "failure_found_by": one.by or None,
        "requests_failing": round(one.failing, 1),
        "requests_undetected": round(one.undetected, 1),
    }


def _seconds(time: timedelta | None) -> float | None:
    return None if time is None else round(time.total_seconds(), 1)


def plans(
    config: Path, application: str | None, process: ProcessSettings, given: Given
) -> Iterator[Plan]:
    """The forecast of each application, or of one; `WorkspaceError`, where none can be read."""
    loaded = load(config).applications
    if application is not None and application not in loaded:
        told = meant(application, list(loaded), "there is")
        raise SettingsError(f"{config}: has no application {application}{told}")
    surroundings = None if given.enough else _connected(process)
    for name, settings in loaded.items():
        if application in (None, name):
            known = surroundings.look(name, settings) if surroundings else Known()
            yield plan(name, settings, known, given)


def _option(name: str, text: str, kind: TypeAdapter[Value]) -> Value:
    try:
        return kind.validate_python(text)
    except ValidationError as error:
        told = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise SettingsError(f"{name} {text}: {told}") from error


def _connected(process: ProcessSettings) -> "Surroundings":
    # The workspace's clients take seconds to import: a plan by figures needs none.
    from controller.console.surroundings import Surroundings  # noqa: PLC0415

    return Surroundings.connected(process)


def plan(name: str, settings: ApplicationSettings, known: Known, given: Given) -> Plan:
    """The forecast by what is known of an application and what is given."""
    spec = settings.spec()
    application = Application(name=name, spec=spec)
    endpoint = known.endpoint if isinstance(known.endpoint, Endpoint) else _SOMEWHERE
    found = sources(application, endpoint, labelled=known.labelled)
    rollout = spec.rollout
    counted = measures(spec.guards, known.history, rollout.steps)
    judged = criteria(spec.guards, counted, known.history, found)
    traffic, assumed = _traffic(known, given)
    assumed += [*known.troubles, *_guards_left_out(found, judged), *_unread(known.history)]
    if ERRORS in found and (why := unlimited(spec.counted, found[ERRORS])):
        assumed.append(why)
    if traffic.lag > spec.max_lag:
        assumed.append(
            f"evidence.max_lag is raised: counts that come {duration(traffic.lag)} late are taken "
            f"for a broken source beyond {duration(spec.max_lag)}, and shut the gate"
        )
    if isinstance(known.endpoint, Absent):
        rollout = replace(rollout, steps=(WHOLE,))
        assumed.append(
            "there is no endpoint yet: a first release has all users from the start, and compares "
            "nothing"
        )
    told = forecast(rollout, judged, traffic, spec.evidence_every)
    return Plan(
        application=name,
        endpoint=spec.endpoint,
        traffic=traffic,
        sources={one.guard: one.source for one in judged},
        forecast=told,
        assumed=(*assumed, *_always(told, spec.evidence_every)),
    )


def _traffic(known: Known, given: Given) -> tuple[Traffic, list[str]]:
    """Pace, lag and stable's errors: as given, else as read, else assumed."""
    past, assumed = known.history, list[str]()
    pace = given.requests_per_second
    if pace is None:
        pace, assumed = _pace(known)
    lag = given.lag if given.lag is not None else past.lag if past else None
    if lag is None:
        lag = PROMISED
        assumed.append(f"how late counts arrive was not seen: {duration(lag)}, as promised")
    errors = given.errors
    if errors is None and past is not None and past.requests:
        errors = past.errors / past.requests
        assumed.append(f"stable errs as in its last day, in {percent(errors)} of requests")
    if errors is None:
        errors = 0.0
        assumed.append(
            "stable is without errors: with --errors 0.5% a step takes longer, and finds less"
        )
    return Traffic(requests_per_second=pace, lag=lag, errors=errors), assumed


def _pace(known: Known) -> tuple[float, list[str]]:
    """Requests per second, as a release's steps are pinned by, and which figure that is."""
    found = paces(known.requests_per_second, known.minutes, known.history)
    by = pace_by(found)
    pace = found[by] if by else 0.0
    at = f"{amount(pace)} requests/s"
    if not pace:
        told = "no request was seen: say --rps if there will be some"
    elif not any(found.get(one) for one in (Pace.LATELY, Pace.MINUTES)):
        told = f"the metrics saw no request: stable's last day had {at}"
    elif by is Pace.LATELY:
        told = f"traffic goes on at the {at} that the metrics saw lately"
    else:
        whose = "stable's last day" if by is Pace.DAY else "the endpoint's minutes, up to a day's,"
        told = f"traffic goes on at the {at} that {whose} had: the highest of what is known"
    if isinstance(known.endpoint, Absent) or found.keys() - {Pace.DAY}:
        return pace, [told]
    kept = "a release that opens while the metrics tell of no minute keeps its steps as configured"
    return pace, [told, kept]


def _guards_left_out(found: dict[str, str], judged: tuple[Criterion, ...]) -> list[str]:
    """Which guards the forecast says nothing of, and why."""
    there = {one.guard for one in judged}
    lacking = [name for name in found if name not in there and name not in (CAPACITY, "tokens")]
    told = [f"{one.guard} only observes, and nothing waits for it" for one in judged if one.observe]
    if lacking:
        told.append(
            f"nothing is said of {', '.join(lacking)}: their thresholds come from stable's last "
            "day, which is not known, or too little"
        )
    if not judged:
        told.append("no source counts by version: nothing is compared")
    return told


def _unread(past: History | None) -> list[str]:
    """What the checks of answers cannot see: a stream may be one that is not read as JSON."""
    unread = past.answers - past.checked if past is not None else 0
    if past is None or unread <= UNREAD * past.answers:
        return []
    told = "streamed, or no JSON: answers, tokens and length are judged by the others alone"
    return [f"{percent(unread / past.answers)} of stable's answers cannot be read ({told})"]


def _always(told: Forecast, every: timedelta) -> list[str]:
    """What every forecast takes for granted."""
    going = (
        "a candidate does as stable does; requests come evenly; building its image, golden queries "
        "and Databricks' own updates are not counted"
    )
    awake = (
        f"each of {told.looks:,} looks, every {duration(every)}, keeps the warehouse busy for "
        f"{duration(AWAKE)} and awake for {duration(AUTO_STOP)} more (its auto-stop), unless the "
        "next comes first; both versions stay provisioned until the watch ends"
    )
    return [going, awake]


def judged_by(one: Plan) -> str:
    """Guards and their sources in words."""
    return ", ".join(f"{guard} by {named(source)}" for guard, source in one.sources.items())

"""Where a release stands beside its state: who met it, when it goes on, and where back to."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from controller.console.reading import own
from controller.record.lines import Line
from policies.verdict import Outcome
from states.machine import State
from states.status import Status


class Moment(Protocol):
    """From when on a release had a weight."""

    @property
    def at(self) -> datetime:
        """When it began."""

    @property
    def weight(self) -> int:
        """Wanted, in percent."""

    @property
    def weight_seen(self) -> int | None:
        """Observed, in percent."""


@dataclass(frozen=True, kw_only=True)
class Users:
    """Who met a version."""

    requests: int | None
    """Of users, that it answered or failed, as counted; None: nothing was counted by version."""
    weight: int
    """The most users that it had, in percent."""
    since: datetime | None
    """When it first had users; None: never."""
    until: datetime | None
    """When the last went home; None: never, or it has users still."""
    open_s: float
    """How long it had users, in seconds, all times together."""


@dataclass(frozen=True, kw_only=True)
class Outlook:
    """When a release goes on by itself, if all goes well."""

    at: datetime
    """No earlier; later, if counts come late or errors come."""
    because: str
    """What it waits for until then."""


@dataclass(frozen=True, kw_only=True)
class WayBack:
    """Whether users can be taken home by one change of traffic."""

    ready: bool
    to: str | None
    """The version that they would go to."""
    because: str


def users(moments: Sequence[Moment], until: datetime, requests: int | None) -> Users:
    """Who met the version, by the moments at which its weight changed."""
    ends = [*(one.at for one in moments[1:]), until]
    shares = [max(one.weight, one.weight_seen or 0) for one in moments]
    had = [
        (one.at, end) for one, end, share in zip(moments, ends, shares, strict=True) if share > 0
    ]
    home = bool(had) and shares[-1] == 0
    return Users(
        requests=requests,
        weight=max(shares, default=0),
        since=had[0][0] if had else None,
        until=had[-1][1] if home else None,
        open_s=sum((end - begun).total_seconds() for begun, end in had),
    )


def outlook(status: Status, lines: Sequence[Line]) -> Outlook | None:
    """When the next step opens, the alias moves or the watch ends; None where nothing is due."""
    if status["next"] is None or status["order"] != "run" or not status["settled"]:
        return None
    settled = _last(lines, "release.settled")
    judged = _last(lines, "release.judged")
    stays = own(judged, "rollout") if judged is not None else None
    if settled is None or not isinstance(stays, dict) or status["weight"] == 0:
        return None
    begun = datetime.fromisoformat(settled["timestamp"])
    last = status["step"] == len(status["steps"])
    stay = "min_step_s" if status["state"] == State.CANARY and not last else "bake_s"
    stay = "watch_s" if status["state"] == State.PRODUCTION else stay
    found = [Outlook(at=begun + timedelta(seconds=float(stays[stay])), because=_STAYS[stay])]
    if stay == "min_step_s":
        found += _proofs(status, lines, begun)
    return max(found, key=lambda one: one.at)


_STAYS = {
    "min_step_s": "the least stay on the step",
    "bake_s": "the bake",
    "watch_s": "the watch",
}


def _proofs(status: Status, lines: Iterable[Line], begun: datetime) -> Iterable[Outlook]:
    """What guards lacked when they last spoke of this step."""
    last = {
        str(own(line, "guard")): line
        for line in lines
        if line["event"] == "gate.verdict"
        and line.get("step") == status["step"]
        and not line.get("observe")
        and datetime.fromisoformat(line["timestamp"]) >= begun
    }
    for guard, line in last.items():
        seconds = own(line, "seconds_missing")
        if own(line, "verdict") == Outcome.INSUFFICIENT and isinstance(seconds, int):
            at = datetime.fromisoformat(line["timestamp"]) + timedelta(seconds=seconds)
            yield Outlook(at=at, because=f"what {guard} lacks, at the rates seen")


def way_back(status: Status, lines: Sequence[Line]) -> WayBack:
    """Whether a rollback is possible now, by what the endpoint was last seen to serve."""
    state, version, stable = status["state"], status["version"], status["stable"]
    if state in (State.REGISTERED, State.RETIRED) or version == stable:
        return WayBack(ready=False, to=None, because="no release of it is under way")
    if state == State.ROLLED_BACK:
        told = "users are home" if status["settled"] else "users are on their way home"
        return WayBack(ready=False, to=stable, because=told)
    if stable is None:
        return WayBack(ready=False, to=None, because="there is nothing to go back to")
    update = _last(lines, "endpoint.update")
    shares: Any = own(update, "versions") if update is not None else None
    if not isinstance(shares, dict):
        return WayBack(ready=False, to=stable, because="the endpoint was not seen yet")
    if stable not in shares:
        return WayBack(ready=False, to=stable, because=f"the endpoint has no version {stable}")
    because = f"version {stable} is on the endpoint, at {shares[stable]} %: `headgate abort`"
    return WayBack(ready=True, to=stable, because=because)


def _last(lines: Iterable[Line], event: str) -> Line | None:
    found = [line for line in lines if line["event"] == event]
    return found[-1] if found else None

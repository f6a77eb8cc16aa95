"""All applications, what needs a person first; and one application with its releases."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from xml.etree.ElementTree import Element

from controller.console.render import ago
from controller.pages.page import Cell, Child, element, link, moment, pairs, section, table
from controller.pages.release import badge, lines
from controller.record.lines import Line
from controller.record.redaction import clean
from states.machine import State
from states.release import Application, Release
from states.status import Status, seen_in_words, status

PERSON, BACK, WAY, REST = "A person must act", "Rolled back", "Under way", "At rest"
ORDER = (PERSON, BACK, WAY, REST)
HEADINGS = ("release", "state", "users", "since (UTC)", "why, and what is next")
KIND = "stack glance"
MINUTE = timedelta(minutes=1)


@dataclass(frozen=True, kw_only=True)
class Glance:
    """What the first page tells of one application: the release that matters most now."""

    name: str
    group: str
    told: Status | None = None
    changed: bool = False
    """What others changed waits for an answer."""
    hold: str | None = None
    """Why the application itself waits, where it has no release to show it by."""


def glance(application: Application) -> Glance:
    """The release that a person must see to, else the live one, else the newest or stable."""
    shown = _foremost(application)
    if shown is None:
        held = application.hold
        return Glance(name=application.name, group=PERSON if held else REST, hold=held)
    told: Status = clean(status(application, shown))
    if told["needs_person"]:
        group = PERSON
    elif shown.state is State.ROLLED_BACK:
        group = BACK
    elif shown.live or shown.state is State.REGISTERED:
        group = WAY
    else:
        group = REST
    changed = application.change is not None
    return Glance(name=application.name, group=group, told=told, changed=changed)


def unreadable(name: str, why: str) -> Glance:
    """An application whose record cannot be understood."""
    return Glance(name=name, group=PERSON, hold=why)


def _foremost(application: Application) -> Release | None:
    releases = application.releases
    asking = [one for one in releases if one.needs_person and _open(one)]
    if asking:
        return asking[-1]
    if application.live is not None:
        return application.live
    newest, serving = releases[-1] if releases else None, application.foremost
    # What came after stable and did not get there is what one comes here for.
    ended = newest is not None and newest.state in (State.ROLLED_BACK, State.REGISTERED)
    later = serving is None or (newest is not None and int(newest.version) > int(serving.version))
    return newest if ended and later else serving


def _open(release: Release) -> bool:
    """Its question still stands: it is live, or has not begun."""
    return release.live or release.state is State.REGISTERED


def overview(glances: Iterable[Glance], at: datetime) -> list[Child]:
    """Every application in a table, those first that somebody should look at."""
    grouped: dict[str, list[Glance]] = {group: [] for group in ORDER}
    for one in glances:
        grouped[one.group].append(one)
    count = sum(len(some) for some in grouped.values())
    if not count:
        return [element("p", "No application is in the record yet.")]
    told = ", ".join(f"{group.lower()}: {len(some):,}" for group, some in grouped.items() if some)
    found: list[Child] = [element("p", f"{_plural(count, 'application')}; {told}.")]
    for group, some in grouped.items():
        if some:
            rows = [_row(one, at) for one in sorted(some, key=_newest_first(group))]
            made = table(group, HEADINGS, rows, titled=True, kind=KIND)
            found.append(section(f"{group} ({len(some):,})", made))
    return found


def _newest_first(group: str) -> Callable[[Glance], tuple[float, str]]:
    """What changed last comes first; what is at rest stands by name."""

    def key(one: Glance) -> tuple[float, str]:
        if group == REST or one.told is None:
            return 0.0, one.name
        return -datetime.fromisoformat(one.told["since"]).timestamp(), one.name

    return key


def _row(one: Glance, at: datetime) -> tuple[Cell, ...]:
    name = link(one.name, one.name, before="app/")
    if one.told is None:
        return name, "-", "-", "-", one.hold or "no release yet"
    release = link(version(one.told), one.name, one.told["version"], before="app/")
    here = element("span", name, " / ", release)
    return here, *_cells(one.told, at, changed=one.changed)


def application_page(application: Application, recent: Sequence[Line], at: datetime) -> list[Child]:
    """One application: what it is, its releases, and what happened last."""
    releases = [clean(status(application, one)) for one in reversed(application.releases)]
    about = pairs(
        (
            ("model", application.spec.model),
            ("endpoint", application.spec.endpoint),
            ("alias", application.spec.alias or "none"),
            ("stable", application.stable or "none"),
            ("hold", f"{application.hold} (a person must act)" if application.hold else ""),
        )
    )
    changed = application.change is not None
    rows = [_release(one, at, changed=changed) for one in releases]
    return [
        about,
        section(
            "Releases",
            table("Releases", HEADINGS, rows, titled=True, kind=KIND)
            if rows
            else element("p", "None yet."),
            element("p", "Of older ones, `headgate status --all` tells.", class_="note")
            if len(rows) >= FEW
            else None,
        ),
        section("What happened last", lines("What happened last", recent)),
    ]


FEW = 20
"""Releases that are shown whatever became of them."""


def _release(told: Status, at: datetime, *, changed: bool) -> tuple[Cell, ...]:
    here = link(version(told), told["application"], told["version"])
    return here, *_cells(told, at, changed=changed)


def version(told: Status) -> str:
    """A release within its application."""
    return told["version"] + (f", attempt {told['attempt']}" if told["attempt"] > 1 else "")


def _cells(told: Status, at: datetime, *, changed: bool) -> tuple[Cell, Cell, Cell, Cell]:
    state = element("span", badge(told["state"]))
    if told["step"] and told["steps"] and told["state"] != State.PRODUCTION:
        state.append(
            element("span", f" step {told['step']} of {len(told['steps'])}", class_="whole")
        )
    if not told["settled"]:
        state.append(element("span", " not settled yet"))
    users = f"{told['weight']} %"
    if told["weight_seen"] != told["weight"]:
        users += seen_in_words(told, changed=changed)
    return state, users, _since(told, at), _why(told)


def _since(told: Status, at: datetime) -> Element:
    since = datetime.fromisoformat(told["since"])
    # To a full minute: a page that differs in its seconds alone would be drawn anew each time.
    age = max(timedelta(), at - since) // MINUTE * MINUTE
    long = element("span", f"({ago(since + age, since)})" if age else "(now)", class_="whole")
    return element("span", moment(since), " ", long)


def _why(told: Status) -> Element:
    """Why it stands where it stands, in the order in which a reader asks."""
    paused = f"Ordered: {told['order']}." if told["order"] != "run" else None
    stable = None if told["stable"] in (None, told["version"]) else f"Stable: {told['stable']}."
    coming = (
        "A person must act." if told["needs_person"] else told["next"] and f"Next: {told['next']}."
    )
    # A long reason stands in full on the release's own page; what holds it stands here.
    held = told["hold"] is not None
    why = element("div", told["hold"] or told["because"], class_="held" if held else "short")
    made = element("div", why)
    for one in (paused, coming, stable):
        if one:
            made.append(element("div", one))
    return made


def _plural(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"

"""When releases may begin and open further: weekly windows, and freezes between two dates.

The wall clock of a time zone decides: an hour that does not exist, or comes twice, when clocks are
set, is the platform's affair (`zoneinfo`), not ours. Going back asks no calendar.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Self
from zoneinfo import ZoneInfo

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
DAY = timedelta(days=1)
WEEK = len(DAYS)
FIRST_YEAR, LAST_YEAR = 2, 9998
"""What comes before or after has no room for a time zone, nor for the next window's week."""
SHAPE = re.compile(
    r"(?P<days>[A-Za-z,-]+)\s+(?P<opens>\d\d:\d\d)-(?P<closes>\d\d:\d\d)(?:\s+(?P<zone>\S+))?"
)
EXAMPLE = "write a window such as `Mon-Fri 09:00-17:00 Europe/Berlin`"


def zone_of(name: str) -> ZoneInfo:
    """A time zone by its name; ValueError for one that is not known here."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise ValueError(
            f"{name} is no time zone that is known here: write one such as Europe/Berlin or UTC "
            "(where none but UTC is known, install the system's tzdata)"
        ) from error


@dataclass(frozen=True, kw_only=True)
class Window:
    """A stretch of the week; one that closes before it opens ends on the day after."""

    text: str
    """As it was written."""
    days: frozenset[int]
    """On which it opens; Monday is 0."""
    opens: time
    closes: time
    """Midnight is the end of the day."""
    zone: str = "UTC"

    @classmethod
    def parse(cls, text: str) -> Self:
        """A window as it is written; ValueError, with the remedy, for what is none."""
        found = SHAPE.fullmatch(text.strip())
        if found is None:
            raise ValueError(f"{EXAMPLE}, not `{text}`")
        zone, opens, closes = found["zone"] or "UTC", _time(found["opens"]), _time(found["closes"])
        zone_of(zone)
        if opens == closes and opens != time():
            raise ValueError(f"`{text}` ends as it begins: 00:00-24:00 is a whole day")
        return cls(
            text=text.strip(), days=_days(found["days"]), opens=opens, closes=closes, zone=zone
        )

    def stretches(self, since: datetime) -> Iterator[tuple[datetime, datetime]]:
        """Its stretches from a moment on, in order, the one that is open then included; endless."""
        zone = zone_of(self.zone)
        day = since.astimezone(zone).date() - DAY
        while True:
            if day.weekday() in self.days:
                last = day if self.closes > self.opens else day + DAY
                begins = datetime.combine(day, self.opens, zone).astimezone(UTC)
                ends = datetime.combine(last, self.closes, zone).astimezone(UTC)
                if ends > since and ends > begins:
                    yield begins, ends
            day += DAY


@dataclass(frozen=True, kw_only=True)
class Freeze:
    """A stretch of the calendar in which nothing begins and nothing opens."""

    begins: datetime
    ends: datetime
    """The first moment that is free again."""
    zone: str = "UTC"
    """In which its end is told."""
    reason: str = ""

    @classmethod
    def between(cls, begins: date, ends: date, zone: str = "UTC", reason: str = "") -> Self:
        """From a day or a moment to another; a day that it ends on is frozen whole.

        ValueError for one that ends before it begins, for years beyond those bounds, and for a zone
        that is not known.
        """
        place = zone_of(zone)
        if not all(FIRST_YEAR <= one.year <= LAST_YEAR for one in (begins, ends)):
            raise ValueError(f"write years from {FIRST_YEAR} to {LAST_YEAR}")
        last = ends if isinstance(ends, datetime) else ends + DAY
        begun, ended = _moment(begins, place), _moment(last, place)
        if ended <= begun:
            raise ValueError("a freeze ends after it begins: `from` comes before `to`")
        return cls(begins=begun, ends=ended, zone=zone, reason=reason)


def frozen(freezes: Sequence[Freeze], now: datetime) -> str | None:
    """Why nothing opens now, and until when; None outside every freeze."""
    covering = [one for one in freezes if one.begins <= now < one.ends]
    if not covering:
        return None
    ends = _thawed(freezes, now)
    last = max(covering, key=lambda one: one.ends)
    reason = next((f" ({one.reason})" for one in covering if one.reason), "")
    return f"frozen{reason} until {told(ends, last.zone)}; going back is never frozen"


def shut(windows: Sequence[Window], freezes: Sequence[Freeze], now: datetime) -> str | None:
    """Why nothing may begin now, and when it may; None where it may.

    Without windows, every hour outside a freeze is good.
    """
    why = frozen(freezes, now)
    opens, window = _opening(windows, freezes, now)
    if opens == now:
        return None
    if why is None:
        assert window is not None, "outside a freeze, only windows shut"
        named = ", ".join(one.text for one in windows)
        return f"outside its release windows ({named}): opens {told(opens, window.zone)}"
    if window is not None and opens != _thawed(freezes, now):
        why += f"; its release windows open {told(opens, window.zone)}"
    return why


def _opening(
    windows: Sequence[Window], freezes: Sequence[Freeze], now: datetime
) -> tuple[datetime, Window | None]:
    """The first moment from now on that a window covers and no freeze does, and that window."""
    moment, window = now, None
    while True:
        thawed = _thawed(freezes, moment)
        opened, window = _opened(windows, thawed)
        if opened == moment:
            return moment, window
        moment = opened


def _thawed(freezes: Sequence[Freeze], now: datetime) -> datetime:
    """The first moment from now on that no freeze covers: one may begin as another ends."""
    moment = now
    while covering := [one.ends for one in freezes if one.begins <= moment < one.ends]:
        moment = max(covering)
    return moment


def _opened(windows: Sequence[Window], now: datetime) -> tuple[datetime, Window | None]:
    """The first moment from now on that a window covers, and that window."""
    if not windows:
        return now, None
    firsts = [(max(now, next(one.stretches(now))[0]), one) for one in windows]
    return min(firsts, key=lambda first: first[0])


def told(moment: datetime, zone: str) -> str:
    """A moment as people of a time zone read it, to the minute."""
    local = moment.astimezone(zone_of(zone))
    return f"{DAYS[local.weekday()]} {local:%Y-%m-%d %H:%M} {zone}"


def _moment(day: date, zone: ZoneInfo) -> datetime:
    """A day's beginning, or a moment; one that names its own offset from UTC keeps it."""
    if not isinstance(day, datetime):
        day = datetime.combine(day, time())
    return (day if day.tzinfo else day.replace(tzinfo=zone)).astimezone(UTC)


def _time(text: str) -> time:
    if text == "24:00":
        return time()
    try:
        return time.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"{text} is no time of a day: write 00:00 to 24:00") from error


def _days(text: str) -> frozenset[int]:
    days: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.partition("-")
        ends = [_day(first), _day(last) if dash else _day(first)]
        days |= {day % WEEK for day in range(ends[0], ends[1] + WEEK * (ends[1] < ends[0]) + 1)}
    return frozenset(days)


def _day(text: str) -> int:
    if text.capitalize() not in DAYS:
        raise ValueError(f"`{text}` is no day of the week: write {', '.join(DAYS)}, or Mon-Fri")
    return DAYS.index(text.capitalize())

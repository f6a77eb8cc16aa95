import re
from datetime import UTC, date, datetime, time, timedelta, timezone
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.calendar import Freeze, Window, frozen, shut

BEFORE, AFTER = datetime.fromisoformat("2026-01-01"), datetime.fromisoformat("2027-12-01")


def berlin() -> Window:
    return Window.parse("Mon-Fri 09:00-17:00 Europe/Berlin")


def holidays() -> Freeze:
    return Freeze.between(
        date(2026, 12, 20), date(2027, 1, 3), zone="Europe/Berlin", reason="holidays"
    )


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("now", "opens"),
    [
        ("2026-11-27 07:59", "Fri 2026-11-27 09:00"),  # an hour before UTC says so
        ("2026-11-27 08:00", None),
        ("2026-11-27 15:59", None),
        ("2026-11-27 16:00", "Mon 2026-11-30 09:00"),
        ("2026-11-28 12:00", "Mon 2026-11-30 09:00"),
        ("2026-07-01 07:00", None),  # in summer two hours before UTC
        ("2026-07-01 06:59", "Wed 2026-07-01 09:00"),
    ],
)
def test_a_window_goes_by_the_wall_clock_of_its_zone(now: str, opens: str | None) -> None:
    why = shut([berlin()], [], at(now))
    if opens is None:
        assert why is None
    else:
        told = f"outside its release windows (Mon-Fri 09:00-17:00 Europe/Berlin): opens {opens}"
        assert why == f"{told} Europe/Berlin"


def test_a_window_over_midnight_belongs_to_the_day_that_it_opens_on() -> None:
    night = Window.parse("Fri 22:00-02:00")
    assert shut([night], [], at("2026-11-28 01:59")) is None
    assert shut([night], [], at("2026-11-28 02:00")) is not None
    assert shut([night], [], at("2026-11-27 01:00")) is not None


def test_a_whole_day_and_a_week_round_its_end() -> None:
    weekend = Window.parse("Sat-Mon 00:00-24:00")
    open_on = [shut([weekend], [], at(f"2026-11-{day} 12:00")) is None for day in range(23, 30)]
    assert open_on == [True, False, False, False, False, True, True]
    assert shut([weekend], [], at("2026-11-28 23:59")) is None


def test_of_several_windows_the_one_that_opens_first_is_told() -> None:
    why = shut([berlin(), Window.parse("Sun 10:00-11:00")], [], at("2026-11-28 12:00"))
    assert why is not None
    assert why.endswith("opens Sun 2026-11-29 10:00 UTC")


def test_without_windows_every_hour_is_good() -> None:
    assert shut([], [], at("2026-11-28 03:00")) is None


def test_a_freeze_takes_whole_days_of_its_zone() -> None:
    assert frozen([holidays()], at("2026-12-19 22:59")) is None
    told = "frozen (holidays) until Mon 2027-01-04 00:00 Europe/Berlin; going back is never frozen"
    assert frozen([holidays()], at("2026-12-19 23:00")) == told
    assert frozen([holidays()], at("2027-01-03 22:59")) == told
    assert frozen([holidays()], at("2027-01-03 23:00")) is None


def test_a_freeze_may_name_moments_with_an_offset_of_their_own() -> None:
    west = timezone(timedelta(hours=-5))
    one = Freeze.between(
        datetime(2026, 11, 27, 18, tzinfo=west), datetime(2026, 11, 27, 20, tzinfo=west)
    )
    assert frozen([one], at("2026-11-27 22:59")) is None
    why = frozen([one], at("2026-11-27 23:00"))
    assert why == "frozen until Sat 2026-11-28 01:00 UTC; going back is never frozen"


def test_freezes_that_touch_are_told_as_one() -> None:
    more = Freeze.between(date(2027, 1, 4), date(2027, 1, 4), zone="Europe/Berlin")
    why = frozen([holidays(), more], at("2026-12-24 12:00"))
    assert why == (
        "frozen (holidays) until Tue 2027-01-05 00:00 Europe/Berlin; going back is never frozen"
    )


def test_after_a_freeze_the_windows_are_waited_for() -> None:
    weekend = Freeze.between(date(2026, 11, 28), date(2026, 11, 28))
    why = shut([berlin()], [weekend], at("2026-11-28 12:00"))
    assert why == (
        "frozen until Sun 2026-11-29 00:00 UTC; going back is never frozen; "
        "its release windows open Mon 2026-11-30 09:00 Europe/Berlin"
    )


DAYS = "write Mon, Tue, Wed, Thu, Fri, Sat, Sun, or Mon-Fri"
ZONES = (
    "is no time zone that is known here: write one such as Europe/Berlin or UTC "
    "(where none but UTC is known, install the system's tzdata)"
)


@pytest.mark.parametrize(
    ("text", "refusal"),
    [
        ("weekdays", "write a window such as `Mon-Fri 09:00-17:00 Europe/Berlin`, not `weekdays`"),
        ("Mon-Fry 09:00-17:00", f"`Fry` is no day of the week: {DAYS}"),
        ("Mon, 09:00-17:00", f"`` is no day of the week: {DAYS}"),
        ("Mon 09:00-25:00", "25:00 is no time of a day: write 00:00 to 24:00"),
        ("Mon 09:61-17:00", "09:61 is no time of a day: write 00:00 to 24:00"),
        (
            "Mon 09:00-09:00",
            "`Mon 09:00-09:00` ends as it begins: 00:00-24:00 is a whole day",
        ),
        ("Mon 09:00-17:00 Europe/Atlantis", f"Europe/Atlantis {ZONES}"),
        ("Mon 09:00-17:00 ../etc/passwd", f"../etc/passwd {ZONES}"),
    ],
)
def test_what_is_no_window_is_refused_with_the_remedy(text: str, refusal: str) -> None:
    with pytest.raises(ValueError, match=rf"^{re.escape(refusal)}$"):
        Window.parse(text)


@pytest.mark.parametrize(
    ("text", "days", "opens", "closes", "zone"),
    [
        ("Mon-Fri 09:00-17:00 Europe/Berlin", {0, 1, 2, 3, 4}, time(9), time(17), "Europe/Berlin"),
        (" Sat-Mon,wed  22:30-01:15 ", {5, 6, 0, 2}, time(22, 30), time(1, 15), "UTC"),
        ("TUE 00:00-24:00", {1}, time(), time(), "UTC"),
        ("Mon-Mon,Sun 00:00-00:00", {0, 6}, time(), time(), "UTC"),
    ],
)
def test_a_window_is_read_as_it_is_written(
    text: str, days: set[int], opens: time, closes: time, zone: str
) -> None:
    assert Window.parse(text) == Window(
        text=text.strip(), days=frozenset(days), opens=opens, closes=closes, zone=zone
    )


@pytest.mark.parametrize("last", [date(2026, 1, 1), datetime(2026, 1, 2)])  # noqa: DTZ001 - as written
def test_a_freeze_ends_after_it_begins(last: date) -> None:
    refusal = "a freeze ends after it begins: `from` comes before `to`"
    with pytest.raises(ValueError, match=f"^{refusal}$"):
        Freeze.between(date(2026, 1, 2), last)


@pytest.mark.parametrize(
    ("first", "last"),
    [
        (date(2026, 1, 1), date(9999, 12, 31)),
        (date(2026, 1, 1), date(9999, 1, 1)),
        (date(1, 1, 1), date(2026, 1, 1)),
    ],
)
def test_a_freeze_is_of_years_that_leave_room_for_zones_and_windows(
    first: date, last: date
) -> None:
    with pytest.raises(ValueError, match=r"^write years from 2 to 9998$"):
        Freeze.between(first, last, zone="Asia/Tokyo")


def test_after_the_last_freeze_that_there_can_be_a_window_still_opens() -> None:
    freeze = Freeze.between(date(2, 1, 1), date(9998, 12, 31), zone="Pacific/Kiritimati")
    windows = [Window.parse("Mon 09:00-10:00 Pacific/Honolulu")]
    why = shut(windows, [freeze], datetime(2026, 1, 1, tzinfo=UTC))
    assert why is not None
    assert "its release windows open Mon 9999-01-04 09:00" in why


def test_a_freeze_is_of_the_zone_that_it_names_and_keeps_its_reason() -> None:
    day = datetime(2026, 12, 20, tzinfo=UTC)
    assert Freeze.between(day.date(), day.date()) == Freeze(
        begins=day, ends=day + timedelta(days=1)
    )
    whole = Freeze(
        begins=at("2026-12-19 23:00"),
        ends=at("2027-01-03 23:00"),
        zone="Europe/Berlin",
        reason="holidays",
    )
    assert holidays() == whole
    with pytest.raises(ValueError, match=rf"^{re.escape(f'Mars {ZONES}')}$"):
        Freeze.between(day.date(), day.date(), zone="Mars")


def test_of_freezes_that_overlap_the_last_to_end_names_the_zone() -> None:
    inner = Freeze(begins=at("2026-12-24"), ends=at("2026-12-27"), reason="inventory")
    assert frozen([inner, holidays()], at("2026-12-25")) == (
        "frozen (inventory) until Mon 2027-01-04 00:00 Europe/Berlin; going back is never frozen"
    )


def test_outside_all_windows_they_are_named_and_the_first_to_open() -> None:
    sunday = Window.parse("Sun 10:00-11:00")
    assert shut([berlin(), sunday], [], at("2026-11-28 12:00")) == (
        "outside its release windows (Mon-Fri 09:00-17:00 Europe/Berlin, Sun 10:00-11:00): "
        "opens Sun 2026-11-29 10:00 UTC"
    )
    frozen_then = Freeze(begins=at("2026-11-29 10:00"), ends=at("2026-11-29 11:00"))
    assert shut([berlin(), sunday], [frozen_then], at("2026-11-28 12:00")) == (
        "outside its release windows (Mon-Fri 09:00-17:00 Europe/Berlin, Sun 10:00-11:00): "
        "opens Mon 2026-11-30 09:00 Europe/Berlin"
    )


def test_a_freeze_that_ends_in_a_window_is_told_alone() -> None:
    short = Freeze(begins=at("2026-11-27 09:00"), ends=at("2026-11-27 10:00"))
    told = "frozen until Fri 2026-11-27 10:00 UTC; going back is never frozen"
    assert shut([berlin()], [short], at("2026-11-27 09:00")) == told
    assert shut([], [short], at("2026-11-27 09:59")) == told
    assert shut([berlin()], [short], at("2026-11-27 10:00")) is None


@given(
    st.datetimes(BEFORE, AFTER, timezones=st.just(UTC)),
    st.sampled_from(
        ["Mon-Fri 01:30-02:30", "Sun 02:00-03:00", "Sat 23:00-02:30", "Mon-Sun 00:00-24:00"]
    ),
    st.sampled_from(["Europe/Berlin", "America/New_York", "UTC", "Australia/Lord_Howe"]),
)
def test_stretches_come_in_order_on_every_day_that_clocks_are_set(
    since: datetime, hours: str, zone: str
) -> None:
    found = list(islice(Window.parse(f"{hours} {zone}").stretches(since), 12))
    assert found[0][1] > since
    assert all(begins < ends for begins, ends in found)
    assert all(one[0] < other[0] and one[1] <= other[0] for one, other in pairwise(found))
    # A weekly window is never more than eight days away, whatever the clocks do.
    assert found[0][0] - since <= timedelta(days=15)


@given(st.datetimes(BEFORE, AFTER, timezones=st.just(UTC)))
def test_when_it_is_said_to_open_it_is_open_and_not_a_minute_before(now: datetime) -> None:
    why = shut([berlin()], [holidays()], now)
    if why is None:
        return
    words = why.rsplit("open", 1)[1].split() if "open" in why else why.split("until ")[1].split()
    day, hour = [one for one in words if one[0].isdigit()][:2]

    opens = datetime.fromisoformat(f"{day} {hour}").replace(tzinfo=ZoneInfo("Europe/Berlin"))
    assert shut([berlin()], [holidays()], opens.astimezone(UTC)) is None
    before = opens.astimezone(UTC) - timedelta(minutes=1)
    assert before < now or shut([berlin()], [holidays()], before) is not None

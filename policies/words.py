"""Numbers as people read them; every sentence of a verdict is made with these."""

from datetime import timedelta

UNITS = (("d", 86400), ("h", 3600), ("min", 60))


def duration(length: timedelta | float) -> str:
    """A duration (a timedelta, or seconds) in its largest fitting unit: `45 s`, `1.5 h`."""
    seconds = length.total_seconds() if isinstance(length, timedelta) else length
    for unit, size in UNITS:
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} s"


def percent(share: float) -> str:
    """A share of one as a percentage, to three digits."""
    return f"{100 * share:.3g} %"


def points(share: float) -> str:
    """A difference of shares, in percentage points."""
    return f"{100 * share:.3g} pp"


def amount(value: float) -> str:
    """A mean or a pace as people read it: in ones from a hundred on, else to three digits."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"  # noqa: PLR2004 - three digits

"""Blocks and pairs, said shortly."""

from datetime import UTC, datetime, timedelta

from policies.evidence import Arm, Block

NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def arm(requests: int, errors: int = 0, server_errors: int | None = None) -> Arm:
    """One arm's counts; server errors are none unless said."""
    return Arm(requests=requests, errors=errors, server_errors=server_errors or 0)


def block(  # noqa: PLR0913 - a block has this many parts
    candidate: Arm,
    stable: Arm,
    *,
    number: int = 1,
    span: int = 1,
    step: int = 1,
    whole: bool = False,
) -> Block:
    """A closed minute; `whole`: the candidate had all users, so it compares nothing."""
    opened = NOON + timedelta(minutes=number)
    return Block(
        number=number,
        source="inference_table",
        span=span,
        step=step,
        comparable=not whole,
        opened_at=opened,
        closed_at=opened + timedelta(minutes=1),
        candidate=candidate,
        stable=stable,
    )

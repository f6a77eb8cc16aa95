"""How often a call is sent again: which calls count, since when, and for how long."""

from collections.abc import Mapping
from datetime import datetime, timedelta

import pytest

from states.attempt import Attempt
from states.resending import resends, spent
from tests.states.records import application
from tests.states.story import START


def ago(seconds: float) -> datetime:
    return START - timedelta(seconds=seconds)


def calls(*said: tuple[str, str, float]) -> tuple[Attempt, ...]:
    """Calls by kind, target, and how many seconds ago."""
    return tuple(
        Attempt(kind=kind, target=target, at=ago(seconds), outcome="done")
        for kind, target, seconds in said
    )


A, B = "version 1", "version 2"


@pytest.mark.parametrize(
    ("sent", "kind", "followed", "number"),
    [
        ((), "serve", {}, 0),
        ((("serve", A, 60),), "serve", {}, 0),
        ((("serve", A, 60), ("serve", A, 30)), "serve", {}, 1),
        ((("serve", A, 60), ("serve", A, 30), ("serve", A, 9)), "serve", {}, 2),
        # Two targets in turn: each was new once.
        ((("serve", A, 60), ("serve", B, 50), ("serve", A, 40), ("serve", B, 30)), "serve", {}, 2),
        # Of tags those of another version are another matter, and of calls those of other kinds.
        ((("tag", A, 60), ("tag", B, 50), ("tag", A, 40), ("tag", B, 30)), "tag", {}, 1),
        ((("tag", A, 60), ("tag", A, 40), ("tag", B, 30), ("tag", A, 9)), "tag", {}, 2),
        ((("tag", B, 60), ("tag", B, 40), ("tag", B, 30), ("tag", A, 9)), "tag", {}, 0),
        ((("serve", A, 60), ("alias", A, 40)), "alias", {}, 0),
        ((("alias", A, 60), ("serve", A, 40), ("alias", A, 30)), "alias", {}, 1),
        # What was sent before the window is known, and is no repetition in it.
        ((("serve", A, 900), ("serve", A, 600)), "serve", {}, 0),
        ((("serve", A, 900), ("serve", A, 599)), "serve", {}, 1),
        ((("serve", A, 900), ("serve", A, 700), ("serve", A, 20)), "serve", {}, 1),
        # Seen in effect meanwhile, it begins anew.
        ((("serve", A, 60), ("serve", A, 30)), "serve", {"arrived": ago(59)}, 0),
        ((("serve", A, 60), ("serve", A, 30)), "serve", {"arrived": ago(60)}, 1),
        ((("serve", A, 60), ("serve", A, 30)), "serve", {"alias": ago(1)}, 1),
        # What is served is wanted again, but is not what was asked for last.
        ((("serve", A, 60), ("serve", A, 30)), "serve", {"serve": ago(1)}, 1),
        # What lies ahead was sent before the clock was set back.
        ((("serve", A, 60), ("serve", A, -1)), "serve", {}, 0),
        ((("serve", A, 60), ("serve", A, 0)), "serve", {}, 1),
        ((("serve", A, 60), ("serve", A, -1), ("serve", A, 0)), "serve", {}, 1),
        ((("alias", A, 70), ("serve", A, 60), ("serve", A, 0)), "serve", {}, 1),
        ((("serve", A, 70), ("serve", A, -5), ("serve", B, 3), ("serve", B, 1)), "serve", {}, 1),
        (
            (("serve", A, 70), ("serve", A, 60), ("serve", A, 50)),
            "serve",
            {"arrived": ago(65)},
            1,
        ),
    ],
)
def test_a_call_is_repeated_when_nobody_has_seen_an_earlier_one_in_effect(
    sent: tuple[tuple[str, str, float], ...],
    kind: str,
    followed: Mapping[str, datetime],
    number: int,
) -> None:
    known = application(attempts=calls(*sent), followed=followed)
    assert resends(known, kind, A, START) == number
    assert spent(known, kind, A, START) is (number >= 2)

"""A daemon that is stopped and started anew, between any two looks, decides the same."""

import json
from dataclasses import replace
from random import Random

import pytest

from controller.record import codec
from policies.fuse import Minute
from states.difference import Answer
from states.release import Application, Order
from tests.states.answers import Answers
from tests.states.story import Story
from tests.states.test_guards import begun


def kept(row: codec.Row) -> codec.Row:
    """A row as a database gives it back: what is no plain column went through JSON text."""
    return {
        key: json.loads(json.dumps(value)) if isinstance(value, dict | list) else value
        for key, value in row.items()
    }


def restarted(application: Application) -> Application:
    """What the record gives back of an application, its releases and their blocks."""
    read = codec.application_of(kept(codec.application_row(application)), application.spec)
    releases = tuple(
        codec.release_of(
            kept(codec.release_row(one)),
            [codec.block_of(kept(codec.block_row(block))) for block in one.blocks],
        )
        for one in application.releases
    )
    return replace(
        read,
        releases=releases,
        attempts=application.attempts,
        minutes=application.minutes,
        answer=application.answer,  # a column that only operators write
    )


def bad(story: Story) -> None:
    story.answered["2"] = Answers(slower=1.12)
    story.error_rates = {"2": 0.004, "": 0.002}


def stormy(story: Story) -> None:
    """Both versions fail for a while, and the table comes late: the fuse is blown."""
    story.minutes = (
        *story.minutes,
        *(
            Minute(ends_at=story.now, requests=6000, errors=errors)
            for errors in (30,) * 3 + (900,) * 3
        ),
    )
    story.table_speaks = not story.table_speaks


def paused(story: Story) -> None:
    live = story.application.live
    if live is not None:
        story.order(Order.PAUSE if live.order is Order.RUN else Order.RUN)


def hiding(story: Story) -> None:
    story.hidden = 0.3 if story.hidden is None else None
    story.error_rates = {"2": 0.002, "": 0.002}


def strange(story: Story) -> None:
    """Somebody adds a version, or a person says that it be put back."""
    change = story.application.change
    if change is None:
        story.edit(v1=60, v2=10, v7=30)
    else:
        given = Answer(answer="revert", difference=change.key)
        story.application = replace(story.application, answer=given)


DAYS = {
    "a good day": [],
    "a bad version": [bad],
    "a storm": [stormy, stormy, stormy],
    "pauses": [paused, paused, paused, paused],
    "hidden errors": [hiding, hiding],
    "strangers": [strange, strange, strange, strange],
}


@pytest.mark.parametrize("day", DAYS)
def test_restarted_at_every_look_it_tells_the_same_events_and_sends_the_same_calls(
    day: str,
) -> None:
    whole, broken = begun(), begun()
    random = Random(20261124)  # noqa: S311 - repeatable, not secret
    happens = {random.randrange(2, 50): what for what in DAYS[day]}
    for look in range(60):
        for story in (whole, broken):
            happens.get(look, lambda _: None)(story)
        broken.application = restarted(broken.application)
        one, other = whole.look(), broken.look()
        assert one.events == other.events, f"{day}, look {look}"
        assert one.calls == other.calls
        assert one.application == other.application
    assert whole.events

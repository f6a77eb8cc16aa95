"""How far another clock is ahead is known by answers that tell whole seconds."""

import random
from datetime import UTC, datetime, timedelta

import pytest

from controller.daemon.lead import COARSE, Lead

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)


class Clocks:
    """The record's, and one that is ahead of it and told in whole seconds, that a server keeps."""

    def __init__(self, ahead: timedelta, seed: int) -> None:
        self.now, self.ahead, self.random = NOW, ahead, random.Random(seed)  # noqa: S311 - no secret

    def passes(self, at_most: float) -> None:
        self.now += self.random.uniform(0, at_most) * SECOND

    def answer(self) -> Lead:
        """Ask for something; both ways and the answering take a while."""
        asked_at = self.now
        self.passes(2)
        told = self.now + self.ahead - self.random.uniform(0, 1) * SECOND
        self.passes(2)
        return Lead.shown(told.replace(microsecond=0), asked_at, self.now)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("ahead", [-3600.0, -0.4, 0.0, 19.0, 3600.0])
def test_it_is_never_less_and_soon_little_more(ahead: float, seed: int) -> None:
    clocks = Clocks(ahead * SECOND, seed)
    lead = clocks.answer()
    for _ in range(40):
        clocks.passes(60)
        lead = lead.narrowed(clocks.answer())
        assert lead.least <= clocks.ahead <= lead.most
    assert lead.most - clocks.ahead <= COARSE


@pytest.mark.parametrize("by", [timedelta(hours=1), -timedelta(minutes=1), timedelta(days=-1)])
def test_a_clock_that_was_set_is_believed_at_the_next_answer(by: timedelta) -> None:
    clocks = Clocks(timedelta(), 1)
    lead = clocks.answer().narrowed(clocks.answer())
    clocks.ahead += by
    lead = lead.narrowed(clocks.answer())
    assert lead.least <= by <= lead.most

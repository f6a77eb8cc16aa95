"""What `headgate apply` shows before it asks: what runs, beside what is configured."""

from dataclasses import replace

import pytest

from controller.console.applying import difference
from states.setup import Setup, Upkeep
from states.world import Size, Variables
from tests.states.byhand import record, shown
from tests.states.story import SPEC

AWAKE, SLEEPS = Size("Large"), Size("Large", scale_to_zero=True)


@pytest.mark.parametrize(
    ("runs", "setup", "lines"),
    [
        (AWAKE, Setup(), []),
        (SLEEPS, Setup(scale_to_zero=True), []),
        (AWAKE, Setup(scale_to_zero=True), [f"size: {AWAKE} -> {SLEEPS}"]),
        (SLEEPS, Setup(), [f"size: {SLEEPS} -> {AWAKE}"]),
        (AWAKE, Setup(size=Size("Small")), ["size: Large on CPU -> Small on CPU"]),
    ],
)
def test_a_running_version_that_is_to_sleep_or_to_stay_awake_is_a_difference(
    runs: Size, setup: Setup, lines: list[str]
) -> None:
    upkeep = Upkeep(variables=Variables())
    known = record(spec=replace(SPEC, setup=setup), upkeep=upkeep)
    told = difference(known, shown(sizes={"rag_chatbot-v1": runs}))
    assert list(told) == lines

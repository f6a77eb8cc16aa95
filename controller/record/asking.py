"""An order as somebody asked for it, whichever way it came: one place that gives it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from controller.record.errors import OrderRefused
from states.release import Order
from states.setup import Setup

if TYPE_CHECKING:
    from controller.record.store import Store

ORDERS, JOURNAL = "/v1/orders", "/v1/journal"
"""Where a daemon takes orders over HTTP, and tells what came of them."""
Via = Literal["store", "http"]
"""How an order came: written into the store by who may write there, or through the daemon."""
Asking = Literal[
    "pause", "resume", "abort", "approve", "promote", "release", "retry", "undo", "adopt",
    "revert", "apply",
]  # fmt: skip
"""What operators type."""
WHOLE: tuple[Asking, ...] = ("undo", "adopt", "revert", "apply")
"""Those that are about an application as a whole, and take no version."""
assert set(WHOLE) < set(get_args(Asking))


@dataclass(frozen=True, kw_only=True)
class Asked:
    """An order, who gives it, and why. Given twice, each is done once, and says so."""

    verb: Asking
    application: str
    version: str | None = None
    """None: of the live release, else of the newest that waits; `retry`: rolled back last."""
    actor: str
    reason: str = ""
    override: bool = False
    """Of `promote`: also without proof, and past what holds."""
    setup: Setup | None = None
    """Of `apply`: what the operator was shown."""
    via: Via = "store"


def obey(store: "Store", asked: Asked) -> str:
    """Write an order down, and tell in one sentence what will be done.

    `OrderRefused`, where it makes no sense now: then nothing was written.
    """
    _check(asked)
    who, via = (asked.actor, asked.reason), asked.via
    name, version = asked.application, asked.version
    match asked.verb:
        case "pause" | "resume" | "abort":
            said = store.give_order(name, version, _ORDERS[asked.verb], *who, via=via)
        case "approve":
            said = store.approve(name, version, *who, via=via)
        case "promote":
            said = store.promote(name, version, *who, override=asked.override, via=via)
        case "release" | "retry":
            said = store.begin(name, version, asked.verb, *who, via=via)
        case "undo":
            said = store.undo(name, *who, via=via)
        case "adopt" | "revert":
            said = store.give_answer(name, asked.verb, *who, via=via)
        case "apply":
            assert asked.setup is not None, "checked above"
            said = store.give_wish(name, asked.setup, *who, via=via)
    return said


def _check(asked: Asked) -> None:
    """Refuse what no state would give a meaning to, and what no line of the log has room for."""
    if len(asked.reason) > LONGEST_REASON:
        raise OrderRefused(f"a reason has {LONGEST_REASON:,} characters at most")
    if asked.version is not None and asked.verb in WHOLE:
        raise OrderRefused(f"`{asked.verb}` is for {asked.application} as a whole: no version")
    if asked.override and asked.verb != "promote":
        raise OrderRefused(f"`{asked.verb}` overrides nothing: only `promote` does")
    if (asked.setup is None) is (asked.verb == "apply"):
        raise OrderRefused("`apply`, and nothing else, says how the running version is set up")


LONGEST_REASON = 2000
"""Characters of a reason, which is one line of the log and of every history."""
_ORDERS = {"pause": Order.PAUSE, "resume": Order.RUN, "abort": Order.ABORT}

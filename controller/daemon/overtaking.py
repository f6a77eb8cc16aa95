"""A look that is slow must not keep an abort waiting: it is left behind when one arrives."""

from collections.abc import Callable
from concurrent.futures import Future
from threading import Event, Thread
from typing import TypeVar

Result = TypeVar("Result")
ASK_EVERY_S = 1.0
"""How often the record is asked for an abort while something slow is looked at."""


class Overtaken(Exception):  # noqa: N818 - it names what happened
    """An abort arrived: what was looked at does not matter any more."""


def unless(
    overtaken: Callable[[], bool], work: Callable[[Event], Result], every_s: float = ASK_EVERY_S
) -> Result:
    """The work's result or exception; `Overtaken` as soon as an abort is there.

    The work runs on a thread of its own, and is told by the event to give up; what it is waiting
    for then has a deadline of its own.
    """
    given_up, future = Event(), Future[Result]()

    def run() -> None:
        try:
            future.set_result(work(given_up))
        except BaseException as error:  # noqa: BLE001 - handed to the caller, whatever it is
            future.set_exception(error)

    # A daemon thread: one that is left behind must not keep the process from ending.
    Thread(target=run, name="look", daemon=True).start()
    while True:
        try:
            return future.result(timeout=every_s)
        except TimeoutError:
            if future.done():
                raise
            if overtaken():
                given_up.set()
                raise Overtaken from None

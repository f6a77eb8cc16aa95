"""The daemon's pages: all applications, one application, one release; to be read and no more.

What draws them is imported when somebody first looks: a daemon that nobody looks at needs none.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from controller.daemon.openapi import Described, described
from controller.record.errors import RecordError
from controller.record.lines import application_state
from controller.record.loading import Loaded
from controller.record.store import Store

if TYPE_CHECKING:
    from controller.pages.page import Child

    Made = tuple[str, list[Child]]
    """A title, and what stands below it."""

NOT_THERE = 404
DRAWN = 8
"""Releases that are kept as they were drawn last."""
RECENT = 50
"""Journal lines that the page of an application shows; counts stand on its releases' pages."""
Check = Callable[[], str | None]
"""What is wrong with the daemon, in one sentence; None while all is well."""


class NoSuchPage(Exception):  # noqa: N818 - it names a condition
    """The record has nothing of that name; the message says what it has."""


class Site:
    """Three pages, made anew from the record for whoever asks.

    Each is a plain function on a thread of its own: a reader never keeps a pass waiting.
    """

    def __init__(self, store: Store, *checks: Check) -> None:
        self._store, self._checks = store, checks
        # A release of days has thousands of lines, and an open page asks every few seconds.
        self._drawn = lru_cache(DRAWN)(self._draw)

    @property
    def routes(self) -> list[Route]:
        """What is answered."""
        return [
            Route("/", self._overview),
            Route("/app/{name}", self._application),
            Route("/app/{name}/{version}", self._release),
        ]

    @described(Described(page=True))
    def _overview(self, _: Request) -> Response:
        """All applications, as a page for people."""
        from controller.pages.overview import glance, overview, unreadable  # noqa: PLC0415

        def made(at: datetime) -> "Made":
            glances = [
                unreadable(name, one) if isinstance(one, str) else glance(one.application)
                for name, one in self._store.everything().items()
            ]
            return "Applications", overview(glances, at)

        return self._answer((), made)

    @described(Described(page=True))
    def _application(self, request: Request) -> Response:
        """One application with its releases, as a page for people."""
        from controller.pages.overview import application_page  # noqa: PLC0415

        name = request.path_params["name"]

        def made(at: datetime) -> "Made":
            known = self._known(name)
            recent = self._store.recent(name, RECENT, without="evidence.block")
            return name, application_page(known.application, recent, at)

        return self._answer((name,), made)

    @described(Described(page=True))
    def _release(self, request: Request) -> Response:
        """One release with its counts and its timeline, as a page for people."""
        name, version = request.path_params["name"], request.path_params["version"]

        def made(_: datetime) -> "Made":
            return self._drawn(name, version, self._known(name).row)

        return self._answer((name, version), made)

    def _draw(self, name: str, version: str, _: int) -> "Made":
        """One release, from its own lines and its application's state.

        It stays as it is for as long as the application's row has one version.
        """
        from controller.console.account import account  # noqa: PLC0415
        from controller.console.reading import UnknownSelection, fold  # noqa: PLC0415
        from controller.pages.release import parts, title  # noqa: PLC0415

        known = self._known(name)
        rows = self._store.journal(application=name, release=f"{name}/{version}")
        # A book tells by their numbers whether lines are missing: of this release none are.
        own = [line | {"seq": number} for number, line in enumerate(rows, start=1)]
        now = application_state(known.application, len(own))
        try:
            told = account(fold([*own, now]), f"{name}/{version}")
        except UnknownSelection as error:
            raise NoSuchPage(str(error)) from error
        return title(told), parts(told)

    def _known(self, name: str) -> Loaded:
        known = self._store.load(name, whole=False)
        if known.row:
            return known
        raise NoSuchPage(f"there is no application {name} in the record")

    def _answer(self, way: Sequence[str], made: "Callable[[datetime], Made]") -> Response:
        from controller.console.reading import ReadingError  # noqa: PLC0415
        from controller.pages.page import LIVE_POLICY, element, live_page  # noqa: PLC0415

        status, trouble = 200, [why for check in self._checks if (why := check())]
        try:
            at = self._store.now()
            title, body = made(at)
        except (NoSuchPage, RecordError, ReadingError) as error:
            status, at = NOT_THERE if isinstance(error, NoSuchPage) else 503, datetime.now(UTC)
            title = "There is no such page" if status == NOT_THERE else "The record cannot be read"
            body, trouble = [element("p", str(error))], []
        told = [element("p", f"The daemon has trouble: {why}", class_="bad") for why in trouble]
        html = live_page(title, _way(way), at, *told, *body)
        headers = {"Content-Security-Policy": f"{LIVE_POLICY}; frame-ancestors 'none'"}
        return HTMLResponse(html, status_code=status, headers=headers)


def _way(names: Sequence[str]) -> "Child":
    """Where a page stands, and what is above it."""
    from controller.pages.page import element, link  # noqa: PLC0415

    if not names:
        return element("span", "Headgate")
    way = element("span", link("Applications", before="../" * len(names)))
    if len(names) > 1:
        way.extend([element("span", " / "), link(names[0], names[0], before="../")])
    way.append(element("span", f" / {names[-1]}", aria_current="page"))
    return way

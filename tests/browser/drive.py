"""The daemon's pages and the report's, in a real browser: `make test-browser`.

Not one of `make test`, as it needs a Chromium. Pictures are left in build/browser.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import pytest

from controller.console.account import account
from controller.console.reading import fold
from controller.daemon.http import Server, application
from controller.daemon.site import Site
from controller.pages.release import document
from controller.settings import HttpSettings
from states.release import Order
from tests.browser.chromium import Browser, chromium
from tests.gallery import NAMED, Gallery

PICTURES = Path(__file__).parents[2] / "build" / "browser"
TOKEN = "0123456789abcdef-a-token"
HOSTILE_PAGE = f"app/{quote(NAMED, safe='')}"
PAGES = {
    "applications": "",
    "application": "app/rag-chatbot",
    "rolled-back": "app/rag-chatbot/2",
    "healthy": "app/billing-faq/2",
    "under-way": "app/summaries/2",
    "held": "app/search-answers/2",
    "hostile-application": HOSTILE_PAGE,
    "hostile": f"{HOSTILE_PAGE}/2",
}
HIDDEN = (
    "[...document.querySelectorAll('.wide')].filter((one) => one.scrollWidth > one.clientWidth + 1)"
    ".map((one) => one.ariaLabel)"
)
REFRESH = "document.dispatchEvent(new Event('visibilitychange'))"
"""What the page does by itself in ten seconds, now."""


@dataclass
class Daemon:
    """The daemon's pages on a port that can be shut and opened again."""

    gallery: Gallery
    token: str | None = None
    port: int = 0
    trouble: str | None = None
    _open: ExitStack = field(default_factory=ExitStack)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def start(self) -> "Daemon":
        server = Server(HttpSettings(port=self.port))
        self.port = server.port
        routes = Site(self.gallery.store, lambda: self.trouble).routes
        app = application(lambda: None, lambda: None, self.token, routes)
        self._open.enter_context(server.serving(app))
        return self

    def stop(self) -> None:
        self._open.close()


@contextmanager
def serving(gallery: Gallery, token: str | None = None) -> Iterator[Daemon]:
    daemon = Daemon(gallery, token).start()
    try:
        yield daemon
    finally:
        daemon.stop()


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gallery]:
    filled = Gallery(tmp_path_factory.mktemp("gallery")).fill()
    yield filled
    filled.store.close()


@pytest.fixture(scope="module")
def daemon(gallery: Gallery) -> Iterator[Daemon]:
    with serving(gallery) as found:
        yield found


@pytest.fixture(scope="module")
def running() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture
def browser(running: Browser) -> Iterator[Browser]:
    """The browser, which must not have complained of anything by the end."""
    running.complaints.clear()
    running.requests.clear()
    running.view(1280)
    yield running
    assert running.complaints == []


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("width", [1280, 768, 360, 320])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_fits_every_screen_and_asks_for_nothing_else(
    browser: Browser, daemon: Daemon, name: str, width: int, scheme: str
) -> None:
    browser.view(width, scheme=scheme)
    browser.open(daemon.url + PAGES[name])
    browser.shoot(PICTURES / f"{name}-{width}-{scheme}.png")
    assert browser.run("document.documentElement.scrollWidth") <= width
    assert browser.run(HIDDEN) == [], "no table has to be scrolled"
    assert browser.run("document.querySelectorAll('h1').length") == 1
    assert set(browser.requests) == {daemon.url + PAGES[name]}
    white = browser.run("getComputedStyle(document.body).color") == "rgb(255, 255, 255)"
    assert white == (scheme == "dark")


@pytest.mark.parametrize("width", [1280, 360])
def test_the_report_is_shown_from_a_file(
    browser: Browser, gallery: Gallery, tmp_path: Path, width: int
) -> None:
    file = tmp_path / "report.html"
    file.write_text(document(account(fold(gallery.store.journal()), "rag-chatbot/2")))
    browser.view(width)
    browser.open(file.as_uri())
    browser.shoot(PICTURES / f"report-{width}.png")
    assert browser.run("document.documentElement.scrollWidth") <= width
    assert browser.run("document.querySelectorAll('svg').length") == 4
    assert browser.requests == [file.as_uri()]


CONTRAST = """
(() => {
  const parse = (one) => one.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((one) => one / 255)
    .map((one) => one <= 0.03928 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4)
    .reduce((sum, one, index) => sum + one * [0.2126, 0.7152, 0.0722][index], 0);
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const behind = dark ? [18, 18, 18] : [255, 255, 255];
  const worst = [...document.querySelectorAll("p, a, td, th, dd, dt, h1, h2, svg text, svg .a, .b")]
    .map((one) => {
      const style = getComputedStyle(one), shade = parse(style.color);
      const seen = Number(style.opacity);
      const mixed = shade.slice(0, 3)
        .map((part, index) => part * seen + behind[index] * (1 - seen));
      const [high, low] = [light(mixed), light(behind)].sort((a, b) => b - a);
      return (high + 0.05) / (low + 0.05);
    });
  return Math.min(...worst);
})()
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everything_that_is_written_stands_out_from_what_is_behind(
    browser: Browser, daemon: Daemon, scheme: str
) -> None:
    for path in (PAGES["applications"], PAGES["rolled-back"]):
        browser.view(1280, scheme=scheme)
        browser.open(daemon.url + path)
        assert browser.run(CONTRAST) >= 4.5, "WCAG 2 AA"


def test_states_are_told_apart_without_colour(browser: Browser, daemon: Daemon) -> None:
    browser.open(daemon.url)
    forms = browser.run(
        "Object.fromEntries([...document.querySelectorAll('.state')].map((one) => "
        "[one.textContent, getComputedStyle(one).borderTopStyle]))"
    )
    assert forms == {"Canary": "dashed", "RolledBack": "double", "Production": "solid"}


def test_a_screen_reader_is_told_tables_and_drawings(browser: Browser, daemon: Daemon) -> None:
    for width in (1280, 360):
        browser.view(width)
        browser.open(daemon.url + PAGES["rolled-back"])
        nodes = browser.call("Accessibility.getFullAXTree")["nodes"]
        roles: dict[str, list[str]] = {}
        for one in nodes:
            if not one.get("ignored"):
                role, name = one["role"]["value"], one.get("name", {}).get("value", "")
                roles.setdefault(role, []).append(name)
        assert len(roles["image"]) == 4
        assert all(roles["image"]), "every drawing has a name"
        assert {"Guards", "Verdicts", "Orders"} - set(roles["table"]) == {"Orders"}
        assert {"guard", "last verdict", "why", "wanted", "seen"} <= set(roles["columnheader"])
        assert "errors" in roles["rowheader"]
        assert "Post-mortem" in roles["heading"]
        assert {"main", "navigation", "banner"} <= roles.keys()


def test_the_pages_can_be_walked_through_with_the_keyboard(
    browser: Browser, daemon: Daemon
) -> None:
    browser.open(daemon.url)
    for _ in range(40):
        press(browser, "Tab")
        if browser.run("document.activeElement.getAttribute('href')") == "app/rag-chatbot/2":
            break
    assert browser.run("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    press(browser, "Enter")
    browser.until(lambda: bool(browser.run("document.title.startsWith('rag-chatbot/2')")))
    browser.run("document.querySelector('nav a').click()")
    browser.until(lambda: browser.run("document.title") == "Applications")


def press(browser: Browser, key: str) -> None:
    more = {"text": "\r", "windowsVirtualKeyCode": 13} if key == "Enter" else {}
    code = {"windowsVirtualKeyCode": 9} if key == "Tab" else {}
    for kind in ("keyDown", "keyUp"):
        browser.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, **{**code, **more})


def test_a_page_follows_the_record_and_leaves_the_reader_where_he_is(
    browser: Browser, tmp_path: Path
) -> None:
    own = Gallery(tmp_path)
    own.under_way()
    with serving(own) as daemon:
        browser.view(360, 500)
        browser.open(f"{daemon.url}app/summaries/2")
        browser.run("document.querySelectorAll('[role=region]')[0].focus()")
        browser.run("window.scrollTo(0, 1500)")
        tests = "document.querySelector('[aria-label=\"Golden queries\"]')"
        browser.run(f"getSelection().selectAllChildren({tests}.querySelector('tbody'))")
        where = "[document.activeElement.ariaLabel, scrollY, String(getSelection())]"
        before = browser.run(where)
        browser.run(f"{tests}.same = 'yes'")
        assert "all 1 golden queries passed" in before[2]
        told = "document.querySelector('main').textContent"
        assert "the quarter ends" not in browser.run(told)
        own.store.give_order("summaries", "2", Order.PAUSE, "ada", "the quarter ends <b>now</b>")
        shown = "document.querySelector('main').textContent.includes('<b>now</b>')"
        soon(browser, shown)
        assert browser.run(where) == before
        assert browser.run(f"{tests}.same") == "yes", "what has not changed is left alone"
        own.now = own.now.replace(hour=23)
        soon(browser, "document.getElementById('heard').textContent.includes(' 23:')")
    own.store.close()


def soon(browser: Browser, what: str) -> None:
    """Let the page ask again until something is so; it is asked at most forty times."""
    wait = "new Promise((done) => setTimeout(() => done(Boolean(%s)), 100))"
    for _ in range(40):
        browser.run(REFRESH)
        if browser.run(wait % what):
            return
    raise AssertionError(f"never: {what}")


def test_a_page_says_when_the_daemon_is_gone_and_when_it_is_back(
    running: Browser, gallery: Gallery
) -> None:
    running.complaints.clear()
    with serving(gallery) as daemon:
        running.view(360)
        running.open(daemon.url)
        alert = "document.getElementById('stale')"
        assert running.run(f"{alert}.hidden") is True
        daemon.stop()
        soon(running, f"!{alert}.hidden")
        told = running.run(f"{alert}.textContent")
        assert told.startswith("Stale: the daemon does not answer. Nothing was heard of it since ")
        assert "billing-faq" in running.run("document.querySelector('main').textContent")
        running.shoot(PICTURES / "stale-360.png")
        daemon.start()
        soon(running, f"{alert}.hidden")
        daemon.trouble = "no beat ended for 99 s: nothing is looked at; restart the daemon"
        soon(running, "document.querySelector('main').textContent.includes('no beat ended')")
        running.shoot(PICTURES / "trouble-360.png")
    refused = "log: Failed to load resource: net::ERR_CONNECTION_REFUSED"
    assert set(running.complaints) <= {refused}, "no more than that nobody answered"


def test_without_a_script_the_page_is_loaded_anew(browser: Browser, daemon: Daemon) -> None:
    browser.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.open(daemon.url)
        found = browser.run("document.querySelector('noscript meta').content")
        assert found == "30"
        assert "rag-chatbot" in browser.run("document.body.textContent")
    finally:
        browser.call("Emulation.setScriptExecutionDisabled", value=False)


def test_a_script_that_is_not_the_daemons_own_does_not_run(
    running: Browser, daemon: Daemon
) -> None:
    """The policy is in force: what a hole in the pages would let in is stopped by the browser."""
    running.complaints.clear()
    running.open(daemon.url)
    running.run(
        "document.querySelector('main').innerHTML = '<img src=x onerror=\"window.bad = 1\">'"
    )
    running.run(
        "{ const one = document.createElement('script'); one.textContent = 'window.bad = 1';"
        "document.body.append(one) }"
    )
    assert running.run("window.bad") is None
    assert running.complaints
    assert all("Content Security Policy" in one for one in running.complaints)


def test_with_a_token_the_browser_asks_for_it_and_the_page_goes_on_by_itself(
    browser: Browser, gallery: Gallery
) -> None:
    with serving(gallery, TOKEN) as daemon:
        browser.open(daemon.url.replace("//", f"//ann:{TOKEN}@"))
        assert browser.run("document.title") == "Applications"
        heard = "document.getElementById('heard').textContent"
        gallery.now = gallery.now.replace(second=59)
        soon(browser, f"{heard}.includes(':59 ')")
        browser.open(f"{daemon.url}app/rag-chatbot/2")
        assert browser.run("document.title") == "rag-chatbot/2: RolledBack"

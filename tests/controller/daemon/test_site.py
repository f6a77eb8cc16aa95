"""The daemon's pages over a real port: what they tell, and to whom."""

import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

import pytest
import requests
from sqlalchemy import text

from controller.console.reading import fold
from controller.daemon.http import Server, application
from controller.daemon.site import Site
from controller.pages.overview import Glance, application_page, glance, overview, unreadable
from controller.pages.page import live_page
from controller.record.store import Store
from controller.settings import HttpSettings
from states.release import Application, Order
from tests.gallery import HOSTILE, NAMED, Gallery
from tests.pages import Page
from tests.states.story import SPEC, Story

TOKEN = "0123456789abcdef-a-token"
NOW = datetime(2026, 11, 23, 13, 0, tzinfo=UTC)


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gallery]:
    filled = Gallery(tmp_path_factory.mktemp("gallery")).fill()
    yield filled
    filled.store.close()


@contextmanager
def served(store: Store, token: str | None = None, trouble: str | None = None) -> Iterator[str]:
    server = Server(HttpSettings(port=0))
    site = Site(store, lambda: trouble)
    with server.serving(application(lambda: None, lambda: None, token, site.routes)):
        yield f"http://127.0.0.1:{server.port}"


@pytest.fixture(scope="module")
def url(gallery: Gallery) -> Iterator[str]:
    with served(gallery.store) as found:
        yield found


def page(url: str, status: int = 200, **headers: str) -> Page:
    answer = requests.get(url, timeout=20, headers=headers)
    assert answer.status_code == status, answer.text[:500]
    shown = Page.read(answer.text, live=True)
    assert answer.headers["Content-Security-Policy"].startswith(shown.policy)
    return shown


def basic(password: str, user: str = "ann") -> str:
    return f"Basic {b64encode(f'{user}:{password}'.encode()).decode()}"


def test_the_first_page_tells_what_needs_a_person_first(url: str) -> None:
    shown = page(f"{url}/")
    assert shown.titles == [
        "Applications",
        "A person must act (1)",
        "Rolled back (1)",
        "Under way (2)",
        "At rest (1)",
    ]
    told = {row[0].split(" / ")[0]: row for row in shown.rows if row[0] != "release"}
    held = told["search-answers"]
    assert held[1:3] == ["Canary step 2 of 4", "25 %"]
    assert "undecided after 30 min" in held[4]
    assert "A person must act. Stable: 1." in " ".join(held[4].replace(".", ". ").split())
    assert told["rag-chatbot"][1:3] == ["RolledBack step 3 of 4", "0 %"]
    assert told["summaries"][1:3] == ["Canary step 3 of 4", "50 %"]
    assert "Next: 100 % of users, once shown to be no worse." in told["summaries"][4]
    assert told["billing-faq"][1:3] == ["Production", "100 %"]
    assert "min ago)" in told["billing-faq"][3]


def test_links_lead_from_page_to_page_and_back(url: str) -> None:
    first = page(f"{url}/")
    assert {"app/rag-chatbot", "app/rag-chatbot/2"} <= set(first.links)
    for link in first.links:
        page(f"{url}/{link}")
    assert page(f"{url}/app/rag-chatbot").links == ["../", "rag-chatbot/2", "rag-chatbot/1"]
    assert page(f"{url}/app/rag-chatbot/2").links == ["../../", "../rag-chatbot"]


def test_an_application_has_all_its_releases_and_what_happened_last(url: str) -> None:
    shown = page(f"{url}/app/rag-chatbot")
    assert [row[:2] for row in shown.rows[1:3]] == [
        ["2", "RolledBack step 3 of 4"],
        ["1", "Production"],
    ]
    assert "post-mortem" in shown.text
    assert "rag-chatbot-endpoint" in shown.text


def test_a_release_is_drawn_as_the_report_draws_it(url: str, gallery: Gallery) -> None:
    from controller.console.account import account  # noqa: PLC0415
    from controller.pages.release import document  # noqa: PLC0415

    for name in ("rag-chatbot", "billing-faq", "search-answers", "summaries"):
        shown = page(f"{url}/app/{name}/2")
        lines = list(gallery.store.journal())
        report = Page.read(document(account(fold(lines), f"{name}/2")))
        assert shown.titles == report.titles
        assert shown.rows == report.rows
        assert shown.plots == report.plots


def test_who_paused_and_why_stands_on_the_page_and_runs_nothing(url: str) -> None:
    shown = page(f"{url}/app/{quote(NAMED, safe='')}/2")
    assert "Orders" in shown.titles
    assert any("<script>alert(1)</script>" in row[2] for row in shown.rows if row[2:])
    assert "ordered pause" in shown.text


@pytest.mark.parametrize(
    "path", ["/app/nobody", "/app/nobody/2", "/app/rag-chatbot/77", "/app/rag-chatbot/x"]
)
def test_what_is_not_there_is_a_page_that_says_so(url: str, path: str) -> None:
    shown = page(f"{url}{path}", 404)
    assert shown.titles == ["There is no such page"]
    assert "there is no " in shown.text or "selects nothing" in shown.text


def test_the_pages_are_read_only(url: str) -> None:
    for path in ("/", "/app/rag-chatbot", "/app/rag-chatbot/2"):
        assert requests.head(f"{url}{path}", timeout=10).status_code == 200
        for method in ("POST", "PUT", "DELETE", "PATCH"):
            assert requests.request(method, f"{url}{path}", timeout=10).status_code in (403, 405)


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("localhost:9000", 200),
        ("127.0.0.1:8350", 200),
        ("[::1]:8350", 200),
        ("[::1]", 200),
        ("evil.example", 403),
        ("127.0.0.1.evil.example:8350", 403),
        ("localhost.evil.example", 403),
        ("evil.example:127.0.0.1", 403),
        ("", 403),
    ],
)
def test_without_a_token_only_who_calls_this_machine_by_its_own_name_is_shown_anything(
    url: str, host: str, status: int
) -> None:
    for path in ("/", "/app/rag-chatbot/2"):
        answer = requests.get(f"{url}{path}", headers={"Host": host}, timeout=10)
        assert answer.status_code == status
        assert ("rag-chatbot" in answer.text) == (status == 200)


def test_with_a_token_a_browser_logs_in_with_it_as_the_password(gallery: Gallery) -> None:
    with served(gallery.store, TOKEN) as url:
        for known in (basic(TOKEN), basic(TOKEN, user=""), f"Bearer {TOKEN}"):
            page(f"{url}/", Authorization=known)
            page(f"{url}/app/rag-chatbot/2", Authorization=known, Host="headgate.example")
        for unknown in (
            "",
            "Basic",
            "Basic ???",
            basic("wrong"),
            basic(f"{TOKEN}x"),
            basic(""),
            f"Basic {TOKEN}",
            f"Basic {b64encode(TOKEN.encode()).decode()}",
            "Bearer wrong",
        ):
            answer = requests.get(f"{url}/", headers={"Authorization": unknown}, timeout=10)
            assert answer.status_code == 401, unknown
            assert answer.headers["WWW-Authenticate"].startswith('Basic realm="Headgate"')
            assert "rag-chatbot" not in answer.text


def test_a_login_opens_nothing_but_pages(gallery: Gallery) -> None:
    """A browser sends its login along with whatever another site makes it ask for."""
    with served(gallery.store, TOKEN) as url:
        for path in ("/metrics", "/order", "/apps/rag-chatbot"):
            answer = requests.get(
                f"{url}{path}", headers={"Authorization": basic(TOKEN)}, timeout=9
            )
            assert answer.status_code == 401, path
        posted = requests.post(f"{url}/app/x", headers={"Authorization": basic(TOKEN)}, timeout=9)
        assert posted.status_code == 401


def test_a_daemon_in_trouble_says_so_on_every_page(gallery: Gallery) -> None:
    with served(gallery.store, trouble="no beat ended for 99 s") as url:
        for path in ("/", "/app/rag-chatbot", "/app/rag-chatbot/2"):
            assert "The daemon has trouble: no beat ended for 99 s" in page(f"{url}{path}").text


def test_a_store_that_cannot_be_read_is_a_sentence(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path / 'headgate.db'}")
    with served(store) as url:
        assert "No application is in the record yet." in page(f"{url}/").text
        store.close()
        (tmp_path / "headgate.db").write_bytes(b"not a database " * 1000)
        assert "The record cannot be read" in page(f"{url}/", 503).titles


def test_one_record_that_cannot_be_understood_hides_no_other(tmp_path: Path) -> None:
    gallery = Gallery(tmp_path)
    gallery.under_way()
    gallery.rolled_back()
    with gallery.store.writing() as connection:
        connection.execute(text("UPDATE applications SET body = '{}' WHERE name = 'summaries'"))
        connection.execute(text("UPDATE releases SET body = '{}' WHERE application = 'summaries'"))
        connection.execute(text('UPDATE applications SET "row" = "row" + 1'))
    with served(gallery.store) as url:
        shown = page(f"{url}/")
        assert "A person must act (1)" in shown.titles
        assert "the record of summaries in this store cannot be understood" in shown.text
        assert "rag-chatbot" in shown.text
        page(f"{url}/app/summaries", 503)
    gallery.store.close()


def test_the_first_page_is_as_new_as_the_record(tmp_path: Path) -> None:
    gallery = Gallery(tmp_path)
    gallery.under_way()
    assert "Ordered" not in str(rows_of(gallery.store))
    other = Store(f"sqlite:///{tmp_path / 'headgate.db'}", clock=lambda: gallery.now)
    other.give_order("summaries", "2", Order.PAUSE, "ann", "lunch")
    assert "Ordered: pause." in str(rows_of(gallery.store)), "another process changed it"
    other.close()
    gallery.store.close()


def rows_of(store: Store) -> list[list[str]]:
    known = store.everything().values()
    glances = [glance(one.application) for one in known if not isinstance(one, str)]
    return Page.read(live_page("All", None, NOW, *overview(glances, NOW)), live=True).rows


TEXTS = [
    HOSTILE,
    "<script>alert(1)</script>",
    '"><svg onload=alert(1)>',
    "'-alert(1)-'",
    "javascript:alert(1)",
    "</script><script>alert(1)</script>",
    "]]></style><style>*{display:none}",
    "{}{0}%s%n${x}{{7*7}}",
    "line\nline\r\nline\u2028line\u2029line",
    "\x1b[2J\x1b]0;title\x07",
    "\u202egpj.exe\u2066\u200f",
    "a" * 10_000,
    "\ud800",
    "../../..",
    "//evil.example/x",
]


@pytest.mark.parametrize("hostile", TEXTS)
def test_whatever_a_name_or_a_reason_is_made_of_becomes_text(hostile: str) -> None:
    story = Story(application=Application(name=hostile, spec=replace(SPEC, endpoint=hostile)))
    line = {"event": hostile, "timestamp": "2026-11-23T12:00:00Z", "because": hostile, "seq": 1}
    application = replace(story.application, hold=hostile)
    told: list[Glance] = [glance(application), unreadable(hostile, hostile)]
    parts = [*overview(told, NOW), *application_page(application, [line], NOW)]
    shown = Page.read(live_page(hostile, hostile, NOW, *parts), live=True)
    assert "alert(1)" not in shown.script
    assert not any(ord(one) < 32 or one in "\u202e\u2066\u200f\u2028" for one in shown.text)
    segments = [link.split("/") for link in shown.links]
    assert all(one[0] == "app" and len(one) == 2 and one[1] != ".." for one in segments)


def test_a_thousand_applications_are_told_at_once(tmp_path: Path) -> None:
    """What was read before is not read again, unless it has changed."""
    store = Store(f"sqlite:///{tmp_path / 'headgate.db'}", clock=lambda: NOW)
    for number in range(200):
        spec = replace(SPEC, model=f"main.m{number}.rag_chatbot", endpoint=f"e{number}")
        story = Story(application=Application(name=f"a{number:03}", spec=spec))
        loaded = store.load(story.application.name, spec)
        story.application = loaded.application
        store.commit(loaded, story.look())
    store.forget()
    begun = time.process_time()
    first = store.everything()
    cold, begun = time.process_time() - begun, time.process_time()
    again = store.everything()
    warm = time.process_time() - begun
    assert first == again
    assert len(again) == 200
    assert warm < cold / 3
    store.close()


def test_an_age_is_told_from_the_stores_clock() -> None:
    story = Story()
    story.look(times=2)
    since = story.application.releases[-1].since
    for age, told in ((timedelta(seconds=59), "(now)"), (timedelta(hours=3), "(3 h ago)")):
        parts = overview([glance(story.application)], since + age)
        rows = Page.read(live_page("All", None, NOW, *parts), live=True).rows
        assert rows[1][3].endswith(told)

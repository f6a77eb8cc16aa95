"""Orders over a real port: who may give them, what comes of each, and that nothing else does."""

import json
import sqlite3
import threading
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
import requests
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.registry import CollectorRegistry
from sqlalchemy import delete
from starlette.routing import Route
from structlog.testing import capture_logs
from typer.testing import CliRunner, Result

from controller.console.cli import app as headgate
from controller.daemon.exposition import route as metrics
from controller.daemon.http import BODY_BYTES, OPEN, Server, application
from controller.daemon.openapi import document
from controller.daemon.orders_http import PAGE, OrderBody, Orders
from controller.daemon.site import Site
from controller.record.schema import APPLICATIONS, RELEASES
from controller.record.store import Store
from controller.record.writing import append, event_row
from controller.settings import HttpSettings
from states.machine import State
from states.plan import Event
from states.release import Order
from states.world import Endpoint, Serving, Share, Size
from tests.controller.record.making import SPEC, plan, release

TOKEN = "0123456789abcdef-a-token"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
JSON = {**BEARER, "Content-Type": "application/json"}


@dataclass
class Door:
    """A daemon's orders on a port, and its store: one version in Canary, one that asks."""

    store: Store
    path: Path
    url: str = ""
    woken: list[str] = field(default_factory=list)
    ending: bool = False

    def ring(self, names: Collection[str]) -> list[str]:
        self.woken += names
        return sorted(names)

    def post(self, body: object, headers: dict[str, str] | None = None) -> requests.Response:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        sent = JSON if headers is None else headers
        return requests.post(f"{self.url}/v1/orders", data=data, headers=sent, timeout=20)

    def type(self, *words: str, **environ: str) -> Result:
        """Type a command on another machine, which has no store."""
        known = {
            "HEADGATE_URL": self.url,
            "HEADGATE_TOKEN_FILE": str(self.path.parent / "token"),
            "HEADGATE_STORE": "sqlite:////nowhere/headgate.db",
            "LOGNAME": "anna",
        }
        return CliRunner().invoke(headgate, words, env=known | environ)

    def order(self) -> Order:
        live = self.store.load("rag").application.live
        assert live is not None
        return live.order


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    folder = tmp_path_factory.mktemp("door")
    token = folder / "token"
    token.write_text(TOKEN)
    token.chmod(0o600)
    store = Store(f"sqlite:///{folder / 'headgate.db'}")
    door = Door(store, folder / "headgate.db")
    orders = Orders(store, ("rag", "chat"), door.ring, lambda: door.ending, "127.0.0.1")
    server = Server(HttpSettings(port=0))
    with server.serving(application(lambda: None, lambda: None, TOKEN, orders.routes)):
        door.url = f"http://127.0.0.1:{server.port}"
        yield door
    store.close()


@pytest.fixture(autouse=True)
def at_canary(door: Door) -> None:
    """Begin anew, without the orders of the test before."""
    with door.store.writing() as connection:
        connection.execute(delete(RELEASES))
        connection.execute(delete(APPLICATIONS))
    door.store.forget()
    loaded = door.store.load("rag", SPEC)
    known = replace(loaded.application, adopted=True, stable="3", former="2")
    stable = release("3", State.PRODUCTION, confirmed=True)
    door.store.commit(loaded, plan(known, stable, release("4", State.CANARY, step=1)))
    door.woken.clear()
    door.ending = False


def pause(**more: object) -> dict[str, object]:
    return {"verb": "pause", "application": "rag", "version": "4", "actor": "anna"} | more


def nothing_happened(door: Door, before: int) -> bool:
    return (door.store.last_seq(), door.order(), door.woken) == (before, Order.RUN, [])


def test_an_order_is_written_down_with_who_claims_it_and_wakes_the_loop(door: Door) -> None:
    answer = door.post(pause(reason="lunch"))
    assert (answer.status_code, answer.json()["woken"]) == (200, True)
    assert answer.json()["said"].startswith("rag/4 is paused")
    assert (door.order(), door.woken) == (Order.PAUSE, ["rag"])
    *_, line = door.store.journal()
    told = {name: line[name] for name in ("event", "actor", "via", "reason", "verb")}
    assert told == {
        "event": "order.given",
        "actor": "anna",
        "via": "http",
        "reason": "lunch",
        "verb": "pause",
    }
    before = door.store.last_seq()
    assert "(it was ordered before)" in door.post(pause()).json()["said"]
    assert door.store.last_seq() == before


def test_what_makes_no_sense_is_refused_with_the_same_sentence_as_by_the_store(door: Door) -> None:
    before = door.store.last_seq()
    for verb, version, status, sentence in (
        ("approve", "4", 409, "nothing of rag/4 waits for approval: it is in Canary"),
        ("promote", "9", 409, "there is no release rag/9; there is rag/4 (Canary)"),
        ("undo", "4", 409, "`undo` is for rag as a whole: no version"),
        ("apply", None, 409, "`apply`, and nothing else, says how the running version"),
    ):
        answer = door.post(pause(verb=verb, version=version))
        assert (answer.status_code, answer.json()["kind"]) == (status, "refused")
        assert sentence in answer.json()["error"]
    answer = door.post(pause(application="left"))
    assert answer.status_code == 404
    assert "left is not in this daemon's configuration" in answer.json()["error"]
    assert nothing_happened(door, before)


@pytest.mark.parametrize(
    ("headers", "status", "sentence"),
    [
        ({"Content-Type": "application/json"}, 401, "send the daemon's token"),
        (JSON | {"Authorization": f"Bearer {TOKEN[:-1]}"}, 401, "send the daemon's token"),
        (BEARER | {"Content-Type": "text/plain"}, 415, "`Content-Type: application/json`"),
        (BEARER | {"Content-Type": "application/x-www-form-urlencoded"}, 415, "Content-Type"),
        (JSON | {"Origin": "http://127.0.0.1:8350"}, 403, "not for web pages"),
        (JSON | {"Origin": "null"}, 403, "not for web pages"),
        (JSON | {"Sec-Fetch-Site": "same-origin"}, 403, "not for web pages"),
        (JSON | {"Host": "rebound.example:8350"}, 403, "listens on this machine alone"),
        (JSON | {"Host": "localhost.example"}, 403, "listens on this machine alone"),
    ],
)
def test_who_is_not_meant_changes_nothing(
    door: Door, headers: dict[str, str], status: int, sentence: str
) -> None:
    before = door.store.last_seq()
    answer = door.post(pause(verb="abort"), headers)
    assert (answer.status_code, sentence in answer.json()["error"]) == (status, True), answer.text
    assert nothing_happened(door, before)


@pytest.mark.parametrize(
    ("body", "place"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b'{"verb": NaN}', "not JSON"),
        (b'"pause"', "look at"),
        (pause(verb="delete"), "look at verb"),
        (pause(actor=""), "look at actor"),
        (pause(actor="an\x1b[2Jna"), "look at actor"),
        (pause(reason="a\x00b"), "look at reason"),
        (pause(reason=["no", "text"]), "look at reason"),
        (pause(reason="x" * 2001), "look at reason"),
        (pause(version=4), "look at version"),
        (pause(version="04"), "look at version"),
        (pause(version="9" * 19), "look at version"),
        (pause(application="../rag"), "look at application"),
        (pause(override="yes"), "look at override"),
        (pause(setup={"size": {"workload_size": 3}}), "look at setup"),
        (pause(pardon="me"), "a key that is none of verb, application"),
    ],
)
def test_what_is_no_order_is_refused_and_told_where(door: Door, body: object, place: str) -> None:
    before = door.store.last_seq()
    answer = door.post(body)
    assert (answer.status_code, place in answer.json()["error"]) == (400, True), answer.text
    assert nothing_happened(door, before)


def test_an_order_is_short(door: Door) -> None:
    before = door.store.last_seq()
    assert door.post(b" " * BODY_BYTES + b"{}").status_code == 413
    assert nothing_happened(door, before)


TEXTS = st.text(max_size=20) | st.sampled_from(["rag", "4", "chat", "pause", "abort", "\x00", "😀"])
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | TEXTS
FLAT = SCALARS | st.lists(SCALARS, max_size=3)
VALUES = FLAT | st.lists(FLAT, max_size=2) | st.dictionaries(TEXTS, FLAT, max_size=3)
ORDERS = st.fixed_dictionaries(
    {"verb": st.sampled_from(["pause", "abort", "apply", "release"]) | VALUES},
    optional={
        "application": st.just("rag") | VALUES,
        "version": st.sampled_from(["4", "5", "0"]) | VALUES,
        "actor": st.just("anna") | VALUES,
        "reason": VALUES,
        "override": VALUES,
        "setup": VALUES,
        "more": VALUES,
    },
)


@settings(max_examples=100, deadline=None)
@given(body=st.binary(max_size=60) | ORDERS | VALUES)
def test_whatever_is_sent_is_an_order_or_changes_nothing(door: Door, body: object) -> None:
    before = door.store.last_seq()
    with capture_logs() as logs:
        answer = door.post(body)
    assert answer.status_code in {200, 400, 404, 409}, (answer.status_code, body, logs)
    assert answer.headers["Content-Type"] == "application/json"
    taken = answer.status_code == 200
    assert ("said" in answer.json()) is taken
    if taken:
        assert OrderBody.model_validate_json(answer.request.body or b"").actor
    else:
        assert door.store.last_seq() == before


def test_a_daemon_that_ends_takes_no_order_any_more(door: Door) -> None:
    before = door.store.last_seq()
    door.ending = True
    answer = door.post(pause())
    assert (answer.status_code, answer.json()["kind"]) == (503, "ending")
    assert nothing_happened(door, before)
    told = door.type("pause", "rag/4")
    assert told.exit_code == 5
    assert "this daemon is ending: give the order to the next one" in told.stderr


def test_a_store_that_another_program_keeps_locked_is_told_and_nothing_is_written(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = door.store.last_seq()
    other = sqlite3.connect(door.path, isolation_level=None)
    # Its connections have waited for five seconds since they were made: these are new.
    monkeypatch.setattr("controller.record.sqlite.BUSY_MILLISECONDS", 50)
    door.store._engine.dispose()
    other.execute("BEGIN EXCLUSIVE")
    try:
        told = door.type("abort", "rag/4")
        direct = CliRunner().invoke(
            headgate, ["abort", "rag/4", "--store", f"sqlite:///{door.path}"]
        )
    finally:
        other.execute("ROLLBACK")
        other.close()
        door.store._engine.dispose()
    for one in (told, direct):
        assert one.exit_code == 6
        assert "another process has kept it locked" in one.stderr
    assert nothing_happened(door, before)


def test_a_store_that_may_only_be_read_takes_no_order_and_says_why(door: Door) -> None:
    before = door.store.last_seq()
    door.store._engine.dispose()
    with pytest.MonkeyPatch.context() as patch:
        # File modes do not stop root, as which tests may run: the connection itself is bound.
        connect = sqlite3.connect
        patch.setattr(
            "controller.record.sqlite.sqlite3.connect",
            lambda address, **more: connect(address.replace("mode=rw", "mode=ro"), **more),
        )
        told = door.type("abort", "rag/4")
        direct = CliRunner().invoke(
            headgate, ["abort", "rag/4", "--store", f"sqlite:///{door.path}"]
        )
        door.store._engine.dispose()
    for one in (told, direct):
        assert one.exit_code == 6, one.output
        assert "it is read-only: give this user the right to write it" in one.stderr
    assert nothing_happened(door, before)


def test_the_commands_give_the_same_orders_and_read_what_came_of_them(door: Door) -> None:
    told = door.type("pause", "rag/4", "--reason", "lunch")
    assert (told.exit_code, told.stderr) == (0, "")
    assert told.stdout == "rag/4 is paused: its exposure does not rise until `headgate resume`\n"
    assert door.order() is Order.PAUSE
    refused = door.type("promote", "rag/4")
    assert refused.exit_code == 2
    assert "cannot promote rag/4: it is paused" in refused.stderr
    history = door.type("history", "rag/4")
    assert "anna (over HTTP, as the token's holder says) ordered pause" in history.stdout
    assert "lunch" in history.stdout
    status = json.loads(door.type("status", "rag/4", "--json").stdout)
    assert [one["order"] for one in status] == ["pause"]
    waited = door.type("status", "rag/4", "--wait", "--timeout", "1s")
    assert waited.exit_code == 4, "it has not come to its end by then"
    assert "rag/4" in waited.stdout
    direct = CliRunner().invoke(headgate, ["abort", "rag", "--store", f"sqlite:///{door.path}"])
    assert direct.exit_code == 0, "a store that is named is meant, whatever HEADGATE_URL says"
    assert door.order() is Order.ABORT


def test_apply_shows_what_the_endpoint_tells_and_the_daemon_decides(
    door: Door, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "headgate.yaml"
    test = "[{query: q, expect: {answer_contains: [a]}}]"
    serving = "{workload_size: Large, environment: {TOP_K: '8'}}"
    told = f"{{model: main.ml.rag, endpoint: rag-endpoint, serving: {serving}, tests: {test}}}"
    config.write_text(f"applications: {{rag: {told}}}\n")
    share = Share(model="main.ml.rag", version="3", weight=100)
    runs = Endpoint(
        serving=Serving({"rag-v3": share}),
        config_version=1,
        ready=frozenset({"rag-v3"}),
        sizes={"rag-v3": Size("Small")},
    )
    monkeypatch.setattr("controller.console.applying._seen", lambda _: runs)
    apply = ("apply", "rag", "--config", str(config), "--yes", "--reason", "the evening's load")
    refused = door.type(*apply)
    assert refused.exit_code == 2
    assert "cannot apply to rag: rag/4 is under way" in refused.stderr
    with door.store.writing() as connection:
        connection.execute(delete(RELEASES).where(RELEASES.c.version == "4"))
    door.store.forget()
    taken = door.type(*apply)
    assert (taken.exit_code, taken.stderr) == (0, "")
    assert "size: Small on CPU -> Large on CPU" in taken.stdout
    assert "variables: what it has is not known to this command -> TOP_K" in taken.stdout
    wish = door.store.load("rag").application.wish
    assert wish is not None
    assert (str(wish.size), wish.variables.names) == ("Large on CPU", ("TOP_K",))
    *_, line = door.store.journal()
    assert (line["verb"], line["via"], line["actor"]) == ("apply", "http", "anna")


def test_apply_over_http_carries_scale_to_zero_alone(
    door: Door, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "headgate.yaml"
    serving = "{scale_to_zero: true, environment: none}"
    test = "[{query: q, expect: {answer_contains: [a]}}]"
    told = f"{{model: main.ml.rag, endpoint: rag-endpoint, serving: {serving}, tests: {test}}}"
    config.write_text(f"applications: {{rag: {told}}}\n")
    share = Share(model="main.ml.rag", version="3", weight=100)
    runs = Endpoint(serving=Serving({"rag-v3": share}), sizes={"rag-v3": Size("Large")})
    monkeypatch.setattr("controller.console.applying._seen", lambda _: runs)
    with door.store.writing() as connection:
        connection.execute(delete(RELEASES).where(RELEASES.c.version == "4"))
    door.store.forget()
    taken = door.type("apply", "rag", "--config", str(config), "--yes")
    assert (taken.exit_code, taken.stderr) == (0, "")
    assert "size: Large on CPU -> Large on CPU, scales to zero" in taken.stdout
    wish = door.store.load("rag").application.wish
    assert wish is not None
    assert (wish.size, wish.scale_to_zero) == (None, True)


@pytest.mark.parametrize(
    ("environ", "code", "sentence"),
    [
        ({"HEADGATE_TOKEN_FILE": ""}, 2, "name a file with it in HEADGATE_TOKEN_FILE"),
        ({"HEADGATE_URL": "ftp://x"}, 2, "write a daemon's address, like http://127.0.0.1:8350"),
        ({"HEADGATE_URL": "http://me:pass@host"}, 2, "HEADGATE_URL=...: write a daemon's address"),
        ({"HEADGATE_URL": "http://127.0.0.1:1"}, 5, "no daemon answers at http://127.0.0.1:1"),
        ({"HEADGATE_ALLOW_HTTP": "perhaps"}, 2, "HEADGATE_ALLOW_HTTP=perhaps: say yes or no"),
    ],
)
def test_a_daemon_that_cannot_be_asked_is_a_sentence_and_a_code(
    door: Door, environ: dict[str, str], code: int, sentence: str
) -> None:
    told = door.type("abort", "rag/4", **environ)
    assert (told.exit_code, sentence in told.stderr) == (code, True), told.stderr
    assert "me:pass" not in told.stderr


def test_a_token_is_shown_to_another_machine_over_tls_alone_unless_that_is_allowed(
    door: Door,
) -> None:
    """An address of this very machine that does not say so, as a daemon's elsewhere."""
    away = {"HEADGATE_URL": door.url.replace("127.0.0.1", "0.0.0.0")}  # noqa: S104
    for environ in (away, {**away, "HEADGATE_ALLOW_HTTP": "no"}):
        told = door.type("pause", "rag/4", **environ)
        assert told.exit_code == 2
        assert "everybody on the way there could read the token" in told.stderr
        assert "set HEADGATE_ALLOW_HTTP=yes" in told.stderr
    allowed = door.type("pause", "rag/4", **away, HEADGATE_ALLOW_HTTP="yes")
    assert allowed.exit_code == 5
    assert "refuses: " in allowed.stderr, "it was asked, and knows none but names of this machine"
    safe = door.type("status", "rag/4", HEADGATE_URL="https://127.0.0.1:1")
    assert (safe.exit_code, "no daemon answers" in safe.stderr) == (5, True)


def test_a_token_that_is_refused_is_told_without_being_told(door: Door, tmp_path: Path) -> None:
    wrong = tmp_path / "token"
    wrong.write_text("another-token-of-some-length")
    wrong.chmod(0o600)
    told = door.type("abort", "rag/4", HEADGATE_TOKEN_FILE=str(wrong))
    assert told.exit_code == 5
    assert "refuses the token: HEADGATE_TOKEN_FILE must hold the same one" in told.stderr
    assert "another-token" not in told.output
    both = door.type("abort", "rag/4", "--url", door.url, "--store", "sqlite:///x.db")
    assert (both.exit_code, "give --url or --store, not both" in both.stderr) == (2, True)


class Stranger(BaseHTTPRequestHandler):
    """What is no daemon: it hangs up, points elsewhere, or answers as others do."""

    heard: ClassVar[list[str]] = []

    def do_POST(self) -> None:
        """Answer by the path, and remember who was told a token."""
        self.heard.append(f"{self.path} {'Authorization' in self.headers}")
        if self.path.startswith("/silent"):
            return
        moved = self.path.startswith("/moved")
        self.send_response(302 if moved else 200)
        if moved:
            self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def test_what_is_no_daemon_is_told_so_and_gets_the_token_at_most_once(door: Door) -> None:
    Stranger.heard.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Stranger) as stranger:
        thread = threading.Thread(target=stranger.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{stranger.server_port}"
        try:
            for path, sentence in (
                ("silent", "its answer did not come; whether the order was taken is not known"),
                ("moved", "answers 302, and not as Headgate does: check --url"),
                ("other", "answers, but is no Headgate: check --url"),
            ):
                told = door.type("abort", "rag/4", "--url", f"{url}/{path}")
                assert (told.exit_code, sentence in told.stderr) == (5, True), told.stderr
        finally:
            stranger.shutdown()
            thread.join()
    asked = [f"/{path}/v1/orders True" for path in ("silent", "moved", "other")]
    assert Stranger.heard == asked, "nobody is asked twice, and no other address at all"


def test_the_journal_comes_by_the_page_and_whole(door: Door) -> None:
    before = door.store.last_seq()
    row = event_row(Event(name="daemon.started", because="begins"), None)
    with door.store.writing() as connection:
        append(connection, [row] * (PAGE + 3))
    place = f"{door.url}/v1/journal?after={before}"
    first = requests.get(place, headers=BEARER, timeout=20).json()
    assert (len(first["lines"]), first["more"]) == (PAGE, True)
    told = [json.loads(line) for line in door.type("history", "--json").stdout.splitlines()]
    assert [line["seq"] for line in told] == list(range(1, before + PAGE + 4))
    for after, code in (("-1", 400), ("9" * 18, 200), ("9" * 19, 400), ("9" * 5000, 400)):
        asked = f"{door.url}/v1/journal?after={after}"
        assert requests.get(asked, headers=BEARER, timeout=20).status_code == code


def test_the_document_of_the_interface_tells_every_route_and_every_key(door: Door) -> None:
    assert requests.get(f"{door.url}/openapi.json", timeout=20).status_code == 401
    told: dict[str, Any] = requests.get(
        f"{door.url}/openapi.json", headers=BEARER, timeout=20
    ).json()
    assert told["openapi"] == "3.1.0"
    assert set(told["paths"]) == {
        *("/healthz", "/readyz", "/v1/orders", "/v1/journal", "/openapi.json"),
    }
    for path, operations in told["paths"].items():
        for operation in operations.values():
            assert operation["summary"].endswith((".", "?", "time."))
            assert (operation["security"] == []) is (path in OPEN)
    order = told["paths"]["/v1/orders"]["post"]
    named = order["requestBody"]["content"]["application/json"]["schema"]["$ref"]
    schema = told["components"]["schemas"][named.rpartition("/")[2]]
    assert schema["properties"].keys() == OrderBody.model_fields.keys()
    assert schema["additionalProperties"] is False
    assert "done twice is done once" in order["description"]


def test_the_document_tells_of_pages_and_metrics_what_opens_them_and_what_they_answer(
    door: Door,
) -> None:
    told = document([*Site(door.store).routes, metrics(CollectorRegistry())], OPEN)
    release = told["paths"]["/app/{name}/{version}"]["get"]
    placed = [(one["name"], one["in"], one["required"]) for one in release["parameters"]]
    assert placed == [("name", "path", True), ("version", "path", True)]
    assert release["security"] == [{"token": []}, {"login": []}]
    assert told["components"]["securitySchemes"].keys() == {"token", "login"}
    assert release["responses"]["2XX"]["content"].keys() == {"text/html"}
    assert release["responses"]["default"]["content"].keys() == {"application/json", "text/html"}
    scraped = told["paths"]["/metrics"]["get"]
    kinds = scraped["responses"]["2XX"]["content"].keys()
    assert kinds == {"text/plain", "application/openmetrics-text"}
    assert scraped["security"] == [{"token": []}]


def test_a_route_that_says_nothing_of_itself_is_told_by_its_name() -> None:
    def bare(_: object) -> None: ...

    told = document([Route("/bare", bare)], ())
    assert told["paths"]["/bare"]["get"]["summary"] == "bare"

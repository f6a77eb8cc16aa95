"""The daemon's HTTP application over a real port: who is answered what."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest
import requests
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from controller.daemon.http import BODY_BYTES, Server, application
from controller.daemon.readiness import Readiness
from controller.daemon.watchdog import HANGS_S, Watchdog
from controller.record.store import Store
from controller.settings import HttpSettings, SettingsError

TOKEN = "0123456789abcdef-a-token"
BEARER = {"Authorization": f"Bearer {TOKEN}"}


@dataclass
class Checks:
    """What the daemon says of itself."""

    health: str | None = None
    ready: str | None = None
    hanging: threading.Event = field(default_factory=threading.Event)

    async def echo(self, request: Request) -> Response:
        return PlainTextResponse(str(len(await request.body())))

    def hang(self, _: Request) -> Response:
        self.hanging.wait(20)
        return JSONResponse({})

    def fail(self, _: Request) -> Response:
        raise RuntimeError("a secret of ours")


@contextmanager
def served(checks: Checks, token: str | None = TOKEN) -> Iterator[str]:
    routes = [
        Route("/echo", checks.echo, methods=["POST"]),
        Route("/hang", checks.hang),
        Route("/fail", checks.fail),
    ]
    server = Server(HttpSettings(port=0))
    app = application(lambda: checks.health, lambda: checks.ready, token, routes)
    with server.serving(app):
        yield f"http://127.0.0.1:{server.port}"


def get(url: str, **more: object) -> requests.Response:
    return requests.get(url, timeout=10, **more)  # type: ignore[arg-type]


def test_the_probes_are_open_and_say_what_is_wrong() -> None:
    checks = Checks()
    with served(checks) as url:
        for probe in ("/healthz", "/readyz"):
            assert get(url + probe).status_code == 200
        checks.health, checks.ready = "no beat ended", "store: full"
        for probe, why in (("/healthz", "no beat ended"), ("/readyz", "store: full")):
            answer = get(url + probe)
            assert answer.status_code == 503
            assert answer.json() == {"status": "failing", "because": why}


def test_everything_else_wants_the_token() -> None:
    with served(Checks()) as url:
        for headers in (
            {},
            {"Authorization": TOKEN},
            {"Authorization": f"Basic {TOKEN}"},
            {"Authorization": f"Bearer {TOKEN}x"},
            {"Authorization": "Bearer "},
            {"Authorization": b"Bearer \xff\xfe"},
        ):
            answer = get(f"{url}/echo", headers=headers)
            assert answer.status_code == 401, headers
            assert answer.headers["WWW-Authenticate"] == "Bearer"
            assert "token" in answer.json()["error"]
        told = requests.post(f"{url}/echo", data=b"four", headers=BEARER, timeout=10)
        assert (told.status_code, told.text) == (200, "4")


def test_below_api_all_is_answered_as_it_is_without_it() -> None:
    with served(Checks()) as url:
        for path in ("healthz", "readyz"):
            assert requests.get(f"{url}/api/{path}", timeout=10).json() == {"status": "ok"}
        assert requests.post(f"{url}/api/echo", data=b"123", timeout=10).status_code == 401
        told = requests.post(f"{url}/api/echo", data=b"123", headers=BEARER, timeout=10)
        assert told.text == "3"
        for path in ("api", "api/api/healthz", "apis/healthz"):
            assert requests.get(f"{url}/{path}", timeout=10).status_code == 401, path


def test_without_a_token_nothing_but_the_probes_is_answered() -> None:
    with served(Checks(), token=None) as url:
        answer = get(f"{url}/echo", headers={"Authorization": "Bearer None"})
        assert answer.status_code == 403
        assert "HEADGATE_TOKEN_FILE" in answer.json()["error"]
        assert get(f"{url}/healthz").status_code == 200


def test_refusals_are_json_and_no_answer_names_a_server(capfd: pytest.CaptureFixture[str]) -> None:
    with served(Checks()) as url:
        answers = {
            404: get(f"{url}/nothing", headers=BEARER),
            405: get(f"{url}/echo", headers=BEARER),
            500: get(f"{url}/fail", headers=BEARER),
            200: get(f"{url}/healthz"),
        }
        strange = get(f"{url}/healthz/", headers=BEARER)
        assert strange.status_code == 404, "no redirect that a Host header could steer"
    for status, answer in answers.items():
        assert answer.status_code == status
        assert answer.headers["Content-Type"] == "application/json"
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert not {"Server", "X-Powered-By"} & answer.headers.keys()
        assert "secret" not in answer.text
        assert answer.json()
    capfd.readouterr()


def test_a_body_without_end_is_not_read_to_the_end() -> None:
    with served(Checks()) as url:
        echo = f"{url}/echo"
        told = requests.post(echo, data=b"x" * BODY_BYTES, headers=BEARER, timeout=10)
        assert told.text == str(BODY_BYTES)
        over = requests.post(echo, data=b"x" * (BODY_BYTES + 1), headers=BEARER, timeout=10)
        assert over.status_code == 413
        chunks = (b"x" * 1000 for _ in range(100))
        chunked = requests.post(echo, data=chunks, headers=BEARER, timeout=10)
        assert chunked.status_code == 413


def spoken(url: str, *lines: str) -> bytes:
    """What comes back for a request that no ordinary client would send."""
    host, _, port = url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=10) as raw:
        raw.sendall("\r\n".join((*lines, "Connection: close", "", "")).encode())
        found = b""
        while part := raw.recv(4096):
            found += part
    return found


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1:8350/../x", "a" * 4000, "[::1]", "<script>", "%0d%0aX: y"]
)
def test_a_hostile_host_changes_nothing_and_comes_back_nowhere(host: str) -> None:
    with served(Checks()) as url:
        found = spoken(url, "GET /healthz HTTP/1.1", f"Host: {host}")
        assert found.startswith((b"HTTP/1.1 200 OK", b"HTTP/1.1 400"))
        assert host.encode() not in found


@pytest.mark.parametrize(
    "lines",
    [
        ("GET /healthz HTTP/1.1", "Host: x", "Content-Length: -1"),
        ("GET /healthz HTTP/1.1", "Host: x", "Content-Length: 1e9"),
        ("GET " + "/a" * 50_000 + " HTTP/1.1", "Host: x"),
        ("\x00\x01\x02",),
    ],
)
def test_nonsense_is_refused_and_the_next_request_is_answered(lines: tuple[str, ...]) -> None:
    with served(Checks()) as url:
        found = spoken(url, *lines)
        assert not found.startswith(b"HTTP/1.1 2")
        assert get(f"{url}/healthz").status_code == 200


def test_health_is_told_while_every_other_route_hangs() -> None:
    checks = Checks()
    with served(checks) as url:
        threads = [
            threading.Thread(target=get, args=(f"{url}/hang",), kwargs={"headers": BEARER})
            for _ in range(50)
        ]
        for thread in threads:
            thread.start()
        begun = time.monotonic()
        assert get(f"{url}/healthz").status_code == 200
        assert time.monotonic() - begun < 5
        checks.hanging.set()
        for thread in threads:
            thread.join()


def test_a_port_that_is_taken_is_a_sentence_with_a_remedy() -> None:
    taken = Server(HttpSettings(port=0))
    with pytest.raises(SettingsError, match=r"cannot be listened on .*name another port, or `off`"):
        Server(HttpSettings(port=taken.port))
    taken.close()


def watchdog(time: list[float], longest: Callable[[], float] = lambda: 0.0) -> Watchdog:
    return Watchdog(timedelta(seconds=30), longest, lambda: time[0])


def test_a_beat_that_stopped_is_told_after_three_paces_and_a_little() -> None:
    time = [0.0]
    dog = watchdog(time)
    for _ in range(10):
        time[0] += 30
        dog.beaten()
        assert dog.trouble() is None
    time[0] += 95
    assert dog.trouble() is None
    time[0] += 1
    told = dog.trouble()
    assert told == "no beat ended for 96 s: nothing is looked at; restart the daemon"
    dog.beaten()
    assert dog.trouble() is None


def test_a_pass_that_hangs_is_told() -> None:
    dog = watchdog([0.0], lambda: HANGS_S + 1)
    assert "under way for 901 s: it hangs" in str(dog.trouble())


def test_the_daemon_is_ready_once_store_and_workspace_were_seen(tmp_path: Path) -> None:
    time = [0.0]
    store = Store(f"sqlite:///{tmp_path / 'headgate.db'}")
    ready = Readiness(store, timedelta(seconds=30), lambda: time[0])
    assert ready.trouble() == "workspace: no look at it has succeeded yet"
    ready.seen()
    assert ready.trouble() is None
    time[0] += 100
    assert ready.trouble() == "workspace: not seen for 100 s; the log says why"
    ready.seen()
    store.close()
    (tmp_path / "headgate.db").write_bytes(b"not a database " * 1000)
    assert str(ready.trouble()).startswith("store: the store ")


def test_a_replica_that_others_leave_nothing_to_is_ready_to_take_over(tmp_path: Path) -> None:
    store, idle = Store(f"sqlite:///{tmp_path / 'headgate.db'}"), [True]
    ready = Readiness(store, timedelta(seconds=30), idle=lambda: idle[0])
    assert ready.trouble() is None
    idle[0] = False
    assert ready.trouble() == "workspace: no look at it has succeeded yet"
    store.close()


def test_the_settings_of_http_are_read_from_the_environment(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text(f"{TOKEN}\n")
    path.chmod(0o600)
    assert HttpSettings.read({}) == HttpSettings(host="127.0.0.1", port=8350, token=None)
    assert HttpSettings.read({"HEADGATE_HTTP": "off"}) is None
    told = {"HEADGATE_HTTP": "[::]:80", "HEADGATE_TOKEN_FILE": str(path)}
    found = HttpSettings.read(told)
    assert found == HttpSettings(host="::", port=80, token=TOKEN)
    assert TOKEN not in repr(found)


@pytest.mark.parametrize(
    ("address", "content", "mode", "sentence"),
    [
        ("8350", None, 0, "write a host and a port, like 127.0.0.1:8350, or `off`"),
        ("127.0.0.1:port", None, 0, "write a host and a port"),
        ("127.0.0.1:70000", None, 0, "write a host and a port"),
        ("127.0.0.1:²", None, 0, "write a host and a port"),
        ("0.0.0.0:8350", None, 0, "must show a token: name a file with one in HEADGATE_TOKEN_FILE"),
        ("127.0.0.1:0", "", 0o600, "put one line with at least 16 letters and digits into it"),
        ("127.0.0.1:0", "short", 0o600, "put one line with at least 16"),
        ("127.0.0.1:0", "two words of some length", 0o600, "put one line with at least 16"),
        ("127.0.0.1:0", "ünïcödë-ünïcödë-ünïcödë", 0o600, "put one line with at least 16"),
        ("127.0.0.1:0", TOKEN, 0o644, "others may read or change it: `chmod 600"),
        ("127.0.0.1:0", TOKEN, 0o620, "others may read or change it"),
    ],
)
def test_settings_that_are_wrong_or_unsafe_are_refused(
    tmp_path: Path, address: str, content: str | None, mode: int, sentence: str
) -> None:
    environ = {"HEADGATE_HTTP": address}
    if content is not None:
        path = tmp_path / "token"
        path.write_text(content)
        path.chmod(mode)
        environ["HEADGATE_TOKEN_FILE"] = str(path)
    with pytest.raises(SettingsError) as refused:
        HttpSettings.read(environ)
    assert sentence in str(refused.value)
    assert TOKEN not in str(refused.value)


def test_a_token_file_that_is_not_there_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read: No such file"):
        HttpSettings.read({"HEADGATE_TOKEN_FILE": str(tmp_path / "token")})


def test_answers_are_small_documents() -> None:
    with served(Checks()) as url:
        assert json.loads(get(f"{url}/healthz").content) == {"status": "ok"}

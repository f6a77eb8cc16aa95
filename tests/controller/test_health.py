"""The health check of a container asks the daemon that runs beside it."""

import http.server
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from controller.address import nearby
from controller.daemon.http import Server, application
from controller.health import main, trouble
from controller.settings import HttpSettings


@contextmanager
def daemon(health: Callable[[], str | None], ready: Callable[[], str | None]) -> Iterator[str]:
    server = Server(HttpSettings(port=0))
    with server.serving(application(health, ready, None)):
        yield f"127.0.0.1:{server.port}"


def well() -> None:
    return None


def test_a_daemon_that_is_well_and_not_ready_is_alive_only() -> None:
    with daemon(well, lambda: "store: it is read-only") as address:
        environ = {"HEADGATE_HTTP": address}
        assert trouble("/healthz", environ) is None
        assert trouble("/readyz", environ) == "store: it is read-only"


def test_it_ends_with_what_a_health_check_is_read_by(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with daemon(lambda: "no pass has ended for 90 s", well) as address:
        monkeypatch.setenv("HEADGATE_HTTP", address)
        assert main(["--ready"]) == 0
        assert capsys.readouterr().err == ""
        assert main([]) == 1
        assert capsys.readouterr().err == "health: no pass has ended for 90 s\n"
    assert main(["--raedy"]) == 2


def test_nobody_who_listens_is_told_as_such() -> None:
    with daemon(well, well) as address:
        pass
    told = trouble("/healthz", {"HEADGATE_HTTP": address})
    assert told == f"{address} does not answer (ConnectionRefusedError): the daemon's log says why"


def test_another_server_on_the_port_is_not_taken_for_the_daemon() -> None:
    with http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as other:
        thread = threading.Thread(target=other.handle_request)
        thread.start()
        told = trouble("/healthz", {"HEADGATE_HTTP": f"127.0.0.1:{other.server_port}"})
        thread.join()
    assert told is not None
    assert told.startswith("HTTP 501, which is not how a daemon answers")


@pytest.mark.parametrize(
    ("address", "told"), [("off", "the daemon answers nobody"), ("8350", "write a host and a port")]
)
def test_an_address_at_which_nobody_can_be_asked_is_refused(address: str, told: str) -> None:
    assert told in str(trouble("/healthz", {"HEADGATE_HTTP": address}))


@pytest.mark.parametrize(
    ("listens", "asked"),
    [("0.0.0.0", "127.0.0.1"), ("::", "::1"), ("10.0.0.7", "10.0.0.7")],  # noqa: S104 - a name
)
def test_a_daemon_that_listens_everywhere_is_asked_on_this_machine(
    listens: str, asked: str
) -> None:
    assert nearby(listens) == asked


def test_it_imports_nothing_but_the_standard_library() -> None:
    asked = (
        "import controller.health, sys; own = set(sys.stdlib_module_names) | {'controller'};"
        "print(sorted({name.partition('.')[0] for name in sys.modules} - own - {'__main__'}))"
    )
    found = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, '.'); {asked}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.strip() == "[]"

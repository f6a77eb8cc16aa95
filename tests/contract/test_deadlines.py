"""A call is over when its time is: whatever trickles, and wherever it does."""

import json
import math
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
from databricks.sdk import WorkspaceClient
from databricks.sdk.config import Config

from controller.steady import steady
from controller.workspace import deadlines, serving
from controller.workspace.client import connect
from controller.workspace.deadlines import at_most, before
from controller.workspace.errors import Unreachable, WorkspaceError
from controller.workspace.probes import Probes
from controller.workspace.serving import Endpoints
from policies.golden import GoldenQuery
from states.counted import Paths
from tests.contract.recorder import DETAIL, Answering, Handler, Recorder, quiet_for, recording
from tests.contract.test_once import CHANGES, update
from tests.controller.record.ways import authority

DEADLINE_S = 0.4
EVERY_S = 0.1
"""Between two bytes: each read is in time, and forty of them are not."""
LATE_S = 1.0
"""By then whoever minds the deadline has long given up, and whoever does not is still reading."""


def headers(handler: Handler) -> None:
    """An answer that never gets beyond its headers."""
    handler.trickle(b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 60, EVERY_S)


def body(handler: Handler) -> None:
    """An answer that is all there after six seconds."""
    text = b'{"name": "rag"' + b" " * 45 + b"}"
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(text))
    handler.trickle(text, EVERY_S)


def chunks(handler: Handler) -> None:
    """The same in chunks of a byte."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    handler.trickle(b"1\r\n \r\n" * 10 + b"2\r\n{}\r\n0\r\n\r\n", EVERY_S)


def taken(handler: Handler) -> None:
    handler.answer(200, json.dumps(DETAIL).encode())


TRICKLES: dict[str, Answering] = {"headers": headers, "body": body, "chunks": chunks}


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """Of this machine, and its key."""
    return authority(tmp_path, "127.0.0.1")


@contextmanager
def over_tls(certificate: tuple[Path, Path]) -> Iterator[Recorder]:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(*certificate)
    with recording(tls=tls) as found:
        yield found


def ends_in_time(call: Callable[[], object]) -> pytest.ExceptionInfo[WorkspaceError]:
    """The call gives up at its deadline, and says so."""
    began = time.monotonic()
    with pytest.raises(Unreachable, match="no answer in time") as raised:
        call()
    assert DEADLINE_S * 0.9 < time.monotonic() - began < LATE_S
    return raised


@pytest.mark.parametrize("trickle", TRICKLES)
def test_an_answer_that_trickles_is_given_up_at_the_deadline(
    recorder: Recorder, trickle: str
) -> None:
    client = connect(deadline_s=DEADLINE_S)
    recorder.reads = TRICKLES[trickle]
    ends_in_time(lambda: Endpoints(client).observe("rag"))
    assert recorder.left.wait(2), "the connection was closed"


def test_an_answer_that_falls_silent_halfway_has_only_what_was_left(recorder: Recorder) -> None:
    client = connect(deadline_s=2 * DEADLINE_S)

    def falls_silent(handler: Handler) -> None:
        time.sleep(1.5 * DEADLINE_S)
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
        handler.hang()

    recorder.reads, began = falls_silent, time.monotonic()
    with pytest.raises(Unreachable, match="no answer in time"):
        Endpoints(client).observe("rag")
    assert time.monotonic() - began < 3 * DEADLINE_S


@pytest.mark.parametrize("change", ["update", "gateway", "alias", "tag"])
@pytest.mark.parametrize("trickle", TRICKLES)
def test_what_came_of_a_change_whose_answer_trickles_is_unknown(
    recorder: Recorder, trickle: str, change: str
) -> None:
    client = connect(deadline_s=DEADLINE_S)
    recorder.changes = TRICKLES[trickle]
    raised = ends_in_time(lambda: CHANGES[change](client))
    assert raised.value.outcome == "open"
    quiet_for(0.05, recorder)
    assert len(recorder.of("PUT", "POST", "PATCH")) == 1


def test_a_connection_that_was_slow_once_has_all_of_its_time_for_the_next_call(
    recorder: Recorder,
) -> None:
    client = connect(deadline_s=DEADLINE_S)

    def slowly(handler: Handler) -> None:
        time.sleep(0.75 * DEADLINE_S)
        handler.answer(200, b'{"name": "rag"}')

    recorder.reads, before_it = slowly, recorder.connections
    for _ in range(3):
        Endpoints(client).detail("rag")
    assert recorder.connections == before_it + 1


@pytest.mark.parametrize("trickle", TRICKLES)
def test_over_tls_too(
    certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, trickle: str
) -> None:
    with over_tls(certificate) as recorder:
        monkeypatch.setenv("DATABRICKS_HOST", recorder.host)
        monkeypatch.setenv("DATABRICKS_TOKEN", "dapi-any")
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate[0]))
        client = connect(deadline_s=DEADLINE_S)
        assert Endpoints(client).detail("rag") is not None
        recorder.reads = TRICKLES[trickle]
        ends_in_time(lambda: Endpoints(client).detail("rag"))


@pytest.mark.parametrize("trickle", TRICKLES)
def test_whoever_makes_a_session_of_their_own_ends_in_time_too(
    recorder: Recorder, trickle: str
) -> None:
    """MLflow does, with an SDK's client whose timeout is a minute."""
    recorder.reads = TRICKLES[trickle]
    config = Config(http_timeout_seconds=DEADLINE_S, retry_timeout_seconds=1)
    with pytest.raises(TimeoutError):
        WorkspaceClient(config=config).api_client.do("GET", "/api/2.0/x")
    began = time.monotonic()
    with pytest.raises(requests.Timeout):
        requests.get(f"{recorder.host}/x", timeout=(DEADLINE_S / 2, DEADLINE_S / 2))
    assert time.monotonic() - began < LATE_S


def test_a_golden_query_whose_answer_trickles_has_timed_out(recorder: Recorder) -> None:
    probes = Probes(connect(), "rag", "app", timeout_s=DEADLINE_S)
    recorder.changes = body
    why = probes.ask("rag-v1", GoldenQuery(query="What?"), "headgate/app/x/1", Paths())
    assert why == "timed out after 0.4 s"


def is_at(monkeypatch: pytest.MonkeyPatch, name: str, *addresses: str) -> None:
    """A host of that name has these addresses."""
    found = socket.getaddrinfo

    def named(host: Any, *rest: Any) -> list[Any]:  # noqa: ANN401 - as socket has it
        return [one for at in (addresses if host == name else (host,)) for one in found(at, *rest)]

    monkeypatch.setattr(socket, "getaddrinfo", named)


def test_a_host_of_many_addresses_that_take_no_connection_costs_one_deadline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with socket.create_server(("", 0), backlog=0) as full:
        port = full.getsockname()[1]
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.settimeout(0)
            one.connect_ex(("127.0.0.1", port))
        is_at(monkeypatch, "many", *(f"127.0.0.{number}" for number in range(1, 6)))
        began = time.monotonic()
        with pytest.raises(requests.Timeout):
            requests.get(f"http://many:{port}/", timeout=DEADLINE_S)
        assert DEADLINE_S * 0.9 < time.monotonic() - began < LATE_S
        for one in waiting:
            one.close()


def test_the_next_address_is_asked_where_one_refuses(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = int(recorder.host.rpartition(":")[2])
    is_at(monkeypatch, "two", "127.0.0.9", "127.0.0.1")
    assert requests.get(f"http://two:{port}/x", timeout=5).ok


def test_a_body_that_is_taken_slowly_is_given_up_at_the_deadline(
    certificate: tuple[Path, Path],
) -> None:
    """Over TLS, where it is written record by record."""
    with over_tls(certificate) as recorder:
        recorder.takes = 0.1
        began = time.monotonic()
        with pytest.raises(requests.Timeout):
            requests.put(
                f"{recorder.host}/x",
                data=b"x" * 20_000_000,
                timeout=DEADLINE_S,
                verify=str(certificate[0]),
            )
        assert time.monotonic() - began < LATE_S


def test_nothing_is_sent_where_looking_up_the_address_took_all_of_the_time(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, port = socket.getaddrinfo, int(recorder.host.rpartition(":")[2])

    def slowly(host: Any, *rest: Any) -> list[Any]:  # noqa: ANN401 - as socket has it
        time.sleep(0.2 if host == "localhost" else 0)
        return list(found(host, *rest))

    monkeypatch.setattr(socket, "getaddrinfo", slowly)
    with pytest.raises(requests.Timeout):
        requests.put(f"http://localhost:{port}/x", timeout=0.1)
    quiet_for(0.05, recorder)
    assert recorder.asked == []


def test_nothing_is_sent_after_the_moment_before_which_all_has_to_be_over(
    recorder: Recorder,
) -> None:
    client = connect()
    with before(steady() - 1):
        for change in CHANGES.values():
            with pytest.raises(Unreachable):
                change(client)
        assert at_most(10) == 0
    assert not recorder.of("GET", "PUT", "POST", "PATCH")
    assert at_most(10) == 10
    recorder.changes = taken
    update(client)
    assert len(recorder.of("PUT")) == 1


def test_a_call_has_what_is_left_until_then_and_no_more(recorder: Recorder) -> None:
    client = connect()
    recorder.changes = body
    with before(steady() + DEADLINE_S):
        raised = ends_in_time(lambda: update(client))
    assert raised.value.outcome == "open"
    recorder.changes = taken
    with before(math.inf):
        update(client)
        assert requests.put(f"{recorder.host}/x", timeout=None).ok, "no end at all was set"  # noqa: S113


def test_a_process_that_is_stopped_between_reading_and_writing_writes_nothing_late(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, stopped_for, entities = connect(), [0.0], serving._entities
    monkeypatch.setattr(deadlines, "steady", lambda: steady() + stopped_for[0])

    def stops(*arguments: object) -> object:
        stopped_for[0] += 60
        return entities(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(serving, "_entities", stops)
    with before(steady() + 20), pytest.raises(Unreachable):
        update(client)
    assert recorder.of("GET"), "it was read"
    assert not recorder.of("PUT"), "and not written"


def test_a_name_that_has_no_address_is_an_error_of_the_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def unknown(*_: object) -> object:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(requests.ConnectionError) as raised, closing(requests.Session()) as session:
        session.get("http://nowhere.example/", timeout=1)
    assert not isinstance(raised.value, requests.Timeout)

"""Whatever comes over the wire: the daemon answers for itself, never fails, tells no stranger."""

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings

from tests.fuzz.interface import TOKEN, Sent, ask, errors, requests, serving, wrong


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with serving(tmp_path_factory.mktemp("anything")) as found:
        yield found


@given(sent=requests())
@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_no_request_makes_it_fail_or_tell_a_stranger_anything(port: int, sent: Sent) -> None:
    assert list(wrong(sent, ask(port, sent))) == [], sent


@pytest.mark.parametrize(
    "path", ["/metrics", "/", "/openapi.json", "/v1/journal", "/app/rag-chatbot"]
)
def test_what_is_told_with_the_token_is_what_a_stranger_would_be_caught_with(
    port: int, path: str
) -> None:
    """The judge sees: each of these is an answer that would be wrong without the token."""
    shown = ((b"Host", b"localhost"), (b"Authorization", b"Bearer " + TOKEN.encode()))
    sent = Sent(b"GET", path.encode(), shown, b"")
    answered = ask(port, sent)
    assert answered.status == 200
    assert list(wrong(sent, answered)) == []
    assert list(wrong(Sent(b"GET", path.encode(), shown[:1], b""), answered))


@pytest.mark.parametrize("body", [b"zz\r\n", b"9" * 70_000])
@pytest.mark.parametrize("path", ["/healthz", "/v1/orders", "/"])
def test_a_body_that_is_none_is_refused_and_leaves_no_error_in_the_log(
    port: int, path: str, body: bytes
) -> None:
    """The server refuses it while the application answers what came before."""
    headers = ((b"Host", b"localhost"), (b"Transfer-Encoding", b"chunked"))
    with errors() as told:
        answered = ask(port, Sent(b"POST", path.encode(), headers, body))
        assert (answered.status, answered.unread) == (400, True)
        assert ask(port, Sent(b"GET", b"/healthz", headers[:1], b"")).status == 200
    assert told == []

"""The doorbell over a real port: who may ring it, what for, and that nobody else has any effect."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import requests
from hypothesis import given, settings
from hypothesis import strategies as st
from mlflow.entities.webhook import Webhook, WebhookAction, WebhookEntity, WebhookEvent
from mlflow.webhooks import delivery as mlflow_delivery
from mlflow.webhooks.types import get_example_payload_for_event
from structlog.testing import capture_logs

from controller.console.ringing import ring
from controller.daemon.doorbell import SKEW_S, Doorbell
from controller.daemon.http import BODY_BYTES, Server, application
from controller.settings import HttpSettings, SettingsError

SECRET = "0123456789abcdef-a-secret"
MODELS = {
    "chat": "main.ml_models.rag_chatbot",
    "search": "main.ml_models.search",
    "other": "dev.ml_models.rag_chatbot",
}
ALL = sorted(MODELS)
RING_PY = Path(__file__).parents[3] / "deploy/databricks/ring.py"


@dataclass
class Rung:
    """A doorbell on a port, and what it woke."""

    url: str = ""
    port: int = 0
    woken: list[list[str]] = field(default_factory=list)
    away: frozenset[str] = frozenset()
    """Applications that another replica looks after."""

    def ring(self, names: Collection[str]) -> list[str]:
        self.woken.append(sorted(names))
        return sorted(set(names) - self.away)

    def post(self, body: bytes, headers: dict[str, str] | None = None) -> requests.Response:
        return requests.post(
            self.url, data=body, headers=signed(body) if headers is None else headers, timeout=10
        )


@contextmanager
def doorbell(secret: str | None = SECRET) -> Iterator[Rung]:
    rung, server = Rung(), Server(HttpSettings(port=0))
    bell = Doorbell(secret, MODELS, rung.ring)
    with server.serving(application(lambda: None, lambda: None, None, [bell.route])):
        rung.port = server.port
        rung.url = f"http://127.0.0.1:{server.port}/doorbell"
        yield rung


def signed(body: bytes, *, delivery: str | None = None) -> dict[str, str]:
    """What MLflow sends with a body; its own code signs."""
    delivery, sent = delivery or str(uuid4()), str(int(time.time()))
    own = mlflow_delivery._generate_hmac_signature(SECRET, delivery, sent, body.decode())
    return {
        "X-MLflow-Signature": own,
        "X-MLflow-Timestamp": sent,
        "X-MLflow-Delivery-Id": delivery,
    }


def ping(*models: str) -> bytes:
    return json.dumps({"updates": [{"full_name": one} for one in models]}).encode()


def refused(answer: requests.Response, status: int, words: str) -> None:
    assert answer.status_code == status, answer.text
    assert words in answer.json()["error"]
    assert SECRET not in answer.text


@pytest.fixture
def sender(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., requests.Response]]:
    """MLflow's own sender, permitted to send over plain HTTP to this machine."""
    monkeypatch.setenv("MLFLOW_WEBHOOK_ALLOWED_SCHEMES", "http")
    monkeypatch.setenv("MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS", "true")
    with mlflow_delivery._create_webhook_session() as session:

        def send(
            url: str, name: str, entity: str = "model_version", secret: str | None = SECRET
        ) -> requests.Response:
            event = WebhookEvent(WebhookEntity(entity), WebhookAction.CREATED)
            now = int(time.time() * 1000)
            webhook = Webhook("1", "headgate", url, [event], now, now, secret=secret)
            payload: Any = {**get_example_payload_for_event(event), "name": name}
            return mlflow_delivery._send_webhook_request(webhook, payload, event, session)

        yield send


@pytest.mark.parametrize("entity", ["registered_model", "model_version", "model_version_alias"])
def test_a_webhook_that_mlflow_itself_sends_wakes_the_applications_of_its_model(
    sender: Callable[..., requests.Response], entity: str
) -> None:
    with doorbell() as rung:
        answer = sender(rung.url, MODELS["chat"], entity)
        assert (answer.status_code, answer.json()) == (202, {"rung": ["chat"]})
        # A registry without catalogs knows only a model's own name.
        assert sender(rung.url, "rag_chatbot", entity).json() == {"rung": ["chat", "other"]}
        assert sender(rung.url, "nobody's", entity).json() == {"rung": []}
    assert rung.woken == [["chat"], ["chat", "other"], []]


def test_a_webhook_about_a_prompt_of_the_same_name_wakes_nobody(
    sender: Callable[..., requests.Response],
) -> None:
    with doorbell() as rung:
        assert sender(rung.url, "rag_chatbot", "prompt").json() == {"rung": []}


def test_a_webhook_of_mlflow_with_another_secret_or_none_has_no_effect(
    sender: Callable[..., requests.Response],
) -> None:
    with doorbell() as rung:
        other = sender(rung.url, MODELS["chat"], secret="another secret of that length")
        refused(other, 401, "give both sides the same secret")
        refused(sender(rung.url, MODELS["chat"], secret=None), 401, "webhooks that have a secret")
    assert rung.woken == []


def test_a_ping_wakes_whom_it_names_or_everybody() -> None:
    with doorbell() as rung:
        for body, woken in (
            (ping(MODELS["search"]), ["search"]),
            (ping(MODELS["search"], MODELS["other"]), ["other", "search"]),
            (ping("main.ml_models.unheard_of"), []),
            (json.dumps({"applications": ["chat", "gone"]}).encode(), ["chat"]),
            (b"{}", ALL),
        ):
            answer = rung.post(body)
            assert (answer.status_code, answer.json()) == (202, {"rung": woken}), body
    assert rung.woken == [["search"], ["other", "search"], [], ["chat"], ALL]


def test_the_answer_names_only_what_this_replica_looks_after() -> None:
    with doorbell() as rung:
        rung.away = frozenset({"search"})
        assert rung.post(b"{}").json() == {"rung": ["chat", "other"]}


def test_without_a_secret_it_says_how_to_set_one() -> None:
    with doorbell(None) as rung:
        refused(rung.post(b"{}"), 403, "name a file with one in HEADGATE_WEBHOOK_SECRET_FILE")
    assert rung.woken == []


def test_what_was_signed_cannot_be_changed_and_is_taken_once() -> None:
    body = ping(MODELS["chat"])
    headers = signed(body, delivery="one")
    with doorbell() as rung:
        wrong = {**headers, "X-MLflow-Delivery-Id": "two"}
        refused(rung.post(body, wrong), 401, "signature")
        late = {**headers, "X-MLflow-Timestamp": str(int(headers["X-MLflow-Timestamp"]) + 1)}
        refused(rung.post(body, late), 401, "signature")
        refused(rung.post(body + b" ", headers), 401, "signature")
        short = {**headers, "X-MLflow-Signature": headers["X-MLflow-Signature"][:-1]}
        refused(rung.post(body, short), 401, "signature")
        assert rung.woken == []
        assert rung.post(body, headers).status_code == 202
        refused(rung.post(body, headers), 409, "taken already")
    assert rung.woken == [["chat"]]


@pytest.mark.parametrize("header", ["Signature", "Timestamp", "Delivery-Id"])
def test_a_delivery_without_one_of_its_headers_has_no_effect(header: str) -> None:
    headers = signed(b"{}")
    del headers[f"X-MLflow-{header}"]
    with doorbell() as rung:
        refused(rung.post(b"{}", headers), 401, f"send one X-MLflow-{header}")
    assert rung.woken == []


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "not JSON"),
        (b'{"updates": [', "not JSON"),
        (b"[" * 60_000, "not JSON"),
        (b'{"updates": NaN}', "not JSON"),
        (b"[]", "neither a webhook of MLflow nor a ping"),
        (b'{"model": "main.a.b"}', "look at model"),
        (b'{"updates": [{"name": "main.a.b"}]}', "look at updates.0.full_name"),
        (b'{"updates": [{"full_name": 7}]}', "look at updates.0.full_name"),
        (b'{"entity": "model_version", "data": {}}', "look at action"),
        (b'{"entity": 1, "action": "created", "data": {}}', "look at entity"),
    ],
)
def test_a_body_that_cannot_be_read_is_refused_with_its_place(body: bytes, words: str) -> None:
    with doorbell() as rung:
        refused(rung.post(body), 400, words)
    assert rung.woken == []


def test_headers_that_could_be_read_in_two_ways_are_refused() -> None:
    with doorbell() as rung:
        for delivery in ("a.b", "x" * 129, "a b"):
            refused(rung.post(b"{}", signed(b"{}", delivery=delivery)), 400, "letters, digits")
    assert rung.woken == []


def test_a_body_above_64_kilobytes_is_refused_and_one_of_that_size_is_read() -> None:
    name = MODELS["chat"]
    fits = ping(name).ljust(BODY_BYTES)
    with doorbell() as rung:
        assert rung.post(fits).status_code == 202
        refused(rung.post(fits + b" "), 413, "at most 65536 bytes")
        chunks = (fits[at : at + 999] for at in range(0, 2 * BODY_BYTES, 999))
        many = requests.post(rung.url, data=chunks, headers=signed(fits), timeout=10)
        assert many.status_code == 202, "sent in pieces"
        over = (b" " * 1000 for _ in range(100))
        refused(
            requests.post(rung.url, data=over, headers=signed(b" "), timeout=10), 413, "at most"
        )
    assert rung.woken == [["chat"], ["chat"]]


def test_a_redelivery_of_what_was_refused_is_refused_again_and_counts_for_nothing() -> None:
    headers = signed(b"[]")
    with doorbell() as rung:
        for _ in range(3):
            refused(rung.post(b"[]", headers), 400, "neither")
        assert requests.get(rung.url, timeout=10).status_code == 405
    assert rung.woken == []


def test_whoever_knocks_without_end_writes_one_line_a_minute() -> None:
    with doorbell() as rung, capture_logs() as logs:
        for _ in range(5):
            rung.post(b"{}", {})
        rung.post(b"{}")
    told = [line for line in logs if line["event"].startswith("doorbell")]
    assert [line["event"] for line in told] == ["doorbell.refused", "doorbell.rung"]
    assert "X-MLflow-Delivery-Id" in told[0]["because"]


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)
LIKE = st.fixed_dictionaries(
    {},
    optional={
        "updates": st.lists(st.fixed_dictionaries({"full_name": JSON})) | JSON,
        "applications": st.lists(st.text(max_size=5)) | JSON,
        "entity": st.sampled_from(["model_version", "prompt"]) | JSON,
        "action": st.just("created") | JSON,
        "data": st.fixed_dictionaries({"name": JSON}) | JSON,
    },
)
BODIES = st.binary(max_size=60) | (LIKE | JSON).map(lambda one: json.dumps(one).encode())
HEADER = st.text(st.characters(min_codepoint=33, max_codepoint=255), max_size=40)


@dataclass(frozen=True)
class Delivery:
    """Something that comes to the door; `headers` may differ from what was signed."""

    body: bytes
    headers: dict[str, str]
    late_s: int
    forged: bool


@st.composite
def deliveries(draw: st.DrawFn) -> Delivery:
    body, late_s = draw(BODIES), draw(st.sampled_from([0, 0, 0, SKEW_S + 5, -SKEW_S - 5]))
    delivery, sent = str(uuid4()), str(int(time.time()) - late_s)
    # Signed as MLflow does, which sends text; of what is no text, another body's signature.
    text = body.decode("utf-8", "replace")
    own = mlflow_delivery._generate_hmac_signature(SECRET, delivery, sent, text)
    right = {
        "X-MLflow-Signature": own,
        "X-MLflow-Timestamp": sent,
        "X-MLflow-Delivery-Id": delivery,
    }
    replaced = draw(st.dictionaries(st.sampled_from(sorted(right)), HEADER, max_size=2))
    headers = {**right, **replaced}
    return Delivery(body, headers, late_s, headers != right or text.encode() != body)


@pytest.fixture(scope="module")
def fuzzed() -> Iterator[Rung]:
    with doorbell() as rung:
        yield rung


@settings(max_examples=150, deadline=None)
@given(sent=deliveries())
def test_nothing_that_is_invalid_has_an_effect_and_nothing_at_all_breaks_it(
    fuzzed: Rung, sent: Delivery
) -> None:
    before = len(fuzzed.woken)
    raw = {name: value.encode("latin-1") for name, value in sent.headers.items()}
    answer = fuzzed.post(sent.body, raw)  # type: ignore[arg-type]
    assert answer.status_code in (202, 400, 401), answer.text
    woken = fuzzed.woken[before:]
    assert len(woken) == (answer.status_code == 202)
    if sent.forged or sent.late_s:
        assert answer.status_code == 401
    elif answer.status_code == 202:
        content = json.loads(sent.body)
        assert isinstance(content, dict)
        assert "entity" in content or content.keys() <= {"updates", "applications"}
    else:
        assert answer.json()["error"]


def test_the_job_of_databricks_rings_for_the_models_that_were_updated() -> None:
    updates = [
        {"full_name": MODELS["search"], "version": 7},
        {"full_name": MODELS["search"], "version": 8, "alias_name": "champion"},
    ]

    def rings(told: str, secret: str = SECRET) -> "subprocess.CompletedProcess[bytes]":
        return subprocess.run(
            [sys.executable, str(RING_PY), rung.url, told],
            env={"PATH": os.environ["PATH"], "HEADGATE_WEBHOOK_SECRET": secret},
            timeout=60,
            check=False,
            capture_output=True,
        )

    with doorbell() as rung:
        for told, woken in (
            (json.dumps(updates), ["search"]),
            (json.dumps(updates)[:-9], ALL),
            ("{{job.trigger.model.updates}}", ALL),
            ('["strange"]', ALL),
        ):
            done = rings(told)
            assert (done.returncode, done.stderr) == (0, b""), done.stderr
            assert rung.woken.pop() == woken
        done = rings(
            "[]", f"{SECRET}\n"
        )  # as `openssl rand | databricks secrets put-secret` has it
        assert (done.returncode, rung.woken.pop()) == (0, ALL), done.stderr
        done = rings("[]", "another secret")
        assert b"401" in done.stderr
        assert done.returncode == 1, "the job fails, so that somebody sees it"
        assert rung.woken == []


@pytest.fixture
def secret_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "secret"
    path.write_text(f"{SECRET}\n")
    path.chmod(0o600)
    monkeypatch.setenv("HEADGATE_WEBHOOK_SECRET_FILE", str(path))
    return path


def test_the_secret_is_read_from_a_file_that_is_its_owners_only(secret_file: Path) -> None:
    found = HttpSettings.read()
    assert found is not None
    assert found.secret == SECRET
    assert SECRET not in repr(found)
    secret_file.chmod(0o640 | 0o020)
    with pytest.raises(SettingsError, match=r"HEADGATE_WEBHOOK_SECRET_FILE=.*chmod 600"):
        HttpSettings.read()


@pytest.mark.usefixtures("secret_file")
def test_an_order_on_the_daemons_machine_wakes_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with doorbell() as rung:
        monkeypatch.setenv("HEADGATE_HTTP", f"127.0.0.1:{rung.port}")
        ring("search")
        assert rung.woken == [["search"]]
        assert capsys.readouterr().err == ""
    ring("search")
    assert "looks by itself within seconds" in capsys.readouterr().err


@pytest.mark.usefixtures("secret_file")
@pytest.mark.parametrize(
    ("said", "told"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n", "answers in no HTTP: is HEADGATE_HTTP another's address?"),
        (b"HTTP/1.1 404 Not Found\r\n\r\n", "answers 404"),
        (b"", "answers nothing"),
    ],
)
def test_an_order_wakes_nobody_where_another_program_listens_and_says_so(
    said: bytes, told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        place = f"127.0.0.1:{other.getsockname()[1]}"
        monkeypatch.setenv("HEADGATE_HTTP", place)
        thread = threading.Thread(target=_say_once, args=(other, said))
        thread.start()
        ring("search")
        thread.join()
    note = capsys.readouterr().err
    assert note.endswith(f"looks by itself within seconds: {place} {told}\n")


def _say_once(server: socket.socket, said: bytes) -> None:
    """Whoever comes first is told this, whatever it asks."""
    client, _ = server.accept()
    with client:
        client.recv(65536)
        client.sendall(said)


def test_an_order_without_a_secret_wakes_nobody_and_says_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with doorbell() as rung:
        monkeypatch.setenv("HEADGATE_HTTP", f"127.0.0.1:{rung.port}")
        ring("search")
    assert rung.woken == []
    assert capsys.readouterr().err == ""

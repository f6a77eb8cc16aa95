"""What the page on security promises: no secret told, and no right used that it does not name."""

import signal
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import Any

import pytest
import requests
import yaml

from deploy.sandbox.workspace import Settings
from tests.contract.recorder import Recorder, recording
from tests.controller.record.ways import authority
from tests.end_to_end.stage import Course, Daemon, Users, Workspace, begin, eventually, headgate
from tests.rights import CALLS, PRINCIPAL

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(120)]


@dataclass
class Planted:
    """Secrets where each belongs, and nowhere else."""

    folder: Path
    token: str = "token-" + token_hex(16)
    webhook: str = "hook-" + token_hex(16)
    password: str = "pass/" + token_hex(8)
    variable: str = "plain-" + token_hex(8)
    address: str = "receiver-" + token_hex(8)

    def receiver(self, host: str) -> dict[str, str]:
        """Somebody who is told of everything, at an address that is a secret."""
        file = self.folder / "notify.yaml"
        url = f"json://{host.removeprefix('http://')}/{self.address}"
        file.write_text(yaml.safe_dump({"receivers": {"us": {"url": url, "severity": "info"}}}))
        file.chmod(0o600)
        return {"HEADGATE_NOTIFY_FILE": str(file)}

    @property
    def environment(self) -> dict[str, str]:
        """As the daemon and the console are given them."""
        told = {}
        for name, secret in (("TOKEN", self.token), ("WEBHOOK_SECRET", self.webhook)):
            file = self.folder / name
            file.write_text(secret)
            file.chmod(0o600)
            told[f"HEADGATE_{name}_FILE"] = str(file)
        return {**PRINCIPAL, **told, "PGPASSWORD": self.password}

    @property
    def all(self) -> tuple[str, ...]:
        """Each that must be found nowhere, as it is and as a URL has it."""
        own = (self.token, self.webhook, self.password, self.variable, self.address)
        return (*own, Settings.client_secret, self.password.replace("/", "%2F"))

    def assert_untold(self, what: str, content: str | bytes) -> None:
        """None of them is in there, nor an OAuth token of the sandbox's."""
        data = content.encode() if isinstance(content, str) else content
        for secret in (*self.all, "sandbox-oauth."):
            assert secret.encode() not in data, f"{what} has {secret}"


@dataclass
class Run:
    """A first and a second release by the service principal, and what was asked meanwhile."""

    planted: Planted
    course: Course
    head: Daemon
    port: int
    told: Recorder
    """Who is told of what happens."""
    asked: list[dict[str, Any]]
    used: dict[str, int]


def privileges(workspace: Workspace, calls: list[str] | None) -> None:
    workspace.call("PUT", "/_sandbox/privileges", json={"calls": calls})


@pytest.fixture(scope="module")
def run(workspace: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    folder = tmp_path_factory.mktemp("secured")
    planted = Planted(folder)
    course = Course(
        workspace,
        "secured",
        {
            "serving": {"environment": {"API_KEY": planted.variable}},
            "staging": {},
            "permissions": [{"group": "users", "level": "CAN_QUERY"}],
        },
    )
    course.register()
    privileges(workspace, [one for one, by in CALLS.items() if by == "release"])
    since = workspace.call("GET", "/_sandbox/requests", params={"since": 0})["last"]
    with recording() as free:  # a port that was free a moment ago
        port = int(free.host.rpartition(":")[2])
    told = {**workspace.environment, **planted.environment, "HEADGATE_HTTP": f"127.0.0.1:{port}"}
    try:
        with (
            recording() as receiver,
            Daemon(folder / "daemon", [course], **told, **planted.receiver(receiver.host)) as head,
        ):
            head.until("release.confirmed", version="1")
            course.register()
            with Users(course):
                head.until("release.confirmed", version="2")
            asked = workspace.call("GET", "/_sandbox/requests", params={"since": since})["requests"]
            used = workspace.call("GET", "/_sandbox/privileges")["used"]
            yield Run(planted, course, head, port, receiver, asked, used)
    finally:
        privileges(workspace, None)


def test_a_release_needs_no_more_than_the_page_says(run: Run) -> None:
    assert CALLS, "the page has its table"
    assert run.course.split["2"] == 100
    assert run.course.alias == "2"
    assert [one for one in run.asked if one["status"] == 403] == []
    assert [call for call, times in run.used.items() if not times] == [], "asked for in vain"


def test_what_the_page_does_not_name_is_refused(run: Run) -> None:
    """The sandbox's list has teeth: the same principal meets 403 elsewhere."""
    place = f"/api/2.0/serving-endpoints/{run.course.endpoint}"
    host = run.course.workspace.host
    token = requests.post(
        f"{host}/oidc/v1/token",
        data={"grant_type": "client_credentials"},
        auth=(Settings.client_id, Settings.client_secret),
        timeout=5,
    ).json()["access_token"]
    privileges(run.course.workspace, ["GET /api/2.0/serving-endpoints/{endpoint}"])
    answers = [
        requests.request(
            verb, f"{host}{path}", headers={"Authorization": f"Bearer {token}"}, timeout=5
        ).status_code
        for verb, path in (("GET", place), ("PATCH", f"{place}/tags"), ("DELETE", place))
    ]
    assert answers == [200, 403, 403]


def test_the_doctor_needs_no_more_than_the_page_says(run: Run) -> None:
    workspace, head = run.course.workspace, run.head
    privileges(workspace, [one for one, by in CALLS.items() if by in {"release", "doctor"}])
    said = headgate("doctor", "--config", head.config, **head.environment)
    used = workspace.call("GET", "/_sandbox/privileges")["used"]
    assert "may not" not in said.out + said.err
    assert "permission denied" not in said.out
    assert [one for one, by in CALLS.items() if by == "doctor" and not used[one]] == []


def everything(run: Run) -> Iterator[tuple[str, str | bytes]]:
    """All that the daemon and the console have said and kept."""
    head = run.head
    yield "log", head.log.read_bytes()
    assert head.errors.read_bytes() == b""
    for file in sorted(head.store.parent.glob("headgate.db*")):
        yield file.name, file.read_bytes()
    page, copy = head.store.parent / "page.html", head.store.parent / "copy.json"
    commands: tuple[tuple[str, ...], ...] = (
        ("status", "--all", "--json"),
        ("history", "--json"),
        ("history",),
        ("explain", "secured/2", "--json"),
        ("rebuild-log",),
        ("report", "secured/2", "--html", str(page)),
        ("validate", "--config", str(head.config)),
        ("doctor", "--config", str(head.config), "--json"),
        ("backup", str(copy)),
        ("pause", "secured", "--reason", f"Bearer {run.planted.token}"),
        ("history", "--json"),
        ("status", "--json", "--url", f"http://127.0.0.1:{run.port}"),
        ("status", "--json", "--url", "http://127.0.0.1:1"),
    )
    for command in commands:
        said = headgate(*command, **head.environment)
        yield " ".join(command), said.out + said.err
    yield "page", page.read_bytes()
    yield "backup", copy.read_bytes()
    eventually(lambda: run.told.of("POST"), "somebody is told")
    for one in run.told.of("POST"):
        assert one.target == f"/{run.planted.address}"
        yield "notification", one.body
    token = run.planted.token
    open_, own = ("healthz", "readyz"), ("metrics", "openapi.json", "v1/journal", "v1/nothing")
    for path, header in (*((one, "") for one in (*open_, *own)), *((one, token) for one in own)):
        answer = requests.get(
            f"http://127.0.0.1:{run.port}/{path}",
            headers={"Authorization": f"Bearer {header}"} if header else {},
            timeout=5,
        )
        yield path, f"{answer.headers}{answer.text}"


def failures(run: Run) -> Iterator[tuple[str, str]]:
    """What is said when things go wrong, each in its own way."""
    planted, head = run.planted, run.head
    nowhere = f"postgresql://user:{planted.password.replace('/', '%2F')}@127.0.0.1:1/none"
    for name, changes, command in (
        ("no server", {"HEADGATE_STORE": nowhere}, ("status",)),
        ("no URL", {"HEADGATE_STORE": f"mysql://user:{planted.password}@h/d"}, ("status",)),
        ("nonsense", {"HEADGATE_STORE": f"://{planted.password}@[::"}, ("status",)),
        ("wrong secret", {"DATABRICKS_CLIENT_ID": "another"}, ("doctor", "--config")),
        ("no workspace", {"DATABRICKS_HOST": "http://127.0.0.1:1"}, ("doctor", "--config")),
        ("store taken", {"HEADGATE_HTTP": "off"}, ("run", "--config")),
    ):
        words = (*command, str(head.config)) if command[-1] == "--config" else command
        said = headgate(*words, **{**head.environment, **changes})
        assert said.code not in (0, 70), (name, said.err)
        yield name, said.out + said.err


def test_no_planted_secret_is_found_in_anything_that_is_said_or_kept(run: Run) -> None:
    seen = 0
    for what, content in (*everything(run), *failures(run)):
        assert content, f"{what} says something"
        run.planted.assert_untold(what, content)
        seen += 1
    assert seen > 20
    with pytest.raises(AssertionError, match="has token-"):
        run.planted.assert_untold("a test that can fail", f"x{run.planted.token}y")


def test_the_daemons_arguments_hold_no_secret(run: Run) -> None:
    for what in ("cmdline", "comm"):
        content = Path(f"/proc/{run.head.process.pid}/{what}").read_bytes()
        run.planted.assert_untold(what, content)


def test_an_argument_is_no_place_for_a_password(tmp_path: Path) -> None:
    url = "postgresql://user:secret-word-1@127.0.0.1:1/none"
    for command in (("status", "--store", url), ("restore", str(tmp_path), "--store", url)):
        said = headgate(*command)
        assert said.code == 2
        assert "set HEADGATE_STORE" in said.err
        assert "secret-word-1" not in said.err + said.out


def test_a_persons_token_does_not_run_the_daemon(
    course: Callable[..., Course], daemon: Callable[..., Daemon], tmp_path: Path
) -> None:
    head = daemon(course())
    # An address of this very machine that does not say so, as a real workspace's.
    certificate, key = authority(tmp_path, "0.0.0.0")  # noqa: S104
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    with recording(tls=tls) as elsewhere:
        there = {
            "DATABRICKS_HOST": elsewhere.host.replace("127.0.0.1", "0.0.0.0"),  # noqa: S104
            "REQUESTS_CA_BUNDLE": str(certificate),
        }
        told = {**head.environment, **there}
        said = headgate("run", "--config", head.config, **told)
        assert said.code == 2
        assert "service principal" in said.err
        assert "HEADGATE_ALLOW_PAT=yes" in said.err
        assert elsewhere.of("GET", "PUT", "POST") == [], "the token was not sent"
        allowed = begin(
            "run", "--config", head.config, environment={**told, "HEADGATE_ALLOW_PAT": "yes"}
        )
        eventually(lambda: elsewhere.of("GET"), "allowed, it goes to work")
        allowed.process.send_signal(signal.SIGTERM)
        assert allowed.finish().code == 0

"""The file that names receivers: what it says, what is refused, and that no address is shown."""

from pathlib import Path

import pytest
from structlog.testing import capture_logs
from typer.testing import CliRunner, Result

from controller.console.cli import app
from controller.notify import VARIABLE, read
from controller.settings import SettingsError
from tests.controller.daemon.test_courier import SECRET, listening

KEY = "T0K3N-of-a-chat"


def written(folder: Path, text: str, mode: int = 0o600) -> dict[str, str]:
    file = folder / "receivers.yaml"
    file.write_text(text)
    file.chmod(mode)
    return {VARIABLE: str(file)}


def test_receivers_are_read_with_what_they_want(tmp_path: Path) -> None:
    found = read(
        written(
            tmp_path,
            f"""
receivers:
  oncall:
    url: slack://{KEY}/a/b
    severity: error
    applications: [rag-chatbot]
  everything: {{url: "json://127.0.0.1:1/{KEY}", severity: info}}
""",
        )
    )
    assert found is not None
    oncall, everything = found.receivers.values()
    assert oncall.wants("error", "rag-chatbot")
    assert not oncall.wants("warning", "rag-chatbot")
    assert not oncall.wants("error", "other")
    assert not oncall.wants("error", None)
    assert everything.wants("info", None)
    assert KEY not in repr(found)
    with pytest.raises(SettingsError, match="rag-chatbot is not in the configuration; known: chat"):
        found.check({"chat": 1})
    assert read({}) is None


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (f"- slack://{KEY}", "start with `receivers:`"),
        ("receivers: {}", "receivers.yaml:1: receivers: Dictionary should have at least 1 item"),
        (
            f"receivers:\n  oncall:\n    url: slack://{KEY}\n    severty: error",
            "receivers.yaml:4: receivers.oncall.severty: unknown key; did you mean severity?",
        ),
        (
            f"receivers:\n  oncall:\n    url: slack://{KEY}\n    severity: {KEY}",
            "receivers.yaml:4: receivers.oncall.severity: Input should be 'info', 'warning' or",
        ),
        ("receivers: {oncall: {severity: info}}", "receivers.oncall.url: is missing; state it"),
        (
            f"receivers:\n  oncall:\n    url: [slack://{KEY}]",
            "receivers.oncall.url: Input should be a valid string",
        ),
        (f"receivers: {{oncall: slack://{KEY}}}", "receivers.oncall: Input should be"),
        (
            f"receivers: {{'slack://{KEY}': {{url: 'slack://{KEY}'}}}}",
            "name each receiver with 1 to 63 letters",
        ),
        (f"receivers: {{o: {{'slack://{KEY}': 1}}}}", "unknown key"),
        (
            f"receivers: {{o: {{'slack://{KEY}': 1, 'slack://{KEY}': 2}}}}",
            "(a key that is not a name) is given twice",
        ),
        (f"receivers: {{o: {{url: 'slack://{KEY}}}", "found unexpected end"),
    ],
)
def test_what_is_wrong_is_told_with_its_place_and_without_any_address(
    tmp_path: Path, text: str, sentence: str
) -> None:
    with pytest.raises(SettingsError) as refused:
        read(written(tmp_path, text))
    assert sentence in str(refused.value)
    assert KEY not in str(refused.value)
    assert refused.value.__cause__ is None or KEY not in str(refused.value.__cause__)


def test_a_file_that_others_may_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="others may read or change it: `chmod 600"):
        read(written(tmp_path, "receivers: {}", 0o644))


def typed(monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], *words: str) -> Result:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    with capture_logs() as lines:
        found = CliRunner().invoke(app, ["notify", *words])
    told = f"{found.stdout} {found.stderr} {lines} {found.exception!r}"
    assert SECRET not in told
    assert KEY not in told
    return found


def test_a_test_message_tells_who_can_be_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with listening() as hears, listening() as fails:
        fails.status = 500
        text = f"receivers:\n  good: {{url: '{hears.url}'}}\n  bad: {{url: '{fails.url}'}}"
        environ = written(tmp_path, text)
        told = typed(monkeypatch, environ)
        assert (told.exit_code, hears.asked) == (0, 0), "nothing is sent unless it is asked for"
        assert told.stdout.splitlines()[0] == "good: warning and worse, of all"
        told = typed(monkeypatch, environ, "--test")
        assert told.exit_code == 1
        assert told.stdout.splitlines() == [
            "good: warning and worse, of all: took the test message",
            "bad: warning and worse, of all: did not take the test message",
        ]
        assert hears.titles == ["Headgate: a test"]
        assert typed(monkeypatch, environ, "good", "--test").exit_code == 0
        assert typed(monkeypatch, environ, "god").exit_code == 2


@pytest.mark.parametrize("url", [f"nonsense://{KEY}", f"slack://{KEY}", KEY, f"json://:{KEY}@"])
def test_an_address_that_apprise_does_not_know_is_refused_and_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, capfd: pytest.CaptureFixture[str]
) -> None:
    environ = written(tmp_path, f"receivers: {{oncall: {{url: '{url}'}}}}")
    told = typed(monkeypatch, environ, "--test")
    assert told.exit_code == 2
    assert "receivers.oncall.url: apprise knows no such address" in told.stderr
    assert KEY not in "".join(capfd.readouterr())


@pytest.mark.parametrize(
    "url",
    [
        f"json://good/{KEY},json://bad/{KEY}",
        "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#a/#b",
    ],
)
def test_an_address_of_several_targets_is_refused_as_one_that_fails_would_repeat_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    environ = written(tmp_path, f"receivers: {{oncall: {{url: '{url}'}}}}")
    told = typed(monkeypatch, environ, "--test")
    assert told.exit_code == 2
    assert "receivers.oncall.url: it has several targets" in told.stderr
    assert "name a receiver for each" in told.stderr


def test_without_receivers_it_says_how_to_name_some(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    told = CliRunner().invoke(app, ["notify"])
    assert told.exit_code == 2
    assert "name a file with receivers in HEADGATE_NOTIFY_FILE" in told.stderr

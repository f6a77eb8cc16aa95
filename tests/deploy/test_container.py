"""What the Dockerfile and compose.yaml promise, read from the files; image-check runs them."""

import json
import re
import tomllib
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlalchemy.engine import make_url

from controller.record.dialling import FromFile, dialling
from controller.settings import HttpSettings
from controller.variables import VARIABLES

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "deploy/Dockerfile").read_text(encoding="utf-8")
JOINED = re.sub(r"\\\n\s*", "", re.sub(r"^#.*\n", "", TEXT, flags=re.MULTILINE))
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
VARIABLE = re.compile(r"\b(?:HEADGATE|DATABRICKS)_[A-Z_]+[A-Z]\b")
OF_AUTHENTICATION = {"DATABRICKS_CLIENT_ID", "DATABRICKS_CLIENT_SECRET", "DATABRICKS_TOKEN"}
OF_COMPOSE = {"HEADGATE_USER"}
LOCKS = ("requirements.lock", "requirements-dev.lock")


def stages() -> dict[str, list[tuple[str, str]]]:
    """The instructions of each stage, by its name."""
    found: dict[str, list[tuple[str, str]]] = {"": []}
    for line in filter(str.strip, JOINED.splitlines()):
        verb, _, rest = line.strip().partition(" ")
        if verb == "FROM":
            found[rest.partition(" AS ")[2]] = []
        found[list(found)[-1]].append((verb, rest.strip()))
    return found


def lineage(stage: str) -> dict[str, str]:
    """The last word on each instruction, in a stage and those that it comes from."""
    _, source = stages()[stage][0]
    above = lineage(source.partition(" AS ")[0]) if source.partition(" AS ")[0] in stages() else {}
    return above | dict(stages()[stage])


@pytest.mark.parametrize("image", ["daemon", "sandbox"])
def test_an_image_runs_as_a_number_that_is_not_root(image: str) -> None:
    user, _, group = lineage(image)["USER"].partition(":")
    assert int(user) >= 1000
    assert int(group) >= 1000


@pytest.mark.parametrize("image", ["daemon", "sandbox"])
def test_an_image_starts_without_a_shell(image: str) -> None:
    told = lineage(image)
    assert json.loads(told["ENTRYPOINT"])[:2] == ["/opt/headgate/bin/python", "-m"]
    assert all(isinstance(one, str) for one in json.loads(told["CMD"]))
    assert json.loads(told["VOLUME"]) == ["/var/lib/headgate"]


def test_the_health_check_needs_no_shell() -> None:
    _, _, command = lineage("daemon")["HEALTHCHECK"].partition("CMD ")
    assert json.loads(command) == ["/opt/headgate/bin/python", "-m", "controller.health"]


def test_the_daemon_is_what_is_built_unless_told_otherwise() -> None:
    assert list(stages())[-1] == "daemon"


def test_nothing_comes_from_elsewhere_than_the_tree_the_base_and_the_locks() -> None:
    every = [one for instructions in stages().values() for one in instructions]
    bases = {rest.partition(" AS ")[0] for verb, rest in every if verb == "FROM"}
    assert bases - set(stages()) == {"${BASE}"}
    assert not [rest for verb, rest in every if verb == "ADD" or "http" in rest]
    installs = [rest for verb, rest in every if verb == "RUN" and " install --no-cache" in rest]
    assert [rest.rpartition(" ")[2] for rest in installs] == list(LOCKS)
    for install in installs:
        assert {"--require-hashes", "--no-deps"} <= set(install.split())
        assert "--only-binary :all:" in install


@pytest.mark.parametrize("lock", LOCKS)
def test_every_line_of_a_lock_has_a_hash(lock: str) -> None:
    text = (ROOT / lock).read_text(encoding="utf-8")
    pinned = re.findall(r"^[a-z0-9.-]+==.*$(?=\n    --hash=sha256:)", text, re.MULTILINE)
    assert len(pinned) == len(re.findall(r"^\S", text, re.MULTILINE))


def test_the_daemon_is_packed_without_the_training_stack() -> None:
    names = set(re.findall(r"^([a-z0-9.-]+)==", (ROOT / LOCKS[0]).read_text(), re.MULTILINE))
    assert "mlflow-skinny" in names
    assert not names & {"mlflow", "pandas", "numpy", "scikit-learn", "duckdb", "pytest"}


def test_the_label_has_the_version_of_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert lineage("daemon")["ARG"] == "REVISION=unknown"
    assert ("ARG", f"VERSION={project['version']}") in stages()["daemon"]


def test_the_context_holds_what_is_copied_and_nothing_else() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    first, *rest = [line for line in lines if line and not line.startswith("#")]
    assert first == "*"
    let_in = {line.removeprefix("!") for line in rest if line.startswith("!")}
    copied = {
        rest.split()[0].rstrip("/")
        for instructions in stages().values()
        for verb, rest in instructions
        if verb == "COPY" and not rest.startswith("--from")
    }
    assert copied == let_in
    assert all((ROOT / one).exists() for one in copied)


def test_only_variables_that_mean_something_are_set() -> None:
    told = TEXT + (ROOT / "deploy/compose.yaml").read_text(encoding="utf-8")
    assert set(VARIABLE.findall(told)) - VARIABLES.keys() - OF_AUTHENTICATION == OF_COMPOSE


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_of_the_try_out_may_do_no_more_than_it_must(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "cap_add", "devices", "pid", "ipc"} & service.keys()
    assert service.get("network_mode", "service:sandbox") == "service:sandbox"


@pytest.mark.parametrize("name", ["sandbox", "postgres"])
def test_who_is_waited_for_says_when_it_is_ready_and_needs_no_shell(name: str) -> None:
    assert SERVICES["daemon"]["depends_on"][name] == {"condition": "service_healthy"}
    assert SERVICES[name]["healthcheck"]["test"][0] == "CMD"


def test_one_port_is_published_and_on_loopback_alone() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert ports == ["127.0.0.1:8350:8350"]


def test_the_secrets_of_the_try_out_are_files_outside_history() -> None:
    assert all(
        fnmatch(one["file"], "./secrets/*") and one.keys() == {"file"}
        for one in COMPOSE["secrets"].values()
    )
    assert "deploy/secrets/" in (ROOT / ".gitignore").read_text().splitlines()


def test_the_databases_password_is_a_file_for_both_who_need_it_and_stands_nowhere_else() -> None:
    """Neither a variable of a process nor the address of the record has it."""
    store = make_url(SERVICES["daemon"]["environment"]["HEADGATE_STORE"])
    file = "/run/secrets/postgres-password"
    assert dialling(store).password == FromFile(Path(file))
    assert (store.host, store.password) == ("127.0.0.1", None)
    database = SERVICES["postgres"]["environment"]
    assert database["POSTGRES_PASSWORD_FILE"] == file
    assert (database["POSTGRES_USER"], database["POSTGRES_DB"]) == (store.username, store.database)
    for name in ("daemon", "postgres"):
        assert "postgres-password" in SERVICES[name]["secrets"]
        assert not [one for one in SERVICES[name]["environment"] if one.endswith("PASSWORD")]
    used = {secret for service in SERVICES.values() for secret in service.get("secrets", [])}
    assert used == COMPOSE["secrets"].keys()
    made = re.findall(r"> secrets/(\S+)", (ROOT / "deploy/README.md").read_text(encoding="utf-8"))
    assert {f"./secrets/{one}" for one in made} == {
        one["file"] for one in COMPOSE["secrets"].values()
    }


def test_beyond_its_container_the_daemon_of_the_try_out_wants_a_token(tmp_path: Path) -> None:
    environ = SERVICES["daemon"]["environment"]
    token = tmp_path / "token"
    token.touch(mode=0o600)
    token.write_text("0123456789abcdef-a-token")
    assert environ["HEADGATE_TOKEN_FILE"] == "/run/secrets/token"
    settings = HttpSettings.read({**environ, "HEADGATE_TOKEN_FILE": str(token)})
    assert settings is not None
    assert settings.host == environ["HEADGATE_HTTP"].removesuffix(":8350")
    assert settings.token == "0123456789abcdef-a-token"

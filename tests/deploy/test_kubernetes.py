"""Kubernetes: what a security team asks of the manifests, and what the daemon needs of them.

`make deploy-check` runs these on what kustomize renders, and holds that to the published schemas.
"""

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from databricks.sdk.config import Config

from controller.daemon.beat import DRAIN_S
from controller.daemon.http import END_S, OPEN
from controller.record.opening import place_of
from controller.settings import HttpSettings, ProcessSettings, load
from controller.variables import VARIABLES, misspelt
from controller.workspace.deadlines import CALL_S
from tests.deploy.manifests import FORMS, KUBERNETES, RENDERED, ROOT, Form, form, kustomization

UNIFIED = {
    name for one in Config.attributes() for name in (one.env, *(one.env_aliases or ())) if name
}
"""The variables of Databricks' unified authentication."""
SECRET = "a-secret-of-sufficient-length"
MEASURED_MB = 173
"""The daemon's memory after a release (`make bench-daemon`)."""


@pytest.fixture(params=[*FORMS, "example"] if RENDERED else FORMS)
def made(request: pytest.FixtureRequest) -> Form:
    return form(request.param)


def test_pods_are_what_restricted_pod_security_admits(made: Form) -> None:
    labels = made.one("Namespace")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    spec, container = made.pod["spec"], made.container
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] > 0
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert not spec.keys() & {"hostNetwork", "hostPID", "hostIPC", "initContainers"}
    for volume in spec["volumes"]:
        assert volume.keys() <= {"name", "configMap", "secret", "emptyDir", "projected"}, volume


def test_pods_get_no_token_of_the_cluster_and_no_variables_of_its_services(made: Form) -> None:
    assert made.pod["spec"]["automountServiceAccountToken"] is False
    assert made.one("ServiceAccount")["automountServiceAccountToken"] is False
    assert made.pod["spec"]["enableServiceLinks"] is False


def test_every_variable_is_one_that_the_daemon_knows(made: Form, tmp_path: Path) -> None:
    environ = environment(made, tmp_path)
    ours = {name for name in environ if name.startswith("HEADGATE_")}
    assert ours <= VARIABLES.keys()
    assert environ.keys() - ours <= VARIABLES.keys() | UNIFIED
    assert list(misspelt(environ)) == []


def test_the_daemon_takes_its_settings_and_listens_where_everybody_asks(
    made: Form, tmp_path: Path
) -> None:
    environ = environment(made, tmp_path)
    http = HttpSettings.read(environ)
    assert http is not None
    assert (http.token, http.secret) == (SECRET, SECRET)
    assert http.host == "0.0.0.0"  # noqa: S104 - behind a policy, and with a token
    (port,) = made.container["ports"]
    assert port["containerPort"] == http.port
    (offered,) = made.one("Service")["spec"]["ports"]
    assert (offered["targetPort"], offered["port"]) == (port["name"], http.port)
    (entry,) = made.one("NetworkPolicy")["spec"]["ingress"]
    assert [one["port"] for one in entry["ports"]] == [port["name"]]
    process = ProcessSettings.read(environ)
    assert process.log == "json"
    assert process.warehouse
    assert place_of(process.store).shared is (made.name != "single")


def test_probes_ask_what_is_answered_without_a_token(made: Form) -> None:
    asked = {
        name: made.container[f"{name}Probe"]["httpGet"]
        for name in ("startup", "liveness", "readiness")
    }
    for probe in asked.values():
        assert probe["path"] in OPEN
        assert probe["port"] == made.container["ports"][0]["name"]
    # A workspace or a store that is away makes no pod be restarted.
    assert asked["liveness"]["path"] == asked["startup"]["path"] == "/healthz"
    assert asked["readiness"]["path"] == "/readyz"


def test_the_daemon_is_given_the_time_that_its_end_takes(made: Form) -> None:
    assert made.pod["spec"]["terminationGracePeriodSeconds"] >= DRAIN_S + CALL_S + END_S


def test_the_limit_of_memory_is_above_what_was_measured_and_catches_a_leak(made: Form) -> None:
    resources = made.container["resources"]
    asked, most = (
        int(resources[what]["memory"].removesuffix("Mi")) for what in ("requests", "limits")
    )
    assert MEASURED_MB < asked < most <= 3 * MEASURED_MB
    assert "cpu" not in resources["limits"], "what is throttled rolls back late"


def test_every_selector_selects_the_pods(made: Form) -> None:
    labels = made.pod["metadata"]["labels"].items()
    assert made.one("Service")["spec"]["selector"].items() <= labels
    assert made.workload["spec"]["selector"]["matchLabels"].items() <= labels
    assert made.one("NetworkPolicy")["spec"]["podSelector"]["matchLabels"].items() <= labels
    for budget in made.all("PodDisruptionBudget"):
        assert budget["spec"]["selector"]["matchLabels"].items() <= labels
    for spread in made.pod["spec"].get("topologySpreadConstraints", []):
        assert spread["labelSelector"]["matchLabels"].items() <= labels
    for monitor in made.all("ServiceMonitor"):
        service = made.one("Service")
        assert (
            monitor["spec"]["selector"]["matchLabels"].items()
            <= service["metadata"]["labels"].items()
        )
        (endpoint,) = monitor["spec"]["endpoints"]
        assert endpoint["port"] in [one["name"] for one in service["spec"]["ports"]]


def test_it_may_ask_for_names_the_workspace_and_the_record_and_nothing_else(made: Form) -> None:
    policy = made.one("NetworkPolicy")["spec"]
    assert sorted(policy["policyTypes"]) == ["Egress", "Ingress"]
    ports = [sorted({one["port"] for one in rule["ports"]}) for rule in policy["egress"]]
    assert ports == ([[53], [443]] if made.name == "single" else [[53], [443], [5432]])
    # Nor do clouds hand out their credentials to it.
    for rule in policy["egress"][1:2]:
        assert all(one["ipBlock"]["except"] for one in rule["to"])
    assert all(rule["from"] for rule in policy["ingress"])


def test_all_that_is_written_and_read_is_mounted(made: Form, tmp_path: Path) -> None:
    mounts = made.mounts
    command = made.container["args"]
    assert command[:2] == ["run", "--config"]
    named = {
        one["name"]: one["value"] for one in made.container["env"] if "/" in one.get("value", "")
    }
    for path in (command[2], *(named[name] for name in named if name != "HEADGATE_STORE")):
        assert mounts[str(Path(path).parent)]["mount"]["readOnly"] is True, path
    writable = [path for path, one in mounts.items() if not one["mount"].get("readOnly")]
    if made.name == "single":
        store = place_of(environment(made, tmp_path)["HEADGATE_STORE"]).name
        assert writable == [str(Path(store).parent)]
        assert mounts[str(Path(store).parent)]["spec"]["accessModes"] == ["ReadWriteOncePod"]
        assert made.workload["spec"]["replicas"] == 1
    else:
        (only,) = writable
        assert "emptyDir" in mounts[only]
    for one in mounts.values():
        if "secret" in one:
            assert one["secret"]["defaultMode"] in (0o400, 0o440)


def test_of_replicas_one_is_always_there_and_a_refused_configuration_replaces_none() -> None:
    made = form("replicas")
    replicas = made.workload["spec"]["replicas"]
    assert made.workload["spec"]["strategy"]["rollingUpdate"] == {
        "maxUnavailable": 0,
        "maxSurge": 1,
    }
    assert made.one("PodDisruptionBudget")["spec"]["maxUnavailable"] < replicas
    spread = {one["topologyKey"] for one in made.pod["spec"]["topologySpreadConstraints"]}
    assert spread == {"kubernetes.io/hostname", "topology.kubernetes.io/zone"}


def test_the_example_pins_the_image_of_this_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (image,) = kustomization(KUBERNETES / "example")["images"]
    assert (image["name"], image["newTag"]) == ("headgate", project["version"])
    if RENDERED:
        assert form("example").container["image"] == f"{image['newName']}:{project['version']}"


@pytest.mark.parametrize("folder", ["base", "example"])
def test_the_configurations_are_taken_and_a_change_of_them_makes_new_pods(folder: str) -> None:
    loaded = load(KUBERNETES / folder / "headgate.yaml")
    assert "rag-chatbot" in loaded.applications
    made = kustomization(KUBERNETES / folder)
    generated = {one["name"]: one for one in made["configMapGenerator"]}
    assert generated["headgate-config"]["files"] == ["headgate.yaml"]
    # A name without the hash of what it holds would leave old pods as they are.
    assert "generatorOptions" not in made
    assert not any("options" in one for one in generated.values())


def test_the_operators_rules_are_those_that_are_tested() -> None:
    rules = yaml.safe_load((ROOT / "deploy/prometheus/headgate.rules.yaml").read_text())
    wrapped = yaml.safe_load((KUBERNETES / "components/monitoring/rules.yaml").read_text())
    assert wrapped["kind"] == "PrometheusRule"
    assert wrapped["spec"] == rules, "made from them: make reference"


def test_files_that_the_kubelet_lays_down_and_swaps_are_read(tmp_path: Path) -> None:
    """Each file is a link by way of a link to a folder, which alone is replaced."""

    def lay(name: str, text: str) -> None:
        folder = tmp_path / name
        folder.mkdir()
        (folder / "token").write_text(text)
        (folder / "token").chmod(0o440)
        (tmp_path / "..new").symlink_to(name)
        (tmp_path / "..new").rename(tmp_path / "..data")

    lay("..2026_01", f"first-{SECRET}")
    (tmp_path / "token").symlink_to("..data/token")
    environ = {"HEADGATE_HTTP": "0.0.0.0:8350", "HEADGATE_TOKEN_FILE": str(tmp_path / "token")}
    for text in ("first", "second"):
        read = HttpSettings.read(environ)
        assert read is not None
        assert read.token is not None
        assert read.token.startswith(text)
        if text == "first":
            lay("..2026_02", f"second-{SECRET}")


def environment(made: Form, folder: Path) -> dict[str, str]:
    """What a container's process finds, with files for the secrets that are mounted."""
    return dict(_variables(made, folder))


def _variables(made: Form, folder: Path) -> Iterator[tuple[str, str]]:
    for line in (KUBERNETES / "base/settings.env").read_text().splitlines():
        name, _, value = line.partition("=")
        yield name, value
    for one in made.container["env"]:
        value = one.get("value")
        if value is None:
            value = _of_secret(one["valueFrom"]["secretKeyRef"])
        elif value.startswith("/run/secrets/headgate/"):
            path = folder / Path(value).name
            path.write_text(SECRET)
            path.chmod(made.mounts[str(Path(value).parent)]["secret"]["defaultMode"])
            value = str(path)
        yield one["name"], value


def _of_secret(key: dict[str, Any]) -> str:
    if key["name"] == "headgate-store":
        return "postgresql://headgate@db.example.com/headgate"
    return "something"

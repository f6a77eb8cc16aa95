"""What the image is, its pods and the try-out assume: one user, volume, command, port and check."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from controller import health
from controller.address import USUAL, host_and_port
from controller.record.opening import place_of
from controller.record.sqlite import File
from tests.deploy.manifests import FORMS, KUBERNETES, RENDERED, ROOT, Form, form, kustomization
from tests.deploy.test_container import JOINED, SERVICES, lineage
from tests.image import facts

IMAGE = lineage("daemon")
SET = dict(re.findall(r"(\w+)=(\S+)", IMAGE["ENV"]))
"""The variables that the image sets last."""
(VOLUME,) = json.loads(IMAGE["VOLUME"])
COMMAND = json.loads(IMAGE["CMD"])
DAEMON = SERVICES["daemon"]
PAGE = (ROOT / "deploy/README.md").read_text(encoding="utf-8")


@pytest.fixture(params=[*FORMS, "example"] if RENDERED else FORMS)
def made(request: pytest.FixtureRequest) -> Form:
    return form(request.param)


def test_every_form_has_one_user_who_owns_the_volume(made: Form) -> None:
    user = IMAGE["USER"]
    security = made.pod["spec"]["securityContext"]
    assert user == f"{security['runAsUser']}:{security['runAsGroup']}" == facts.USER
    assert security["fsGroup"] == security["runAsGroup"], "who may read the secrets and the volume"
    assert "runAsUser" not in made.container["securityContext"]
    owner, group = user.split(":")
    assert f"-o {owner} -g {group} {VOLUME} " in JOINED
    assert lineage("sandbox")["USER"] == user
    assert "user" not in SERVICES["sandbox"]
    assert f"Its user is {user}," in PAGE
    # The daemon of the try-out is who owns the secrets, in an image that anybody may run.
    assert DAEMON["user"] == "${HEADGATE_USER}"


def test_every_form_writes_to_one_place_and_has_its_record_there(made: Form) -> None:
    assert facts.VOLUME == VOLUME
    writable = [path for path, one in made.mounts.items() if not one["mount"].get("readOnly")]
    assert writable == [VOLUME]
    store = place_of(SET["HEADGATE_STORE"])
    assert isinstance(store, File)
    assert str(store.path.parent) == SET["TMPDIR"] == SET["HOME"] == VOLUME
    told = {one["name"]: one.get("value") for one in made.container["env"]}
    if made.name == "single":
        assert told["HEADGATE_STORE"] == SET["HEADGATE_STORE"]
    else:
        assert told["HEADGATE_STORE"] is None, "it is a secret"
    assert not told.keys() & {"HOME", "TMPDIR"}
    assert f"--volume headgate:{VOLUME} " in PAGE
    assert not DAEMON["environment"].keys() & {"HOME", "TMPDIR"}
    assert SERVICES["sandbox"]["volumes"] == [f"workspace:{VOLUME}"]


def test_every_form_starts_the_image_s_own_command(made: Form) -> None:
    for service in ("daemon", "sandbox"):
        assert not SERVICES[service].keys() & {"entrypoint", "command", "working_dir"}
    assert json.loads(IMAGE["ENTRYPOINT"]) == [facts.PYTHON, "-m", "controller"]
    assert "command" not in made.container
    assert "workingDir" not in made.container
    assert made.container["args"] == COMMAND
    config = Path(COMMAND[2])
    assert str(config.parent) == IMAGE["WORKDIR"]
    assert str(config.parent) in made.mounts
    assert f"{made.mounts[str(config.parent)]['configMap']['name']}-".startswith("headgate-config-")
    (mounted,) = DAEMON["volumes"]
    assert mounted.split(":")[1:] == [str(config), "ro"]
    assert f"headgate.yaml:{config}:ro" in PAGE


def test_every_form_listens_on_one_port(made: Form) -> None:
    usual = host_and_port(USUAL)
    assert usual is not None
    port = usual[1]
    assert IMAGE["EXPOSE"] == str(port)
    assert [one["containerPort"] for one in made.container["ports"]] == [port]
    told = {one["name"]: one.get("value") for one in made.container["env"]}
    for address in (told["HEADGATE_HTTP"], DAEMON["environment"]["HEADGATE_HTTP"]):
        assert host_and_port(address) == ("0.0.0.0", port)  # noqa: S104 - of a container
    assert "HEADGATE_HTTP" not in SET, "the image alone listens to nobody else"


def test_every_form_asks_the_same_whether_it_is_well(
    made: Form, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(health, "trouble", asked.append)
    module = json.loads(IMAGE["HEALTHCHECK"].partition("CMD ")[2])[2:]
    assert module[0] == health.__name__
    assert health.main(module[1:]) == health.main(["--ready"]) == 0
    probes = {name: made.container[f"{name}Probe"]["httpGet"] for name in ("liveness", "readiness")}
    assert asked == [probes["liveness"]["path"], probes["readiness"]["path"]]
    assert "healthcheck" not in DAEMON, "the image's own"


def test_every_form_gives_the_daemon_the_same_time_to_end(made: Form) -> None:
    seconds = made.pod["spec"]["terminationGracePeriodSeconds"]
    assert DAEMON["stop_grace_period"] == f"{seconds // 60}m"
    assert f"--stop-timeout {seconds} " in PAGE


def test_what_the_example_adds_leaves_all_that_as_it_is() -> None:
    """What kustomize makes of it is looked at by `make deploy-check`; this needs no kustomize."""
    example = KUBERNETES / "example"
    assert kustomization(example)["resources"] == ["../overlays/replicas"]
    patches = [
        patch
        for folder in (example, *(example / one for one in kustomization(example)["components"]))
        for patch in kustomization(folder).get("patches", [])
    ]
    assert patches
    for patch in patches:
        if patch["target"]["kind"] == "NetworkPolicy":
            continue
        spec = yaml.safe_load(patch["patch"])["spec"]["template"]["spec"]
        assert spec.keys() == {"containers", "volumes"}
        container: dict[str, Any]
        (container,) = spec["containers"]
        assert container.keys() == {"name", "env", "volumeMounts"}
        assert not [one for one in container["env"] if one["name"].startswith("HEADGATE_")]
        assert all(one["readOnly"] for one in container["volumeMounts"])
        assert not {one["mountPath"] for one in container["volumeMounts"]} & {
            VOLUME,
            "/etc/headgate",
        }

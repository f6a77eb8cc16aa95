"""The manifests of deploy/kubernetes, put together here, or as kustomize rendered them."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
KUBERNETES = ROOT / "deploy/kubernetes"
FORMS = ("single", "replicas")
RENDERED = os.environ.get("HEADGATE_RENDERED")
"""A folder of what kustomize made of each form, as `make deploy-check` has it; tests that need
wheels only read the files themselves, without it."""

Object = dict[str, Any]


@dataclass(frozen=True)
class Form:
    """One way to run on Kubernetes."""

    name: str
    objects: list[Object]

    def all(self, kind: str) -> list[Object]:
        """The objects of a kind."""
        return [one for one in self.objects if one["kind"] == kind]

    def one(self, kind: str) -> Object:
        """The only object of a kind."""
        (found,) = self.all(kind)
        return found

    @property
    def workload(self) -> Object:
        """What makes the pods."""
        (found,) = [one for one in self.objects if one["kind"] in ("StatefulSet", "Deployment")]
        return found

    @property
    def pod(self) -> Object:
        """What a pod is made from."""
        template: Object = self.workload["spec"]["template"]
        return template

    @property
    def container(self) -> Object:
        """The only container."""
        (found,) = self.pod["spec"]["containers"]
        return dict(found)

    @property
    def mounts(self) -> dict[str, Object]:
        """The volumes, by where they are mounted."""
        volumes = {one["name"]: one for one in self.pod["spec"]["volumes"]}
        volumes |= {
            claim["metadata"]["name"]: claim
            for claim in self.workload["spec"].get("volumeClaimTemplates", [])
        }
        return {
            mount["mountPath"]: {**volumes[mount["name"]], "mount": mount}
            for mount in self.container["volumeMounts"]
        }


def form(name: str) -> Form:
    """One form, with all that it consists of."""
    if RENDERED:
        return Form(name, documents(Path(RENDERED) / f"{name}.yaml"))
    base, overlay = KUBERNETES / "base", KUBERNETES / "overlays" / name
    objects = [one for folder in (base, overlay) for one in _resources(folder)]
    (template,) = [one["template"] for one in objects if one["kind"] == "PodTemplate"]
    rest = [one for one in objects if one["kind"] != "PodTemplate"]
    patches = kustomization(overlay)["patches"]
    for patch in patches:
        more = yaml.safe_load(patch["patch"])
        if patch["target"]["kind"] == "PodTemplate":
            _merge(template, more["template"])
        else:
            (policy,) = [one for one in rest if one["kind"] == patch["target"]["kind"]]
            for change in more:
                assert (change["op"], change["path"]) == ("add", "/spec/egress/-")
                policy["spec"]["egress"].append(change["value"])
    for one in rest:
        if one["kind"] in ("StatefulSet", "Deployment"):
            one["spec"]["template"] = template
    return Form(name, rest)


def kustomization(folder: Path) -> Object:
    """A folder's kustomization."""
    (found,) = documents(folder / "kustomization.yaml")
    return found


def documents(path: Path) -> list[Object]:
    """The objects in a file."""
    return [one for one in yaml.safe_load_all(path.read_text(encoding="utf-8")) if one]


def _resources(folder: Path) -> list[Object]:
    named = [name for name in kustomization(folder)["resources"] if name.endswith(".yaml")]
    return [one for name in named for one in documents(folder / name)]


def _merge(into: Object, more: Object) -> None:
    """A strategic merge, as far as these patches go: maps by key, lists of named things by name."""
    for key, value in more.items():
        if isinstance(value, dict):
            _merge(into.setdefault(key, {}), value)
        elif isinstance(value, list) and isinstance(into.get(key), list):
            for one in value:
                same = [other for other in into[key] if _name(other) == _name(one)]
                _merge(same[0], one) if same else into[key].append(one)
        else:
            into[key] = value


def _name(one: Object) -> object:
    return one.get("mountPath") or one["name"]

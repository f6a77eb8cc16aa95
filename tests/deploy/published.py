"""Holds what deploy/ says to the schemas that are published: part of `make deploy-check`.

It runs with the packages of requirements-deploy.lock alone, as `published.py FOLDER`, renders each
form with `kubectl kustomize` into that folder, and says what is wrong in a line each.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import yaml
from cloudcoil.models.prometheus_operator import v1 as operator
from databricks.bundles.apps import App
from databricks.bundles.jobs import Job

ROOT = Path(__file__).parents[2]
KUBERNETES, DATABRICKS = ROOT / "deploy/kubernetes", ROOT / "deploy/databricks"
FORMS = {
    "single": KUBERNETES / "overlays/single",
    "replicas": KUBERNETES / "overlays/replicas",
    "example": KUBERNETES / "example",
}
OLDEST, NEWEST = 29, 37
"""Minor versions of Kubernetes, from the first that gives a volume to one pod alone for good."""
RENDER_S = 60


def main(folder: Path) -> int:
    """Render and check everything; the status is 1 if anything is wrong."""
    folder.mkdir(parents=True, exist_ok=True)
    wrong = 0
    for name, place in FORMS.items():
        objects = list(rendered(place, folder / f"{name}.yaml"))
        found = [told for one in objects for told in troubles(one)]
        kinds = ", ".join(one["kind"] for one in objects)
        say(f"{name}: {len(objects)} objects ({kinds}), {len(found)} wrong", found)
        wrong += len(found)
    found = list(bundle_troubles())
    say(f"databricks.yml: an app and a job, {len(found)} wrong", found)
    return int(bool(wrong + len(found)))


def rendered(place: Path, to: Path) -> Iterator[dict[str, Any]]:
    """What kustomize makes of a folder, kept in a file too."""
    command = ["kubectl", "kustomize", str(place)]
    made = subprocess.run(command, capture_output=True, text=True, timeout=RENDER_S, check=False)
    if made.returncode:
        sys.exit(f"{place.relative_to(ROOT)}: {made.stderr.strip()}")
    to.write_text(made.stdout, encoding="utf-8")
    yield from yaml.safe_load_all(made.stdout)


def troubles(one: dict[str, Any]) -> Iterator[str]:
    """What is wrong with an object, by each version of Kubernetes, or by the operator's types."""
    name = f"{one['kind']} {one['metadata']['name']}"
    if one["apiVersion"].startswith("monitoring.coreos.com/"):
        try:
            read = getattr(operator, one["kind"]).model_validate(one)
        except ValueError as error:
            yield f"{name}: {error}"
            return
        # These types drop what they do not know, and say nothing.
        kept = json.loads(read.model_dump_json(by_alias=True, exclude_unset=True))
        if kept != one:
            yield f"{name}: has fields that the operator does not know: {kept} is what is left"
        return
    for minor in range(OLDEST, NEWEST + 1):
        try:
            kubernetes_validate.validate(one, f"1.{minor}", strict=True)
        except kubernetes_validate.ValidationError as error:
            at = ".".join(str(part) for part in error.path)
            yield f"{name}, Kubernetes 1.{minor}: {at}: {error.message}"


def bundle_troubles() -> Iterator[str]:
    """What is wrong with the bundle, by Databricks' own types for bundles in Python."""
    bundle = yaml.safe_load((DATABRICKS / "databricks.yml").read_text(encoding="utf-8"))
    resources = bundle["resources"]
    if resources.keys() != {"apps", "jobs"}:
        yield f"resources: only apps and jobs are checked, and there are {sorted(resources)}"
    for kind, known in (("apps", App), ("jobs", Job)):
        for name, said in resources[kind].items():
            try:
                kept = known.from_dict(said).as_dict()
            except ValueError as error:
                yield f"resources.{kind}.{name}: {error}"
                continue
            if kept != said:
                yield f"resources.{kind}.{name}: {kept} is what is left of it"


def say(line: str, found: list[str]) -> None:
    """One line for a form, and one for each thing that is wrong."""
    sys.stdout.write("".join(f"{one}\n" for one in (line, *(f"  {told}" for told in found))))
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))

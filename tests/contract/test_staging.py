"""The staging endpoint on a real workspace: created, asked, removed; a stranger's is left alone."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from databricks.sdk import WorkspaceClient
from databricks.sdk.service.serving import EndpointTag

from controller.daemon.building import Shared, passes_of
from controller.daemon.readiness import Readiness
from controller.daemon.tenure import Tenure
from controller.record.printer import Printer
from controller.record.store import Store
from controller.settings import ApplicationSettings, ProcessSettings
from controller.workspace.errors import Refused, Unreachable
from controller.workspace.probes import Probes
from controller.workspace.serving import Endpoints, ServingSettings
from policies.golden import GoldenQuery, Round
from states.release import Release
from states.world import Absent, Endpoint, Size
from tests.contract.conftest import PATHS, Split, Workspace, entity, name, serving, settled

MARK = "app/2/1"
GOOD = GoldenQuery(query="What is Delta?", answer_contains=("ACID",), min_sources=2)
APP = "app"
PATIENCE_S = 90.0


@pytest.fixture
def sized(model: str) -> ServingSettings:
    return ServingSettings(model=model, size=Size(scale_to_zero=True))


def made(
    endpoints: Endpoints, settings: ServingSettings, staging: str | None = None
) -> tuple[str, Endpoint]:
    """A staging endpoint that was asked for just now, by its name."""
    staging = staging or name()
    endpoints.create_staging(staging, serving(settings.model, v2=100), settings, MARK)
    seen = endpoints.observe(staging)
    assert isinstance(seen, Endpoint)
    return staging, seen


def test_it_serves_one_version_to_nobody_and_bears_what_it_was_made_for(
    client: WorkspaceClient, sized: ServingSettings
) -> None:
    endpoints = Endpoints(client)
    staging, _ = made(endpoints, sized)
    seen = settled(endpoints, staging)
    assert seen.serving == serving(sized.model, v2=100)
    assert seen.ready == {entity("v2")}
    assert (seen.owner, seen.made_for) == ("headgate", MARK)
    assert seen.id
    assert seen.inference_table is None
    endpoints.remove_staging(staging, seen.id)
    assert endpoints.observe(staging) == Absent()
    endpoints.remove_staging(staging, seen.id)


def test_one_that_is_there_is_not_changed_by_creating_it(
    client: WorkspaceClient, sized: ServingSettings, split: Split
) -> None:
    endpoints = Endpoints(client)
    before = endpoints.observe(split.endpoint)
    with pytest.raises(Refused):
        endpoints.create_staging(split.endpoint, serving(sized.model, v2=100), sized, MARK)
    assert endpoints.observe(split.endpoint) == before


def test_another_endpoint_of_its_name_is_never_deleted(
    client: WorkspaceClient, sized: ServingSettings
) -> None:
    endpoints = Endpoints(client)
    staging, seen = made(endpoints, sized)
    endpoints.remove_staging(staging, seen.id)
    _, another = made(endpoints, sized, staging)
    for id_ in (seen.id, ""):
        with pytest.raises(Refused, match="not the one that Headgate made"):
            endpoints.remove_staging(staging, id_)
    client.serving_endpoints.patch(
        staging, add_tags=[EndpointTag("headgate.owner", "anna")], delete_tags=["headgate.release"]
    )
    with pytest.raises(Refused, match="not the one that Headgate made"):
        endpoints.remove_staging(staging, another.id)
    assert isinstance(endpoints.observe(staging), Endpoint)
    client.serving_endpoints.delete(staging)


def test_what_cannot_be_read_is_not_deleted(
    client: WorkspaceClient, sized: ServingSettings, workspace: Workspace
) -> None:
    endpoints = Endpoints(client)
    staging, seen = made(endpoints, sized)
    workspace.fault(method="GET", path=staging, status=503)
    with pytest.raises(Unreachable) as raised:
        endpoints.remove_staging(staging, seen.id)
    assert raised.value.outcome == "unsent"
    workspace.heal()
    endpoints.remove_staging(staging, seen.id)


def test_the_candidate_is_asked_there_and_stable_where_it_serves(
    client: WorkspaceClient, sized: ServingSettings, split: Split
) -> None:
    endpoints = Endpoints(client)
    staging, seen = made(endpoints, sized)
    settled(endpoints, staging)
    probes = Probes(client, split.endpoint, APP)
    found = probes.round(entity("v2"), entity("v1"), (GOOD,), PATHS, staging=staging)
    assert isinstance(found, Round)
    assert (found.candidate_failed, found.stable_failed) == ((), ())
    endpoints.remove_staging(staging, seen.id)
    # Somebody has removed it: that says nothing of the version.
    with pytest.raises(Unreachable, match=rf"{staging}: it is not there \(404\)"):
        probes.round(entity("v2"), entity("v1"), (GOOD,), PATHS, staging=staging)


# A release through the daemon's own pass, store and adapters.


class Life:
    """A daemon in this process that looks after one application with a staging endpoint."""

    def __init__(self, store: Store, model: str, expected: str) -> None:
        self.store, self.endpoint = store, name()
        self.settings = ApplicationSettings.model_validate(
            {
                "model": model,
                "endpoint": self.endpoint,
                "alias": "none",
                "staging": {},
                "tests": [{"query": "What is Delta?", "expect": {"answer_contains": [expected]}}],
            }
        )
        process, tenure = ProcessSettings(), Tenure(())
        shared, printer = Shared("none", store), Printer(store)
        applications = {APP: self.settings}
        passes = passes_of(
            applications, shared, store, printer, process, Readiness(store, process.poll), tenure
        )
        self.one = passes[APP]
        self.staging = self.settings.staging_endpoint or ""
        self.seen: list[tuple[bool, bool]] = []
        """Whether the staging endpoint, and the application's own, were there, look by look."""

    def until(self, reached: Callable[[Release], bool]) -> Release:
        """Look again and again until the newest release has come to something."""
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            self.one.run()
            there = [
                isinstance(self.one.observer.endpoints.observe(one), Endpoint)
                for one in (self.staging, self.endpoint)
            ]
            self.seen.append((there[0], there[1]))
            release = self.store.load(APP, self.settings.spec()).application.newest("3")
            if release is not None and reached(release) and not there[0]:
                return release
            time.sleep(0.1)
        raise AssertionError(f"not reached: {release}")

    def told(self, event: str) -> list[dict[str, object]]:
        return [line for line in self.store.journal() if line["event"] == event]


@pytest.fixture
def living(workspace: Workspace, unmarked: str, tmp_path: Path) -> Iterator[Callable[[str], Life]]:
    assert workspace.host
    store = Store(f"sqlite:///{tmp_path / 'headgate.db'}")
    yield lambda expected: Life(store, unmarked, expected)
    store.close()


def test_a_release_is_tested_on_staging_and_nothing_of_it_is_left(
    living: Callable[[str], Life], client: WorkspaceClient
) -> None:
    life = living("ACID")
    life.until(lambda release: release.state not in ("Registered", "Provisioning"))
    first = next(here for here in life.seen if here != (False, False))
    assert first == (True, False), "it is tested before its endpoint exists"
    where = [line["endpoint"] for line in life.told("tests.finished")]
    assert where[0] == life.staging == f"{life.endpoint}-staging"
    assert len(life.told("staging.created")) == len(life.told("staging.removed")) == 1
    client.serving_endpoints.delete(life.endpoint)


def test_a_release_that_fails_on_staging_never_has_an_endpoint(
    living: Callable[[str], Life],
) -> None:
    life = living("no such words")
    release = life.until(lambda release: release.state == "RolledBack")
    assert f"staging endpoint {life.staging}: 1 of 1 golden queries failed" in release.because
    assert not any(own for _, own in life.seen)
    assert any(staging for staging, _ in life.seen)

"""One application, looked at part by part as its next release will meet it."""

import json
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial

from databricks.sdk import WorkspaceClient
from databricks.sdk.service.serving import ServingEndpointDetailed

from controller.console import answers
from controller.console.findings import Section
from controller.console.golden import GoldenExamination
from controller.settings import ApplicationSettings
from controller.workspace import decode, metrics
from controller.workspace.checks import (
    COLUMNS,
    NEEDED,
    Checks,
    Health,
    Identity,
    ServedEntity,
)
from controller.workspace.errors import Refused, WorkspaceError
from controller.workspace.mlflow_reader import MlflowReader
from controller.workspace.registry import READY, Registry
from controller.workspace.serving import Endpoints
from policies.admission import Admission, admit
from states.adoption import unadoptable
from states.applying import others_undeclared
from states.release import Application
from states.room import MOST_ENTITIES
from states.world import Absent, Endpoint, ModelVersion

COVERED = 0.95
"""Least share of the requests that the table must show, and that must name a served entity."""
MINUTE_S = 60
PREFIX = "/api/2.0/serving-endpoints"


@dataclass
class Examination:
    """Looks at one application, and keeps what it saw for `--record`."""

    client: WorkspaceClient
    checks: Checks
    identity: Identity
    settings: ApplicationSettings
    known: Application
    """As the store has it; not adopted, if it has never been looked after."""
    says: Section
    sql: bool
    """The warehouse answers."""
    probe: bool
    alias: str | Absent | None = None
    detail: ServingEndpointDetailed | None = None
    endpoint: Endpoint | None = None
    export: str = ""
    columns: dict[str, str] = field(default_factory=dict)
    health: Health | None = None
    entities: list[ServedEntity] | None = None
    coverage: tuple[float, int, int] | None = None
    """Requests of a minute by the metrics; requests and errors of it in the table."""

    def run(self) -> None:
        """All looks, in the order in which a release depends on them."""
        self._model()
        self._alias()
        self._endpoint()
        if self.endpoint is None:
            return
        self._adoption(self.endpoint)
        self._environment()
        self._others(self.endpoint)
        self._room(self.endpoint)
        self._gateway(self.endpoint)
        self._metrics(self.endpoint)
        self._table(self.endpoint)
        self._golden(self.endpoint)

    def _golden(self, endpoint: Endpoint) -> None:
        """The golden queries, as Testing will ask them."""
        GoldenExamination(
            client=self.client,
            settings=self.settings,
            known=self.known,
            says=self.says,
            statements=self.checks.statements if self.sql else None,
            remedy=lambda: self._grant_endpoint((self.detail and self.detail.id) or "{ID}"),
            probe=self.probe,
        ).run(endpoint)

    @property
    def table(self) -> str | None:
        """The endpoint's inference table, if it has one."""
        return None if self.endpoint is None else self.endpoint.inference_table

    @property
    def requests_per_minute(self) -> tuple[int, float] | None:
        """When the newest minute of the metrics ended (ms), and how many requests it had."""
        counted = metrics.samples(self.export, metrics.REQUESTS)
        return max(counted.items()) if counted else None

    @property
    def _grants(self) -> str:
        catalog, schema, name = (f"`{part}`" for part in self.settings.model.split("."))
        return (
            f"{self._parents(catalog, schema)}; "
            f"GRANT EXECUTE ON FUNCTION {catalog}.{schema}.{name} TO {self._who}"
        )

    def _parents(self, catalog: str, schema: str) -> str:
        return (
            f"GRANT USE CATALOG ON CATALOG {catalog} TO {self._who}; "
            f"GRANT USE SCHEMA ON SCHEMA {catalog}.{schema} TO {self._who}"
        )

    @property
    def _who(self) -> str:
        return f"`{self.identity.name}`"

    def _model(self) -> None:
        """The model, and its newest version as admission will judge it."""
        model = self.settings.model
        registry = Registry(self.client)
        look = partial(registry.versions, model, detail=())
        versions = self.says.look("model", look, self._grants)
        if versions is None:
            return
        owner = self.says.look("model's owner", lambda: self.checks.owner(model), self._grants)
        if isinstance(owner, Absent) and not versions:
            self.says.stops(
                "model",
                f"{model} is not registered, or not to be seen",
                f"register it, correct `model`, or {self._grants}",
            )
            return
        self._ownership(owner if isinstance(owner, str) else None)
        if not versions:
            self.says.warn("model", f"{model} has no version yet", "register one")
            return
        self.says.ok(
            "model", f"{model} has {len(versions)} versions, the newest {newest(versions)}"
        )
        self._version(versions[-1])

    def _ownership(self, owner: str | None) -> None:
        """May we set the alias? Its owner may, and a metastore admin, which cannot be read."""
        alias, model = self.settings.alias, self.settings.model
        what = "right to set the alias"
        if alias == "none":
            self.says.ok(what, "`alias: none`: no alias is set")
        elif owner is not None and owner in {self.identity.name, *self.identity.groups}:
            self.says.ok(what, f"{owner} owns {model}")
        elif owner is not None and ("@" in owner or _is_application(owner)):
            self.says.stops(
                what,
                f"{owner} owns {model}, and not {self.identity.name}; only a metastore admin "
                "could set it all the same",
                f"`databricks registered-models update {model} --owner {self.identity.name}`, "
                "or `alias: none`",
            )
        else:
            self.says.warn(
                what,
                f"cannot be told without trying: the owner of {model} is {owner or 'not shown'}",
                f"make sure that {self.identity.name} belongs to the owner, or `alias: none`",
            )

    def _version(self, version: ModelVersion) -> None:
        """The newest version's tags and signature, and what admission makes of them."""
        model, number = self.settings.model, version.version
        reader = MlflowReader(30)
        tags = self.says.look("tags", lambda: reader.tags(model, number), self._grants)
        if tags is not None:
            self.says.ok("tags", f"those of version {number} can be read")
        signed: bool | None = None
        if version.status == READY:
            signed = self.says.look(
                "signature", lambda: reader.has_signature(model, number), self._grants
            )
            if signed is not None:
                self.says.ok("signature", f"the MLmodel file of version {number} can be read")
            if signed is None or tags is None:
                return
        required = self.settings.admission.required_tags
        finding, because = admit(version.status, tags, required, has_signature=signed)
        if finding is Admission.ADMIT:
            self.says.ok("newest version", f"version {number} is {because}")
        elif finding is Admission.REFUSE or version.status == READY:
            self.says.stops("newest version", f"version {number}", because)
        else:
            self.says.warn("newest version", f"version {number}", f"{because}: wait for it")

    def _alias(self) -> None:
        name, model = self.settings.alias, self.settings.model
        if name == "none":
            return
        look = partial(Registry(self.client).alias, model, name)
        self.alias = self.says.look("alias", look, self._grants)
        if isinstance(self.alias, str):
            self.says.ok("alias", f"{name} names version {self.alias}")
        elif isinstance(self.alias, Absent):
            self.says.ok("alias", f"{name} is not set yet: a release sets it, last")

    def _endpoint(self) -> None:
        name = self.settings.endpoint
        api = Endpoints(self.client)
        remedy = f"{self._grant_endpoint('{ID OF THE ENDPOINT}')}, by one who manages it"
        try:
            self.detail = api.detail(name)
            if self.detail is not None:
                self.endpoint = decode.endpoint(name, self.detail)
        except WorkspaceError as error:
            self.says.trouble("endpoint", error, remedy, warns=False)
            return
        if self.detail is None or self.endpoint is None:
            self.says.ok("endpoint", f"{name} does not exist: the first release creates it")
            return
        self.says.ok("endpoint", f"{name} exists, and serves {self.endpoint.serving}")
        self._permission(self.detail)
        self._update(self.endpoint)

    def _grant_endpoint(self, identifier: str) -> str:
        return (
            f"PATCH /api/2.0/permissions/serving-endpoints/{identifier} "
            f"{access(self.identity, 'CAN_MANAGE')}"
        )

    def _permission(self, detail: ServingEndpointDetailed) -> None:
        level = detail.permission_level.value if detail.permission_level else None
        remedy = self._grant_endpoint(detail.id or "{ID}")
        if level == "CAN_MANAGE":
            self.says.ok("permission", f"{level} on the endpoint")
        elif level is None:
            self.says.warn("permission", "the endpoint does not tell ours", remedy)
        else:
            found = f"{level} on the endpoint, CAN_MANAGE is needed to change what it serves"
            self.says.stops("permission", found, remedy)

    def _update(self, endpoint: Endpoint) -> None:
        name = self.settings.endpoint
        serving = {one for one, share in endpoint.serving.shares.items() if share.weight}
        if endpoint.updating:
            self.says.warn("update", f"{name} is being changed just now", "look again later")
        elif endpoint.update_failed:
            found = "the last change failed or was cancelled; what was active still serves"
            self.says.warn("update", found, "the next change clears it; see the build logs")
        if not endpoint.updating and (late := serving - endpoint.ready):
            found = f"{', '.join(sorted(late))} should serve, but is not ready"
            self.says.warn("readiness", found, f"see {PREFIX}/{name}/served-models/ENTITY/logs")

    def _adoption(self, endpoint: Endpoint) -> None:
        """What the daemon will make, or has made, of the endpoint as found."""
        if self.known.adopted:
            if self.known.hold is None:
                live = self.known.live
                going = f", {live.key} is {live.state.value}" if live else ""
                self.says.ok("adoption", f"version {self.known.stable} is stable{going}")
            else:
                found, _, remedy = self.known.hold.rpartition(": ")
                self.says.stops("adoption", f"held: {found or self.known.hold}", remedy)
            return
        if self.alias is None and self.settings.alias != "none":
            self.says.skip("adoption", "the alias cannot be read, and must agree with the traffic")
            return
        trouble = unadoptable(self.known, endpoint, self.alias)
        if trouble is None:
            self.says.ok("adoption", "one version has 100 %: it is adopted as stable")
        else:
            found, _, remedy = trouble.rpartition(": ")
            if endpoint.route_optimized:
                remedy += "; recreate the endpoint without route_optimized, which cannot be changed"
            self.says.stops("adoption", found, remedy)

    def _environment(self) -> None:
        if self.settings.serving.environment is not None:
            self.says.ok("environment", "serving.environment is declared")
        elif self.known.ours:
            self.says.ok("environment", "Headgate created the endpoint: there are no variables")
        else:
            self.says.stops(
                "environment",
                "serving.environment is not declared: Databricks does not show the variables of "
                "a running endpoint, and a change replaces them",
                "declare them, or `environment: none`",
            )

    def _others(self, endpoint: Endpoint) -> None:
        """Other models' entities, whose variables a change would drop."""
        trouble = others_undeclared(self.known.spec, endpoint.serving)
        if trouble is not None:
            found, _, remedy = trouble.rpartition("; ")
            self.says.stops("environment of others", found, remedy)

    def _room(self, endpoint: Endpoint) -> None:
        count = len(endpoint.serving.shares)
        found = f"{count} of {MOST_ENTITIES} served entities"
        if count < MOST_ENTITIES:
            self.says.ok("room", f"{found}: the candidate has a place")
        else:
            remedy = f"remove an entity at 0 %: PUT {PREFIX}/{self.settings.endpoint}/config"
            self.says.stops("room", f"{found}: the candidate has no place", remedy)

    def _gateway(self, endpoint: Endpoint) -> None:
        if endpoint.fallback:
            self.says.stops(
                "fallback",
                "AI Gateway repeats failed requests on other entities, which hides a canary's "
                "errors",
                self._put_gateway({"fallback_config": {"enabled": False}}),
            )
        else:
            self.says.ok("fallback", "off")

    def _put_gateway(self, part: dict[str, object]) -> str:
        return (
            f"PUT {PREFIX}/{self.settings.endpoint}/ai-gateway {json.dumps(part)} with its other "
            "parts as GET shows them: it replaces them all"
        )

    def _metrics(self, endpoint: Endpoint) -> None:
        name = self.settings.endpoint
        remedy = self._grant_endpoint((self.detail and self.detail.id) or "{ID}")
        look = partial(metrics.export, self.client, name)
        found = self.says.look("metrics", look, remedy, warns=True)
        if found is None:
            return
        self.export, told_at = found
        if told_at is None:
            self.says.warn("metrics", metrics.UNDATED, metrics.DATED)
        counted = self.requests_per_minute
        if counted is None:
            self.says.warn(
                "metrics",
                "the export shows no requests: the endpoint is new, asleep or being changed",
                "look again after some requests; until then steps are planned without its rate",
            )
            return
        label = metrics.entity_label(self.export, frozenset(endpoint.serving.shares))
        rate = f"{counted[1] / MINUTE_S:.2f} requests/s in the last minute shown"
        split = f"label {label} names the entity" if label else "no label names the entity"
        self.says.ok("metrics", f"{rate}; {split}")

    def _table(self, endpoint: Endpoint) -> None:
        table = endpoint.inference_table
        if table is None:
            catalog, schema, _ = self.settings.model.split(".")
            if (wanted := self.settings.inference_table) is not None:
                catalog, schema = wanted.catalog, wanted.schema_name
            place = {"catalog_name": catalog, "schema_name": schema, "enabled": True}
            self.says.stops(
                "inference table",
                "not enabled: nothing counts errors per version, and no canary can pass",
                self._put_gateway({"inference_table_config": place}),
            )
        elif not self.sql:
            self.says.skip("inference table", f"{table} is read by the SQL warehouse")
        elif self._columns(table):
            self._rows(table)
            answers.examine(self.checks, self.settings, table, self.says, self._select(table))
            self._served_entities()

    def _columns(self, table: str) -> bool:
        """Whether the table has what errors are counted by."""
        what = "inference table"
        try:
            self.columns = self.checks.columns(table)
        except Refused as error:
            self._no_table(table, error)
            return False
        except WorkspaceError as error:
            self.says.trouble(what, error, self._select(table), warns=False)
            return False
        lacking = [name for name in COLUMNS if name not in self.columns]
        if not lacking:
            self.says.ok(what, f"{table} has the columns of an AI Gateway inference table")
            return True
        found = f"{table} lacks {', '.join(lacking)}"
        if any(name in NEEDED for name in lacking):
            remedy = "an altered table stops being written: disable it, and enable it with a prefix"
            self.says.stops(what, found, remedy)
            return False
        self.says.warn(what, found, "reports will lack what is counted by these")
        return True

    def _no_table(self, table: str, error: Refused) -> None:
        """No table although it is enabled: well before the first request, ill afterwards."""
        counted = self.requests_per_minute
        remedy = f"check that nobody dropped or renamed it, and {self._select(table)}"
        if "no such table" not in str(error):
            self.says.trouble("inference table", error, remedy, warns=False)
        elif counted is not None and counted[1] > 0:
            found = f"{table} does not exist, or is not to be seen, and there are requests"
            self.says.stops("inference table", found, remedy)
        else:
            found = f"{table} does not exist, or is not to be seen; it comes with the first request"
            self.says.warn("inference table", found, f"look again after a request; else {remedy}")

    def _select(self, table: str) -> str:
        catalog, schema, name = (f"`{part}`" for part in table.split("."))
        grant = f"GRANT SELECT ON TABLE {catalog}.{schema}.{name} TO {self._who}"
        return f"{self._parents(catalog, schema)}; {grant}"

    def _rows(self, table: str) -> None:
        look = partial(self.checks.health, table)
        self.health = self.says.look("table's rows", look, self._select(table))
        if (health := self.health) is None:
            return
        counted = self.requests_per_minute
        if health.age is None or health.age > self.settings.evidence.max_lag:
            age = "no row of the last day" if health.age is None else f"newest {said(health.age)}"
            if counted is not None and counted[1] > 0:
                remedy = "a table is promised within the hour: ask Databricks; look for a drop"
                self.says.stops("table's rows", f"{age} old, although there are requests", remedy)
            else:
                self.says.warn("table's rows", age, "no requests, or a late table: look again")
        else:
            self.says.ok(
                "table's rows",
                f"{health.hour_requests} requests in the last hour; the newest is "
                f"{said(health.age)} old: the table is at most that late",
            )
        self._names(health)
        self._coverage(table, health, counted)

    def _names(self, health: Health) -> None:
        if not health.day_requests:
            return
        share = health.nameless / health.day_requests
        found = f"{100 * share:.1f} % of the last day's requests name no served entity"
        if share > 1 - COVERED:
            remedy = "they belong to no version, so no step can pass: ask Databricks"
            self.says.stops("served entities", found, remedy)
        elif share > 0:
            self.says.warn("served entities", found, "they are charged to the candidate")
        else:
            self.says.ok("served entities", "every request of the last day names one")

    def _coverage(self, table: str, health: Health, counted: tuple[int, float] | None) -> None:
        """Rows against the metrics, over the one closed minute that an export shows."""
        newest = health.newest
        if counted is None or not counted[1]:
            self.says.skip("coverage", "the metrics show no requests")
        elif newest is None or newest.timestamp() * 1000 < counted[0]:
            self.says.skip("coverage", "the table has not reached the minute that they show")
        else:
            look = partial(self.checks.minute, table, counted[0])
            seen = self.says.look("coverage", look, self._select(table), warns=True)
            if seen is None:
                return
            self.coverage = (counted[1], *seen)
            found = f"{seen[0]} in the table, {counted[1]:g} in the metrics of one minute"
            if seen[0] >= COVERED * counted[1]:
                self.says.ok("coverage", found)
            else:
                remedy = "look again; if it stays so, the table cannot prove a version safe"
                self.says.warn("coverage", found, remedy)

    def _served_entities(self) -> None:
        what = "system.serving.served_entities"
        remedy = f"GRANT USE SCHEMA, SELECT ON SCHEMA system.serving TO {self._who}"
        look = partial(self.checks.served_entities, self.settings.endpoint)
        try:
            self.entities = look()
        except Refused:
            # Without the right to it, a system schema looks as if it were not there.
            found = "not to be seen; Headgate's own marked requests name the entities instead"
            self.says.warn(what, found, remedy)
        except WorkspaceError as error:
            self.says.trouble(what, error, remedy, warns=True)
        else:
            self.says.ok(what, f"readable; {len(self.entities)} rows of this endpoint")


def newest(versions: tuple[ModelVersion, ...]) -> str:
    """The highest version, as an operator reads it."""
    return f"version {versions[-1].version}, {versions[-1].status}"


def access(identity: Identity, level: str) -> str:
    """The body that grants a permission through the permissions API."""
    entry = {identity.kind: identity.name, "permission_level": level}
    return json.dumps({"access_control_list": [entry]})


def said(age: timedelta) -> str:
    """A duration in its two largest units, near enough."""
    seconds = max(0, round(age.total_seconds()))
    if seconds < MINUTE_S:
        return f"{seconds} s"
    minutes = seconds // MINUTE_S
    return f"{minutes} min" if minutes < MINUTE_S else f"{minutes // MINUTE_S} h {minutes % 60} min"


def _is_application(name: str) -> bool:
    """A service principal's application id: the owner is one identity, and no group."""
    return len(name) == 36 and name.count("-") == 4  # noqa: PLR2004 - a UUID's form

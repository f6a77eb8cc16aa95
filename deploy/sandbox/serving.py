"""The control plane of Model Serving: endpoints, their configurations, gateway and metrics."""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import asdict, dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from deploy.sandbox.endpoints import (
    Config,
    Entity,
    Record,
    check_gateway,
    check_name,
    new_id,
    payload_table,
    read_config,
)
from deploy.sandbox.fleet import Fleet
from deploy.sandbox.inference import Inference
from deploy.sandbox.metrics import Group, Meter, Resources, Window, exposition, together
from deploy.sandbox.permissions import Permissions, allows
from deploy.sandbox.rollout import IN_PROGRESS, UPDATE_CANCELED, Rollout, next_version
from deploy.sandbox.router import Router
from deploy.sandbox.units import ABORTED, CREATING, FAILED, READY, Unit, read_log
from deploy.sandbox.wire import ApiError, Json, invalid, missing, not_modelled, read_json, reply
from deploy.sandbox.workspace import Workspace

_log = logging.getLogger("sandbox")

PREFIX = "/api/2.0/serving-endpoints"
_FLUSH_S = 0.5
"""How often rows are written and idle entities put to sleep, in real seconds."""
_RESTORE_S = 30.0
"""How long a restart waits for the models that it had served, in real seconds."""
_MEMORY = 4 * 2**30
"""Memory of the smallest CPU workload, in bytes."""


@dataclass(eq=False)
class Endpoint:
    """An endpoint as it runs: its record, its processes, and the update under way."""

    record: Record
    meter: Meter
    units: dict[str, Unit] = field(default_factory=dict)
    """Running entities by served_entity_id."""
    update: "asyncio.Task[None] | None" = None
    scraped: float = 0.0
    """The workspace's time at the last scrape; 0 before the first."""
    cpu_seen: dict[str, float] = field(default_factory=dict)
    """The CPU seconds of each served entity at the last scrape, by its id."""

    def states(self, config: Config) -> dict[str, Json]:
        """The state of each entity of a configuration, by served_entity_id."""
        return {one.served_entity_id: self._state(one) for one in config.entities}

    def ready(self) -> bool:
        """Whether every entity of the active configuration is ready."""
        config = self.record.config
        if config is None:
            return False
        units = [self.units.get(entity.served_entity_id) for entity in config.entities]
        return all(unit is not None and unit.state == READY for unit in units)

    def _state(self, entity: Entity) -> Json:
        unit = self.units.get(entity.served_entity_id)
        if unit is not None:
            return unit.status()
        failures = self.record.failures
        if entity.served_entity_id in failures:
            message = failures[entity.served_entity_id]
            return {"deployment": FAILED, "deployment_state_message": message}
        if failures or self.record.config_update == UPDATE_CANCELED:
            message = "Aborted because the update failed or was canceled."
            return {"deployment": ABORTED, "deployment_state_message": message}
        return {"deployment": CREATING, "deployment_state_message": ""}


class Serving:
    """Model Serving: its control routes here, its data plane in the router."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.endpoints: dict[str, Endpoint] = {}
        self.inference = Inference(workspace)
        self.fleet = Fleet(workspace.settings.data / "serving" / "zygote.log")
        self.router = Router(self)
        self.rollout = Rollout(self)
        self.permissions = Permissions(self)
        self._tasks: set[asyncio.Task[None]] = set()
        with workspace.database.lock:
            workspace.database.connection.execute(
                "CREATE TABLE IF NOT EXISTS serving_endpoints (name TEXT PRIMARY KEY, body TEXT)"
            )

    def routes(self) -> list[Route]:
        """Control plane and data plane."""
        one = PREFIX + "/{name}"
        handlers: list[tuple[str, str, Callable[[Request], Awaitable[Response]]]] = [
            ("POST", PREFIX, self._create),
            ("GET", PREFIX, self._list),
            # As MLflow's deployments client asks, whoever follows redirects or not.
            ("GET", PREFIX + "/", self._list),
            ("GET", one, self._get),
            ("DELETE", one, self._delete),
            ("PUT", one + "/config", self._put_config),
            ("PUT", one + "/ai-gateway", self._put_gateway),
            ("PATCH", one + "/tags", self._patch_tags),
            ("GET", one + "/metrics", self._metrics),
            ("GET", one + "/openapi", self._open_api),
            ("GET", one + "/served-models/{entity}/logs", self._logs),
            ("GET", one + "/served-models/{entity}/build-logs", self._build_logs),
        ]
        control = [Route(path, call, methods=[verb]) for verb, path, call in handlers]
        return [*self.router.routes(), *control, *self.permissions.routes()]

    async def start(self) -> None:
        """Know what was served before, and begin to serve it again."""
        await self.fleet.start()
        self.workspace.warehouse.feeders.append(self.inference.write)
        with self.workspace.database.lock:
            rows = self.workspace.database.connection.execute(
                "SELECT body FROM serving_endpoints ORDER BY name"
            ).fetchall()
        for row in rows:
            self._restore(_record(json.loads(row["body"])))
        self.spawn(self._flush())

    async def warm(self) -> None:
        """Wait until new entities can be deployed, and those of before serve again."""
        await self.fleet.warm()
        running = [unit for one in self.endpoints.values() for unit in one.units.values()]
        if running:
            settled = [asyncio.create_task(unit.settled.wait()) for unit in running]
            _, late = await asyncio.wait(settled, timeout=_RESTORE_S)
            for task in late:
                task.cancel()

    async def stop(self) -> None:
        """End the updates and all processes."""
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for endpoint in self.endpoints.values():
            for unit in endpoint.units.values():
                unit.kill()
        await self.fleet.stop()

    def find(self, name: str) -> Endpoint:
        """The endpoint of that name."""
        endpoint = self.endpoints.get(name)
        if endpoint is None:
            raise missing(f"Endpoint with name '{name}' does not exist.")
        return endpoint

    async def _create(self, request: Request) -> Response:
        body = await read_json(request)
        name = check_name(body.get("name"))
        if name in self.endpoints:
            raise ApiError(
                409, "RESOURCE_ALREADY_EXISTS", f"Endpoint with name '{name}' already exists."
            )
        if body.get("route_optimized"):
            raise not_modelled("route-optimized endpoints")
        wanted = body.get("config")
        if not isinstance(wanted, dict):
            raise not_modelled("endpoints without a configuration")
        gateway = check_gateway(body.get("ai_gateway") or {}, None)
        tags = {tag["key"]: tag.get("value", "") for tag in body.get("tags") or []}
        config = read_config(wanted, self.workspace, 1)
        now = self.workspace.now_ms()
        principal = str(request.scope["principal"])
        record = Record(name, new_id(), principal, now, now, tags=tags, ai_gateway=gateway)
        endpoint = Endpoint(record, self._meter())
        self.endpoints[name] = endpoint
        self._open_table(record)
        self.rollout.begin(endpoint, config, principal)
        return reply(self._detail(endpoint))

    async def _list(self, request: Request) -> Response:
        principal = str(request.scope["principal"])
        held = self.workspace.privileges.restrict
        held = held and principal == self.workspace.settings.client_id
        shown = [
            self._detail(self.endpoints[name])
            for name in sorted(self.endpoints)
            if not held or allows(self.endpoints[name].record, principal, "CAN_VIEW")
        ]
        # The list has neither what is pending nor where the data plane is.
        return reply({"endpoints": [_listed(one) for one in shown]})

    async def _get(self, request: Request) -> Response:
        endpoint = self.find(request.path_params["name"])
        shown = self._detail(endpoint)
        self.rollout.interfere(endpoint)
        return reply(shown)

    async def _delete(self, request: Request) -> Response:
        endpoint = self.find(request.path_params["name"])
        record = endpoint.record
        del self.endpoints[record.name]
        if endpoint.update is not None:
            endpoint.update.cancel()
        with self.workspace.database.lock:
            self.workspace.database.connection.execute(
                "DELETE FROM serving_endpoints WHERE name = ?", (record.name,)
            )
        if record.config is not None:
            entities, version = record.config.entities, record.config.version
            self.inference.entities(record, entities, version, deleted=True)
        self.rollout.retire(endpoint, list(endpoint.units))
        return reply()

    async def _put_config(self, request: Request) -> Response:
        body = await read_json(request)
        endpoint = self.find(request.path_params["name"])
        record = endpoint.record
        if record.config_update == IN_PROGRESS:
            raise ApiError(
                409, "RESOURCE_CONFLICT", f"Endpoint '{record.name}' is currently updating."
            )
        config = read_config(body, self.workspace, next_version(endpoint))
        self.rollout.begin(endpoint, config, str(request.scope["principal"]))
        return reply(self._detail(endpoint))

    async def _put_gateway(self, request: Request) -> Response:
        body = await read_json(request)
        record = self.find(request.path_params["name"]).record
        record.ai_gateway = check_gateway(body, record.ai_gateway)
        self._open_table(record)
        self.keep(record)
        return reply(record.ai_gateway)

    async def _patch_tags(self, request: Request) -> Response:
        body = await read_json(request)
        record = self.find(request.path_params["name"]).record
        for tag in body.get("add_tags") or []:
            if not isinstance(tag, dict) or not tag.get("key"):
                raise invalid("A tag needs a key.")
            record.tags[tag["key"]] = tag.get("value") or ""
        for key in body.get("delete_tags") or []:
            record.tags.pop(key, None)
        self.keep(record)
        return reply({"tags": _tags(record)})

    def _meter(self) -> Meter:
        return Meter(self.workspace.settings.metrics_window_s, self.workspace.clock())

    async def _metrics(self, request: Request) -> Response:
        endpoint = self.find(request.path_params["name"])
        now = self.workspace.clock()
        closed = endpoint.meter.closed(now)
        awake = [unit for unit in endpoint.units.values() if unit.process is not None]
        used = {
            unit.entity.served_entity_id: unit.process.cpu_s
            for unit in awake
            if unit.process is not None
        }
        spent = {key: cpu - endpoint.cpu_seen.get(key, 0.0) for key, cpu in used.items()}
        passed = now - endpoint.scraped if endpoint.scraped else 0.0
        endpoint.scraped, endpoint.cpu_seen = now, used
        if closed is None or not awake:
            # What has scaled to zero exports nothing.
            return PlainTextResponse("")
        windows, end_ms = closed
        labels = {"endpoint_name": endpoint.record.name}
        if not self.workspace.settings.metrics_entity_labels:
            resources = _resources(awake, spent, passed)
            groups = [Group(labels, together(list(windows.values())), resources)]
        else:
            groups = [
                Group(
                    {**labels, "served_entity_name": name},
                    windows.get(name, Window()),
                    _resources([unit for unit in awake if unit.entity.name == name], spent, passed),
                )
                for name in sorted({unit.entity.name for unit in awake} | windows.keys())
            ]
        return PlainTextResponse(exposition(groups, end_ms))

    async def _open_api(self, request: Request) -> Response:
        self.find(request.path_params["name"])
        raise not_modelled("the OpenAPI schema of an endpoint")

    async def _logs(self, request: Request) -> Response:
        return reply({"logs": self._log(request, "serve")})

    async def _build_logs(self, request: Request) -> Response:
        return reply({"logs": self._log(request, "build")})

    def _log(self, request: Request, kind: str) -> str:
        record = self.find(request.path_params["name"]).record
        name = request.path_params["entity"]
        for config in (record.pending, record.config):
            entity = config.entity(name) if config is not None else None
            if entity is not None:
                return read_log(self.workspace, entity, kind)
        raise missing(f"Endpoint '{record.name}' has no served entity '{name}'.")

    def _restore(self, record: Record) -> None:
        """Run an endpoint that an earlier life of this workspace has left."""
        endpoint = Endpoint(record, self._meter())
        self.endpoints[record.name] = endpoint
        self._open_table(record)
        for entity in record.config.entities if record.config is not None else ():
            self.rollout.unit(endpoint, entity).recover()
        if record.config_update == IN_PROGRESS and record.pending is not None:
            self.rollout.resume(endpoint, record.pending)

    def _open_table(self, record: Record) -> None:
        place = payload_table(record.name, record.ai_gateway)
        if place is not None:
            self.inference.open(place)

    def keep(self, record: Record) -> None:
        """Keep the record for a restart."""
        record.updated_ms = self.workspace.now_ms()
        with self.workspace.database.lock:
            self.workspace.database.connection.execute(
                "INSERT OR REPLACE INTO serving_endpoints (name, body) VALUES (?, ?)",
                (record.name, json.dumps(asdict(record))),
            )

    async def _flush(self) -> None:
        """Write rows to the tables, and put to sleep who has nothing to do, for ever."""
        while True:
            await asyncio.sleep(_FLUSH_S)
            if self.inference.unwritten:
                await self.workspace.warehouse.feed()
            for endpoint in self.endpoints.values():
                for unit in endpoint.units.values():
                    unit.doze()

    def spawn(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        """Run work in the background; a failure that nobody awaits is told to the operator."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            _log.error("background work of serving failed", exc_info=task.exception())

    def _detail(self, endpoint: Endpoint) -> Json:
        """The endpoint as GET shows it."""
        record = endpoint.record
        shown: Json = {
            "name": record.name,
            "id": record.id,
            "creator": record.creator,
            "creation_timestamp": record.created_ms,
            "last_updated_timestamp": record.updated_ms,
            "state": {
                "ready": "READY" if endpoint.ready() else "NOT_READY",
                "config_update": record.config_update,
            },
            "tags": _tags(record),
            "permission_level": "CAN_MANAGE",
            "route_optimized": False,
            "description": "",
        }
        if record.config is not None:
            shown["config"] = record.config.echo(endpoint.states(record.config))
        if record.pending is not None:
            pending = record.pending.echo(endpoint.states(record.pending))
            shown["pending_config"] = {**pending, "start_time": record.pending.start_ms}
        if record.ai_gateway is not None:
            shown["ai_gateway"] = record.ai_gateway
        return shown


def _resources(units: list[Unit], spent: dict[str, float], passed_s: float) -> Resources:
    """What these units have, and what they have used of it since the last scrape."""
    processes = [unit.process for unit in units if unit.process is not None]
    cpu = sum(spent[unit.entity.served_entity_id] for unit in units)
    return Resources(
        concurrency=sum(unit.entity.max_concurrency for unit in units),
        cpu_percent=100 * max(cpu, 0.0) / passed_s if passed_s > 0 else 0.0,
        memory_percent=100 * max((process.rss for process in processes), default=0.0) / _MEMORY,
    )


def _tags(record: Record) -> list[Json]:
    return [{"key": key, "value": value} for key, value in sorted(record.tags.items())]


def _listed(shown: Json) -> Json:
    """An endpoint as the list shows it: no pending configuration, and of the active one who serves.

    databricks-sdk 0.156, `EndpointCoreConfigSummary`.
    """
    listed = _without(shown, "pending_config")
    if "config" in listed:
        named = ("name", "entity_name", "entity_version")
        listed["config"] = {
            kind: [{key: one[key] for key in named if key in one} for one in entities]
            for kind, entities in listed["config"].items()
            if kind == "served_entities"
        }
    return listed


def _without(body: Json, key: str) -> Json:
    return {name: value for name, value in body.items() if name != key}


def _record(body: Json) -> Record:
    """A record as it was kept."""
    for key in ("config", "pending"):
        if body[key] is not None:
            entities = tuple(Entity(**entity) for entity in body[key]["entities"])
            body[key] = Config(**{**body[key], "entities": entities})
    return Record(**body)

"""The data plane: which entity answers a request, and what is kept of it."""

import random
import time
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from deploy.sandbox.endpoints import Config, Entity
from deploy.sandbox.fleet import Answer
from deploy.sandbox.inference import Exchange, client_request_id
from deploy.sandbox.wire import ApiError, missing

if TYPE_CHECKING:
    from deploy.sandbox.serving import Endpoint, Serving

LARGEST = 16 << 20
"""A request of more bytes than this is refused."""
_TOO_MANY, _SERVER_ERROR = 429, 500


class Router:
    """Answers invocations through the entities' processes."""

    def __init__(self, serving: "Serving") -> None:
        self._serving = serving
        self._random: dict[str, random.Random] = {}

    def routes(self) -> list[Route]:
        """By the endpoint's traffic, and to one served entity whatever its traffic."""
        one = "/serving-endpoints/{name}"
        return [
            Route(f"{one}/invocations", self._by_traffic, methods=["POST"]),
            Route(f"{one}/served-models/{{entity}}/invocations", self._to_one, methods=["POST"]),
        ]

    async def _by_traffic(self, request: Request) -> Response:
        body = await request.body()
        # From here to the first process's taking of the request nothing waits: a configuration
        # that is replaced meanwhile cannot take the chosen process away.
        endpoint, config = self._active(request)
        chosen = self._choose(endpoint, config)
        gateway = endpoint.record.ai_gateway or {}
        others: tuple[Entity, ...] = ()
        if (gateway.get("fallback_config") or {}).get("enabled"):
            others = tuple(entity for entity in config.entities if entity is not chosen)
        return await self._answer(request, body, endpoint, (chosen, *others))

    async def _to_one(self, request: Request) -> Response:
        body = await request.body()
        endpoint, config = self._active(request)
        name = request.path_params["entity"]
        entity = config.entity(name)
        if entity is None:
            raise missing(f"Endpoint '{endpoint.record.name}' serves no entity '{name}'.")
        return await self._answer(request, body, endpoint, (entity,))

    def _active(self, request: Request) -> "tuple[Endpoint, Config]":
        endpoint = self._serving.find(request.path_params["name"])
        config = endpoint.record.config
        if config is None:
            name = endpoint.record.name
            raise ApiError(503, "TEMPORARILY_UNAVAILABLE", f"Endpoint '{name}' is not ready.")
        return endpoint, config

    def _choose(self, endpoint: "Endpoint", config: Config) -> Entity:
        """One entity at random, by weight; each endpoint has its own reproducible sequence."""
        name = endpoint.record.name
        generator = self._random.get(name)
        if generator is None:
            seed = f"{self._serving.workspace.settings.seed}:{name}"
            generator = self._random[name] = random.Random(seed)  # noqa: S311
        [chosen] = generator.choices(list(config.routes), weights=list(config.routes.values()))
        entity = config.entity(chosen)
        assert entity is not None, "routes name entities"
        return entity

    async def _answer(
        self, request: Request, body: bytes, endpoint: "Endpoint", entities: tuple[Entity, ...]
    ) -> Response:
        """Ask the first entity, and the others while one fails; keep what happened."""
        workspace = self._serving.workspace
        if len(body) > LARGEST:
            raise ApiError(400, "BAD_REQUEST", f"Request size cannot exceed {LARGEST} bytes.")
        began, moment = time.perf_counter(), workspace.clock()
        given, stripped = client_request_id(body)
        content_type = request.headers.get("content-type", "application/json")
        for entity in entities:
            answer = await _ask(endpoint, entity, content_type, stripped)
            if answer.status != _TOO_MANY and answer.status < _SERVER_ERROR:
                break
        latency_ms = (time.perf_counter() - began) * 1000
        endpoint.meter.add(workspace.clock(), entity.name, answer.status, latency_ms)
        exchange = Exchange(
            time=moment,
            entity=entity,
            status=answer.status,
            execution_ms=answer.execution_ms,
            request=body,
            response=answer.body,
            client_request_id=given,
            requester=str(request.scope["principal"]),
        )
        self._serving.inference.log(endpoint.record, exchange)
        headers = {"served-model-name": entity.name}
        return Response(answer.body, answer.status, headers, answer.media_type)


async def _ask(endpoint: "Endpoint", entity: Entity, content_type: str, body: bytes) -> Answer:
    """Ask one entity; a refusal by the platform is an answer too, and is kept like one."""
    unit = endpoint.units.get(entity.served_entity_id)
    try:
        if unit is not None:
            return await unit.invoke(content_type, body)
        refusal = ApiError(503, "TEMPORARILY_UNAVAILABLE", f"{entity.name} is no longer served.")
    except ApiError as error:
        refusal = error
    return Answer(refusal.status, "application/json", bytes(refusal.response().body), 0.0)

"""A workspace of many applications that answers at once: what is left is the controller's own time.

    python -m tests.benchmarks.stub --applications 1000

No SQL, no models: endpoints, registered models and metrics by the routes that the daemon asks for
at a look. It runs in a process of its own, on loopback, prints its address as a JSON line, and ends
when its standard input does. `/control` is the benchmark's: it reads counts, and sets faults.
"""

import argparse
import asyncio
import json
import random
import re
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

Json = dict[str, Any]
LIST, SERVING = (
    "/api/2.0/serving-endpoints",
    re.compile(r"/api/2\.0/serving-endpoints/([^/]+)(/config|/metrics)?"),
)
MODEL = re.compile(r"/api/2\.1/unity-catalog/models/([^/]+)(/versions)?")
ALIAS = re.compile(r"/api/2\.1/unity-catalog/models/([^/]+)/aliases/([^/]+)")
TAGS = "/api/2.0/mlflow/unity-catalog/model-versions/"
LIMIT_S = 3600
"""The stub ends by itself after an hour, whatever became of the benchmark."""


def endpoint_of(number: int) -> str:
    """The endpoint of an application, by its number."""
    return f"endpoint-{number:05}"


def model_of(number: int) -> str:
    """The registered model of an application, by its number."""
    return f"main.bench.model_{number:05}"


@dataclass
class Workspace:
    """Endpoints that serve what they were last asked to, without any delay."""

    applications: int
    waiting: bool = False
    """Each model has a version 2 that is not ready yet, so that a release of it waits."""
    canaries: int = 0
    """The first endpoints serve their version 2 to 5 % of users."""
    configs: dict[str, Json] = field(default_factory=dict)
    updated_ms: dict[str, int] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)
    failing: float = 0.0
    """Share of all calls that are answered with 503 before anything is done."""
    asked: Counter[str] = field(default_factory=Counter)
    """Calls by kind."""
    seen: Counter[str] = field(default_factory=Counter)
    """Looks at each model: one in every look at its application."""
    written: dict[str, float] = field(default_factory=dict)
    """When each endpoint's configuration was first asked to change, by `time.time()`."""
    chance: random.Random = field(default_factory=lambda: random.Random(8350))  # noqa: S311 - faults

    def __post_init__(self) -> None:
        """Every endpoint serves version 1, and those in canary version 2 as well."""
        for number in range(self.applications):
            weights = {"1": 95, "2": 5} if number < self.canaries else {"1": 100}
            served = [self._served(number, version) for version in weights]
            named = {self.entity(number, version): share for version, share in weights.items()}
            self.configs[endpoint_of(number)] = self._config(served, named, 1)
            self.updated_ms[endpoint_of(number)] = 1

    def _served(self, number: int, version: str) -> Json:
        return {
            "name": self.entity(number, version),
            "entity_name": model_of(number),
            "entity_version": version,
            "workload_size": "Small",
        }

    def entity(self, number: int, version: str) -> str:
        """The served entity's name, as Headgate makes it."""
        return f"{model_of(number).rsplit('.', 1)[-1]}-v{version}"

    def answer(self, verb: str, target: str, body: bytes) -> tuple[int, bytes]:
        """One call."""
        parts = urlsplit(target)
        path = parts.path
        if path == "/control":
            return 200, json.dumps(self._control(json.loads(body or b"{}"))).encode()
        if verb == "PUT" and (match := SERVING.fullmatch(path)) is not None:
            self.written.setdefault(unquote(match[1]), time.time())
        if self.failing and self.chance.random() < self.failing:
            self.asked["failed"] += 1
            return 503, b'{"error_code": "TEMPORARILY_UNAVAILABLE", "message": "later"}'
        found = self._answer(verb, path, parse_qs(parts.query), body)
        if isinstance(found, str):
            return 200, found.encode()
        if found is None:
            self.asked[f"not found: {verb} {path}"] += 1
            return 404, b'{"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "no such thing"}'
        return 200, json.dumps(found).encode()

    def _answer(
        self, verb: str, path: str, query: dict[str, list[str]], body: bytes
    ) -> Json | str | None:
        if path == LIST:
            self.asked["list endpoints"] += 1
            return {"endpoints": [self._listed(name) for name in self.configs]}
        if (match := SERVING.fullmatch(path)) is not None:
            return self._serving(verb, unquote(match[1]), match[2], body)
        if (match := MODEL.fullmatch(path)) is not None:
            return self._model(unquote(match[1]), match[2], query)
        if (match := ALIAS.fullmatch(path)) is not None and verb == "PUT":
            self.asked["set alias"] += 1
            self.aliases[unquote(match[1])] = str(json.loads(body)["version_num"])
            return {"alias_name": match[2], "version_num": int(self.aliases[unquote(match[1])])}
        if path.startswith(TAGS):
            self.asked["tags"] += 1
            return self._tags(path.removeprefix(TAGS), query, body)
        return None

    def _serving(self, verb: str, name: str, what: str | None, body: bytes) -> Json | str | None:
        if name not in self.configs:
            return None
        if what == "/metrics":
            self.asked["metrics"] += 1
            return self._metrics()
        if what == "/config" and verb == "PUT":
            self.asked["update endpoint"] += 1
            wanted = json.loads(body)
            routes = wanted["traffic_config"]["routes"]
            weights = {
                one["served_model_name"]
                if "served_model_name" in one
                else one["served_entity_name"]: one["traffic_percentage"]
                for one in routes
            }
            version = self.configs[name]["config_version"] + 1
            self.configs[name] = self._config(wanted["served_entities"], weights, version)
            self.updated_ms[name] = round(time.time() * 1000)
            return self._endpoint(name)
        self.asked["get endpoint"] += 1
        return self._endpoint(name)

    def _config(self, entities: list[Json], weights: dict[str, int], version: int) -> Json:
        ready = {"deployment": "DEPLOYMENT_READY", "deployment_state_message": ""}
        return {
            "config_version": version,
            "served_entities": [
                {**one, "state": ready, "scale_to_zero_enabled": False} for one in entities
            ],
            "traffic_config": {
                "routes": [
                    {
                        "served_model_name": name,
                        "served_entity_name": name,
                        "traffic_percentage": weight,
                    }
                    for name, weight in weights.items()
                ]
            },
        }

    def _endpoint(self, name: str) -> Json:
        return {
            "name": name,
            "id": name,
            "state": {"ready": "READY", "config_update": "NOT_UPDATING"},
            "config": self.configs[name],
            "permission_level": "CAN_MANAGE",
            "route_optimized": False,
            "last_updated_timestamp": self.updated_ms[name],
        }

    def _listed(self, name: str) -> Json:
        """As Databricks lists it: entities without their state, and no weights."""
        shown = self._endpoint(name)
        entities = [
            {key: one[key] for key in ("name", "entity_name", "entity_version")}
            for one in shown["config"]["served_entities"]
        ]
        return {**shown, "config": {"served_entities": entities}}

    def _model(self, model: str, versions: str | None, query: dict[str, list[str]]) -> Json:
        if versions:
            self.asked["list versions"] += 1
            found = [{"model_name": model, "version": 1, "status": "READY"}]
            if self.waiting:
                found.append({"model_name": model, "version": 2, "status": "PENDING_REGISTRATION"})
            return {"model_versions": found}
        self.asked["get model"] += 1
        self.seen[model] += 1
        alias = {"alias_name": "production", "version_num": int(self.aliases.get(model, "1"))}
        shown = [alias] if "include_aliases" in query else []
        return {"full_name": model, "name": model.rsplit(".", 1)[-1], "aliases": shown}

    def _tags(self, what: str, query: dict[str, list[str]], body: bytes) -> Json | None:
        if what != "get":
            return {}
        told = json.loads(body) if body else {name: values[0] for name, values in query.items()}
        return {
            "model_version": {
                "name": told["name"],
                "version": told["version"],
                "status": "PENDING_REGISTRATION",
                "tags": [],
            }
        }

    def _metrics(self) -> str:
        at = int(time.time() // 60 * 60_000)
        lines = [
            ("request_count_total", 600), ("request_4xx_count_total", 0),
            ("request_5xx_count_total", 1), ("request_latency_ms_sum", 60_000),
            ("request_latency_ms_count", 600),
        ]  # fmt: skip
        return "".join(f"{name} {value} {at}\n" for name, value in lines)

    def _control(self, wanted: Json) -> Json:
        if "failing" in wanted:
            self.failing = float(wanted["failing"])
        if wanted.get("reset"):
            self.asked.clear()
            self.seen.clear()
            self.written.clear()
        return {
            "asked": dict(self.asked),
            "seen": len(self.seen),
            "written": self.written,
            "weights": {
                name: {
                    one["served_entity_name"]: one["traffic_percentage"]
                    for one in self.configs[name]["traffic_config"]["routes"]
                }
                for name in self.written
            },
        }


class Connection(asyncio.Protocol):
    """HTTP/1.1 with kept connections, and as little of it as the clients need."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.buffer = b""
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where answers go."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer every request that is complete."""
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            head = self.buffer[:end].decode("latin-1").split("\r\n")
            lengths = [one[15:] for one in head if one[:15].lower() == "content-length:"]
            whole = end + 4 + (int(lengths[0]) if lengths else 0)
            if len(self.buffer) < whole:
                return
            body, self.buffer = self.buffer[end + 4 : whole], self.buffer[whole:]
            verb, target, _ = head[0].split(" ", 2)
            status, answer = self.workspace.answer(verb, target, body)
            kind = "text/plain" if target.endswith("/metrics") else "application/json"
            assert self.transport is not None
            self.transport.write(
                f"HTTP/1.1 {status} Stub\r\ncontent-type: {kind}\r\n"
                f"content-length: {len(answer)}\r\n\r\n".encode()
                + answer
            )


async def serve(workspace: Workspace) -> None:
    """Answer until standard input ends, or the hour is over."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(workspace), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    sys.stdout.write(json.dumps({"host": f"http://127.0.0.1:{port}"}) + "\n")
    sys.stdout.flush()
    async with server, asyncio.timeout(LIMIT_S):
        await loop.run_in_executor(None, sys.stdin.read)


def main() -> None:
    """Serve."""
    parser = argparse.ArgumentParser(prog="tests.benchmarks.stub", description=__doc__)
    parser.add_argument("--applications", type=int, required=True)
    parser.add_argument("--waiting", action="store_true")
    parser.add_argument("--canaries", type=int, default=0)
    told = parser.parse_args()
    workspace = Workspace(told.applications, waiting=told.waiting, canaries=told.canaries)
    asyncio.run(serve(workspace))


if __name__ == "__main__":
    main()

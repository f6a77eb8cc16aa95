"""The sandbox beside `mlflow models serve`, with the same model: `make bench-sandbox`.

Both serve one saved model on this machine at the same time, and are asked in turns, so that
whatever else the machine does falls on both. It prints a table and writes build/bench/sandbox.json.
The figures are those of one machine and one moment; nothing is asserted.
"""

import http.client
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from deploy.sandbox.launch import Sandbox

ROOT = Path(__file__).parents[2]
RESULT = ROOT / "build/bench/sandbox.json"
MODEL, ENDPOINT = "main.bench.echo", "bench"
ROUNDS, WARM, SINGLE, CONNECTIONS, SPELL_S = 5, 50, 150, 4, 3.0
START_S = 90.0
BODY = json.dumps({"dataframe_records": [{"query": "pid"}]}).encode()

CODE = """
import os
import mlflow

class Echo(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        return [str(os.getpid()) for _ in model_input["query"]]

mlflow.models.set_model(Echo())
"""


@dataclass
class Server:
    """Where requests go, and what was measured there."""

    name: str
    url: str
    headers: dict[str, str]
    latencies_ms: list[float] = field(default_factory=list)
    per_second: list[float] = field(default_factory=list)

    def connection(self) -> http.client.HTTPConnection:
        """A connection that is kept, without Nagle's delay."""
        parts = urlsplit(self.url)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
        connection.connect()
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def ask(self, connection: http.client.HTTPConnection) -> Any:  # noqa: ANN401 - JSON
        """One request."""
        connection.request("POST", urlsplit(self.url).path, BODY, self.headers)
        response = connection.getresponse()
        content = response.read()
        assert response.status == http.HTTPStatus.OK, content
        return json.loads(content)

    def one_by_one(self, times: int) -> list[float]:
        """Milliseconds of requests that follow each other."""
        connection = self.connection()
        spent = []
        for _ in range(times):
            began = time.perf_counter()
            self.ask(connection)
            spent.append((time.perf_counter() - began) * 1000)
        connection.close()
        return spent

    def together(self) -> float:
        """Requests per second over several connections."""
        done: list[int] = []
        end = time.perf_counter() + SPELL_S

        def work() -> None:
            connection, count = self.connection(), 0
            while time.perf_counter() < end:
                self.ask(connection)
                count += 1
            connection.close()
            done.append(count)

        began = time.perf_counter()
        threads = [threading.Thread(target=work) for _ in range(CONNECTIONS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(done) == CONNECTIONS, f"{self.name} broke off"
        return sum(done) / (time.perf_counter() - began)


def pss_mb(pid: int) -> float:
    """Proportional memory of a process in MB: what it shares counts in part."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    raise AssertionError(f"no Pss for {pid}")


def _register(folder: Path) -> Path:
    """Log the model and register it twice; return where it is saved."""
    # Read when MLflow is imported.
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    os.environ["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"] = "false"
    import mlflow  # noqa: PLC0415 - after the sandbox's address is in the environment
    import pandas as pd  # type: ignore[import-untyped]  # noqa: PLC0415
    from mlflow.models import infer_signature  # noqa: PLC0415

    (folder / "echo.py").write_text(CODE)
    example = pd.DataFrame({"query": ["pid"]})
    mlflow.set_experiment("/Shared/bench")
    with mlflow.start_run():
        logged = mlflow.pyfunc.log_model(
            name="echo",
            python_model=str(folder / "echo.py"),
            signature=infer_signature(example, ["1"]),
            pip_requirements=["mlflow"],
        )
    for _ in range(2):
        mlflow.register_model(logged.model_uri, MODEL)
    return Path(mlflow.artifacts.download_artifacts(logged.model_uri, dst_path=str(folder)))


def _serve() -> None:
    """Both versions on one endpoint, all traffic to the first."""
    from databricks.sdk import WorkspaceClient  # noqa: PLC0415 - the environment names the sandbox
    from databricks.sdk.service.serving import EndpointCoreConfigInput  # noqa: PLC0415

    entities = [
        {
            "name": f"v{number}",
            "entity_name": MODEL,
            "entity_version": str(number),
            "workload_size": "Small",
            "scale_to_zero_enabled": False,
        }
        for number in (1, 2)
    ]
    routes = [
        {"served_entity_name": "v1", "traffic_percentage": 100},
        {"served_entity_name": "v2", "traffic_percentage": 0},
    ]
    config = {
        "name": ENDPOINT,
        "served_entities": entities,
        "traffic_config": {"routes": routes},
    }
    WorkspaceClient().serving_endpoints.create(
        ENDPOINT, config=EndpointCoreConfigInput.from_dict(config)
    ).result()


@contextmanager
def mlflow_server(model: Path) -> Iterator[Server]:
    """`mlflow models serve` with the same model and the same Python."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    mlflow_command = str(Path(sys.executable).with_name("mlflow"))
    command = [mlflow_command, "models", "serve", "--model-uri", str(model), "--port", str(port)]
    command += ["--host", "127.0.0.1", "--env-manager", "local"]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            command,
            stdout=log,
            stderr=log,
            env={**os.environ, "PATH": path},
            start_new_session=True,
        )
        try:
            server = Server(
                "mlflow models serve",
                f"http://127.0.0.1:{port}/invocations",
                {"Content-Type": "application/json"},
            )
            end = time.monotonic() + START_S
            while True:
                try:
                    server.one_by_one(1)
                    break
                except (OSError, http.client.HTTPException):
                    assert process.poll() is None, "mlflow models serve ended"
                    assert time.monotonic() < end, "mlflow models serve did not start"
                    time.sleep(0.3)
            yield server
        finally:
            # It has children; the whole session that was started here ends.
            os.killpg(process.pid, 15)
            process.wait(30)


def measure() -> dict[str, Any]:
    """Ask both in turns, and look at the memory."""
    with ExitStack() as running:
        folder = Path(running.enter_context(tempfile.TemporaryDirectory()))
        sandbox = running.enter_context(Sandbox.start())
        os.environ |= {
            "DATABRICKS_HOST": sandbox.host,
            "DATABRICKS_TOKEN": sandbox.token,
            "MLFLOW_TRACKING_URI": "databricks",
            "MLFLOW_REGISTRY_URI": "databricks-uc",
        }
        saved = _register(folder)
        _serve()
        authorised = {
            "Content-Type": "application/json",
            "Authorization": f"Bearer {sandbox.token}",
        }
        base = f"{sandbox.host}/serving-endpoints/{ENDPOINT}"
        ours = Server("sandbox", f"{base}/invocations", authorised)
        theirs = running.enter_context(mlflow_server(saved))
        servers = (ours, theirs)
        for server in servers:
            server.one_by_one(WARM)
        for turn in range(ROUNDS):
            for server in servers if turn % 2 else servers[::-1]:
                server.latencies_ms += server.one_by_one(SINGLE)
                server.per_second.append(server.together())
        entities = [
            Server(name, f"{base}/served-models/{name}/invocations", authorised)
            for name in ("v1", "v2")
        ]
        memory = {}
        for server in (*entities, theirs):
            answer = server.ask(server.connection())
            memory[server.name] = round(pss_mb(int(answer["predictions"][0])), 1)
        found: dict[str, Any] = {
            server.name: {
                "requests_per_second": round(statistics.median(server.per_second), 1),
                "median_ms": round(statistics.median(server.latencies_ms), 2),
                "p95_ms": round(statistics.quantiles(server.latencies_ms, n=20)[18], 2),
            }
            for server in servers
        }
        added = found["sandbox"]["median_ms"] - found["mlflow models serve"]["median_ms"]
        return {
            **found,
            "added_ms_at_the_median": round(added, 2),
            "pss_mb_of_the_process_that_answers": memory,
            "cores": os.cpu_count(),
            "load_average": round(os.getloadavg()[0], 2),
        }


def show(found: dict[str, Any]) -> str:
    """The table."""
    lines = [f"{'':22}{'requests/s':>12}{'median ms':>12}{'p95 ms':>12}"]
    for name in ("sandbox", "mlflow models serve"):
        row = found[name]
        cells = (row["requests_per_second"], row["median_ms"], row["p95_ms"])
        lines.append(f"{name:22}" + "".join(f"{cell:>12}" for cell in cells))
    lines.append(f"added at the median: {found['added_ms_at_the_median']} ms")
    memory = found["pss_mb_of_the_process_that_answers"]
    lines.append("PSS: " + ", ".join(f"{name} {size} MB" for name, size in memory.items()))
    lines.append(f"{found['cores']} cores, load average {found['load_average']}")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    measured = measure()
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(json.dumps(measured, indent=2) + "\n")
    sys.stdout.write(show(measured))

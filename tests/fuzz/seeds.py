"""What is well formed, to begin from: a configuration, a log and a webhook as they really are."""

import json
import tempfile
from functools import cache
from pathlib import Path

from tests.controller.house import opened

_CONFIGURATION = """\
applications:
  rag-chatbot:
    model: main.ml_models.rag_chatbot
    endpoint: rag-chatbot-endpoint
    alias: champion
    serving:
      min_concurrency: 4
      max_concurrency: 8
      workload_type: CPU
      scale_to_zero: false
      environment: {API_KEY: "{{secrets/rag/key}}"}
    staging: {workload_size: Small}
    inference_table: {catalog: main, schema: serving, prefix: rag}
    permissions:
      - {group: users, level: CAN_QUERY}
    response: {answer: "$.predictions[0].answer", tokens: $.usage.completion_tokens}
    evidence:
      every: 1m
      max_lag: 1h
      queries:
        gateway: {sql: "SELECT 1", counts: errors, server_errors: true}
        quality: {sql: "SELECT 1", counts: score}
    tests:
      - query: What are the key features of Delta Lake?
        expect: {answer_contains: [ACID], min_sources: 1, max_tokens: 100}
    admission: {required_tags: [git_sha], approval: before_canary, order: newest}
    rollout: {steps: [5, 25, 50, 100], settle: 1m, min_step: 5m, bake: 30m, watch: 1h, patience: 2d}
    guards:
      errors: {margin: 0.5pp, limit: 3%}
      latency: {margin: 20%, observe: true}
      quality: {margin: 2pp}
"""
_WEBHOOK = {
    "entity": "model_version",
    "action": "created",
    "timestamp": "2026-11-27T04:00:00Z",
    "data": {"name": "main.ml_models.rag_chatbot", "version": "7", "tags": {}},
}
_PING = {"updates": [{"full_name": "main.ml_models.search", "version": 7}], "applications": []}


@cache
def log() -> bytes:
    """The journal of a release that went up, and of one that came back."""
    with tempfile.TemporaryDirectory() as folder, opened(Path(folder)) as house:
        house.passes()
        for version, state in (("2", "Production"), ("3", "RolledBack")):
            if version == "3":
                house.outside.story.error_rates["3"] = 0.1
            house.outside.story.register(int(version))
            for _ in range(200):
                house.passes()
                newest = house.application().newest(version)
                if newest is not None and newest.state == state and not newest.live:
                    break
        return b"".join(json.dumps(line).encode() + b"\n" for line in house.store.journal())


@cache
def seeds(target: str) -> tuple[bytes, ...]:
    """What a target takes."""
    match target:
        case "configuration":
            return (_CONFIGURATION.encode(),)
        case "log":
            return (log(),)
        case _:
            return json.dumps(_WEBHOOK).encode(), json.dumps(_PING).encode(), b"{}"

"""`python -m controller.health`: whether the daemon that HEADGATE_HTTP names says that it is well.

A container's health check: no shell, no curl, and no more imports than an HTTP client's, as it runs
every half minute. With `--ready`, whether the daemon can do its work. It exits with 0, or with 1
and a sentence on stderr.
"""

import http.client
import json
import os
import sys
from collections.abc import Mapping, Sequence

from controller.address import USUAL, host_and_port, nearby

PATIENCE_S = 3.0
"""Less than what a health check is given, so that the sentence is always told."""
OK = 200
LONGEST = 64 * 1024
"""Bytes of an answer that are read: a longer one is not the daemon's."""


def trouble(path: str, environ: Mapping[str, str] = os.environ) -> str | None:
    """What is wrong, in one sentence; None while all is well."""
    address = environ.get("HEADGATE_HTTP", USUAL)
    if address == "off":
        return "HEADGATE_HTTP=off: the daemon answers nobody; give it an address"
    parts = host_and_port(address)
    if parts is None:
        return f"HEADGATE_HTTP={address}: write a host and a port, like {USUAL}, or `off`"
    connection = http.client.HTTPConnection(nearby(parts[0]), parts[1], timeout=PATIENCE_S)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read(LONGEST)
    except (OSError, http.client.HTTPException) as error:
        return f"{address} does not answer ({type(error).__name__}): the daemon's log says why"
    finally:
        connection.close()
    return None if answer.status == OK else _because(answer.status, body)


def _because(status: int, body: bytes) -> str:
    """The daemon's own sentence, or that it was another who answered."""
    try:
        told = json.loads(body)
    except ValueError:
        told = None
    if isinstance(told, dict) and isinstance(told.get("because"), str):
        return str(told["because"])
    return f"HTTP {status}, which is not how a daemon answers: is HEADGATE_HTTP another's address?"


def main(arguments: Sequence[str]) -> int:
    """Ask once; the exit code."""
    if list(arguments) not in ([], ["--ready"]):
        sys.stderr.write("health: it takes nothing, or --ready\n")
        return 2
    found = trouble("/readyz" if arguments else "/healthz")
    if found is None:
        return 0
    sys.stderr.write(f"health: {found}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

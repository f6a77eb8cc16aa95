"""The users: they ask the chatbot's endpoint real questions and keep a record of every outcome.

    python -m deploy.sandbox.demo.users --endpoint rag-chatbot-endpoint --rate 30 --out users.jsonl

takes the workspace from DATABRICKS_HOST and DATABRICKS_TOKEN. It waits for the endpoint's first
answer, then keeps the pace whatever the answers are, until SIGTERM or the end of `--for`.
"""

import argparse
import json
import math
import os
import random
import signal
import sys
import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import TextIO

import requests

from deploy.sandbox.demo.questions import QUESTIONS

NO_ANSWER = 0
"""The status of a request that got none: the connection failed or the time ran out."""
WAIT_S = 0.2
"""How long to wait for an endpoint that is not ready before asking again, in seconds."""
FLUSH_S = 0.25
"""How often the record reaches the file, in seconds."""
LATEST_S = 1.0
"""How far behind its pace the crowd may fall before the missed questions are given up."""


@dataclass
class Pace:
    """When each question is due, `rate` per second, however long the answers take."""

    rate: float
    lock: threading.Lock = field(default_factory=threading.Lock)
    due: float = field(default_factory=time.monotonic)

    def next(self) -> float:
        """Take the next due time, on the monotonic clock."""
        with self.lock:
            # After a stall the crowd goes on at its pace; a burst of old questions is not natural.
            due = max(self.due, time.monotonic() - LATEST_S)
            self.due = due + 1 / self.rate
            return due


@dataclass
class Record:
    """The outcomes, one JSON line each, written by several threads."""

    out: TextIO
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, outcome: dict[str, object]) -> None:
        """Append one outcome."""
        with self.lock:
            self.out.write(json.dumps(outcome) + "\n")

    def flush(self) -> None:
        """Let readers of the file see all outcomes so far."""
        with self.lock:
            self.out.flush()


@dataclass
class User:
    """Someone with a session of their own who asks the endpoint questions at random."""

    url: str
    token: str
    timeout: float
    random: random.Random
    session: requests.Session = field(default_factory=requests.Session)

    def ask(self) -> dict[str, object]:
        """Ask one question and return its outcome; a request without an answer is one as well."""
        body = {
            "dataframe_records": [{"query": self.random.choice(QUESTIONS)}],
            "client_request_id": str(uuid.uuid4()),
        }
        headers = {"Authorization": f"Bearer {self.token}"}
        asked, started = time.time(), time.perf_counter()
        try:
            answer = self.session.post(self.url, json=body, headers=headers, timeout=self.timeout)
        except requests.RequestException:
            status, served = NO_ANSWER, None
        else:
            status, served = answer.status_code, answer.headers.get("served-model-name")
        ms = 1000 * (time.perf_counter() - started)
        return {"t": round(asked, 3), "status": status, "served": served, "ms": round(ms, 2)}


def wait_for_endpoint(user: User, over: Callable[[], bool]) -> dict[str, object] | None:
    """Ask until the endpoint answers; return that first answer, or nothing when it is over."""
    seen = None
    while not over():
        outcome = user.ask()
        if outcome["status"] == HTTPStatus.OK:
            return outcome
        if outcome["status"] != seen:
            seen = outcome["status"]
            why = "no answer" if seen == NO_ANSWER else f"status {seen}"
            sys.stderr.write(f"waiting for {user.url}: {why}\n")
        time.sleep(WAIT_S)
    return None


def keep_asking(user: User, pace: Pace, record: Record, stop: threading.Event) -> None:
    """Ask whenever a question is due, until told to stop; the last answer is still awaited."""
    while not stop.wait(max(0.0, pace.next() - time.monotonic())):
        record.add(user.ask())


def crowd(users: list[User], rate: float, record: Record, over: Callable[[], bool]) -> None:
    """Let the users ask, from the endpoint's first answer until it is over."""
    first = wait_for_endpoint(users[0], over)
    if first is None:
        return
    record.add(first)
    pace, stop = Pace(rate), threading.Event()
    with ThreadPoolExecutor(len(users)) as pool:
        asking = [pool.submit(keep_asking, user, pace, record, stop) for user in users]
        # A user ends early by an error of ours only: then all stop, and `result` raises it.
        while not over() and not any(future.done() for future in asking):
            record.flush()
            time.sleep(FLUSH_S)
        stop.set()
        for future in asking:
            future.result()


def main() -> int:
    """Do as the command line says."""
    parser = argparse.ArgumentParser(prog="deploy.sandbox.demo.users", description=__doc__)
    parser.add_argument("--endpoint", required=True)
    parser.add_argument("--threads", type=int, default=4)
    parser.add_argument("--rate", type=float, default=20.0, help="questions per second, in total")
    parser.add_argument("--for", type=float, default=math.inf, dest="seconds", metavar="SECONDS")
    parser.add_argument("--timeout", type=float, default=10.0, help="of one request, in seconds")
    parser.add_argument("--seed", type=int, default=0, help="of the choice of questions")
    parser.add_argument("--out", type=Path, required=True, help="file of outcomes, appended to")
    arguments = parser.parse_args()
    host, token = os.environ.get("DATABRICKS_HOST"), os.environ.get("DATABRICKS_TOKEN")
    if not host or not token:
        parser.error("set DATABRICKS_HOST and DATABRICKS_TOKEN")
    url = f"{host.rstrip('/')}/serving-endpoints/{arguments.endpoint}/invocations"
    users = [
        # Seeds of their own: threads that shared one would ask in an order that nobody can repeat.
        User(url, token, arguments.timeout, random.Random(f"{arguments.seed}/{n}"))  # noqa: S311
        for n in range(arguments.threads)
    ]

    # A handler that set an Event could wait for a lock which the interrupted line holds.
    told: list[int] = []
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda received, _: told.append(received))
    end = time.monotonic() + arguments.seconds
    with arguments.out.open("a", encoding="utf-8") as out:
        crowd(users, arguments.rate, Record(out), lambda: bool(told) or time.monotonic() >= end)
    return 0


if __name__ == "__main__":
    sys.exit(main())

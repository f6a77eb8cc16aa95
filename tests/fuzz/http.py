"""The whole HTTP interface fuzzed: byte by byte, then by schemathesis from its own description.

`python -m tests.fuzz.http SCHEMATHESIS EXAMPLES`: the daemon's application on a port of its own,
with a record behind it (`interface`): so many examples of each operation that the document has, and
before them a hundred times as many requests that may be anything.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from hypothesis import given, settings

from tests.fuzz.interface import TOKEN, Sent, ask, requests, serving, wrong

CHECKS = "not_a_server_error,content_type_conformance,response_schema_conformance,ignored_auth"
LONGEST_S = 600
FACTOR = 100


def anything(port: int, examples: int) -> None:
    """Requests that may be anything; AssertionError with the smallest that is answered wrongly."""
    statuses: dict[str, int] = {}

    @settings(max_examples=examples, deadline=None, database=None)
    @given(sent=requests())
    def one(sent: Sent) -> None:
        answered = ask(port, sent)
        found = "no HTTP" if answered.unread else str(answered.status)
        statuses[found] = statuses.get(found, 0) + 1
        assert list(wrong(sent, answered)) == [], sent

    began = time.monotonic()
    one()
    told = ", ".join(f"{number} x {status}" for status, number in sorted(statuses.items()))
    sys.stdout.write(
        f"{sum(statuses.values())} requests in {time.monotonic() - began:.0f} s: {told}\n"
    )


def main() -> None:
    """Both campaigns; exits with the first that finds something."""
    tool, examples = sys.argv[1:3]
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder)) as port:
        anything(port, FACTOR * int(examples))
        url = f"http://127.0.0.1:{port}/openapi.json"
        header = f"Authorization: Bearer {TOKEN}"
        done = subprocess.run(
            [
                *(tool, "run", url, "--header", header, "--checks", CHECKS),
                *("--max-examples", examples, "--phases", "coverage,fuzzing", "--seed", "1"),
                *("--request-timeout", "10", "--no-color", "--continue-on-failure"),
            ],
            timeout=LONGEST_S,
            check=False,
        )
        sys.exit(done.returncode)


if __name__ == "__main__":
    main()

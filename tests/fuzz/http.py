"""The HTTP interface fuzzed by schemathesis, from its own description, with the token and without.

`python -m tests.fuzz.http SCHEMATHESIS EXAMPLES`: the daemon's application on a port of its own,
with a record of two releases behind it; orders are taken, and nothing carries them out.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from controller.daemon.doorbell import Doorbell
from controller.daemon.http import Server, application
from controller.daemon.orders_http import Orders
from controller.settings import HttpSettings
from tests.controller.house import NAME, opened

TOKEN = "a token that is long enough"
CHECKS = "not_a_server_error,content_type_conformance,response_schema_conformance,ignored_auth"
LONGEST_S = 600


def main() -> None:
    """Both campaigns; exits with the first that finds something."""
    tool, examples = sys.argv[1:3]
    with tempfile.TemporaryDirectory() as folder, opened(Path(folder)) as house:
        house.passes(3)
        settings = HttpSettings(port=0, token=TOKEN.replace(" ", "-"))
        server = Server(settings)
        bell = Doorbell("a secret of the doorbell", {NAME: "main.a.rag"}, lambda names: names)
        orders = Orders(house.store, [NAME], lambda names: names, lambda: False, settings.host)
        routes = [bell.route, *orders.routes]
        with server.serving(application(lambda: None, lambda: None, settings.token, routes)):
            url = f"http://127.0.0.1:{server.port}/openapi.json"
            header = f"Authorization: Bearer {settings.token}"
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

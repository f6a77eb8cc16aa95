"""A warm parent of daemons: it imports everything once, and forks one whenever it is asked to.

    python -m tests.end_to_end.nursery

Each line of its input is an order in JSON: arguments, environment, and the files that the child
writes its log and its errors to. It answers with the child's pid, and with its exit code once it
was waited for. A daemon of a fork is the one that `python -m controller` runs, less its imports.
"""

import gc
import json
import os
import sys
from typing import Any

import mlflow.artifacts

from controller.console import cli
from controller.daemon import building, main

WARM = (cli, building, main, mlflow.artifacts)


def child(order: dict[str, Any]) -> None:
    """Become the command, and never return."""
    os.setsid()
    for path, number in ((order["log"], 1), (order["errors"], 2)):
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(file, number)
        os.close(file)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.environ.clear()
    os.environ.update(order["environment"])
    sys.argv = ["headgate", *order["arguments"]]
    code = 70
    try:
        cli.main()
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
    finally:
        sys.stdout.flush()
        # What the parent had of threads and exit handlers is not the child's to end.
        os._exit(code)


def nurse() -> None:
    """Fork and wait, until the input ends."""
    gc.collect()
    gc.freeze()
    for line in sys.stdin:
        order = json.loads(line)
        if "wait" in order:
            _, status = os.waitpid(order["wait"], 0)
            answer = {"code": os.waitstatus_to_exitcode(status)}
        else:
            pid = os.fork()
            if pid == 0:
                child(order)
            answer = {"pid": pid}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    nurse()

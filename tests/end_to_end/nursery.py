"""A warm parent of the console's commands: it imports everything once, and forks one when asked.

    python -m tests.end_to_end.nursery FD

Each packet on the socket FD is an order in JSON: to fork a command, with its arguments and its
environment, whose stdout and stderr come with the packet; or to say whether one that it forked has
ended. It answers with the command's pid, or with its exit code. A command of a fork is the one that
`python -m controller` runs, less its imports: those take longer than most of what the tests ask.
"""

import gc
import json
import os
import socket
import sys
from typing import Any

import mlflow.artifacts

from controller.console import cli
from controller.daemon import building, main
from tests.end_to_end.forks import LONGEST

WARM = (cli, building, main, mlflow.artifacts)


def child(order: dict[str, Any], outputs: list[int]) -> None:
    """Become the command, and never return."""
    os.setsid()
    nothing = os.open(os.devnull, os.O_RDONLY)
    for number, file in enumerate((nothing, *outputs)):
        os.dup2(file, number)
        os.close(file)
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
        sys.stderr.flush()
        # What the parent had of threads and exit handlers is not the child's to end.
        os._exit(code)


def answer(line: socket.socket, order: dict[str, Any], outputs: list[int]) -> dict[str, Any]:
    """Do as the order says; a child never comes back from it."""
    if "ended" in order:
        pid, status = os.waitpid(order["ended"], os.WNOHANG)
        return {"code": os.waitstatus_to_exitcode(status) if pid else None}
    pid = os.fork()
    if pid == 0:
        line.close()
        child(order, outputs)
    for file in outputs:
        os.close(file)
    return {"pid": pid}


def nurse(line: socket.socket) -> None:
    """Obey until the other side is gone."""
    gc.collect()
    gc.freeze()
    while True:
        packet, outputs, _, _ = socket.recv_fds(line, LONGEST, 2)
        if not packet:
            return
        line.send(json.dumps(answer(line, json.loads(packet), outputs)).encode())


if __name__ == "__main__":
    nurse(socket.socket(fileno=int(sys.argv[1])))

"""The zygote: a process that has imported MLflow, and forks whatever runs it.

    python -m deploy.sandbox.zygote SOCKET

Importing MLflow takes seconds, forking takes milliseconds. The zygote never loads a model.
"""

import gc
import os
import signal
import sys
import traceback

from deploy.sandbox import tracking_server
from deploy.sandbox.worker import Line, run_worker


def main(socket_path: str) -> None:
    """Import what every model needs, once, then fork a worker for each order."""
    # What is imported stays: neither this process nor its forks need to look for garbage in it.
    gc.disable()
    from mlflow.utils import requirements_utils  # noqa: PLC0415

    # MLflow reads what is installed when the first model is loaded, and keeps it.
    requirements_utils.warn_dependency_requirement_mismatches(["mlflow"])
    # Forks are not waited for: the workspace learns of their end from their connections.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    # An interrupt at the terminal reaches the whole group; the workspace alone decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.freeze()
    gc.enable()
    line = Line(socket_path, {"hello": "zygote"})
    while True:
        order, _ = line.receive()
        if os.fork() == 0:
            line.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            code = 1
            try:
                run = tracking_server.run if "tracking" in order else run_worker
                run(order)
                code = 0
            except BaseException:  # noqa: BLE001 - nothing may unwind into the zygote's loop
                traceback.print_exc()
            finally:
                os._exit(code)


if __name__ == "__main__":
    main(sys.argv[1])

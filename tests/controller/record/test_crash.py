import os
import random
import signal
import subprocess
import sys
import time

from tests.controller.record.conftest import Home

ROUNDS = 5
WRITER = """
import sys
from dataclasses import replace
from controller.record.store import Store
from states.plan import Event, MoveAlias, Plan
from states.release import Release
from states.spec import Spec

store = Store(sys.argv[1])
spec = Spec(model="main.ml.rag", endpoint="rag")
while True:
    loaded = store.load("rag", spec)
    old = loaded.application.newest("2")
    now = store.now()
    count = old.retreats + 1 if old else 1
    new = replace(old or Release(application="rag", version="2", since=now), retreats=count)
    plan = Plan(
        application=loaded.application.with_release(new),
        events=(Event(name="release.held", release=("2", 1), fields={"count": count}),),
    )
    store.commit(loaded, plan, [MoveAlias(str(count))])
    print(count, flush=True)
"""


def test_a_kill_in_the_middle_of_a_commit_loses_nothing_acknowledged(home: Home) -> None:
    luck = random.Random(7)  # noqa: S311 - when to kill is no secret
    home.store().close()
    for _ in range(ROUNDS):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, home.url], stdout=subprocess.PIPE, text=True
        )
        assert writer.stdout is not None
        acknowledged = int(writer.stdout.readline())
        time.sleep(luck.uniform(0, 0.1))
        os.kill(writer.pid, signal.SIGKILL)
        rest, _ = writer.communicate()
        acknowledged = int(rest.split("\n")[-2]) if "\n" in rest else acknowledged
        store = home.store()
        (found,) = store.load("rag").application.releases
        counts = [line["count"] for line in store.journal()]
        assert found.retreats in (acknowledged, acknowledged + 1)
        assert counts == list(range(1, found.retreats + 1))
        assert store.last_seq() == found.retreats
        store.close()

"""What the daemon says as it begins."""

from pathlib import Path

from controller.daemon.main import told_loaded
from states.machine import State
from tests.controller.record.making import release, store_in, write


def test_a_release_that_the_configuration_leaves_alone_is_told(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    write(store, release("2", State.CANARY, step=1))
    named = told_loaded(store, "headgate.yaml", ["rag"])
    assert (named.level, named.because) == ("info", "headgate.yaml: rag")
    left = told_loaded(store, "headgate.yaml", ["another"])
    assert left.level == "warning"
    assert "rag/2 is under way and not named here" in left.because
    write(store, release("2", State.ROLLED_BACK, settled=True))
    assert told_loaded(store, "headgate.yaml", ["another"]).level == "info"
    store.close()

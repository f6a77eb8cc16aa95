"""What a version leaves: a release that became stable, one that failed, one in the middle.

In a checkout of the version: `python -m tests.controller.record.earlier.make FOLDER`.
"""

import gzip
import io
import json
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

from controller.console.reading import fold
from controller.record.logging import configure_logging
from states.machine import State
from states.world import Endpoint
from tests.controller.house import House, opened


def main(folder: Path) -> None:
    """Tell the story, and leave its store, its log and its status in a folder."""
    paper = io.StringIO()
    configure_logging("json", paper)
    with TemporaryDirectory() as home, opened(Path(home)) as house:
        _tell(house)
        house.one.printer.print_new()
        endpoint = house.outside.story.endpoint
        assert isinstance(endpoint, Endpoint)
        told = {
            "now": house.clock[0].isoformat(),
            "weights": {one.version: one.weight for one in endpoint.serving.shares.values()},
            "statuses": fold(house.store.journal()).statuses(all_=True),
        }
        with closing(sqlite3.connect(house.store.path)) as file:
            dump = "\n".join(file.iterdump())
    folder.mkdir(parents=True)
    (folder / "status.json").write_text(json.dumps(told, indent=1))
    for name, text in (("store.sql.gz", dump), ("log.jsonl.gz", paper.getvalue())):
        (folder / name).write_bytes(gzip.compress(text.encode(), 9, mtime=0))


def _tell(house: House) -> None:
    house.passes(2)
    story = house.outside.story
    story.register(2)
    _until(house, lambda: (house.application().stable, house.application().live) == ("2", None))
    story.error_rates["3"] = 0.3
    story.register(3)
    _until(house, lambda: _is(house, "3", State.ROLLED_BACK) and house.application().live is None)
    story.register(4)

    def in_the_middle() -> bool:
        live = house.application().live
        return live is not None and live.step == 2 and len(live.blocks) > 4

    _until(house, in_the_middle)


def _is(house: House, version: str, state: State) -> bool:
    return any((one.version, one.state) == (version, state) for one in house.application().releases)


def _until(house: House, done: Callable[[], bool]) -> None:
    for _ in range(400):
        house.passes()
        if done():
            return
    raise AssertionError(house.application())


if __name__ == "__main__":
    main(Path(sys.argv[1]))

import contextlib
import json
import signal
from pathlib import Path

import pytest

from tests.end_to_end.stage import Showing, eventually, headgate
from tests.published import assert_as_published

pytestmark = [
    pytest.mark.end_to_end,
    pytest.mark.timeout(400),
]


def test_the_demo_shows_four_versions_and_leaves_nothing_behind(demo: Showing) -> None:
    assert demo.process.wait(320) == 0, demo.out
    rows = [line for line in demo.out.splitlines() if line.startswith("│ ")]
    told = {row.split("│")[1].strip(): row.split("│")[2].strip() for row in rows}
    told.pop("", None)
    assert told == {"1": "Retired", "2": "Production", "3": "RolledBack", "4": "RolledBack"}
    assert demo.leftovers == []
    lines = [json.loads(line) for line in demo.log.read_text().splitlines()]
    assert_as_published(lines)
    numbers = [line["seq"] for line in lines if "seq" in line]
    assert numbers == list(range(1, len(numbers) + 1))
    said = headgate("explain", "rag-chatbot/3", "--logs", demo.log)
    assert said.code == 0
    assert "more errors than stable" in " ".join(said.out.split())


@pytest.mark.parametrize("moment", ["a Databricks workspace", "Provisioning"])
def test_ctrl_c_ends_the_demo_and_all_its_parts(tmp_path: Path, moment: str) -> None:
    showing = Showing(tmp_path)
    try:
        eventually(lambda: moment in showing.out and len(showing.parts) > 1, moment)
        showing.process.send_signal(signal.SIGINT)
        assert showing.process.wait(30) == 130
        assert "interrupted: everything is stopped and removed" in showing.out
        with contextlib.suppress(AssertionError):
            eventually(lambda: showing.leftovers == [], "nothing is left")
        assert showing.leftovers == []
    finally:
        showing.end()

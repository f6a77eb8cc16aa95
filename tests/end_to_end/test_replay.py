import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.end_to_end.stage import Course, Daemon, Workspace, begin

pytestmark = [
    pytest.mark.end_to_end,
    pytest.mark.timeout(180),
]
REPLAY = {
    "safe_to_repeat": True,
    "requests": 100,
    # Thirty pairs show these; on a busy machine either version is slow at times.
    "margins": {"errors": "15pp", "answers": "15pp", "sources": "15pp", "latency": "200%"},
}
TOPIC = "What of the lost topic?"


@pytest.fixture
def forgetful(workspace: Workspace, tmp_path: Path) -> Path:
    """A model that has lost the sources of one topic."""
    files = tmp_path / "forgetful"
    shutil.copytree(workspace.files, files)
    code = files / "terse.py"
    whole = code.read_text()
    lost = whole.replace('["delta"]}', '[] if "topic" in one else ["delta"]}')
    code.write_text(lost.replace("for _ in", "for one in"))
    assert "topic" in code.read_text()
    return files


def ask(one: Course, queries: list[str]) -> None:
    """Users ask, and what they asked comes to be recorded."""
    for query in queries:
        body = {"dataframe_records": [{"query": query}]}
        one.workspace.call("POST", f"/serving-endpoints/{one.endpoint}/invocations", json=body)


def test_a_version_that_lost_a_topic_goes_home_unseen_and_the_pairs_show_what_it_lost(
    course: Callable[..., Course], daemon: Callable[..., Daemon], forgetful: Path
) -> None:
    one = course(replay=REPLAY).open().ready()
    ask(one, [TOPIC if number % 3 == 0 else f"What is {number}?" for number in range(90)])
    head = daemon(one).start()
    head.until("release.registered", version="1")
    one.register(forgetful)
    head.until("replay.started", version="2")
    head.kill()
    head.start()
    line = head.until("replay.finished", version="2")
    assert (line["verdict"], line["guard"]) == ("FAIL", "sources"), line["because"]
    assert line["pairs"] <= 90
    head.until("release.settled", version="2", state="RolledBack")
    assert not head.told("release.transition", version="2", to_state="Canary")
    assert one.split["1"] == 100
    worst = line["worst"][0]
    assert worst["why"].startswith("sources lost")
    assert TOPIC not in head.log.read_text()
    asked = ("pairs", f"{one.name}/2", "--text", "--json", "--store", head.url)
    found = begin(*asked, "--config", head.config, environment=head.environment).finish()
    assert found.code == 0, found.err
    first = found.json[0]
    assert first["request"] == worst["request"]
    assert TOPIC in first["texts"]["request"]
    answers = [json.loads(each["response"]) for each in first["texts"]["answers"]]
    sources = [each["predictions"][0]["sources"] for each in answers]
    assert sorted(sources) == [[], ["delta"], ["delta"]], "the user's, stable's and the version's"

"""After a rollback some bad requests are looked up by their ids: once, and nothing waits for it."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from controller.record.lines import Line
from controller.workspace.errors import Unreachable, WorkspaceError
from states.counted import Counted, Paths
from states.examples import Found, Wanted
from states.machine import State
from states.release import Application
from tests.controller.house import NAME, House, opened
from tests.states.story import SPEC, START


@dataclass
class Requests:
    """What the inference table would tell; it remembers what it was asked, and what was so then."""

    found: Found = Found(  # noqa: RUF009 - immutable
        ids=("id-1", "id-2", "id-3"), statuses=(("400", 8), ("none", 1)), first_at=START
    )
    failing: WorkspaceError | None = None
    asked: list[Wanted] = field(default_factory=list)
    homes: list[bool] = field(default_factory=list)

    def look(self, application: Application, wanted: Wanted) -> Found:
        """What it has of them."""
        self.asked.append(wanted)
        self.homes.append(application.live is None)
        if self.failing is not None:
            raise self.failing
        return self.found


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with opened(tmp_path) as house:
        yield house


def rolled_back(house: House, requests: Requests) -> None:
    """A release that errs in a fifth of its requests has gone home."""
    house.one.examples = requests
    house.passes(2)
    house.outside.story.register(2)
    house.outside.story.error_rates["2"] = 0.2
    while house.application().newest("2") is None or house.application().live is not None:
        run(house)


def run(house: House) -> None:
    """What a beat does, half a minute later."""
    house.ticks[0] += 30
    house.clock[0] += timedelta(seconds=30)
    house.one.run()


def written(house: House, event: str) -> list[Line]:
    return [line for line in house.store.journal() if line["event"] == event]


def test_the_ids_are_written_down_in_the_pass_after_the_one_in_which_users_were_seen_home(
    house: House,
) -> None:
    requests = Requests()
    rolled_back(house, requests)
    assert written(house, "release.post_mortem"), "it is in the transaction of the settling"
    assert requests.asked == []
    run(house)
    [wanted] = requests.asked
    assert (wanted.version, wanted.guard) == ("2", "errors")
    assert requests.homes == [True]
    [line] = written(house, "release.examples")
    assert line["request_ids"] == ["id-1", "id-2", "id-3"]
    assert line["statuses"] == [["400", 8], ["none", 1]]
    assert "9 of the bad requests by now, 8 with status 400, 1 with no answer" in line["because"]
    assert (line["release"], line["state"]) == (f"{NAME}/2", State.ROLLED_BACK)
    for _ in range(5):
        run(house)
    assert len(requests.asked) == len(written(house, "release.examples")) == 1


def test_requests_are_looked_up_by_the_paths_that_the_release_was_admitted_with(
    house: House,
) -> None:
    admitted, edited = (Counted(paths=Paths(answer=place)) for place in ("$.answer", "$.text"))
    house.one.spec = replace(SPEC, counted=admitted)
    house.passes()
    house.outside.story.register(2)
    house.until("Canary")
    house.one.spec = replace(SPEC, counted=edited)
    requests = Requests()
    rolled_back(house, requests)
    run(house)
    assert [one.paths for one in requests.asked] == [admitted.paths]


def test_the_post_mortem_is_in_the_transaction_that_settles_the_rollback(house: House) -> None:
    rolled_back(house, Requests())
    [told] = written(house, "release.post_mortem")
    settled = written(house, "release.settled")[-1]
    assert settled["release"] == told["release"]
    assert settled["timestamp"] == told["timestamp"]
    assert told["seq"] == settled["seq"] + 1


def test_a_table_that_does_not_answer_costs_the_ids_and_nothing_else(house: House) -> None:
    requests = Requests(failing=Unreachable("inference table x: the SQL warehouse gave no result"))
    rolled_back(house, requests)
    with capture_logs() as logs:
        run(house)
    [line] = [line for line in logs if line["event"] == "examples.unread"]
    assert line["because"] == "inference table x: the SQL warehouse gave no result"
    house.outside.story.register(3)
    house.outside.story.error_rates.clear()
    for _ in range(60):
        run(house)
    assert len(requests.asked) == 1, "it is asked once"
    assert written(house, "release.examples") == []
    third = house.application().newest("3")
    assert third is not None
    assert third.state is State.PRODUCTION


def test_nothing_is_looked_up_of_a_release_that_no_guard_closed(house: House) -> None:
    house.outside.story.golden_fails = frozenset({"2"})
    requests = Requests()
    rolled_back(house, requests)
    run(house)
    assert requests.asked == []
    [line] = written(house, "release.post_mortem")
    assert line["because"].startswith("no user met it: ")


def test_a_table_without_such_requests_writes_nothing(house: House) -> None:
    requests = Requests(found=Found())
    rolled_back(house, requests)
    before = house.store.printed()
    run(house)
    assert len(requests.asked) == 1
    assert house.store.printed() == before

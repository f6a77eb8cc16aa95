import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

import pytest

from controller.daemon.replaying import LOOK_S, Replayer, is_time
from controller.workspace.errors import Unreachable, WorkspaceError
from controller.workspace.recorded import AT_ONCE, Recorded, Sample
from policies.pairs import Pair
from policies.replay import Batch, Drawn, Replay
from states.counted import Paths
from states.release import Application, Order
from states.world import Endpoint
from tests.states.story import SPEC, TABLE, Story, alike


@dataclass
class Table:
    """An inference table with a hundred requests; some are gone by now."""

    gone: frozenset[str] = frozenset()
    asked: list[int] = field(default_factory=list)
    draws: list[Sample] = field(default_factory=list)

    def draw(self, sample: Sample) -> Drawn:
        self.draws.append(sample)
        return Drawn(requests=tuple(f"request-{number}" for number in range(100)))

    def texts(self, table: str, ids: Sequence[str], over: timedelta) -> list[Recorded]:
        assert (table, over) == (TABLE, Replay().over)
        self.asked.append(len(ids))
        return [
            Recorded(one, "private words", succeeded=True) for one in ids if one not in self.gone
        ]


@dataclass
class Versions:
    """Both versions, who answer alike, and count how many ask them at once."""

    trouble: Callable[[int], WorkspaceError | None] = lambda _: None
    takes_s: float = 0.0
    begun: int = 0
    now: int = 0
    most: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def pair(
        self, recorded: Recorded, candidate: str, stable: str, salt: str, paths: Paths
    ) -> Pair | None:
        assert paths == SPEC.counted.paths
        assert (candidate, stable, salt) == ("rag_chatbot-v2", "rag_chatbot-v1", "rag-chatbot/2#1")
        with self.lock:
            self.begun += 1
            self.now += 1
            self.most = max(self.most, self.now)
            error = self.trouble(self.begun)
        time.sleep(self.takes_s)
        with self.lock:
            self.now -= 1
        if error is not None:
            raise error
        return None if recorded.id == "request-7" else alike(recorded.id)


@dataclass
class Trial:
    """A release in Testing, looked at by a replayer."""

    story: Story
    table: Table = field(default_factory=Table)
    versions: Versions = field(default_factory=Versions)
    clock: Callable[[], float] = lambda: 0.0

    def __post_init__(self) -> None:
        self.replayer = Replayer(self.table, self.versions, clock=self._now)

    def _now(self) -> float:
        return self.clock()

    @property
    def endpoint(self) -> Endpoint:
        assert isinstance(self.story.endpoint, Endpoint)
        return self.story.endpoint

    def look(self, given_up: Callable[[], bool] = lambda: False) -> Drawn | Batch:
        return self.replayer.look(self.story.application, self.endpoint, given_up)

    def batch(self, given_up: Callable[[], bool] = lambda: False) -> Batch:
        found = self.look(given_up)
        assert isinstance(found, Batch)
        return found


@pytest.fixture
def trial() -> Trial:
    """Its sample is drawn, and written down."""
    spec = replace(SPEC, replay=Replay())
    story = Story(application=Application(name="rag-chatbot", spec=spec), recorded=100)
    story.look()
    story.register(2)
    while story.application.live is None or story.application.live.replay is None:
        story.look()
    story.look()
    assert story.live.replay is not None
    assert story.live.replay.drawn == 100
    return Trial(story)


def test_a_sample_is_drawn_of_stables_requests_with_the_release_as_its_key(trial: Trial) -> None:
    replay = trial.story.live.replay
    assert replay is not None
    trial.story.application = trial.story.application.with_release(
        replace(trial.story.live, replay=replace(replay, drawn=None, left=()))
    )
    assert isinstance(trial.look(), Drawn)
    assert trial.table.draws == [
        Sample(
            table=TABLE,
            endpoint="rag-chatbot-endpoint",
            application="rag-chatbot",
            entity="rag_chatbot-v1",
            over=timedelta(hours=24),
            most=200,
            salt="rag-chatbot/2#1",
        )
    ]


def test_without_an_inference_table_there_is_nothing_to_draw_and_that_is_said(trial: Trial) -> None:
    replay = trial.story.live.replay
    assert replay is not None
    trial.story.application = trial.story.application.with_release(
        replace(trial.story.live, replay=replace(replay, drawn=None, left=()))
    )
    trial.story.endpoint = replace(trial.endpoint, inference_table=None)
    found = trial.look()
    assert isinstance(found, Drawn)
    assert found.requests == ()
    assert "has no inference table" in found.why


def test_a_look_asks_forty_pairs_at_most_and_two_of_them_at_once(trial: Trial) -> None:
    trial.versions.takes_s = 0.002
    batch = trial.batch()
    assert len(batch.pairs) + len(batch.missing) == AT_ONCE
    assert batch.missing == ("request-7",), "what is no JSON object cannot be sent"
    assert trial.versions.most == 2


def test_what_the_table_has_no_more_is_told_as_missing(trial: Trial) -> None:
    trial.table.gone = frozenset({"request-3", "request-5"})
    assert trial.batch().missing == ("request-3", "request-5", "request-7")


def test_a_full_queue_ends_the_look_and_what_was_answered_before_is_kept(trial: Trial) -> None:
    full = Unreachable("429")
    trial.versions.trouble = lambda number: full if number > 10 else None
    batch = trial.batch()
    assert len(batch.pairs) + len(batch.missing) == 10
    assert trial.versions.begun <= 12
    trial.versions.trouble = lambda _: full
    with pytest.raises(Unreachable):
        trial.look()
    assert trial.table.asked == [40, 10], "texts that were not asked yet are still there"


def test_after_twenty_seconds_no_further_pair_is_begun(trial: Trial) -> None:
    trial.clock = lambda: trial.versions.begun * LOOK_S / 6
    assert len(trial.batch().pairs) in {5, 6}


def test_one_that_is_given_up_begins_no_further_pair(trial: Trial) -> None:
    trial.versions.takes_s = 0.002
    assert len(trial.batch(lambda: trial.versions.begun >= 4).pairs) <= 5


def test_while_the_environment_is_at_fault_two_pairs_are_enough(trial: Trial) -> None:
    trial.story.application = trial.story.application.with_release(
        replace(trial.story.live, hold="at fault")
    )
    assert len(trial.batch().pairs) == 2


def test_no_text_outlives_its_pair_and_none_shows_in_what_is_printed(trial: Trial) -> None:
    trial.versions.trouble = lambda number: Unreachable("429") if number > 10 else None
    batch = trial.batch()
    assert trial.replayer.texts, "some were not asked yet"
    for shown in (repr(trial.replayer), repr(batch), repr(trial.replayer.texts)):
        assert "private" not in shown
    trial.versions.trouble = lambda _: None
    trial.batch()
    assert "request-0" not in trial.replayer.texts


@pytest.mark.parametrize("order", [Order.PAUSE, Order.ABORT])
def test_nothing_is_sent_against_an_order(trial: Trial, order: Order) -> None:
    assert is_time(trial.story.application, trial.endpoint)
    trial.story.order(order)
    assert not is_time(trial.story.application, trial.endpoint)


def test_nothing_is_sent_behind_a_fallback_nor_before_the_golden_queries_passed(
    trial: Trial,
) -> None:
    masked = replace(trial.endpoint, fallback=True)
    assert not is_time(trial.story.application, masked)
    early = trial.story.application.with_release(replace(trial.story.live, replay=None))
    assert not is_time(early, trial.endpoint)

"""Every verb in every state: obeyed, or refused with a sentence; nothing is silently ignored."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import get_args

import pytest

from controller.record.asking import WHOLE, Asked, Asking, obey
from controller.record.errors import OrderRefused, Unreadable
from controller.record.hearing import gone, unheard
from controller.record.leases import Leases
from controller.record.store import Store
from states.difference import Change
from states.machine import State
from states.plan import Event
from states.release import Order, Release
from states.setup import Setup
from states.spec import Spec
from states.world import Serving, Share
from tests.controller.record.conftest import Home
from tests.controller.record.making import plan, release, store_in, write

VERBS: tuple[Asking, ...] = get_args(Asking)
BEGUN = {"stable": "3", "former": "2", "adopted": True}
SPLIT = {f"v{one}": Share(model="main.ml.rag", version=one, weight=50) for one in ("2", "3")}
THEIRS = Change(number=1, endpoint=("version 2 has 50 %",), serving=Serving(SPLIT))
SITUATIONS: dict[str, tuple[dict[str, object], Release | None]] = {
    "not adopted": ({"hold": "alias and traffic disagree"}, None),
    "at rest": (BEGUN, None),
    "changed by others": (BEGUN | {"change": THEIRS, "hold": "2 has 50 %"}, None),
    "Registered": (BEGUN, release("4")),
    "Registered, aborted": (BEGUN, release("4", order=Order.ABORT)),
    "Provisioning": (BEGUN, release("4", State.PROVISIONING)),
    "Testing, asks": (BEGUN, release("4", State.TESTING, hold="asks", ask="the first users")),
    "Canary": (BEGUN, release("4", State.CANARY, step=1)),
    "Canary, held": (BEGUN, release("4", State.CANARY, step=1, hold="undecided")),
    "Canary, shut": (BEGUN, release("4", State.CANARY, step=1, shut=True)),
    "Canary, paused": (BEGUN, release("4", State.CANARY, step=1, order=Order.PAUSE)),
    "Canary, aborted": (BEGUN, release("4", State.CANARY, step=1, order=Order.ABORT)),
    "Production": (BEGUN, release("4", State.PRODUCTION, step=4)),
    "going home, aborted": (
        BEGUN,
        release("4", State.ROLLED_BACK, settled=False, order=Order.ABORT),
    ),
    "going home": (BEGUN, release("4", State.ROLLED_BACK, settled=False)),
    "RolledBack": (BEGUN, release("4", State.ROLLED_BACK)),
}


NONE, OVER = "nothing of rag is shown as changed by others", "and over: an order cannot move it"
UNKNOWN: dict[str, str] = {verb: "there is no release rag/4" for verb in VERBS if verb not in WHOLE}
UNDER_WAY = {
    "pause": "+is paused: its exposure does not rise until",
    "resume": "+is not paused, and goes on by itself",
    "abort": "+is aborted: it goes back with the next look",
    "approve": "nothing of rag/4 waits for approval",
    "release": "cannot release rag/4: it is under way already",
    "retry": "cannot retry rag/4: it is under way already",
    "undo": "+rag/4 is aborted: it goes back",
    "adopt": NONE,
    "revert": NONE,
    "apply": "rag/4 is under way: wait until it has ended, or abort it",
}
AT_REST = {
    "release": "+rag/4 is released, as attempt",
    "undo": "+it takes all users back from version 3",
    "adopt": NONE,
    "revert": NONE,
    "apply": "+rag/3 is set up as configured, with the next look",
}
ABORTED = {
    "pause": "it is aborted, which nothing takes back",
    "resume": "it is aborted, which nothing takes back",
    "abort": "+(it was ordered before)",
    "approve": "cannot approve rag/4: it is aborted",
    "promote": "cannot promote rag/4: it is aborted",
}
HOME = "is on its way home"
EXPECTED: dict[str, dict[str, str]] = {
    "not adopted": UNKNOWN
    | {
        "release": "cannot release rag/4: alias and traffic disagree",
        "retry": "cannot retry rag/4: alias and traffic disagree",
        "undo": "the record does not tell which version was stable before",
        "adopt": "it waits for something else: alias and traffic disagree",
        "revert": "it waits for something else: alias and traffic disagree",
        "apply": "no version of rag serves yet",
    },
    "at rest": UNKNOWN | AT_REST | {"retry": "it was never released; `headgate release rag/4`"},
    "changed by others": UNKNOWN
    | {
        "release": "+as attempt 1; it waits for something else first: 2 has 50 %",
        "retry": "it was never released; `headgate release rag/4`",
        "undo": "+it takes all users back from version 3",
        "adopt": "put one version of main.ml.rag to 100 % of rag, or revert",
        "revert": "+version 2 has 50 %: is put back, with the next look",
        "apply": "rag is held: 2 has 50 %",
    },
    "Registered": AT_REST
    | {
        "pause": "+is paused: it does not begin until `headgate resume`",
        "resume": "+is not paused, and goes on by itself",
        "abort": "+is aborted: it does not begin, and is retired",
        "approve": "nothing of rag/4 waits for approval",
        "promote": "it has not begun: it waits for its turn",
        "retry": "it is Registered; `headgate release rag/4`",
    },
    "Registered, aborted": AT_REST | ABORTED | {"retry": "it is Registered"},
    "Provisioning": UNDER_WAY | {"promote": "its served entity is not ready yet"},
    "Testing, asks": UNDER_WAY
    | {
        "resume": "it is not paused, but held for something else: asks",
        "approve": "+rag/4 is approved: the first users; it goes on with the next look",
        "promote": "it waits for something else: asks",
    },
    "Canary": UNDER_WAY | {"promote": "+rag/4 goes on with the next look"},
    "Canary, held": UNDER_WAY
    | {
        "resume": "it is not paused, but held for something else: undecided",
        "approve": "it is held for something else: undecided",
        "promote": "it is held: undecided; `--override` goes past that",
    },
    "Canary, shut": UNDER_WAY | {"promote": "it opens again by itself, or `--override`"},
    "Canary, paused": UNDER_WAY
    | {"resume": "+rag/4 goes on", "promote": "it is paused: `headgate resume` it first"},
    "Canary, aborted": UNDER_WAY | ABORTED,
    "Production": UNDER_WAY
    | {
        "pause": "+is paused: its watch does not end until",
        "promote": "it has all users and the alias",
    },
    "going home, aborted": UNDER_WAY
    | dict.fromkeys(("pause", "resume", "release", "retry", "undo"), HOME)
    | {
        "abort": "+is aborted: it is on its way home (it was ordered before)",
        "approve": "it is aborted",
        "promote": "it was rolled back: `headgate retry` begins another attempt",
    },
    "going home": UNDER_WAY
    | dict.fromkeys(("pause", "resume", "abort", "release", "retry", "undo"), HOME)
    | {"promote": "it was rolled back: `headgate retry` begins another attempt"},
    "RolledBack": AT_REST
    | dict.fromkeys(("pause", "resume", "abort", "approve", "promote"), OVER)
    | {"retry": "+rag/4 is released, as attempt 2"},
}
"""What comes of each verb: after a + what was done, else why it is refused."""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """Every situation once for each verb, as an application of its own."""
    store = store_in(tmp_path_factory.mktemp("asking"))
    for situation in SITUATIONS:
        for verb in VERBS:
            _write(store, situation, _name(situation, verb))
    yield store
    store.close()


def _name(situation: str, verb: str) -> str:
    return f"{situation}_{verb}".replace(", ", "-").replace(" ", "-")


def _write(store: Store, situation: str, name: str) -> None:
    facts, one = SITUATIONS[situation]
    loaded = store.load(name, Spec(model=f"main.ml.{name}", endpoint=name))
    known = replace(loaded.application, **facts)  # type: ignore[arg-type]
    stable = release("3", State.PRODUCTION, confirmed=True)
    releases = [stable, release("2", State.RETIRED, confirmed=True)] if known.stable else []
    made = [replace(each, application=name) for each in (*releases, *([one] if one else []))]
    store.commit(loaded, plan(known, *made))


def _asked(name: str, verb: Asking, **more: object) -> Asked:
    version = None if verb in WHOLE else "4"
    setup = Setup() if verb == "apply" else None
    asked = Asked(verb=verb, application=name, version=version, actor="ann", setup=setup)
    return replace(asked, **more)  # type: ignore[arg-type]


def _said(store: Store, asked: Asked) -> tuple[bool, str]:
    """Whether an order was taken, and the sentence, with the situation's own name as `rag`."""
    try:
        return True, obey(store, asked).replace(asked.application, "rag")
    except OrderRefused as refused:
        return False, str(refused).replace(asked.application, "rag")


@pytest.mark.parametrize("situation", SITUATIONS)
def test_every_verb_is_obeyed_or_refused_with_a_sentence_and_done_once(
    store: Store, situation: str
) -> None:
    assert EXPECTED[situation].keys() == set(VERBS), "every verb has its sentence"
    for verb in VERBS:
        name, expected = _name(situation, verb), EXPECTED[situation][verb]
        before = store.last_seq()
        taken, told = _said(store, _asked(name, verb, reason="lunch", via="http"))
        assert taken is expected.startswith("+"), (verb, told)
        assert expected.removeprefix("+") in told, (verb, told)
        written = list(store.journal(after=before))
        nothing = not taken or "was ordered before" in told or "is not paused" in told
        assert bool(written) is not nothing, (verb, told)
        for line in written:
            if line["event"] == "order.given":
                assert (line["actor"], line["via"], line["reason"]) == ("ann", "http", "lunch")
        before = store.last_seq()
        taken, told = _said(store, _asked(name, verb, reason="dinner"))
        assert not taken or "(it was " in told or "is not paused" in told, (verb, told)
        assert store.last_seq() == before, "twice the same is once"


def test_of_a_record_that_nobody_can_read_every_verb_says_so(home: Home) -> None:
    store = home.store()
    write(store, release("4", State.CANARY, step=1))
    home.ask("UPDATE releases SET body = '{}'")
    for verb in VERBS:
        with pytest.raises(Unreadable, match="restore a backup with `headgate restore`"):
            obey(store, _asked("rag", verb))
    assert store.last_seq() == 1


def test_of_orders_that_wait_together_the_abort_is_the_one_that_counts(store: Store) -> None:
    name = "all-at-once"
    _write(store, "Canary", name)
    for verb in ("pause", "abort", "resume", "pause", "promote"):
        _said(store, _asked(name, verb))
    live = store.load(name).application.live
    assert live is not None
    assert (live.order, live.words) == (Order.ABORT, ())


@pytest.mark.parametrize(
    ("verb", "more", "refusal"),
    [
        ("undo", {"version": "4"}, "`undo` is for rag as a whole: no version"),
        ("abort", {"override": True}, "`abort` overrides nothing: only `promote` does"),
        ("pause", {"setup": Setup()}, "`apply`, and nothing else, says how"),
        ("apply", {"setup": None}, "`apply`, and nothing else, says how"),
        ("release", {"version": None}, "name the version to release: rag/VERSION"),
        ("release", {"version": "9" * 19}, "9 is no version"),
        ("pause", {"application": "elsewhere"}, "there is no application rag in this store"),
    ],
)
def test_what_has_no_meaning_in_any_state_is_refused(
    store: Store, verb: Asking, more: dict[str, object], refusal: str
) -> None:
    before = store.last_seq()
    taken, told = _said(store, _asked(_name("Canary", "approve"), verb, **more))
    assert (taken, refusal in told) == (False, True), told
    assert store.last_seq() == before


def test_who_is_told_of_a_promotion_reads_what_was_overridden(store: Store) -> None:
    name = "in-haste"
    _write(store, "Canary, held", name)
    taken, told = _said(store, _asked(name, "promote", override=True, reason="we know why"))
    assert (taken, "past this: it is held: undecided" in told) == (True, True), told
    *_, line = store.journal()
    assert line["overrides"] == ["it is held: undecided"]
    assert (line["verb"], line["reason"]) == ("promote", "we know why")


def test_what_daemons_wrote_of_themselves_tells_whether_one_runs(home: Home) -> None:
    store = home.store()
    if home.shared:
        assert gone(store) == "no daemon runs on this store"
        assert Leases(store, "one", timedelta(seconds=30)).renew()
        assert gone(store) is None
        home.clock.turn(seconds=31)
        assert gone(store) == "no daemon runs on this store", "its word has run out"
        return
    assert gone(store) is None, "nothing says so"
    store.note(Event(name="daemon.started", because="begins"))
    assert gone(store) is None
    store.note(Event(name="daemon.stopped", because="ends"))
    assert gone(store) == "the daemon ended at 2026-03-01 12:00 UTC"


def test_who_orders_what_no_daemon_looks_after_is_told_so(store: Store) -> None:
    name = "forgotten"
    _write(store, "Canary", name)
    assert unheard(store, name) is None, "a store that tells nothing of a daemon tells nothing else"
    store.note(Event(name="config.loaded", because="c", fields={"applications": ["other"]}))
    store.note(Event(name="daemon.started", because="begins"))
    told = str(unheard(store, name))
    assert told.startswith("forgotten is not in the configuration that the daemon loaded at 2026-")
    assert told.endswith("the order waits in the store until a daemon looks after forgotten")
    assert unheard(store, "other") is None
    store.note(Event(name="daemon.stopped", because="ends"))
    assert str(unheard(store, "other")).startswith("the daemon ended at 2026-03-01 12:00 UTC")

"""How the endpoint is set up beside its traffic: sizes, room, permissions, and `apply`."""

from dataclasses import replace
from datetime import timedelta

import pytest

from policies.fuse import Minute
from policies.rollout import Rollout
from states.difference import Answer
from states.leap import leapt
from states.machine import State
from states.plan import Apply, Call, Capture, Permit, Plan, Serve
from states.release import Application, Order
from states.setup import Applying, Setup, Upkeep, Wish, moved
from states.world import Absent, Endpoint, Grant, Serving, Share, Size, Variables, World
from tests.states.oaths import check
from tests.states.story import MODEL, QUICK, SPEC, START, Story, serving

SMALL, MEDIUM = Size("Small"), Size("Medium")
STABLE = "rag_chatbot-v1"
PLAIN, TUNED = Variables(("TOP_K",), "a"), Variables(("LANG", "TOP_K"), "b")
ASKS = Grant("group", "analysts", "CAN_QUERY")


class Sworn(Story):
    """A story whose every look keeps the promises."""

    last: World
    spent: bool = False
    """The budget of writes is spent: what is planned is neither written down nor sent."""

    def look(self, *, after: float = 30, times: int = 1) -> Plan:
        for _ in range(times):
            before = self.application
            plan = super().look(after=after)
            check(before, self.last, plan)
        return plan

    def world(self) -> World:
        self.last = super().world()
        return self.last

    def obey(self, call: Call) -> None:
        if not self.spent:
            super().obey(call)

    def _remember(self, plan: Plan) -> Application:
        return super()._remember(replace(plan, calls=()) if self.spent else plan)


def story(setup: Setup | None = None, rollout: Rollout = QUICK, **facts: object) -> Sworn:
    """A story of an endpoint of known sizes, adopted."""
    spec = replace(SPEC, setup=setup or Setup(), rollout=rollout)
    made = Sworn(application=Application(name="rag-chatbot", spec=spec))
    assert isinstance(made.endpoint, Endpoint)
    given = {"sizes": {STABLE: MEDIUM}, "concurrency": {STABLE: 16}} | facts
    made.endpoint = replace(made.endpoint, **given)  # type: ignore[arg-type]
    made.look()
    return made


def configure(made: Story, **changes: object) -> None:
    """Somebody edits the configuration, and the daemon is started with it."""
    spec = made.application.spec
    setup = replace(spec.setup, **changes)  # type: ignore[arg-type]
    made.application = replace(made.application, spec=replace(spec, setup=setup))


def ask(made: Story, setup: Setup | None = None) -> None:
    """An operator's `headgate apply`, with the configuration that the daemon has, or another."""
    shown = setup or made.application.spec.setup
    number = made.application.upkeep.applied + 1
    wish = Wish.of(shown, number=number)
    made.application = replace(made.application, wish=wish)


def sizes(made: Story) -> dict[str, Size]:
    assert isinstance(made.endpoint, Endpoint)
    return dict(made.endpoint.sizes)


def quietly(made: Story, minutes: int = 60) -> None:
    """The endpoint's own minutes so far, without an error."""
    made.minutes = tuple(
        Minute(ends_at=made.now - timedelta(minutes=one), requests=1000, errors=0)
        for one in reversed(range(minutes))
    )


def pass_minutes(made: Story, count: int, errors: int) -> None:
    """Let minutes pass in each of which so many of a thousand requests fail."""
    for _ in range(count):
        made.minutes = (
            *made.minutes,
            Minute(ends_at=made.now + timedelta(minutes=1), requests=1000, errors=errors),
        )
        made.look(after=60)


def told(made: Story, name: str) -> list[str]:
    return [event.because for event in made.events if event.name == name]


def held(made: Story) -> str | None:
    """Why nothing goes on."""
    return made.application.hold


# The size of a version on trial.


def test_a_version_is_as_big_as_the_one_that_serves_before_it_gets_users() -> None:
    made = story()
    made.register(2)
    made.until("Canary")
    assert sizes(made) == {STABLE: MEDIUM, "rag_chatbot-v2": MEDIUM}
    admitted = next(one for one in told(made, "release.transition") if "READY" in one)
    assert admitted.endswith("; sized as version 1 is now: Medium on CPU")


def test_a_size_that_is_stated_is_what_a_new_version_gets() -> None:
    large = Size("Large", workload_type="GPU_SMALL")
    made = story(Setup(size=large))
    made.register(2)
    made.until("Canary")
    assert sizes(made) == {STABLE: MEDIUM, "rag_chatbot-v2": large}


def test_a_version_that_is_there_and_smaller_grows_before_it_gets_users() -> None:
    made = story()
    made.register(2)
    made.golden_fails = frozenset({"2"})
    made.until("RolledBack")
    made.look(times=4)
    assert isinstance(made.endpoint, Endpoint)
    grown = {STABLE: Size("Large"), "rag_chatbot-v2": MEDIUM}
    made.endpoint = replace(
        made.endpoint, sizes=grown, concurrency={STABLE: 64, "rag_chatbot-v2": 16}
    )
    made.golden_fails = frozenset()
    assert made.release is not None
    again = replace(made.release, attempt=2, state=State.REGISTERED, tagged=False, hold=None)
    made.application = made.application.with_release(
        replace(again, pinned=None, rounds=(), ended_at=None, settled=True, step=0)
    )
    seen = []
    for _ in range(20):
        made.look()
        seen.append((sizes(made)["rag_chatbot-v2"], made.weight(2)))
        if made.weight(2):
            break
    assert seen[-1] == (Size("Large"), 5)
    assert (MEDIUM, 5) not in seen


# Room for entities.


def full(foreign: int) -> Story:
    """An endpoint with others' entities at 0 %."""
    others = {
        f"other-{one}": Share(model="main.ml.other", version=str(one), weight=0)
        for one in range(foreign)
    }
    whole = Serving({**serving(v1=100).shares, **others})
    return story(serving=whole, ready=frozenset(whole.shares))


def test_a_version_that_does_not_fit_beside_what_is_others_is_held_until_there_is_room() -> None:
    made = full(14)
    made.register(2)
    made.look(times=3)
    assert made.release is not None
    assert (made.release.state, made.release.needs_person) == ("Registered", True)
    assert made.release.hold == (
        "endpoint rag-chatbot-endpoint has 15 served entities, and Databricks takes 15: 14 at 0 % "
        "are not Headgate's to remove; remove one of them by hand"
    )
    assert [call for call in made.calls if isinstance(call, Serve)] == []
    assert isinstance(made.endpoint, Endpoint)
    left = {name: one for name, one in made.endpoint.serving.shares.items() if name != "other-3"}
    made.endpoint = replace(made.endpoint, serving=Serving(left), config_version=2)
    made.look()
    change = made.application.change
    assert change is not None, "what others did is shown first"
    adopts = Answer(answer="adopt", difference=change.key)
    made.application = replace(made.application, answer=adopts)
    made.until("Canary")
    assert len(made.endpoint.serving.shares) <= 15


def test_what_was_kept_longest_makes_room_alone_and_nobody_is_asked() -> None:
    made = full(12)
    for number in (2, 3):
        made.register(number)
        made.golden_fails = frozenset({str(number)})
        made.until("RolledBack")
        made.look(times=5)
    made.golden_fails = frozenset()
    assert isinstance(made.endpoint, Endpoint)
    assert len(made.endpoint.serving.shares) == 15
    made.register(4)
    before = len(made.calls)
    made.until("Canary")
    served = [call.serving.shares for call in made.calls[before:] if isinstance(call, Serve)]
    assert "rag_chatbot-v2" not in served[0]
    assert "rag_chatbot-v3" in served[0], "the younger one stays"
    assert "rag_chatbot-v4" not in served[0], "it is removed alone"
    assert "rag_chatbot-v4" in served[1]
    assert all(len(one) <= 15 for one in served)
    assert told(made, "release.removed") == [
        "version 2 makes room for version 4: Databricks takes 15 served entities"
    ]


# Permissions and AI Gateway.


def first_release(setup: Setup) -> Story:
    spec = replace(SPEC, setup=setup)
    made = Sworn(
        application=Application(name="rag-chatbot", spec=spec), endpoint=Absent(), alias=Absent()
    )
    made.look()
    return made


def test_permissions_are_given_once_and_what_others_do_later_is_kept() -> None:
    made = first_release(Setup(permissions=(ASKS,)))
    made.until("Testing")
    made.look()
    assert made.granted == {ASKS}
    assert told(made, "endpoint.permitted") == [
        "1 permissions seen on rag-chatbot-endpoint: later changes are kept"
    ]
    made.granted = set()
    made.look(times=20)
    assert made.granted == set()
    assert len([call for call in made.calls if isinstance(call, Permit)]) == 1


def test_permissions_are_not_given_on_an_endpoint_that_was_found() -> None:
    made = story(Setup(permissions=(ASKS,)))
    made.register(2)
    made.until("Production")
    assert made.granted == set()


def test_a_missing_inference_table_of_ours_is_asked_for_and_one_switched_off_stays_off() -> None:
    made = first_release(Setup())
    made.until("Testing")
    assert isinstance(made.endpoint, Endpoint)
    made.endpoint = replace(made.endpoint, inference_table=None)
    made.look(times=2)
    assert isinstance(made.endpoint, Endpoint)
    assert made.endpoint.inference_table
    assert len([call for call in made.calls if isinstance(call, Capture)]) == 1
    made.endpoint = replace(made.endpoint, inference_table=None, capture_off=True)
    made.look(times=5)
    assert len([call for call in made.calls if isinstance(call, Capture)]) == 1


def test_a_found_endpoint_gets_a_table_only_where_that_is_declared() -> None:
    for declared, count in ((False, 0), (True, 1)):
        made = story(Setup(captures=declared), inference_table=None)
        made.look(times=3)
        assert len([call for call in made.calls if isinstance(call, Capture)]) == count


# `headgate apply`.


def applied(**changes: object) -> Story:
    """A running version to which an edited configuration is applied, in effect."""
    made = story(Setup(variables=PLAIN))
    made.application = replace(
        made.application, upkeep=replace(made.application.upkeep, variables=PLAIN)
    )
    quietly(made)
    made.look()
    configure(made, **changes)
    ask(made)
    made.look(times=2)
    return made


def test_a_size_is_changed_in_place_watched_and_then_done() -> None:
    made = applied(size=Size("Large"))
    assert sizes(made) == {STABLE: Size("Large")}
    assert made.weight(1) == 100
    assert told(made, "endpoint.update") == [
        "version 1 runs with Large on CPU, and with its variables as configured"
    ]
    made.register(2)
    pass_minutes(made, 4, errors=0)
    assert made.release is not None
    assert made.release.state == "Registered", "nothing begins while it is watched"
    assert told(made, "apply.finished") == []
    pass_minutes(made, 4, errors=0)
    [done] = told(made, "apply.finished")
    watched = "version 1 runs as applied, watched for 5 min"
    assert done == f"{watched}: 0 of 5,000 requests to the endpoint failed (0 %)"
    made.until("Canary")


def test_variables_are_given_and_told_by_name_alone() -> None:
    made = applied(variables=TUNED)
    calls = [call for call in made.calls if isinstance(call, Apply)]
    assert [call.target for call in calls] == [f"{STABLE} Medium on CPU, variables LANG, TOP_K"]
    assert made.application.upkeep.variables == TUNED
    pass_minutes(made, 8, errors=0)
    assert made.application.upkeep.applying is None
    assert held(made) is None


def test_harm_puts_the_former_size_back_and_holds_until_somebody_applies_again() -> None:
    made = applied(size=SMALL)
    pass_minutes(made, 4, errors=300)
    assert len(told(made, "fuse.blown")) == 1
    made.look(times=2)
    assert sizes(made) == {STABLE: MEDIUM}
    assert held(made) is not None
    assert (held(made) or "").endswith("; Medium on CPU is back")
    made.register(2)
    made.look(times=5)
    assert made.release is not None
    assert made.release.state == "Registered", "a person has to look first"
    configure(made, size=MEDIUM)
    ask(made)
    made.look(times=2)
    assert told(made, "apply.finished") == ["version 1 runs as configured already"]
    assert held(made) is None
    made.until("Canary")


def test_harm_by_variables_is_said_as_they_are_not_known_to_put_back() -> None:
    made = applied(variables=TUNED)
    sent = len(made.calls)
    pass_minutes(made, 4, errors=300)
    made.look(times=5)
    assert held(made) is not None
    assert (held(made) or "").endswith("put serving.environment right, and apply again")
    assert made.calls[sent:] == []


def test_an_update_that_databricks_cannot_make_is_said_and_held() -> None:
    made = story()
    quietly(made)
    configure(made, size=Size("Large"))
    ask(made)
    made.undeployable = frozenset({"1"})
    made.look(times=3)
    assert sizes(made) == {STABLE: MEDIUM}, "what ran goes on running"
    hold = held(made)
    assert hold == (
        "`apply` has failed: Databricks could not update the endpoint: its event log says why; "
        "mend it, and `headgate apply rag-chatbot` again"
    )
    assert len([call for call in made.calls if isinstance(call, Apply)]) == 1
    made.undeployable = frozenset()
    ask(made)
    made.look(times=2)
    assert sizes(made) == {STABLE: Size("Large")}
    freed = held(made)
    assert freed is None


def unsent(**changes: object) -> Sworn:
    """A running version to which an edited configuration is to be applied, and no room to write."""
    made = story(Setup(variables=PLAIN))
    known = replace(made.application.upkeep, variables=PLAIN)
    made.application = replace(made.application, upkeep=known)
    made.look()
    configure(made, **changes)
    ask(made)
    made.spent = True
    return made


def change_endpoint(made: Story, **facts: object) -> None:
    """Something happens to the endpoint that is not ours."""
    assert isinstance(made.endpoint, Endpoint)
    made.endpoint = replace(made.endpoint, **facts)  # type: ignore[arg-type]


@pytest.mark.parametrize("looks", [1, 50])
def test_a_failure_that_showed_before_is_not_that_of_a_call_that_was_never_sent(looks: int) -> None:
    made = unsent(size=Size("Large"))
    change_endpoint(made, update_failed=True)
    made.look(times=1 + looks)
    assert told(made, "apply.started")
    assert held(made) is None
    made.spent = False
    made.look(times=2)
    assert held(made) is None
    assert sizes(made) == {STABLE: Size("Large")}
    assert len(told(made, "endpoint.update")) == 1


@pytest.mark.parametrize("looks", [1, 50])
def test_an_endpoint_that_was_rebuilt_has_not_taken_variables_that_were_never_sent(
    looks: int,
) -> None:
    made = unsent(variables=TUNED)
    made.look()
    assert isinstance(made.endpoint, Endpoint)
    change_endpoint(made, config_version=made.endpoint.config_version + 1)
    made.look(times=looks)
    assert told(made, "endpoint.update") == []
    assert made.application.upkeep.variables == PLAIN
    made.spent = False
    made.obeys = False
    made.look(times=2)
    assert told(made, "endpoint.update") == [], "the rebuilding was before the call"
    made.obeys = True
    made.look(times=2)
    assert len(told(made, "endpoint.update")) == 1
    assert made.application.upkeep.variables == TUNED
    assert held(made) is None


def test_variables_that_were_never_sent_are_not_taken_for_given_once_another_version_serves() -> (
    None
):
    made = unsent(variables=TUNED)
    made.look()
    made.application = replace(made.application, stable="2")
    made.look()
    assert made.application.upkeep.applying is None
    assert made.application.upkeep.variables == PLAIN


def test_an_update_that_takes_longer_than_calls_are_remembered_is_known_as_ours() -> None:
    made = unsent(variables=TUNED)
    made.spent = made.obeys = False
    made.look()
    change_endpoint(made, updating=True)
    made.look(times=100)
    assert made.application.attempts == ()
    assert isinstance(made.endpoint, Endpoint)
    change_endpoint(made, updating=False, config_version=made.endpoint.config_version + 1)
    made.look()
    assert len(told(made, "endpoint.update")) == 1
    assert made.application.upkeep.variables == TUNED
    assert len([call for call in made.calls if isinstance(call, Apply)]) == 1


def test_a_call_that_nobody_saw_in_the_record_while_it_was_remembered_is_sent_once_more() -> None:
    made = unsent(variables=TUNED)
    made.spent = made.obeys = False
    made.look()
    assert isinstance(made.endpoint, Endpoint)
    change_endpoint(made, config_version=made.endpoint.config_version + 1)
    made.application = replace(made.application, attempts=())
    made.obeys = True
    made.look(after=21 * 60)
    assert told(made, "endpoint.update") == []
    made.look()
    assert len(told(made, "endpoint.update")) == 1
    assert len([call for call in made.calls if isinstance(call, Apply)]) == 2


def test_a_call_that_gets_lost_is_sent_again_and_given_up_in_the_end() -> None:
    made = story()
    configure(made, size=Size("Large"))
    ask(made)
    made.obeys = False
    made.look(times=40)
    assert made.application.upkeep.applying is None
    assert "the workspace does not take it" in (held(made) or "")
    assert len([call for call in made.calls if isinstance(call, Apply)]) == 3


def test_metrics_that_fall_silent_are_no_good_news() -> None:
    made = applied(size=Size("Large"))
    made.look(after=60, times=20)
    assert "the endpoint's metrics fell silent" in (held(made) or "")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        ("live", "rag-chatbot/2 is under way"),
        ("updating", "endpoint rag-chatbot-endpoint is being changed"),
        ("other", "the daemon runs with another configuration than the one that was shown"),
        ("undeclared", "serving.environment of rag-chatbot is not declared"),
    ],
)
def test_a_wish_that_cannot_be_done_is_refused_in_the_log_and_forgotten(
    spoil: str, words: str
) -> None:
    made = story()
    configure(made, size=Size("Large"))
    if spoil == "live":
        made.register(2)
        made.until("Canary")
    if spoil == "updating":
        assert isinstance(made.endpoint, Endpoint)
        made.endpoint = replace(made.endpoint, updating=True)
    if spoil == "undeclared":
        spec = replace(made.application.spec, environment_declared=False)
        made.application = replace(made.application, spec=spec)
    ask(made, Setup(size=SMALL) if spoil == "other" else None)
    made.look()
    assert words in told(made, "order.refused")[0]
    if isinstance(made.endpoint, Endpoint):
        made.endpoint = replace(made.endpoint, updating=False)
    made.look(times=5)
    assert [call for call in made.calls if isinstance(call, Apply)] == []
    assert len(told(made, "order.refused")) == 1


def test_variables_that_were_edited_are_applied_before_the_next_release_carries_them() -> None:
    made = applied(variables=TUNED)
    pass_minutes(made, 8, errors=0)
    configure(made, variables=PLAIN)
    made.register(2)
    made.look(times=3)
    assert made.release is not None
    assert made.release.state == "Registered"
    assert (held(made) or "").startswith("serving.environment was edited since the")
    ask(made)
    made.look(times=2)
    pass_minutes(made, 8, errors=0)
    made.until("Canary")


def test_variables_that_were_edited_during_a_release_open_no_further_step() -> None:
    made = applied(variables=TUNED)
    pass_minutes(made, 8, errors=0)
    made.register(2)
    made.until("Canary")
    configure(made, variables=PLAIN)
    weight = made.weight(2)
    made.look(times=40)
    assert made.weight(2) == weight
    assert (held(made) or "").startswith("serving.environment was edited since the")
    configure(made, variables=TUNED)
    made.until("Production")


def test_a_clock_that_is_set_moves_the_watch_with_it() -> None:
    made = applied(size=Size("Large"))
    one = made.application.upkeep.applying
    hour = timedelta(hours=1)
    later = leapt(made.application, hour).upkeep.applying
    assert one is not None
    assert later is not None
    assert one.seen_at is not None
    assert later.seen_at == one.seen_at + hour
    assert later.asked_at == one.asked_at + hour
    assert one.asked_at > START


def test_sizes_are_the_same_in_whatever_words_they_are_told() -> None:
    assert Size(None, 8, 16).same_as(MEDIUM)
    assert not Size(None, 8, 16, "GPU_SMALL").same_as(MEDIUM)
    assert not Size("Large").same_as(MEDIUM)
    assert MODEL in str(SPEC)


def serves(made: Story) -> list[Serve]:
    return [call for call in made.calls if isinstance(call, Serve)]


def test_variables_that_were_edited_ride_on_no_call_that_is_sent_again() -> None:
    made = applied(variables=TUNED)
    pass_minutes(made, 8, errors=0)
    made.register(2)
    made.obeys = False
    made.look()
    assert serves(made), "it was asked for, and nobody knows what became of it"
    configure(made, variables=PLAIN)
    made.calls.clear()
    made.look(times=200)
    assert not serves(made), "the running version would get what nobody has watched"
    assert made.live.state == "Provisioning", "no deadline runs while a person is asked"
    assert (held(made) or "").startswith("serving.environment was edited since the")
    configure(made, variables=TUNED)
    made.obeys = True
    made.until("Canary")


def test_what_is_not_declared_any_more_is_not_replaced_on_an_endpoint_that_was_found() -> None:
    made = story()
    made.application = replace(
        made.application, spec=replace(made.application.spec, staging="rag-chatbot-staging")
    )
    made.register(2)
    made.look(times=2)
    assert made.live.on_staging
    undeclared = replace(made.application.spec, environment_declared=False)
    made.application = replace(made.application, spec=undeclared)
    made.look(times=10)
    assert not serves(made), "the variables of the running version are not known"
    assert "is not declared" in (held(made) or "")
    made.application = replace(
        made.application, spec=replace(undeclared, environment_declared=True)
    )
    made.until("Canary")


@pytest.mark.parametrize("way", ["abort", "fuse"])
def test_whatever_was_edited_users_are_taken_home(way: str) -> None:
    made = applied(variables=TUNED)
    pass_minutes(made, 8, errors=0)
    made.register(2)
    made.until("Canary")
    made.look(times=2)
    configure(made, variables=PLAIN)
    made.look()
    if way == "abort":
        made.order(Order.ABORT)
    else:
        made.application = made.application.with_release(
            replace(made.live, shut=True, settled=False)
        )
    made.look(times=2)
    assert made.weight(2) == 0


def test_what_is_aborted_while_something_is_applied_does_not_wait_for_that() -> None:
    made = applied(variables=TUNED)
    made.register(2)
    made.look()
    assert made.application.upkeep.applying is not None
    made.order(Order.ABORT)
    made.look()
    assert made.release is not None
    assert made.release.state is State.RETIRED


def test_what_was_applied_to_a_version_that_serves_no_more_holds_up_no_release() -> None:
    made = applied(size=SMALL)
    made.register(2)
    made.endpoint = Absent()
    made.look(times=2)
    change = made.application.change
    assert change is not None
    adopts = Answer(answer="adopt", difference=change.key)
    made.application = replace(made.application, answer=adopts)
    made.look(times=3)
    gone = "version 1 serves no more: what was applied to it is watched no further"
    assert told(made, "apply.finished") == [gone]
    made.until("Production")


GIVEN = Applying(version="1", size=MEDIUM, former=SMALL, over=7, asked_at=START)


@pytest.mark.parametrize(
    ("one", "how_far"),
    [
        (GIVEN, "version 1 is given Medium on CPU: not in effect yet"),
        (
            replace(GIVEN, seen_at=START),
            "version 1 runs with Medium on CPU, watched since 2026-11-23 12:00 UTC",
        ),
        (replace(GIVEN, back="harm"), "Medium on CPU is put back for version 1"),
        (replace(GIVEN, back="harm", seen_at=START), "Medium on CPU is put back for version 1"),
    ],
)
def test_what_is_applied_is_told_by_how_far_it_has_come(one: Applying, how_far: str) -> None:
    assert one.told == how_far


def test_when_the_clock_is_set_the_times_of_what_is_applied_go_with_it() -> None:
    by, later = timedelta(minutes=7), START + timedelta(minutes=7)
    assert moved(Upkeep(applied=3), by) == Upkeep(applied=3)
    asked = Upkeep(applied=3, applying=GIVEN)
    assert moved(asked, by) == replace(asked, applying=replace(GIVEN, asked_at=later))
    watched = replace(asked, applying=replace(GIVEN, seen_at=START))
    both = replace(GIVEN, asked_at=later, seen_at=later)
    assert moved(watched, by) == replace(asked, applying=both)

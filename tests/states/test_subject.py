"""Stories of a configuration that names another model, or another endpoint, than the record."""

from dataclasses import replace

import pytest

from states.spec import Spec
from states.subject import STRAYED
from states.world import Absent
from tests.states.story import MODEL, SPEC, Story, serving

OTHER_MODEL = replace(SPEC, model="prod.ml_models.rag_chatbot")
OTHER_ENDPOINT = replace(SPEC, endpoint="rag-chatbot-new")


def configured(one: Story, spec: Spec) -> None:
    """The daemon is started again with another configuration."""
    one.application = replace(one.application, spec=spec)
    one.calls.clear()
    one.events.clear()


def on_trial() -> Story:
    one = Story()
    one.look()
    one.register(2)
    one.until("Canary")
    one.look(times=2)
    return one


@pytest.mark.parametrize("live", [False, True])
def test_users_are_not_given_versions_of_another_model_by_the_same_numbers(live: bool) -> None:  # noqa: FBT001 - a case
    one = on_trial() if live else Story()
    one.look()
    before = one.endpoint
    configured(one, OTHER_MODEL)
    one.look(times=10)
    assert not one.calls
    assert one.endpoint == before
    held = one.application.hold or ""
    assert held.startswith(f"{STRAYED}model prod.ml_models.rag_chatbot")
    assert f"name {MODEL} again" in held
    assert one.names() == ["release.held"], "said once, and nothing else is done"


def test_a_model_that_is_named_again_goes_on() -> None:
    one = on_trial()
    configured(one, OTHER_MODEL)
    one.look(times=3)
    configured(one, SPEC)
    one.until("Production")
    assert one.weight(2) == 100


def test_a_release_is_not_left_behind_on_an_endpoint_that_is_not_named_any_more() -> None:
    one = on_trial()
    old = one.endpoint
    configured(one, OTHER_ENDPOINT)
    one.endpoint = Absent()
    one.look(times=10)
    held = one.application.hold or ""
    assert "rag-chatbot/2 is under way on rag-chatbot-endpoint" in held
    assert not one.calls
    one.endpoint = old
    configured(one, SPEC)
    one.until("Production")


def test_once_no_release_is_under_way_another_endpoint_is_asked_about_as_a_change() -> None:
    one = Story()
    one.look()
    configured(one, OTHER_ENDPOINT)
    one.endpoint = Absent()
    one.look(times=3)
    assert one.application.change is not None
    assert "endpoint rag-chatbot-new is gone" in (one.application.hold or "")


def test_a_change_by_others_is_shown_again_once_the_model_is_named_again() -> None:
    one = Story()
    one.look()
    one.edit(v1=60, v2=40)
    one.look()
    shown = one.application.hold
    configured(one, OTHER_MODEL)
    one.look()
    configured(one, SPEC)
    one.look()
    assert one.application.hold == shown


def test_a_name_that_was_misspelt_before_anything_was_released_may_be_corrected() -> None:
    one = Story(endpoint=Absent(), alias=Absent(), versions={})
    one.application = replace(
        one.application, spec=replace(SPEC, model="main.ml_models.rag_chatbto")
    )
    one.look(times=2)
    configured(one, SPEC)
    one.register(1)
    one.until("Production")
    assert one.endpoint is not None
    assert not isinstance(one.endpoint, Absent)
    assert one.endpoint.serving == serving(v1=100)

import pytest

from policies.admission import Admission, admit


def test_a_ready_version_with_signature_and_tags_is_admitted() -> None:
    assert admit("READY", {"git_sha": "1f"}, ("git_sha",), has_signature=True) == (
        Admission.ADMIT,
        "READY, with a signature and its tags",
    )


@pytest.mark.parametrize("signature", [True, False, None])
def test_a_failed_registration_is_refused_whatever_else(*, signature: bool | None) -> None:
    finding, because = admit("FAILED_REGISTRATION", None, (), has_signature=signature)
    assert finding is Admission.REFUSE
    assert "register it anew" in because


def test_a_missing_signature_is_refused_with_the_remedy() -> None:
    finding, because = admit("READY", {}, (), has_signature=False)
    assert finding is Admission.REFUSE
    assert "log the model with one" in because


def test_a_version_still_registering_waits() -> None:
    assert admit("PENDING_REGISTRATION", {}, (), has_signature=False) == (
        Admission.WAIT,
        "its registration is PENDING_REGISTRATION",
    )


def test_what_could_not_be_read_is_no_refusal_and_no_admission() -> None:
    assert admit("READY", {}, (), has_signature=None)[0] is Admission.WAIT
    assert admit("READY", None, (), has_signature=True)[0] is Admission.WAIT


def test_missing_and_empty_tags_are_named() -> None:
    finding, because = admit("READY", {"a": "", "b": "1"}, ("a", "b", "c"), has_signature=True)
    assert finding is Admission.WAIT
    assert "a, c" in because

import pytest

from policies.admission import (
    SKIP_TAG,
    Admission,
    Column,
    admit,
    approvals,
    input_change,
)


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


def test_a_version_tagged_to_be_skipped_is_refused_while_it_still_registers() -> None:
    finding, because = admit("PENDING_REGISTRATION", {SKIP_TAG: ""}, (), has_signature=None)
    assert finding is Admission.REFUSE
    assert SKIP_TAG in because


QUERY = Column(name="query", type="string")


@pytest.mark.parametrize(
    ("candidate", "told"),
    [
        ([QUERY], None),
        ([], None),
        ([QUERY, Column(name="lang", type="string", required=False)], None),
        ([QUERY, Column(name="lang", type="string")], "lang (string) is new and required"),
        ([Column(name="query", type="long")], "query is long, and was string"),
    ],
)
def test_what_breaks_requests_of_today_is_told(candidate: list[Column], told: str | None) -> None:
    assert input_change([QUERY], candidate) == told


def test_a_column_that_could_be_left_out_and_cannot_any_more_breaks_requests() -> None:
    optional = Column(name="query", type="string", required=False)
    assert input_change([optional], [QUERY]) == "query is required now"
    assert input_change([QUERY], [optional]) is None


def test_an_approval_is_a_tag_named_after_the_jobs_approval_task() -> None:
    tags = {"Approval_Check": "Approved", "approval": "Rejected", "approved": "Approved"}
    assert approvals(tags) == ("Approval_Check",)

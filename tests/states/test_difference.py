"""A difference as it is shown: wanted beside found, line by line."""

from dataclasses import replace

import pytest

from states.difference import ANEW, FALLBACK, GONE, Change, aliased, served, side
from states.world import Serving, Share
from tests.states.story import MODEL, serving

V1, V2 = "rag_chatbot-v1", "rag_chatbot-v2"
WANTED = serving(v1=95, v2=5)
OTHER = "main.other.model"
MOVED = (
    f"{V1} serves version 1 of {OTHER} instead of version 1 of {MODEL} and has 94 % instead of 95 %"
)


def at(name: str, model: str = MODEL, version: str = "1", weight: int = 95) -> Serving:
    """Both versions, one of them with that under its name."""
    changed = {name: Share(model=model, version=version, weight=weight)}
    return Serving({**WANTED.shares, **changed})


@pytest.mark.parametrize(
    ("found", "lines"),
    [
        (serving(v2=5, v1=95), ()),
        (None, ("it was deleted",)),
        (serving(v1=95), (f"{V2} was removed, which should have 5 %",)),
        (
            serving(v2=5, v1=95, v3=0),
            (f"rag_chatbot-v3 (version 3 of {MODEL}) was added at 0 %",),
        ),
        (
            at("gpt", model="databricks-gpt", version="", weight=3),
            ("gpt (databricks-gpt) was added at 3 %",),
        ),
        (
            serving(v2=20, v1=80),
            (f"{V1} has 80 % instead of 95 %", f"{V2} has 20 % instead of 5 %"),
        ),
        (
            at(V1, version="3"),
            (f"{V1} serves version 3 of {MODEL} instead of version 1 of {MODEL}",),
        ),
        (
            at(V1, model=OTHER, weight=94),
            (MOVED,),
        ),
    ],
)
def test_each_thing_that_differs_has_a_line(found: Serving | None, lines: tuple[str, ...]) -> None:
    assert served(WANTED, found) == lines


def test_an_alias_is_gone_or_names_another_version() -> None:
    gone = "alias production is gone, which should name version 1"
    assert aliased("production", "1", None) == gone
    moved = "alias production names version 2 instead of version 1"
    assert aliased("production", "1", "2") == moved


def test_each_side_is_told_in_words() -> None:
    assert side(None, None, None, fallback=False) == "no endpoint"
    assert side(None, "production", None, fallback=True) == (
        "no endpoint; alias production absent; fallback on"
    )
    assert side(WANTED, "production", "1", fallback=False) == (
        f"{V1} 95 %, {V2} 5 %; alias production at version 1"
    )
    assert side(Serving(), None, "1", fallback=True) == "nothing; fallback on"


def test_a_side_tells_what_a_name_stands_for_where_the_other_has_it_for_something_else() -> None:
    share = WANTED.shares[V1]
    for other, told in (
        (replace(share, version="7"), f"version 7 of {share.model}"),
        (replace(share, model="main.other.model"), f"version {share.version} of main.other.model"),
    ):
        found = Serving({**WANTED.shares, V1: other})
        assert side(found, None, None, fallback=False, other=WANTED) == (
            f"{V1} ({told}) 95 %, {V2} 5 %"
        )
    lowered = Serving({V1: replace(share, weight=90)})
    assert side(lowered, None, None, fallback=False, other=WANTED) == f"{V1} 90 %"


def test_an_answer_names_a_change_by_its_number_and_all_its_lines() -> None:
    change = Change(number=3, registry=("c",), alias=("b",), endpoint=("a", "z"))
    assert change.difference == ("a", "z", "b", "c")
    assert change.key == "3: a; z; b; c"
    assert GONE == "it was deleted"
    assert ANEW == "it was deleted, and made anew"
    assert FALLBACK == "AI Gateway's fallback is on, which hides a version's errors"

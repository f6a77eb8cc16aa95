"""Dataclasses to rows and back, exactly: what was written is what is read.

What the store asks for in SQL has a column of its own; every other field lives in a JSON body, so
that a new field of the record needs no migration, and a body without it gets the field's default.
A field that another version wrote, and this one does not know, is kept where it is: see `upgrades`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from sys import intern
from typing import Any, Final

from pydantic import TypeAdapter
from sqlalchemy import RowMapping

from controller.record.times import micros, moment
from policies.evidence import Arm, Block, Coverage, Tally
from states.consent import Word
from states.difference import Answer
from states.plan import Call
from states.release import Application, Release
from states.setup import Wish
from states.spec import Spec

_APPLICATION: Final = TypeAdapter(Application)
_RELEASE: Final = TypeAdapter(Release)
_CALL: Final[TypeAdapter[Call]] = TypeAdapter(Call)
_TALLIES: Final = TypeAdapter(Mapping[str, Tally])
_COVERAGE: Final = TypeAdapter(Coverage)
_WORD: Final[TypeAdapter[Answer | Wish]] = TypeAdapter(Answer | Wish)
_WORDS: Final = TypeAdapter(tuple[Word, ...])

_NOT_IN_APPLICATION: Final = {
    "name", "spec", "releases", "attempts", "minutes", "answer", "wish",
}  # fmt: skip
_RELEASE_COLUMNS: Final = (
    "application", "version", "attempt", "state", "settled", "hold", "needs_person", "step",
)  # fmt: skip

_IN_APPLICATION: Final = {one.name for one in fields(Application)}
_IN_RELEASE: Final = {one.name for one in fields(Release)}

Row = dict[str, Any]
"""Columns by name, to be written."""
Stored = Mapping[str, Any] | RowMapping
"""Columns by name, as read."""


def unknown(row: Stored, of: type[Application | Release]) -> Row:
    """What a body holds that this Headgate has no field for: another version's, and kept for it."""
    known = _IN_RELEASE if of is Release else _IN_APPLICATION
    return {name: value for name, value in row["body"].items() if name not in known}


def application_row(application: Application) -> Row:
    """The columns of an application, but its row version and the answer, which operators write."""
    return {
        "name": application.name,
        "model": application.spec.model,
        "endpoint": application.spec.endpoint,
        "alias": application.spec.alias,
        "body": _APPLICATION.dump_python(application, mode="json", exclude=_NOT_IN_APPLICATION),
    }


def application_of(row: Stored, spec: Spec | None) -> Application:
    """An application without its releases; what the configuration says of it is put in."""
    if spec is None:
        spec = Spec(model=row["model"], endpoint=row["endpoint"], alias=row["alias"])
    given = row.get("answer")
    word = None if given is None else _WORD.validate_json(given)
    answer, wish = (word, None) if isinstance(word, Answer) else (None, word)
    # A body of before has not what it is about, which the last commit wrote into the columns.
    about = {"of_model": intern(row["model"]), "of_endpoint": intern(row["endpoint"])}
    # A dataclass among the values is taken as it is; its fields are not validated again.
    return _APPLICATION.validate_python(
        {**about, **row["body"], "name": row["name"], "spec": spec, "answer": answer, "wish": wish}
    )


def word_text(word: Answer | Wish) -> str:
    """What an operator said of an application, as its column holds it: the last word holds."""
    return _WORD.dump_json(word).decode()


def release_row(release: Release) -> Row:
    """The columns of a release, but its id, row version and words, which operators write.

    `order_` is for the first write only; blocks are rows of their own.
    """
    body = _RELEASE.dump_python(release, mode="json", exclude={"blocks", "words"})
    columns = {name: body.pop(name) for name in _RELEASE_COLUMNS}
    columns["order_"] = body.pop("order")
    retained = release.ended_at is not None and not release.removed
    return {**columns, "live": release.live, "retained": retained, "body": body}


def release_of(row: Stored, blocks: Sequence[Block]) -> Release:
    """A release from its columns, with its blocks put in."""
    columns = {name: row[name] for name in _RELEASE_COLUMNS}
    said = row.get("words")
    words = () if said is None else _WORDS.validate_json(said)
    return _RELEASE.validate_python(
        {
            **row["body"], **columns,
            "order": row["order_"], "blocks": tuple(blocks), "words": words,
        }
    )  # fmt: skip


def words_text(words: tuple[Word, ...]) -> str:
    """What was said of a release, as its column holds it."""
    return _WORDS.dump_json(words).decode()


def block_row(block: Block) -> Row:
    """The columns of a block, but the release that it belongs to."""
    return {
        "number": block.number,
        "source": block.source,
        "span": block.span,
        "step": block.step,
        "comparable": block.comparable,
        "whole": block.whole,
        "mixed": block.mixed,
        "opened_at": micros(block.opened_at),
        "closed_at": micros(block.closed_at),
        **_arm_columns("candidate", block.candidate),
        **_arm_columns("stable", block.stable),
        "unattributed": block.unattributed,
        "unattributed_errors": block.unattributed_errors,
        "late": block.late,
        "coverage": block.coverage and _COVERAGE.dump_python(block.coverage, mode="json"),
    }


def block_of(row: Stored) -> Block:
    """A block from its columns."""
    cover = row["coverage"]
    return Block(
        number=row["number"],
        source=row["source"],
        span=row["span"],
        step=row["step"],
        comparable=row["comparable"],
        whole=row["whole"],
        mixed=row["mixed"],
        opened_at=moment(row["opened_at"]),
        closed_at=moment(row["closed_at"]),
        candidate=_arm("candidate", row),
        stable=_arm("stable", row),
        unattributed=row["unattributed"],
        unattributed_errors=row["unattributed_errors"],
        late=row["late"],
        coverage=_COVERAGE.validate_python(cover) if cover is not None else None,
    )


def call_json(call: Call) -> Row:
    """A call as it was meant, for those who ask later what was sent."""
    dumped: Row = _CALL.dump_python(call, mode="json")
    return dumped


def _arm_columns(name: str, arm: Arm) -> Row:
    return {
        f"{name}_requests": arm.requests,
        f"{name}_errors": arm.errors,
        f"{name}_server_errors": arm.server_errors,
        f"{name}_rejected": arm.rejected,
        f"{name}_tallies": _TALLIES.dump_python(arm.tallies, mode="json"),
    }


def _arm(name: str, row: Stored) -> Arm:
    return Arm(
        requests=row[f"{name}_requests"],
        errors=row[f"{name}_errors"],
        server_errors=row[f"{name}_server_errors"],
        rejected=row[f"{name}_rejected"],
        tallies=_TALLIES.validate_python(row[f"{name}_tallies"]),
    )

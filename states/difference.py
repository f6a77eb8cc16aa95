"""What others changed: wanted beside found, line by line, and the answer that a person gave."""

from dataclasses import dataclass
from typing import Literal

from states.world import Serving, Share


@dataclass(frozen=True, kw_only=True)
class Change:
    """What others changed, as it is shown. An answer is for this one, and for no later one."""

    number: int
    """Counts the changes of an application, so that no two have the same key."""
    endpoint: tuple[str, ...] = ()
    """How the endpoint differs from what is wanted, one line for each thing."""
    alias: tuple[str, ...] = ()
    registry: tuple[str, ...] = ()
    wanted: str = ""
    found: str = ""
    serving: Serving | None = None
    """What the endpoint was found to serve; None where it is gone."""
    named: str | None = None
    """The version that the alias was found to name."""
    fallback: bool = False
    """AI Gateway's fallback was found on, where it hides a version's errors."""

    @property
    def difference(self) -> tuple[str, ...]:
        """Every line, in one order."""
        return (*self.endpoint, *self.alias, *self.registry)

    @property
    def moved(self) -> bool:
        """The endpoint's configuration itself was changed, or the endpoint deleted."""
        return any(line != FALLBACK for line in self.endpoint)

    @property
    def of_another(self) -> bool:
        """It is another endpoint under the same name: nobody knows its variables."""
        return not {ANEW, THEIRS}.isdisjoint(self.endpoint)

    @property
    def key(self) -> str:
        """What an answer names, to be for this change alone."""
        return f"{self.number}: {'; '.join(self.difference)}"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A person's word on a change by others: a column that only operators write."""

    answer: Literal["adopt", "revert"]
    difference: str
    """The key of the change that it answers."""


GONE = "it was deleted"
ANEW = "it was deleted, and made anew"
THEIRS = "somebody else made it meanwhile"
FALLBACK = "AI Gateway's fallback is on, which hides a version's errors"


def served(wanted: Serving, found: Serving | None) -> tuple[str, ...]:
    """How an endpoint differs from what is wanted of it; equal sides give nothing."""
    if found is None:
        return (GONE,)
    names = sorted({*wanted.shares, *found.shares})
    lines = [_entity(name, wanted.shares.get(name), found.shares.get(name)) for name in names]
    return tuple(line for line in lines if line is not None)


def _entity(name: str, wanted: Share | None, found: Share | None) -> str | None:
    if wanted == found:
        return None
    if wanted is None:
        assert found is not None, "a name is on one side at least"
        return f"{name} ({_what(found)}) was added at {found.weight} %"
    if found is None:
        return f"{name} was removed, which should have {wanted.weight} %"
    parts = []
    if (wanted.model, wanted.version) != (found.model, found.version):
        parts.append(f"serves {_what(found)} instead of {_what(wanted)}")
    if wanted.weight != found.weight:
        parts.append(f"has {found.weight} % instead of {wanted.weight} %")
    return f"{name} {' and '.join(parts)}"


def _what(share: Share) -> str:
    return f"version {share.version} of {share.model}" if share.version else share.model


def aliased(alias: str, wanted: str | None, found: str | None) -> str:
    """How an alias differs from what it should name."""
    if found is None:
        return f"alias {alias} is gone, which should name version {wanted}"
    return f"alias {alias} names version {found} instead of version {wanted}"


def _told_apart(serving: Serving, other: Serving) -> Serving:
    known = {name: _what(share) for name, share in other.shares.items()}
    return Serving(
        {
            name if known.get(name, _what(one)) == _what(one) else f"{name} ({_what(one)})": one
            for name, one in serving.shares.items()
        }
    )


def side(
    serving: Serving | None,
    alias: str | None,
    named: str | None,
    *,
    fallback: bool,
    other: Serving | None = None,
) -> str:
    """One side of a difference in words: the endpoint, the alias, and the fallback if it is on.

    What a name stands for is told where the `other` side has it for something else.
    """
    parts = ["no endpoint" if serving is None else str(_told_apart(serving, other or Serving()))]
    if alias is not None:
        parts.append(f"alias {alias} {'absent' if named is None else f'at version {named}'}")
    return "; ".join([*parts, "fallback on"] if fallback else parts)

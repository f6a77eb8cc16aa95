"""Where a release's guards stand, kept from look to look: each block is folded once.

What is kept says from what it was folded, and is folded on only where folding anew would begin in
the same way; else it is folded anew. So whoever asks, and of whatever release, is told the same as
if nothing were kept, and sooner.
"""

from dataclasses import dataclass, replace
from functools import lru_cache

from policies.evidence import Block
from policies.fuse import Fuse
from policies.standing import Standing
from states.rejudging import Bench
from states.release import Release

KEPT = 512
"""Releases whose standings are kept: 40 kB of each, where a day of blocks takes two megabytes."""


@dataclass(frozen=True, kw_only=True)
class Stand:
    """Where all guards of a release stand, and what they were folded from."""

    bench: Bench
    before: Fuse | None
    """What the endpoint's errors were like when the candidate got all users; None: not known."""
    blocks: tuple[Block, ...] = ()
    deciding: Standing
    """All guards that decide, with their one budget."""
    observing: tuple[Standing, ...]
    """Each guard that only observes, by itself, as if it decided."""

    @classmethod
    def start(cls, bench: Bench, before: Fuse | None) -> "Stand":
        """Before the first block."""
        criteria = bench.criteria
        alone = [replace(one, observe=False) for one in criteria if one.observe]
        return cls(
            bench=bench,
            before=before,
            deciding=Standing.start(criteria, before),
            observing=tuple(Standing.start([one], before) for one in alone),
        )

    def begins(self, bench: Bench, before: Fuse | None, blocks: tuple[Block, ...]) -> bool:
        """Whether folding those blocks anew would come past here."""
        mine = self.blocks
        return (bench, before, blocks[: len(mine)]) == (self.bench, self.before, mine)

    def on(self, blocks: tuple[Block, ...]) -> "Stand":
        """With all of those blocks, of which it has the first ones already."""
        fresh = blocks[len(self.blocks) :]
        return replace(
            self,
            blocks=blocks,
            deciding=self.deciding.after(*fresh),
            observing=tuple(one.after(*fresh) for one in self.observing),
        )


class _Place:
    """Where the last stand of one release is kept; two threads may write it, in either order."""

    stand: Stand | None = None


@lru_cache(maxsize=KEPT)
def _place(application: str, version: str, attempt: int) -> _Place:  # noqa: ARG001 - the key
    return _Place()


def stand_of(release: Release) -> Stand:
    """Where the guards of a release stand by its blocks; asked of one that was admitted."""
    place = _place(release.application, release.version, release.attempt)
    bench, before, kept = Bench.of(release), release.before_whole, place.stand
    if kept is None or not kept.begins(bench, before, release.blocks):
        kept = Stand.start(bench, before)
    place.stand = stand = kept.on(release.blocks)
    return stand

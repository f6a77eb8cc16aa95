"""A block as its journal row tells it, and back: the log alone is enough to judge by again."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

from policies.evidence import Arm, Block, Coverage, Tally

COUNTS = ("requests", "errors", "server_errors", "rejected")


def told(block: Block) -> dict[str, Any]:
    """The fields of the event `evidence.block`; what does not apply is absent."""
    fields: dict[str, Any] = {
        "number": block.number,
        "source": block.source,
        "step": block.step,
        "span": block.span,
        "comparable": block.comparable,
        "whole": block.whole,
        "opened_at": block.opened_at.isoformat(),
        "closed_at": block.closed_at.isoformat(),
        "unattributed": block.unattributed,
        "unattributed_errors": block.unattributed_errors,
        "late": block.late,
    }
    for name, arm in (("candidate", block.candidate), ("stable", block.stable)):
        fields |= {f"{name}_{count}": getattr(arm, count) for count in COUNTS}
        if arm.tallies:
            fields[f"{name}_tallies"] = {key: asdict(one) for key, one in arm.tallies.items()}
    if block.coverage is not None:
        fields["coverage"] = asdict(block.coverage)
    if block.mixed:
        fields["mixed"] = True
    return fields


def block_of(fields: Mapping[str, Any]) -> Block:
    """The block that an event told of, exactly."""
    cover = fields.get("coverage")
    return Block(
        number=fields["number"],
        source=fields["source"],
        span=fields["span"],
        step=fields["step"],
        comparable=fields["comparable"],
        whole=fields.get("whole", False),
        mixed=fields.get("mixed", False),
        opened_at=datetime.fromisoformat(fields["opened_at"]),
        closed_at=datetime.fromisoformat(fields["closed_at"]),
        candidate=_arm("candidate", fields),
        stable=_arm("stable", fields),
        unattributed=fields["unattributed"],
        unattributed_errors=fields.get("unattributed_errors", 0),
        late=fields.get("late", 0),
        coverage=Coverage(**cover) if cover else None,
    )


def _arm(name: str, fields: Mapping[str, Any]) -> Arm:
    counts = {count: fields.get(f"{name}_{count}", 0) for count in COUNTS}
    told_of: Mapping[str, Mapping[str, Any]] = fields.get(f"{name}_tallies", {})
    tallies = {
        key: Tally(seen=one["seen"], counts=tuple(one["counts"]), mass=tuple(one["mass"]))
        for key, one in told_of.items()
    }
    return Arm(**counts, tallies=tallies)

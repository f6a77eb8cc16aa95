"""How an endpoint comes from one configuration to the next, and what can go wrong on the way.

An update deploys what is new beside what serves, and swaps when all of it is ready. Entities that
an update leaves as they are keep their process and their served_entity_id.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from deploy.sandbox.endpoints import Config, Entity, new_id, read_routes
from deploy.sandbox.rules import RolloutFault, Rule
from deploy.sandbox.units import Unit

if TYPE_CHECKING:
    from deploy.sandbox.serving import Endpoint, Serving

IN_PROGRESS, NOT_UPDATING = "IN_PROGRESS", "NOT_UPDATING"
UPDATE_FAILED, UPDATE_CANCELED = "UPDATE_FAILED", "UPDATE_CANCELED"

SOMEBODY_ELSE = "somebody.else@example.com"
"""Who makes the change of an `external_change`."""
_LOOK_S = 0.02
"""How often an update looks at the workspace's clock, in real seconds."""
_FAILED = "a fault that the sandbox was asked for"


class Rollout:
    """Carries endpoints from one configuration to the next."""

    def __init__(self, serving: "Serving") -> None:
        self._serving = serving
        self._workspace = serving.workspace

    def begin(self, endpoint: "Endpoint", wanted: Config, principal: str) -> None:
        """Start an update towards the wanted configuration."""
        record = endpoint.record
        kept = {e.wish(): e for e in (record.config.entities if record.config else ())}
        now = self._workspace.now_ms()
        entities, new = [], []
        for entity in wanted.entities:
            same = kept.get(entity.wish())
            if same is None:
                same = replace(entity, served_entity_id=new_id(), creator=principal, created_ms=now)
                new.append(same)
            entities.append(same)
        record.pending = replace(wanted, entities=tuple(entities))
        record.config_update = IN_PROGRESS
        record.failures = {}
        self._serving.keep(record)
        self._serving.inference.entities(record, new, wanted.version)
        self.resume(endpoint, record.pending)

    def resume(self, endpoint: "Endpoint", pending: Config) -> None:
        """Go on with an update, which a restart may have interrupted."""
        endpoint.update = self._serving.spawn(self._roll(endpoint, pending))

    def unit(self, endpoint: "Endpoint", entity: Entity) -> Unit:
        """A running entity of an endpoint, still without its process."""
        unit = Unit(self._workspace, self._serving.fleet, endpoint.record.name, entity)
        endpoint.units[entity.served_entity_id] = unit
        return unit

    def retire(self, endpoint: "Endpoint", keys: Sequence[str]) -> None:
        """Take processes out of service, each after it has answered what it has taken."""
        for key in keys:
            self._serving.spawn(endpoint.units.pop(key).retire())

    def interfere(self, endpoint: "Endpoint") -> None:
        """Let somebody else change the traffic, where a fault asks for it."""
        record = endpoint.record
        if record.config is None or record.config_update == IN_PROGRESS:
            return
        taken = self._workspace.faults.take("rollout", RolloutFault, "read", endpoint=record.name)
        if taken is None:
            return
        shares = taken[1].external_change or {}
        routes = [
            {"served_entity_name": name, "traffic_percentage": share}
            for name, share in shares.items()
        ]
        names = [entity.name for entity in record.config.entities]
        changed = replace(
            record.config,
            version=next_version(endpoint),
            routes=read_routes({"routes": routes}, names),
            start_ms=self._workspace.now_ms(),
        )
        self.begin(endpoint, changed, SOMEBODY_ELSE)

    async def _roll(self, endpoint: "Endpoint", pending: Config) -> None:
        """Deploy what is new; swap when all of it is ready, else keep what serves."""
        record = endpoint.record
        taken = self._workspace.faults.take("rollout", RolloutFault, "update", endpoint=record.name)
        rule, fault = (None, RolloutFault()) if taken is None else taken
        new = [
            self.unit(endpoint, entity)
            for entity in pending.entities
            if entity.served_entity_id not in endpoint.units
        ]
        try:
            deployed = await asyncio.gather(*(unit.deploy() for unit in new))
            await self._last(pending, rule, fault)
        except asyncio.CancelledError:
            for unit in new:
                unit.kill()
            raise
        if all(deployed) and not fault.fail and not fault.cancel:
            self._swap(endpoint, pending)
            if fault.partial and rule is not None:
                units = new or list(endpoint.units.values())
                self._serving.spawn(self._stall(endpoint, units[-1], rule))
        else:
            if not fault.cancel:
                record.failures = {
                    unit.entity.served_entity_id: _FAILED if good else unit.message
                    for unit, good in zip(new, deployed, strict=True)
                    if fault.fail or not good
                }
            record.config_update = UPDATE_CANCELED if fault.cancel else UPDATE_FAILED
            self.retire(endpoint, [unit.entity.served_entity_id for unit in new])
        endpoint.update = None
        self._serving.keep(record)

    async def _last(self, pending: Config, rule: Rule | None, fault: RolloutFault) -> None:
        """Let the update take its time by the workspace's clock, or for as long as it is stuck."""
        least = self._workspace.settings.update_s
        if fault.duration_s is not None:
            least = fault.duration_s
        until = pending.start_ms / 1000 + least
        while self._workspace.clock() < until:  # noqa: ASYNC110 - the clock may be a test's
            await asyncio.sleep(_LOOK_S)
        if fault.stuck and rule is not None:
            await self._cleared(rule)

    def _swap(self, endpoint: "Endpoint", pending: Config) -> None:
        record = endpoint.record
        record.config, record.pending = pending, None
        record.config_update = NOT_UPDATING
        wanted = {entity.served_entity_id for entity in pending.entities}
        self.retire(endpoint, [key for key in endpoint.units if key not in wanted])

    async def _stall(self, endpoint: "Endpoint", unit: Unit, rule: Rule) -> None:
        """Take an entity's process away until the fault is cleared."""
        unit.stall()
        await self._cleared(rule)
        # An update, or the endpoint's end, may have taken the entity itself away.
        if endpoint.units.get(unit.entity.served_entity_id) is unit:
            unit.recover()

    async def _cleared(self, rule: Rule) -> None:
        while self._workspace.faults.stands(rule):  # noqa: ASYNC110 - a request clears it
            await asyncio.sleep(_LOOK_S)


def next_version(endpoint: "Endpoint") -> int:
    """The number of the endpoint's next configuration."""
    record = endpoint.record
    return 1 + max((c.version for c in (record.config, record.pending) if c is not None), default=0)

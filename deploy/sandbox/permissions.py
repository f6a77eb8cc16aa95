"""Who may do what with an endpoint, as the Permissions API shows and sets it: by the endpoint's id.

The sandbox holds nobody to these lists but the service principal, while its calls are on a list
(`privileges`). Which level a call needs is Databricks' table of serving endpoint ACLs: who may view
gets and lists it, who may query asks it, and who may manage does the rest.
"""

import re
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from deploy.sandbox.wire import ApiError, Json, invalid, missing, read_json, reply

if TYPE_CHECKING:
    from deploy.sandbox.endpoints import Record
    from deploy.sandbox.serving import Serving

LEVELS = {
    "CAN_MANAGE": "Can manage the serving endpoint",
    "CAN_QUERY": "Can query the serving endpoint",
    "CAN_VIEW": "Can view the serving endpoint",
}
_RANKS = ("CAN_VIEW", "CAN_QUERY", "CAN_MANAGE")
"""Each includes those before it."""
_NEEDS = (
    (re.compile(r"GET /api/2\.0/serving-endpoints/(?P<name>[^/]+)"), "CAN_VIEW"),
    (re.compile(r"POST /serving-endpoints/(?P<name>[^/]+)/.*"), "CAN_QUERY"),
    (re.compile(r"(?:PUT|PATCH|DELETE) /api/2\.0/serving-endpoints/(?P<name>[^/]+).*"), _RANKS[-1]),
    (re.compile(r"[A-Z]+ /api/2\.0/permissions/serving-endpoints/(?P<id>[^/]+).*"), _RANKS[-1]),
)
"""What is documented; the level that metrics need, for one, is not."""
_KINDS = ("user_name", "group_name", "service_principal_name")
_BASE = "/api/2.0/permissions/serving-endpoints/{id}"
_ROOT = "/serving-endpoints/"
"""What administrators inherit their permission from."""


class Permissions:
    """The access control lists of endpoints."""

    def __init__(self, serving: "Serving") -> None:
        self._serving = serving

    def routes(self) -> list[Route]:
        """Read, replace and extend a list, and tell which levels there are."""
        return [
            Route(_BASE, self._get, methods=["GET"]),
            Route(_BASE, self._set, methods=["PUT"]),
            Route(_BASE, self._update, methods=["PATCH"]),
            Route(_BASE + "/permissionLevels", self._levels, methods=["GET"]),
        ]

    def check(self, principal: str, method: str, path: str) -> None:
        """Refuse what needs more than the principal's level on the endpoint that it is about."""
        for pattern, level in _NEEDS:
            found = pattern.fullmatch(f"{method} {path}")
            if found is None:
                continue
            kind, wanted = next(iter(found.groupdict().items()))
            for endpoint in self._serving.endpoints.values():
                record = endpoint.record
                if getattr(record, kind) == wanted and not allows(record, principal, level):
                    told = f"{principal} does not have {level} on the endpoint {record.name}."
                    raise ApiError(403, "PERMISSION_DENIED", told)

    async def _get(self, request: Request) -> Response:
        return _shown(self._find(request))

    async def _set(self, request: Request) -> Response:
        record = self._find(request)
        record.grants = _read(await read_json(request))
        return self._kept(record)

    async def _update(self, request: Request) -> Response:
        record = self._find(request)
        record.grants = record.grants | _read(await read_json(request))
        return self._kept(record)

    async def _levels(self, request: Request) -> Response:
        self._find(request)
        levels = [
            {"permission_level": level, "description": text} for level, text in LEVELS.items()
        ]
        return reply({"permission_levels": levels})

    def _find(self, request: Request) -> "Record":
        wanted = request.path_params["id"]
        for endpoint in self._serving.endpoints.values():
            if endpoint.record.id == wanted:
                return endpoint.record
        raise missing(f"Endpoint with id '{wanted}' does not exist.")

    def _kept(self, record: "Record") -> Response:
        self._serving.keep(record)
        return _shown(record)


def allows(record: "Record", principal: str, level: str) -> bool:
    """Whether a service principal has a level on an endpoint, itself or as one of all users."""
    if record.creator == principal:
        return True
    held = (f"service_principal_name:{principal}", "group_name:users")
    enough = _RANKS[_RANKS.index(level) :]
    return any(record.grants.get(one) in enough for one in held)


def _read(body: Json) -> dict[str, str]:
    """Levels by "kind:name", from a request's list."""
    grants: dict[str, str] = {}
    for one in body.get("access_control_list") or []:
        kinds = [kind for kind in _KINDS if one.get(kind)]
        if len(kinds) != 1:
            raise invalid(f"Each permission needs exactly one of {', '.join(_KINDS)}.")
        level = one.get("permission_level")
        if level not in LEVELS:
            raise invalid(f"Unknown permission_level {level!r}: {', '.join(LEVELS)}.")
        grants[f"{kinds[0]}:{one[kinds[0]]}"] = level
    return grants


def _shown(record: "Record") -> Response:
    """The list as the API shows it: the creator's and the administrators' permission included."""
    kind = "user_name" if "@" in record.creator else "service_principal_name"
    grants = {**record.grants, f"{kind}:{record.creator}": "CAN_MANAGE"}
    entries = [
        {
            **dict([key.split(":", 1)]),
            "all_permissions": [{"permission_level": level, "inherited": False}],
        }
        for key, level in sorted(grants.items())
    ]
    inherited = {"permission_level": "CAN_MANAGE", "inherited": True}
    admins = {
        "group_name": "admins",
        "all_permissions": [{**inherited, "inherited_from_object": [_ROOT]}],
    }
    return reply(
        {
            "object_id": f"{_ROOT}{record.id}",
            "object_type": "serving-endpoint",
            "access_control_list": [*entries, admins],
        }
    )

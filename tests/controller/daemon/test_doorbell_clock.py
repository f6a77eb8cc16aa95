"""For how long a delivery to the doorbell is taken, and remembered."""

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from freezegun import freeze_time
from starlette.types import Message, Scope

from controller.daemon import doorbell as doorbells
from controller.daemon.doorbell import SKEW_S, Doorbell
from controller.daemon.http import application
from controller.signing import DELIVERY, SIGNATURE, TIMESTAMP, signature

SECRET = "0123456789abcdef-a-secret"
NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)


@dataclass
class Bell:
    """A doorbell without a port, so that no server's own time is set with the clock."""

    woken: int = 0
    answered: list[dict[bytes, bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        bell = Doorbell(SECRET, {"chat": "main.a.b"}, self.ring)
        self.app = application(lambda: None, lambda: None, None, [bell.route])

    def ring(self, names: object) -> list[str]:
        assert names
        self.woken += 1
        return []

    def post(self, delivery: str, sent: datetime) -> int:
        """Deliver, signed as of then; the status that is answered."""
        at = str(int(sent.timestamp()))
        told = {DELIVERY: delivery, TIMESTAMP: at}
        headers = {name.lower().encode(): value.encode() for name, value in told.items()}
        headers[SIGNATURE.lower().encode()] = signature(SECRET, delivery, at, b"{}")
        scope: Scope = {
            "type": "http",
            "method": "POST",
            "path": "/doorbell",
            "query_string": b"",
            "headers": list(headers.items()),
        }
        messages: list[Message] = []

        async def receive() -> Message:
            return {"type": "http.request", "body": b"{}"}

        async def send(message: Message) -> None:
            messages.append(dict(message))

        asyncio.run(self.app(scope, receive, send))  # type: ignore[arg-type]
        self.answered.append(dict(messages[0]["headers"]))
        return int(messages[0]["status"])


@pytest.mark.parametrize(("seconds", "status"), [(SKEW_S, 202), (SKEW_S + 1, 401)])
@pytest.mark.parametrize("way", [-1, 1])
def test_a_delivery_is_taken_for_five_minutes_either_way(
    seconds: int, status: int, way: int
) -> None:
    bell = Bell()
    with freeze_time(NOON + way * timedelta(seconds=seconds)):
        assert bell.post("one", NOON) == status
    assert bell.woken == (status == 202)


def test_a_delivery_is_known_for_as_long_as_it_could_be_taken_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(doorbells, "MOST", 2)
    bell, ahead = Bell(), NOON + timedelta(seconds=SKEW_S)
    with freeze_time(NOON) as clock:
        assert bell.post("ahead", ahead) == 202
        assert bell.post("now", NOON) == 202
        assert bell.post("too-many", NOON) == 429, "polling goes on without it"
        assert int(bell.answered[-1][b"retry-after"]) == SKEW_S
        clock.move_to(ahead + timedelta(seconds=1))
        assert bell.post("later", ahead) == 202, "one of the two is over, and forgotten"
        clock.move_to(ahead + timedelta(seconds=SKEW_S))
        assert bell.post("ahead", ahead) == 409
        clock.tick(1)
        assert bell.post("ahead", ahead) == 401
    assert bell.woken == 3

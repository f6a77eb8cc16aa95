"""Talking to a daemon over HTTP: orders, and the journal that tells what came of them."""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from http.client import HTTPException
from typing import Any
from urllib.parse import urlsplit

from controller.address import is_loopback
from controller.record.asking import JOURNAL, ORDERS, Asked
from controller.record.errors import OrderRefused, StoreUnusable
from controller.record.lines import Line
from controller.record.redaction import printable
from controller.settings import RemoteSettings

PATIENCE_S = 20.0
"""Longest wait for an answer: the store itself waits five seconds for a lock."""
LOST = (
    "whether the order was taken is not known: `headgate history` tells; given again it is done "
    "once, but for `promote`, which is about the step that there is by then"
)


class DaemonUnreachable(Exception):  # noqa: N818 - it names a condition, as operators say it
    """The daemon cannot be asked, or refuses to be; the sentence names the remedy."""


class Daemon:
    """A daemon that somebody runs elsewhere."""

    def __init__(self, settings: RemoteSettings) -> None:
        self._settings = settings
        # A token goes to the daemon that was named, and to nobody whom that one names.
        handlers: list[urllib.request.BaseHandler] = [_NoRedirect()]
        if is_loopback(urlsplit(settings.url).hostname or ""):
            handlers.append(urllib.request.ProxyHandler({}))
        self._opener = urllib.request.build_opener(*handlers)

    def order(self, asked: Asked) -> str:
        """Give an order once; the sentence tells what will be done.

        `OrderRefused`, where it makes no sense; `StoreUnusable`, where the daemon's store fails;
        `DaemonUnreachable`, where the daemon does not answer, or not to this token.
        """
        content: dict[str, Any] = {
            "verb": asked.verb,
            "application": asked.application,
            "version": asked.version,
            "actor": asked.actor,
            "reason": asked.reason,
            "override": asked.override,
        }
        if asked.setup is not None:
            size, variables = asked.setup.size, asked.setup.variables
            content["setup"] = {
                "size": asdict(size) if size is not None else None,
                "scale_to_zero": asked.setup.scale_to_zero,
                "names": list(variables.names),
                "digest": variables.digest,
            }
        answer = self._answer(ORDERS, json.dumps(content).encode())
        return printable(str(answer.get("said")))

    def journal(self, after: int = 0) -> Iterator[Line]:
        """The journal as log lines, in order: all of it, or what came after a row."""
        more = True
        while more:
            answer = self._answer(f"{JOURNAL}?after={after}")
            lines: list[Line] = answer.get("lines") or []
            yield from lines
            after = int(lines[-1]["seq"]) if lines else after
            more = bool(answer.get("more")) and bool(lines)

    def _answer(self, path: str, body: bytes | None = None) -> Mapping[str, Any]:
        url, lost = self._settings.url, f"; {LOST}" if body is not None else ""
        headers = {"Authorization": f"Bearer {self._settings.token}"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        request = urllib.request.Request(f"{url}{path}", data=body, headers=headers)  # noqa: S310 - checked
        try:
            with self._opener.open(request, timeout=PATIENCE_S) as response:
                answer = json.load(response)
        except urllib.error.HTTPError as error:
            with error:
                raise _refused(error, url) from error
        except urllib.error.URLError as error:
            # Raised while connecting and sending: nothing whole has arrived there.
            reason = getattr(error.reason, "strerror", None) or error.reason
            raise DaemonUnreachable(
                f"no daemon answers at {url} ({reason}): start it, or name its address with --url, "
                "or its store with --store"
            ) from error
        except (OSError, HTTPException) as error:
            told = f"the daemon at {url} was asked, and its answer did not come{lost}"
            raise DaemonUnreachable(told) from error
        except ValueError as error:
            raise DaemonUnreachable(f"{url} answers, but is no Headgate: check --url") from error
        if not isinstance(answer, dict):
            raise DaemonUnreachable(f"{url} answers, but is no Headgate: check --url")
        return answer


def _refused(error: urllib.error.HTTPError, url: str) -> Exception:
    """What a refusal means for whoever asked."""
    try:
        told = json.loads(error.read(65536))
        because, kind = printable(str(told["error"])), told.get("kind")
    except (ValueError, OSError, HTTPException, KeyError, TypeError, AttributeError):
        return DaemonUnreachable(
            f"{url} answers {error.code}, and not as Headgate does: check --url, and what is "
            "between here and there"
        )
    match error.code, kind:
        case ((409 | 404 | 400 | 413), _):
            return OrderRefused(because)
        case 503, "store":
            return StoreUnusable(because)
        case 401, _:
            return DaemonUnreachable(
                f"{url} refuses the token: HEADGATE_TOKEN_FILE must hold the same one here as there"
            )
        case _:
            return DaemonUnreachable(f"{url} refuses: {because}")


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """What is answered with another address is an error."""

    def redirect_request(self, *_: object) -> None:
        """Follow nobody."""
